//! The names of a segmented device's files: `{prefix}.meta` and `{prefix}.{index}.log`, the index in at least six digits.

use std::path::{Path, PathBuf};

use crate::error::{DeviceError, DeviceErrorKind};

pub(super) struct SegmentNames {
    directory: PathBuf,
    prefix: String,
}

impl SegmentNames {
    /// Names in `directory`, which need not exist.
    pub(super) fn new(directory: &Path, prefix: &str) -> Result<Self, DeviceError> {
        let plain = Path::new(prefix).file_name().is_some_and(|name| name == prefix)
            && !prefix.contains(['/', '\\', ':', '\0']);
        if !plain {
            let message = format!("the prefix {prefix:?} is not a plain file name");
            return Err(DeviceError::new(DeviceErrorKind::InvalidRequest, message));
        }
        Ok(Self { directory: directory.to_path_buf(), prefix: prefix.to_owned() })
    }

    pub(super) fn meta(&self) -> PathBuf {
        self.directory.join(format!("{}.meta", self.prefix))
    }

    pub(super) fn segment(&self, index: u64) -> PathBuf {
        self.directory.join(format!("{}.{index:06}.log", self.prefix))
    }

    /// The segments that exist, with their sizes in bytes.
    pub(super) fn existing(&self) -> Result<Vec<(u64, u64)>, DeviceError> {
        let failed = |error| DeviceError::io("listing segments", error).at_path(&self.directory);
        let mut found = Vec::new();
        let entries = match std::fs::read_dir(&self.directory) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(found),
            entries => entries.map_err(failed)?,
        };
        for entry in entries {
            let entry = entry.map_err(failed)?;
            if let Some(index) = entry.file_name().to_str().and_then(|name| self.index_of(name)) {
                found.push((index, entry.metadata().map_err(failed)?.len()));
            }
        }
        Ok(found)
    }

    fn index_of(&self, name: &str) -> Option<u64> {
        let digits = name.strip_prefix(&self.prefix)?.strip_prefix('.')?.strip_suffix(".log")?;
        let index = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())??;
        // Only names that we would make ourselves: "+7" or "0000007" are somebody else's.
        (format!("{index:06}") == digits).then_some(index)
    }
}

#[cfg(test)]
mod tests {
    use super::SegmentNames;
    use std::path::Path;

    #[test]
    fn names_round_trip_and_strangers_are_ignored() {
        let names = SegmentNames::new(Path::new("d"), "a").unwrap();
        for index in [0, 7, 999_999, 1_000_000, u64::MAX] {
            let path = names.segment(index);
            assert_eq!(names.index_of(path.file_name().unwrap().to_str().unwrap()), Some(index));
        }
        for name in [
            "a.7.log",
            "a.0000007.log",
            "a.+00007.log",
            "a..log",
            "ab.000007.log",
            "a.000007.log.bak",
            "a.meta",
        ] {
            assert_eq!(names.index_of(name), None, "{name}");
        }
        let longer = SegmentNames::new(Path::new("d"), "a.000001").unwrap();
        assert_eq!(names.index_of("a.000001.000000.log"), None);
        assert_eq!(longer.index_of("a.000001.000000.log"), Some(0));
    }

    #[test]
    fn a_prefix_is_a_plain_name() {
        for prefix in ["", ".", "..", "a/b", "/a", "a/", "a\\b", "c:", "a\0"] {
            assert!(SegmentNames::new(Path::new("d"), prefix).is_err(), "{prefix:?}");
        }
    }
}
