//! Where input comes from: files, folders (for `count`) and standard input.
//!
//! Everything is looked at before the first record is stored, so that a mistyped name is told at once.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// One stream of input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Standard input, written `-`.
    Stdin,
    /// A file.
    File(PathBuf),
}

impl Source {
    /// What an argument means.
    #[must_use]
    pub fn of_argument(argument: &Path) -> Self {
        if argument == Path::new("-") { Source::Stdin } else { Source::File(argument.to_path_buf()) }
    }

    /// The path, unless it is standard input.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Source::Stdin => None,
            Source::File(path) => Some(path),
        }
    }

    /// Opens the stream.
    ///
    /// # Errors
    /// An input failure that names the file.
    pub fn open(&self) -> Result<Box<dyn Read + Send>, Failure> {
        match self {
            Source::Stdin => Ok(Box::new(io::stdin())),
            Source::File(path) => {
                let file = File::open(path).map_err(|error| self.unreadable(&error))?;
                Ok(Box::new(file))
            }
        }
    }

    /// A failure to read this source.
    #[must_use]
    pub fn unreadable(&self, error: &io::Error) -> Failure {
        Failure::input(format_args!("can't read {self}: {error}"))
    }

    /// Its size in bytes, where that is known before reading.
    #[must_use]
    pub fn size_bytes(&self) -> Option<u64> {
        let metadata = std::fs::metadata(self.path()?).ok()?;
        metadata.is_file().then_some(metadata.len())
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Stdin => f.write_str("standard input"),
            Source::File(path) => path.display().fmt(f),
        }
    }
}

/// The sum of all sizes, if all are known.
#[must_use]
pub fn total_bytes(sources: &[Source]) -> Option<u64> {
    sources.iter().map(Source::size_bytes).sum()
}

/// Checks that every file can be opened and no argument is a folder. A pipe is opened once only, when it is read: whoever writes
/// into it would take a second opening for its end.
///
/// # Errors
/// An input failure for the first argument that can't be read.
pub fn files(arguments: &[PathBuf]) -> Result<Vec<Source>, Failure> {
    let mut sources = Vec::new();
    for argument in arguments {
        let source = Source::of_argument(argument);
        if let Some(path) = source.path() {
            let metadata = std::fs::metadata(path).map_err(|error| source.unreadable(&error))?;
            if metadata.is_dir() {
                return Err(Failure::input(format_args!("can't read {source}: it is a folder, not a file")));
            }
            if metadata.is_file() {
                drop(source.open()?);
            }
        }
        push_stdin_once(&mut sources, source)?;
    }
    Ok(sources)
}

/// What `count` reads, and what it leaves out.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct TextFiles {
    /// What is read, in order.
    pub sources: Vec<Source>,
    /// Files inside of folders that are no text.
    pub binary_files: u64,
}

/// Like [`files`], but a folder stands for all text files in it and below, sorted by name, without hidden ones. A file
/// with a zero byte near its start is taken for no text and left out, unless it is named itself.
///
/// # Errors
/// An input failure for the first file or folder that can't be read.
pub fn text_files(arguments: &[PathBuf]) -> Result<TextFiles, Failure> {
    let mut found = TextFiles::default();
    for argument in arguments {
        if argument.is_dir() {
            add_folder(argument, &mut found)?;
        } else {
            let file = files(std::slice::from_ref(argument))?;
            for source in file {
                push_stdin_once(&mut found.sources, source)?;
            }
        }
    }
    Ok(found)
}

fn push_stdin_once(sources: &mut Vec<Source>, source: Source) -> Result<(), Failure> {
    if source == Source::Stdin && sources.contains(&Source::Stdin) {
        return Err(Failure::usage("standard input ('-') can be read only once"));
    }
    sources.push(source);
    Ok(())
}

fn add_folder(folder: &Path, found: &mut TextFiles) -> Result<(), Failure> {
    let unreadable =
        |error: io::Error| Failure::input(format_args!("can't read folder {}: {error}", folder.display()));
    let mut entries = std::fs::read_dir(folder)
        .and_then(|entries| entries.collect::<Result<Vec<_>, _>>())
        .map_err(unreadable)?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        // Symbolic links are not followed: they may lead in circles.
        let kind = entry.file_type().map_err(unreadable)?;
        if kind.is_dir() {
            add_folder(&entry.path(), found)?;
        } else if kind.is_file() {
            let source = Source::File(entry.path());
            if looks_like_text(&source)? {
                found.sources.push(source);
            } else {
                found.binary_files += 1;
            }
        }
    }
    Ok(())
}

fn looks_like_text(source: &Source) -> Result<bool, Failure> {
    let mut start = Vec::new();
    source.open()?.take(8192).read_to_end(&mut start).map_err(|error| source.unreadable(&error))?;
    Ok(memchr::memchr(0, &start).is_none())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::{Source, files, text_files, total_bytes};
    use crate::failure::FailureKind;

    #[test]
    fn folders_are_walked_in_order_without_hidden_and_binary_files() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &[u8]| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, content).unwrap();
            Source::File(path)
        };
        let later = write("b.txt", b"later");
        let inner = write("a/inner.md", b"inner text");
        write("a/.hidden", b"x");
        write("image", b"\x00\x01");
        let found = text_files(&[folder.path().to_path_buf()]).unwrap();
        assert_eq!(found.sources, [inner, later]);
        assert_eq!(found.binary_files, 1);
        assert_eq!(total_bytes(&found.sources), Some(15));
    }

    #[test]
    fn what_cannot_be_read_is_told_before_anything_starts() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing.tsv");
        let failure = files(std::slice::from_ref(&missing)).unwrap_err();
        assert_eq!(failure.kind(), FailureKind::Input);
        assert!(failure.to_string().contains("missing.tsv"), "{failure}");
        let failure = files(&[folder.path().to_path_buf()]).unwrap_err();
        assert!(failure.to_string().contains("it is a folder"), "{failure}");
        let stdin = PathBuf::from("-");
        assert_eq!(files(&[stdin.clone(), stdin]).unwrap_err().kind(), FailureKind::Usage);
    }
}
