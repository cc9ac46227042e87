//! `fio` at the place where a log lies: sequential direct writes with syncs in between, sequential direct reads.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Bytes of a request.
pub const REQUEST_BYTES: u64 = 1 << 20;

/// One after the other, or eight at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depth(pub u32);

/// The two that are tried, of which the better one counts.
pub const DEPTHS: [Depth; 2] = [Depth(1), Depth(8)];

/// Bytes written per second to a new file, with an fdatasync behind every so many requests; `None` where there is no `fio`.
pub fn writes(folder: &Path, depth: Depth, requests_per_sync: u64, seconds: u64) -> Option<f64> {
    let file = folder.join("fio.bin");
    // More than any device writes meanwhile: space is reserved, nothing is written twice.
    let size = seconds * 4 * REQUEST_BYTES * 1024;
    let mut command = common(&file, depth);
    command
        .args(["--rw=write", "--time_based"])
        .arg(format!("--runtime={seconds}"))
        .arg(format!("--size={size}"))
        .arg(format!("--fdatasync={requests_per_sync}"));
    let rate = bandwidth(command, "write");
    let _ = std::fs::remove_file(file);
    rate
}

/// Bytes read per second, once over the whole file.
pub fn reads(file: &Path, depth: Depth) -> Option<f64> {
    let mut command = common(file, depth);
    command.args(["--rw=read", "--readonly"]);
    bandwidth(command, "read")
}

fn common(file: &Path, depth: Depth) -> Command {
    let mut command = Command::new("fio");
    command
        .args(["--name=bound", "--direct=1", "--output-format=json"])
        .arg(format!("--filename={}", file.display()))
        .arg(format!("--bs={REQUEST_BYTES}"));
    match depth {
        Depth(1) => command.arg("--ioengine=psync"),
        Depth(many) => command.arg("--ioengine=io_uring").arg(format!("--iodepth={many}")),
    };
    command
}

fn bandwidth(mut command: Command, direction: &str) -> Option<f64> {
    let output = command.output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let report: Value = serde_json::from_str(text.get(text.find('{')?..)?).ok()?;
    let rate = report.get("jobs")?.get(0)?.get(direction)?.get("bw_bytes")?.as_f64()?;
    (rate > 0.0).then_some(rate)
}
