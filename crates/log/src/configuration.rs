//! What a log is opened with.

use std::time::Duration;

use oxifaster_core::{Error, ErrorKind};
use oxifaster_device::BLOCK_BYTES;

use crate::entry::PAYLOAD_BYTES_MAX;

/// When the log commits by itself. Explicit commits work under every policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CommitPolicy {
    /// Only when somebody asks. Requests that come while a commit is under way share the next one.
    OnDemand,
    /// When this time has passed since the last commit and something new was appended; since it was appended, if the log lay idle.
    Every(Duration),
    /// When at least so many bytes were appended since the last commit. What is left below that waits for a request.
    EveryBytes(u64),
}

/// Settings of a log. They change speed and limits, never what is stored. Into which files a log is divided is a setting of its
/// device: [`FileSystemDisk::segmented`](oxifaster_device::FileSystemDisk::segmented) takes the size of a segment.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use oxifaster_log::{CommitPolicy, FasterLogConfig};
/// let config = FasterLogConfig {
///     commit_policy: CommitPolicy::Every(Duration::from_millis(5)),
///     ..FasterLogConfig::default()
/// };
/// assert_eq!(config.memory_bytes(), 32 << 20);
/// config.validate()?;
/// # Ok::<(), oxifaster_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FasterLogConfig {
    /// Bytes after which the background starts to write without being asked: a power of two, at least 4096.
    pub page_size: usize,
    /// Memory of the log in pages: a power of two, at least 4. An entry, or a batch, takes half of it at most.
    pub memory_pages: usize,
    /// When the log commits by itself.
    pub commit_policy: CommitPolicy,
    /// Commits that are written and not yet durable, at most; at least 1.
    pub commits_in_flight_max: usize,
}

impl Default for FasterLogConfig {
    /// 32 pages of 1 MiB, commits on demand, four in flight.
    fn default() -> Self {
        Self {
            page_size: 1 << 20,
            memory_pages: 32,
            commit_policy: CommitPolicy::OnDemand,
            commits_in_flight_max: 4,
        }
    }
}

impl FasterLogConfig {
    /// With another page size in bytes.
    #[must_use]
    pub fn with_page_size(mut self, page_size: usize) -> Self {
        self.page_size = page_size;
        self
    }

    /// With another number of pages in memory.
    #[must_use]
    pub fn with_memory_pages(mut self, memory_pages: usize) -> Self {
        self.memory_pages = memory_pages;
        self
    }

    /// With another policy.
    #[must_use]
    pub fn with_commit_policy(mut self, commit_policy: CommitPolicy) -> Self {
        self.commit_policy = commit_policy;
        self
    }

    /// Memory of the log in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.page_size.saturating_mul(self.memory_pages)
    }

    /// Longest entry in bytes (inclusive): half of the memory less three blocks, and 268,435,455 at most.
    #[must_use]
    pub fn entry_bytes_max(&self) -> usize {
        (self.memory_bytes() / 2).saturating_sub(3 * BLOCK_BYTES).min(PAYLOAD_BYTES_MAX)
    }

    /// Whether a log can work like this.
    ///
    /// # Errors
    /// `InvalidConfiguration`, naming the field, its value, and what would be right.
    pub fn validate(&self) -> Result<(), Error> {
        let invalid = |message: String| Err(Error::new(ErrorKind::InvalidConfiguration, message));
        if !self.page_size.is_power_of_two() || !(BLOCK_BYTES..=1 << 30).contains(&self.page_size) {
            return invalid(format!(
                "page_size is {}: it must be a power of two from 4096 to 1 GiB",
                self.page_size
            ));
        }
        if !self.memory_pages.is_power_of_two() || self.memory_pages < 4 || self.memory_pages > 1 << 24 {
            return invalid(format!(
                "memory_pages is {}: it must be a power of two from 4 to 2^24",
                self.memory_pages
            ));
        }
        if self.memory_bytes() < 8 * BLOCK_BYTES || self.memory_bytes() > 1 << 40 {
            return invalid(format!(
                "page_size x memory_pages is {} bytes: it must be from 32 KiB to 1 TiB",
                self.memory_bytes()
            ));
        }
        if self.commits_in_flight_max == 0 {
            return invalid("commits_in_flight_max is 0: it must be at least 1".to_owned());
        }
        match self.commit_policy {
            CommitPolicy::Every(interval) if interval.is_zero() => {
                invalid("commit_policy is every 0 s: use a longer time, or commit on demand".to_owned())
            }
            CommitPolicy::EveryBytes(0) => {
                invalid("commit_policy is every 0 bytes: it must be at least 1".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// log2 of the step, in words, at which appenders tell the writer how far they are.
    pub(crate) fn nudge_shift(&self) -> u32 {
        let step_bytes = match self.commit_policy {
            CommitPolicy::EveryBytes(bytes) => (bytes / 2).clamp(8, self.page_size as u64),
            _ => self.page_size as u64,
        };
        (step_bytes / 8).ilog2()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_field_and_its_value() {
        FasterLogConfig::default().validate().unwrap();
        FasterLogConfig::default().with_page_size(4096).with_memory_pages(8).validate().unwrap();
        for (config, named) in [
            (FasterLogConfig::default().with_page_size(5000), "page_size is 5000"),
            (FasterLogConfig::default().with_memory_pages(3), "memory_pages is 3"),
            (FasterLogConfig::default().with_page_size(4096).with_memory_pages(4), "16384 bytes"),
            (
                FasterLogConfig { commits_in_flight_max: 0, ..FasterLogConfig::default() },
                "commits_in_flight_max is 0",
            ),
            (FasterLogConfig::default().with_commit_policy(CommitPolicy::Every(Duration::ZERO)), "every 0 s"),
            (FasterLogConfig::default().with_commit_policy(CommitPolicy::EveryBytes(0)), "every 0 bytes"),
        ] {
            let error = config.validate().unwrap_err();
            assert!(error.to_string().contains(named), "{error}");
        }
    }
}
