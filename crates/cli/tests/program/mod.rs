//! Runs the program and looks at what it says. Shared by the integration tests.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]
#![allow(dead_code, reason = "every test crate uses another part of this module")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// What a run of the program left behind.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The run must have ended with this code.
    #[track_caller]
    pub(crate) fn with_code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.text(), self.stderr);
        self
    }

    /// Standard error must be one sentence (one line) that holds all of these words.
    #[track_caller]
    pub(crate) fn saying(self, words: &[&str]) -> Self {
        assert_eq!(self.stderr.lines().count(), 1, "not one sentence: {}", self.stderr);
        for word in words {
            assert!(self.stderr.contains(word), "'{word}' is not in: {}", self.stderr);
        }
        self
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard output as one JSON object.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.stdout).unwrap_or_else(|error| panic!("{error} in: {}", self.text()))
    }
}

pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oxifaster"));
    command.current_dir(repository());
    command
}

/// Runs the program with arguments, standard input empty.
pub(crate) fn run(arguments: &[&str]) -> Ran {
    Ran::of(command().args(arguments).stdin(Stdio::null()).output().unwrap())
}

/// Runs the program with arguments and standard input.
pub(crate) fn run_with_input(arguments: &[&str], input: &[u8]) -> Ran {
    let mut child = command()
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = oxifaster_device::sync::thread::spawn("writer", move || stdin.write_all(&input)).unwrap();
    let ran = Ran::of(child.wait_with_output().unwrap());
    // A program that stopped reading is fine; the test looks at what it said.
    let _ = writer.join().unwrap();
    ran
}

/// The repository's root: its sources and documents are real text that always ships.
pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

pub(crate) fn text_of(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A number in a JSON report, by its path.
#[track_caller]
pub(crate) fn number(report: &Value, pointer: &str) -> u64 {
    report
        .pointer(pointer)
        .and_then(Value::as_u64)
        .unwrap_or_else(|| panic!("no number {pointer} in {report}"))
}
