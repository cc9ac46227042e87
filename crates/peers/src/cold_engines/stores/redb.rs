//! redb, with its own cache and the system's.
//!
//! Its documentation names no share of the memory for its cache, whose default is a whole GiB. Half of the memory is its own here, and the
//! page cache has the other half. Loading is transactions of many keys in their order, which is what its documentation advises.
//! A read is a transaction of its own, as in a program that reads at different times.

use redb::{Database, Durability, ReadableDatabase, TableDefinition};

use super::{ColdStore, Demand, Reader, is_value, value_of};
use crate::stores::Failure;

const TABLE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("keys");
const LOAD_BATCH: u64 = 100_000;
/// While loading, superseded pages are given back by durable commits only.
const DURABLE_EVERY: u64 = 16;

pub struct Redb(Database);

impl Redb {
    pub fn open(demand: Demand<'_>) -> Result<Self, Failure> {
        let cache = usize::try_from(demand.memory_bytes / 2)?;
        Ok(Self(Database::builder().set_cache_size(cache).create(demand.folder.join("redb"))?))
    }
}

impl ColdStore for Redb {
    fn load(&self, demand: Demand<'_>) -> Result<(), Failure> {
        for (place, first) in (0..demand.keys).step_by(LOAD_BATCH as usize).enumerate() {
            let last = demand.keys.min(first + LOAD_BATCH);
            let mut transaction = self.0.begin_write()?;
            let is_durable = last == demand.keys || place as u64 % DURABLE_EVERY == 0;
            transaction.set_durability(if is_durable { Durability::Immediate } else { Durability::None })?;
            {
                let mut table = transaction.open_table(TABLE)?;
                for key in first..last {
                    table.insert(key, value_of(key, demand.value_bytes).as_slice())?;
                }
            }
            transaction.commit()?;
        }
        Ok(())
    }

    fn reader(&self) -> Result<Box<dyn Reader + '_>, Failure> {
        Ok(Box::new(RedbReader(&self.0)))
    }
}

struct RedbReader<'d>(&'d Database);

impl Reader for RedbReader<'_> {
    fn read(&mut self, key: u64) -> Result<bool, Failure> {
        let table = self.0.begin_read()?.open_table(TABLE)?;
        let value = table.get(key)?;
        Ok(value.is_some_and(|value| is_value(value.value(), key)))
    }
}
