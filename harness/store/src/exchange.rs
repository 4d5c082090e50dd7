//! A campaign's corpus, brought together with that of the store.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Result;
use refan_runner::corpus::{self, Corpus};

use crate::Objects;

/// The folder of entries.
const CORPUS: &str = "corpus";

/// Entries that are read from the folder before they are written to the store: they are in memory meanwhile.
const BATCH: usize = 256;

/// Brings a corpus on disk and the store's together, in both directions.
pub struct Exchange {
    /// The campaign's corpus, which only it writes to.
    corpus: PathBuf,
    /// Where the campaign finds what others have added.
    inbox: Corpus,
    /// What is known to be in the store.
    there: BTreeSet<String>,
}

impl Exchange {
    /// For the corpus in a folder. What others have added comes into the folder `inbox`, which is made; what
    /// is being written is in `aside` meanwhile.
    ///
    /// # Errors
    /// A folder cannot be made.
    pub fn open(corpus: &Path, inbox: &Path, aside: &Path) -> Result<Self> {
        let inbox = Corpus::open(inbox, aside)?;
        Ok(Self { corpus: corpus.to_owned(), inbox, there: BTreeSet::new() })
    }

    /// Takes the entries of the store that the campaign does not have; says how many.
    ///
    /// # Errors
    /// The store does not answer, or an entry cannot be written to disk.
    pub fn pull(&mut self, objects: &Objects) -> Result<usize> {
        self.there = objects.list(CORPUS)?.into_iter().filter(|it| corpus::is_name(it)).collect();
        let own = corpus::names(&self.corpus)?;
        let is_new = |name: &&String| !own.contains(*name) && !self.inbox.names().contains(*name);
        let new: Vec<String> = self.there.iter().filter(is_new).cloned().collect();
        let mut pulled = 0;
        objects.read(CORPUS, new, |name, content| {
            if corpus::name(&content) == name {
                pulled += usize::from(self.inbox.add(&content)?);
            } else {
                // Who has the entry may write it.
                self.there.remove(&name);
            }
            anyhow::Ok(())
        })?;
        Ok(pulled)
    }

    /// Adds the entries of the campaign that the store does not have; says how many.
    ///
    /// # Errors
    /// The store does not answer. What was written by then is there.
    pub fn push(&mut self, objects: &Objects) -> Result<usize> {
        let own = corpus::names(&self.corpus)?;
        let new: Vec<String> = own.difference(&self.there).cloned().collect();
        let before = self.there.len();
        for batch in new.chunks(BATCH) {
            let mut entries = Vec::new();
            for name in batch {
                entries.extend(corpus::whole(&self.corpus, name)?.map(|it| (name.clone(), it)));
            }
            objects.write(CORPUS, entries, |name| {
                self.there.insert(name);
            })?;
        }
        Ok(self.there.len() - before)
    }
}
