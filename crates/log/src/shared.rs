//! What the handle, the two threads, scans and futures of one log share.
//!
//! | field | who changes it |
//! |---|---|
//! | `ring`, `progress`, `listeners` | see there |
//! | `seed` | the writer, while the ring is sealed and empty of reservations: so an appender that got words has the right one |
//! | `facts` | whoever publishes; the lock is held over the device's write, and until what was written is in force ([`standing`](crate::standing)) |
//! | `commits` | lookups by number |
//! | `iterators` | who opens and drops named iterators |
//! | `follower` | whoever looks what another process has written; the lock is held over the device's reads |

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use oxifaster_core::sync::atomic::{AtomicU32, Ordering};
use oxifaster_core::sync::{Mutex, thread};
use oxifaster_core::{Address, Error, ErrorKind};
use oxifaster_device::{BLOCK_WORDS, DeviceError, MetadataArea};

use crate::commit_record::NAMED_POSITIONS_MAX;
use crate::configuration::FasterLogConfig;
use crate::entry::Seed;
use crate::facts::{KnownCommit, LogFacts};
use crate::follower::Follower;
use crate::listeners::Listeners;
use crate::numbering::CommitCache;
use crate::progress::Progress;
use crate::ring::LogRing;
use crate::sealing;
use crate::standing;
use crate::transfer::AnyDevice;

/// Longest name of a position in bytes (inclusive).
const NAME_BYTES_MAX: usize = 64;

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
    pub(crate) listeners: Listeners,
    pub(crate) seed: AtomicU32,
    pub(crate) facts: Mutex<Published>,
    /// The log is written by another process, and this is who looks. The ring is behind all addresses then, and empty.
    pub(crate) follower: Option<Mutex<Follower>>,
    /// What lookups by number have seen of the commits.
    pub(crate) commits: Mutex<CommitCache>,
    /// Names of iterators in use.
    pub(crate) iterators: Mutex<BTreeSet<String>>,
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

    pub(crate) fn begin(&self) -> u64 {
        self.progress.begin()
    }

    /// Keeps an address under a name, or forgets the name, with the next commit.
    pub(crate) fn set_position(&self, name: &str, address: Option<Address>) -> Result<(), Error> {
        let names_max = NAMED_POSITIONS_MAX.min(self.config.memory_bytes() / 2048);
        let fits = name.len() <= NAME_BYTES_MAX
            && self.progress.set_position(name, address.map(Address::words), names_max);
        if fits {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::InvalidInput,
            format!(
                "a position called {name:?}: names have at most {NAME_BYTES_MAX} bytes, and there are at most {names_max}"
            ),
        ))
    }

    /// The durable address under a name.
    pub(crate) fn position(&self, name: &str) -> Option<Address> {
        let standing = self.progress.standing();
        let found = standing.commit.positions.get(name).copied()?;
        Some(Address::from_low_bits(found.max(standing.begin)))
    }

    /// Looks once what another process has written, if that is how this log is open.
    pub(crate) fn look(&self) -> Result<(), Error> {
        self.follower.as_ref().map_or(Ok(()), |follower| follower.lock().look(self))
    }

    /// Looks behind an error, which says enough if looking fails: another process may have truncated a moment ago what was read.
    pub(crate) fn look_again(&self) {
        if let Err(unseen) = self.look() {
            tracing::debug!(error = %unseen, "the begin of a log could not be asked for again");
        }
    }

    /// What the error of a walk at `at` is: what was truncated meanwhile is not damaged.
    pub(crate) fn judged_walk(&self, at: u64, error: Error) -> Error {
        self.look_again();
        if at >= self.begin() { error } else { truncated(at).with_source(error) }
    }

    /// Writes metadata, changed by `change` and with the last durable commit in it, `times` times in a row. `install` is told the outcome
    /// under the same lock, and makes of the log what was written.
    pub(crate) fn publish(
        &self,
        times: usize,
        change: impl FnOnce(&mut LogFacts),
        install: impl FnOnce(Result<(), Error>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let write = |published: &mut Published, commit: &Arc<KnownCommit>| {
            let mut facts = published.facts.clone();
            facts.known = Arc::clone(commit);
            change(&mut facts);
            let payload = facts.encode();
            for _ in 0..times {
                let written = published.area.write_next(self.device.as_ref(), &payload);
                written.map_err(|error| self.judged(error))?;
                published.facts.clone_from(&facts);
            }
            Ok(())
        };
        standing::publish(&self.facts, &self.progress, write, install)
    }

    /// The error of a request; a failed sync, now or earlier, poisons the log.
    pub(crate) fn judged(&self, error: DeviceError) -> Error {
        let poisoned = error.is_failed_sync();
        let error = Error::from(error);
        if poisoned {
            self.poison(error.duplicate());
        }
        error
    }

    /// Nothing more happens. Everybody who waits is told, streams included.
    pub(crate) fn end(&self, error: Error) {
        sealing::end(&self.ring, &self.progress, error);
        self.listeners.tell(&self.ring, &self.progress);
    }

    /// Nothing is acknowledged any more. Reading goes on.
    pub(crate) fn poison(&self, cause: Error) {
        tracing::error!(error = %cause, device = %self.device.describe(), "a log is poisoned");
        let error = Error::new(
            ErrorKind::Poisoned,
            "nothing is committed any more, and what was not committed before may be lost: close the log and open it again",
        );
        self.end(error.with_source(cause));
    }

    /// Lets appends in again behind a cut, unless the log has ended.
    pub(crate) fn unseal(&self) {
        sealing::unseal(&self.ring, &self.progress);
    }
}

/// The error of a reader whose place was truncated.
pub(crate) fn truncated(at: u64) -> Error {
    Error::new(ErrorKind::InvalidInput, "the log was truncated under a reader: go on at its begin address")
        .with_address(Address::from_low_bits(at))
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
