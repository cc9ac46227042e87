//! The tree of `mod` declarations: which files it reaches, and which of them only in tests. A file that nothing declares
//! is dead: it is compiled by nobody, and nobody notices.

use std::collections::{BTreeMap, BTreeSet};

use crate::repository::TextFile;
use crate::source::{code_only, is_test_only, words};

/// What is reached from the crate roots.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    pub(crate) reached: BTreeSet<String>,
    /// Files that only `#[cfg(test)]` declarations lead to.
    pub(crate) test_only: BTreeSet<String>,
}

/// A declaration `mod name;`.
#[derive(Debug, PartialEq, Eq)]
struct Declaration {
    name: String,
    path: Option<String>,
    test_only: bool,
    /// Names of the inline modules it lies in, outermost first.
    inside: Vec<String>,
}

/// Paths that manifests give explicitly, from the root of the repository.
pub(crate) fn named_roots(manifest: &TextFile) -> Vec<String> {
    let folder = manifest.path.strip_suffix("Cargo.toml").unwrap_or("");
    manifest
        .text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("path = \"")?.strip_suffix('"'))
        .filter(|path| path.ends_with(".rs"))
        .map(|path| format!("{folder}{path}"))
        .collect()
}

/// Follows the declarations in `sources` (path and text) from every root.
pub(crate) fn walk(sources: &BTreeMap<String, String>, named: &[String]) -> Tree {
    let mut tree = Tree::default();
    let mut open: Vec<(String, bool)> = sources
        .keys()
        .filter(|path| is_root(path) || named.contains(path))
        .map(|path| (path.clone(), false))
        .collect();
    while let Some((path, test_only)) = open.pop() {
        let Some(text) = sources.get(&path) else { continue };
        let is_new = tree.reached.insert(path.clone());
        let is_freed = !test_only && tree.test_only.remove(&path);
        if !is_new && !is_freed {
            continue;
        }
        if test_only {
            tree.test_only.insert(path.clone());
        }
        for declaration in declarations(text) {
            let test_only = test_only || declaration.test_only;
            let candidates = candidates(&path, is_root(&path) || named.contains(&path), &declaration);
            let existing = candidates.into_iter().filter(|candidate| sources.contains_key(candidate));
            open.extend(existing.map(|candidate| (candidate, test_only)));
        }
    }
    tree
}

/// Whether cargo compiles this file without being told.
fn is_root(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    match parts.as_slice() {
        [.., "src", "lib.rs" | "main.rs"] | [.., "build.rs"] => true,
        [.., "src", "bin", _] | [.., "src", "bin", _, "main.rs"] => true,
        // Below `src` these are ordinary module names.
        _ if parts.contains(&"src") => false,
        [.., "tests" | "benches" | "examples", file] => file.ends_with(".rs"),
        [.., "tests" | "benches" | "examples", _, "main.rs"] => true,
        _ => false,
    }
}

/// Where the file of a declaration in `path` may lie.
fn candidates(path: &str, is_root: bool, declaration: &Declaration) -> Vec<String> {
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    if let Some(given) = &declaration.path {
        return vec![format!("{folder}/{given}")];
    }
    let stem = file.strip_suffix(".rs").unwrap_or(file);
    let mut base = folder.to_owned();
    if !is_root && stem != "mod" {
        base = format!("{base}/{stem}");
    }
    for inline in &declaration.inside {
        base = format!("{base}/{inline}");
    }
    let name = &declaration.name;
    vec![format!("{base}/{name}.rs"), format!("{base}/{name}/mod.rs")]
}

/// All declarations of a file. Literals count here (`#[path = ".."]`), so the attribute is read from the text itself.
fn declarations(text: &str) -> Vec<Declaration> {
    let code = code_only(text);
    let mut found = Vec::new();
    for position in words(&code, "mod") {
        let rest = code.get(position + "mod".len()..).unwrap_or("");
        let end = rest.find([';', '{', '(', '!', '"']).unwrap_or(0);
        if rest.get(end..end + 1) != Some(";") {
            continue;
        }
        let name = rest.get(..end).unwrap_or("").trim().trim_start_matches("r#").to_owned();
        let start = attributes_start(&code, position);
        let attributes = code.get(start..position).unwrap_or("");
        let path = text_between(text.get(start..position).unwrap_or(""), "path = \"", "\"");
        let test_only =
            attributes.split("#").any(|attribute| is_test_only(attribute.trim_end_matches(is_visibility)));
        found.push(Declaration { name, path, test_only, inside: enclosing(&code, position) });
    }
    found
}

fn is_visibility(character: char) -> bool {
    character != ']'
}

/// Where the attributes in front of the item at `position` begin: behind the end of the item before.
fn attributes_start(code: &str, position: usize) -> usize {
    code.get(..position).and_then(|before| before.rfind([';', '{', '}'])).map_or(0, |end| end + 1)
}

fn text_between(text: &str, before: &str, after: &str) -> Option<String> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once(after).map(|(found, _)| found.to_owned())
}

/// The inline modules around `position`.
fn enclosing(code: &str, position: usize) -> Vec<String> {
    let mut open: Vec<Option<String>> = Vec::new();
    let before = code.get(..position).unwrap_or("");
    for (index, character) in before.char_indices() {
        match character {
            '{' => {
                let head = code.get(attributes_start(code, index)..index).unwrap_or("");
                let name = words(head, "mod").last().and_then(|at| head.get(at + "mod".len()..));
                open.push(name.map(|name| name.trim().to_owned()));
            }
            '}' => drop(open.pop()),
            _ => {}
        }
    }
    open.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> Tree {
        let sources = files.iter().map(|&(path, text)| (path.to_owned(), text.to_owned())).collect();
        walk(&sources, &["crates/x/src/odd.rs".to_owned()])
    }

    #[test]
    fn declared_files_are_reached_and_others_are_not() {
        let tree = tree(&[
            (
                "crates/x/src/lib.rs",
                "//! x\npub mod a;\n// mod dead;\nmod inline { mod b; }\n#[path = \"other.rs\"]\nmod c;",
            ),
            ("crates/x/src/a/mod.rs", "mod child;"),
            ("crates/x/src/a/child.rs", "mod grandchild;"),
            ("crates/x/src/a/child/grandchild.rs", ""),
            ("crates/x/src/inline/b.rs", ""),
            ("crates/x/src/other.rs", ""),
            ("crates/x/src/dead.rs", ""),
            ("crates/x/src/a/dead.rs", ""),
            ("crates/x/src/odd.rs", ""),
            ("crates/x/tests/t.rs", "mod shared;"),
            ("crates/x/tests/shared/mod.rs", ""),
            ("tests/tidy/main.rs", "mod part;"),
            ("tests/tidy/part.rs", ""),
        ]);
        let dead = ["crates/x/src/dead.rs", "crates/x/src/a/dead.rs"];
        assert!(dead.iter().all(|&path| !tree.reached.contains(path)), "{:?}", tree.reached);
        assert_eq!(tree.reached.len(), 11, "{:?}", tree.reached);
        assert!(tree.test_only.is_empty());
    }

    #[test]
    fn files_behind_cfg_test_are_known() {
        let tree = tree(&[
            (
                "crates/x/src/lib.rs",
                "mod a;\n#[cfg(test)]\nmod tests;\n#[cfg(all(test, loom))]\npub(crate) mod model;",
            ),
            ("crates/x/src/a.rs", "#[cfg(not(test))]\nmod not_test;"),
            ("crates/x/src/tests.rs", "mod deeper;"),
            ("crates/x/src/tests/deeper.rs", ""),
            ("crates/x/src/model.rs", ""),
            ("crates/x/src/a/not_test.rs", ""),
        ]);
        let test_only: Vec<&str> = tree.test_only.iter().map(String::as_str).collect();
        assert_eq!(
            test_only,
            ["crates/x/src/model.rs", "crates/x/src/tests.rs", "crates/x/src/tests/deeper.rs"]
        );
    }

    #[test]
    fn roots_that_a_manifest_names_are_read() {
        let manifest = TextFile::new(
            "fuzz/Cargo.toml",
            "[[bin]]\nname = \"a\"\npath = \"fuzz_targets/a.rs\"\n\
            [dependencies]\nx = { path = \"../x\" }\n",
        );
        assert_eq!(named_roots(&manifest), ["fuzz/fuzz_targets/a.rs"]);
    }
}
