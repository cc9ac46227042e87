//! Opening a store: agreeing with what the device holds, and finding an index that carries it.
//!
//! Called by `FasterKv::open`. Nothing of a store that exists is written, and no thread runs, before it is certain that it
//! can be opened. When the index turns out to be too small for the keys, the log is opened again with other sizes
//! ([`IndexRoom`]); what was read until then is given back first.

use std::marker::PhantomData;
use std::sync::Arc;

use oxifaster_core::codec::{KeyCodec, PersistKey, PersistValue, ValueCodec};
use oxifaster_core::epoch::LightEpoch;
use oxifaster_core::error::{Error, ErrorKind};
use oxifaster_core::hash::HashKind;
use oxifaster_core::hlog::{HybridLog, OpenedLog, OwnerFacts};
use oxifaster_core::index::HashIndex;
use oxifaster_device::StorageDevice;

use crate::configuration::{FasterKvConfig, MemoryPlan};
use crate::operations::Core;
use crate::reclaim::Reclaim;
use crate::recovery::{IndexRoom, Rebuilt, RecoveryProgress, RecoveryReport, rebuild};
use crate::statistics::Registry;

/// A store that is being opened.
pub(crate) struct Opening<'a, K, V> {
    asked: &'a FasterKvConfig,
    device: Arc<dyn StorageDevice>,
    opened: OpenedLog,
    owner: OwnerFacts,
    room: IndexRoom,
    types: PhantomData<fn(K) -> V>,
}

impl<'a, K: PersistKey, V: PersistValue> Opening<'a, K, V> {
    /// Opens the log, and reads nothing of it yet.
    pub(crate) fn new(asked: &'a FasterKvConfig, device: Arc<dyn StorageDevice>) -> Result<Self, Error> {
        let (mut opened, mut owner) = open_log::<K, V>(asked, &device)?;
        let room = IndexRoom::new(asked, owner.table_bits, opened.log.layout().page_bytes());
        if room.config.log_memory_size < asked.log_memory_size {
            // Its frames go before others come.
            drop(opened);
            (opened, owner) = open_log::<K, V>(&room.config, &device)?;
        }
        Ok(Self { asked, device, opened, owner, room, types: PhantomData })
    }

    /// Rebuilds the index and starts background work.
    pub(crate) fn finish(
        mut self,
        progress: &(dyn Fn(RecoveryProgress) + Sync),
    ) -> Result<(Core<K, V>, MemoryPlan, RecoveryReport), Error> {
        loop {
            let core = self.empty_core()?;
            match self.recover_into(&core, progress)? {
                Rebuilt::Complete(report) => return self.start(core, report),
                Rebuilt::IndexFull { keys } => {
                    self.room = self.room.for_keys(keys)?;
                    let config = &self.room.config;
                    tracing::warn!(
                        keys,
                        table_size = config.table_size,
                        log_memory_size = config.log_memory_size,
                        "the index was too small for the keys of the store: the log is read again, with other sizes"
                    );
                }
            }
            drop(core);
            // Its frames go before others come.
            let Self { asked, device, opened, room, .. } = self;
            drop(opened);
            let (opened, owner) = open_log::<K, V>(&room.config, &device)?;
            self = Self { asked, device, opened, owner, room, types: PhantomData };
        }
    }

    fn empty_core(&self) -> Result<Core<K, V>, Error> {
        let number = self.owner.hash_kind;
        let config = &self.room.config;
        Ok(Core {
            log: Arc::clone(&self.opened.log),
            index: HashIndex::new(usize_of(config.table_size), usize_of(config.overflow_budget()))?,
            hash: HashKind::from_number(number).ok_or_else(|| unknown_hash(number))?,
            registry: Registry::default(),
            reclaim: Reclaim::default(),
            types: PhantomData,
        })
    }

    fn recover_into(
        &self,
        core: &Core<K, V>,
        progress: &(dyn Fn(RecoveryProgress) + Sync),
    ) -> Result<Rebuilt, Error> {
        let (asked, config) = (self.asked, &self.room.config);
        let lowered = config.log_memory_size < asked.log_memory_size;
        let metadata = self.opened.log.metadata();
        let report = RecoveryReport {
            created: !self.opened.existed,
            begin: metadata.begin,
            consistent_tail: metadata.consistent_tail,
            was_closed: metadata.clean,
            damaged_metadata_slot: self.opened.damaged_slot,
            table_raised_to: (config.table_size > asked.table_size).then_some(config.table_size),
            log_memory_lowered_to: lowered.then_some(config.log_memory_size),
            ..RecoveryReport::default()
        };
        if !self.opened.existed {
            return Ok(Rebuilt::Complete(report));
        }
        let threads = recovery_threads(config.recovery_threads, core.log.ring().frames());
        rebuild(core, threads, self.room.beyond_buckets, report, progress)
    }

    fn start(
        self,
        core: Core<K, V>,
        mut report: RecoveryReport,
    ) -> Result<(Core<K, V>, MemoryPlan, RecoveryReport), Error> {
        if self.opened.existed && !report.was_closed {
            report.pages_behind = self.opened.log.count_pages_behind();
        }
        if let Some(cache) = &self.asked.read_cache {
            cache.enable(&core.log, Core::<K, V>::LAYOUT)?;
        }
        // Before any thread runs: an open that fails must leave none behind, and no lock on the device.
        let facts = OwnerFacts { table_bits: bits_of(self.room.config.table_size), ..self.owner };
        if facts != self.opened.log.metadata().owner {
            self.opened.log.set_owner_facts(facts)?;
        }
        self.opened.start()?;
        let mut room = self.room;
        if core.log.record_cache().is_none() {
            room.config.read_cache = None;
        }
        Ok((core, room.plan(), report))
    }
}

/// Threads of a recovery. Each has a page of its own in memory while the frames are still empty: so no more than frames.
fn recovery_threads(asked: Option<usize>, frames: u64) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let wanted = asked.unwrap_or_else(|| cores.min(8));
    wanted.min(usize::try_from(frames).unwrap_or(usize::MAX)).max(1)
}

fn open_log<K: PersistKey, V: PersistValue>(
    config: &FasterKvConfig,
    device: &Arc<dyn StorageDevice>,
) -> Result<(OpenedLog, OwnerFacts), Error> {
    let mut owner = None;
    let opened = HybridLog::open(&config.log_config(), Arc::clone(device), LightEpoch::new(), |recorded| {
        let facts = decide_facts::<K, V>(config, recorded)?;
        owner = Some(facts);
        Ok(facts)
    })?;
    let owner = owner.ok_or_else(|| Error::new(ErrorKind::Corruption, "the log has no owner facts"))?;
    Ok((opened, owner))
}

fn usize_of(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn bits_of(table_size: u64) -> u8 {
    u8::try_from(table_size.trailing_zeros()).unwrap_or(u8::MAX)
}

/// The facts of a new store, or those recorded, if this configuration and these types agree with them.
fn decide_facts<K: PersistKey, V: PersistValue>(
    config: &FasterKvConfig,
    recorded: Option<OwnerFacts>,
) -> Result<OwnerFacts, Error> {
    let (key_codec, value_codec) = (K::Codec::NUMBER, V::Codec::NUMBER);
    let Some(recorded) = recorded else {
        let hash_kind = config.hash_kind.unwrap_or_default().number();
        return Ok(OwnerFacts { hash_kind, table_bits: bits_of(config.table_size), key_codec, value_codec });
    };
    let refuse = |what: &str, recorded: u32, asked: u32| {
        Err(Error::new(
            ErrorKind::IncompatibleFormat,
            format!(
                "the store was created with {what} codec {recorded:#x} and is opened with {asked:#x}: open it with the \
                 types it was created with"
            ),
        ))
    };
    if recorded.key_codec != key_codec {
        return refuse("key", recorded.key_codec, key_codec);
    }
    if recorded.value_codec != value_codec {
        return refuse("value", recorded.value_codec, value_codec);
    }
    match (HashKind::from_number(recorded.hash_kind), config.hash_kind) {
        (None, _) => Err(unknown_hash(recorded.hash_kind)),
        (Some(kind), Some(asked)) if kind != asked => Err(Error::new(
            ErrorKind::IncompatibleFormat,
            format!(
                "the store was created with hash {kind:?} and is opened with {asked:?}: leave hash_kind unset"
            ),
        )),
        _ => Ok(recorded),
    }
}

fn unknown_hash(number: u8) -> Error {
    Error::new(
        ErrorKind::IncompatibleFormat,
        format!("the store uses hash number {number}, which is not known here"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recovery_has_no_more_threads_than_frames() {
        assert_eq!(recovery_threads(Some(1000), 6), 6);
        assert_eq!(recovery_threads(Some(2), 6), 2);
        assert!((1..=6).contains(&recovery_threads(None, 6)));
    }
}
