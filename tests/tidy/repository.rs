//! Reads the files of the repository: sources, manifests, documents, scripts; not what a build or git put there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::{modules, source};

/// A text file and its path from the root, with `/` on every platform.
#[derive(Clone, Debug)]
pub(crate) struct TextFile {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl TextFile {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    /// The Rust code without comments and without the contents of literals.
    pub(crate) fn code(&self) -> String {
        source::code_only(&self.text)
    }
}

/// Folders that hold nothing of ours, wherever they are.
const FOREIGN_FOLDERS: [&str; 4] = ["target", ".git", "corpus", "artifacts"];

/// What is read as text.
const TEXT: [&str; 8] = ["rs", "toml", "md", "yml", "yaml", "sh", "json", "py"];

/// Files without an extension that are read as text.
const TEXT_NAMES: [&str; 2] = ["justfile", "run"];

/// All text files, in the order of their paths.
pub(crate) struct Repository {
    root: PathBuf,
    files: BTreeMap<String, TextFile>,
}

impl Repository {
    pub(crate) fn read() -> Self {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let mut repository = Self { root: root.clone(), files: BTreeMap::new() };
        repository.read_folder(&root, "");
        assert!(
            repository.files.contains_key("src/lib.rs"),
            "the tidy test runs from the root package and must find its sources"
        );
        repository
    }

    fn read_folder(&mut self, folder: &Path, prefix: &str) {
        let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        for entry in entries {
            let entry = entry.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = format!("{prefix}{name}");
            let kind = entry.file_type().unwrap_or_else(|error| panic!("{path}: {error}"));
            if kind.is_dir() {
                if !FOREIGN_FOLDERS.contains(&name.as_str()) {
                    self.read_folder(&entry.path(), &format!("{path}/"));
                }
            } else if is_text(&name) {
                let text = fs::read_to_string(entry.path()).unwrap_or_else(|error| panic!("{path}: {error}"));
                self.files.insert(path.clone(), TextFile { path, text });
            }
        }
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = &TextFile> {
        self.files.values()
    }

    pub(crate) fn rust(&self) -> impl Iterator<Item = &TextFile> {
        self.files().filter(|file| file.path.ends_with(".rs"))
    }

    pub(crate) fn file(&self, path: &str) -> Option<&TextFile> {
        self.files.get(path)
    }

    /// Whether a file or folder lies at `path` from the root.
    pub(crate) fn exists(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }

    /// Names of the folders in `crates/`.
    pub(crate) fn crates(&self) -> BTreeSet<String> {
        self.files
            .keys()
            .filter_map(|path| path.strip_prefix("crates/")?.strip_suffix("/Cargo.toml"))
            .filter(|name| !name.contains('/'))
            .map(str::to_owned)
            .collect()
    }

    /// Each package that cargo's arrows are checked for: its short name (the folder's) and its manifest.
    pub(crate) fn manifests(&self) -> Vec<(String, &TextFile)> {
        let mut manifests: Vec<(String, &TextFile)> = Vec::new();
        for (name, path) in [("oxifaster", "Cargo.toml"), ("xtask", "xtask/Cargo.toml")] {
            manifests.extend(self.file(path).map(|manifest| (name.to_owned(), manifest)));
        }
        for name in self.crates() {
            let path = format!("crates/{name}/Cargo.toml");
            manifests.extend(self.file(&path).map(|manifest| (name, manifest)));
        }
        manifests
    }

    /// The crates, and the first-level folders of their sources: (`crates/core`, [`epoch`, ..]).
    pub(crate) fn source_folders(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut folders: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for name in self.crates() {
            folders.insert(format!("crates/{name}"), BTreeSet::new());
        }
        for path in self.files.keys() {
            let Some((package, inside)) = path.split_once("/src/") else { continue };
            if let (Some(set), Some((folder, _))) = (folders.get_mut(package), inside.split_once('/')) {
                set.insert(folder.to_owned());
            }
        }
        folders
    }

    /// What the `mod` declarations reach, starting from every target that cargo finds by itself.
    pub(crate) fn module_tree(&self) -> modules::Tree {
        let sources = self.rust().map(|file| (file.path.clone(), file.text.clone())).collect();
        let manifests = self.files().filter(|file| file.path.ends_with("Cargo.toml"));
        let named: Vec<String> = manifests.flat_map(modules::named_roots).collect();
        modules::walk(&sources, &named)
    }
}

fn is_text(name: &str) -> bool {
    TEXT_NAMES.contains(&name)
        || name.rsplit_once('.').is_some_and(|(_, extension)| TEXT.contains(&extension))
}
