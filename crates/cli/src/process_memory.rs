//! The process's resident memory.

/// Largest resident memory so far, in bytes, where the operating system tells it (Linux).
#[must_use]
pub fn peak_bytes() -> Option<u64> {
    status_bytes("VmHWM:")
}

/// Resident memory now, in bytes, where the operating system tells it (Linux).
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    status_bytes("VmRSS:")
}

fn status_bytes(field: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
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
        let resident = super::resident_bytes().unwrap();
        assert!((64 << 20..=super::peak_bytes().unwrap()).contains(&resident), "{resident} {}", touched[1]);
    }
}
