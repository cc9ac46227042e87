//! fjall, set up for point look-ups of data larger than its memory.
//!
//! By its documentation: a block cache of a quarter of the memory, the rest is the system's for its page cache; data blocks of 4 KiB,
//! its default, which it names for point reads; `expect_point_read_hits`, since every key that is asked for is there; no
//! compression, as for the others. Loading is its ingestion of sorted keys. It has no batched reads.

use fjall::config::CompressionPolicy;
use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::{ColdStore, Demand, Reader, is_value, value_of};
use crate::stores::Failure;

pub struct Fjall {
    database: Database,
    keyspace: Keyspace,
}

impl Fjall {
    pub fn open(demand: Demand<'_>) -> Result<Self, Failure> {
        let database = Database::builder(demand.folder).cache_size(demand.memory_bytes / 4).open()?;
        let options = || {
            KeyspaceCreateOptions::default()
                .expect_point_read_hits(true)
                .data_block_compression_policy(CompressionPolicy::all(CompressionType::None))
        };
        let keyspace = database.keyspace("keys", options)?;
        Ok(Self { database, keyspace })
    }
}

impl ColdStore for Fjall {
    fn load(&self, demand: Demand<'_>) -> Result<(), Failure> {
        let mut ingestion = self.keyspace.start_ingestion()?;
        for key in 0..demand.keys {
            ingestion.write(key.to_be_bytes(), value_of(key, demand.value_bytes))?;
        }
        ingestion.finish()?;
        Ok(())
    }

    fn reader(&self) -> Result<Box<dyn Reader + '_>, Failure> {
        Ok(Box::new(FjallReader(&self.keyspace)))
    }

    fn close(self: Box<Self>) -> Result<(), Failure> {
        Ok(self.database.persist(PersistMode::SyncAll)?)
    }
}

struct FjallReader<'d>(&'d Keyspace);

impl Reader for FjallReader<'_> {
    fn read(&mut self, key: u64) -> Result<bool, Failure> {
        Ok(self.0.get(key.to_be_bytes())?.is_some_and(|value| is_value(&value, key)))
    }
}
