//! fjall, set up for point look-ups of data that fit into its block cache.
//!
//! By its documentation: a block cache for the whole data set where that fits, data blocks of 4 KiB (its default, which it
//! names for point reads), no compression, and the journal handed to the operating system by hand, since nobody asks
//! for durability of single writes here. Loading is its ingestion of sorted keys. Batches of writes are its `WriteBatch`; it has no batched reads. It has no
//! merge operator and no atomic update outside of transactions, so a read-modify-write is a read and a write under a lock
//! that is one of 64, chosen by the key: cheaper than its transactions.

use std::sync::Mutex;

use fjall::config::CompressionPolicy;
use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions};

use super::{Demand, Done, Failure, Job, Store, number};
use crate::engines::Handle;

const LOCKS: usize = 64;

pub struct Fjall {
    database: Database,
    keyspace: Keyspace,
    locks: [Mutex<()>; LOCKS],
}

impl Fjall {
    pub fn open(demand: Demand<'_>) -> Result<Self, Failure> {
        let database = Database::builder(demand.folder.join("fjall"))
            .cache_size(demand.cache_bytes())
            .manual_journal_persist(true)
            .open()?;
        let options = || {
            KeyspaceCreateOptions::default()
                .manual_journal_persist(true)
                .data_block_compression_policy(CompressionPolicy::all(CompressionType::None))
        };
        let keyspace = database.keyspace("keys", options)?;
        Ok(Self { database, keyspace, locks: std::array::from_fn(|_| Mutex::default()) })
    }
}

impl Store for Fjall {
    fn name(&self) -> &'static str {
        "fjall"
    }

    fn run(&self, job: &Job<'_>) -> Done {
        job.on(&mut FjallHandle(self))
    }

    fn load(&self, keys: &[u64]) {
        let mut ingestion = self.keyspace.start_ingestion().expect("start_ingestion");
        for key in keys {
            ingestion.write(key.to_be_bytes(), key.to_le_bytes()).expect("write");
        }
        ingestion.finish().expect("finish");
    }
}

struct FjallHandle<'d>(&'d Fjall);

impl Handle for FjallHandle<'_> {
    fn read(&mut self, key: u64) -> Option<u64> {
        self.0.keyspace.get(key.to_be_bytes()).expect("get").map(|value| number(&value))
    }

    fn upsert(&mut self, key: u64, value: u64) {
        self.0.keyspace.insert(key.to_be_bytes(), value.to_le_bytes()).expect("insert");
    }

    fn rmw(&mut self, key: u64) {
        let _guard = self.0.locks[key as usize % LOCKS].lock().expect("lock");
        let value = self.read(key).unwrap_or(0);
        self.upsert(key, value.wrapping_add(1));
    }

    fn upsert_batch(&mut self, pairs: &[(u64, u64)]) {
        let mut batch = self.0.database.batch();
        for (key, value) in pairs {
            batch.insert(&self.0.keyspace, key.to_be_bytes(), value.to_le_bytes());
        }
        batch.commit().expect("commit");
    }
}
