//! Line coverage of the tests, and a floor of 80 % of lines for every library crate.
//!
//! The compiler writes the counters (`-Cinstrument-coverage`); reading them needs `llvm-profdata` and `llvm-cov` of the
//! compiler's own LLVM version or a later one: from `rustup component add llvm-tools`, or from the system.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::command::CommandLine;
use crate::step::Outcome;
use crate::workspace::Workspace;

/// The least part of a library crate's lines that tests must run, in percent.
const FLOOR_PERCENT: u64 = 80;

/// Crates that are programs or exist for tests only: reported, but without a floor.
const WITHOUT_FLOOR: [&str; 2] = ["cli", "sim"];

/// Runs the tests instrumented and sums what they ran, crate by crate.
pub(crate) fn coverage(workspace: &Workspace) -> Outcome {
    let tools = match Tools::find(workspace) {
        Ok(tools) => tools,
        Err(reason) => return Outcome::Skipped(reason),
    };
    match measure(workspace, &tools) {
        Ok(crates) => judge(&crates),
        Err(reason) => Outcome::Failed(reason),
    }
}

/// Lines of a crate: all that can run, and those that did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Lines {
    all: u64,
    hit: u64,
}

fn judge(crates: &BTreeMap<String, Lines>) -> Outcome {
    let mut low = Vec::new();
    for (name, lines) in crates {
        let tenths = lines.hit * 1000 / lines.all.max(1);
        println!("{name:12} {:3}.{} % of {} lines", tenths / 10, tenths % 10, lines.all);
        if tenths < FLOOR_PERCENT * 10 && !WITHOUT_FLOOR.contains(&name.as_str()) {
            low.push(name.as_str());
        }
    }
    if crates.is_empty() {
        return Outcome::Failed("the report names no file of any crate".into());
    }
    if low.is_empty() {
        Outcome::Passed
    } else {
        Outcome::Failed(format!("below {FLOOR_PERCENT} % of lines: {}", low.join(", ")))
    }
}

struct Tools {
    profdata: PathBuf,
    cov: PathBuf,
}

impl Tools {
    /// The tools of the toolchain, or those of the system when their LLVM is not older than the compiler's.
    fn find(workspace: &Workspace) -> Result<Self, String> {
        let rustc = |arguments: &[&str]| CommandLine::new("rustc", workspace.root()).args(arguments).output();
        let version = rustc(&["-vV"])?;
        let field = |name: &str| version.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let host = field("host:").ok_or("`rustc -vV` names no host")?;
        let needed = field("LLVM version:").and_then(major).ok_or("`rustc -vV` names no LLVM version")?;
        let sysroot = rustc(&["--print", "sysroot"])?;
        let own = Path::new(sysroot.trim()).join("lib/rustlib").join(host).join("bin");
        let candidates =
            [(own, String::new()), (PathBuf::new(), format!("-{needed}")), (PathBuf::new(), String::new())];
        for (folder, suffix) in candidates {
            let tools = Self {
                profdata: folder.join(format!("llvm-profdata{suffix}")),
                cov: folder.join(format!("llvm-cov{suffix}")),
            };
            let asks_version = |tool: &Path| CommandLine::new(tool, workspace.root()).args(["--version"]);
            if asks_version(&tools.profdata).works()
                && asks_version(&tools.cov).output().is_ok_and(|text| llvm_major(&text) >= Some(needed))
            {
                return Ok(tools);
            }
        }
        Err(format!(
            "no llvm-profdata and llvm-cov of LLVM {needed} or later: `rustup component add llvm-tools` installs them"
        ))
    }
}

fn major(version: &str) -> Option<u32> {
    version.split('.').next()?.trim().parse().ok()
}

/// The number behind "LLVM version" in what the tool says about itself.
fn llvm_major(text: &str) -> Option<u32> {
    text.lines().find_map(|line| line.split("LLVM version").nth(1)).and_then(major)
}

fn measure(workspace: &Workspace, tools: &Tools) -> Result<BTreeMap<String, Lines>, String> {
    let target = workspace.separate_target("coverage");
    let counters = target.join("counters");
    // Counters of an earlier run belong to other binaries.
    if counters.is_dir() {
        fs::remove_dir_all(&counters)
            .map_err(|error| format!("could not empty {}: {error}", counters.display()))?;
    }
    fs::create_dir_all(&counters)
        .map_err(|error| format!("could not create {}: {error}", counters.display()))?;
    let instrumented = |arguments: &[&str]| {
        CommandLine::cargo(workspace.root())
            .args(arguments)
            .env("RUSTFLAGS", "-Cinstrument-coverage")
            .env("LLVM_PROFILE_FILE", counters.join("%p-%8m.profraw"))
            .env("CARGO_TARGET_DIR", &target)
    };
    let tests = ["test", "--lib", "--bins", "--tests"];
    match instrumented(&tests).run() {
        Outcome::Passed => {}
        Outcome::Failed(reason) | Outcome::Skipped(reason) => return Err(reason),
    }
    let built = instrumented(&tests).args(["--no-run", "--message-format=json"]).output()?;
    let binaries = executables(&built);

    let raw = profiles(&counters)?;
    let merged = target.join("merged.profdata");
    let list = target.join("profiles.txt");
    fs::write(&list, raw.join("\n"))
        .map_err(|error| format!("could not write {}: {error}", list.display()))?;
    let merge = CommandLine::new(&tools.profdata, workspace.root())
        .args(["merge", "-sparse", "-o"])
        .args([&merged])
        .args([format!("--input-files={}", list.display())]);
    if let Outcome::Failed(reason) = merge.run() {
        return Err(reason);
    }
    let mut export = CommandLine::new(&tools.cov, workspace.root())
        .args(["export", "-format=lcov", "-summary-only"])
        .args([format!("-instr-profile={}", merged.display())]);
    for binary in binaries {
        export = export.args(["-object", &binary]);
    }
    let report = export.output()?;
    fs::write(target.join("lcov.info"), &report)
        .map_err(|error| format!("could not write lcov.info: {error}"))?;
    Ok(lines_by_crate(&report, workspace.root()))
}

fn profiles(folder: &Path) -> Result<Vec<String>, String> {
    let entries =
        fs::read_dir(folder).map_err(|error| format!("could not list {}: {error}", folder.display()))?;
    Ok(entries.flatten().map(|entry| entry.path().to_string_lossy().into_owned()).collect())
}

/// The test binaries that cargo's messages name.
fn executables(messages: &str) -> Vec<String> {
    const KEY: &str = "\"executable\":\"";
    messages
        .lines()
        .filter_map(|line| line.split(KEY).nth(1))
        .filter_map(|rest| rest.split('"').next())
        .map(str::to_owned)
        .collect()
}

/// Sums an lcov report over `crates/NAME/src`; the root package counts as `oxifaster`.
fn lines_by_crate(report: &str, root: &Path) -> BTreeMap<String, Lines> {
    let mut sums: BTreeMap<String, Lines> = BTreeMap::new();
    let mut current = None;
    for line in report.lines() {
        if let Some(file) = line.strip_prefix("SF:") {
            current = crate_of(Path::new(file), root);
        }
        let Some(name) = &current else { continue };
        let number = |prefix: &str| line.strip_prefix(prefix).and_then(|number| number.parse::<u64>().ok());
        if let Some(all) = number("LF:") {
            sums.entry(name.clone()).or_default().all += all;
        } else if let Some(hit) = number("LH:") {
            sums.entry(name.clone()).or_default().hit += hit;
        }
    }
    sums
}

fn crate_of(file: &Path, root: &Path) -> Option<String> {
    let mut parts = file.strip_prefix(root).ok()?.iter().map(|part| part.to_string_lossy().into_owned());
    match parts.next()?.as_str() {
        "src" => Some("oxifaster".into()),
        "crates" => {
            let name = parts.next()?;
            (parts.next()? == "src").then_some(name)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = "SF:/r/crates/core/src/address.rs\nLF:100\nLH:90\nend_of_record\n\
        SF:/r/crates/core/src/epoch/mod.rs\nLF:100\nLH:50\nend_of_record\n\
        SF:/elsewhere/std.rs\nLF:7\nLH:0\nend_of_record\n\
        SF:/r/crates/core/tests/x.rs\nLF:7\nLH:0\nend_of_record\n\
        SF:/r/crates/cli/src/main.rs\nLF:10\nLH:1\nend_of_record\n";

    #[test]
    fn lines_are_summed_over_the_sources_of_each_crate() {
        let sums = lines_by_crate(REPORT, Path::new("/r"));
        assert_eq!(sums.get("core"), Some(&Lines { all: 200, hit: 140 }));
        assert_eq!(sums.get("cli"), Some(&Lines { all: 10, hit: 1 }));
        assert_eq!(sums.len(), 2);
    }

    #[test]
    fn a_library_below_the_floor_fails_and_a_program_does_not() {
        let sums = lines_by_crate(REPORT, Path::new("/r"));
        assert_eq!(judge(&sums), Outcome::Failed("below 80 % of lines: core".into()));
        let enough = BTreeMap::from([
            ("core".to_owned(), Lines { all: 10, hit: 8 }),
            ("cli".to_owned(), Lines { all: 10, hit: 0 }),
        ]);
        assert_eq!(judge(&enough), Outcome::Passed);
        assert!(matches!(judge(&BTreeMap::new()), Outcome::Failed(_)));
    }

    #[test]
    fn versions_and_binaries_are_read_from_what_the_tools_print() {
        assert_eq!(llvm_major("Debian LLVM version 14.0.6\n  Optimized build."), Some(14));
        assert_eq!(llvm_major("LLVM (http://llvm.org/):\n  LLVM version 22.1.2-rust-1.95.0"), Some(22));
        assert_eq!(llvm_major("something else"), None);
        let messages = "{\"executable\":null}\n{\"x\":1,\"executable\":\"/t/deps/a-1\",\"fresh\":true}";
        assert_eq!(executables(messages), ["/t/deps/a-1"]);
    }
}
