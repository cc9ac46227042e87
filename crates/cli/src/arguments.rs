//! The command line: what can be asked, with examples in every `--help`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use oxifaster_workload::Workload;

use crate::byte_size::ByteSize;
use crate::failure::EXIT_CODES_HELP;
use crate::input::Format;
use crate::input::format::ColumnName;
use crate::log_arguments::LogCommandArguments;

/// A key-value store in a folder, for state larger than memory.
#[derive(Debug, Parser)]
#[command(name = "oxifaster", version, after_help = EXIT_CODES_HELP, arg_required_else_help = true)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Load records from TSV, CSV or JSON lines into a store.
    Load(LoadArguments),
    /// Print the values of keys.
    Get(KeyArguments),
    /// Delete keys.
    Delete(KeyArguments),
    /// Count the words, or sequences of words, of real text.
    Count(CountArguments),
    /// Say what is in a store and what it takes.
    Stats(StatsArguments),
    /// Read every block of a store and check every checksum.
    Verify(VerifyArguments),
    /// Measure: YCSB's workloads on a store of its own.
    Ycsb(YcsbArguments),
    /// Append lines to a durable log, read, check, truncate and measure it.
    Log(LogCommandArguments),
}

const LOAD_EXAMPLES: &str = "\
Examples:
  oxifaster load --dir db people.tsv                        key: first column, value: the rest
  oxifaster load --dir db people.csv --key id --value name  columns by the names in the header
  oxifaster load --dir db events.jsonl --key event_id       value: the whole line
  zcat events.gz | oxifaster load --dir db --format jsonl --key event_id -
  oxifaster load --dir db --separator ';' --key 2 a.tsv b.tsv --memory 256M --json

Of several records with one key the last one wins, over all files in their order. A malformed line ends the load; what
stands before it is stored and durable, and the message says where it is. So does Ctrl-C, at the next line end; a second
Ctrl-C ends at once. In TSV a line without a separator that holds nothing but white space is skipped; columns may be empty.

A store that holds many more keys than its index carries well takes more memory to open than to fill: load says so at the end,
and a command that has too little says how much is enough.";

/// Arguments of `load`.
#[derive(Debug, Args)]
#[command(after_help = LOAD_EXAMPLES)]
pub struct LoadArguments {
    /// Files to load, in order; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Folder of the store; it is made if it is missing.
    #[arg(long, value_name = "FOLDER")]
    pub dir: PathBuf,
    /// Format of all files; by default their names tell (.tsv, .csv, .jsonl, .ndjson, .json).
    #[arg(long)]
    pub format: Option<Format>,
    /// Column of the key, by number from 1 or by name, or field of the key in JSON. Default: column 1.
    #[arg(long, value_name = "COLUMN")]
    pub key: Option<ColumnName>,
    /// Column or field of the value. Default: all columns but the key, or the whole JSON line.
    #[arg(long, value_name = "COLUMN")]
    pub value: Option<ColumnName>,
    /// Character between columns, or `tab`. Default: tab for TSV, comma for CSV.
    #[arg(long, value_name = "CHARACTER", value_parser = separator)]
    pub separator: Option<u8>,
    /// The first line names the columns (default for CSV).
    #[arg(long, conflicts_with = "no_header")]
    pub header: bool,
    /// The first line is a record (default for TSV).
    #[arg(long)]
    pub no_header: bool,
    /// Leave malformed lines out, and say how many, instead of stopping at the first one (TSV and JSON lines).
    #[arg(long)]
    pub skip_malformed: bool,
    /// How it is done.
    #[command(flatten)]
    pub resources: Resources,
    /// How the files are read.
    #[command(flatten)]
    pub device: DeviceArguments,
    /// How the result is written.
    #[command(flatten)]
    pub output: OutputArguments,
}

const KEY_EXAMPLES: &str = "\
Examples:
  oxifaster get --dir db alice bob        key, tab, value: one line each
  oxifaster get --dir db --json alice     one JSON object, with what was read from the device
  oxifaster delete --dir db alice

A key that is not in the store is told on standard error, and the exit code is 6. Where the files can't be written, get reads them
without a lock: nobody else may write them meanwhile.";

/// Arguments of `get` and `delete`.
#[derive(Debug, Args)]
#[command(after_help = KEY_EXAMPLES)]
pub struct KeyArguments {
    /// Keys: any bytes.
    #[arg(required = true, value_name = "KEY")]
    pub keys: Vec<OsString>,
    /// Folder of the store.
    #[arg(long, value_name = "FOLDER")]
    pub dir: PathBuf,
    /// Total memory.
    #[arg(long, value_name = "SIZE", default_value = "64M")]
    pub memory: ByteSize,
    /// How the files are read.
    #[command(flatten)]
    pub device: DeviceArguments,
    /// How the result is written.
    #[command(flatten)]
    pub output: OutputArguments,
}

const COUNT_EXAMPLES: &str = "\
Examples:
  oxifaster count book.txt                                      the 10 most frequent words
  oxifaster count --ngrams 3 --memory 12M crates docs src       three words in a row, far beyond the memory
  oxifaster count --lowercase --top 100 --json *.txt
  oxifaster count --dir counts january.txt && oxifaster count --dir counts february.txt && oxifaster get --dir counts rain

A word is a longest run of letters and digits (of any script); everything else separates words. A sequence of words may
cross line ends, but not the end of a file. A folder stands for all text files in it and below, without hidden ones.
Without --dir the counts live in a temporary folder that is removed at the end. Ctrl-C ends the counting and removes it; a second
Ctrl-C ends at once and leaves it behind (oxifaster-count-.. among the temporary files). Where temporary files live in memory, as in
a tmpfs, the counts take memory beyond --memory: name a --dir on a disk, or set TMPDIR.";

/// Arguments of `count`.
#[derive(Debug, Args)]
#[command(after_help = COUNT_EXAMPLES)]
pub struct CountArguments {
    /// Files or folders of text; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Folder of the counts, which are added to what is there. Default: a temporary folder.
    #[arg(long, value_name = "FOLDER")]
    pub dir: Option<PathBuf>,
    /// Count so many words in a row instead of single words.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub ngrams: u8,
    /// How many of the largest counts to print, among the words of these files.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=10_000_000))]
    pub top: u32,
    /// Count words without regard to upper and lower case.
    #[arg(long)]
    pub lowercase: bool,
    /// How it is done.
    #[command(flatten)]
    pub resources: Resources,
    /// How the files are read.
    #[command(flatten)]
    pub device: DeviceArguments,
    /// How the result is written.
    #[command(flatten)]
    pub output: OutputArguments,
}

const STATS_EXAMPLES: &str = "\
Examples:
  oxifaster stats --dir db
  oxifaster stats --dir db --json

The store is opened, which checks its whole log, and closed again; nothing in it changes. Operations and device traffic are those of
all runs of this program, which it keeps beside the store in oxifaster.totals.json; deleting that file loses nothing else.
Where the files can't be written, they are read without a lock: nobody else may write them meanwhile.";

/// Arguments of `stats`.
#[derive(Debug, Args)]
#[command(after_help = STATS_EXAMPLES)]
pub struct StatsArguments {
    /// Folder of the store.
    #[arg(long, value_name = "FOLDER")]
    pub dir: PathBuf,
    /// Total memory.
    #[arg(long, value_name = "SIZE", default_value = "64M")]
    pub memory: ByteSize,
    /// How the files are read.
    #[command(flatten)]
    pub device: DeviceArguments,
    /// How the result is written.
    #[command(flatten)]
    pub output: OutputArguments,
}

const VERIFY_EXAMPLES: &str = "\
Examples:
  oxifaster verify --dir db
  oxifaster verify --dir db --json

Each damaged block is told with its address in the log and its place in a file; the exit code is then 5. Nothing is
changed. Where the files can't be written, as in a backup, they are read without a lock: nobody else may write them meanwhile.";

/// Arguments of `verify`.
#[derive(Debug, Args)]
#[command(after_help = VERIFY_EXAMPLES)]
pub struct VerifyArguments {
    /// Folder of the store.
    #[arg(long, value_name = "FOLDER")]
    pub dir: PathBuf,
    /// How the files are read.
    #[command(flatten)]
    pub device: DeviceArguments,
    /// How the result is written.
    #[command(flatten)]
    pub output: OutputArguments,
}

const YCSB_EXAMPLES: &str = "\
Examples:
  oxifaster ycsb                                                half reads, half upserts, zipfian keys, in memory
  oxifaster ycsb --workload c --distribution uniform --batch 256 --keys 20000000 --memory 2G
  oxifaster ycsb --workload f --keys 50000000 --memory 512M --device file --dir /data/scratch   beyond memory
  oxifaster ycsb --workload load --keys 10000000 --device file  how fast keys are inserted
  oxifaster ycsb --value-bytes 100 --threads 4 --report a.svg --json > a.json

Workloads: a 50 % reads, 50 % upserts; b 95 % reads, 5 % upserts; c reads; d 95 % reads of the newest keys, 5 % inserts;
f 50 % reads, 50 % read-modify-writes; upsert, rmw: nothing else; load: inserts of all keys. Keys are numbers of 8 bytes.
All keys are loaded first, then the workload warms up, then it is measured: operations that were completed between
two looks at every thread's counters. Each thread starts its next operation when its last one is done. Of single
operations one in 32 is timed; of batches each one is, as a whole. With --batch N, N operations are drawn by the mix and run as one
batched call a kind. The store is new, made in a folder of its own, and removed at the end.";

/// Arguments of `ycsb`.
#[derive(Debug, Args)]
#[command(after_help = YCSB_EXAMPLES)]
pub struct YcsbArguments {
    /// Mix of operations.
    #[arg(long, default_value = "a", value_name = "NAME", value_parser = workload)]
    pub workload: Workload,
    /// How keys are chosen: uniform; zipfian (YCSB's scrambled one, theta 0.99); hot (80 % of the operations on 20 % of the
    /// keys). Default: zipfian. Workload d reads the newest keys.
    #[arg(long, value_enum, hide_possible_values = true, value_name = "NAME")]
    pub distribution: Option<DistributionName>,
    /// Keys.
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=1 << 40))]
    pub keys: u64,
    /// Bytes of a value: 8 are a number that is updated by one instruction, others a string of bytes.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1 << 24))]
    pub value_bytes: u32,
    /// Operations in a batch; 1 are single operations.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1 << 16))]
    pub batch: u32,
    /// Threads, each with a session. Default: the number of cores.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Total memory of log, index and buffers; the program divides it.
    #[arg(long, value_name = "SIZE", default_value = "256M")]
    pub memory: ByteSize,
    /// Part of that memory for a read cache: records on the device that are read again and again. Default: none.
    #[arg(long, value_name = "SIZE")]
    pub read_cache: Option<ByteSize>,
    /// Where the log goes: memory (nowhere: everything must fit), file, or io_uring (a file that is read through it).
    #[arg(long, value_enum, default_value = "memory", hide_possible_values = true, value_name = "NAME")]
    pub device: DeviceName,
    /// Folder in which the folder of the store is made. Default: that of temporary files.
    #[arg(long, value_name = "FOLDER")]
    pub dir: Option<PathBuf>,
    /// Length of the measured run. Default: 10.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub seconds: Option<Duration>,
    /// Length of the run before it that is not measured. Default: 2.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub warm_up: Option<Duration>,
    /// Keys and operations follow from it.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Draw throughput and latencies into this file.
    #[arg(long, value_name = "FILE.svg", value_parser = svg_file)]
    pub report: Option<PathBuf>,
    /// How the result is written.
    #[command(flatten)]
    pub output: OutputArguments,
}

/// How keys are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DistributionName {
    /// Each equally likely.
    Uniform,
    /// YCSB's scrambled zipfian.
    Zipfian,
    /// A hot set.
    Hot,
}

/// Where the log goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DeviceName {
    /// Nowhere.
    Memory,
    /// Files.
    File,
    /// Files that are read through `io_uring`.
    #[value(name = "io_uring")]
    IoUring,
}

/// Memory and threads.
#[derive(Clone, Copy, Debug, Args)]
pub struct Resources {
    /// Total memory of log, index and buffers; the program divides it and says how many keys that carries.
    #[arg(long, value_name = "SIZE", default_value = "64M")]
    pub memory: ByteSize,
    /// Threads that work on the store, each with a session. Default: the number of cores.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
}

impl Resources {
    /// How many threads to use.
    #[must_use]
    pub fn thread_count(&self) -> usize {
        thread_count(self.threads)
    }
}

/// How the store's files are read.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct DeviceArguments {
    /// What reads the store's files.
    #[arg(long, value_enum, default_value_t)]
    pub device: DeviceChoice,
}

/// What reads the store's files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum DeviceChoice {
    /// `io_uring` if the kernel offers it, else plain reads.
    #[default]
    Auto,
    /// `io_uring`; fail if the kernel does not offer it.
    #[value(name = "io_uring")]
    IoUring,
    /// Plain reads, on threads where there are many at once.
    File,
}

/// So many threads, or one for each core.
#[must_use]
pub fn thread_count(threads: Option<u16>) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    threads.map_or_else(cores, usize::from)
}

/// How results are written.
#[derive(Clone, Copy, Debug, Args)]
pub struct OutputArguments {
    /// Write one JSON object to standard output instead of a table.
    #[arg(long)]
    pub json: bool,
}

fn workload(text: &str) -> Result<Workload, String> {
    Workload::ALL.into_iter().find(|workload| workload.name() == text).ok_or_else(|| {
        let names: Vec<&str> = Workload::ALL.iter().map(|workload| workload.name()).collect();
        format!("there is none of that name, but {}", names.join(", "))
    })
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text.parse().map_err(|_| format!("'{text}' is not a number of seconds"))?;
    if !(0.0..=1e6).contains(&number) {
        return Err(format!("{text} seconds are not between 0 and 1000000"));
    }
    Ok(Duration::from_secs_f64(number))
}

fn svg_file(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.extension().is_none_or(|extension| extension != "svg") {
        return Err("it draws SVG: name a file that ends in .svg".to_owned());
    }
    Ok(path)
}

fn separator(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        _ if text == "tab" || text == "\\t" => Ok(b'\t'),
        [b'\n' | b'\r' | b'"'] => Err("line ends and quotes can't separate columns".to_owned()),
        [byte] if byte.is_ascii() => Ok(*byte),
        _ => Err("a separator is one ASCII character, or 'tab'".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use std::time::Duration;

    use super::{Arguments, seconds, separator, svg_file};

    #[test]
    fn the_command_line_is_consistent_and_every_command_has_examples() {
        Arguments::command().debug_assert();
        for command in Arguments::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains(&format!("oxifaster {}", command.get_name())), "{}", command.get_name());
        }
    }

    #[test]
    fn seconds_may_have_fractions_and_are_finite() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for text in ["", "-1", "x", "inf", "NaN", "1e7"] {
            assert!(seconds(text).is_err(), "{text:?} was accepted");
        }
        assert!(svg_file("a.svg").is_ok() && svg_file("a.png").is_err() && svg_file("svg").is_err());
    }

    #[test]
    fn separators_are_single_characters() {
        assert_eq!((separator("tab"), separator("\\t"), separator(";")), (Ok(b'\t'), Ok(b'\t'), Ok(b';')));
        for text in ["", "ab", "é", "\n", "\""] {
            assert!(separator(text).is_err(), "{text:?} was accepted");
        }
    }
}
