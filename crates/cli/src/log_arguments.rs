//! The command line of `log`: subcommands, and when appended lines become durable.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::arguments::OutputArguments;
use crate::byte_size::ByteSize;

/// When appended entries become durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitWhen {
    /// Each one before the next is appended.
    Each,
    /// After a time.
    EveryTime(Duration),
    /// After a number of bytes.
    EveryBytes(u64),
    /// Only at the end.
    End,
}

impl FromStr for CommitWhen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected =
            || format!("'{text}' is not a commit rule; write each, end, 'every 5ms', or 'every 1MiB'");
        let amount = match text.trim() {
            "each" => return Ok(CommitWhen::Each),
            "end" => return Ok(CommitWhen::End),
            rule => rule.strip_prefix("every ").ok_or_else(expected)?.trim(),
        };
        let digits = amount.trim_end_matches(|unit: char| !unit.is_ascii_digit());
        let number = || digits.parse::<u64>().ok().filter(|number| *number > 0);
        let time = match amount.get(digits.len()..).map(str::trim) {
            Some("us" | "µs") => number().map(Duration::from_micros),
            Some("ms") => number().map(Duration::from_millis),
            Some("s") => number().map(Duration::from_secs),
            _ => None,
        };
        if let Some(time) = time {
            return Ok(CommitWhen::EveryTime(time));
        }
        let size: ByteSize = amount.parse().map_err(|_| expected())?;
        if size.0 == 0 { Err(expected()) } else { Ok(CommitWhen::EveryBytes(size.0)) }
    }
}

/// What to do with a log.
#[derive(Debug, Subcommand)]
pub enum LogCommand {
    /// Append lines of files or of standard input.
    Append(AppendArguments),
    /// Print entries.
    Cat(CatArguments),
    /// Print the last entries, and go on with new ones.
    Tail(TailArguments),
    /// Read and check everything.
    Verify(LogArguments),
    /// Forget entries at the front, or drop entries at the end.
    Truncate(TruncateArguments),
    /// Measure appends and commits.
    Bench(BenchArguments),
}

const LOG_EXAMPLES: &str = "\
Examples:
  journalctl -f | oxifaster log append --dir journal --commit 'every 5ms' -
  oxifaster log append --dir events --commit each events.jsonl
  oxifaster log cat --dir events --from 1000 --count 10
  oxifaster log tail --dir events -n 20
  oxifaster log tail --dir events -f --json        what another process commits, as it comes
  oxifaster log verify --dir events --json
  oxifaster log truncate --dir events --before 1000
  oxifaster log bench --dir bench --entry-bytes 100 --threads 2 --commit 'every 5ms'

An entry is a line without its end. Entries are counted from 0 since the log was made, truncated ones included.
cat, tail and verify read a log that another process writes; they show what is durable, and write nothing.";

/// Arguments of `log`.
#[derive(Debug, Args)]
#[command(after_help = LOG_EXAMPLES)]
pub struct LogCommandArguments {
    /// What to do.
    #[command(subcommand)]
    pub command: LogCommand,
}

/// Arguments that all commands on a log share.
#[derive(Debug, Args)]
pub struct LogArguments {
    /// Folder of the log.
    #[arg(long, value_name = "FOLDER")]
    pub dir: PathBuf,
    /// How the result is written.
    #[command(flatten)]
    pub output: OutputArguments,
}

/// Arguments of `log append`.
#[derive(Debug, Args)]
pub struct AppendArguments {
    /// Files of lines, in order; `-` is standard input.
    #[arg(value_name = "FILE", default_value = "-")]
    pub files: Vec<PathBuf>,
    /// When lines become durable: each, 'every 5ms', 'every 1MiB', end. The end of the input commits in any case.
    #[arg(long, value_name = "RULE", default_value = "every 5ms")]
    pub commit: CommitWhen,
    /// Which log.
    #[command(flatten)]
    pub log: LogArguments,
}

/// Arguments of `log cat`.
#[derive(Debug, Args)]
pub struct CatArguments {
    /// Number of the first entry. Default: the first one that is there.
    #[arg(long, value_name = "NUMBER")]
    pub from: Option<u64>,
    /// How many entries. Default: all.
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// Print the number and a tab in front of each entry.
    #[arg(long)]
    pub numbers: bool,
    /// Print each entry as a JSON object: number, address, entry (`entry_hex` if it is no text).
    #[arg(long, conflicts_with = "numbers")]
    pub json: bool,
    /// Folder of the log.
    #[arg(long, value_name = "FOLDER")]
    pub dir: PathBuf,
}

/// Arguments of `log tail`.
#[derive(Debug, Args)]
pub struct TailArguments {
    /// How many entries.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
    pub count: u64,
    /// Go on with what is committed later, until interrupted.
    #[arg(short, long)]
    pub follow: bool,
    /// Print the number and a tab in front of each entry.
    #[arg(long)]
    pub numbers: bool,
    /// Print each entry as a JSON object: number, address, entry (`entry_hex` if it is no text).
    #[arg(long, conflicts_with = "numbers")]
    pub json: bool,
    /// Folder of the log.
    #[arg(long, value_name = "FOLDER")]
    pub dir: PathBuf,
}

/// Arguments of `log truncate`.
#[derive(Debug, Args)]
#[group(id = "where", required = true, multiple = true, args = ["before", "from"])]
pub struct TruncateArguments {
    /// Forget all entries with lower numbers, and give their space back.
    #[arg(long, value_name = "NUMBER")]
    pub before: Option<u64>,
    /// Drop this entry and everything behind it.
    #[arg(long, value_name = "NUMBER")]
    pub from: Option<u64>,
    /// Which log.
    #[command(flatten)]
    pub log: LogArguments,
}

/// Arguments of `log bench`.
#[derive(Debug, Args)]
pub struct BenchArguments {
    /// Threads that append.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: u16,
    /// Bytes of each entry.
    #[arg(long, value_name = "BYTES", default_value_t = 100)]
    pub entry_bytes: usize,
    /// How long.
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    pub seconds: u64,
    /// Total memory of the log.
    #[arg(long, value_name = "SIZE", default_value = "32M")]
    pub memory: ByteSize,
    /// When entries become durable: each (each thread waits for its own, and they share commits), 'every 5ms', 'every 1MiB', end.
    #[arg(long, value_name = "RULE", default_value = "every 5ms")]
    pub commit: CommitWhen,
    /// Which log; it is made in this folder and should not exist.
    #[command(flatten)]
    pub log: LogArguments,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::CommitWhen;

    #[test]
    fn commit_rules_are_read() {
        for (text, rule) in [
            ("each", CommitWhen::Each),
            ("end", CommitWhen::End),
            ("every 5ms", CommitWhen::EveryTime(Duration::from_millis(5))),
            ("every 250us", CommitWhen::EveryTime(Duration::from_micros(250))),
            ("every 2 s", CommitWhen::EveryTime(Duration::from_secs(2))),
            ("every 1MiB", CommitWhen::EveryBytes(1 << 20)),
            ("every 4096", CommitWhen::EveryBytes(4096)),
        ] {
            assert_eq!(text.parse(), Ok(rule), "{text}");
        }
        for text in ["", "5ms", "every", "every 0ms", "every 0", "every 5 parsecs", "every -1s"] {
            assert!(text.parse::<CommitWhen>().is_err(), "{text:?} was accepted");
        }
    }
}
