//! The address sanitizer over the tests of the crates that contain unsafe code.
//!
//! The stable toolchain ships the sanitizer's run-time library; only the flag that links it is unstable, which
//! `RUSTC_BOOTSTRAP=1` accepts. Linux on x86-64 and arm64 only.

use crate::command::CommandLine;
use crate::step::Outcome;
use crate::workspace::Workspace;

/// The only crates in which `unsafe` is allowed.
const CRATES_WITH_UNSAFE: [&str; 2] = ["oxifaster-device", "oxifaster-core"];

/// The target triple of this machine, if the address sanitizer exists for it.
pub(crate) fn target() -> Option<&'static str> {
    match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => Some("x86_64-unknown-linux-gnu"),
        ("linux", "aarch64") => Some("aarch64-unknown-linux-gnu"),
        _ => None,
    }
}

/// Unit and integration tests of the crates with unsafe code.
pub(crate) fn address(workspace: &Workspace) -> Outcome {
    let Some(target) = target() else {
        return Outcome::Skipped("the address sanitizer needs Linux on x86-64 or arm64".into());
    };
    let mut line =
        CommandLine::cargo(workspace.root()).args(["test", "--target", target, "--lib", "--tests"]);
    for name in CRATES_WITH_UNSAFE {
        line = line.args(["--package", name]);
    }
    line.env("RUSTFLAGS", "-Zsanitizer=address")
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_DIR", workspace.separate_target("asan"))
        .run()
}
