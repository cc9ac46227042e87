//! What the machine can do: independent random cache-line loads, and plain reads of a file.

use std::hint::black_box;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use oxifaster::device::{
    IoBuffer, IoOperation, IoQueue, IoRequest, QueueOptions, StorageDevice, Wait, Words,
};

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

/// Bytes copied per second by one core, from and to `bytes` of memory that no cache holds.
pub fn sequential_copy(bytes: usize) -> f64 {
    static MEMORY: OnceLock<Mutex<(Vec<u8>, Vec<u8>)>> = OnceLock::new();
    let memory = MEMORY.get_or_init(|| Mutex::new((vec![1; bytes], vec![2; bytes])));
    let (from, to) = &mut *memory.lock().expect("memory");
    let start = Instant::now();
    to.copy_from_slice(from);
    black_box(to);
    bytes as f64 / start.elapsed().as_secs_f64()
}

/// What a loop of reads reached.
#[derive(Clone, Copy, Debug)]
pub struct ReadRate {
    /// Reads per second.
    pub reads: f64,
    /// Processor time per read in microseconds, of the whole process that read.
    pub cpu_us: f64,
}

/// Random 4 KiB direct reads of `path` with `depth` in flight as `fio` does them through `io_uring`; `None` where there is no
/// `fio`.
pub fn fio_reads(path: &Path, depth: usize, duration: Duration) -> Option<ReadRate> {
    let output = std::process::Command::new("fio")
        .args(["--name=bound", "--rw=randread", "--bs=4k", "--direct=1", "--ioengine=io_uring"])
        .args(["--norandommap", "--time_based", "--readonly", "--output-format=json"])
        .arg(format!("--filename={}", path.display()))
        .arg(format!("--iodepth={depth}"))
        .arg(format!("--runtime={}", duration.as_secs()))
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let report: serde_json::Value = serde_json::from_str(text.get(text.find('{')?..)?).ok()?;
    let job = report.get("jobs")?.get(0)?;
    let number = |value: Option<&serde_json::Value>| value.and_then(serde_json::Value::as_f64);
    let reads = number(job.get("read")?.get("iops"))?;
    let percent = number(job.get("usr_cpu"))? + number(job.get("sys_cpu"))?;
    Some(ReadRate { reads, cpu_us: percent / 100.0 / reads * 1e6 })
}

/// Random 4 KiB reads of a device with `depth` in flight on one queue of this thread, unverified.
pub fn queue_reads(
    device: &dyn StorageDevice,
    depth: usize,
    duration: Duration,
) -> Result<ReadRate, Box<dyn std::error::Error>> {
    let base = device.geometry().reserved_bytes;
    let blocks = (device.space_use()?.end_offset - base) / 4096;
    let mut queue = device.open_queue(QueueOptions { depth })?;
    let mut state = 1_u64;
    let mut submit = |queue: &mut dyn IoQueue, buffer: IoBuffer| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let block = ((u128::from(state) * u128::from(blocks)) >> 64) as u64;
        queue.submit(IoRequest { tag: 0, offset: base + block * 4096, operation: IoOperation::Read(buffer) })
    };
    let (start, cpu) = (Instant::now(), cpu_seconds()?);
    for _ in 0..depth {
        submit(queue.as_mut(), IoBuffer::zeroed(1)?)?;
    }
    let mut done = 0_u64;
    let mut completions = Vec::new();
    while start.elapsed() < duration {
        queue.reap(Wait::ForOne, &mut completions)?;
        done += completions.len() as u64;
        for completion in completions.drain(..) {
            assert_eq!(completion.result?, 4096);
            let IoOperation::Read(buffer) = completion.operation else { continue };
            submit(queue.as_mut(), buffer)?;
        }
    }
    let reads = done as f64 / start.elapsed().as_secs_f64();
    let cpu_us = (cpu_seconds()? - cpu) / done as f64 * 1e6;
    Ok(ReadRate { reads, cpu_us })
}

/// Processor time of this process so far, from the kernel's accounting in ticks of 10 ms.
pub fn cpu_seconds() -> Result<f64, Box<dyn std::error::Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The name in parentheses may hold blanks; user and system time are fields 14 and 15 of the line.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    Ok((fields[11].parse::<f64>()? + fields[12].parse::<f64>()?) / 100.0)
}

/// Waits until this process has nothing to do any more, but not longer than `most`; whether it came to that.
pub fn wait_idle(most: Duration) -> Result<bool, Box<dyn std::error::Error>> {
    // Less than two of the kernel's ticks in such a time is less than a third of a core.
    let step = Duration::from_millis(60);
    let start = Instant::now();
    while start.elapsed() < most {
        let before = cpu_seconds()?;
        std::thread::sleep(step);
        if cpu_seconds()? - before < 0.015 {
            return Ok(true);
        }
    }
    Ok(false)
}
