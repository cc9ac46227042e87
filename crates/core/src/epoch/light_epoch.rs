//! The epoch itself: bumps, what is safe, and the drain list.
//!
//! Callers: whoever takes things away (`hlog`, `store`, `log`). The protocol and its argument are in the header of `epoch`.

use std::time::Duration;

use oxifaster_device::sync::atomic::{AtomicU64, Ordering};
use oxifaster_device::sync::thread::{sleep, spin_hint, yield_now};
use oxifaster_device::sync::{Arc, Mutex};

use super::drain::DrainList;
use super::fences::FenceForm;
use super::participant::Participant;
use super::registry::Registry;
use crate::mutation::{Mutation, planted};

/// A point in the life of a [`LightEpoch`]; the later the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(u64);

impl Epoch {
    /// Before every bump: always safe.
    pub const ZERO: Epoch = Epoch(0);
}

/// Spins this often before it yields.
const SPINS: u32 = 64;
/// Turns of waiting before it sleeps: the rest of them yield.
const TURNS_AWAKE: u32 = 128;
/// The length of one sleep.
const SLEEP: Duration = Duration::from_micros(50);

/// What every entry reads: both values in one cache line that only bumps write.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Clock {
    pub(super) current: AtomicU64,
    pub(super) fences: FenceForm,
}

/// The greatest epoch known to be safe, in a cache line of its own.
#[derive(Debug)]
#[repr(align(128))]
struct Safe(AtomicU64);

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) clock: Clock,
    safe: Safe,
    pub(super) registry: Mutex<Registry>,
    drain: DrainList,
}

/// Epoch protection shared by any number of participants; see the [module](super). Clones are handles on the same epoch.
///
/// # Examples
/// ```
/// use oxifaster_core::epoch::LightEpoch;
///
/// let epoch = LightEpoch::new();
/// let mut reader = epoch.register();
/// let guard = reader.enter();
/// let unlinked = epoch.bump();
/// assert!(!epoch.is_safe(unlinked), "the reader may still look at it");
/// drop(guard);
/// assert!(epoch.is_safe(unlinked));
/// ```
#[derive(Clone, Debug)]
pub struct LightEpoch {
    shared: Arc<Shared>,
}

impl LightEpoch {
    /// An epoch with the cheapest fences this process can rely on.
    #[must_use]
    pub fn new() -> Self {
        Self::with(FenceForm::available())
    }

    /// An epoch with the given fences, for tests and comparisons. Where the process can't rely on the asymmetric
    /// form, the symmetric one is used instead.
    #[must_use]
    pub fn with_fences(fences: FenceForm) -> Self {
        #[cfg(not(loom))]
        let fences =
            if FenceForm::available() == FenceForm::Symmetric { FenceForm::Symmetric } else { fences };
        Self::with(fences)
    }

    fn with(fences: FenceForm) -> Self {
        let shared = Shared {
            clock: Clock { current: AtomicU64::new(1), fences },
            safe: Safe(AtomicU64::new(0)),
            registry: Mutex::new(Registry::default()),
            drain: DrainList::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Which fences are in use.
    #[must_use]
    pub fn fences(&self) -> FenceForm {
        self.shared.clock.fences
    }

    /// Adds a participant. It takes a lock and may allocate: once per session, not once per operation.
    #[must_use]
    pub fn register(&self) -> Participant {
        let (number, slot) = self.shared.registry.lock().register();
        Participant::new(Arc::clone(&self.shared), slot, number)
    }

    /// Ends the current epoch and returns it. It is *safe* once everybody who entered before this call has left; whoever
    /// enters behind it sees all that the caller wrote before. Costs at most one `membarrier`.
    pub fn bump(&self) -> Epoch {
        self.shared.clock.fences.heavy();
        // Release: hands what was written before, and the fence, to scans that load the new value.
        Epoch(self.shared.clock.current.fetch_add(1, Ordering::AcqRel))
    }

    /// Whether everybody who entered before the bump that returned `epoch` has left. What they did inside happens before
    /// a `true`.
    #[must_use]
    pub fn is_safe(&self, epoch: Epoch) -> bool {
        // Pairs with the `fetch_max` in `safe_epoch`.
        Epoch(self.shared.safe.0.load(Ordering::Acquire)) >= epoch || self.safe_epoch() >= epoch
    }

    /// The greatest safe epoch, by a scan of all slots.
    pub fn safe_epoch(&self) -> Epoch {
        // Before the slots: the scan answers only for bumps whose fence it is behind.
        let current = self.shared.clock.current.load(Ordering::Acquire);
        let lowest = self.shared.registry.lock().lowest_entered(current);
        let before = self.shared.safe.0.fetch_max(lowest - 1, Ordering::AcqRel);
        Epoch(before.max(lowest - 1))
    }

    /// Waits until `epoch` is safe: spins, then yields, then sleeps 50 microseconds at a time.
    ///
    /// A thread that holds a guard from before the bump would wait for itself for ever: nothing waits under a guard.
    pub fn wait_until_safe(&self, epoch: Epoch) {
        let mut turns = 0_u32;
        while !self.is_safe(epoch) && !planted(Mutation::EpochWaitsForNobody) {
            match turns {
                0..SPINS => spin_hint(),
                SPINS..TURNS_AWAKE => yield_now(),
                _ => sleep(SLEEP),
            }
            turns = turns.saturating_add(1);
        }
    }

    /// Bumps, and runs `action` in a [`drain`](Self::drain) once the returned epoch is safe.
    ///
    /// An action that was not drained when the last handle and the last participant are gone is dropped without being
    /// run.
    pub fn bump_with(&self, action: Box<dyn FnOnce() + Send>) -> Epoch {
        let epoch = self.bump();
        self.shared.drain.push(epoch, action);
        epoch
    }

    /// Runs the waiting actions whose epoch is safe, oldest first, each exactly once over all threads, and returns
    /// how many this call ran. Without a waiting action it costs one load.
    pub fn drain(&self) -> usize {
        let mut ran = 0;
        while !self.shared.drain.is_empty() {
            let Some(oldest) = self.shared.drain.oldest() else { break };
            if !self.is_safe(oldest) {
                break;
            }
            while let Some(action) = self.shared.drain.pop(oldest) {
                action();
                ran += 1;
            }
        }
        ran
    }

    /// The number of slots that a scan visits: the highest one in use, plus one.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.shared.registry.lock().len()
    }
}

impl Default for LightEpoch {
    fn default() -> Self {
        Self::new()
    }
}
