//! A memory limit of the kernel for one process: a control group with a limit, of version 2 or 1.
//!
//! The limit counts what the process allocates and the pages that it reads into the page cache alike, which is what makes stores
//! comparable that keep their own cache, use the system's, or map their files. It counts a cached page for whoever read it first:
//! so nothing of the files may be in the cache before ([`forget_cached`]). A group is made for one process and removed
//! after it.

use std::fs;
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, fadvise};

use crate::stores::Failure;

/// Names of the files of a version.
struct Names {
    limit: &'static str,
    peak: &'static str,
}

const V1: Names = Names { limit: "memory.limit_in_bytes", peak: "memory.max_usage_in_bytes" };
const V2: Names = Names { limit: "memory.max", peak: "memory.peak" };

/// A control group with a memory limit.
pub struct Limit {
    folder: PathBuf,
    names: &'static Names,
}

impl Limit {
    /// Makes a group below `parent`, or where the system's memory groups begin.
    pub fn new(parent: Option<&Path>, bytes: u64) -> Result<Self, Failure> {
        let parent = match parent {
            Some(parent) => parent.to_path_buf(),
            None => memory_groups()?,
        };
        let names = if parent.join("cgroup.controllers").exists() { &V2 } else { &V1 };
        if std::ptr::eq(names, &V2) {
            // Refused where processes are in the parent, unless that is where the groups begin.
            fs::write(parent.join("cgroup.subtree_control"), "+memory").map_err(|error| {
                format!("the memory of groups below {} can't be limited: {error}", parent.display())
            })?;
        }
        let folder = parent.join(format!("oxifaster-peers-{}", std::process::id()));
        fs::create_dir(&folder)
            .map_err(|error| format!("can't make the control group {}: {error}", folder.display()))?;
        let limit = Self { folder, names };
        fs::write(limit.folder.join(names.limit), bytes.to_string())?;
        // Nothing is swapped where swapping can be limited; older kernels and machines without swap don't have the file.
        for (file, most) in [("memory.swap.max", 0), ("memory.memsw.limit_in_bytes", bytes)] {
            match fs::write(limit.folder.join(file), most.to_string()) {
                Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => {
                    return Err(format!("can't limit swapping by {file}: {error}").into());
                }
                _ => {}
            }
        }
        Ok(limit)
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The most bytes that were used at a time.
    pub fn peak_bytes(&self) -> Result<u64, Failure> {
        Ok(fs::read_to_string(self.folder.join(self.names.peak))?.trim().parse()?)
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.folder) {
            eprintln!("can't remove the control group {}: {error}", self.folder.display());
        }
    }
}

/// Puts this process, which has one thread, into a group.
pub fn enter(group: &Path) -> Result<(), Failure> {
    fs::write(group.join("cgroup.procs"), std::process::id().to_string())
        .map_err(|error| format!("can't enter the control group {}: {error}", group.display()).into())
}

/// Where the memory groups that this process sees begin.
fn memory_groups() -> Result<PathBuf, Failure> {
    groups_in(&fs::read_to_string("/proc/self/mounts")?)
        .ok_or_else(|| "no control groups for memory are mounted: no memory limit can be set".into())
}

/// The mount point of version 1's memory controller, or else that of version 2.
fn groups_in(mounts: &str) -> Option<PathBuf> {
    let mount = |is_wanted: &dyn Fn(&str, &str) -> bool| {
        mounts.lines().find_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let (folder, kind, options) = (fields.next()?, fields.next()?, fields.next()?);
            is_wanted(kind, options).then(|| PathBuf::from(folder))
        })
    };
    let v1 = mount(&|kind, options| kind == "cgroup" && options.split(',').any(|option| option == "memory"));
    v1.or_else(|| mount(&|kind, _| kind == "cgroup2"))
}

/// Writes all files below a folder to the device and takes them out of the page cache.
pub fn forget_cached(folder: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            forget_cached(&path)?;
        } else {
            let file = fs::File::open(&path)?;
            file.sync_all()?;
            fadvise(&file, 0, None, Advice::DontNeed)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::groups_in;
    use std::path::Path;

    #[test]
    fn the_memory_controller_is_where_it_is_mounted() {
        let unified = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n";
        let both = "cgroup /c/cpu cgroup rw,cpu 0 0\ncgroup /c/memory cgroup rw,memory 0 0\ncgroup2 /c/unified cgroup2 rw 0 0\n";
        assert_eq!(groups_in(unified).as_deref(), Some(Path::new("/sys/fs/cgroup")));
        assert_eq!(groups_in(both).as_deref(), Some(Path::new("/c/memory")));
        assert_eq!(groups_in("proc /proc proc rw 0 0\n"), None);
    }
}
