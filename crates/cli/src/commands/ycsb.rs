//! `ycsb`: a store of its own, a workload on it, and what that showed: as a table, as JSON, as a drawing.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use oxifaster_core::error::{Error, ErrorKind};
use oxifaster_device::{IoUringDevice, IoUringOptions, NullDisk, RingUse, StorageDevice};
use oxifaster_store::{FasterKv, ReadCacheConfig};
use oxifaster_workload::{Distribution, Workload, YCSB_THETA};

use super::ycsb_report::Results;
use crate::arguments::{DeviceName, DistributionName, YcsbArguments, thread_count};
use crate::byte_size::ByteSize;
use crate::failure::{Failure, FailureKind};
use crate::interrupt::Interrupt;
use crate::memory_plan::{Demand, MemoryPlan};
use crate::output;
use crate::progress_bar::PhaseLine;
use crate::report::{per_second, whole};
use crate::store_access::{PREFIX, SEGMENT_BYTES, io_bytes, store_config};
use crate::store_failure::{device_failure, store_failure};
use crate::ycsb::latency::Latencies;
use crate::ycsb::run::drawing_nanoseconds;
use crate::ycsb::{Payload, Settings, measure};

pub(super) fn run(arguments: &YcsbArguments) -> Result<(), Failure> {
    let settings = settings(arguments)?;
    // Before the long run, not after it, one learns that the drawing can't be written.
    let drawing = arguments.report.as_deref().map(create).transpose()?;
    let interrupt = Interrupt::on_signals()?;
    let results = match arguments.device {
        DeviceName::Memory => {
            let (place, device_name) = (Path::new("memory"), "memory".to_owned());
            let run = Run { arguments, settings: &settings, interrupt: &interrupt, place, device_name };
            run.with_device(NullDisk::new())?
        }
        DeviceName::File => in_folder(arguments, &settings, &interrupt, RingUse::Never)?,
        // A portable path under this name would be measured as what it is not.
        DeviceName::IoUring => in_folder(arguments, &settings, &interrupt, RingUse::Required)?,
    };
    if let (Some(mut file), Some(path)) = (drawing, &arguments.report) {
        file.write_all(results.to_svg().as_bytes()).map_err(|error| cannot_write(path, &error))?;
    }
    if arguments.output.json {
        output::print_json(results.to_json())?;
    } else {
        output::print(results.to_text().as_bytes())?;
    }
    ending(&results)
}

/// What the arguments ask for, when it makes sense.
fn settings(arguments: &YcsbArguments) -> Result<Settings, Failure> {
    let workload = arguments.workload;
    if arguments.distribution.is_some() && matches!(workload, Workload::D | Workload::Load) {
        return Err(Failure::usage(format_args!(
            "workload {workload} chooses its keys itself: leave --distribution out (see --help)"
        )));
    }
    let timed = arguments.seconds.is_some() || arguments.warm_up.is_some();
    if timed && workload == Workload::Load {
        return Err(Failure::usage(
            "workload load ends when all keys are loaded: leave --seconds and --warm-up out (see --help)",
        ));
    }
    if arguments.seconds == Some(Duration::ZERO) {
        return Err(Failure::usage("--seconds 0 measures nothing (see --help)"));
    }
    if arguments.dir.is_some() && arguments.device == DeviceName::Memory {
        return Err(Failure::usage(
            "--device memory writes no files: leave --dir out, or say --device file (see --help)",
        ));
    }
    if let Some(read_cache) = arguments.read_cache {
        if arguments.device == DeviceName::Memory {
            return Err(Failure::usage(
                "--device memory never reads a device: leave --read-cache out, or say --device file (see --help)",
            ));
        }
        if read_cache.0 >= arguments.memory.0 {
            return Err(Failure::usage(format_args!(
                "--read-cache {read_cache} is a part of --memory {}: it must be less (see --help)",
                arguments.memory
            )));
        }
        ReadCacheConfig::default().with_mem_size(read_cache.0).validate().map_err(Failure::usage)?;
    }
    let threads = thread_count(arguments.threads);
    if arguments.keys < threads as u64 {
        return Err(Failure::usage(format_args!(
            "--keys {} are fewer than {threads} threads",
            arguments.keys
        )));
    }
    let distribution = match arguments.distribution {
        _ if workload == Workload::D => Distribution::Latest(YCSB_THETA),
        // Inserted in their order; nothing is drawn.
        Some(DistributionName::Uniform) => Distribution::Uniform,
        Some(DistributionName::Hot) => Distribution::HotSet { operations: 0.8, keys: 0.2 },
        Some(DistributionName::Zipfian) | None => Distribution::YCSB,
    };
    Ok(Settings {
        workload,
        distribution,
        keys: arguments.keys,
        value_bytes: usize::try_from(arguments.value_bytes).unwrap_or(usize::MAX),
        threads,
        batch: usize::try_from(arguments.batch).unwrap_or(usize::MAX),
        window: arguments.seconds.unwrap_or(Duration::from_secs(10)),
        warm_up: arguments.warm_up.unwrap_or(Duration::from_secs(2)),
        seed: arguments.seed,
    })
}

/// Runs on files in a new folder, which is removed afterwards, whatever happened.
fn in_folder(
    arguments: &YcsbArguments,
    settings: &Settings,
    interrupt: &Interrupt,
    rings: RingUse,
) -> Result<Results, Failure> {
    let parent = arguments.dir.clone().unwrap_or_else(std::env::temp_dir);
    let folder = tempfile::Builder::new().prefix("oxifaster-ycsb-").tempdir_in(&parent).map_err(|error| {
        Failure::other(format_args!("can't make a folder in {} (say --dir): {error}", parent.display()))
    })?;
    let place = folder.path();
    let options = IoUringOptions::default().with_rings(rings);
    let device = IoUringDevice::segmented_with_options(place, PREFIX, SEGMENT_BYTES, options);
    let results = device.map_err(|error| device_failure(place, &error)).and_then(|device| {
        let device_name = match device.backend() {
            backend if backend.is_ring() => backend.to_string(),
            _ => "file".to_owned(),
        };
        Run { arguments, settings, interrupt, place, device_name }.with_device(device)
    });
    let removed = folder
        .close()
        .map_err(|error| Failure::other(format_args!("can't remove the store's folder: {error}")));
    results.and_then(|results| removed.map(|()| results))
}

/// One run, but for its types.
struct Run<'a> {
    arguments: &'a YcsbArguments,
    settings: &'a Settings,
    interrupt: &'a Interrupt,
    place: &'a Path,
    device_name: String,
}

impl Run<'_> {
    /// By the class of values.
    fn with_device<D: StorageDevice>(&self, device: D) -> Result<Results, Failure> {
        match self.settings.value_bytes {
            8 => self.with_values::<u64, D>(device),
            _ => self.with_values::<Vec<u8>, D>(device),
        }
    }

    fn with_values<V: Payload, D: StorageDevice>(&self, device: D) -> Result<Results, Failure> {
        let plan = self.plan::<V>(device.geometry().persistent)?;
        let explain = |error: &Error| self.explain(error);
        let mut config = store_config(&plan);
        config.read_cache =
            self.arguments.read_cache.map(|memory| ReadCacheConfig::default().with_mem_size(memory.0));
        let store = FasterKv::<u64, V, D>::open(config, device).map_err(|error| explain(&error))?;
        self.check_record_size::<V>(store.log().layout().record_words_max() * 8)?;
        let store = Arc::new(store);
        let mut line = PhaseLine::default();
        let measured = measure(&store, self.settings, self.interrupt, &explain, &mut |tick| {
            line.show(tick.phase, tick.position, tick.total, whole(per_second(tick.operations, tick.length)));
        });
        line.finish();
        let (load, measurement) = measured?;
        let disk_bytes = store.device().space_use().ok().map(|space| space.allocated_bytes);
        let results = Results {
            settings: *self.settings,
            device: self.device_name.clone(),
            plan: MemoryPlan { total_bytes: self.arguments.memory.0, ..plan },
            read_cache_bytes: store.memory_plan().read_cache_bytes,
            load,
            drawing_nanoseconds: drawing_nanoseconds(self.settings),
            disk_bytes: disk_bytes.filter(|_| self.arguments.device != DeviceName::Memory),
            resident_bytes: crate::process_memory::resident_bytes(),
            peak_bytes: crate::process_memory::peak_bytes(),
            measurement,
        };
        store.close().map_err(|error| explain(&error))?;
        Ok(results)
    }

    /// Divides the memory; without a device behind it, all keys must fit.
    fn plan<V: Payload>(&self, has_device: bool) -> Result<MemoryPlan, Failure> {
        let settings = self.settings;
        let own = Latencies::memory_bytes(settings) + settings.operations_bytes();
        let demand = |total_bytes| Demand {
            total_bytes,
            threads: settings.threads as u64,
            command_bytes: own * settings.threads as u64,
            io_bytes: if has_device { io_bytes(total_bytes) } else { 0 },
            takes_input: false,
            keys: Some(settings.keys),
            existing: None,
        };
        // With the checksums of what it reads, as the store plans them.
        let read_cache = self.arguments.read_cache.map_or(0, |memory| memory.0 + memory.0 / 64);
        let total = self.arguments.memory.0.saturating_sub(read_cache);
        let plan = match MemoryPlan::new(&demand(total)) {
            Err(failure) if read_cache > 0 => {
                return Err(Failure::usage(format_args!(
                    "besides --read-cache, --memory {} leaves {}: {failure}",
                    self.arguments.memory,
                    ByteSize(total)
                )));
            }
            plan => plan?,
        };
        let needed = settings.keys.saturating_mul(V::record_bytes(settings.value_bytes as u64));
        if has_device || needed <= plan.log_bytes {
            return Ok(plan);
        }
        // A quarter more than the records leaves room for their replacement.
        let enough =
            |total: &u64| MemoryPlan::new(&demand(*total)).is_ok_and(|plan| plan.log_bytes / 5 * 4 >= needed);
        let mut larger =
            std::iter::successors(Some(total.max(1 << 20)), |total| total.checked_add(total / 4));
        let enough = larger.find(enough).map_or_else(String::new, |total| {
            format!("; {} are enough", ByteSize(total.next_multiple_of(1 << 20)))
        });
        Err(Failure::usage(format_args!(
            "--memory {} does not hold {} keys with values of {} bytes, and --device memory has no other place for \
             them{enough}",
            ByteSize(self.arguments.memory.0),
            settings.keys,
            settings.value_bytes
        )))
    }

    fn check_record_size<V: Payload>(&self, most_bytes: u64) -> Result<(), Failure> {
        if V::record_bytes(self.settings.value_bytes as u64) + 16 <= most_bytes {
            return Ok(());
        }
        Err(Failure::usage(format_args!(
            "--value-bytes {} do not fit a page: with --memory {} a record has at most {most_bytes} bytes",
            self.settings.value_bytes,
            ByteSize(self.arguments.memory.0)
        )))
    }

    fn explain(&self, error: &Error) -> Failure {
        if error.kind() == ErrorKind::OutOfMemory {
            return Failure::other(format_args!(
                "--memory {} does not hold what the workload wrote: {error}",
                ByteSize(self.arguments.memory.0)
            ));
        }
        store_failure(self.place, error)
    }
}

fn create(path: &Path) -> Result<File, Failure> {
    File::create(path).map_err(|error| cannot_write(path, &error))
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Failure {
    Failure::other(format_args!("can't write {}: {error}", path.display()))
}

fn ending(results: &Results) -> Result<(), Failure> {
    let missed = results.measurement.done.not_found;
    if missed > 0 {
        return Err(Failure::other(format_args!(
            "{missed} reads did not find a key that was written before"
        )));
    }
    if !results.measurement.complete {
        return Err(Failure::new(
            FailureKind::Interrupted,
            "interrupted: the figures are of the time until then",
        ));
    }
    Ok(())
}
