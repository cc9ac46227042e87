//! Whether a thread drives reads of its own already.
//!
//! Callers: the drivers in this folder. A driver that calls back (results, wakers, closures of the user) has reads in flight;
//! nobody but its own thread takes their completions. So what is called back must not wait for memory that those reads hold.

use std::cell::Cell;

use oxifaster_core::hlog::Patience;

thread_local! {
    static DRIVERS: Cell<usize> = const { Cell::new(0) };
}

/// A driver at work on the calling thread.
#[derive(Debug)]
pub(super) struct Nesting(());

impl Nesting {
    /// Begins one; until it is dropped, everything on this thread is nested.
    pub(super) fn begin() -> Self {
        DRIVERS.set(DRIVERS.get() + 1);
        Self(())
    }

    /// How a read that can do nothing else waits for memory, on this thread, outside of any driver or inside of one.
    pub(super) fn patience() -> Patience {
        if DRIVERS.get() == 0 { Patience::InLine } else { Patience::Beyond }
    }
}

impl Drop for Nesting {
    fn drop(&mut self) {
        DRIVERS.set(DRIVERS.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_nested_reads_go_beyond_the_plan() {
        let outer = Nesting::begin();
        let inner = Nesting::begin();
        drop(inner);
        assert_eq!(Nesting::patience(), Patience::Beyond);
        drop(outer);
        assert_eq!(Nesting::patience(), Patience::InLine);
    }
}
