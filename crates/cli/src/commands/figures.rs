//! Figures that several commands report.

use oxifaster_device::StorageDevice;
use oxifaster_store::Statistics;

use crate::memory_plan::MemoryPlan;
use crate::process_memory;
use crate::report::{Figure, Report};
use crate::store_access::{Store, StoredValue};

/// What the run did to the store and what the store takes now.
pub(super) fn store_section<V: StoredValue>(report: &mut Report, store: &Store<V>, statistics: &Statistics) {
    let space = store.kv().device().space_use().ok();
    let below = statistics.log_bytes.saturating_sub(statistics.log_bytes_in_memory);
    report
        .section("Store", "store")
        .add("log in memory", "log_in_memory_bytes", Figure::Bytes(statistics.log_bytes_in_memory))
        .add("log on the device only", "log_on_device_bytes", Figure::Bytes(below))
        .add("files are read by", "read_by", Figure::Text(store.kv().device().backend().to_string()))
        .add("disk", "disk_bytes", Figure::MaybeBytes(space.map(|space| space.allocated_bytes)))
        .add("peak memory", "peak_memory_bytes", Figure::MaybeBytes(process_memory::peak_bytes()));
}

/// Operations by kind.
pub(super) fn operations_section(report: &mut Report, label: &'static str, statistics: &Statistics) {
    let operations = &statistics.operations;
    report
        .section(label, "operations")
        .add("reads", "reads", Figure::Count(operations.reads))
        .add("  found", "read_hits", Figure::Count(statistics.read_hits))
        .add("  not found", "read_misses", Figure::Count(statistics.read_misses))
        .add("upserts", "upserts", Figure::Count(operations.upserts))
        .add("read-modify-writes", "rmws", Figure::Count(operations.rmws))
        .add("conditional, fetch-add, remove", "conditional", Figure::Count(operations.conditional))
        .add("deletes", "deletes", Figure::Count(operations.deletes))
        .add("updated in place", "in_place_updates", Figure::Count(statistics.in_place_updates))
        .add("records appended", "appended_records", Figure::Count(statistics.appended_records))
        .add("bytes appended", "appended_bytes", Figure::Bytes(statistics.appended_bytes))
        .add("waited for the device", "pending_operations", Figure::Count(statistics.pending_operations));
}

/// What the device did for them.
pub(super) fn device_section(report: &mut Report, label: &'static str, statistics: &Statistics) {
    report
        .section(label, "device")
        .add("device reads", "reads", Figure::Count(statistics.device_reads))
        .add("bytes read", "read_bytes", Figure::Bytes(statistics.device_read_bytes))
        .add("device writes", "writes", Figure::Count(statistics.device_writes))
        .add("bytes written", "write_bytes", Figure::Bytes(statistics.device_write_bytes))
        .add("syncs", "syncs", Figure::Count(statistics.device_syncs))
        .add("pages evicted", "pages_evicted", Figure::Count(statistics.pages_evicted));
}

/// Begins the section that tells how the memory was divided.
pub(super) fn begin_memory_section<'a>(report: &'a mut Report, plan: &MemoryPlan) -> &'a mut Report {
    report
        .section("Memory", "memory")
        .add("total", "total_bytes", Figure::Bytes(plan.total_bytes))
        .add("log", "log_bytes", Figure::Bytes(plan.log_bytes))
        .add("index table", "table_bytes", Figure::Bytes(plan.table_bytes))
        .add("index overflow", "overflow_bytes", Figure::Bytes(plan.overflow_bytes))
}

/// How the memory was divided and what it carries.
pub(super) fn memory_section(report: &mut Report, plan: &MemoryPlan, statistics: &Statistics) {
    begin_memory_section(report, plan)
        .add("checksums", "checksum_cache_bytes", Figure::Bytes(plan.checksum_cache_bytes))
        .add("device I/O", "io_bytes", Figure::Bytes(plan.io_bytes))
        .add("input", "input_bytes", Figure::Bytes(plan.input_bytes))
        .add("best counts", "command_bytes", Figure::Bytes(plan.command_bytes))
        .add("keys carried well", "keys_carried_well", Figure::Count(plan.keys_carried_well()))
        .add(
            "overflow buckets used",
            "overflow_buckets_used",
            Figure::Count(statistics.index_overflow_buckets),
        )
        .add("overflow budget", "overflow_buckets", Figure::Count(plan.overflow_buckets()));
}
