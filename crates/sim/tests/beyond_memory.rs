//! The judge of data beyond memory, in a process of its own: it looks at the memory of the whole process, and other tests beside it
//! use some.

use oxifaster_sim::judges::beyond_memory::{self, BeyondMemoryOptions};

#[test]
fn beyond_memory() {
    let options =
        BeyondMemoryOptions { seed: 1, log_memory_bytes: 1 << 20, times: 10, threads: 3, verify_max: 30_000 };
    let report = beyond_memory::judge(&options, &mut |message| eprintln!("{message}"));
    assert_eq!(report.guilty(), None, "{report}");
    for shape in ["words", "fixed", "varlen"] {
        assert!(report.count(&format!("{shape}_log_mib")) >= Some(10), "{report}");
        assert!(report.count(&format!("{shape}_device_reads")) > Some(100), "{report}");
    }
}
