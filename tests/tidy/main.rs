//! The test over the repository itself: what lints can't check.
//!
//! Plain std, so that it runs wherever the code compiles. Each check is a function from texts to complaints, with tests
//! on bad input beside it; here they meet the real files.
//!
//! | part | what it checks |
//! |---|---|
//! | [`layers`] | dependency arrows between crates, and that `cargo test` reaches every crate |
//! | [`unsafety`] | where `unsafe` may be, and that its file argues for it |
//! | [`seams`] | atomics, locks, threads and clock come from the device crate's `sync` |
//! | [`modules`] | no file that no `mod` declares |
//! | [`habits`] | file length, headers, ignored tests and doctests, machine paths |
//! | [`documents`] | the code map names every crate and folder, links lead somewhere |
//! | [`scenarios`] | promised scenario tests exist under their names |
//! | [`source`] | Rust text without comments and literals, without test items |
//! | [`paths`] | the paths that a file names, imports resolved |
//! | [`repository`] | reads the files |

mod documents;
mod habits;
mod layers;
mod modules;
mod paths;
mod repository;
mod scenarios;
mod seams;
mod source;
mod unsafety;

use repository::Repository;

/// Fails with all complaints, one per line.
fn expect_none(complaints: &[String]) {
    assert!(complaints.is_empty(), "{} complaints:\n  {}", complaints.len(), complaints.join("\n  "));
}

#[test]
fn dependencies_follow_the_layers() {
    let repository = Repository::read();
    let mut complaints = Vec::new();
    for (name, manifest) in repository.manifests() {
        complaints.extend(layers::check_edges(&name, &manifest.text));
    }
    expect_none(&complaints);
}

#[test]
fn the_workflow_tests_the_version_that_is_promised() {
    let repository = Repository::read();
    let promised =
        repository.file("Cargo.toml").and_then(|root| quoted_behind(&root.text, "rust-version = "));
    let tested =
        repository.file(".github/workflows/ci.yml").and_then(|flow| quoted_behind(&flow.text, "RUST: "));
    assert!(promised.is_some(), "Cargo.toml names a rust-version");
    assert_eq!(tested, promised, "the workflow's RUST is the rust-version of Cargo.toml");
}

/// The text in quotes that follows `name`.
fn quoted_behind(text: &str, name: &str) -> Option<String> {
    text.split_once(name)?.1.strip_prefix('"')?.split_once('"').map(|(quoted, _)| quoted.to_owned())
}

#[test]
fn cargo_test_reaches_every_crate() {
    let repository = Repository::read();
    let root = repository.file("Cargo.toml").expect("the root manifest is there");
    expect_none(&layers::check_members(&root.text, &repository.crates()));
}

#[test]
fn unsafe_code_is_where_it_may_be_and_argued_for() {
    let repository = Repository::read();
    let complaints: Vec<String> = repository.rust().flat_map(unsafety::check).collect();
    expect_none(&complaints);
}

#[test]
fn seams_are_kept() {
    let repository = Repository::read();
    let test_only = repository.module_tree().test_only;
    let complaints: Vec<String> =
        repository.rust().filter(|file| !test_only.contains(&file.path)).flat_map(seams::check).collect();
    expect_none(&complaints);
}

#[test]
fn every_file_is_declared() {
    let repository = Repository::read();
    let reached = repository.module_tree().reached;
    let complaints: Vec<String> = repository
        .rust()
        .filter(|file| !reached.contains(&file.path))
        .map(|file| format!("{}: no `mod` declares this file", file.path))
        .collect();
    expect_none(&complaints);
}

#[test]
fn files_are_short_and_introduce_themselves() {
    let repository = Repository::read();
    let complaints: Vec<String> = repository
        .rust()
        .flat_map(|file| [habits::check_length(file), habits::check_header(file)].concat())
        .collect();
    expect_none(&complaints);
}

#[test]
fn nothing_is_ignored_without_a_reason() {
    let repository = Repository::read();
    let complaints: Vec<String> = repository.files().flat_map(habits::check_ignored).collect();
    expect_none(&complaints);
}

#[test]
fn nothing_names_the_machine_it_was_written_on() {
    let repository = Repository::read();
    let complaints: Vec<String> = repository.files().flat_map(habits::check_machine_paths).collect();
    expect_none(&complaints);
}

#[test]
fn the_code_map_names_every_crate_and_folder() {
    let repository = Repository::read();
    let map = repository.file("ARCHITECTURE.md").expect("ARCHITECTURE.md is there");
    expect_none(&documents::check_code_map(&map.text, &repository.source_folders()));
}

#[test]
fn links_between_documents_lead_somewhere() {
    let repository = Repository::read();
    let complaints: Vec<String> = repository
        .files()
        .filter(|file| file.path.ends_with(".md"))
        .flat_map(|file| documents::check_links(file, |target| repository.exists(target)))
        .collect();
    expect_none(&complaints);
}

#[test]
fn scenario_tests_exist_under_their_names() {
    let repository = Repository::read();
    let mut tests = scenarios::Tests::default();
    for file in repository.rust() {
        tests.add(file);
    }
    expect_none(&scenarios::check(scenarios::SCENARIOS, &tests));
}
