//! What the machine can do: independent random cache-line loads, and plain reads of a file.

use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use oxifaster::device::Words;

/// Independent random cache-line loads per second on one core, over `bytes` of memory with huge pages advised.
pub fn random_lines(bytes: usize, loads: usize) -> f64 {
    static MEMORY: OnceLock<Words> = OnceLock::new();
    let words = MEMORY.get_or_init(|| {
        let words = Words::zeroed(bytes / 8).expect("memory");
        words.chunks(8).for_each(|line| line[0].store(1, Ordering::Relaxed));
        words
    });
    let lines = (words.len() / 8) as u64;
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut sum = 0_u64;
    let start = Instant::now();
    for _ in 0..loads {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let line = ((u128::from(state) * u128::from(lines)) >> 64) as usize;
        sum = sum.wrapping_add(words[line * 8].load(Ordering::Relaxed));
    }
    black_box(sum);
    loads as f64 / start.elapsed().as_secs_f64()
}

/// Random 4 KiB direct reads per second of `path` by `depth` threads.
pub fn random_reads(path: &Path, depth: usize, duration: Duration) -> std::io::Result<f64> {
    let file = File::options().read(true).custom_flags(libc::O_DIRECT).open(path)?;
    let blocks = file.metadata()?.len() / 4096;
    let stop = AtomicBool::new(false);
    let done = AtomicU64::new(0);
    let start = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..depth {
            let (file, stop, done) = (&file, &stop, &done);
            scope.spawn(move || {
                let mut memory = vec![0_u8; 8192];
                let aligned = memory.as_ptr().align_offset(4096);
                let buffer = &mut memory[aligned..aligned + 4096];
                let mut state = thread as u64 + 1;
                while !stop.load(Ordering::Relaxed) {
                    state =
                        state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let block = ((u128::from(state) * u128::from(blocks)) >> 64) as u64;
                    file.read_exact_at(buffer, block * 4096).expect("read");
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        std::thread::sleep(duration);
        stop.store(true, Ordering::Relaxed);
    });
    Ok(done.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64())
}
