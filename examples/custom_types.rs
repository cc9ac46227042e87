//! Keys and values of your own: a plain struct bound by one line, and a serde type through `Bincode`.
//!
//! `cargo run --example custom_types`
#![expect(clippy::print_stdout, reason = "an example tells what it does")]

use std::sync::Arc;

use bytemuck::{Pod, Zeroable};
use oxifaster::prelude::*;
use serde::{Deserialize, Serialize};

/// A key whose memory is its encoding: no padding, every bit pattern valid.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
struct SensorId {
    region: u32,
    number: u32,
}

impl Blittable for SensorId {}

/// A value of 24 bytes. Updates are made in place, and readers never see a mixture of two of them.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
struct Readings {
    count: u64,
    sum: f64,
    highest: f64,
}

impl Blittable for Readings {}

/// Anything that serde can write. `Default` is what a read-modify-write of an absent key starts from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Profile {
    name: String,
    tags: Vec<String>,
    referred_by: Option<u64>,
}

fn main() -> std::io::Result<()> {
    let config = FasterKvConfig { table_size: 1 << 10, log_memory_size: 1 << 20, ..Default::default() };
    println!("In memory:");
    measure(&Arc::new(FasterKv::open(config.clone(), NullDisk::new())?))?;
    register(&Arc::new(FasterKv::open(config.clone(), NullDisk::new())?))?;

    println!("On files:");
    let folder = tempfile::tempdir()?;
    let sensors = || FileSystemDisk::single_file(folder.path().join("sensors.log"));
    let profiles = || FileSystemDisk::single_file(folder.path().join("profiles.log"));
    measure(&Arc::new(FasterKv::open(config.clone(), sensors()?)?))?;
    register(&Arc::new(FasterKv::open(config.clone(), profiles()?)?))?;

    println!("Opened again, with the types they were created with:");
    let store = Arc::new(FasterKv::<SensorId, Readings, _>::open(config.clone(), sensors()?)?);
    let readings = store.start_session()?.read(&SensorId { region: 49, number: 7 })?;
    println!("  {readings:?}");
    assert_eq!(readings, Some(Readings { count: 3, sum: 57.0, highest: 21.5 }));

    println!("Opened again, with other types:");
    let error = FasterKv::<u64, String, _>::open(config, profiles()?).expect_err("the value type differs");
    println!("  refused: {error}");
    assert_eq!(error.kind(), ErrorKind::IncompatibleFormat);
    Ok(())
}

fn measure<D: StorageDevice>(store: &Arc<FasterKv<SensorId, Readings, D>>) -> Result<(), Error> {
    let mut session = store.start_session()?;
    let sensor = SensorId { region: 49, number: 7 };
    for celsius in [17.0, 21.5, 18.5] {
        // Starts from zeros.
        session.rmw(sensor, |readings| {
            readings.count += 1;
            readings.sum += celsius;
            readings.highest = readings.highest.max(celsius);
            true
        })?;
    }
    let readings = session.read(&sensor)?;
    println!("  {sensor:?} -> {readings:?}");
    assert_eq!(readings, Some(Readings { count: 3, sum: 57.0, highest: 21.5 }));
    Ok(())
}

fn register<D: StorageDevice>(store: &Arc<FasterKv<u64, Bincode<Profile>, D>>) -> Result<(), Error> {
    let mut session = store.start_session()?;
    let ada = Profile { name: "Ada".into(), tags: vec!["admin".into()], referred_by: None };
    session.upsert(1, Bincode(ada.clone()))?;
    session.rmw(2, |profile| {
        profile.0.name = "Grace".into();
        profile.0.referred_by = Some(1);
        true
    })?;
    let (first, second) = (session.read(&1)?, session.read(&2)?);
    println!("  1 -> {first:?}\n  2 -> {second:?}");
    assert_eq!(first, Some(Bincode(ada)));
    let grace = Profile { name: "Grace".into(), tags: Vec::new(), referred_by: Some(1) };
    assert_eq!(second, Some(Bincode(grace)));
    Ok(())
}
