//! The fault device keeps the device contract, without faults and with those that the contract allows.

use std::cell::RefCell;
use std::time::Duration;

use oxifaster_device::StorageDevice;
use oxifaster_device::conformance::Conformance;
use oxifaster_device::fault::{FaultCounts, FaultDevice, FaultDisk, FaultPlan, Trigger};

/// Runs the suite on devices that `make` makes from a seed, all with `plan`, and sums what was injected.
fn run(plan: &FaultPlan, make: impl Fn(u64) -> FaultDevice) -> FaultCounts {
    let disks: RefCell<Vec<FaultDisk>> = RefCell::default();
    let create = || {
        let device = make(disks.borrow().len() as u64);
        device.set_plan(plan.clone());
        disks.borrow_mut().push(device.disk());
        Ok(Box::new(device) as Box<dyn StorageDevice>)
    };
    let reopen = || {
        let device = disks.borrow().last().unwrap().open()?;
        device.set_plan(plan.clone());
        Ok(Box::new(device) as Box<dyn StorageDevice>)
    };
    let failing = || Ok(Box::new(FaultDevice::with_plan(1, plan.clone().fail_syncs(Trigger::nth(1)))) as _);
    Conformance::new(&create).reopening(&reopen).failing_sync(&failing).run();
    let mut sum = FaultCounts::default();
    for disk in disks.borrow().iter() {
        sum += disk.counts();
    }
    sum
}

#[test]
fn without_faults() {
    let counts = run(&FaultPlan::new(), FaultDevice::new);
    assert!(counts.closed_refusals > 0 && counts.full_errors > 0);
    assert_eq!((counts.delayed, counts.reordered_batches, counts.short_reads), (0, 0, 0));
}

#[test]
fn with_reserved_bytes_and_a_small_capacity() {
    let made = |seed| FaultDevice::new(seed).with_reserved_bytes(196_608).with_capacity_bytes(1 << 24);
    assert!(run(&FaultPlan::new(), made).full_errors > 0);
}

#[test]
fn with_completions_out_of_order_and_late() {
    let plan = FaultPlan::new().reorder(1.0).delay_by_reaps(0.5, 7);
    let counts = run(&plan, FaultDevice::new);
    assert!(counts.reordered_batches > 50 && counts.delayed > 500, "{counts:?}");
    let plan = FaultPlan::new().reorder(0.5).delay_by_time(0.2, Duration::from_micros(200));
    assert!(run(&plan, FaultDevice::new).delayed > 200);
}
