//! Documents stay true: ARCHITECTURE.md names every crate and first-level folder and no other, links lead somewhere.

use std::collections::{BTreeMap, BTreeSet};

use crate::repository::TextFile;

/// Complaints about the code map: each crate has a heading that names it (`crates/core`), and each folder of its
/// sources is named in that section (`epoch/`); headings of crates that are gone are found too.
pub(crate) fn check_code_map(map: &str, folders: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let sections = sections(map);
    let mut complaints = Vec::new();
    for (package, inside) in folders {
        let Some(section) = sections.get(package.as_str()) else {
            complaints.push(format!("ARCHITECTURE.md has no heading `{package}`"));
            continue;
        };
        for folder in inside {
            if !section.contains(&format!("`{folder}/`")) {
                complaints.push(format!("ARCHITECTURE.md, section `{package}`, does not name `{folder}/`"));
            }
        }
    }
    for package in sections.keys().filter(|&&name| name.starts_with("crates/") && !folders.contains_key(name))
    {
        complaints.push(format!("ARCHITECTURE.md describes `{package}`, which is not there"));
    }
    complaints
}

/// Text of the sections whose heading contains a name in backticks, by that name.
fn sections(text: &str) -> BTreeMap<&str, String> {
    let mut sections: BTreeMap<&str, String> = BTreeMap::new();
    let mut current = None;
    for line in text.lines() {
        if line.starts_with('#') {
            current = line.split('`').nth(1);
        }
        if let Some(name) = current {
            let section = sections.entry(name).or_default();
            section.push_str(line);
            section.push('\n');
        }
    }
    sections
}

/// Complaints about relative links of a Markdown file to nothing.
pub(crate) fn check_links(file: &TextFile, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut complaints = Vec::new();
    for target in link_targets(&file.text) {
        let path = target.split('#').next().unwrap_or("");
        if path.is_empty() || path.contains("://") || path.starts_with("mailto:") {
            continue;
        }
        let from_root = match path.strip_prefix('/') {
            Some(absolute) => absolute.to_owned(),
            None if folder.is_empty() => path.to_owned(),
            None => format!("{folder}/{path}"),
        };
        if !exists(&from_root) {
            complaints.push(format!("{}: a link to {target}, which is not there", file.path));
        }
    }
    complaints
}

/// What stands in the parentheses of `[text](target)`, outside of code fences.
fn link_targets(text: &str) -> Vec<&str> {
    let mut targets = Vec::new();
    let mut in_fence = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_fence = !in_fence;
        }
        if in_fence {
            continue;
        }
        targets.extend(line.split("](").skip(1).filter_map(|rest| rest.split(')').next()));
    }
    targets
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folders() -> BTreeMap<String, BTreeSet<String>> {
        BTreeMap::from([("crates/core".to_owned(), BTreeSet::from(["epoch".to_owned(), "index".to_owned()]))])
    }

    #[test]
    fn a_code_map_that_is_not_true_is_found() {
        let good = "# Map\n### `crates/core`, layer 1\n| `epoch/` | x |\n| `index/` | y |\n## Next\n";
        assert!(check_code_map(good, &folders()).is_empty());
        assert_eq!(check_code_map(&good.replace("`index/`", "index"), &folders()).len(), 1);
        assert_eq!(check_code_map("`crates/core` `epoch/` `index/`", &folders()).len(), 1);
        assert_eq!(check_code_map(&format!("{good}### `crates/gone`\n"), &folders()).len(), 1);
        // What another section names does not count.
        assert_eq!(check_code_map(&good.replace("| `index/`", "## Other\n| `index/`"), &folders()).len(), 1);
    }

    #[test]
    fn links_to_nothing_are_found() {
        let exists = |path: &str| path == "docs/format/page.md" || path == "README.md";
        let check = |path: &str, text: &str| check_links(&TextFile::new(path, text), exists).len();
        assert_eq!(check("README.md", "[a](docs/format/page.md#x) [b](https://example.org) [c](#here)"), 0);
        assert_eq!(check("docs/format/record.md", "[a](page.md) [b](../gone.md)"), 1);
        assert_eq!(check("README.md", "see [a](docs/gone.md)"), 1);
        assert_eq!(check("README.md", "```text\n[a](docs/gone.md)\n```\n"), 0);
    }
}
