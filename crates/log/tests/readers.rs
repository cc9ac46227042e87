//! Reading a log that somebody else writes: what is shown, when, and what truncation and new lives of the writer mean to a reader.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a panic here is a failed test, also in the functions that tests share; tests wait in real time"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use oxifaster_core::{Address, ErrorKind};
use oxifaster_device::fault::FaultDevice;
use oxifaster_device::{FileSystemDisk, NullDisk};
use oxifaster_log::{FasterLog, FasterLogConfig, FasterLogReader, FasterLogReaderConfig, LogTail, ScanEnd};

fn small() -> FasterLogConfig {
    FasterLogConfig::default().with_page_size(4096).with_memory_pages(16)
}

fn writer(folder: &Path) -> FasterLog {
    FasterLog::open(small(), FileSystemDisk::segmented(folder, "log", 64 << 10).unwrap()).unwrap()
}

fn reader(folder: &Path) -> FasterLogReader {
    let config = FasterLogReaderConfig::default().with_poll_interval(Duration::from_millis(2));
    FasterLogReader::open(config, FileSystemDisk::segmented_read_only(folder, "log").unwrap()).unwrap()
}

fn entry(number: u64) -> Vec<u8> {
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.resize(8 + usize::try_from(number * 37 % 900).unwrap(), 0x5A);
    bytes
}

/// The next entry of a tail, within ten seconds.
fn next(tail: &mut LogTail) -> Result<(Address, Vec<u8>), ErrorKind> {
    let started = Instant::now();
    loop {
        match tail.try_next() {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => std::thread::sleep(Duration::from_millis(1)),
            Err(error) => return Err(error.kind()),
        }
        assert!(started.elapsed() < Duration::from_secs(10), "nothing came");
    }
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    files.map(|file| (file.file_name().into_string().unwrap(), std::fs::read(file.path()).unwrap())).collect()
}

/// The files of a log that is in use, as a killed process would leave them.
fn copy_of(folder: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for (name, bytes) in files(folder) {
        std::fs::write(copy.path().join(name), bytes).unwrap();
    }
    copy
}

fn flip_bit(folder: &Path, offset: u64) {
    let segment = folder.join(format!("log.{:06}.log", offset >> 16));
    let mut bytes = std::fs::read(&segment).unwrap();
    *bytes.get_mut(usize::try_from(offset % (64 << 10)).unwrap()).unwrap() ^= 1;
    std::fs::write(&segment, bytes).unwrap();
}

#[test]
fn a_reader_follows_several_lives_of_the_writer() {
    let folder = tempfile::tempdir().unwrap();
    drop(writer(folder.path()));
    let reader = reader(folder.path());
    let mut tail = reader.tail(Address::default());
    let mut number = 0;
    for _life in 0..3 {
        let log = writer(folder.path());
        let mut written = Vec::new();
        for _commit in 0..30 {
            for _ in 0..40 {
                let bytes = entry(number);
                written.push((log.append(&bytes).unwrap(), bytes));
                number += 1;
            }
            log.commit().unwrap();
            assert!(reader.committed_address() <= log.committed_address());
        }
        for expected in &written {
            assert_eq!(next(&mut tail).unwrap(), *expected);
        }
        assert_eq!(reader.commit_info(), log.commit_info());
        log.close().unwrap();
    }
    assert_eq!(reader.refresh().unwrap().entries, number);
    assert_eq!(reader.scan_all().count() as u64, number);
    assert_eq!(reader.entry(number - 1).unwrap(), Some(entry(number - 1)));
    assert_eq!(reader.read_entry(reader.committed_address()).unwrap(), None);
    assert_eq!(reader.self_check().unwrap().entries, number);
    assert_eq!(reader.scan(..).finish().unwrap(), ScanEnd::EndOfLog);
}

#[test]
fn nothing_uncommitted_is_shown_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let log = writer(folder.path());
    for number in 0..300 {
        log.append(&entry(number)).unwrap();
        if number % 100 == 99 {
            log.commit().unwrap();
        }
    }
    // More than half of the memory: blocks of these are on the device.
    for number in 300..500 {
        log.append(&entry(number)).unwrap();
    }
    let copy = copy_of(folder.path());
    let before = files(copy.path());
    let found = reader(copy.path());
    assert_eq!(found.commit_info().entries, 300, "the last commit, whose writer is gone");
    assert_eq!(found.scan_all().count(), 300);
    assert_eq!(found.self_check().unwrap().entries, 300);
    drop(found);
    assert!(before == files(copy.path()), "reading has changed a file");
    // The next owner finds the same.
    let log = writer(copy.path());
    assert_eq!(log.commit_info().entries, 300);
    assert!(!log.recovery_report().clean && log.recovery_report().cut_off_bytes > 0);
}

#[test]
fn damage_below_what_was_durable_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let log = writer(folder.path());
    let mut middle = Address::default();
    for number in 0..40 {
        middle = if number == 20 { log.append(&entry(number)).unwrap() } else { middle };
        log.append_and_commit(&entry(number)).unwrap();
    }
    let copy = copy_of(folder.path());
    flip_bit(copy.path(), middle.byte_offset() + 9);
    let device = FileSystemDisk::segmented_read_only(copy.path(), "log").unwrap();
    assert_eq!(FasterLog::open_read_only(device).unwrap_err().kind(), ErrorKind::Corruption);
    log.close().unwrap();
    // Closed, opening reads none of it; reading does.
    let copy = copy_of(folder.path());
    flip_bit(copy.path(), middle.byte_offset() + 9);
    let reader = reader(copy.path());
    assert_eq!(reader.scan(..).finish().unwrap_err().kind(), ErrorKind::Corruption);
    let mut tail = reader.tail(Address::default());
    assert_eq!((0..60).find_map(|_| next(&mut tail).err()), Some(ErrorKind::Corruption));
}

#[test]
fn a_truncated_front_ends_who_is_behind_and_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    // Of a deleted segment that is still open everything can be read; a hole is a hole.
    let path = folder.path().join("log");
    let log = FasterLog::open(small(), FileSystemDisk::single_file(&path).unwrap()).unwrap();
    let addresses: Vec<Address> = (0..2000).map(|number| log.append(&entry(number)).unwrap()).collect();
    log.commit().unwrap();
    let reader = FasterLog::open_read_only(FileSystemDisk::single_file_read_only(&path).unwrap()).unwrap();
    let (mut behind, mut ahead) = (reader.tail(Address::default()), reader.tail(addresses[1500]));
    let mut scan = reader.scan(..);
    assert_eq!(next(&mut behind).unwrap().0, addresses[0]);
    assert_eq!(next(&mut ahead).unwrap().0, addresses[1500]);
    scan.next().unwrap().unwrap();
    log.truncate_before(addresses[1400]).unwrap();
    let end = (1..2000).find_map(|_| next(&mut behind).err());
    assert_eq!(end, Some(ErrorKind::InvalidInput));
    assert_eq!(scan.finish().unwrap_err().kind(), ErrorKind::InvalidInput);
    for address in &addresses[1501..] {
        assert_eq!(next(&mut ahead).unwrap().0, *address);
    }
    reader.refresh().unwrap();
    assert_eq!(reader.begin_address(), addresses[1400]);
    assert_eq!(reader.first_entry_number(), 1400);
    assert_eq!(reader.read_entry(addresses[7]).unwrap(), None);
    assert_eq!(reader.scan_all().next().unwrap().0, addresses[1400]);
    assert_eq!(reader.entry(1700).unwrap(), Some(entry(1700)));
}

#[test]
fn a_dropped_suffix_ends_who_has_read_it_and_is_shown_to_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let log = writer(folder.path());
    let addresses: Vec<Address> =
        (0..100).map(|number| log.append_and_commit(&entry(number)).unwrap()).collect();
    let reader = reader(folder.path());
    let (mut read, mut unread) = (reader.tail(addresses[90]), reader.tail(addresses[40]));
    assert_eq!(next(&mut read).unwrap().0, addresses[90]);
    log.truncate_suffix(addresses[50]).unwrap();
    reader.refresh().unwrap();
    // What the tail had in memory was committed when it was read.
    let end = (91..101).find_map(|_| next(&mut read).err());
    assert_eq!(end, Some(ErrorKind::InvalidInput));
    log.append_and_commit(b"another line").unwrap();
    log.commit().unwrap();
    let mut scan = reader.scan(addresses[49]..);
    assert_eq!(scan.next().unwrap().unwrap().0, addresses[49]);
    let later = reader.tail(addresses[50]);
    assert_eq!(reader.read_entry(addresses[50]).unwrap(), None);
    drop((unread.try_next(), later));
    let mut right_before = reader.tail(addresses[49]);
    assert_eq!(next(&mut right_before).unwrap().0, addresses[49]);
    assert_eq!(next(&mut right_before).unwrap().1, b"another line", "what it has read was not dropped");
    let mut fresh = reader.tail(addresses[49]);
    assert_eq!(next(&mut fresh).unwrap().0, addresses[49]);
    assert_eq!(next(&mut fresh).unwrap().1, b"another line");
}

#[test]
fn a_waiting_stream_is_woken() {
    let folder = tempfile::tempdir().unwrap();
    let log = writer(folder.path());
    let reader = reader(folder.path());
    let mut tail = reader.tail(Address::default());
    let appender = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        log.append_and_commit(b"news").unwrap();
        log
    });
    let found = pollster::block_on(std::future::poll_fn(|context| {
        futures_core::Stream::poll_next(std::pin::Pin::new(&mut tail), context)
    }));
    assert_eq!(found.unwrap().unwrap().1, b"news");
    drop(appender.join().unwrap());
    drop(reader);
    let end = pollster::block_on(std::future::poll_fn(|context| {
        futures_core::Stream::poll_next(std::pin::Pin::new(&mut tail), context)
    }));
    assert!(end.is_none(), "the reader was dropped");
}

#[test]
fn an_idle_commit_is_shown_when_the_writer_says_that_it_is_durable() {
    let device = FaultDevice::new(1);
    let log = FasterLog::open(small(), device.clone()).unwrap();
    let reader = FasterLog::open_read_only(device).unwrap();
    log.append_and_commit(b"one").unwrap();
    reader.refresh().unwrap();
    assert_eq!(reader.scan_all().count(), 0, "its commit may not be synced, as far as the reader knows");
    log.append_and_commit(b"two").unwrap();
    reader.refresh().unwrap();
    assert_eq!(reader.scan_all().count(), 1, "the second commit knows that the first is durable");
    let started = Instant::now();
    while reader.scan_all().count() < 2 {
        assert!(started.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn what_is_no_log_is_refused() {
    let kind = |opened: Result<FasterLogReader, oxifaster_core::Error>| opened.unwrap_err().kind();
    assert_eq!(kind(FasterLog::open_read_only(NullDisk::new())), ErrorKind::Unsupported);
    assert_eq!(kind(FasterLog::open_read_only(FaultDevice::new(1))), ErrorKind::InvalidInput);
    let config = FasterLogReaderConfig::default().with_poll_interval(Duration::ZERO);
    let error = FasterLogReader::open(config, FaultDevice::new(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
}
