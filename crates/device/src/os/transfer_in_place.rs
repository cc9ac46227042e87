#![expect(unsafe_code, reason = "reads and writes word memory by system call")]
//! Positioned I/O on word memory itself, on Unix.
//!
//! Callers: `files`, through `os::file`. Each function is one system call; an interrupted one is repeated.
//!
//! # Soundness
//! 1. `words` lies inside of `memory`, which is mapped, initialised and borrowed for the whole call; the system call
//!    gets exactly its address and length.
//! 2. The kernel's access to the memory counts as another thread's atomic access: Rust code can only look at these words
//!    as atomics, or through `Words::bytes`, whose caller promises that nothing writes meanwhile.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;

use crate::memory::Words;

/// Bytes that are moved by one system call at most: Linux moves no more either.
const CALL_BYTES_MAX: usize = 0x7fff_f000;

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

fn off_t(offset: u64) -> io::Result<libc::off_t> {
    libc::off_t::try_from(offset).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))
}

/// The address and length in bytes of some words, for one system call.
fn region(memory: &Words, words: &Range<usize>) -> (*mut u64, usize) {
    assert!(words.start <= words.end && words.end <= memory.len(), "words {words:?} of {}", memory.len());
    // SAFETY: obligation 1: the assertion keeps the offset inside of the mapping.
    let start = unsafe { memory.as_ptr().add(words.start) };
    (start, (words.len() * 8).min(CALL_BYTES_MAX))
}

/// Fills words from the file, once; says how many bytes came, 0 at the end of the file.
pub(crate) fn read_at(file: &File, offset: u64, memory: &Words, words: Range<usize>) -> io::Result<usize> {
    let (start, len_bytes) = region(memory, &words);
    let offset = off_t(offset)?;
    retry_interrupted(|| {
        // SAFETY: obligations 1 and 2.
        unsafe { libc::pread(file.as_raw_fd(), start.cast(), len_bytes, offset) }
    })
}

/// Writes words to the file, once; says how many bytes went.
pub(crate) fn write_at(file: &File, offset: u64, memory: &Words, words: Range<usize>) -> io::Result<usize> {
    let (start, len_bytes) = region(memory, &words);
    let offset = off_t(offset)?;
    retry_interrupted(|| {
        // SAFETY: obligations 1 and 2.
        unsafe { libc::pwrite(file.as_raw_fd(), start.cast_const().cast(), len_bytes, offset) }
    })
}
