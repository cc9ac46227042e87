//! The real store as a subject of the model checker, on a fault device.

use std::sync::Arc;

use oxifaster_core::error::ErrorKind;
use oxifaster_device::fault::{CrashPoint, FaultDevice, FaultPlan, Trigger};
use oxifaster_store::{FasterKv, FasterKvConfig, ReadCacheConfig, RecoveryReport};

use super::stored::{CallError, SessionOf, Stored, call, call_batch};
use crate::history::{Operation, Outcome};
use crate::model::{Ending, Failure, Fault, Subject};
use crate::workload::{Prng, Shape};

/// A store of a shape on a fault device.
type Store<S> = FasterKv<<S as Shape>::Key, <S as Shape>::Value, FaultDevice>;

/// Bytes of a page in [`small_config`].
const PAGE_BYTES: u64 = 1 << 16;

/// Pages and frames as small as they can be, so that little data leaves memory; the rest drawn from the seed.
#[must_use]
pub fn small_config(prng: &mut Prng) -> FasterKvConfig {
    FasterKvConfig {
        table_size: 1 << prng.below(12),
        log_memory_size: (6 + prng.below(6)) << 16,
        page_size_bits: 16,
        mutable_fraction: 0.1 + 0.8 * prng.unit(),
        overflow_buckets: Some(4096),
        recovery_threads: Some(1 + usize::from(prng.chance(0.5))),
        // As small as it can be, so that its ring goes round.
        read_cache: prng.chance(0.5).then(|| {
            ReadCacheConfig::default().with_mem_size(64 << 10).with_mutable_fraction(prng.unit() / 4.0)
        }),
        ..FasterKvConfig::default()
    }
}

/// A device that is slow and out of order, and moves less than it was asked for: all that a correct store must bear.
#[must_use]
pub fn unruly_plan(prng: &mut Prng) -> FaultPlan {
    let often = |prng: &mut Prng| if prng.chance(0.5) { prng.unit() } else { 0.0 };
    FaultPlan::new()
        .reorder(often(prng))
        .delay_by_reaps(often(prng) / 2.0, 1 + prng.below(8))
        .short_reads(often(prng) / 8.0)
        .short_writes(often(prng) / 8.0)
}

/// A store under test, with its only session.
#[derive(Debug)]
pub struct StoreSubject<S: Stored> {
    device: FaultDevice,
    config: FasterKvConfig,
    prng: Prng,
    /// A fault other than the unruly ones was planted and has not been cleared by an end.
    planted: bool,
    session: Option<SessionOf<S, FaultDevice>>,
    store: Option<Arc<Store<S>>>,
    /// Device writes before this store was opened.
    writes_before: u64,
    /// Where the log of the last store ended, in bytes, for all that it may have written; an upper bound.
    end_max: u64,
}

impl<S: Stored> StoreSubject<S> {
    /// An open, empty store.
    ///
    /// # Errors
    /// When it can't even be created.
    pub fn create(seed: u64) -> Result<Self, Failure> {
        let mut prng = Prng::lane(seed, 1);
        let device = FaultDevice::with_plan(prng.next_u64(), unruly_plan(&mut prng));
        let config = small_config(&mut prng);
        let mut subject = Self {
            device,
            config,
            prng,
            planted: false,
            session: None,
            store: None,
            writes_before: 0,
            end_max: 0,
        };
        subject.open_store(true)?;
        Ok(subject)
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> &FaultDevice {
        &self.device
    }

    fn open_store(&mut self, created: bool) -> Result<(), Failure> {
        // A restart may find another configuration; recovery must cope with less memory and with other table sizes.
        self.config = small_config(&mut self.prng);
        let store = FasterKv::open(self.config.clone(), self.device.clone());
        let store = Arc::new(store.map_err(|error| self.judge_error(error.into(), "open"))?);
        if store.recovery_report().created != created {
            let report = store.recovery_report();
            return Err(Failure::Violation(format!("opened with created = {}: {report:?}", report.created)));
        }
        self.check_pages_behind(store.recovery_report())?;
        self.writes_before = self.device.traffic().writes;
        let session =
            store.start_session().map_err(|error| self.judge_error(error.into(), "start_session"))?;
        (self.store, self.session) = (Some(store), Some(session));
        Ok(())
    }

    /// What lies behind the consistent point was written by the last store that wrote at all: nothing of an older, abandoned
    /// time line counts as valid.
    fn check_pages_behind(&self, report: &RecoveryReport) -> Result<(), Failure> {
        let behind_bytes = self.end_max.saturating_sub(report.consistent_tail.byte_offset());
        let pages_max = behind_bytes.div_ceil(PAGE_BYTES);
        if report.pages_behind <= pages_max {
            return Ok(());
        }
        let message = format!("at most {pages_max} pages can lie behind the consistent point: {report:?}");
        Err(Failure::Violation(message))
    }

    /// Remembers how far the log may reach on the device.
    fn note_end(&mut self) {
        let Some(store) = &self.store else { return };
        let end = store.recovery_report().begin.byte_offset() + store.stats().log_bytes;
        // A store that wrote nothing has cut nothing off, and what it has in flight may still land.
        let wrote = self.device.traffic().writes > self.writes_before;
        self.end_max = if wrote { end } else { end.max(self.end_max) };
    }

    /// An error is right only while a planted fault explains it.
    fn judge_error(&self, error: CallError, what: &str) -> Failure {
        let message = format!("{what}: {error}");
        match error {
            CallError::Store(error) if self.planted && error.kind() != ErrorKind::Corruption => {
                Failure::Down(message)
            }
            _ => Failure::Violation(message),
        }
    }

    fn store(&self) -> Result<&Arc<Store<S>>, Failure> {
        self.store.as_ref().ok_or_else(|| Failure::Violation("the store is not open".to_owned()))
    }
}

impl<S: Stored> Subject for StoreSubject<S> {
    fn call(&mut self, key: u64, operation: Operation) -> Result<Outcome, Failure> {
        let Some(session) = self.session.as_mut() else {
            return Err(Failure::Violation("the store is not open".to_owned()));
        };
        call::<S, _>(session, key, operation)
            .map_err(|error| self.judge_error(error, &format!("key {key}, {operation:?}")))
    }

    fn call_batch(&mut self, items: &[(u64, Operation)]) -> Result<Vec<Outcome>, Failure> {
        let Some(session) = self.session.as_mut() else {
            return Err(Failure::Violation("the store is not open".to_owned()));
        };
        call_batch::<S, _>(session, items).map_err(|error| {
            self.judge_error(error, &format!("a batch of {}: {:?}", items.len(), items.first()))
        })
    }

    fn flush(&mut self) -> Result<(), Failure> {
        let flushed = self.store()?.flush();
        flushed.map(|_| ()).map_err(|error| self.judge_error(error.into(), "flush"))
    }

    fn close(&mut self) -> Result<(), Failure> {
        self.session = None;
        self.note_end();
        let closed = self.store()?.close();
        self.store = None;
        closed.map_err(|error| self.judge_error(error.into(), "close"))?;
        // All that was acknowledged must be on the device without the process, too.
        self.device = self.device.reopen();
        self.device.set_plan(unruly_plan(&mut self.prng));
        self.planted = false;
        Ok(())
    }

    fn end(&mut self, ending: Ending) -> Result<(), Failure> {
        self.note_end();
        // The device goes first: what the dropped store would still write comes too late.
        self.device = match ending {
            Ending::Kill => self.device.reopen(),
            Ending::PowerLoss(seed) => self.device.crash(seed),
        };
        self.session = None;
        self.store = None;
        self.device.set_plan(unruly_plan(&mut self.prng));
        self.planted = false;
        Ok(())
    }

    fn open(&mut self) -> Result<(), Failure> {
        self.open_store(false)
    }

    fn plant(&mut self, fault: Fault) {
        self.planted = true;
        self.device.set_plan(match fault {
            Fault::PowerLossAfter(changes) => FaultPlan::new().crash_at(CrashPoint::AfterChanges(changes)),
            // Some files go on after a failed sync as if nothing had happened, and have lost what it was about.
            Fault::SyncFailsAfter(syncs) => FaultPlan::new()
                .fail_syncs(Trigger::nth(syncs + 1))
                .poison_on_failed_sync(self.prng.chance(0.5)),
            Fault::WriteFailsAfter(writes) => FaultPlan::new().fail_writes(Trigger::nth(writes + 1)),
        });
    }
}
