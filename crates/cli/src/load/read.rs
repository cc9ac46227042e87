//! The reader: opens file after file and turns each into chunks.
//!
//! It looks at options and headers, so that a column that is not there is told with the file's name. Runs in one thread that
//! nobody waits for (standard input may never end): it stops when the queue or the permits are closed.

use std::ops::ControlFlow;
use std::path::PathBuf;

use oxifaster_device::sync::Arc;

use super::shard::Sharder;
use super::{EndOnPanic, InputPosition, LoadRun, ParsedChunk, Work};
use crate::failure::Failure;
use crate::input::chunk_reader::ChunkError;
use crate::input::csv_records::{CsvError, CsvOptions, read_records};
use crate::input::format::ColumnName;
use crate::input::json_lines::JsonLinesParser;
use crate::input::tsv::{self, TsvParser};
use crate::input::{ChunkReader, Cut, Format, LineError, LineParser, Source, TextChunk, source};
use crate::pipeline::Permit;

/// How the user wants input to be read. `None` means the format's default.
#[derive(Clone, Debug, Default)]
pub struct InputOptions {
    /// The format of all files, instead of what their names tell.
    pub format: Option<Format>,
    /// The byte between columns.
    pub separator: Option<u8>,
    /// Whether the first line names the columns.
    pub header: Option<bool>,
    /// The key's column or field.
    pub key: Option<ColumnName>,
    /// The value's column or field.
    pub value: Option<ColumnName>,
    /// Leave malformed lines out instead of stopping at the first one.
    pub skip_malformed: bool,
}

/// What is read, and how.
#[derive(Clone, Debug)]
pub struct ReadPlan {
    files: Vec<(Arc<Source>, Format)>,
    pub(super) options: InputOptions,
}

impl ReadPlan {
    /// Checks arguments and options against each other and that every file can be opened.
    ///
    /// # Errors
    /// Usage and input failures.
    pub(super) fn new(arguments: &[PathBuf], options: InputOptions) -> Result<Self, Failure> {
        let mut files = Vec::new();
        for source in source::files(arguments)? {
            let told = options.format.or_else(|| source.path().and_then(Format::of_path));
            let format = told.ok_or_else(|| {
                Failure::usage(format_args!(
                    "the format of {source} can't be told from its name: say --format tsv, csv or jsonl"
                ))
            })?;
            check_options(format, &options)?;
            files.push((Arc::new(source), format));
        }
        Ok(Self { files, options })
    }

    /// All sizes together, if they are known.
    #[must_use]
    pub fn total_bytes(&self) -> Option<u64> {
        self.files.iter().map(|(source, _)| source.size_bytes()).sum()
    }
}

fn check_options(format: Format, options: &InputOptions) -> Result<(), Failure> {
    let named = |column: &Option<ColumnName>| matches!(column, Some(ColumnName::Name(_)));
    match format {
        Format::Jsonl if options.key.is_none() => Err(Failure::usage("JSON lines need --key FIELD")),
        Format::Jsonl if options.separator.is_some() => {
            Err(Failure::usage("--separator is for columns: JSON lines have none"))
        }
        Format::Jsonl if options.header.is_some() => {
            Err(Failure::usage("--header and --no-header are for columns: JSON lines have none"))
        }
        Format::Csv if options.skip_malformed => Err(Failure::usage(
            "--skip-malformed is for formats in which a record is a line: a malformed CSV record may hide the ones \
             behind it",
        )),
        Format::Tsv if options.header != Some(true) && (named(&options.key) || named(&options.value)) => Err(
            Failure::usage("columns of TSV have names only with --header; without it give a number from 1"),
        ),
        Format::Csv if options.header == Some(false) && (named(&options.key) || named(&options.value)) => {
            Err(Failure::usage("with --no-header columns have no names: give a number from 1"))
        }
        _ => Ok(()),
    }
}

/// Reads all files; closes the queue at the end, whatever the end is.
pub(super) fn read_sources(shared: &LoadRun, plan: ReadPlan) {
    let _on_panic = EndOnPanic(shared);
    for (source, format) in &plan.files {
        let read = match format {
            Format::Csv => read_csv(shared, source, &plan.options),
            Format::Tsv | Format::Jsonl => read_lines(shared, source, *format, &plan.options),
        };
        match read {
            Ok(ControlFlow::Continue(())) => {}
            Ok(ControlFlow::Break(())) => break,
            Err(failure) => {
                let chunks = shared.queue.close();
                shared.run.fail(chunks, failure);
                break;
            }
        }
    }
    shared.end_of_input();
}

fn read_lines(
    shared: &LoadRun,
    source: &Arc<Source>,
    format: Format,
    options: &InputOptions,
) -> Result<ControlFlow<()>, Failure> {
    let mut reader =
        ChunkReader::new(source.open()?, Cut::Line, shared.size.chunk_bytes, line_bytes_max(shared));
    let mut parser = None;
    loop {
        let Some(permit) = shared.permits.acquire() else { return Ok(ControlFlow::Break(())) };
        let chunk = reader.next_chunk().map_err(|error| match error {
            ChunkError::Io(error) => source.unreadable(&error),
            ChunkError::NoCut { line, limit_bytes } => {
                malformed(source, line, &LineError::LineTooLong { limit_bytes })
            }
        })?;
        let Some(mut text) = chunk else { return Ok(ControlFlow::Continue(())) };
        let parser = match &parser {
            Some(parser) => Arc::clone(parser),
            None => {
                strip_byte_order_mark(&mut text.bytes);
                let found =
                    line_parser(format, options, &mut text).map_err(|error| malformed(source, 1, &error))?;
                Arc::clone(parser.insert(Arc::new(found)))
            }
        };
        if !shared.queue.push(Work::Lines { source: Arc::clone(source), parser, text, permit }) {
            return Ok(ControlFlow::Break(()));
        }
    }
}

/// The longest line, or record of a CSV file: columns that nobody wants count, too.
fn line_bytes_max(shared: &LoadRun) -> usize {
    shared.size.chunk_bytes.max(shared.size.record_bytes_max * 4)
}

/// Some programs write one in front of UTF-8 text; it is no part of the first column.
fn strip_byte_order_mark(bytes: &mut Vec<u8>) {
    if bytes.starts_with(b"\xef\xbb\xbf") {
        bytes.drain(..3);
    }
}

/// The parser of a file; takes the header line off its first chunk.
fn line_parser(
    format: Format,
    options: &InputOptions,
    first: &mut TextChunk,
) -> Result<LineParser, LineError> {
    if format == Format::Jsonl {
        let key = options.key.as_ref().map(ColumnName::as_field).unwrap_or_default();
        let value = options.value.as_ref().map(ColumnName::as_field);
        return Ok(LineParser::JsonLines(JsonLinesParser { key, value }));
    }
    let separator = options.separator.unwrap_or(b'\t');
    let key = options.key.clone().unwrap_or(ColumnName::Number(1));
    if options.header != Some(true) {
        let position = |column: &ColumnName| match column {
            ColumnName::Number(number) => Ok(number.saturating_sub(1)),
            ColumnName::Name(name) => Err(LineError::NoField(name.clone())),
        };
        let value = options.value.as_ref().map(position).transpose()?;
        return Ok(LineParser::Tsv(TsvParser { separator, key: position(&key)?, value }));
    }
    let header_end = memchr::memchr(b'\n', &first.bytes).map_or(first.bytes.len(), |position| position + 1);
    let behind = first.bytes.split_off(header_end);
    let header = std::mem::replace(&mut first.bytes, behind);
    first.first_line += 1;
    let line = header.strip_suffix(b"\n").unwrap_or(&header);
    let names = || tsv::columns(line, separator);
    let value = options.value.as_ref().map(|value| value.position(true, names)).transpose()?;
    Ok(LineParser::Tsv(TsvParser { separator, key: key.position(true, names)?, value }))
}

fn read_csv(
    shared: &LoadRun,
    source: &Arc<Source>,
    options: &InputOptions,
) -> Result<ControlFlow<()>, Failure> {
    let csv_options = CsvOptions {
        separator: options.separator.unwrap_or(b','),
        header: options.header.unwrap_or(true),
        key: options.key.clone().unwrap_or(ColumnName::Number(1)),
        value: options.value.clone(),
        record_bytes_max: line_bytes_max(shared),
    };
    let mut chunks =
        CsvChunks { shared, source, sharder: Sharder::new(shared.inboxes.len()), line: 0, permit: None };
    let mut too_large = None;
    let mut stopped = false;
    let read = read_records(source.open()?, &csv_options, |line, key, value| {
        if let Err(error) = shared.check_size(key, value) {
            too_large = Some(malformed(source, line, &error));
            return ControlFlow::Break(());
        }
        let flow = chunks.add(line, key, value);
        stopped = flow.is_break();
        flow
    });
    // What was read before a malformed record is stored.
    if !stopped && chunks.send().is_break() {
        return Ok(ControlFlow::Break(()));
    }
    match (read, too_large) {
        (_, Some(failure)) => Err(failure),
        (Err(CsvError::Io(error)), None) => Err(source.unreadable(&error)),
        (Err(CsvError::Malformed { line, error }), None) => Err(malformed(source, line, &error)),
        (Ok(()), None) if stopped => Ok(ControlFlow::Break(())),
        (Ok(()), None) => Ok(ControlFlow::Continue(())),
    }
}

/// Gathers the records of a CSV file into chunks.
struct CsvChunks<'run> {
    shared: &'run LoadRun,
    source: &'run Arc<Source>,
    sharder: Sharder,
    line: u64,
    permit: Option<Permit>,
}

impl CsvChunks<'_> {
    fn add(&mut self, line: u64, key: &[u8], value: &[u8]) -> ControlFlow<()> {
        if self.permit.is_none() {
            self.permit = self.shared.permits.acquire();
            if self.permit.is_none() {
                return ControlFlow::Break(());
            }
        }
        self.sharder.add(key, value);
        self.line = line;
        if self.sharder.content_bytes() < self.shared.size.chunk_bytes {
            return ControlFlow::Continue(());
        }
        self.send()
    }

    fn send(&mut self) -> ControlFlow<()> {
        let Some(permit) = self.permit.take() else { return ControlFlow::Continue(()) };
        let bytes = self.sharder.content_bytes() as u64;
        let chunk = ParsedChunk {
            shards: self.sharder.take(),
            bytes,
            position: InputPosition { source: Arc::clone(self.source), line: self.line },
            skipped_lines: 0,
            first_skipped: None,
        };
        if self.shared.queue.push(Work::Records { chunk, permit }) {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    }
}

/// The failure of a malformed line.
pub(super) fn malformed(source: &Source, line: u64, error: &LineError) -> Failure {
    Failure::input(format_args!("{source}, line {line}: {error}"))
}
