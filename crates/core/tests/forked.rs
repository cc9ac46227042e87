#![expect(unsafe_code, reason = "the test makes a copy of its process; see below")]
#![cfg(all(target_os = "linux", target_env = "gnu"))]
//! A copy of the process ends its copy of a log without waiting for a maintenance thread that it does not have.
//!
//! # Soundness
//! 1. The copy of a process with several threads may use what glibc makes usable behind a fork (its memory allocator), and
//!    no lock that another thread may have held. It calls what ends a log, which does nothing there, and ends by `_exit`, which runs
//!    nothing else.

use std::sync::Arc;
use std::time::Duration;

use oxifaster_core::epoch::LightEpoch;
use oxifaster_core::error::ErrorKind;
use oxifaster_core::hlog::{HybridLog, HybridLogConfig, LogState, OwnerFacts};
use oxifaster_core::sync::{clock, thread};
use oxifaster_device::fault::FaultDevice;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

#[test]
fn a_copy_of_the_process_does_not_close_the_log() {
    let config = HybridLogConfig {
        page_size_bits: 16,
        memory_bytes: 6 << 16,
        mutable_fraction: 0.9,
        checksum_cache_bytes: 64 << 10,
        read_buffer_bytes: 1 << 20,
    };
    let facts = OwnerFacts { hash_kind: 1, table_bits: 1, key_codec: 1, value_codec: 1 };
    let device = FaultDevice::new(1);
    let opened =
        HybridLog::open(&config, Arc::new(device.clone()), LightEpoch::new(), |_| Ok(facts)).unwrap();
    let log = opened.start().unwrap();
    // SAFETY: obligation 1.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let refused = log.close().is_err_and(|error| error.kind() == ErrorKind::Closed);
        log.abandon();
        log.stop_maintenance();
        // SAFETY: obligation 1.
        unsafe { libc::_exit(i32::from(!refused)) }
    }
    let pid = Pid::from_raw(pid).unwrap();
    let since = clock::now();
    let status = loop {
        if let Some((_, status)) = waitpid(Some(pid), WaitOptions::NOHANG).unwrap() {
            break status;
        }
        if since.elapsed() > Duration::from_secs(20) {
            kill_process(pid, Signal::KILL).unwrap();
            waitpid(Some(pid), WaitOptions::empty()).unwrap();
            panic!("the copy hangs");
        }
        thread::sleep(Duration::from_millis(5));
    };
    assert_eq!(status.exit_status(), Some(0), "closing is refused in the copy");
    assert_eq!(log.state(), LogState::Open);
    log.close().unwrap();
}
