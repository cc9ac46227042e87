//! RocksDB, set up for point look-ups of data larger than its memory.
//!
//! By its wiki: blocks are read directly and cached by itself, nothing twice (*Direct IO*); the block cache is what is left of the
//! memory (*Memory usage in RocksDB*), with index and filter blocks in it and pinned; ten bits of bloom filter a key,
//! but none for the last level, since every key that is asked for is there (`optimize_filters_for_hits`, *RocksDB Bloom Filter*); a
//! hash index in data blocks (*Data Block Hash Index*); no compression, since the data don't compress in general and it would cost processor time;
//! no write-ahead log while loading; one full compaction after it. Blocks have 4 KiB, its default. Batches are its batched
//! `MultiGet` with sorted keys (*MultiGet Performance*), which reads the blocks of a file together through `io_uring` when the library was
//! built with liburing: Debian's is not.

use std::path::Path;

use rocksdb::{
    BlockBasedOptions, ColumnFamilyDescriptor, DB, DBCompressionType, DataBlockIndexType, Options,
    WriteBatch, WriteOptions,
};

use super::{ColdStore, Demand, Reader, is_value, value_of};
use crate::stores::{Failure, rocks};

/// What the process needs beyond its block cache: what blocks take in the allocator beyond their bytes, table readers, buffers of
/// direct reads.
const OTHER_BYTES: u64 = 56 << 20;
/// The smallest block cache.
const CACHE_BYTES_MIN: u64 = 8 << 20;
const LOAD_BATCH: u64 = 1000;

pub struct Rocks(DB);

fn options(demand: Demand<'_>) -> Result<Options, Failure> {
    let mut blocks = BlockBasedOptions::default();
    let cache_bytes = demand.store_bytes().saturating_sub(OTHER_BYTES).max(CACHE_BYTES_MIN);
    blocks.set_block_cache(&rocks::cache(usize::try_from(cache_bytes)?)?);
    blocks.set_bloom_filter(10.0, false);
    blocks.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
    blocks.set_data_block_hash_ratio(0.75);
    blocks.set_format_version(5);
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
    blocks.set_pin_top_level_index_and_filter(true);
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_block_based_table_factory(&blocks);
    options.set_compression_type(DBCompressionType::None);
    options.set_optimize_filters_for_hits(true);
    options.set_use_direct_reads(true);
    options.increase_parallelism(i32::try_from(std::thread::available_parallelism()?.get())?);
    options.set_write_buffer_size(64 << 20);
    Ok(options)
}

impl Rocks {
    pub fn open(demand: Demand<'_>) -> Result<Self, Failure> {
        let folder: &Path = demand.folder;
        let options = options(demand)?;
        Ok(Self(DB::open_cf_descriptors(
            &options,
            folder,
            [ColumnFamilyDescriptor::new("default", options.clone())],
        )?))
    }
}

impl ColdStore for Rocks {
    fn load(&self, demand: Demand<'_>) -> Result<(), Failure> {
        let mut options = WriteOptions::default();
        options.disable_wal(true);
        for first in (0..demand.keys).step_by(LOAD_BATCH as usize) {
            let mut batch = WriteBatch::default();
            for key in first..demand.keys.min(first + LOAD_BATCH) {
                batch.put(key.to_be_bytes(), value_of(key, demand.value_bytes));
            }
            self.0.write_opt(batch, &options)?;
        }
        self.0.flush()?;
        self.0.compact_range(None::<&[u8]>, None::<&[u8]>);
        Ok(())
    }

    fn reader(&self) -> Result<Box<dyn Reader + '_>, Failure> {
        Ok(Box::new(RocksReader(&self.0)))
    }

    fn has_batches(&self) -> bool {
        true
    }
}

struct RocksReader<'d>(&'d DB);

impl Reader for RocksReader<'_> {
    fn read(&mut self, key: u64) -> Result<bool, Failure> {
        Ok(self.0.get_pinned(key.to_be_bytes())?.is_some_and(|value| is_value(&value, key)))
    }

    fn read_batch(&mut self, keys: &[u64]) -> Result<usize, Failure> {
        let mut sorted = keys.to_vec();
        sorted.sort_unstable();
        let bytes: Vec<[u8; 8]> = sorted.iter().map(|key| key.to_be_bytes()).collect();
        let family = self.0.cf_handle("default").ok_or("no default column family")?;
        let mut found = 0;
        for (key, value) in sorted.iter().zip(self.0.batched_multi_get_cf(&family, &bytes, true)) {
            found += usize::from(value?.is_some_and(|value| is_value(&value, *key)));
        }
        Ok(found)
    }
}
