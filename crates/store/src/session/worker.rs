//! What every kind of session works with.

use std::sync::Arc;

use oxifaster_core::codec::{PersistKey, PersistValue};
use oxifaster_core::epoch::Participant;
use oxifaster_core::error::Error;
use oxifaster_core::hlog::LogState;
use oxifaster_core::record::WordBuffer;

use crate::operations::{Context, Core, Key, Operation, Step, append_at_once, drive, shortcut};
use crate::pending::ColdFound;
use crate::statistics::{Padded, SessionCounters};

/// An epoch slot, scratch memory and counters.
#[derive(Debug)]
pub(crate) struct Worker<K, V> {
    pub(crate) core: Arc<Core<K, V>>,
    pub(crate) participant: Participant,
    pub(crate) scratch: WordBuffer,
    pub(super) counters: Arc<Padded>,
    pub(crate) serial: u64,
    /// Whether batches may block their thread until the log has room. False for futures.
    pub(super) waits_for_room: bool,
}

impl<K: PersistKey, V: PersistValue> Worker<K, V> {
    pub(crate) fn start(core: &Arc<Core<K, V>>, waits_for_room: bool) -> Result<Self, Error> {
        if core.log.state() == LogState::Closed {
            return Err(core.log.state_error());
        }
        Ok(Self {
            participant: core.log.ring().epoch().register(),
            scratch: WordBuffer::default(),
            counters: core.registry.open(),
            core: Arc::clone(core),
            serial: 0,
            waits_for_room,
        })
    }

    #[inline(always)]
    pub(crate) fn counters(&self) -> &SessionCounters {
        &self.counters.0
    }

    /// Runs an operation to its end on the calling thread, and `count`s what came of it.
    ///
    /// The shortcut calls nothing, so that the common case saves no registers: what is left to do otherwise, counting included, is
    /// one call at the end.
    ///
    /// # Errors
    /// The operation's; the device's.
    #[inline(always)]
    pub(crate) fn drive<O: Operation<K, V>>(
        &mut self,
        mut operation: O,
        count: impl FnOnce(&mut Self, &O::Output),
    ) -> Result<O::Output, Error> {
        match self.shortcut(&mut operation) {
            Ok(Some(output)) => {
                count(self, &output);
                Ok(output)
            }
            Ok(None) => self.drive_on(operation, count),
            Err(error) => Err(error),
        }
    }

    #[inline(always)]
    fn shortcut<O: Operation<K, V>>(&mut self, operation: &mut O) -> Result<Option<O::Output>, Error> {
        // Loaded before the guard: the compiler loads nothing anew that it has, not even behind an acquire.
        let core = &*self.core;
        let guard = self.participant.enter();
        let candidate = core.index.candidate(operation.key().hash);
        let lowest = core.lowest(O::UPDATES);
        let mut context =
            Context { scratch: &mut self.scratch, counters: &self.counters.0, cold: None, chunk: None };
        shortcut(core, &guard, lowest, candidate, operation, &mut context)
    }

    #[cold]
    #[inline(never)]
    fn drive_on<O: Operation<K, V>>(
        &mut self,
        mut operation: O,
        count: impl FnOnce(&mut Self, &O::Output),
    ) -> Result<O::Output, Error> {
        let appended = {
            let guard = self.participant.enter();
            let mut context =
                Context { scratch: &mut self.scratch, counters: &self.counters.0, cold: None, chunk: None };
            append_at_once::<false, _, _, _>(&self.core, &guard, &mut operation, &mut context)?
        };
        let output = match appended {
            Some(output) => output,
            None => {
                let (scratch, counters) = (&mut self.scratch, &self.counters.0);
                drive(&self.core, &mut self.participant, scratch, counters, operation)?
            }
        };
        count(self, &output);
        Ok(output)
    }

    /// One attempt.
    pub(crate) fn attempt<O: Operation<K, V>>(
        &mut self,
        operation: &mut O,
        cold: Option<&ColdFound>,
    ) -> Result<Step<O::Output>, Error> {
        let guard = self.participant.enter();
        let mut context =
            Context { scratch: &mut self.scratch, counters: &self.counters.0, cold, chunk: None };
        if cold.is_none() {
            let candidate = self.core.index.candidate(operation.key().hash);
            let lowest = self.core.lowest(O::UPDATES);
            if let Some(output) = shortcut(&self.core, &guard, lowest, candidate, operation, &mut context)? {
                return Ok(Step::Done(output));
            }
            if let Some(output) =
                append_at_once::<false, _, _, _>(&self.core, &guard, operation, &mut context)?
            {
                return Ok(Step::Done(output));
            }
        }
        operation.attempt(&self.core, &guard, &mut context)
    }

    /// A read is done.
    #[inline(always)]
    pub(crate) fn count_read(&self, hit: bool) {
        self.counters().reads.add(1);
        if !hit {
            self.counters().read_misses.add(1);
        }
    }

    /// A conditional operation is done.
    #[inline(always)]
    pub(crate) fn count_conditional(&mut self, took_effect: bool) {
        self.counters().conditional.add(1);
        if took_effect {
            self.count_update();
        }
    }

    /// An update took effect.
    #[inline(always)]
    pub(crate) fn count_update(&mut self) {
        self.serial += 1;
    }
}

impl<K, V> Drop for Worker<K, V> {
    fn drop(&mut self) {
        self.core.registry.close(&self.counters);
    }
}

/// Encodes a key and hashes it, for the length of one call.
macro_rules! key_of {
    ($core:expr, $encoded:ident) => {{
        let bytes: &[u8] = AsRef::<[u8]>::as_ref(&$encoded);
        $crate::operations::Key { bytes, hash: $core.hash.hash(bytes) }
    }};
}
pub(crate) use key_of;

impl<'k> Key<'k> {
    /// The key with these bytes.
    pub(crate) fn of<K: PersistKey, V: PersistValue>(core: &Core<K, V>, bytes: &'k [u8]) -> Self {
        Self { bytes, hash: core.hash.hash(bytes) }
    }
}
