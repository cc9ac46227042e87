//! What the handle, the two threads, scans and futures of one log share.
//!
//! | field | who changes it |
//! |---|---|
//! | `ring`, `progress` | see there |
//! | `seed` | the writer, while the ring is sealed and empty of reservations: so an appender that got words has the right one |
//! | `timeline` | the writer, before the seed; truncation, when rows are forgotten |
//! | `begin` | truncation, after the metadata |
//! | `facts` | whoever publishes; the lock is held over the device's write |

use std::sync::Arc;
use std::time::Duration;

use oxifaster_core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use oxifaster_core::sync::{Mutex, thread};
use oxifaster_core::{Error, ErrorKind};
use oxifaster_device::{BLOCK_WORDS, DeviceError, DeviceErrorKind, MetadataArea};

use crate::configuration::FasterLogConfig;
use crate::entry::Seed;
use crate::facts::LogFacts;
use crate::progress::Progress;
use crate::ring::LogRing;
use crate::timeline::Timeline;
use crate::transfer::AnyDevice;

/// The metadata of an open log.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) area: MetadataArea,
    pub(crate) facts: LogFacts,
}

/// See the module header.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: FasterLogConfig,
    pub(crate) device: AnyDevice,
    /// False: the ring is all there is.
    pub(crate) persistent: bool,
    /// First address that no log on this device can have.
    pub(crate) address_end: u64,
    pub(crate) nudge_shift: u32,
    pub(crate) entry_bytes_max: usize,
    pub(crate) ring: LogRing,
    pub(crate) progress: Progress,
    pub(crate) seed: AtomicU32,
    pub(crate) timeline: Mutex<Arc<Timeline>>,
    pub(crate) begin: AtomicU64,
    pub(crate) begin_entry: AtomicU64,
    pub(crate) facts: Mutex<Published>,
}

impl Shared {
    /// What commits end on, in words.
    pub(crate) fn alignment(&self) -> u64 {
        if self.persistent { BLOCK_WORDS as u64 } else { 1 }
    }

    /// The seed of what is appended now.
    #[inline]
    pub(crate) fn seed(&self) -> Seed {
        // Relaxed: ordered by the reservation (ring, `unseal`).
        Seed(self.seed.load(Ordering::Relaxed))
    }

    pub(crate) fn timeline(&self) -> Arc<Timeline> {
        Arc::clone(&self.timeline.lock())
    }

    pub(crate) fn begin(&self) -> u64 {
        self.begin.load(Ordering::Acquire)
    }

    /// Writes metadata, changed by `change` and with the last durable commit in it, `times` times in a row.
    pub(crate) fn publish(&self, times: usize, change: impl FnOnce(&mut LogFacts)) -> Result<(), Error> {
        let mut published = self.facts.lock();
        let mut facts = published.facts.clone();
        facts.known = self.progress.durable();
        change(&mut facts);
        let payload = facts.encode();
        for _ in 0..times {
            let written = published.area.write_next(self.device.as_ref(), &payload);
            if let Err(error) = written {
                return Err(self.judged(error));
            }
            published.facts.clone_from(&facts);
        }
        Ok(())
    }

    /// The error of a request; a poisoned device poisons the log.
    pub(crate) fn judged(&self, error: DeviceError) -> Error {
        let poisoned = error.kind() == DeviceErrorKind::Poisoned;
        let error = Error::from(error);
        if poisoned {
            self.poison(error.duplicate());
        }
        error
    }

    /// Nothing is acknowledged any more. Reading goes on.
    pub(crate) fn poison(&self, cause: Error) {
        self.ring.seal();
        tracing::error!(error = %cause, device = %self.device.describe(), "a log is poisoned");
        let error = Error::new(
            ErrorKind::Poisoned,
            "a sync of the log failed: what was not committed before may be lost; close the log and open it again",
        );
        self.progress.end(error.with_source(cause));
    }
}

/// Waits a little, longer each time: for threads that are between a reservation and a publication.
pub(crate) fn backoff(rounds: &mut u32) {
    *rounds = rounds.saturating_add(1);
    match *rounds {
        0..=100 => thread::spin_hint(),
        101..=200 => thread::yield_now(),
        _ => thread::sleep(Duration::from_micros(50)),
    }
}
