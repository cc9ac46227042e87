//! LMDB, by heed: its cache is the system's.
//!
//! By its documentation: `MDB_NORDAHEAD` where the data are larger than memory and reads are random; loading appends keys in their order
//! (`MDB_APPEND`), which fills pages, in transactions without syncs. A read is a transaction of its own, as in a program
//! that reads at different times.

use heed::byteorder::BE;
use heed::types::{Bytes, U64};
use heed::{Database, Env, EnvFlags, PutFlags};

use super::{ColdStore, Demand, Reader, is_value, value_of};
use crate::stores::{Failure, lmdb};

const LOAD_BATCH: u64 = 100_000;

pub struct Lmdb {
    environment: Env,
    database: Database<U64<BE>, Bytes>,
}

impl Lmdb {
    pub fn open(demand: Demand<'_>) -> Result<Self, Failure> {
        let map_bytes = demand.keys * (demand.value_bytes as u64 + 64) * 2 + (64 << 20);
        let flags = EnvFlags::NO_SYNC | EnvFlags::WRITE_MAP | EnvFlags::NO_READ_AHEAD;
        let environment = lmdb::open_environment(demand.folder, map_bytes, flags)?;
        let mut transaction = environment.write_txn()?;
        let database = environment.create_database(&mut transaction, None)?;
        transaction.commit()?;
        Ok(Self { environment, database })
    }
}

impl ColdStore for Lmdb {
    fn load(&self, demand: Demand<'_>) -> Result<(), Failure> {
        for first in (0..demand.keys).step_by(LOAD_BATCH as usize) {
            let mut transaction = self.environment.write_txn()?;
            for key in first..demand.keys.min(first + LOAD_BATCH) {
                let value = value_of(key, demand.value_bytes);
                self.database.put_with_flags(&mut transaction, PutFlags::APPEND, &key, &value)?;
            }
            transaction.commit()?;
        }
        Ok(())
    }

    fn reader(&self) -> Result<Box<dyn Reader + '_>, Failure> {
        Ok(Box::new(LmdbReader(self)))
    }

    fn close(self: Box<Self>) -> Result<(), Failure> {
        Ok(self.environment.force_sync()?)
    }
}

struct LmdbReader<'d>(&'d Lmdb);

impl Reader for LmdbReader<'_> {
    fn read(&mut self, key: u64) -> Result<bool, Failure> {
        let transaction = self.0.environment.read_txn()?;
        Ok(self.0.database.get(&transaction, &key)?.is_some_and(|value| is_value(value, key)))
    }
}
