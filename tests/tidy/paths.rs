//! The paths that a file names, with its imports resolved: `use std::{sync::{Arc, Mutex}, thread};` and then
//! `thread::spawn(..)` name `std::sync::Arc`, `std::sync::Mutex`, `std::thread` and `std::thread::spawn`.

use std::collections::BTreeMap;

use crate::source::{line_of, words};

/// A path and the line it is named on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamedPath {
    pub(crate) line: usize,
    pub(crate) path: String,
}

/// All paths of at least two parts in `code`, imported or written out.
pub(crate) fn named_paths(code: &str) -> Vec<NamedPath> {
    let mut found = Vec::new();
    let mut imported: BTreeMap<String, String> = BTreeMap::new();
    let mut plain = String::new();
    let mut copied = 0;
    for start in words(code, "use") {
        let Some(length) = code.get(start..).and_then(|rest| rest.find(';')) else { continue };
        let tree = code.get(start + "use".len()..start + length).unwrap_or("");
        for (path, name) in expand(tree) {
            found.push(NamedPath { line: line_of(code, start), path: path.clone() });
            imported.insert(name, path);
        }
        plain.push_str(code.get(copied..start).unwrap_or(""));
        plain.extend(
            code.get(start..start + length).unwrap_or("").chars().filter(|&character| character == '\n'),
        );
        copied = (start + length).max(copied);
    }
    plain.push_str(code.get(copied..).unwrap_or(""));
    found.extend(written_out(&plain, &imported));
    found
}

/// Paths that stand in the code itself, the first part replaced by what it was imported as.
fn written_out(code: &str, imported: &BTreeMap<String, String>) -> Vec<NamedPath> {
    let mut found = Vec::new();
    for (index, line) in code.lines().enumerate() {
        let is_part = |character: char| character.is_alphanumeric() || character == '_' || character == ':';
        for path in line.split(|character| !is_part(character)).filter(|word| word.contains("::")) {
            let path = path.trim_matches(':');
            let (first, rest) = path.split_once("::").unwrap_or((path, ""));
            let first = imported.get(first).map_or(first, String::as_str);
            found.push(NamedPath { line: index + 1, path: format!("{first}::{rest}") });
        }
    }
    found
}

/// The leaves of a use tree: full path, and the name it has from then on.
fn expand(tree: &str) -> Vec<(String, String)> {
    let tree = tree.trim().trim_start_matches("::");
    let Some((prefix, group)) = tree.split_once('{') else {
        let (path, alias) = match tree.split_once(" as ") {
            Some((path, alias)) => (path.trim(), Some(alias.trim())),
            None => (tree, None),
        };
        let path = path.strip_suffix("::self").unwrap_or(path);
        let name = alias.or_else(|| path.rsplit("::").next()).unwrap_or(path);
        return vec![(path.to_owned(), name.to_owned())];
    };
    let group = group.trim_end().strip_suffix('}').unwrap_or(group);
    split_outside_braces(group)
        .iter()
        .flat_map(|part| expand(&format!("{}{}", prefix.trim(), part.trim())))
        .collect()
}

fn split_outside_braces(group: &str) -> Vec<&str> {
    let mut depth = 0_i32;
    let mut parts: Vec<&str> = group
        .split(|character| {
            match character {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            character == ',' && depth == 0
        })
        .collect();
    parts.retain(|part| !part.trim().is_empty());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(code: &str) -> Vec<String> {
        named_paths(code).into_iter().map(|named| named.path).collect()
    }

    #[test]
    fn nested_imports_are_expanded() {
        let code = "use std::{sync::{Arc, atomic::{self, AtomicU64}}, thread as t};";
        let expected = ["std::sync::Arc", "std::sync::atomic", "std::sync::atomic::AtomicU64", "std::thread"];
        assert_eq!(paths(code), expected);
    }

    #[test]
    fn what_is_written_out_is_resolved_and_has_its_line() {
        let code = "use std::{time::Instant,\n  thread as t};\nfn f() {\n let now = Instant::now(); t::spawn(|| ());\n}";
        let found = named_paths(code);
        assert!(found.contains(&NamedPath { line: 4, path: "std::time::Instant::now".into() }), "{found:?}");
        assert!(found.contains(&NamedPath { line: 4, path: "std::thread::spawn".into() }), "{found:?}");
    }

    #[test]
    fn a_renamed_crate_is_not_the_standard_library() {
        let code = "pub use oxifaster_core as core;\nfn f() { core::sync::atomic::fence(); }";
        assert!(paths(code).contains(&"oxifaster_core::sync::atomic::fence".to_owned()));
    }
}
