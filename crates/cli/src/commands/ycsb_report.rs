//! What a run of `ycsb` showed: as a table, as JSON, as a drawing.

use std::fmt::Write as _;
use std::time::Duration;

use hdrhistogram::Histogram;
use oxifaster_store::Statistics;
use oxifaster_workload::{Operation, Workload};
use serde_json::{Map, Value, json};

use super::figures::begin_memory_section;
use crate::byte_size::Grouped;
use crate::chart::{Axis, Document, Line, Panel, Scale};
use crate::memory_plan::MemoryPlan;
use crate::report::{Figure, Report, per_second, time_text, whole};
use crate::ycsb::draw::distribution_name;
use crate::ycsb::latency::{PERCENTILES, SAMPLE_EVERY};
use crate::ycsb::{LoadPhase, Measurement, Sample, Settings};

/// Points of the throughput line at most: a drawing has no more pixels.
const POINTS_MAX: usize = 600;

/// What a run showed.
pub(super) struct Results {
    pub(super) settings: Settings,
    pub(super) device: String,
    pub(super) plan: MemoryPlan,
    pub(super) read_cache_bytes: u64,
    pub(super) load: Option<LoadPhase>,
    pub(super) drawing_nanoseconds: f64,
    pub(super) disk_bytes: Option<u64>,
    pub(super) resident_bytes: Option<u64>,
    pub(super) peak_bytes: Option<u64>,
    pub(super) measurement: Measurement,
}

impl Results {
    pub(super) fn to_json(&self) -> Map<String, Value> {
        let mut object = self.report().to_json();
        let sampled = if self.settings.batch > 1 { 1 } else { SAMPLE_EVERY };
        object.insert("latency_sampled_one_in".to_owned(), Value::from(sampled));
        let rows = self.measurement.latencies.rows();
        let rows = rows.map(|(name, times)| (name.to_owned(), latency_json(times)));
        object.insert("latency_nanoseconds".to_owned(), Value::Object(rows.collect()));
        let samples = self.measurement.timeline.iter().map(|sample| {
            json!({
                "until_seconds": sample.until.as_secs_f64(),
                "operations": sample.operations,
                "operations_per_second": per_second(sample.operations, sample.length),
            })
        });
        object.insert("timeline".to_owned(), Value::Array(samples.collect()));
        object
    }

    pub(super) fn to_text(&self) -> String {
        let mut text = self.report().to_text();
        let written = self.write_latencies(&mut text);
        debug_assert!(written.is_ok(), "writing to a String can't fail");
        text
    }

    fn write_latencies(&self, text: &mut String) -> std::fmt::Result {
        let sampled = match self.settings.batch {
            1 => format!("one operation in {SAMPLE_EVERY} was timed"),
            batch => format!("each batch of {batch} as a whole"),
        };
        writeln!(text, "\nLatency: {sampled}")?;
        write!(text, "  {:8}", "")?;
        for (name, _) in PERCENTILES {
            write!(text, "{name:>10}")?;
        }
        writeln!(text, "{:>10}{:>14}", "max", "timed")?;
        for (name, times) in self.measurement.latencies.rows() {
            write!(text, "  {name:8}")?;
            for (_, percent) in PERCENTILES {
                write!(text, "{:>10}", time_text(times.value_at_percentile(percent)))?;
            }
            writeln!(text, "{:>10}{:>14}", time_text(times.max()), Grouped(times.len()).to_string())?;
        }
        Ok(())
    }

    fn report(&self) -> Report {
        let settings = &self.settings;
        let mut report = Report::default();
        report
            .add("command", "command", Figure::Text("ycsb".to_owned()))
            .add("workload", "workload", Figure::Text(settings.workload.name().to_owned()))
            .add("distribution", "distribution", Figure::Text(self.distribution().to_owned()))
            .add("device", "device_name", Figure::Text(self.device.clone()))
            .add("keys", "keys", Figure::Count(settings.keys))
            .add("value", "value_bytes", Figure::Bytes(settings.value_bytes as u64))
            .add("threads", "threads", Figure::Count(settings.threads as u64))
            .add("operations in a batch", "batch", Figure::Count(settings.batch as u64))
            .add("seed", "seed", Figure::Count(settings.seed))
            .add("complete", "complete", Figure::Flag(self.measurement.complete));
        if let Some(load) = &self.load {
            report.section("Load, in batches", "load").add("time", "seconds", Figure::Time(load.time)).add(
                "keys a second",
                "keys_per_second",
                Figure::Rate { count: load.keys, time: load.time },
            );
        }
        self.add_run(&mut report);
        self.add_device(&mut report);
        self.add_memory(&mut report);
        report
    }

    fn add_run(&self, report: &mut Report) {
        let (done, time) = (&self.measurement.done, self.measurement.length);
        let total = done.total();
        let warm_up =
            if self.settings.workload == Workload::Load { Duration::ZERO } else { self.settings.warm_up };
        report
            .section("Run", "run")
            .add("warm-up", "warm_up_seconds", Figure::Time(warm_up))
            .add("time", "seconds", Figure::Time(time))
            .add("operations", "operations", Figure::Count(total))
            .add("operations a second", "operations_per_second", Figure::Rate { count: total, time });
        for (operation, label, key) in [
            (Operation::Read, "  reads", "reads"),
            (Operation::Upsert, "  upserts", "upserts"),
            (Operation::Insert, "  inserts", "inserts"),
            (Operation::Rmw, "  read-modify-writes", "rmws"),
        ] {
            report.add(label, key, Figure::Count(done.of(operation)));
        }
        report.add("reads that found nothing", "not_found", Figure::Count(done.not_found)).add(
            "drawing an operation",
            "drawing_nanoseconds",
            Figure::Nanoseconds(self.drawing_nanoseconds),
        );
    }

    fn add_device(&self, report: &mut Report) {
        let (before, after) = (&self.measurement.before, &self.measurement.after);
        let since = |field: fn(&Statistics) -> u64| field(after).saturating_sub(field(before));
        report
            .section("Device, during the run", "device")
            .add("device reads", "reads", Figure::Count(since(|all| all.device_reads)))
            .add("bytes read", "read_bytes", Figure::Bytes(since(|all| all.device_read_bytes)))
            .add(
                "found in the read cache",
                "read_cache_hits",
                Figure::Count(since(|all| all.read_cache_hits)),
            )
            .add("device writes", "writes", Figure::Count(since(|all| all.device_writes)))
            .add("bytes written", "write_bytes", Figure::Bytes(since(|all| all.device_write_bytes)))
            .add("pages evicted", "pages_evicted", Figure::Count(since(|all| all.pages_evicted)))
            .add("disk", "disk_bytes", Figure::MaybeBytes(self.disk_bytes));
    }

    fn add_memory(&self, report: &mut Report) {
        let plan = &self.plan;
        let log = &self.measurement.after;
        begin_memory_section(report, plan)
            .add("read cache", "read_cache_bytes", Figure::Bytes(self.read_cache_bytes))
            .add("keys carried well", "keys_carried_well", Figure::Count(plan.keys_carried_well()))
            .add("log in memory", "log_in_memory_bytes", Figure::Bytes(log.log_bytes_in_memory))
            .add(
                "log on the device only",
                "log_on_device_bytes",
                Figure::Bytes(log.log_bytes.saturating_sub(log.log_bytes_in_memory)),
            )
            .add("resident memory", "resident_bytes", Figure::MaybeBytes(self.resident_bytes))
            .add("peak memory", "peak_memory_bytes", Figure::MaybeBytes(self.peak_bytes));
    }

    fn distribution(&self) -> &'static str {
        if self.settings.workload == Workload::Load {
            return "in their order";
        }
        distribution_name(self.settings.distribution)
    }

    pub(super) fn to_svg(&self) -> String {
        let settings = &self.settings;
        let title = format!("oxifaster ycsb: workload {}, {} keys", settings.workload, self.distribution());
        let operations = match settings.batch {
            1 => "single operations".to_owned(),
            batch => format!("batches of {batch}"),
        };
        let subtitle = format!(
            "{} keys, values of {} bytes, {} thread(s), {operations}, device: {}; {} operations/s",
            Grouped(settings.keys),
            settings.value_bytes,
            settings.threads,
            self.device,
            Grouped(whole(per_second(self.measurement.done.total(), self.measurement.length))),
        );
        let mut document = Document::new(900, 700, &title);
        document.headline(&title, &subtitle);
        throughput_panel(&self.measurement).draw(&mut document, (0.0, 70.0), (900.0, 300.0));
        self.latency_panel().draw(&mut document, (0.0, 385.0), (900.0, 310.0));
        document.finish()
    }

    fn latency_panel(&self) -> Panel {
        let rows: Vec<_> = self.measurement.latencies.rows().filter(|(_, times)| !times.is_empty()).collect();
        // Percentile p stands at 100 / (100 - p): each nine is as long as the one before.
        let ticks = [(50.0, "50"), (90.0, "90"), (99.0, "99"), (99.9, "99.9"), (99.99, "99.99")];
        let ticks = ticks.map(|(percent, text)| (100.0 / (100.0 - percent), text.to_owned())).to_vec();
        let lines: Vec<Line> = rows.iter().map(|(name, times)| percentile_line(name, times)).collect();
        let values = || lines.iter().flat_map(|line| line.points.iter().map(|&(_, time)| time));
        let (least, most) = (values().fold(f64::MAX, f64::min).min(1e9), values().fold(1.0, f64::max));
        Panel {
            title: "Latency by percentile".to_owned(),
            x: Axis::with_ticks("percentile", Scale::Logarithmic, ticks),
            y: Axis::logarithmic("time", least, most, |value| time_text(whole(value))),
            lines,
        }
    }
}

fn throughput_panel(measurement: &Measurement) -> Panel {
    let points = thinned(&measurement.timeline);
    let most = points.iter().map(|&(_, rate)| rate).fold(0.0, f64::max);
    let (unit, divisor) = match most {
        most if most >= 1e6 => ("million operations a second", 1e6),
        most if most >= 1e3 => ("thousand operations a second", 1e3),
        _ => ("operations a second", 1.0),
    };
    let points: Vec<_> = points.into_iter().map(|(second, rate)| (second, rate / divisor)).collect();
    Panel {
        title: "Throughput".to_owned(),
        x: Axis::linear("seconds", measurement.length.as_secs_f64(), short_number),
        y: Axis::linear(unit, most / divisor, short_number),
        lines: vec![Line { name: String::new(), points }],
    }
}

/// Rates at the middles of the samples; several samples become one when there are many.
fn thinned(timeline: &[Sample]) -> Vec<(f64, f64)> {
    let group = timeline.len().div_ceil(POINTS_MAX).max(1);
    let point = |samples: &[Sample]| {
        let length: Duration = samples.iter().map(|sample| sample.length).sum();
        let operations = samples.iter().map(|sample| sample.operations).sum();
        let until = samples.last().map_or(Duration::ZERO, |sample| sample.until);
        let middle = until.as_secs_f64() - length.as_secs_f64() / 2.0;
        // The rest of a second at the end is too short for a rate.
        (length >= Duration::from_millis(20) || timeline.len() == 1)
            .then(|| (middle, per_second(operations, length)))
    };
    timeline.chunks(group).filter_map(point).collect()
}

fn percentile_line(name: &str, times: &Histogram<u64>) -> Line {
    // Steps of a tenth of the way to the next nine, as far as the samples tell.
    let known = times.len() as f64;
    let steps = (0..=40).map(|step| 2.0 * 5000_f64.powf(f64::from(step) / 40.0));
    let points = steps
        .take_while(|inverse| *inverse <= known.max(2.0))
        .map(|inverse| (inverse, times.value_at_quantile(1.0 - 1.0 / inverse) as f64))
        .collect();
    Line { name: name.to_owned(), points }
}

fn latency_json(times: &Histogram<u64>) -> Value {
    let mut row = Map::new();
    for (name, percent) in PERCENTILES {
        row.insert(name.to_owned(), Value::from(times.value_at_percentile(percent)));
    }
    row.insert("max".to_owned(), Value::from(times.max()));
    row.insert("mean".to_owned(), Value::from(times.mean()));
    row.insert("timed".to_owned(), Value::from(times.len()));
    Value::Object(row)
}

/// A number of an axis, without digits that say nothing.
fn short_number(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_time_lines_are_thinned_without_losing_operations() {
        let tenth = Duration::from_millis(100);
        let sample = |number: u32| Sample { until: tenth * (number + 1), length: tenth, operations: 5 };
        let points = thinned(&(0..6000).map(sample).collect::<Vec<_>>());
        assert_eq!(points.len(), 600);
        assert!(points.iter().all(|&(_, rate)| (rate - 50.0).abs() < 1e-6));
        assert!((points[0].0 - 0.5).abs() < 1e-9, "{:?}", points[0]);
        let short = Sample {
            until: tenth * 2 + Duration::from_millis(1),
            length: Duration::from_millis(1),
            operations: 9,
        };
        assert_eq!(thinned(&[sample(0), sample(1), short]).len(), 2);
        assert_eq!(thinned(&[short]).len(), 1);
    }

    #[test]
    fn percentile_lines_end_where_the_samples_do() {
        let mut times = Histogram::<u64>::new(3).unwrap();
        (1..=100).for_each(|time| times.record(time).unwrap());
        let line = percentile_line("read", &times);
        assert_eq!(line.points[0], (2.0, 50.0));
        let (inverse, time) = *line.points.last().unwrap();
        assert!((80.0..=100.0).contains(&inverse) && (98.0..=100.0).contains(&time), "{inverse} {time}");
        assert_eq!((short_number(2.0), short_number(0.25)), ("2".to_owned(), "0.25".to_owned()));
    }
}
