//! sled 0.34, its last release that is not an alpha.
//!
//! By its documentation: `Mode::HighThroughput`, a cache for the whole data set, and no periodic flush, since nobody asks for
//! durability of single writes here. A read-modify-write is its atomic `update_and_fetch`. Its batches are for atomicity and no
//! faster than loops: batches are loops.

use sled::{Config, Db, Mode};

use super::{Demand, Done, Failure, Job, Store, number};
use crate::engines::Handle;

pub struct Sled(Db);

impl Sled {
    pub fn open(demand: Demand<'_>) -> Result<Self, Failure> {
        let config = Config::new()
            .path(demand.folder.join("sled"))
            .cache_capacity(demand.cache_bytes())
            .mode(Mode::HighThroughput)
            .flush_every_ms(None);
        Ok(Self(config.open()?))
    }
}

impl Store for Sled {
    fn name(&self) -> &'static str {
        "sled"
    }

    fn run(&self, job: &Job<'_>) -> Done {
        job.on(&mut SledHandle(&self.0))
    }
}

struct SledHandle<'d>(&'d Db);

impl Handle for SledHandle<'_> {
    fn read(&mut self, key: u64) -> Option<u64> {
        self.0.get(key.to_be_bytes()).expect("get").map(|value| number(&value))
    }

    fn upsert(&mut self, key: u64, value: u64) {
        self.0.insert(key.to_be_bytes(), &value.to_le_bytes()).expect("insert");
    }

    fn rmw(&mut self, key: u64) {
        let add = |value: Option<&[u8]>| Some(value.map_or(0, number).wrapping_add(1).to_le_bytes().to_vec());
        self.0.update_and_fetch(key.to_be_bytes(), add).expect("update_and_fetch");
    }
}
