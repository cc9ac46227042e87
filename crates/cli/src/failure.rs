//! Why a run ends badly: one clear sentence and an exit code.
//!
//! Callers: every command. The codes are a promise to scripts, `--help` lists them, and none is ever reused:
//!
//! | code | kind | meaning |
//! |---|---|---|
//! | 0 | | all was done |
//! | 1 | `Other` | the device, the operating system or the store failed |
//! | 2 | `Usage` | the arguments make no sense |
//! | 3 | `Input` | an input file can't be read, or a line of it is malformed |
//! | 4 | `Locked` | another process has the store open |
//! | 5 | `Damage` | what was read is not what was written |
//! | 6 | `Missing` | a key that was asked for is not in the store |
//! | 7 | `NotAStore` | there is no store, or one that this command can't use |
//! | 130 | `Interrupted` | Ctrl-C or a termination signal; what was said to be durable is |

use std::fmt;

/// The text behind `--help` that tells scripts what to expect.
pub const EXIT_CODES_HELP: &str = "\
Exit codes:
  0    done
  1    the device, the operating system or the store failed
  2    wrong arguments
  3    an input file can't be read, or a line of it is malformed
  4    another process has the store open
  5    damage: what was read is not what was written
  6    a key that was asked for is not in the store
  7    there is no store here, or one that this command can't use
  130  interrupted; what was said to be durable is";

/// What a script should do about a [`Failure`]; the number is the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FailureKind {
    /// The device, the operating system or the store failed.
    Other = 1,
    /// The arguments make no sense.
    Usage = 2,
    /// An input file can't be read, or a line of it is malformed.
    Input = 3,
    /// Another process has the store open.
    Locked = 4,
    /// What was read is not what was written.
    Damage = 5,
    /// A key that was asked for is not in the store.
    Missing = 6,
    /// There is no store, or one that this command can't use.
    NotAStore = 7,
    /// Ctrl-C or a termination signal.
    Interrupted = 130,
}

/// Why a run ends badly.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub struct Failure {
    kind: FailureKind,
    sentence: String,
}

impl Failure {
    /// A failure of `kind`, told in one sentence in lower case without a full stop.
    #[must_use]
    pub fn new(kind: FailureKind, sentence: impl fmt::Display) -> Self {
        Self { kind, sentence: sentence.to_string() }
    }

    /// A failure of an input file.
    #[must_use]
    pub fn input(sentence: impl fmt::Display) -> Self {
        Self::new(FailureKind::Input, sentence)
    }

    /// A failure of the arguments.
    #[must_use]
    pub fn usage(sentence: impl fmt::Display) -> Self {
        Self::new(FailureKind::Usage, sentence)
    }

    /// A failure that has no code of its own.
    #[must_use]
    pub fn other(sentence: impl fmt::Display) -> Self {
        Self::new(FailureKind::Other, sentence)
    }

    /// What a script should do.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        self.kind
    }

    /// The exit code of the process.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        self.kind as u8
    }
}

#[cfg(test)]
mod tests {
    use super::{EXIT_CODES_HELP, Failure, FailureKind};

    #[test]
    fn every_code_is_in_the_help() {
        let kinds = [
            FailureKind::Other,
            FailureKind::Usage,
            FailureKind::Input,
            FailureKind::Locked,
            FailureKind::Damage,
            FailureKind::Missing,
            FailureKind::NotAStore,
            FailureKind::Interrupted,
        ];
        for kind in kinds {
            let line_start = format!("\n  {:<3}  ", Failure::new(kind, "x").exit_code());
            assert!(EXIT_CODES_HELP.contains(&line_start), "{kind:?} is not in the help");
        }
    }
}
