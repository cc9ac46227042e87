//! redb, with a cache for the whole file.
//!
//! Everything happens in transactions: a single operation is one of its own, a batch is one transaction, which is what its
//! documentation advises. Commits have `Durability::None`, since nobody asks for durability of single writes here; every
//! 4096th is durable, because only that gives superseded pages back. One writer at a time is its design.

use std::sync::atomic::{AtomicU64, Ordering};

use redb::{Database, Durability, ReadableDatabase, ReadableTable, Table, TableDefinition};

use oxifaster_workload::Operation;

use super::{Demand, Done, Failure, Job, LOAD_TRANSACTION, Store};
use crate::engines::Handle;

const TABLE: TableDefinition<'_, u64, u64> = TableDefinition::new("keys");
/// Commits of which one is durable.
const DURABLE_EVERY: u64 = 4096;

pub struct Redb {
    database: Database,
    commits: AtomicU64,
}

impl Redb {
    pub fn open(demand: Demand<'_>) -> Result<Self, Failure> {
        let database = Database::builder()
            .set_cache_size(usize::try_from(demand.cache_bytes())?)
            .create(demand.folder.join("redb"))?;
        Ok(Self { database, commits: AtomicU64::new(0) })
    }

    fn write(&self, change: impl FnOnce(&mut Table<'_, u64, u64>)) {
        let mut transaction = self.database.begin_write().expect("begin_write");
        let durable = self.commits.fetch_add(1, Ordering::Relaxed) % DURABLE_EVERY == DURABLE_EVERY - 1;
        let durability = if durable { Durability::Immediate } else { Durability::None };
        transaction.set_durability(durability).expect("set_durability");
        change(&mut transaction.open_table(TABLE).expect("open_table"));
        transaction.commit().expect("commit");
    }
}

impl Store for Redb {
    fn name(&self) -> &'static str {
        "redb"
    }

    fn run(&self, job: &Job<'_>) -> Done {
        job.on(&mut RedbHandle(self))
    }

    fn load(&self, keys: &[u64]) {
        self.run(&Job { operation: Operation::Upsert, keys, batch: LOAD_TRANSACTION, time: None });
    }
}

fn add_one(table: &mut Table<'_, u64, u64>, key: u64) {
    let value = table.get(key).expect("get").map_or(0, |value| value.value());
    table.insert(key, value.wrapping_add(1)).expect("insert");
}

struct RedbHandle<'d>(&'d Redb);

impl Handle for RedbHandle<'_> {
    fn read(&mut self, key: u64) -> Option<u64> {
        let table = self.0.database.begin_read().expect("begin_read").open_table(TABLE).expect("open_table");
        let value = table.get(key).expect("get");
        value.map(|value| value.value())
    }

    fn upsert(&mut self, key: u64, value: u64) {
        self.0.write(|table| drop(table.insert(key, value).expect("insert")));
    }

    fn rmw(&mut self, key: u64) {
        self.0.write(|table| add_one(table, key));
    }

    fn read_batch(&mut self, keys: &[u64], sum: &mut u64) {
        let table = self.0.database.begin_read().expect("begin_read").open_table(TABLE).expect("open_table");
        for key in keys {
            *sum = sum.wrapping_add(table.get(*key).expect("get").map_or(0, |value| value.value()));
        }
    }

    fn upsert_batch(&mut self, pairs: &[(u64, u64)]) {
        self.0.write(|table| {
            pairs.iter().for_each(|(key, value)| drop(table.insert(*key, *value).expect("insert")));
        });
    }

    fn rmw_batch(&mut self, keys: &[u64]) {
        self.0.write(|table| keys.iter().for_each(|key| add_one(table, *key)));
    }
}
