//! The maintenance thread alone: what it does without being called again.
#![expect(clippy::unwrap_used, reason = "a log that can't be opened fails the test")]

use std::sync::Arc;
use std::time::Duration;

use oxifaster_device::fault::FaultDevice;
use oxifaster_device::sync::{clock, thread};

use super::PAGES_IN_FLIGHT_MAX;
use crate::epoch::LightEpoch;
use crate::error::{Error, ErrorKind};
use crate::hlog::{HybridLog, HybridLogConfig, OwnerFacts};

fn open(pages: u64) -> Arc<HybridLog> {
    let config = HybridLogConfig {
        page_size_bits: 16,
        memory_bytes: pages << 16,
        mutable_fraction: 0.9,
        checksum_cache_bytes: 64 << 10,
        read_buffer_bytes: 1 << 20,
    };
    let facts = OwnerFacts { hash_kind: 1, table_bits: 1, key_codec: 1, value_codec: 1 };
    let device = Arc::new(FaultDevice::new(1));
    let opened = HybridLog::open(&config, device, LightEpoch::new(), |_| Ok(facts)).unwrap();
    opened.start().unwrap()
}

/// The error of a queue that had nothing to write is over when the queue is replaced: no page has to be written for that.
#[test]
fn an_error_with_nothing_to_write_is_forgotten() {
    let log = open(6);
    log.report_write_error(Error::new(ErrorKind::Io, "a queue broke"));
    log.wake_maintenance();
    let since = clock::now();
    while log.progress.lock().write_error.is_some() {
        assert!(since.elapsed() < Duration::from_secs(20), "the error stays");
        thread::sleep(Duration::from_millis(1));
    }
    log.close().unwrap();
}

/// More pages than may be in flight become read-only at once, and the maintenance thread is called once.
#[test]
fn all_pages_are_written_after_one_call() {
    let log = open(32);
    let mut participant = log.ring().epoch().register();
    while log.layout().page_of(log.ring().tail()) < 2 * PAGES_IN_FLIGHT_MAX as u64 + 3 {
        let guard = participant.enter();
        if log.allocate(&guard, 1000).is_err() {
            drop(guard);
            log.make_room(1000).unwrap();
        }
    }
    let target = log.ring().align_tail();
    log.ring().shift_read_only(target);
    while log.ring().complete_shifts() < target {
        thread::yield_now();
    }
    log.wake_maintenance();
    let since = clock::now();
    while log.ring().flushed_until() < target {
        assert!(
            since.elapsed() < Duration::from_secs(20),
            "only {:?} is written",
            log.ring().flushed_until()
        );
        thread::sleep(Duration::from_millis(1));
    }
    log.close().unwrap();
}
