//! The program's only way to a store that is kept: where it lies in a folder, what it holds, how it is opened and closed.
//!
//! A store is a segmented device with the prefix `store`: `store.meta` and `store.{index}.log`. `load` keeps bytes under
//! bytes, `count` keeps numbers under bytes; the codec numbers in the metadata tell which a folder holds, and each of the
//! two refuses the other's.
//!
//! An index table, once used with a store, can't be smaller later. So only commands that write much may give a store a
//! larger table; the others take the one it has.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use oxifaster_core::codec::{FetchAdd, KeyCodec, PersistKey, PersistValue, ValueCodec};
use oxifaster_core::hlog::metadata::LogMetadata;
use oxifaster_core::hlog::{FRAMES_MIN, PageLayout};
use oxifaster_core::index::BUCKET_BYTES;
use oxifaster_device::{ContentKind, DeviceError, IoUringDevice, IoUringOptions, MetadataArea, RingUse};
use oxifaster_store::{FasterKv, FasterKvConfig, IndexDemand, RecoveryProgress, Session, Statistics};

use crate::arguments::{DeviceArguments, DeviceChoice};
use crate::count::{CountSink, KeyBatch};
use crate::failure::{Failure, FailureKind};
use crate::input::RecordBatch;
use crate::load::RecordSink;
use crate::memory_plan::{Demand, Existing, MemoryPlan, reads_in_flight};
use crate::output;
use crate::progress_bar::OpeningLine;
use crate::reopening::least_mebibytes;
use crate::store_failure::{device_failure, is_write_refused, store_failure, too_little, too_many_keys};
use crate::totals::Totals;

/// Prefix of the device's files.
pub const PREFIX: &str = "store";
/// Bytes of log in one segment file. A store keeps the size that it was made with: changing this number is a format
/// change.
pub const SEGMENT_BYTES: u64 = 256 << 20;
/// The file that holds byte `offset` of the log, and the byte in it.
#[must_use]
pub fn place_in_file(folder: &Path, offset: u64) -> (PathBuf, u64) {
    (folder.join(format!("{PREFIX}.{:06}.log", offset / SEGMENT_BYTES)), offset % SEGMENT_BYTES)
}

/// Records of one call to the store.
const BATCH: usize = 1024;
/// log2 of the largest page that is used for a new store: 4 MiB.
const PAGE_SIZE_BITS_MAX: u32 = 22;
/// Header, extent and guard of a record, and the padding of key and value, in bytes.
const RECORD_OVERHEAD_BYTES: u64 = 5 * 8;

/// What a store holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents {
    /// Bytes under bytes, as `load` makes.
    Records,
    /// Numbers under bytes, as `count` makes.
    Counts,
}

impl Contents {
    /// What people call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Contents::Records => "records",
            Contents::Counts => "counts",
        }
    }
}

/// A value type of the program's stores.
pub trait StoredValue: PersistValue {
    /// What a store of such values holds.
    const CONTENTS: Contents;
    /// The value as bytes for people.
    fn shown(&self) -> Vec<u8>;
}

impl StoredValue for Vec<u8> {
    const CONTENTS: Contents = Contents::Records;

    fn shown(&self) -> Vec<u8> {
        self.clone()
    }
}

impl StoredValue for u64 {
    const CONTENTS: Contents = Contents::Counts;

    fn shown(&self) -> Vec<u8> {
        self.to_string().into_bytes()
    }
}

/// A folder's device, opened and locked, and what its metadata says.
#[derive(Debug)]
pub struct StoreFolder {
    folder: PathBuf,
    device: IoUringDevice,
    metadata: Option<LogMetadata>,
    read_only: bool,
}

impl StoreFolder {
    /// Opens the device of a folder that must hold a store.
    ///
    /// # Errors
    /// `NotAStore` when it does not; `Locked`, `Damage`, and the device's errors.
    pub fn existing(folder: &Path, device: DeviceArguments) -> Result<Self, Failure> {
        Self::open_existing(
            folder,
            |options| {
                IoUringDevice::segmented_with_options(folder, PREFIX, SEGMENT_BYTES, options)
                    .map(|device| (device, false))
            },
            device,
        )
    }

    /// As [`existing`](Self::existing), for commands that change nothing: where the files can't be written, as on a medium that is read
    /// only, they are opened for reading. Nobody is locked out then, which the user is told.
    ///
    /// # Errors
    /// As [`existing`](Self::existing).
    pub fn to_read(folder: &Path, device: DeviceArguments) -> Result<Self, Failure> {
        let opened = Self::open_existing(
            folder,
            |options| match IoUringDevice::segmented_with_options(
                folder,
                PREFIX,
                SEGMENT_BYTES,
                options.clone(),
            ) {
                Err(error) if is_write_refused(&error) => {
                    IoUringDevice::segmented_read_only(folder, PREFIX, options).map(|device| (device, true))
                }
                opened => opened.map(|device| (device, false)),
            },
            device,
        )?;
        if opened.read_only {
            output::tell(&format!(
                "{} can't be written, so it is read without a lock: nobody else may write it meanwhile",
                folder.display()
            ));
        }
        Ok(opened)
    }

    /// Opens the device of a folder, which is made if it is missing.
    ///
    /// # Errors
    /// `Locked`, `Damage`, and the device's errors.
    pub fn open_or_create(folder: &Path, device: DeviceArguments) -> Result<Self, Failure> {
        let opened = IoUringDevice::segmented_with_options(folder, PREFIX, SEGMENT_BYTES, options(device));
        Self::on(folder, opened.map(|device| (device, false)))
    }

    fn open_existing(
        folder: &Path,
        open: impl FnOnce(IoUringOptions) -> Result<(IoUringDevice, bool), DeviceError>,
        device: DeviceArguments,
    ) -> Result<Self, Failure> {
        let no_store = || {
            Failure::new(FailureKind::NotAStore, format_args!("there is no store in {}", folder.display()))
        };
        // Asked before the device is opened: opening would make the files.
        if !holds_device_files(folder) {
            return Err(no_store());
        }
        let found = Self::on(folder, open(options(device)))?;
        if found.metadata.is_none() {
            return Err(no_store());
        }
        Ok(found)
    }

    fn on(folder: &Path, opened: Result<(IoUringDevice, bool), DeviceError>) -> Result<Self, Failure> {
        let failure = |error| device_failure(folder, &error);
        let (device, read_only) = opened.map_err(failure)?;
        let loaded = MetadataArea::read(&device, ContentKind::FasterKv).map_err(failure)?;
        let metadata = loaded.map(|loaded| LogMetadata::decode(&loaded.payload)).transpose();
        let metadata = metadata.map_err(|error| store_failure(folder, &error))?;
        Ok(Self { folder: folder.to_path_buf(), device, metadata, read_only })
    }

    /// What the store holds; `None` when there is none yet.
    ///
    /// # Errors
    /// `NotAStore` for a store that another program made, with other types.
    pub fn contents(&self) -> Result<Option<Contents>, Failure> {
        let Some(metadata) = &self.metadata else { return Ok(None) };
        let owner = metadata.owner;
        let key_codec = <<Vec<u8> as PersistKey>::Codec as KeyCodec<Vec<u8>>>::NUMBER;
        let contents =
            [(value_codec::<Vec<u8>>(), Contents::Records), (value_codec::<u64>(), Contents::Counts)];
        let found = contents.into_iter().find(|(number, _)| *number == owner.value_codec);
        match found {
            Some((_, contents)) if owner.key_codec == key_codec => Ok(Some(contents)),
            _ => Err(Failure::new(
                FailureKind::NotAStore,
                format_args!(
                    "the store in {} was made by another program: its key codec is {:#x} and its value codec {:#x}",
                    self.folder.display(),
                    owner.key_codec,
                    owner.value_codec
                ),
            )),
        }
    }

    /// Metadata of the store, if there is one.
    #[must_use]
    pub fn metadata(&self) -> Option<&LogMetadata> {
        self.metadata.as_ref()
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> &IoUringDevice {
        &self.device
    }

    /// Divides memory for this store. `table_may_grow` is for commands that write much.
    ///
    /// # Errors
    /// A usage failure when it is too little.
    pub fn plan_memory(
        &self,
        total_bytes: u64,
        threads: usize,
        command_bytes: u64,
        table_may_grow: bool,
    ) -> Result<MemoryPlan, Failure> {
        let existing = self.metadata.as_ref().map(|metadata| Existing {
            page_bytes: metadata.layout().page_bytes(),
            pages_min: FRAMES_MIN,
            buckets: 1 << metadata.owner.table_bits,
            table_may_grow,
        });
        let io_bytes = io_bytes(total_bytes);
        let threads = threads as u64;
        let (takes_input, keys) = (true, None);
        MemoryPlan::new(&Demand {
            total_bytes,
            threads,
            command_bytes,
            io_bytes,
            takes_input,
            keys,
            existing,
        })
    }

    /// Opens the store, or makes it, and shows on a terminal how far it is: opening reads the whole log.
    ///
    /// # Errors
    /// `NotAStore` when the folder holds something else than `V`; `Damage`, and the device's errors; a usage failure when the
    /// memory is too little for its keys.
    pub fn open<V: StoredValue>(self, plan: &MemoryPlan) -> Result<Store<V>, Failure> {
        let line = OpeningLine::new();
        let shown = line.clone();
        let opened = self.open_with(plan, move |progress| shown.show(progress));
        line.finish();
        opened
    }

    fn open_with<V: StoredValue>(
        self,
        plan: &MemoryPlan,
        on_progress: impl Fn(RecoveryProgress) + Sync + 'static,
    ) -> Result<Store<V>, Failure> {
        if let Some(found) = self.contents()?
            && found != V::CONTENTS
        {
            return Err(Failure::new(
                FailureKind::NotAStore,
                format_args!(
                    "{} holds {}, this command needs {}: use another folder",
                    self.folder.display(),
                    found.name(),
                    V::CONTENTS.name()
                ),
            ));
        }
        let builder = FasterKv::<_, _, IoUringDevice>::builder().config(store_config(plan));
        let opened = builder.on_recovery_progress(on_progress).open(self.device);
        let kv = opened.map_err(|error| match (too_many_keys(&error), plan.demand.existing) {
            (Some(keys), Some(existing)) => too_little(&self.folder, plan, &existing, keys),
            _ => store_failure(&self.folder, &error),
        })?;
        Ok(Store { folder: self.folder, kv: Arc::new(kv), read_only: self.read_only })
    }
}

fn options(device: DeviceArguments) -> IoUringOptions {
    IoUringOptions::default().with_rings(match device.device {
        DeviceChoice::Auto => RingUse::IfOffered,
        DeviceChoice::IoUring => RingUse::Required,
        DeviceChoice::File => RingUse::Never,
    })
}

fn value_codec<V: PersistValue>() -> u32 {
    <V::Codec as ValueCodec<V>>::NUMBER
}

/// Bytes of I/O buffers of a store that gets so much memory in all.
#[must_use]
pub fn io_bytes(total_bytes: u64) -> u64 {
    FasterKvConfig::default().with_reads_in_flight(reads_in_flight(total_bytes)).memory_plan().io_bytes
}

/// The store's configuration for a plan.
#[must_use]
pub fn store_config(plan: &MemoryPlan) -> FasterKvConfig {
    FasterKvConfig {
        table_size: plan.buckets(),
        log_memory_size: plan.log_bytes,
        page_size_bits: PAGE_SIZE_BITS_MAX,
        overflow_buckets: Some(plan.overflow_buckets()),
        reads_in_flight: reads_in_flight(plan.total_bytes),
        ..FasterKvConfig::default()
    }
}

/// An open store with byte keys.
#[derive(Debug)]
pub struct Store<V: StoredValue> {
    folder: PathBuf,
    kv: Arc<FasterKv<Vec<u8>, V, IoUringDevice>>,
    read_only: bool,
}

impl<V: StoredValue> Store<V> {
    /// Starts a session.
    ///
    /// # Errors
    /// The store's errors.
    pub fn session(&self) -> Result<StoreSession<V>, Failure> {
        let session = self.kv.start_session().map_err(|error| store_failure(&self.folder, &error))?;
        Ok(StoreSession { folder: self.folder.clone(), session })
    }

    /// Starts `count` sessions.
    ///
    /// # Errors
    /// As [`Store::session`].
    pub fn sessions(&self, count: usize) -> Result<Vec<StoreSession<V>>, Failure> {
        (0..count).map(|_| self.session()).collect()
    }

    /// Largest key and value together, in bytes, that a page holds.
    #[must_use]
    pub fn record_bytes_max(&self) -> usize {
        let layout: PageLayout = self.kv.log().layout();
        let bytes = (layout.record_words_max() * 8).saturating_sub(RECORD_OVERHEAD_BYTES);
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    /// Makes everything durable that was acknowledged.
    ///
    /// # Errors
    /// The device's error: the last consistent point stands then.
    pub fn flush(&self) -> Result<(), Failure> {
        self.kv.flush().map(drop).map_err(|error| store_failure(&self.folder, &error))
    }

    /// Flushes and closes, and adds what the run did to the store's [`Totals`]; not when it was opened for reading only.
    ///
    /// # Errors
    /// As [`Store::flush`].
    pub fn close(&self) -> Result<(), Failure> {
        if self.read_only {
            return Ok(());
        }
        self.kv.close().map_err(|error| store_failure(&self.folder, &error))?;
        let statistics = self.kv.stats();
        if statistics.operations.total() > 0 {
            Totals::add_run(&self.folder, statistics);
        }
        Ok(())
    }

    /// The `--memory`, in MiB, with which commands open this store again, if that may be more than this run was given: the index is
    /// full, so keys share entries. A key that was written twice may be counted twice.
    #[must_use]
    pub fn more_to_reopen(&self, plan: &MemoryPlan) -> Option<u64> {
        let (statistics, used) = (self.kv.stats(), self.kv.memory_plan());
        if used.overflow_bytes > statistics.index_overflow_buckets * BUCKET_BYTES as u64 {
            return None;
        }
        let index = IndexDemand {
            keys: self.kv.recovery_report().records + statistics.appended_records,
            table_size: statistics.index_buckets,
            page_bytes: self.kv.log().layout().page_bytes(),
        };
        // The commands that look at keys leave the table as it is.
        let existing = Existing {
            page_bytes: index.page_bytes,
            pages_min: FRAMES_MIN,
            buckets: index.table_size,
            table_may_grow: false,
        };
        let look = Demand { threads: 1, command_bytes: 0, existing: Some(existing), ..plan.demand };
        let least = least_mebibytes(&plan.demand, &index).max(least_mebibytes(&look, &index));
        (least << 20 > plan.total_bytes).then_some(least)
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Statistics since the store was opened.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.kv.stats()
    }

    /// The store itself.
    #[must_use]
    pub fn kv(&self) -> &FasterKv<Vec<u8>, V, IoUringDevice> {
        &self.kv
    }
}

/// One thread's way into a store.
#[derive(Debug)]
pub struct StoreSession<V: StoredValue> {
    folder: PathBuf,
    session: Session<Vec<u8>, V, IoUringDevice>,
}

impl<V: StoredValue> StoreSession<V> {
    /// The value of a key.
    ///
    /// # Errors
    /// The store's errors.
    pub fn read(&mut self, key: &[u8]) -> Result<Option<V>, Failure> {
        self.session.read(key).map_err(|error| store_failure(&self.folder, &error))
    }

    /// Deletes a key; returns the value that it had.
    ///
    /// # Errors
    /// The store's errors.
    pub fn remove(&mut self, key: &[u8]) -> Result<Option<V>, Failure> {
        self.session.remove(key).map_err(|error| store_failure(&self.folder, &error))
    }
}

impl RecordSink for StoreSession<Vec<u8>> {
    fn upsert_batch(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        let mut records = batch.iter();
        let mut pairs: Vec<(&[u8], &[u8])> = Vec::with_capacity(BATCH.min(batch.len()));
        loop {
            pairs.clear();
            pairs.extend(records.by_ref().take(BATCH));
            if pairs.is_empty() {
                return Ok(());
            }
            self.session.upsert_batch(&pairs).map_err(|error| store_failure(&self.folder, &error))?;
        }
    }
}

impl<V: StoredValue + FetchAdd + Into<u64> + From<u8>> CountSink for StoreSession<V> {
    fn add_one_each(&mut self, keys: &KeyBatch) -> Result<Vec<u64>, Failure> {
        let ones: Vec<(&[u8], V)> = keys.iter().map(|key| (key, V::from(1))).collect();
        let before =
            self.session.fetch_add_batch(&ones).map_err(|error| store_failure(&self.folder, &error))?;
        Ok(before.into_iter().map(|before| before.into() + 1).collect())
    }
}

/// Whether the folder holds files of a device: `store.meta`, or `store.{index}.log`.
fn holds_device_files(folder: &Path) -> bool {
    std::fs::read_dir(folder).is_ok_and(|entries| {
        entries.flatten().any(|entry| entry.file_name().to_str().is_some_and(is_device_file))
    })
}

fn is_device_file(name: &str) -> bool {
    let Some(rest) = name.strip_prefix(PREFIX).and_then(|rest| rest.strip_prefix('.')) else { return false };
    let index = rest.strip_suffix(".log");
    rest == "meta"
        || index.is_some_and(|index| index.len() >= 6 && index.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use oxifaster_device::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn opening_tells_how_far_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let open = || {
            let found = StoreFolder::open_or_create(folder.path(), DeviceArguments::default()).unwrap();
            let plan = found.plan_memory(10 << 20, 1, 0, false).unwrap();
            let seen = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
            let seen_there = Arc::clone(&seen);
            let store: Store<Vec<u8>> = found
                .open_with(&plan, move |progress| {
                    seen_there[0].fetch_max(progress.pages_done, Ordering::Relaxed);
                    seen_there[1].fetch_max(progress.pages_total, Ordering::Relaxed);
                })
                .unwrap();
            (store, seen.each_ref().map(|number| number.load(Ordering::Relaxed)))
        };
        let (store, new) = open();
        assert_eq!(new, [0, 0]);
        let mut session = store.session().unwrap().session;
        let value = vec![7; 1000];
        (0..2000_u64).for_each(|key| session.upsert(&key.to_le_bytes()[..], &value[..]).unwrap());
        store.close().unwrap();
        drop((session, store));
        let (_, [done, total]) = open();
        assert!(done == total && done > 10, "{done} of {total}");
    }

    #[test]
    fn files_of_a_device_are_known_by_their_names() {
        for (name, ours) in [
            ("store.meta", true),
            ("store.000000.log", true),
            ("store.1234567.log", true),
            ("store.txt", false),
            ("store.log", false),
            ("store.meta.bak", false),
            ("store.00000a.log", false),
            ("stores.meta", false),
        ] {
            assert_eq!(is_device_file(name), ours, "{name}");
        }
    }
}
