#![cfg_attr(unix, expect(unsafe_code, reason = "reads and writes word memory by system call"))]
//! Files: positioned I/O on word memory, and what a file system can do.
//!
//! Callers: `files` only. Every function is one system call (interrupted ones are repeated) with a portable fall-back.
//!
//! | function | Linux | other Unix | elsewhere |
//! |---|---|---|---|
//! | [`read_at`], [`write_at`] | on the memory itself | on the memory itself | through a copy |
//! | direct I/O | `O_DIRECT` | no | no |
//! | [`allocate`], [`punch`] | `fallocate` | no | no |
//! | [`sync_directory`] | yes | yes | not needed |
//! | [`file_bytes_max`], [`free_bytes`] | `statfs`, `statvfs`, limits | without ext4's | unknown |
//!
//! # Soundness
//! 1. `words` lies inside of `memory`, which is mapped, initialised and borrowed for the whole call; the system call
//!    gets exactly its address and length.
//! 2. The kernel's access to the memory counts as another thread's atomic access: Rust code can only look at these words
//!    as atomics, or through `Words::bytes`, whose caller promises that nothing writes meanwhile.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;

use crate::memory::Words;

/// Bytes that are moved by one system call at most: Linux moves no more either.
const CALL_BYTES_MAX: usize = 0x7fff_f000;

#[cfg(unix)]
fn retry_interrupted(mut call: impl FnMut() -> isize) -> io::Result<usize> {
    loop {
        if let Ok(bytes) = usize::try_from(call()) {
            return Ok(bytes);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

#[cfg(unix)]
fn off_t(offset: u64) -> io::Result<libc::off_t> {
    libc::off_t::try_from(offset).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))
}

/// The address and length in bytes of some words, for one system call.
#[cfg(unix)]
fn region(memory: &Words, words: &Range<usize>) -> (*mut u64, usize) {
    assert!(words.start <= words.end && words.end <= memory.len(), "words {words:?} of {}", memory.len());
    // SAFETY: obligation 1: the assertion keeps the offset inside of the mapping.
    let start = unsafe { memory.as_ptr().add(words.start) };
    (start, (words.len() * 8).min(CALL_BYTES_MAX))
}

/// Fills words from the file, once; says how many bytes came, 0 at the end of the file.
#[cfg(unix)]
pub(crate) fn read_at(file: &File, offset: u64, memory: &Words, words: Range<usize>) -> io::Result<usize> {
    use std::os::fd::AsRawFd;
    let (start, len_bytes) = region(memory, &words);
    let offset = off_t(offset)?;
    retry_interrupted(|| {
        // SAFETY: obligations 1 and 2.
        unsafe { libc::pread(file.as_raw_fd(), start.cast(), len_bytes, offset) }
    })
}

/// Writes words to the file, once; says how many bytes went.
#[cfg(unix)]
pub(crate) fn write_at(file: &File, offset: u64, memory: &Words, words: Range<usize>) -> io::Result<usize> {
    use std::os::fd::AsRawFd;
    let (start, len_bytes) = region(memory, &words);
    let offset = off_t(offset)?;
    retry_interrupted(|| {
        // SAFETY: obligations 1 and 2.
        unsafe { libc::pwrite(file.as_raw_fd(), start.cast_const().cast(), len_bytes, offset) }
    })
}

/// Fills words from the file, once; says how many bytes came, 0 at the end of the file.
#[cfg(windows)]
pub(crate) fn read_at(file: &File, offset: u64, memory: &Words, words: Range<usize>) -> io::Result<usize> {
    use crate::sync::atomic::Ordering;
    use std::os::windows::fs::FileExt;
    let mut copy = vec![0_u8; (words.len() * 8).min(CALL_BYTES_MAX)];
    let bytes = match file.seek_read(&mut copy, offset) {
        Ok(bytes) => bytes,
        // ERROR_HANDLE_EOF.
        Err(error) if error.raw_os_error() == Some(38) => 0,
        Err(error) => return Err(error),
    };
    // Whole words only: files of ours are made of blocks.
    let filled = copy.get(..bytes).unwrap_or_default().chunks_exact(8);
    for (word, chunk) in memory.get(words).unwrap_or_default().iter().zip(filled) {
        let mut value = [0_u8; 8];
        value.copy_from_slice(chunk);
        word.store(u64::from_le_bytes(value), Ordering::Relaxed);
    }
    Ok(bytes)
}

/// Writes words to the file, once; says how many bytes went.
#[cfg(windows)]
pub(crate) fn write_at(file: &File, offset: u64, memory: &Words, words: Range<usize>) -> io::Result<usize> {
    use crate::sync::atomic::Ordering;
    use std::os::windows::fs::FileExt;
    let words = memory.get(words).unwrap_or_default();
    let copy: Vec<u8> = words
        .iter()
        .take(CALL_BYTES_MAX / 8)
        .flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes())
        .collect();
    file.seek_write(&copy, offset)
}

/// Makes a file's content and length durable.
#[expect(
    clippy::disallowed_methods,
    reason = "the device's sync ends here; its caller poisons the device on failure"
)]
pub(crate) fn sync_file(file: &File) -> io::Result<()> {
    file.sync_data()
}

/// Makes the entries of a directory durable.
#[cfg(unix)]
#[expect(
    clippy::disallowed_methods,
    reason = "the device's sync ends here; its caller poisons the device on failure"
)]
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Directory entries are durable with the file here.
#[cfg(not(unix))]
pub(crate) fn sync_directory(_directory: &Path) -> io::Result<()> {
    Ok(())
}

/// Opens a file for reading and writing; `create` makes it and fails if it exists.
pub(crate) fn open(path: &Path, create: bool, direct: bool) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true).create_new(create);
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if direct {
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags(libc::O_DIRECT);
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    if direct {
        return Err(io::ErrorKind::Unsupported.into());
    }
    options.open(path)
}

/// Whether an error says that the file system can't do direct I/O this way.
pub(crate) fn refuses_direct(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported)
}

/// Turns an open file from direct to ordinary I/O.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn leave_direct(file: &File) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(file)?;
    Ok(rustix::fs::fcntl_setfl(file, flags - rustix::fs::OFlags::DIRECT)?)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn leave_direct(_file: &File) -> io::Result<()> {
    Ok(())
}

#[cfg(target_os = "linux")]
mod space {
    use std::fs::File;
    use std::io;
    use std::ops::Range;

    use rustix::fs::{FallocateFlags, fallocate};

    fn fallocate_range(file: &File, flags: FallocateFlags, range: &Range<u64>) -> io::Result<()> {
        if range.start >= range.end {
            return Ok(());
        }
        loop {
            match fallocate(file, flags, range.start, range.end - range.start) {
                Err(rustix::io::Errno::INTR) => {}
                result => return Ok(result?),
            }
        }
    }

    pub(crate) fn allocate(file: &File, range: &Range<u64>) -> io::Result<()> {
        fallocate_range(file, FallocateFlags::KEEP_SIZE, range)
    }

    pub(crate) fn punch(file: &File, range: &Range<u64>) -> io::Result<()> {
        fallocate_range(file, FallocateFlags::KEEP_SIZE | FallocateFlags::PUNCH_HOLE, range)
    }
}

#[cfg(not(target_os = "linux"))]
mod space {
    use std::fs::File;
    use std::io;
    use std::ops::Range;

    pub(crate) fn allocate(_file: &File, _range: &Range<u64>) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn punch(_file: &File, _range: &Range<u64>) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// `allocate` reserves space for a range and leaves the apparent size; `punch` gives a range's space back, it then reads
/// as zeros. `Unsupported` where the platform or file system can't.
pub(crate) use space::{allocate, punch};

/// Bytes that the file system has allocated for a file.
pub(crate) fn allocated_bytes(metadata: &std::fs::Metadata) -> u64 {
    #[cfg(unix)]
    return std::os::unix::fs::MetadataExt::blocks(metadata) * 512;
    #[cfg(not(unix))]
    return metadata.len();
}

/// Largest size that a file of this file system may have: what the file system allows, and the process's limit.
#[cfg(unix)]
pub(crate) fn file_bytes_max(file: &File) -> io::Result<u64> {
    let offset_max = u64::try_from(libc::off_t::MAX).unwrap_or(u64::MAX);
    let limit = rustix::process::getrlimit(rustix::process::Resource::Fsize).current.unwrap_or(u64::MAX);
    Ok(offset_max.min(limit).min(file_system_bytes_max(file)?))
}

#[cfg(target_os = "linux")]
fn file_system_bytes_max(file: &File) -> io::Result<u64> {
    const EXT4: u64 = 0xEF53;
    const FAT: u64 = 0x4D44;
    let found = rustix::fs::fstatfs(file)?;
    let block_bytes = u64::try_from(found.f_bsize).unwrap_or(4096);
    Ok(match u64::try_from(found.f_type).unwrap_or_default() {
        // ext4 numbers the blocks of a file with 32 bits: 16 TiB at 4 KiB.
        EXT4 => u64::from(u32::MAX) * block_bytes,
        FAT => u64::from(u32::MAX),
        _ => u64::MAX,
    })
}

#[cfg(all(unix, not(target_os = "linux")))]
fn file_system_bytes_max(_file: &File) -> io::Result<u64> {
    Ok(u64::MAX)
}

/// Largest size that a file may have, as far as this platform says.
#[cfg(not(unix))]
pub(crate) fn file_bytes_max(_file: &File) -> io::Result<u64> {
    Ok(i64::MAX.unsigned_abs())
}

/// Bytes that an unprivileged process may still allocate on the file's file system.
#[cfg(unix)]
pub(crate) fn free_bytes(file: &File) -> io::Result<u64> {
    let found = rustix::fs::fstatvfs(file)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

/// Not known on this platform: no limit but the file's.
#[cfg(not(unix))]
pub(crate) fn free_bytes(_file: &File) -> io::Result<u64> {
    Ok(u64::MAX)
}
