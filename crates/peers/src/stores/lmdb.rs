#![expect(unsafe_code, reason = "opening a memory-mapped file is unsafe in heed")]
//! LMDB, by heed.
//!
//! Everything is mapped, so its cache is the system's. Everything happens in transactions: a single operation is one of its
//! own, a batch is one transaction. By its documentation, `MDB_NOSYNC` with `MDB_WRITEMAP` is the fastest where nobody asks
//! for durability of single writes. One writer at a time is its design.
//!
//! # Soundness
//! 1. The mapped file lies in a folder that was made for this run and is opened by one process at a time, once in it: nobody
//!    else changes or truncates it.
//! 2. Without syncs, a crash of the system may leave a file that must not be opened again: no run opens a file of another one.

use std::path::Path;

use heed::byteorder::{BE, LE};
use heed::types::U64;
use heed::{Database, Env, EnvFlags, EnvOpenOptions};

use oxifaster_workload::Operation;

use super::{Demand, Done, Failure, Job, LOAD_TRANSACTION, Store};
use crate::engines::Handle;

pub struct Lmdb {
    environment: Env,
    database: Database<U64<BE>, U64<LE>>,
}

/// Opens what lies in a folder of this run.
pub fn open_environment(folder: &Path, map_bytes: u64, flags: EnvFlags) -> Result<Env, Failure> {
    let mut options = EnvOpenOptions::new();
    options.map_size(usize::try_from(map_bytes)?.next_multiple_of(1 << 20));
    // SAFETY: obligation 2.
    unsafe { options.flags(flags) };
    // SAFETY: obligation 1.
    let environment = unsafe { options.open(folder)? };
    Ok(environment)
}

impl Lmdb {
    pub fn open(demand: Demand<'_>) -> Result<Self, Failure> {
        let folder = demand.folder.join("lmdb");
        std::fs::create_dir_all(&folder)?;
        let flags = EnvFlags::NO_SYNC | EnvFlags::WRITE_MAP;
        let environment = open_environment(&folder, demand.cache_bytes() * 4, flags)?;
        let mut transaction = environment.write_txn()?;
        let database = environment.create_database(&mut transaction, None)?;
        transaction.commit()?;
        Ok(Self { environment, database })
    }
}

impl Store for Lmdb {
    fn name(&self) -> &'static str {
        "LMDB"
    }

    fn run(&self, job: &Job<'_>) -> Done {
        job.on(&mut LmdbHandle(self))
    }

    fn load(&self, keys: &[u64]) {
        self.run(&Job { operation: Operation::Upsert, keys, batch: LOAD_TRANSACTION, time: None });
    }
}

struct LmdbHandle<'d>(&'d Lmdb);

impl Handle for LmdbHandle<'_> {
    fn read(&mut self, key: u64) -> Option<u64> {
        let transaction = self.0.environment.read_txn().expect("read_txn");
        self.0.database.get(&transaction, &key).expect("get")
    }

    fn upsert(&mut self, key: u64, value: u64) {
        self.upsert_batch(&[(key, value)]);
    }

    fn rmw(&mut self, key: u64) {
        self.rmw_batch(&[key]);
    }

    fn read_batch(&mut self, keys: &[u64], sum: &mut u64) {
        let transaction = self.0.environment.read_txn().expect("read_txn");
        for key in keys {
            *sum = sum.wrapping_add(self.0.database.get(&transaction, key).expect("get").unwrap_or(0));
        }
    }

    fn upsert_batch(&mut self, pairs: &[(u64, u64)]) {
        let mut transaction = self.0.environment.write_txn().expect("write_txn");
        for (key, value) in pairs {
            self.0.database.put(&mut transaction, key, value).expect("put");
        }
        transaction.commit().expect("commit");
    }

    fn rmw_batch(&mut self, keys: &[u64]) {
        let mut transaction = self.0.environment.write_txn().expect("write_txn");
        for key in keys {
            let value = self.0.database.get(&transaction, key).expect("get").unwrap_or(0);
            self.0.database.put(&mut transaction, key, &value.wrapping_add(1)).expect("put");
        }
        transaction.commit().expect("commit");
    }
}
