//! RocksDB, set up for point look-ups of data that fit into its block cache.
//!
//! By the advice of its wiki (*Setup Options and Basic Tuning*, *RocksDB Bloom Filter*): ten bits of bloom filter for
//! each key, a hash index in data blocks, index and filter blocks in the cache and pinned, background threads for the
//! cores, and larger write buffers. No compression, which costs time where all fits; no write-ahead log, since
//! nobody asks for durability of single writes here. A read-modify-write is its merge operator, which is atomic without a
//! transaction and defers the work to reads: the fastest way it has. Batches are `WriteBatch` and the batched `MultiGet`.

use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, ColumnFamilyDescriptor, DB, DBCompressionType,
    DataBlockIndexType, MergeOperands, Options, WriteBatch, WriteOptions,
};

use oxifaster_workload::Operation;

use super::{Demand, Done, Failure, Job, Store, number};
use crate::engines::Handle;

/// The column family that every database has.
const FAMILY: &str = "default";

pub struct Rocks {
    db: DB,
}

/// What makes a cache: a result in older versions of the crate.
trait Made {
    fn made(self) -> Result<Cache, Failure>;
}

impl Made for Cache {
    fn made(self) -> Result<Cache, Failure> {
        Ok(self)
    }
}

impl Made for Result<Cache, rocksdb::Error> {
    fn made(self) -> Result<Cache, Failure> {
        Ok(self?)
    }
}

/// The sum of the value and all operands.
fn add(_key: &[u8], existing: Option<&[u8]>, operands: &MergeOperands) -> Option<Vec<u8>> {
    let first = existing.map_or(0, number);
    let sum = operands.iter().fold(first, |sum, operand| sum.wrapping_add(number(operand)));
    Some(sum.to_le_bytes().to_vec())
}

/// A cache of blocks.
pub fn cache(bytes: usize) -> Result<Cache, Failure> {
    Cache::new_lru_cache(bytes).made()
}

impl Rocks {
    pub fn open(demand: Demand<'_>) -> Result<Self, Failure> {
        let mut blocks = BlockBasedOptions::default();
        blocks.set_block_cache(&cache(usize::try_from(demand.cache_bytes())?)?);
        blocks.set_bloom_filter(10.0, false);
        blocks.set_index_type(BlockBasedIndexType::BinarySearch);
        blocks.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
        blocks.set_data_block_hash_ratio(0.75);
        blocks.set_cache_index_and_filter_blocks(true);
        blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_block_based_table_factory(&blocks);
        options.set_compression_type(DBCompressionType::None);
        options.increase_parallelism(i32::try_from(std::thread::available_parallelism()?.get())?);
        options.set_write_buffer_size(128 << 20);
        options.set_max_write_buffer_number(4);
        options.set_memtable_whole_key_filtering(true);
        options.set_memtable_prefix_bloom_ratio(0.1);
        options.set_merge_operator_associative("add", add);
        // The family is named so that batched reads, which want one, have its handle.
        let family = ColumnFamilyDescriptor::new(FAMILY, options.clone());
        Ok(Self { db: DB::open_cf_descriptors(&options, demand.folder.join("rocksdb"), [family])? })
    }
}

impl Store for Rocks {
    fn name(&self) -> &'static str {
        "RocksDB"
    }

    fn run(&self, job: &Job<'_>) -> Done {
        let mut options = WriteOptions::default();
        options.disable_wal(true);
        job.on(&mut RocksHandle { db: &self.db, options })
    }

    fn load(&self, keys: &[u64]) {
        self.run(&Job { operation: Operation::Upsert, keys, batch: 1024, time: None });
        self.db.flush().expect("flush");
        self.db.compact_range(None::<&[u8]>, None::<&[u8]>);
    }
}

struct RocksHandle<'d> {
    db: &'d DB,
    options: WriteOptions,
}

impl Handle for RocksHandle<'_> {
    fn read(&mut self, key: u64) -> Option<u64> {
        self.db.get_pinned(key.to_be_bytes()).expect("get").map(|value| number(&value))
    }

    fn upsert(&mut self, key: u64, value: u64) {
        self.db.put_opt(key.to_be_bytes(), value.to_le_bytes(), &self.options).expect("put");
    }

    fn rmw(&mut self, key: u64) {
        self.db.merge_opt(key.to_be_bytes(), 1_u64.to_le_bytes(), &self.options).expect("merge");
    }

    fn read_batch(&mut self, keys: &[u64], sum: &mut u64) {
        let family = self.db.cf_handle(FAMILY).expect("the default family");
        let bytes: Vec<[u8; 8]> = keys.iter().map(|key| key.to_be_bytes()).collect();
        for value in self.db.batched_multi_get_cf(&family, &bytes, false) {
            *sum = sum.wrapping_add(value.expect("multi_get").map_or(0, |value| number(&value)));
        }
    }

    fn upsert_batch(&mut self, pairs: &[(u64, u64)]) {
        let mut batch = WriteBatch::default();
        pairs.iter().for_each(|(key, value)| batch.put(key.to_be_bytes(), value.to_le_bytes()));
        self.db.write_opt(batch, &self.options).expect("write");
    }

    fn rmw_batch(&mut self, keys: &[u64]) {
        let mut batch = WriteBatch::default();
        keys.iter().for_each(|key| batch.merge(key.to_be_bytes(), 1_u64.to_le_bytes()));
        self.db.write_opt(batch, &self.options).expect("write");
    }
}
