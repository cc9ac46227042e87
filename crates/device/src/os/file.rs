//! Files: opening, syncing, space, limits: what a file system can do.
//!
//! Callers: `files` only. Every function is one system call (interrupted ones are repeated) with a portable fall-back.
//!
//! | function | Linux | other Unix | elsewhere |
//! |---|---|---|---|
//! | `read_at`, `write_at` (`transfer_*.rs`) | on the memory itself | on the memory itself | through a copy |
//! | direct I/O | `O_DIRECT` | no | no |
//! | [`allocate`], [`punch`] | `fallocate` | no | no |
//! | [`sync_directory`] | yes | yes | not needed |
//! | [`file_bytes_max`], [`free_bytes`] | `statfs`, `statvfs`, limits | without ext4's | unknown |

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

#[cfg(not(unix))]
pub(crate) use super::transfer_by_copy::{read_at, write_at};
#[cfg(unix)]
pub(crate) use super::transfer_in_place::{read_at, write_at};

/// Makes a file's content and length durable.
#[expect(
    clippy::disallowed_methods,
    reason = "the device's sync ends here; its caller poisons the device on failure"
)]
pub(crate) fn sync_file(file: &File) -> io::Result<()> {
    #[cfg(all(test, target_os = "linux"))]
    synced::note(&file.metadata()?);
    file.sync_data()
}

/// Makes the entries of a directory durable.
#[cfg(unix)]
#[expect(
    clippy::disallowed_methods,
    reason = "the device's sync ends here; its caller poisons the device on failure"
)]
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    let directory = File::open(directory)?;
    #[cfg(all(test, target_os = "linux"))]
    synced::note(&directory.metadata()?);
    directory.sync_all()
}

/// What the calling thread has synced, for tests that ask whether the system was really told.
#[cfg(all(test, target_os = "linux"))]
pub(crate) mod synced {
    use std::cell::RefCell;
    use std::fs::Metadata;
    use std::os::unix::fs::MetadataExt;

    thread_local! {
        static INODES: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
    }

    pub(super) fn note(metadata: &Metadata) {
        INODES.with_borrow_mut(|inodes| inodes.push(metadata.ino()));
    }

    /// The inodes that were synced since the last call, in order.
    pub(crate) fn take() -> Vec<u64> {
        INODES.take()
    }
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
    open_with(options, path, direct)
}

/// Opens a file that exists, for reading alone.
pub(crate) fn open_to_read(path: &Path, direct: bool) -> io::Result<File> {
    let mut options = File::options();
    options.read(true);
    open_with(options, path, direct)
}

#[cfg_attr(
    not(any(target_os = "linux", target_os = "android")),
    expect(unused_mut, reason = "direct I/O is a flag on Linux alone")
)]
fn open_with(mut options: OpenOptions, path: &Path, direct: bool) -> io::Result<File> {
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
