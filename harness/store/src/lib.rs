//! A corpus that campaigns on many machines share, in an object store.
//!
//! ```text
//! corpus/3f786850e387550fdab836ed7e6dc881de23001b    an entry, called after its content
//! findings/rule-R2-broken-at-read/9a0364b9.tar       a finding's folder, called after what it holds
//! ```
//! An object appears whole or not at all, is never changed, and is the same whoever writes it: campaigns need
//! to agree on nothing, begin and end when they like, and whoever is killed leaves nothing that is half done.

mod exchange;
mod findings;
mod objects;

pub use exchange::Exchange;
pub use findings::Findings;
pub use objects::{Error, Objects};
