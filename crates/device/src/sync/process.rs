//! Which process something belongs to.
//!
//! A process that forks and does not become another program has copies of everything, and of its threads only the one that
//! forked. Devices, logs and stores are of no use there, and their ends would do harm: the copy of an open file shares the parent's
//! lock, and threads that do not exist are waited for in vain. So they remember where they were made, and end without a word
//! anywhere else: what the copy holds goes when the copy does. Using one there is not supported.

/// The process that made this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HomeProcess(u32);

impl HomeProcess {
    /// The calling process.
    #[must_use]
    pub fn here() -> Self {
        Self(std::process::id())
    }

    /// Whether the calling process is the one, and not a copy of it.
    #[must_use]
    pub fn is_here(self) -> bool {
        self == Self::here()
    }
}
