//! Positioned I/O on word memory through a copy, where system calls want exclusive bytes: on Windows.
//!
//! Callers: `files`, through `os::file`. The word memory is only touched by atomic loads and stores.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::windows::fs::FileExt;

use crate::memory::Words;
use crate::sync::atomic::Ordering;

/// Bytes that are moved by one call at most.
const CALL_BYTES_MAX: usize = 0x7fff_f000;

/// Fills words from the file, once; says how many bytes came, 0 at the end of the file.
pub(crate) fn read_at(file: &File, offset: u64, memory: &Words, words: Range<usize>) -> io::Result<usize> {
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
pub(crate) fn write_at(file: &File, offset: u64, memory: &Words, words: Range<usize>) -> io::Result<usize> {
    let words = memory.get(words).unwrap_or_default();
    let copy: Vec<u8> = words
        .iter()
        .take(CALL_BYTES_MAX / 8)
        .flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes())
        .collect();
    file.seek_write(&copy, offset)
}
