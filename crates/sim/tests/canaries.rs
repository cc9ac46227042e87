//! Every planted bug is listed with its judge, and every listed one is planted.

use std::collections::BTreeSet;
use std::path::Path;

use oxifaster_device::sync::canary::ALL;

/// Names in `armed("..")` calls of the sources below `folder`.
fn collect(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            collect(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).expect("a readable source");
            let calls = text.split("canary::armed(\"").skip(1);
            names.extend(calls.filter_map(|call| call.split('"').next()).map(str::to_owned));
        }
    }
}

#[test]
fn planted_and_listed_are_the_same() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut planted = BTreeSet::new();
    for entry in std::fs::read_dir(crates).expect("the crates folder") {
        let source = entry.expect("a readable entry").path().join("src");
        // The switch itself shows examples.
        if source.is_dir() && !source.join("sync/canary.rs").exists() {
            collect(&source, &mut planted);
        }
    }
    let listed: BTreeSet<String> = ALL.iter().map(|canary| canary.name.to_owned()).collect();
    assert_eq!(planted, listed, "planted on the left, listed in canary::ALL on the right");
}
