//! Dependency arrows between our crates: downwards only, and `cargo test` reaches every crate.
//!
//! | layer | packages |
//! |---|---|
//! | 0 | `device`, `workload` |
//! | 1 | `core` |
//! | 2 | `store`, `log` |
//! | 3 | `f2` |
//! | 4 | `oxifaster`, the facade |
//! | 5 | `rskv`, `server`, `raft` |
//! | 6 | `cli` |
//! | none | `sim` (for tests), `peers`, `xtask`: may use everything, and nothing that ships may use them |

use std::collections::BTreeSet;

/// Packages by their folder's name, and their layer.
const LAYERS: [(&str, u8); 11] = [
    ("device", 0),
    ("workload", 0),
    ("core", 1),
    ("store", 2),
    ("log", 2),
    ("f2", 3),
    ("oxifaster", 4),
    ("rskv", 5),
    ("server", 5),
    ("raft", 5),
    ("cli", 6),
];

/// Packages that stand beside the layers.
const BESIDE: [&str; 3] = ["sim", "peers", "xtask"];

/// Packages that `cargo test` at the root leaves out, because they need more than a Rust toolchain.
const NOT_DEFAULT: [&str; 1] = ["peers"];

/// How a dependency is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Ships,
    TestsOnly,
}

/// Complaints about the dependencies of package `name` on our own packages.
pub(crate) fn check_edges(name: &str, manifest: &str) -> Vec<String> {
    if BESIDE.contains(&name) {
        return Vec::new();
    }
    let Some(own) = layer(name) else {
        return vec![format!("crates/{name}: which layer is it? tests/tidy/layers.rs does not know it")];
    };
    let mut complaints = Vec::new();
    for (dependency, used) in our_dependencies(manifest) {
        match (layer(&dependency), used) {
            (Some(below), _) if below < own => {}
            // The test tools may use what they test, and be used to test it.
            (None, Use::TestsOnly) if dependency == "sim" => {}
            (Some(_), _) => complaints.push(format!("{name} (layer {own}) must not depend on {dependency}")),
            (None, _) => complaints.push(format!("{name} ships and must not depend on {dependency}")),
        }
    }
    complaints
}

/// Complaints about crates that are not members, or that `cargo test` at the root would leave out.
pub(crate) fn check_members(root_manifest: &str, crates: &BTreeSet<String>) -> Vec<String> {
    let mut complaints = Vec::new();
    let members = list(root_manifest, "members");
    let default_members = list(root_manifest, "default-members");
    for name in crates {
        let path = format!("crates/{name}");
        let excluded = list(root_manifest, "exclude").contains(&path);
        if !members.contains(&path) && !excluded {
            complaints.push(format!("{path} is not a member of the workspace: nothing builds it"));
        }
        let left_out = NOT_DEFAULT.contains(&name.as_str());
        if !left_out && !default_members.contains(&path) {
            complaints.push(format!("{path} is not a default member: `cargo test` leaves it out"));
        }
    }
    complaints
}

fn layer(name: &str) -> Option<u8> {
    LAYERS.iter().find(|&&(known, _)| known == name).map(|&(_, layer)| layer)
}

/// Our own packages that a manifest depends on, by short name.
fn our_dependencies(manifest: &str) -> Vec<(String, Use)> {
    let mut found = Vec::new();
    let mut section: Option<Use> = None;
    for line in manifest.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[') {
            let header = header.trim_end_matches(']').trim_start_matches('[');
            let (table, entry) = split_header(header);
            section = table;
            if let (Some(used), Some(entry)) = (table, entry) {
                found.extend(short_name(entry).map(|name| (name, used)));
                section = None;
            }
            continue;
        }
        let (Some(used), Some((key, value))) = (section, line.split_once('=')) else { continue };
        let key = key.trim().split('.').next().unwrap_or("").trim_matches('"');
        let renamed = value.split_once("package = \"").and_then(|(_, rest)| rest.split('"').next());
        found.extend(short_name(renamed.unwrap_or(key)).map(|name| (name, used)));
    }
    found
}

/// The kind of dependency table a header names, and the dependency if the header names one itself.
fn split_header(header: &str) -> (Option<Use>, Option<&str>) {
    const TABLES: [(&str, Use); 3] = [
        ("dev-dependencies", Use::TestsOnly),
        ("build-dependencies", Use::Ships),
        ("dependencies", Use::Ships),
    ];
    if header.starts_with("workspace.") {
        return (None, None);
    }
    for (table, used) in TABLES {
        if header == table || header.ends_with(&format!(".{table}")) {
            return (Some(used), None);
        }
        let entry = header
            .strip_prefix(&format!("{table}."))
            .or_else(|| Some(header.split_once(&format!(".{table}."))?.1));
        if let Some(entry) = entry {
            return (Some(used), Some(entry));
        }
    }
    (None, None)
}

fn short_name(package: &str) -> Option<String> {
    match package {
        "oxifaster" | "xtask" | "rskv" => Some(package.to_owned()),
        other => other.strip_prefix("oxifaster-").map(str::to_owned),
    }
}

/// The strings of the list `key = [..]`, which may go over several lines.
fn list(manifest: &str, key: &str) -> Vec<String> {
    let start =
        manifest.lines().position(|line| line.split('=').next().is_some_and(|name| name.trim() == key));
    let Some(start) = start else { return Vec::new() };
    let rest: Vec<&str> = manifest.lines().skip(start).collect();
    let rest = rest.join("\n");
    let inside =
        rest.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map_or("", |(inside, _)| inside);
    inside.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrows_that_point_up_or_sideways_are_found() {
        assert_eq!(check_edges("core", "[dependencies]\noxifaster-store = { workspace = true }").len(), 1);
        assert_eq!(check_edges("store", "[dependencies]\noxifaster-log.workspace = true").len(), 1);
        assert_eq!(check_edges("core", "[dependencies.oxifaster-store]\nworkspace = true").len(), 1);
        assert_eq!(
            check_edges("core", "[target.'cfg(unix)'.dependencies]\noxifaster = { path = \"../..\" }").len(),
            1
        );
        assert_eq!(
            check_edges("core", "[dependencies]\nx = { package = \"oxifaster-f2\", path = \"../f2\" }").len(),
            1
        );
        assert_eq!(
            check_edges("device", "[dev-dependencies]\noxifaster-core = { workspace = true }").len(),
            1
        );
        assert!(
            check_edges("f2", "[dependencies]\noxifaster-store = { workspace = true }\nserde = \"1\"")
                .is_empty()
        );
    }

    #[test]
    fn what_is_for_tests_does_not_ship() {
        assert_eq!(check_edges("store", "[dependencies]\noxifaster-sim = { workspace = true }").len(), 1);
        assert_eq!(check_edges("cli", "[build-dependencies]\nxtask = { path = \"../../xtask\" }").len(), 1);
        assert!(check_edges("store", "[dev-dependencies]\noxifaster-sim = { workspace = true }").is_empty());
        assert!(check_edges("sim", "[dependencies]\noxifaster = { workspace = true }").is_empty());
        assert_eq!(check_edges("novelty", "").len(), 1);
    }

    #[test]
    fn crates_that_cargo_test_would_leave_out_are_found() {
        let crates = BTreeSet::from(["core".to_owned(), "store".to_owned(), "peers".to_owned()]);
        let manifest = |default: &str| {
            format!(
                "[workspace]\nmembers = [\"crates/core\",\n \"crates/store\"]\ndefault-members = [{default}]\n\
                     exclude = [\"crates/peers\"]\n"
            )
        };
        assert!(check_members(&manifest("\".\", \"crates/core\", \"crates/store\""), &crates).is_empty());
        assert_eq!(check_members(&manifest("\".\", \"crates/core\""), &crates).len(), 1);
        assert_eq!(check_members("", &crates).len(), 5);
    }
}
