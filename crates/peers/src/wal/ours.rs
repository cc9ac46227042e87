//! `FasterLog` with its defaults, in segments, committed on demand: whoever waits shares the next commit.
//!
//! As tasks of a tokio runtime with a thread for each core, as threads, and with a lock around append and commit, so that nobody shares
//! a sync.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use oxifaster::log::{FasterLog, FasterLogConfig};

use super::durable::{Load, Subject, on_threads};
use super::open_log;
use crate::stores::Failure;

pub struct Tasks {
    log: Arc<FasterLog>,
    runtime: tokio::runtime::Runtime,
}

impl Tasks {
    pub fn open(folder: &Path) -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_multi_thread().build()?;
        Ok(Self { log: Arc::new(open_log(folder, FasterLogConfig::default())?), runtime })
    }
}

async fn writer(
    log: Arc<FasterLog>,
    load: Load,
    end: Instant,
) -> Result<Vec<Duration>, oxifaster_core::Error> {
    let entry = vec![0x5A; load.entry_bytes];
    let mut times = Vec::new();
    loop {
        let start = Instant::now();
        if start >= end {
            return Ok(times);
        }
        let address = log.append_async(entry.clone()).await?;
        log.wait_for_commit_async(address)?.await?;
        times.push(start.elapsed());
    }
}

impl Subject for Tasks {
    fn name(&self) -> String {
        "FasterLog, tasks".to_owned()
    }

    fn run(&self, load: Load) -> Result<Vec<Duration>, Failure> {
        let end = Instant::now() + load.time;
        let tasks: Vec<_> =
            (0..load.writers).map(|_| self.runtime.spawn(writer(Arc::clone(&self.log), load, end))).collect();
        let mut all = Vec::new();
        for task in tasks {
            all.extend(self.runtime.block_on(task)??);
        }
        Ok(all)
    }
}

pub struct Threads(FasterLog);

impl Threads {
    pub fn open(folder: &Path) -> Result<Self, Failure> {
        Ok(Self(open_log(folder, FasterLogConfig::default())?))
    }
}

impl Subject for Threads {
    fn name(&self) -> String {
        "FasterLog, threads".to_owned()
    }

    fn run(&self, load: Load) -> Result<Vec<Duration>, Failure> {
        on_threads(load, |_| {
            Ok(|entry: &[u8]| {
                self.0.append_and_commit(entry)?;
                Ok(())
            })
        })
    }
}

pub struct OneByOne(Mutex<FasterLog>);

impl OneByOne {
    pub fn open(folder: &Path) -> Result<Self, Failure> {
        Ok(Self(Mutex::new(open_log(folder, FasterLogConfig::default())?)))
    }
}

impl Subject for OneByOne {
    fn name(&self) -> String {
        "FasterLog, threads, a sync for each entry".to_owned()
    }

    fn run(&self, load: Load) -> Result<Vec<Duration>, Failure> {
        on_threads(load, |_| {
            Ok(|entry: &[u8]| {
                self.0.lock().expect("nobody panics with it").append_and_commit(entry)?;
                Ok(())
            })
        })
    }
}
