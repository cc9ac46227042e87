//! Appends that nobody waits for, with a commit every 5 ms, beside what the device and the memory allow.
//!
//! - *The device*: `fio` writes 1 MiB at a time, direct, into a new file of the same file system, with an fdatasync behind as many
//!   requests as it writes in 5 ms; one request or eight at a time, whichever is faster over all rounds. Where there is no `fio`, a loop over a queue
//!   of the device that writes and syncs likewise.
//! - *The memory*: threads copy entries next to each other into as much memory as the log has, without a header, a checksum, or
//!   anything shared.
//!
//! Compared are the bytes that reach the device: headers, padding to words and the ends of committed blocks are bytes of the log.

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use oxifaster::device::{
    FileSystemDisk, IoBuffer, IoOperation, IoQueue, IoRequest, QueueOptions, StorageDevice, Wait,
};
use oxifaster::log::{CommitPolicy, FasterLog, FasterLogConfig};

use super::{Arguments, DeviceRates, better_depth, fio, median, ratio};
use crate::bounds::cpu_seconds;
use crate::stores::Failure;

const INTERVAL: Duration = Duration::from_millis(5);
/// Entries between two looks at the clock.
const ENTRIES_PER_LOOK: usize = 256;

/// What the rounds of one row reached.
#[derive(Default)]
struct Row {
    /// Entries per second.
    entries: Vec<f64>,
    /// Bytes of log per second.
    log: Vec<f64>,
    /// Nanoseconds of processor time per entry, of all threads and the kernel.
    cpu: Vec<f64>,
    /// Bytes per second that the device takes.
    device: DeviceRates,
    /// Entries per second that can be copied.
    copies: Vec<f64>,
}

pub fn run(arguments: &Arguments, folder: &Path) -> Result<(), Failure> {
    let seconds = arguments.seconds;
    let has_fio = fio::writes(folder, fio::DEPTHS[0], 4, 1).is_some();
    // Without fio the loop stands for both depths.
    let rate_of = |depth, requests_per_sync| match has_fio {
        true => Ok(fio::writes(folder, depth, requests_per_sync, seconds)),
        false => own_loop(folder, Duration::from_secs(seconds)).map(Some),
    };
    let first = rate_of(fio::DEPTHS[1], 5)?.ok_or("fio has written nothing")?;
    let in_interval = first * INTERVAL.as_secs_f64() / fio::REQUEST_BYTES as f64;
    let requests_per_sync = in_interval.round().max(1.0) as u64;
    let mut rows: Vec<Row> = arguments.threads.iter().map(|_| Row::default()).collect();
    for round in 0..arguments.rounds {
        for (row, threads) in rows.iter_mut().zip(&arguments.threads) {
            eprintln!("append: round {round}, {threads} threads");
            ours(&folder.join("append"), arguments, *threads, row)?;
            for (rates, depth) in row.device.iter_mut().zip(fio::DEPTHS) {
                rates.push(rate_of(depth, requests_per_sync)?);
            }
            row.copies.push(copies(*threads, arguments.entry_bytes));
        }
    }
    let whose = if has_fio { "fio" } else { "a loop (there is no fio)" };
    println!("### Append: entries of {} bytes, a commit every 5 ms\n", arguments.entry_bytes);
    println!("The device's bound is {whose}: 1 MiB direct writes, an fdatasync every {requests_per_sync}.\n");
    println!(
        "| threads | million entries/s | MB/s of entries | MB/s of log | CPU ns per entry | device MB/s | million copies/s | log / device | entries / device | entries / copies | lower bound |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    for (row, threads) in rows.iter().zip(&arguments.threads) {
        print(row, *threads, arguments.entry_bytes);
    }
    Ok(())
}

fn print(row: &Row, threads: usize, entry_bytes: usize) {
    let payload: Vec<f64> = row.entries.iter().map(|rate| rate * entry_bytes as f64).collect();
    let device = better_depth(&row.device);
    let (of_device, of_copies) = (ratio(&row.log, &device), ratio(&row.entries, &row.copies));
    let bound = if of_device > of_copies { "device" } else { "memory copy" };
    println!(
        "| {threads} | {:.2} | {:.0} | {:.0} | {:.0} | {:.0} | {:.1} | {of_device:.2} | {:.2} | {of_copies:.2} | {bound} |",
        median(&row.entries) / 1e6,
        median(&payload) / 1e6,
        median(&row.log) / 1e6,
        median(&row.cpu),
        median(&device) / 1e6,
        median(&row.copies) / 1e6,
        ratio(&payload, &device),
    );
}

fn ours(folder: &Path, arguments: &Arguments, threads: usize, row: &mut Row) -> Result<(), Failure> {
    let config = FasterLogConfig::default().with_commit_policy(CommitPolicy::Every(INTERVAL));
    let log = super::open_log(folder, config)?;
    let from = log.committed_address().byte_offset();
    let (start, cpu) = (Instant::now(), cpu_seconds()?);
    let end = start + Duration::from_secs(arguments.seconds);
    let entries = std::thread::scope(|scope| -> Result<usize, Failure> {
        let threads: Vec<_> =
            (0..threads).map(|_| scope.spawn(|| append_until(&log, arguments.entry_bytes, end))).collect();
        let mut sum = 0;
        for thread in threads {
            sum += thread.join().expect("a thread that appends")?;
        }
        Ok(sum)
    })?;
    log.commit()?;
    let seconds = start.elapsed().as_secs_f64();
    row.cpu.push((cpu_seconds()? - cpu) / entries as f64 * 1e9);
    row.entries.push(entries as f64 / seconds);
    row.log.push((log.committed_address().byte_offset() - from) as f64 / seconds);
    log.close()?;
    drop(log);
    std::fs::remove_dir_all(folder)?;
    Ok(())
}

fn append_until(log: &FasterLog, entry_bytes: usize, end: Instant) -> Result<usize, oxifaster_core::Error> {
    let entry = vec![0x5A; entry_bytes];
    let mut entries = 0;
    while Instant::now() < end {
        for _ in 0..ENTRIES_PER_LOOK {
            log.append(&entry)?;
        }
        entries += ENTRIES_PER_LOOK;
    }
    Ok(entries)
}

/// Entries copied per second.
fn copies(threads: usize, entry_bytes: usize) -> f64 {
    let memory_bytes = FasterLogConfig::default().memory_bytes() / threads;
    let start = Instant::now();
    let end = start + Duration::from_millis(500);
    let copied: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(move || {
                    let mut memory = vec![1_u8; memory_bytes];
                    let entry = vec![0x5A_u8; entry_bytes];
                    // As far apart as entries of a log.
                    let step = 8 + entry_bytes.next_multiple_of(8);
                    let mut copied = 0;
                    while Instant::now() < end {
                        for place in memory.chunks_exact_mut(step) {
                            place[8..8 + entry_bytes].copy_from_slice(black_box(&entry));
                        }
                        copied += memory.len() / step;
                        black_box(&mut memory);
                    }
                    copied
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a thread that copies")).sum()
    });
    copied as f64 / start.elapsed().as_secs_f64()
}

/// Bytes per second of a loop that writes eight requests of 1 MiB at a time and syncs every 5 ms.
fn own_loop(folder: &Path, time: Duration) -> Result<f64, Failure> {
    let path = folder.join("loop.bin");
    let device = FileSystemDisk::single_file(&path)?;
    let mut offset = device.geometry().reserved_bytes.next_multiple_of(fio::REQUEST_BYTES);
    let first = offset;
    let mut queue = device.open_queue(QueueOptions { depth: 8 })?;
    let buffers: Result<Vec<IoBuffer>, _> = (0..8).map(|_| IoBuffer::zeroed(256)).collect();
    let buffers = buffers?;
    let start = Instant::now();
    let mut synced = start;
    while start.elapsed() < time {
        for buffer in &buffers {
            let operation = IoOperation::Write(buffer.clone());
            queue.submit(IoRequest { tag: 0, offset, operation })?;
            offset += fio::REQUEST_BYTES;
        }
        finish(queue.as_mut(), buffers.len())?;
        if synced.elapsed() >= INTERVAL {
            queue.submit(IoRequest { tag: 0, offset: 0, operation: IoOperation::Sync })?;
            finish(queue.as_mut(), 1)?;
            synced = Instant::now();
        }
    }
    let rate = (offset - first) as f64 / start.elapsed().as_secs_f64();
    drop(queue);
    drop(device);
    std::fs::remove_file(path)?;
    Ok(rate)
}

/// Waits for so many requests.
pub fn finish(queue: &mut dyn IoQueue, mut requests: usize) -> Result<(), Failure> {
    let mut completions = Vec::new();
    while requests > 0 {
        queue.reap(Wait::ForOne, &mut completions)?;
        for completion in completions.drain(..) {
            completion.result?;
            requests -= 1;
        }
    }
    Ok(())
}
