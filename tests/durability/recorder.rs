//! A device that watches the order of writes: no block is in flight twice, none is written a second time.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use oxifaster::device::fault::{FaultDevice, FaultPlan};
use oxifaster::device::{
    Completion, DeviceError, DeviceIdentity, Geometry, IoOperation, IoQueue, IoRequest, MetadataSlot,
    QueueOptions, SpaceUse, StorageDevice, Wait,
};

use crate::scene::{Class, Model, Varlen, Word, assert_holds, open};

const BLOCK: u64 = 4096;

/// What was seen since the device was opened.
#[derive(Debug, Default)]
struct Record {
    in_flight: HashSet<u64>,
    written: HashSet<u64>,
    writes: u64,
    complaints: Vec<String>,
}

#[derive(Clone, Debug)]
struct Recorder {
    inner: FaultDevice,
    record: Arc<Mutex<Record>>,
}

impl Recorder {
    fn new(inner: FaultDevice) -> Self {
        Self { inner, record: Arc::default() }
    }
}

#[derive(Debug)]
struct RecordedQueue {
    inner: Box<dyn IoQueue>,
    record: Arc<Mutex<Record>>,
}

fn blocks(offset: u64, operation: &IoOperation) -> std::ops::Range<u64> {
    match operation {
        IoOperation::Write(buffer) => offset / BLOCK..(offset + buffer.len_bytes() as u64) / BLOCK,
        IoOperation::Read(_) | IoOperation::Sync => 0..0,
    }
}

impl IoQueue for RecordedQueue {
    fn submit(&mut self, request: IoRequest) -> Result<(), DeviceError> {
        let mut record = self.record.lock().unwrap();
        for block in blocks(request.offset, &request.operation) {
            record.writes += 1;
            if !record.in_flight.insert(block) {
                record.complaints.push(format!("block {block} is in flight twice"));
            }
            if record.written.contains(&block) {
                record.complaints.push(format!("block {block} is written again"));
            }
        }
        drop(record);
        self.inner.submit(request)
    }

    fn kick(&mut self) -> Result<(), DeviceError> {
        self.inner.kick()
    }

    fn reap(&mut self, wait: Wait, completions: &mut Vec<Completion>) -> Result<usize, DeviceError> {
        let before = completions.len();
        let reaped = self.inner.reap(wait, completions);
        let mut record = self.record.lock().unwrap();
        for completion in &completions[before..] {
            for block in blocks(completion.offset, &completion.operation) {
                record.in_flight.remove(&block);
                record.written.insert(block);
            }
        }
        reaped
    }

    fn in_flight(&self) -> usize {
        self.inner.in_flight()
    }
}

impl StorageDevice for Recorder {
    fn describe(&self) -> String {
        self.inner.describe()
    }
    fn identity(&self) -> &DeviceIdentity {
        self.inner.identity()
    }
    fn geometry(&self) -> Geometry {
        self.inner.geometry()
    }
    fn open_queue(&self, options: QueueOptions) -> Result<Box<dyn IoQueue>, DeviceError> {
        let (inner, record) = (self.inner.open_queue(options)?, Arc::clone(&self.record));
        Ok(Box::new(RecordedQueue { inner, record }))
    }
    fn read_metadata(&self, slot: MetadataSlot, buffer: &mut [u8]) -> Result<(), DeviceError> {
        self.inner.read_metadata(slot, buffer)
    }
    fn write_metadata(&self, slot: MetadataSlot, bytes: &[u8]) -> Result<(), DeviceError> {
        self.inner.write_metadata(slot, bytes)
    }
    fn truncate_before(&self, offset: u64) -> Result<(), DeviceError> {
        self.inner.truncate_before(offset)
    }
    fn truncate_after(&self, offset: u64) -> Result<(), DeviceError> {
        self.inner.truncate_after(offset)
    }
    fn space_use(&self) -> Result<SpaceUse, DeviceError> {
        self.inner.space_use()
    }
}

/// Many flushes of partial pages while other threads write; then a second life of the same device.
fn blocks_are_written_once<C: Class>(seed: u64) {
    let plan = FaultPlan::new().reorder(1.0).delay_by_reaps(0.7, 6);
    let device = Recorder::new(FaultDevice::with_plan(seed, plan));
    let mut model = Model::new();
    let mut kept = device.inner.clone();
    for life in 0..3 {
        let device = Recorder::new(kept.clone());
        let store = open::<C, _>(device.clone()).unwrap();
        std::thread::scope(|scope| {
            for thread in 1..3 {
                let store = &store;
                scope.spawn(move || {
                    let mut session = store.start_session().unwrap();
                    for key in 0..C::PER_PAGE * 2 {
                        session.upsert(C::key(thread * 1_000_000 + key), C::value(key + life)).unwrap();
                    }
                });
            }
            let mut session = store.start_session().unwrap();
            for key in 0..60 {
                session.upsert(C::key(key), C::value(key + life)).unwrap();
                model.insert(key, key + life);
                store.flush().unwrap();
            }
        });
        store.flush().unwrap();
        let record = device.record.lock().unwrap();
        assert!(record.writes > 60, "only {} blocks were written", record.writes);
        assert_eq!(record.complaints, [] as [String; 0], "seed {seed}, life {life}");
        drop(record);
        assert_holds::<C, _>(&store, &model, 60, "after the flushes");
        drop(store);
        // Without a close: the next life cuts nothing that is consistent.
        kept = kept.crash(seed + life);
    }
}

#[test]
fn write_order_of_one_page() {
    for seed in 0..3 {
        blocks_are_written_once::<Word>(seed);
        blocks_are_written_once::<Varlen>(seed);
    }
}

/// A flush is overtaken by writers that fill the whole ring between its choice of a tail and its wait.
#[test]
fn flushes_overtaken_by_writers_stay_consistent() {
    let device = FaultDevice::new(77);
    let store = open::<Word, _>(device.clone()).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 1..4 {
            let (store, stop) = (&store, &stop);
            scope.spawn(move || {
                let mut session = store.start_session().unwrap();
                let mut key = 0;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) && key < 300_000 {
                    session.upsert(thread * 10_000_000 + key % 20_000, key).unwrap();
                    key += 1;
                }
            });
        }
        let mut session = store.start_session().unwrap();
        for round in 0..20 {
            session.upsert(round % 4, round).unwrap();
            store.flush().unwrap();
            let durable = open::<Word, _>(device.snapshot_durable()).unwrap();
            let read = durable.start_session().unwrap().read(&(round % 4)).unwrap();
            assert_eq!(read, Some(round), "round {round}");
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}
