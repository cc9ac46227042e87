//! The stores of the cold comparison behind one trait. Keys are numbers of 8 bytes, values begin with their key.
//!
//! Each gets the same memory and divides it by its own advice; what is set stands at the top of its file. Loading has no
//! limit: it is each store's fastest way for keys that come in order. It ends with everything on the device, and
//! compacted where a store does that.
//!
//! | file | store | cargo feature |
//! |---|---|---|
//! | `ours` | this repository's | |
//! | `rocks` | RocksDB | `rocksdb` |
//! | `fjall` | fjall | `fjall` |
//! | `redb` | redb | `redb` |
//! | `lmdb` | LMDB, by heed | `lmdb` |

#[cfg(feature = "fjall")]
mod fjall;
#[cfg(feature = "lmdb")]
mod lmdb;
mod ours;
#[cfg(feature = "redb")]
mod redb;
#[cfg(feature = "rocksdb")]
mod rocks;

use std::path::Path;

use crate::stores::Failure;

/// What a store is opened for.
#[derive(Clone, Copy)]
pub struct Demand<'p> {
    /// A folder of its own, empty before loading.
    pub folder: &'p Path,
    /// Keys that it has, or gets.
    pub keys: u64,
    pub value_bytes: usize,
    /// Bytes of memory that the process may use in all.
    pub memory_bytes: u64,
    /// Device reads in flight, for stores that are told.
    pub depth: usize,
}

/// What a process needs besides the memory that its store is told to use: code, stacks, buffers, the kernel's tables.
const PROCESS_BYTES: u64 = 32 << 20;

impl Demand<'_> {
    /// Bytes that a store may plan with.
    pub fn store_bytes(&self) -> u64 {
        self.memory_bytes.saturating_sub(PROCESS_BYTES)
    }
}

/// A store with its data on a device.
pub trait ColdStore: Sync {
    /// Puts in all keys, in their order.
    fn load(&self, demand: Demand<'_>) -> Result<(), Failure>;
    /// A thread's handle.
    fn reader(&self) -> Result<Box<dyn Reader + '_>, Failure>;
    /// Whether many keys in one call are more than a loop.
    fn has_batches(&self) -> bool {
        false
    }
    /// Leaves everything on the device.
    fn close(self: Box<Self>) -> Result<(), Failure> {
        Ok(())
    }
}

/// A thread's handle on a store.
pub trait Reader {
    /// Whether the key is there with its value.
    fn read(&mut self, key: u64) -> Result<bool, Failure>;
    /// How many of the keys are there with their values.
    fn read_batch(&mut self, keys: &[u64]) -> Result<usize, Failure> {
        let mut found = 0;
        for key in keys {
            found += usize::from(self.read(*key)?);
        }
        Ok(found)
    }
}

/// Opens a store.
pub type Open = fn(Demand<'_>) -> Result<Box<dyn ColdStore>, Failure>;

/// The stores that this build has: the names of their features, and what they are called.
pub fn all() -> Vec<(&'static str, &'static str, Open)> {
    vec![
        ("oxifaster", "oxifaster", ours::open),
        #[cfg(feature = "rocksdb")]
        ("rocksdb", "RocksDB", |demand| Ok(Box::new(rocks::Rocks::open(demand)?))),
        #[cfg(feature = "fjall")]
        ("fjall", "fjall", |demand| Ok(Box::new(fjall::Fjall::open(demand)?))),
        #[cfg(feature = "redb")]
        ("redb", "redb", |demand| Ok(Box::new(redb::Redb::open(demand)?))),
        #[cfg(feature = "lmdb")]
        ("lmdb", "LMDB", |demand| Ok(Box::new(lmdb::Lmdb::open(demand)?))),
    ]
}

/// A value for peers that keep bytes: the key, and the key again.
#[cfg(any(feature = "fjall", feature = "lmdb", feature = "redb", feature = "rocksdb"))]
fn value_of(key: u64, value_bytes: usize) -> Vec<u8> {
    key.to_le_bytes().into_iter().cycle().take(value_bytes).collect()
}

/// Whether bytes are the key's value.
#[cfg(any(feature = "fjall", feature = "lmdb", feature = "redb", feature = "rocksdb"))]
fn is_value(bytes: &[u8], key: u64) -> bool {
    bytes.starts_with(&key.to_le_bytes())
}
