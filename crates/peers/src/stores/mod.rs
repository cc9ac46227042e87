//! Stores that keep their data on a device, behind one trait, and the job they all do.
//!
//! Keys and values are numbers of 8 bytes; ordered stores get keys with the highest byte first, in which loading is ascending.
//! Nobody is asked for durability of a single write, because oxifaster does not give it: each store is told so in its own
//! way. All have memory for all data. What else is set, and by whose advice, stands at the top of each file:
//!
//! | file | store | cargo feature |
//! |---|---|---|
//! | `ours` | this repository's | |
//! | `published` | `oxifaster` 0.1.3 of the registry | `published` |
//! | `rocks` | RocksDB | `rocksdb` |
//! | `fjall` | fjall | `fjall` |
//! | `redb` | redb | `redb` |
//! | `lmdb` | LMDB, by heed | `lmdb` |
//! | `sled` | sled | `sled` |

#[cfg(feature = "fjall")]
mod fjall;
#[cfg(feature = "lmdb")]
pub mod lmdb;
mod ours;
#[cfg(feature = "published")]
mod published;
#[cfg(feature = "redb")]
mod redb;
#[cfg(feature = "rocksdb")]
pub mod rocks;
#[cfg(feature = "sled")]
mod sled;

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use oxifaster_workload::Operation;

use crate::engines::Handle;

pub use ours::Ours;

pub type Failure = Box<dyn std::error::Error>;

/// What a store is opened for.
#[derive(Clone, Copy)]
pub struct Demand<'p> {
    /// An empty folder of its own.
    pub folder: &'p Path,
    /// Keys that will be there.
    pub keys: u64,
}

impl Demand<'_> {
    /// Bytes of cache that hold everything in every store's own layout, filters and indexes included.
    #[cfg(any(feature = "fjall", feature = "lmdb", feature = "redb", feature = "rocksdb", feature = "sled"))]
    pub fn cache_bytes(&self) -> u64 {
        self.keys * 128 + (64 << 20)
    }
}

/// A store that threads do jobs on.
pub trait Store: Sync {
    fn name(&self) -> &'static str;
    /// Does a job on a handle of this thread.
    fn run(&self, job: &Job<'_>) -> Done;
    /// Puts in keys that come in their order, in the fastest way that the store has for that, and finishes the background work of it
    /// where that can be asked for.
    fn load(&self, keys: &[u64]) {
        self.run(&Job { operation: Operation::Upsert, keys, batch: 1024, time: None });
    }
}

/// Operations of one kind on many keys.
pub struct Job<'k> {
    pub operation: Operation,
    pub keys: &'k [u64],
    /// Keys of a call; 1 are single calls.
    pub batch: usize,
    /// How long, over the keys again and again; `None` is once over them. Whoever is fast must not be measured for a shorter
    /// time than others: on a busy machine it would be over before anybody interrupts it.
    pub time: Option<Duration>,
}

/// How far a job came.
#[derive(Clone, Copy)]
pub struct Done {
    pub operations: usize,
    /// Sum of the values that were read.
    pub sum: u64,
    pub time: Duration,
}

impl Done {
    pub fn per_second(&self) -> f64 {
        self.operations as f64 / self.time.as_secs_f64()
    }
}

/// Keys of a transaction while loading, for stores whose commits are dear.
#[cfg(any(feature = "lmdb", feature = "redb"))]
const LOAD_TRANSACTION: usize = 65_536;

/// Keys between two looks at the clock.
const CHUNK: usize = 512;

impl Job<'_> {
    /// Does it. One copy of the loops is compiled for each store, with its operations inlined as in an application.
    #[inline(never)]
    pub fn on<H: Handle>(&self, handle: &mut H) -> Done {
        let start = Instant::now();
        let (mut operations, mut sum) = (0, 0_u64);
        loop {
            for keys in self.keys.chunks(CHUNK.next_multiple_of(self.batch)) {
                sum = sum.wrapping_add(self.chunk(handle, keys));
                operations += keys.len();
                if self.time.is_some_and(|time| start.elapsed() >= time) {
                    break;
                }
            }
            if self.time.is_none_or(|time| start.elapsed() >= time) {
                break;
            }
        }
        Done { operations, sum: black_box(sum), time: start.elapsed() }
    }

    #[inline(always)]
    fn chunk<H: Handle>(&self, handle: &mut H, keys: &[u64]) -> u64 {
        let mut sum = 0_u64;
        match (self.operation, self.batch) {
            (Operation::Read, 1) => {
                keys.iter().for_each(|key| sum = sum.wrapping_add(handle.read(*key).unwrap_or(0)));
            }
            (Operation::Read, batch) => keys.chunks(batch).for_each(|keys| handle.read_batch(keys, &mut sum)),
            (Operation::Rmw, 1) => keys.iter().for_each(|key| handle.rmw(*key)),
            (Operation::Rmw, batch) => keys.chunks(batch).for_each(|keys| handle.rmw_batch(keys)),
            (_, 1) => keys.iter().for_each(|key| handle.upsert(*key, *key)),
            (_, batch) => {
                let mut pairs = Vec::with_capacity(batch);
                for keys in keys.chunks(batch) {
                    pairs.clear();
                    pairs.extend(keys.iter().map(|key| (*key, *key)));
                    handle.upsert_batch(&pairs);
                }
            }
        }
        sum
    }
}

/// Opens a store by its name.
type Open = fn(Demand<'_>) -> Result<Box<dyn Store>, Failure>;

/// The peers that this build has, by the names of their features.
pub fn peers() -> Vec<(&'static str, Open)> {
    vec![
        #[cfg(feature = "published")]
        ("published", |demand| Ok(Box::new(published::Published::open(demand)?))),
        #[cfg(feature = "rocksdb")]
        ("rocksdb", |demand| Ok(Box::new(rocks::Rocks::open(demand)?))),
        #[cfg(feature = "fjall")]
        ("fjall", |demand| Ok(Box::new(fjall::Fjall::open(demand)?))),
        #[cfg(feature = "redb")]
        ("redb", |demand| Ok(Box::new(redb::Redb::open(demand)?))),
        #[cfg(feature = "lmdb")]
        ("lmdb", |demand| Ok(Box::new(lmdb::Lmdb::open(demand)?))),
        #[cfg(feature = "sled")]
        ("sled", |demand| Ok(Box::new(sled::Sled::open(demand)?))),
    ]
}

/// A value as every store keeps it.
#[cfg(any(feature = "fjall", feature = "rocksdb", feature = "sled"))]
fn number(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().expect("values have 8 bytes"))
}
