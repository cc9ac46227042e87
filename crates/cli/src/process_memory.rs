//! The process's largest resident memory.

/// Largest resident memory so far, in bytes, where the operating system tells it (Linux).
#[must_use]
pub fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #[test]
    fn linux_tells_the_peak() {
        let before = super::peak_bytes().unwrap();
        let touched = vec![1_u8; 64 << 20];
        assert!(super::peak_bytes().unwrap() >= before.max(64 << 20), "{}", touched.len());
    }
}
