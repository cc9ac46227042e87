//! RocksDB's write-ahead log: a thread for each writer puts an entry under a rising key with `sync` on.
//!
//! Its write path groups what waits behind a sync into the next one by itself (wiki, *WAL Performance*). As advised there: log files
//! are used again, so that a sync need not write the file's size. Write buffers are large, so that flushes of them do not disturb,
//! and nothing is compressed. fdatasync is its default.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rocksdb::{DB, DBCompressionType, Options, WriteOptions};

use super::durable::{Load, Subject, on_threads};
use crate::stores::Failure;

pub struct Rocks {
    db: DB,
    next: AtomicU64,
}

impl Rocks {
    pub fn open(folder: &Path) -> Result<Self, Failure> {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_compression_type(DBCompressionType::None);
        options.set_write_buffer_size(256 << 20);
        options.set_recycle_log_file_num(2);
        options.increase_parallelism(i32::try_from(std::thread::available_parallelism()?.get())?);
        Ok(Self { db: DB::open(&options, folder)?, next: AtomicU64::new(0) })
    }
}

impl Subject for Rocks {
    fn name(&self) -> String {
        "RocksDB, threads, sync".to_owned()
    }

    fn run(&self, load: Load) -> Result<Vec<Duration>, Failure> {
        on_threads(load, |_| {
            let mut options = WriteOptions::default();
            options.set_sync(true);
            Ok(move |entry: &[u8]| {
                let key = self.next.fetch_add(1, Ordering::Relaxed).to_be_bytes();
                Ok(self.db.put_opt(key, entry, &options)?)
            })
        })
    }
}
