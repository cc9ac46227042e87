//! What a commit says, and the links between commits (`docs/format/log.md`). Pure; decoding takes arbitrary bytes.

use std::collections::BTreeMap;

use oxifaster_core::Error;

use crate::decode::{Fields, put_count};

/// Longest cookie in bytes (inclusive).
pub const COOKIE_BYTES_MAX: usize = 4096;
/// Named positions that a log keeps at most.
pub const NAMED_POSITIONS_MAX: usize = 256;

/// Addresses by name, which commits carry.
pub(crate) type Positions = BTreeMap<String, u64>;

/// The payload of a commit entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CommitRecord {
    pub(crate) number: u64,
    /// Entries below the record.
    pub(crate) entries: u64,
    /// Everything below was durable when the record was made.
    pub(crate) durable: u64,
    /// The commit before; 0: none.
    pub(crate) previous: u64,
    /// An earlier one; 0: none.
    pub(crate) earlier: u64,
    pub(crate) cookie: Vec<u8>,
    pub(crate) positions: Positions,
}

impl CommitRecord {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64 + self.cookie.len() + self.positions.len() * 32);
        for field in [self.number, self.entries, self.durable, self.previous, self.earlier] {
            bytes.extend_from_slice(&field.to_le_bytes());
        }
        put_count(&mut bytes, self.cookie.len());
        put_count(&mut bytes, self.positions.len());
        bytes.extend_from_slice(&self.cookie);
        put_positions(&mut bytes, &self.positions);
        bytes
    }

    /// # Errors
    /// `Corruption` for anything that [`encode`](Self::encode) can't have written.
    pub(crate) fn decode(payload: &[u8]) -> Result<Self, Error> {
        let mut fields = Fields::new("a commit record", payload);
        let (number, entries) =
            (fields.number("the commit number")?, fields.number("the number of entries")?);
        let durable = fields.address("the durable address")?;
        let previous = fields.address("the previous commit")?;
        let earlier = fields.address("the earlier commit")?;
        let cookie_len = fields.count(COOKIE_BYTES_MAX, "bytes of cookie")?;
        let named = fields.count(NAMED_POSITIONS_MAX, "named positions")?;
        let cookie = fields.bytes(cookie_len)?.to_vec();
        let positions = take_positions(&mut fields, named)?;
        fields.end()?;
        Ok(Self { number, entries, durable, previous, earlier, cookie, positions })
    }
}

pub(crate) fn put_positions(bytes: &mut Vec<u8>, positions: &Positions) {
    for (name, address) in positions {
        bytes.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(&address.to_le_bytes());
    }
}

pub(crate) fn take_positions(fields: &mut Fields<'_>, count: usize) -> Result<Positions, Error> {
    let mut positions = Positions::new();
    for _ in 0..count {
        let len = usize::from(fields.u8()?);
        let Ok(name) = std::str::from_utf8(fields.bytes(len)?) else {
            return Err(fields.malformed("a name that is not UTF-8"));
        };
        let address = fields.address("a named position")?;
        positions.insert(name.to_owned(), address);
    }
    Ok(positions)
}

/// Where commits are that the next ones will link to: the last commit `n`, and those with the numbers that remain of `n` when its
/// lowest bits are cleared one after the other. Numbers and addresses rise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CommitLinks(pub(crate) Vec<(u64, u64)>);

impl CommitLinks {
    /// The links of the commit `number` that follows: previous and earlier.
    pub(crate) fn of_next(&self, number: u64) -> (u64, u64) {
        let earlier_max = number & number.wrapping_sub(1);
        let previous = self.0.last().map_or(0, |(_, address)| *address);
        let earlier = self.0.iter().rev().find(|(known, _)| *known <= earlier_max);
        (previous, earlier.map_or(0, |(_, address)| *address))
    }

    /// The commit `number` was written at `address`.
    pub(crate) fn push(&mut self, number: u64, address: u64) {
        let earlier_max = number & number.wrapping_sub(1);
        self.0.retain(|(known, _)| *known <= earlier_max);
        self.0.push((number, address));
    }

    /// Commits at and above `address` were cut off; `last` is the last one that stays, if there is one.
    pub(crate) fn cut(&mut self, address: u64, last: Option<(u64, u64)>) {
        self.0.retain(|(_, known)| *known < address);
        if let Some((number, place)) = last
            && self.0.last().is_none_or(|(known, _)| *known < number)
        {
            self.0.push((number, place));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> CommitRecord {
        CommitRecord {
            number: 7,
            entries: 1000,
            durable: 512 * 9,
            previous: 512 * 8 + 3,
            earlier: 512 * 5 + 1,
            cookie: b"raft term 3".to_vec(),
            positions: Positions::from([("reader".to_owned(), 600), (String::new(), 512)]),
        }
    }

    #[test]
    fn round_trip_and_every_shorter_or_longer_payload_is_refused() {
        let bytes = sample().encode();
        assert_eq!(CommitRecord::decode(&bytes).unwrap(), sample());
        for end in 0..bytes.len() {
            assert!(CommitRecord::decode(&bytes[..end]).is_err(), "{end} bytes");
        }
        let mut longer = bytes;
        longer.push(0);
        assert!(CommitRecord::decode(&longer).is_err());
        for endless in
            [CommitRecord { number: u64::MAX, ..sample() }, CommitRecord { entries: 1 << 62, ..sample() }]
        {
            assert!(CommitRecord::decode(&endless.encode()).is_err(), "{endless:?}");
        }
    }

    #[test]
    fn golden_bytes() {
        let record = CommitRecord { positions: Positions::from([("r".to_owned(), 600)]), ..sample() };
        let hex: String = record.encode().iter().map(|byte| format!("{byte:02x}")).collect();
        let golden = concat!(
            "0700000000000000",
            "e803000000000000",
            "0012000000000000",
            "0310000000000000",
            "010a000000000000",
            "0b000000",
            "01000000",
            "72616674207465726d2033",
            "01",
            "72",
            "5802000000000000",
        );
        assert_eq!(hex, golden);
    }

    #[test]
    fn links_lead_to_the_cleared_lowest_bit() {
        let mut links = CommitLinks::default();
        for number in 1..=200_u64 {
            let (previous, earlier) = links.of_next(number);
            assert_eq!(previous, (number - 1) * 10);
            assert_eq!(earlier, (number & (number - 1)) * 10);
            links.push(number, number * 10);
            assert!(links.0.len() <= 8);
        }
        links.cut(1930, Some((192, 1920)));
        assert_eq!(links.of_next(201).0, 1920);
        links.cut(1000, Some((99, 990)));
        assert_eq!(links.of_next(202), (990, 990));
    }
}
