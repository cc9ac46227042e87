//! What the model checker runs: a store with one session, which it can also flush, restart and break.

use crate::history::{Operation, Outcome};

/// Why a call did not do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// An injected fault has put the store out of action: power is lost, a sync has failed. It must be restarted. Whether the
    /// call took effect is not known.
    Down(String),
    /// The store broke a promise, or failed for no injected reason.
    Violation(String),
}

/// How a store ends without being closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The process is killed; what it had written is there, though not more durable than before.
    Kill,
    /// Power is lost: each unsynced write meets a fate drawn from this seed.
    PowerLoss(u64),
}

/// A fault that will happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Power is lost after so many more changes (writes, syncs, truncations) of the device.
    PowerLossAfter(u64),
    /// The next sync but so many fails.
    SyncFailsAfter(u64),
    /// The next write but so many fails.
    WriteFailsAfter(u64),
}

/// A store under test. Keys and values are numbers; the adapter makes real ones of them and checks every byte on the way
/// back.
pub trait Subject {
    /// Runs one operation of one key.
    ///
    /// # Errors
    /// A failure; an operation has no others.
    fn call(&mut self, key: u64, operation: Operation) -> Result<Outcome, Failure>;

    /// Runs operations of one kind, each on its key, in their order where keys are equal; all outcomes.
    ///
    /// # Errors
    /// A failure; which of them took effect is not known then.
    fn call_batch(&mut self, items: &[(u64, Operation)]) -> Result<Vec<Outcome>, Failure> {
        items.iter().map(|&(key, operation)| self.call(key, operation)).collect()
    }

    /// Makes durable what was acknowledged.
    ///
    /// # Errors
    /// A failure.
    fn flush(&mut self) -> Result<(), Failure>;

    /// Closes the store. Only [`open`](Self::open) follows.
    ///
    /// # Errors
    /// A failure.
    fn close(&mut self) -> Result<(), Failure>;

    /// Ends the store without closing it, and every injected fault with it. Only [`open`](Self::open) follows.
    ///
    /// # Errors
    /// A failure.
    fn end(&mut self, ending: Ending) -> Result<(), Failure>;

    /// Opens what the device holds.
    ///
    /// # Errors
    /// A failure; also when the store turns out to be a new one.
    fn open(&mut self) -> Result<(), Failure>;

    /// Plants a fault.
    fn plant(&mut self, fault: Fault);
}
