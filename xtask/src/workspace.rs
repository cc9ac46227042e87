//! Where things are: the root, the target folder, crates, examples; and what the user typed behind the command.

use std::fs;
use std::path::{Path, PathBuf};

/// The repository and the arguments of this run.
pub(crate) struct Workspace {
    root: PathBuf,
    target: PathBuf,
    arguments: Vec<String>,
}

impl Workspace {
    /// The workspace this program was compiled in.
    pub(crate) fn find(arguments: Vec<String>) -> Result<Self, String> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = manifest.parent().ok_or("xtask must lie in a folder of the workspace")?.to_path_buf();
        if !root.join("Cargo.toml").is_file() {
            return Err(format!(
                "{} is not there any more: rebuild xtask where the repository is now",
                root.display()
            ));
        }
        let target = match std::env::var_os("CARGO_TARGET_DIR") {
            Some(folder) => root.join(folder),
            None => root.join("target"),
        };
        Ok(Self { root, target, arguments })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A name of our own in the target folder: for builds with other compiler flags, so that they do not throw the ordinary build away.
    pub(crate) fn separate_target(&self, name: &str) -> PathBuf {
        self.target.join(name)
    }

    /// Whether `--name` was typed.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.arguments.iter().any(|argument| argument == name)
    }

    /// The number typed behind `name`.
    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, String> {
        let Some(position) = self.arguments.iter().position(|argument| argument == name) else {
            return Ok(None);
        };
        let value =
            self.arguments.get(position + 1).ok_or_else(|| format!("{name} needs a number behind it"))?;
        value.parse().map(Some).map_err(|_| format!("{name} needs a number, not {value:?}"))
    }

    /// The first argument that is neither an option nor the number behind one.
    pub(crate) fn positional(&self) -> Option<&str> {
        let mut rest = self.arguments.iter();
        while let Some(argument) = rest.next() {
            match argument.as_str() {
                "--seconds" => {
                    rest.next();
                }
                option if option.starts_with("--") => {}
                name => return Some(name),
            }
        }
        None
    }

    /// Names of the folders under `crates/`, sorted.
    pub(crate) fn crates(&self) -> Vec<String> {
        names(&self.root.join("crates"), |path| path.join("Cargo.toml").is_file())
    }

    /// Names of the examples of the root package, sorted.
    pub(crate) fn examples(&self) -> Vec<String> {
        names(&self.root.join("examples"), |path| {
            path.extension().is_some_and(|extension| extension == "rs") || path.join("main.rs").is_file()
        })
    }
}

/// File stems of the entries of `folder` that `wanted` accepts, sorted; none when there is no such folder.
pub(crate) fn names(folder: &Path, wanted: impl Fn(&Path) -> bool) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| wanted(path))
        .filter_map(|path| path.file_stem().map(|stem| stem.to_string_lossy().into_owned()))
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(arguments: &[&str]) -> Workspace {
        Workspace::find(arguments.iter().map(|&argument| argument.to_owned()).collect())
            .expect("the tests run inside of the workspace")
    }

    #[test]
    fn options_and_positional_arguments_are_told_apart() {
        let workspace = typed(&["--seconds", "30", "page_reader", "--long"]);
        assert_eq!(workspace.number("--seconds"), Ok(Some(30)));
        assert_eq!(workspace.positional(), Some("page_reader"));
        assert!(workspace.flag("--long"));
        assert_eq!(typed(&[]).number("--seconds"), Ok(None));
        assert!(typed(&["--seconds"]).number("--seconds").is_err());
        assert!(typed(&["--seconds", "many"]).number("--seconds").is_err());
    }

    #[test]
    fn the_crates_of_this_workspace_are_found() {
        let crates = typed(&[]).crates();
        assert!(crates.contains(&"device".to_owned()), "{crates:?}");
    }
}
