//! The guest's side: PID 1, the executor of programs and the calls that they make.

pub mod accounts;
pub mod arena;
pub mod calls;
pub mod door;
pub mod executor;
pub mod ext4;
pub mod faults;
pub mod files;
pub mod futex;
pub mod gate;
pub mod init;
pub mod kcov;
pub mod kmemleak;
pub mod limits;
pub mod log;
pub mod memory;
pub mod mutant;
pub mod paging;
pub mod panic;
pub mod probe;
pub mod run;
pub mod sockets;
pub mod stack;
pub mod supervisor;
pub mod sys;
pub mod task;
