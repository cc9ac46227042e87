//! `log append`: lines into a log.

use std::fs::File;
use std::io;
use std::path::Path;

use oxifaster_device::sync::clock;
use oxifaster_log::{FasterLog, FasterLogConfig};

use super::chunks::{Chunks, Next};
use super::{log_failure, open_or_create, policy};
use crate::failure::{Failure, FailureKind};
use crate::interrupt::Interrupt;
use crate::log_arguments::{AppendArguments, CommitWhen};
use crate::output;
use crate::report::{Figure, Report};

/// Lines between two looks at the interrupt flag.
const LINES_PER_LOOK: u64 = 256;

pub(super) fn run(arguments: &AppendArguments) -> Result<(), Failure> {
    let interrupt = Interrupt::on_signals()?;
    let config = FasterLogConfig::default().with_commit_policy(policy(arguments.commit));
    let folder = &arguments.log.dir;
    let log = open_or_create(folder, config)?;
    let started = clock::now();
    let mut appender = Appender { log: &log, arguments, interrupt, lines: 0, bytes: 0 };
    let mut read = Ok(());
    for file in &arguments.files {
        read = appender.append_file(file);
        if read.is_err() {
            break;
        }
    }
    let (lines, bytes) = (appender.lines, appender.bytes);
    let interrupted = appender.interrupt.is_set();
    // What was read before a bad file is durable, too.
    let info = log.commit().map_err(|error| log_failure(folder, &error))?;
    let time = started.elapsed();
    log.close().map_err(|error| log_failure(folder, &error))?;
    let mut report = Report::default();
    report
        .add("command", "command", Figure::Text("log append".to_owned()))
        .add("folder", "folder", Figure::Text(folder.display().to_string()))
        .add("entries", "entries", Figure::Count(lines))
        .add("bytes", "entry_bytes", Figure::Bytes(bytes))
        .add("entries in the log", "entries_in_log", Figure::Count(info.entries))
        .add("last commit", "commit", Figure::Count(info.number))
        .add("time", "seconds", Figure::Time(time))
        .add("rate", "entries_per_second", Figure::Rate { count: lines, time });
    write(arguments.log.output.json, &report)?;
    read?;
    if interrupted {
        return Err(Failure::new(
            FailureKind::Interrupted,
            format_args!("interrupted; {lines} entries are durable"),
        ));
    }
    Ok(())
}

/// Writes a report as table or object.
pub(super) fn write(json: bool, report: &Report) -> Result<(), Failure> {
    if json { output::print_json(report.to_json()) } else { output::print(report.to_text().as_bytes()) }
}

struct Appender<'a> {
    log: &'a FasterLog,
    arguments: &'a AppendArguments,
    interrupt: Interrupt,
    lines: u64,
    bytes: u64,
}

impl Appender<'_> {
    fn append_file(&mut self, path: &Path) -> Result<(), Failure> {
        let chunks = if path == Path::new("-") {
            Chunks::of(io::stdin())
        } else {
            let file = File::open(path)
                .map_err(|error| Failure::input(format_args!("can't open {}: {error}", path.display())))?;
            Chunks::of(file)
        }?;
        let mut line = Vec::new();
        while !self.interrupt.is_set() {
            let chunk = match chunks.next() {
                Next::Nothing => continue,
                Next::Chunk(chunk) => chunk,
                Next::End(Ok(())) if line.is_empty() => break,
                Next::End(Ok(())) => {
                    self.append_line(&line)?;
                    break;
                }
                Next::End(Err(error)) => {
                    return Err(Failure::input(format_args!("can't read {}: {error}", path.display())));
                }
            };
            for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
                line.extend_from_slice(piece);
                if line.pop_if(|last| *last == b'\n').is_none() {
                    break;
                }
                self.append_line(&line)?;
                line.clear();
                if self.lines.is_multiple_of(LINES_PER_LOOK) && self.interrupt.is_set() {
                    break;
                }
            }
        }
        Ok(())
    }

    fn append_line(&mut self, line: &[u8]) -> Result<(), Failure> {
        let appended = if self.arguments.commit == CommitWhen::Each {
            self.log.append_and_commit(line)
        } else {
            self.log.append(line)
        };
        appended.map_err(|error| log_failure(&self.arguments.log.dir, &error))?;
        self.lines += 1;
        self.bytes += line.len() as u64;
        Ok(())
    }
}
