//! Entries that tell who wrote them, and show every byte that is not theirs.

use crate::workload::mix;

/// Who wrote an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The life of the log, counted by the judge.
    pub life: u64,
    /// The thread in that life.
    pub thread: u64,
    /// Counted from 0 by the thread.
    pub number: u64,
    /// Place in its batch.
    pub place: u32,
    /// Entries of its batch; 1 when it was appended alone.
    pub batch: u32,
}

const MARK_BYTES: usize = 32;

impl Mark {
    /// An entry of a thread, appended alone.
    #[must_use]
    pub fn single(life: u64, thread: u64, number: u64) -> Self {
        Self { life, thread, number, place: 0, batch: 1 }
    }

    fn fingerprint(self) -> u64 {
        mix(self.life
            ^ mix(self.thread ^ mix(self.number ^ (u64::from(self.place) << 32) ^ u64::from(self.batch))))
    }

    /// The entry's bytes: the mark, and up to `filler_max` bytes that follow from it.
    #[must_use]
    pub fn bytes(self, filler_max: u64) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(MARK_BYTES);
        for field in [self.life, self.thread, self.number] {
            bytes.extend_from_slice(&field.to_le_bytes());
        }
        bytes.extend_from_slice(&self.place.to_le_bytes());
        bytes.extend_from_slice(&self.batch.to_le_bytes());
        let print = self.fingerprint();
        let filler = print.checked_rem(filler_max).unwrap_or(0);
        bytes.extend((0..filler).map(|at| filler_byte(print, at)));
        bytes
    }

    /// Reads an entry back.
    ///
    /// # Errors
    /// When nobody wrote these bytes.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let wrong =
            || format!("an entry of {} bytes that nobody wrote: {:02x?}", bytes.len(), bytes.get(..40));
        let (front, filler) = bytes.split_at_checked(MARK_BYTES).ok_or_else(wrong)?;
        let (words, _) = front.as_chunks::<8>();
        let &[life, thread, number, batch] = words else { return Err(wrong()) };
        let batch = u64::from_le_bytes(batch);
        let mark = Self {
            life: u64::from_le_bytes(life),
            thread: u64::from_le_bytes(thread),
            number: u64::from_le_bytes(number),
            place: u32::try_from(batch & u64::from(u32::MAX)).unwrap_or(0),
            batch: u32::try_from(batch >> 32).unwrap_or(0),
        };
        let print = mark.fingerprint();
        let right = filler.iter().zip(0..).all(|(byte, at)| *byte == filler_byte(print, at));
        if right && mark.place < mark.batch { Ok(mark) } else { Err(wrong()) }
    }
}

fn filler_byte(print: u64, at: u64) -> u8 {
    let [byte, ..] = mix(print ^ (at / 8)).rotate_right(u32::try_from(at % 8 * 8).unwrap_or(0)).to_le_bytes();
    byte
}

#[cfg(test)]
mod tests {
    use super::Mark;

    #[test]
    fn entries_tell_who_wrote_them_and_every_other_byte_shows() {
        let mark = Mark { life: 3, thread: 1, number: 77, place: 2, batch: 5 };
        let bytes = mark.bytes(300);
        assert_eq!(Mark::read(&bytes), Ok(mark));
        assert!(bytes.len() > 50);
        for place in 0..bytes.len() {
            let mut wrong = bytes.clone();
            wrong[place] ^= 4;
            assert_ne!(Mark::read(&wrong), Ok(mark), "byte {place}");
        }
    }
}
