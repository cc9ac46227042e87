//! Opening: a fresh log, or the last consistent point of the one that the device holds.
//!
//! Called by the store. Opening reads and decides; it writes only when it creates. The page images that fit are then
//! read into their frames by recovery ([`HybridLog::load_page`]), which verifies every block.

use std::sync::Arc;

use oxifaster_device::metadata::{ContentKind, MetadataArea};
use oxifaster_device::sync::random::random_id;
use oxifaster_device::{DeviceError, DeviceErrorKind, StorageDevice};

use super::checksum::Incarnation;
use super::configuration::{FRAMES_MIN, FramePlan, HybridLogConfig};
use super::hybrid_log::{Durable, HybridLog};
use super::metadata::{LogMetadata, OpenPage, OwnerFacts};
use super::page_layout::PageLayout;
use crate::address::Address;
use crate::epoch::LightEpoch;
use crate::error::{Error, ErrorKind};

/// An opened log.
#[derive(Debug)]
pub struct OpenedLog {
    /// The log. Its maintenance thread does not run yet: see [`OpenedLog::start`].
    pub log: Arc<HybridLog>,
    /// Whether the device held a log already.
    pub existed: bool,
    /// A copy of the metadata was damaged; the newest undamaged one counted.
    pub damaged_slot: bool,
}

impl OpenedLog {
    /// Starts background work. Call it after recovery.
    ///
    /// # Errors
    /// `Io` when no thread can be started.
    pub fn start(self) -> Result<Arc<HybridLog>, Error> {
        if self.log.is_persistent() {
            self.log.start_maintenance()?;
        }
        Ok(self.log)
    }
}

impl HybridLog {
    /// Opens the log on `device`, or creates one. `decide` sees the facts of a log that exists and may refuse them; it
    /// returns those of a new one for `None`.
    ///
    /// # Durability
    /// A created log is a durable empty store when this returns.
    ///
    /// # Errors
    /// `IncompatibleFormat` for foreign devices and other versions, `Corruption` for damaged metadata,
    /// `InvalidConfiguration`, errors of `decide`, of the device and of memory.
    pub fn open(
        config: &HybridLogConfig,
        device: Arc<dyn StorageDevice>,
        epoch: LightEpoch,
        decide: impl FnOnce(Option<OwnerFacts>) -> Result<OwnerFacts, Error>,
    ) -> Result<OpenedLog, Error> {
        config.validate()?;
        let (area, loaded) = MetadataArea::open(device.as_ref(), ContentKind::FasterKv).map_err(refused)?;
        let existed = loaded.is_some();
        let damaged_slot = loaded.as_ref().is_some_and(|loaded| loaded.damaged_copy);
        let mut durable = match loaded {
            Some(loaded) => {
                let metadata = LogMetadata::decode(&loaded.payload)
                    .map_err(|error| error.with_context(&format!("opening {}", device.describe())))?;
                decide(Some(metadata.owner))?;
                Durable { area, metadata, writing: false }
            }
            None => {
                let reserved = device.geometry().reserved_bytes;
                let metadata = fresh(config, reserved, decide(None)?)?;
                Durable { area, metadata, writing: false }
            }
        };
        let frames = config.memory_bytes / durable.metadata.layout().page_bytes();
        if frames < FRAMES_MIN {
            return Err(Error::new(
                ErrorKind::InvalidConfiguration,
                format!(
                    "log_memory_size is {} bytes, but this store has pages of {} bytes and needs at least {FRAMES_MIN}: \
                     give at least {} bytes",
                    config.memory_bytes,
                    durable.metadata.layout().page_bytes(),
                    durable.metadata.layout().page_bytes() * FRAMES_MIN
                ),
            ));
        }
        if !existed {
            durable.area.write_next(device.as_ref(), &durable.metadata.encode())?;
        }
        let head =
            first_page_in_memory(&durable.metadata, FramePlan::new(frames, config.mutable_fraction), frames);
        let log = Arc::new(Self::assemble(config, device, epoch, durable, head)?);
        Ok(OpenedLog { log, existed, damaged_slot })
    }
}

/// What the metadata envelope refuses as invalid is another format, version or kind of content.
fn refused(error: DeviceError) -> Error {
    if error.kind() == DeviceErrorKind::InvalidRequest {
        return Error::new(ErrorKind::IncompatibleFormat, error.to_string()).with_source(error);
    }
    error.into()
}

fn fresh(config: &HybridLogConfig, reserved_bytes: u64, owner: OwnerFacts) -> Result<LogMetadata, Error> {
    let layout = PageLayout::new(config.page_size_bits);
    let first_page = reserved_bytes.div_ceil(layout.page_bytes());
    let start = layout.start_of(first_page);
    let begin = start.plus(layout.first_word());
    Ok(LogMetadata {
        store_id: random_id()?,
        page_size_bits: config.page_size_bits,
        clean: true,
        owner,
        begin,
        consistent_tail: begin,
        incarnations: vec![Incarnation { number: 1, start_offset: start.byte_offset() }],
        open_page: OpenPage { page: first_page, checksums: Vec::new() },
        extension: Vec::new(),
    })
}

/// From which address on a reopened log is read back into memory: as many whole pages as fit beside the free frames.
fn first_page_in_memory(metadata: &LogMetadata, plan: FramePlan, frames: u64) -> Address {
    let layout = metadata.layout();
    let tail_page = layout.page_of(metadata.consistent_tail);
    let first = (tail_page + 1 + plan.free).saturating_sub(frames);
    layout.start_of(first.max(layout.page_of(metadata.begin)))
}
