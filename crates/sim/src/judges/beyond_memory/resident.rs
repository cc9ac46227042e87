//! How much memory this process holds, sampled by a thread of its own.

use std::sync::Arc;
use std::time::Duration;

use oxifaster_device::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use oxifaster_device::sync::thread;

/// Between two samples.
const EVERY: Duration = Duration::from_millis(100);

/// Resident memory of this process in bytes; `None` where the operating system does not say.
#[must_use]
pub(super) fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib * 1024)
}

/// Samples until it is stopped.
#[derive(Debug)]
pub(super) struct Sampler {
    stop: Arc<AtomicBool>,
    largest: Arc<AtomicU64>,
    running: thread::JoinHandle<()>,
}

impl Sampler {
    pub(super) fn start() -> std::io::Result<Self> {
        let (stop, largest) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, seen) = (Arc::clone(&stop), Arc::clone(&largest));
        let running = thread::spawn("judge-memory", move || {
            // Relaxed: read after the thread was joined.
            while !stopped.load(Ordering::Relaxed) {
                seen.fetch_max(resident_bytes().unwrap_or(0), Ordering::Relaxed);
                thread::sleep(EVERY);
            }
        })?;
        Ok(Self { stop, largest, running })
    }

    /// Stops, and returns the largest sample in bytes.
    pub(super) fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        // A panic in there has taken no more samples: the largest stays what it was.
        let _ = self.running.join();
        self.largest.load(Ordering::Relaxed).max(resident_bytes().unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn memory_that_was_touched_is_seen() {
        let before = resident_bytes().unwrap();
        let sampler = Sampler::start().unwrap();
        let touched = vec![1_u8; 64 << 20];
        thread::sleep(EVERY * 3);
        assert!(touched.iter().all(|&byte| byte == 1));
        drop(touched);
        assert!(sampler.stop() >= before + (60 << 20));
    }
}
