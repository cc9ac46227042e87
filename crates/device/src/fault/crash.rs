//! What power loss makes of changes that no sync made durable.
//!
//! Callers: `device::FaultDevice::crash`. Unsynced means unordered: every change meets its own fate. Fates are drawn in
//! the order of the changes, and kept ones are applied in that order, so that a block written twice ends as one of the
//! versions, never as something that nobody wrote (except where zeros and noise are asked for).

use super::counts::FaultCounts;
use super::image::{Image, Patch, SECTOR_WORDS, tear};
use super::random::Random;
use crate::BLOCK_BYTES;

/// One change of the offset space.
#[derive(Clone, Debug)]
pub(super) struct Change {
    /// Position in the device's history; a sync covers what is below its own.
    pub(super) sequence: u64,
    /// What changes.
    pub(super) effect: Effect,
}

/// What a change does.
#[derive(Clone, Debug)]
pub(super) enum Effect {
    /// Sectors get new content.
    Write(Vec<Patch>),
    /// Blocks below a block number go.
    CutBefore(u64),
    /// Blocks from a block number on go.
    CutAfter(u64),
}

impl Effect {
    /// Does it to `image`.
    pub(super) fn apply(&self, image: &mut Image) {
        match self {
            Effect::Write(patches) => patches.iter().for_each(|patch| image.apply(patch)),
            Effect::CutBefore(block) => image.cut_before(*block),
            Effect::CutAfter(block) => image.cut_after(*block),
        }
    }
}

/// How likely each fate of an unsynced change is, as weights: `kept` of the sum of all are kept, and so on.
///
/// # Examples
/// ```
/// use oxifaster_device::fault::{CrashFates, FaultPlan};
/// // Writes survive or not, but are never damaged.
/// let plan = FaultPlan::new().crash_fates(CrashFates { torn: 0, zeroed: 0, scrambled: 0, ..CrashFates::default() });
/// # drop(plan);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrashFates {
    /// All sectors are new.
    pub kept: u32,
    /// All sectors are old.
    pub dropped: u32,
    /// Each sector is old or new, and there is at least one of both. A truncation happened up to some block.
    pub torn: u32,
    /// All sectors are zero, as when a file system recorded the size and not the data.
    pub zeroed: u32,
    /// All sectors are noise.
    pub scrambled: u32,
}

impl CrashFates {
    /// Nothing unsynced survives.
    pub const DROP_ALL: CrashFates = CrashFates { kept: 0, dropped: 1, torn: 0, zeroed: 0, scrambled: 0 };

    /// Everything executed survives, as when the operating system wrote it back just in time.
    pub const KEEP_ALL: CrashFates = CrashFates { kept: 1, dropped: 0, torn: 0, zeroed: 0, scrambled: 0 };
}

impl Default for CrashFates {
    /// Each fate as likely as any other.
    fn default() -> Self {
        Self { kept: 1, dropped: 1, torn: 1, zeroed: 1, scrambled: 1 }
    }
}

#[derive(Clone, Copy, Debug)]
enum Fate {
    Kept,
    Dropped,
    Torn,
    Zeroed,
    Scrambled,
}

impl CrashFates {
    fn draw(self, random: &mut Random) -> Fate {
        let weighted = [
            (self.kept, Fate::Kept),
            (self.dropped, Fate::Dropped),
            (self.torn, Fate::Torn),
            (self.zeroed, Fate::Zeroed),
            (self.scrambled, Fate::Scrambled),
        ];
        let mut point = random.below(weighted.iter().map(|(weight, _)| u64::from(*weight)).sum());
        for (weight, fate) in weighted {
            match point.checked_sub(u64::from(weight)) {
                Some(rest) => point = rest,
                None => return fate,
            }
        }
        // All weights are zero: nothing was said to survive.
        Fate::Dropped
    }
}

/// The image after power loss: `durable` plus what the fates leave of `changes`.
pub(super) fn image_after_crash<'a>(
    durable: &Image,
    changes: impl Iterator<Item = &'a Change>,
    fates: CrashFates,
    random: &mut Random,
    counts: &mut FaultCounts,
) -> Image {
    let mut image = durable.clone();
    for change in changes {
        let fate = fates.draw(random);
        match (&change.effect, fate) {
            (_, Fate::Dropped) => counts.crash_dropped += 1,
            (effect, Fate::Kept) => {
                counts.crash_kept += 1;
                effect.apply(&mut image);
            }
            (Effect::Write(patches), Fate::Torn) => {
                counts.crash_torn += 1;
                let mut patches = patches.clone();
                tear(&mut patches, random);
                patches.iter().for_each(|patch| image.apply(patch));
            }
            (Effect::Write(patches), Fate::Zeroed) => {
                counts.crash_zeroed += 1;
                patches.iter().for_each(|patch| image.apply(&filled(patch, || 0)));
            }
            (Effect::Write(patches), Fate::Scrambled) => {
                counts.crash_scrambled += 1;
                patches.iter().for_each(|patch| image.apply(&filled(patch, || random.next())));
            }
            // A truncation has no other damage than to have happened in part: some segments were deleted, others not.
            (Effect::CutBefore(block), Fate::Torn | Fate::Zeroed | Fate::Scrambled) => {
                counts.crash_torn += 1;
                image.cut_before(random.below(block + 1));
            }
            (Effect::CutAfter(block), Fate::Torn | Fate::Zeroed | Fate::Scrambled) => {
                counts.crash_torn += 1;
                let end = image.end_bytes().div_ceil(BLOCK_BYTES as u64);
                image.cut_after(block + random.below(end.saturating_sub(*block) + 1));
            }
        }
    }
    image
}

/// The same sectors with words from `word`.
fn filled(patch: &Patch, mut word: impl FnMut() -> u64) -> Patch {
    let words = patch.content.len().max(SECTOR_WORDS);
    Patch { block: patch.block, sectors: patch.sectors, content: (0..words).map(|_| word()).collect() }
}
