//! Logs that end too early: zero from some byte on, or on a device that was made shorter.

use oxifaster_device::{BLOCK_BYTES, StorageDevice};

use super::damage::DamageOptions;
use super::flips::judge_each;
use super::sample::{Ending, Outcome, PAGE_BYTES, Sample};
use crate::judges::Report;

/// Runs both kinds on logs that were closed and that were not.
pub(super) fn judge(options: &DamageOptions, report: &mut Report) -> Result<(), String> {
    for ending in [Ending::Closed, Ending::Killed, Ending::KilledAgain] {
        let sample = Sample::new(options.seed, options.log_bytes, ending)?;
        // To the last two pages it is the same whether there is a known commit far below.
        if ending != Ending::KilledAgain {
            zeroed(options, &sample, ending, report).map_err(|message| format!("{ending:?}: {message}"))?;
        }
        shortened(&sample, ending, report).map_err(|message| format!("{ending:?}: {message}"))?;
    }
    Ok(())
}

/// Every byte of the last two pages is the first one that is zero; sectors alone would miss what lies within them.
fn zeroed(
    options: &DamageOptions,
    sample: &Sample,
    ending: Ending,
    report: &mut Report,
) -> Result<(), String> {
    let block = BLOCK_BYTES as u64;
    let first = sample.end.saturating_sub(2 * PAGE_BYTES as u64).max(block);
    let taken = |from: &u64| from.is_multiple_of(options.stride) || from.is_multiple_of(block);
    let places: Vec<u64> = (first..sample.end).filter(taken).collect();
    let counts = judge_each(&places, |from| {
        let image = sample.device.snapshot_durable();
        image.overwrite(from, &vec![0; usize::try_from(sample.end - from).unwrap_or(0)]);
        let outcome =
            sample.examine(image).map_err(|message| format!("zero from byte {from}: {message}"))?.outcome;
        match outcome {
            Outcome::Corruption => Ok(outcome),
            // Nothing but zeros can have lain there.
            Outcome::Harmless if zeros_only(sample, from) => Ok(outcome),
            // What the metadata does not know, and no later commit either, may be what power failure leaves.
            Outcome::CutOff(entries) if ending != Ending::Closed && sample.has_commit_of(entries) => {
                Ok(outcome)
            }
            other => Err(format!("zero from byte {from}: {other:?} of {}", sample.entries.len())),
        }
    })?;
    report.note(&format!("{ending:?}_zeroed"), places.len());
    report.note(&format!("{ending:?}_zeroed_cut_off"), counts.cut_off);
    Ok(())
}

fn zeros_only(sample: &Sample, from: u64) -> bool {
    let len = usize::try_from(sample.end - from).unwrap_or(0);
    sample.device.read_bytes(from, len).iter().all(|byte| *byte == 0)
}

/// The device ends at each block of the log. What the metadata knows to be committed is never missing without an error. Behind that a
/// device that ends within a commit shows it; one that ends exactly where a commit ended looks like a log that was never longer, in
/// which nobody can tell what was acknowledged.
fn shortened(sample: &Sample, ending: Ending, report: &mut Report) -> Result<(), String> {
    let begin = sample.commits.first().map_or(0, |(begin, _)| *begin);
    let (mut told, mut silent) = (0_u64, 0_u64);
    for end in (0..sample.end).step_by(BLOCK_BYTES) {
        let image = sample.device.snapshot_durable();
        image.truncate_after(end).map_err(|error| error.to_string())?;
        let outcome =
            sample.examine(image).map_err(|message| format!("shortened to {end} bytes: {message}"))?.outcome;
        let right = match outcome {
            Outcome::Corruption => true,
            _ if end < sample.known => false,
            Outcome::CutOff(entries) => sample.has_commit_of(entries),
            // Nothing lies below the begin.
            Outcome::Short(entries) => sample.commits.contains(&(end.max(begin), entries)),
            Outcome::Harmless => false,
        };
        if !right {
            let (known, entries) = (sample.known, sample.entries.len());
            return Err(format!(
                "shortened to {end} bytes, of which the metadata knows {known}: {outcome:?} of {entries}"
            ));
        }
        *if matches!(outcome, Outcome::Short(_)) { &mut silent } else { &mut told } += 1;
    }
    report.note(&format!("{ending:?}_shortened_told"), told);
    report.note(&format!("{ending:?}_shortened_at_a_commit"), silent);
    Ok(())
}
