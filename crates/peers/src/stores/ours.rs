//! This repository's store on a file, with log memory for all data.
//!
//! One bucket for four keys, as the in-memory comparison; the device with rings where the kernel offers them. Nothing is read
//! from it here, since everything fits; pages behind the mutable part are written.

use std::sync::Arc;

use oxifaster::device::{IoUringDevice, StorageDevice};
use oxifaster::store::{FasterKv, FasterKvConfig, Session};

use super::{Demand, Done, Failure, Job, Store};
use crate::engines::Handle;

pub struct Ours(Arc<FasterKv<u64, u64, IoUringDevice>>);

impl Ours {
    pub fn open(demand: Demand<'_>) -> Result<Self, Failure> {
        let config = FasterKvConfig {
            table_size: (demand.keys / 4).next_power_of_two(),
            // A record has 24 bytes; the rest is the share that is never updated in place.
            log_memory_size: demand.keys * 32 + (64 << 20),
            ..Default::default()
        };
        let device = IoUringDevice::new(demand.folder.join("store"))?;
        Ok(Self(Arc::new(FasterKv::open(config, device)?)))
    }

    /// The device, with all data on it.
    pub fn flushed_device(&self) -> Result<&dyn StorageDevice, Failure> {
        self.0.flush()?;
        Ok(self.0.device())
    }
}

impl Store for Ours {
    fn name(&self) -> &'static str {
        "oxifaster"
    }

    fn run(&self, job: &Job<'_>) -> Done {
        job.on(&mut OursHandle(self.0.start_session().expect("session")))
    }
}

struct OursHandle(Session<u64, u64, IoUringDevice>);

impl Handle for OursHandle {
    #[inline]
    fn read(&mut self, key: u64) -> Option<u64> {
        self.0.read(&key).expect("read")
    }

    #[inline]
    fn upsert(&mut self, key: u64, value: u64) {
        self.0.upsert(key, value).expect("upsert");
    }

    #[inline]
    fn rmw(&mut self, key: u64) {
        let changed = self.0.rmw(key, |value| {
            *value = value.wrapping_add(1);
            true
        });
        changed.expect("rmw");
    }

    fn read_batch(&mut self, keys: &[u64], sum: &mut u64) {
        for value in self.0.read_batch(keys).expect("read_batch") {
            *sum = sum.wrapping_add(value.unwrap_or(0));
        }
    }

    fn upsert_batch(&mut self, pairs: &[(u64, u64)]) {
        self.0.upsert_batch(pairs).expect("upsert_batch");
    }

    fn rmw_batch(&mut self, keys: &[u64]) {
        let changed = self.0.rmw_batch(keys, |_, value| {
            *value = value.wrapping_add(1);
            true
        });
        changed.expect("rmw_batch");
    }
}
