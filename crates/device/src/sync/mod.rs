//! The seams: atomics, locks, clock, threads, randomness, planted bugs.
//!
//! Production code takes all of these from here, so that the very same code runs under loom (`--cfg loom`), and so that
//! simulations can own time and scheduling. `core::sync` re-exports this module for the layers above.

pub mod atomic;
pub mod canary;
pub mod clock;
pub mod mutation;
pub mod process;
pub mod random;
pub mod thread;

mod lock;

pub use lock::{Condvar, Mutex, MutexGuard};

#[cfg(loom)]
pub use loom::sync::Arc;
#[cfg(not(loom))]
pub use std::sync::Arc;
