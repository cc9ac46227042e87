//! A log under a time policy that has nothing to commit does nothing, and what comes then is committed in time. (Alone in its program: it
//! looks at threads by their name.)
#![cfg(target_os = "linux")]
#![expect(clippy::disallowed_methods, reason = "tests wait in real time")]

use std::time::{Duration, Instant};

use oxifaster_device::fault::FaultDevice;
use oxifaster_log::{CommitPolicy, FasterLog, FasterLogConfig};

/// How often the writing thread has gone to sleep.
fn sleeps_of_the_writer() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    for task in tasks {
        let path = task.unwrap().path();
        let name = std::fs::read_to_string(path.join("comm")).unwrap_or_default();
        if name.trim() == "oxf-log-write" {
            let status = std::fs::read_to_string(path.join("status")).unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            return line.unwrap().trim().parse().unwrap();
        }
    }
    panic!("there is no writing thread");
}

fn soon(done: impl Fn() -> bool) -> bool {
    let since = Instant::now();
    while !done() {
        if since.elapsed() > Duration::from_secs(10) {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}

#[test]
fn an_idle_log_sleeps_and_wakes_for_the_first_append() {
    let policy = CommitPolicy::Every(Duration::from_millis(5));
    let config = FasterLogConfig::default().with_commit_policy(policy);
    let log = FasterLog::open(config, FaultDevice::new(1)).unwrap();
    for round in 0..5_u8 {
        let address = log.append(&[round]).unwrap();
        assert!(soon(|| log.committed_address() > address), "round {round}: an entry is not committed");
        std::thread::sleep(Duration::from_millis(50));
        let before = sleeps_of_the_writer();
        std::thread::sleep(Duration::from_millis(400));
        let sleeps = sleeps_of_the_writer() - before;
        assert!(sleeps <= 5, "round {round}: an idle log woke {sleeps} times in 400 ms");
        // What a commit carries counts, too.
        log.set_position("reader", Some(address)).unwrap();
        assert!(
            soon(|| log.position("reader") == Some(address)),
            "round {round}: a position is not committed"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    // And entries that come at once after each other.
    let last = (0..1000_u64).map(|number| log.append(&number.to_le_bytes()).unwrap()).last().unwrap();
    assert!(soon(|| log.committed_address() > last));
}
