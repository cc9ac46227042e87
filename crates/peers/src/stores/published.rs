//! `oxifaster` 0.1.3 as the registry has it: the same design, written by others.
//!
//! Set up by its README: `FasterKvConfig` with a table and log memory as large as ours, `FileSystemDisk::single_file`, a session
//! for each thread. It has no batched calls: batches are loops.

use std::sync::Arc;

use published::device::FileSystemDisk;
use published::store::{FasterKv, FasterKvConfig};

use super::{Demand, Done, Failure, Job, Store};
use crate::engines::Handle;

pub struct Published(Arc<FasterKv<u64, u64, FileSystemDisk>>);

impl Published {
    pub fn open(demand: Demand<'_>) -> Result<Self, Failure> {
        let config = FasterKvConfig {
            table_size: (demand.keys / 4).next_power_of_two(),
            log_memory_size: (demand.keys * 32 + (64 << 20)).next_power_of_two(),
            ..Default::default()
        };
        let device = FileSystemDisk::single_file(demand.folder.join("store"))?;
        Ok(Self(Arc::new(FasterKv::new(config, device))))
    }
}

impl Store for Published {
    fn name(&self) -> &'static str {
        "oxifaster 0.1.3"
    }

    fn run(&self, job: &Job<'_>) -> Done {
        job.on(&mut PublishedHandle(self.0.start_session().expect("session")))
    }
}

struct PublishedHandle(published::store::Session<u64, u64, FileSystemDisk>);

impl Handle for PublishedHandle {
    #[inline]
    fn read(&mut self, key: u64) -> Option<u64> {
        self.0.read(&key).expect("read")
    }

    #[inline]
    fn upsert(&mut self, key: u64, value: u64) {
        self.0.upsert(key, value);
    }

    #[inline]
    fn rmw(&mut self, key: u64) {
        self.0.rmw(key, |value| {
            *value = value.wrapping_add(1);
            true
        });
    }
}
