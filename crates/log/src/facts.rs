//! What a log knows about itself across restarts: the payload of its metadata slots (`docs/format/log.md`).
//!
//! Callers: open, the writer (before the first block, at cuts), the syncer (now and then), truncation, close. Decoding takes
//! arbitrary bytes and never panics.

use std::sync::Arc;

use oxifaster_core::Error;

use crate::commit_record::{
    COOKIE_BYTES_MAX, CommitLinks, NAMED_POSITIONS_MAX, Positions, put_positions, take_positions,
};
use crate::decode::{Fields, put_count};
use crate::timeline::{INCARNATIONS_READ_MAX, Incarnation, Timeline};

/// A commit that is durable, and what the next one needs to know of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KnownCommit {
    /// Where it ends; all below is durable.
    pub(crate) until: u64,
    /// 0 before the first.
    pub(crate) number: u64,
    /// Entries below it.
    pub(crate) entries: u64,
    /// The last cookie that a commit was given.
    pub(crate) cookie: Vec<u8>,
    pub(crate) positions: Positions,
    pub(crate) links: CommitLinks,
}

/// The payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogFacts {
    pub(crate) clean: bool,
    pub(crate) begin: u64,
    /// Number of the entry at `begin`.
    pub(crate) begin_entry: u64,
    pub(crate) known: Arc<KnownCommit>,
    pub(crate) timeline: Arc<Timeline>,
}

/// Links that a payload may name: one for each bit of a commit number, and one.
const LINKS_MAX: usize = 65;

impl LogFacts {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(128 + self.timeline.rows().len() * 24);
        bytes.extend_from_slice(&self.timeline.log_id());
        bytes.push(u8::from(self.clean));
        let known = &self.known;
        for field in [self.begin, self.begin_entry, known.until, known.number, known.entries] {
            bytes.extend_from_slice(&field.to_le_bytes());
        }
        put_count(&mut bytes, known.cookie.len());
        bytes.extend_from_slice(&known.cookie);
        put_count(&mut bytes, known.positions.len());
        put_positions(&mut bytes, &known.positions);
        put_count(&mut bytes, known.links.0.len());
        for (number, address) in &known.links.0 {
            bytes.extend_from_slice(&number.to_le_bytes());
            bytes.extend_from_slice(&address.to_le_bytes());
        }
        put_count(&mut bytes, self.timeline.rows().len());
        for row in self.timeline.rows() {
            for field in [row.number, row.start, row.before_ends] {
                bytes.extend_from_slice(&field.to_le_bytes());
            }
        }
        bytes
    }

    /// # Errors
    /// `Corruption` for anything that [`encode`](Self::encode) can't have written.
    pub(crate) fn decode(payload: &[u8]) -> Result<Self, Error> {
        let mut fields = Fields::new("the log's metadata", payload);
        let log_id = fields.array::<16>()?;
        let clean = match fields.u8()? {
            0 => false,
            1 => true,
            other => return Err(fields.malformed(&format!("clean flag {other}"))),
        };
        let (begin, begin_entry) = (fields.address("the begin address")?, fields.number("the first entry")?);
        let until = fields.address("the known commit")?;
        let (number, entries) =
            (fields.number("the commit number")?, fields.number("the number of entries")?);
        let cookie_len = fields.count(COOKIE_BYTES_MAX, "bytes of cookie")?;
        let cookie = fields.bytes(cookie_len)?.to_vec();
        let named = fields.count(NAMED_POSITIONS_MAX, "named positions")?;
        let positions = take_positions(&mut fields, named)?;
        let mut links = CommitLinks::default();
        for _ in 0..fields.count(LINKS_MAX, "commit links")? {
            links.0.push((fields.u64()?, fields.address("a commit link")?));
        }
        let mut rows = Vec::new();
        for _ in 0..fields.count(INCARNATIONS_READ_MAX, "incarnations")? {
            let number = fields.number("an incarnation")?;
            let start = fields.address("the start of an incarnation")?;
            let before_ends = fields.address("the end of an incarnation")?;
            rows.push(Incarnation { number, start, before_ends });
        }
        if let Some(fault) = fault_of_rows(&rows) {
            return Err(fields.malformed(fault));
        }
        if begin > until || begin_entry > entries || begin == 0 {
            return Err(fields.malformed(&format!(
                "begin {begin:#x} (entry {begin_entry}) and known commit {until:#x} (entry {entries})"
            )));
        }
        fields.end()?;
        let known = KnownCommit { until, number, entries, cookie, positions, links };
        let timeline = Arc::new(Timeline::new(log_id, rows));
        Ok(Self { clean, begin, begin_entry, known: Arc::new(known), timeline })
    }
}

fn fault_of_rows(rows: &[Incarnation]) -> Option<&'static str> {
    let rise = rows.windows(2).all(|pair| match pair {
        [first, second] => {
            first.number < second.number && first.start < second.start && first.start < second.before_ends
        }
        _ => true,
    });
    if rows.is_empty() {
        Some("it has no incarnation")
    } else if !rise || rows.iter().any(|row| row.before_ends > row.start) {
        Some("its incarnations do not rise")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> LogFacts {
        LogFacts {
            clean: true,
            begin: 600,
            begin_entry: 3,
            known: Arc::new(KnownCommit {
                until: 2048,
                number: 6,
                entries: 40,
                cookie: b"c".to_vec(),
                positions: Positions::from([("r".to_owned(), 700)]),
                links: CommitLinks(vec![(4, 1000), (6, 2000)]),
            }),
            timeline: Arc::new(Timeline::new(
                [3; 16],
                vec![
                    Incarnation { number: 1, start: 512, before_ends: 512 },
                    Incarnation { number: 3, start: 1536, before_ends: 1030 },
                ],
            )),
        }
    }

    #[test]
    fn round_trip_and_every_shorter_payload_and_broken_relation_is_refused() {
        let bytes = sample().encode();
        assert_eq!(LogFacts::decode(&bytes).unwrap(), sample());
        for end in 0..bytes.len() {
            assert!(LogFacts::decode(&bytes[..end]).is_err(), "{end} bytes");
        }
        for change in [
            |facts: &mut LogFacts| facts.begin = 4096,
            |facts: &mut LogFacts| facts.begin = 0,
            |facts: &mut LogFacts| facts.begin_entry = 41,
            // Numbers that the next one of would overflow.
            |facts: &mut LogFacts| Arc::make_mut(&mut facts.known).number = u64::MAX,
            |facts: &mut LogFacts| Arc::make_mut(&mut facts.known).entries = u64::MAX,
            |facts: &mut LogFacts| {
                let row = Incarnation { number: u64::MAX, start: 512, before_ends: 512 };
                facts.timeline = Arc::new(Timeline::new([3; 16], vec![row]));
            },
            |facts: &mut LogFacts| facts.timeline = Arc::new(Timeline::new([3; 16], vec![])),
            |facts: &mut LogFacts| {
                let mut rows = facts.timeline.rows().to_vec();
                rows.reverse();
                facts.timeline = Arc::new(Timeline::new([3; 16], rows));
            },
        ] {
            let mut facts = sample();
            change(&mut facts);
            assert!(LogFacts::decode(&facts.encode()).is_err(), "{facts:?}");
        }
    }

    #[test]
    fn golden_bytes() {
        let hex: String = sample().encode().iter().map(|byte| format!("{byte:02x}")).collect();
        let golden = concat!(
            "03030303030303030303030303030303",
            "01",
            "5802000000000000",
            "0300000000000000",
            "0008000000000000",
            "0600000000000000",
            "2800000000000000",
            "01000000",
            "63",
            "01000000",
            "0172bc02000000000000",
            "02000000",
            "0400000000000000e803000000000000",
            "0600000000000000d007000000000000",
            "02000000",
            "010000000000000000020000000000000002000000000000",
            "030000000000000000060000000000000604000000000000",
        );
        assert_eq!(hex, golden);
    }
}
