//! Small habits: short files, a header in each, nothing ignored in silence, nothing that only one machine understands.

use crate::repository::TextFile;
use crate::source::line_of;

/// No file is longer, in lines.
const LINES_MAX: usize = 600;

/// A file that grew too long for one concept.
pub(crate) fn check_length(file: &TextFile) -> Vec<String> {
    let lines = file.text.lines().count();
    if lines <= LINES_MAX {
        return Vec::new();
    }
    vec![format!("{}: {lines} lines, more than {LINES_MAX}: which concept leaves?", file.path)]
}

/// Every Rust file introduces itself with `//!` before its first item, behind inner attributes at most.
pub(crate) fn check_header(file: &TextFile) -> Vec<String> {
    let mut rest = file.text.trim_start();
    while let Some(attribute) = rest.strip_prefix("#!") {
        // Reasons in attributes contain no `)]`.
        let Some((_, behind)) = attribute.split_once("]\n") else { break };
        rest = behind.trim_start();
    }
    let first = rest.lines().next().unwrap_or("");
    let says_something = first.strip_prefix("//!").is_some_and(|header| !header.trim().is_empty());
    if says_something {
        return Vec::new();
    }
    vec![format!("{}: does not begin with a `//!` header that says what it is", file.path)]
}

/// Ignored tests without a reason, and documentation examples that are never compiled.
pub(crate) fn check_ignored(file: &TextFile) -> Vec<String> {
    let mut complaints = Vec::new();
    if file.path.ends_with(".rs") {
        let code = file.code();
        for (position, _) in code.match_indices("#[ignore]") {
            let line = line_of(&code, position);
            complaints.push(format!("{}:{line}: an ignored test says why", file.path));
        }
    }
    if !file.path.ends_with(".rs") && !file.path.ends_with(".md") {
        return complaints;
    }
    for (index, line) in file.text.lines().enumerate() {
        let line = line.trim_start();
        let line = if file.path.ends_with(".rs") {
            let comment = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"));
            let Some(comment) = comment else { continue };
            comment.trim_start()
        } else {
            line
        };
        let Some(fence) = line.strip_prefix("```") else { continue };
        if fence.split([',', ' ']).any(|word| word == "ignore") {
            complaints.push(format!("{}:{}: an example that nobody compiles", file.path, index + 1));
        }
    }
    complaints
}

/// Folders that exist on one machine only. Put together here, so that this file does not contain them.
fn machine_paths() -> Vec<String> {
    ["home", "root", "Users", "work", "mnt"].map(|folder| format!("/{folder}/")).to_vec()
}

/// Absolute paths of the machine somebody wrote this on.
pub(crate) fn check_machine_paths(file: &TextFile) -> Vec<String> {
    let mut complaints = Vec::new();
    for path in machine_paths() {
        for (position, _) in file.text.match_indices(&path) {
            // The end of a longer path or of an address is not an absolute path.
            let before = file.text.get(..position).and_then(|text| text.chars().next_back());
            let inside =
                before.is_some_and(|character| character.is_alphanumeric() || "._-}/~$".contains(character));
            if !inside {
                let line = line_of(&file.text, position);
                complaints.push(format!("{}:{line}: a path of one machine: {path}", file.path));
            }
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rust(text: &str) -> TextFile {
        TextFile::new("src/x.rs", text)
    }

    #[test]
    fn long_files_are_found() {
        assert!(check_length(&rust(&"x\n".repeat(LINES_MAX))).is_empty());
        assert_eq!(check_length(&rust(&"x\n".repeat(LINES_MAX + 1))).len(), 1);
    }

    #[test]
    fn missing_headers_are_found() {
        let good = [
            "//! What.\n",
            "#![expect(\n    a,\n    reason = \"b\"\n)]\n//! What.",
            "#![cfg(x)]\n#![cfg(y)]\n\n//! W",
        ];
        let bad = [
            "",
            "use x;\n//! What.",
            "//!\n//! What.",
            "// What.\n",
            "#![cfg(x)]\nmod y;",
            "/// What.\nfn f() {}",
        ];
        assert!(good.iter().all(|text| check_header(&rust(text)).is_empty()));
        assert!(bad.iter().all(|text| check_header(&rust(text)).len() == 1));
    }

    #[test]
    fn what_is_ignored_in_silence_is_found() {
        // Fences are put together here, so that this file has none of its own.
        let fence = |info: &str| format!("/// {}{info}\n/// x\n", "`".repeat(3));
        assert_eq!(check_ignored(&rust("#[test]\n#[ignore]\nfn f() {}")).len(), 1);
        assert_eq!(check_ignored(&rust(&fence("ignore"))).len(), 1);
        assert_eq!(check_ignored(&rust(&fence("rust,ignore"))).len(), 1);
        assert_eq!(check_ignored(&TextFile::new("a.md", &fence("rust,ignore").replace("/// ", ""))).len(), 1);
        assert!(check_ignored(&rust(&fence("no_run"))).is_empty());
        assert!(
            check_ignored(&rust("#[ignore = \"needs 40 GB of disk\"]\nfn f() {}\n// #[ignore]")).is_empty()
        );
    }

    #[test]
    fn machine_paths_are_found() {
        let home = format!("/{}/somebody/x", "home");
        assert_eq!(check_machine_paths(&rust(&format!("let x = \"{home}\";"))).len(), 1);
        assert_eq!(check_machine_paths(&TextFile::new(".ci/run", &format!("cd {home}"))).len(), 1);
        assert!(check_machine_paths(&rust(&format!("// example.org{home}"))).is_empty());
        assert!(check_machine_paths(&rust("// dev/null and a/b/c")).is_empty());
    }
}
