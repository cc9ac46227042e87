//! Key and value types that judges store: each value shows which number it was made of, whether all of its bytes are that
//! number's, and which thread's additions it has.
//!
//! | shape | keys | values | class |
//! |---|---|---|---|
//! | [`Words`] | `u64` | `u64` | word: updated by atomic instructions |
//! | [`Fixed`] | `u64` | `[u64; 8]` | fixed: latched and sequenced |
//! | [`Varlen`] | `String` | `Vec<u8>`, 0 bytes to 8 KiB | varlen: changes its length with its number |
//! | [`Bulky`] | `u64` | `Vec<u8>`, 2 to 6 KiB | varlen: a few operations fill a page, so that memory turns over quickly |
//!
//! Rules: 1. `number(&value(n))` is `n`, and any other bytes are refused. 2. `value(0)` is what an absent key starts from in
//! an `rmw`: zeros, or nothing. 3. Values of different numbers differ in every word.

use std::fmt::Debug;

use oxifaster_workload::mix;

/// Threads that can have a lane of their own.
pub const LANES_MAX: usize = 4;

/// Types of keys and values.
pub trait Shape: Copy + Debug + Send + Sync + 'static {
    /// How reports call it.
    const NAME: &'static str;
    /// Keys.
    type Key: Clone + Debug + Ord + Send + Sync + 'static;
    /// Values.
    type Value: Clone + Debug + PartialEq + Send + Sync + 'static;

    /// The key of a number; different keys for different numbers.
    fn key(number: u64) -> Self::Key;

    /// The value of a number.
    fn value(number: u64) -> Self::Value;

    /// The number of a value.
    ///
    /// # Errors
    /// What is wrong, when it is not exactly the value of a number: it is torn, or damaged, or nobody wrote it.
    fn number(value: &Self::Value) -> Result<u64, String>;

    /// The value that holds these counters, one a thread: the other use of a value.
    fn of_lanes(counts: [u64; LANES_MAX]) -> Self::Value;

    /// Adds 1 to the counter of a thread.
    fn add_to_lane(value: &mut Self::Value, lane: usize);

    /// The counters.
    ///
    /// # Errors
    /// What is wrong, when the value can't come from [`add_to_lane`](Self::add_to_lane).
    fn lanes(value: &Self::Value) -> Result<[u64; LANES_MAX], String>;
}

/// `u64` to `u64`.
#[derive(Clone, Copy, Debug)]
pub struct Words;

/// Bits of a lane in a word: counters of up to 65,535.
const LANE_BITS: usize = 16;

impl Shape for Words {
    const NAME: &'static str = "words";
    type Key = u64;
    type Value = u64;

    fn key(number: u64) -> u64 {
        number
    }

    fn value(number: u64) -> u64 {
        number
    }

    fn number(value: &u64) -> Result<u64, String> {
        Ok(*value)
    }

    fn of_lanes(counts: [u64; LANES_MAX]) -> u64 {
        (0..).zip(counts).fold(0, |sum, (lane, count)| sum | count << (LANE_BITS * lane))
    }

    fn add_to_lane(value: &mut u64, lane: usize) {
        *value = value.wrapping_add(1 << (LANE_BITS * lane));
    }

    fn lanes(value: &u64) -> Result<[u64; LANES_MAX], String> {
        Ok(std::array::from_fn(|lane| value >> (LANE_BITS * lane) & 0xFFFF))
    }
}

/// `u64` to 64 bytes.
#[derive(Clone, Copy, Debug)]
pub struct Fixed;

/// Odd, so that multiplying by it is a bijection, and 0 stays 0.
fn odd(word: usize) -> u64 {
    mix(word as u64) | 1
}

impl Shape for Fixed {
    const NAME: &'static str = "fixed";
    type Key = u64;
    type Value = [u64; 8];

    fn key(number: u64) -> u64 {
        number
    }

    fn value(number: u64) -> [u64; 8] {
        std::array::from_fn(|word| if word == 0 { number } else { number.wrapping_mul(odd(word)) })
    }

    fn number(value: &[u64; 8]) -> Result<u64, String> {
        let [number, ..] = *value;
        match *value == Self::value(number) {
            true => Ok(number),
            false => Err(format!("words of different values: {value:x?}")),
        }
    }

    /// Each lane twice, so that half of an update shows.
    fn of_lanes(counts: [u64; LANES_MAX]) -> [u64; 8] {
        let [a, b, c, d] = counts;
        [a, b, c, d, a, b, c, d]
    }

    fn add_to_lane(value: &mut [u64; 8], lane: usize) {
        value.iter_mut().skip(lane).step_by(LANES_MAX).for_each(|count| *count = count.wrapping_add(1));
    }

    fn lanes(value: &[u64; 8]) -> Result<[u64; LANES_MAX], String> {
        let [a, b, c, d, ..] = *value;
        match *value == Self::of_lanes([a, b, c, d]) {
            true => Ok([a, b, c, d]),
            false => Err(format!("half of an update: {value:?}")),
        }
    }
}

/// Strings of different lengths to bytes of different lengths.
#[derive(Clone, Copy, Debug)]
pub struct Varlen;

/// Bytes of a number's value: mostly below 128, sometimes up to 8 KiB.
fn len_bytes(number: u64) -> usize {
    let random = mix(number ^ 0x6C65_6E67_7468);
    let bound = if random.is_multiple_of(32) { 8192 } else { 120 };
    8 + ((random >> 32) % bound) as usize
}

/// `number` in its first 8 bytes, and what follows from `number` behind them.
fn bytes_of(number: u64, len: usize) -> Vec<u8> {
    let words = (0_u64..).map(|word| if word == 0 { number } else { mix(number.wrapping_add(word << 40)) });
    words.flat_map(u64::to_le_bytes).take(len).collect()
}

/// Little-endian words of `bytes`; a last incomplete one is left out.
fn words_of(bytes: &[u8]) -> impl Iterator<Item = u64> {
    let (words, _) = bytes.as_chunks::<8>();
    words.iter().map(|&word| u64::from_le_bytes(word))
}

/// The number in the first 8 bytes, if all bytes are those of its value.
fn number_of_bytes<S: Shape<Value = Vec<u8>>>(value: &[u8]) -> Result<u64, String> {
    let Some(number) = words_of(value).next() else {
        return if value.is_empty() { Ok(0) } else { Err(format!("only {} bytes", value.len())) };
    };
    let right = S::value(number);
    if *value == right {
        return Ok(number);
    }
    let first = value.iter().zip(&right).position(|(found, right)| found != right);
    let (found, right) = (value.len(), right.len());
    Err(format!(
        "{found} bytes that begin as those of {number}, which are {right}; first difference at {first:?}"
    ))
}

impl Shape for Varlen {
    const NAME: &'static str = "varlen";
    type Key = String;
    type Value = Vec<u8>;

    fn key(number: u64) -> String {
        let padding = "-".repeat((mix(number) % 20) as usize);
        format!("key{padding}{number}")
    }

    fn value(number: u64) -> Vec<u8> {
        if number == 0 { Vec::new() } else { bytes_of(number, len_bytes(number)) }
    }

    fn number(value: &Vec<u8>) -> Result<u64, String> {
        number_of_bytes::<Self>(value)
    }

    /// The counters and then as many bytes as the counters' sum modulo 61, each of that count.
    fn of_lanes(counts: [u64; LANES_MAX]) -> Vec<u8> {
        let tail = counts.iter().sum::<u64>() % 61;
        let mut value: Vec<u8> = counts.iter().flat_map(|count| count.to_le_bytes()).collect();
        value.resize(value.len() + tail as usize, tail as u8);
        value
    }

    fn add_to_lane(value: &mut Vec<u8>, lane: usize) {
        let mut counts = [0; LANES_MAX];
        counts.iter_mut().zip(words_of(value)).for_each(|(count, word)| *count = word);
        counts.iter_mut().skip(lane).take(1).for_each(|count| *count += 1);
        *value = Self::of_lanes(counts);
    }

    fn lanes(value: &Vec<u8>) -> Result<[u64; LANES_MAX], String> {
        let mut counts = [0; LANES_MAX];
        counts.iter_mut().zip(words_of(value)).for_each(|(count, word)| *count = word);
        match *value == Self::of_lanes(counts) {
            true => Ok(counts),
            false => Err(format!("half of an update: {value:x?}")),
        }
    }
}

/// `u64` to a few KiB.
#[derive(Clone, Copy, Debug)]
pub struct Bulky;

impl Shape for Bulky {
    const NAME: &'static str = "bulky";
    type Key = u64;
    type Value = Vec<u8>;

    fn key(number: u64) -> u64 {
        number
    }

    fn value(number: u64) -> Vec<u8> {
        if number == 0 { Vec::new() } else { bytes_of(number, 2048 + (mix(number) & 0xFFF) as usize) }
    }

    fn number(value: &Vec<u8>) -> Result<u64, String> {
        number_of_bytes::<Self>(value)
    }

    fn of_lanes(counts: [u64; LANES_MAX]) -> Vec<u8> {
        Varlen::of_lanes(counts)
    }

    fn add_to_lane(value: &mut Vec<u8>, lane: usize) {
        Varlen::add_to_lane(value, lane);
    }

    fn lanes(value: &Vec<u8>) -> Result<[u64; LANES_MAX], String> {
        Varlen::lanes(value)
    }
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "the numbers of these tests are small")]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn keeps_its_rules<S: Shape>() {
        let mut keys = BTreeSet::new();
        for number in (0..2000).chain([u64::MAX, 1 << 63, 1 << 40]) {
            assert_eq!(S::number(&S::value(number)), Ok(number), "{}", S::NAME);
            assert!(keys.insert(S::key(number)), "{}: key {number} twice", S::NAME);
        }
        let mut value = S::of_lanes([0; LANES_MAX]);
        let mut counts = [0; LANES_MAX];
        for step in 0..500 {
            let lane = (mix(step) % LANES_MAX as u64) as usize;
            S::add_to_lane(&mut value, lane);
            counts[lane] += 1;
            assert_eq!(S::lanes(&value), Ok(counts), "{}", S::NAME);
        }
    }

    #[test]
    fn values_tell_their_numbers_and_lanes() {
        keeps_its_rules::<Words>();
        keeps_its_rules::<Fixed>();
        keeps_its_rules::<Varlen>();
        keeps_its_rules::<Bulky>();
    }

    #[test]
    fn an_absent_key_starts_from_number_zero() {
        assert_eq!(Words::value(0), 0);
        assert_eq!(Fixed::value(0), [0; 8]);
        assert!(Varlen::value(0).is_empty() && Bulky::value(0).is_empty());
        let mut empty = Vec::new();
        Varlen::add_to_lane(&mut empty, 2);
        assert_eq!(Varlen::lanes(&empty), Ok([0, 0, 1, 0]));
    }

    #[test]
    fn every_mixture_of_two_values_is_refused() {
        let (one, other) = (Fixed::value(5), Fixed::value(6));
        for words in 1..8 {
            let torn: [u64; 8] =
                std::array::from_fn(|word| if word < words { one[word] } else { other[word] });
            Fixed::number(&torn).unwrap_err();
        }
        for number in 1..200 {
            let value = Varlen::value(number);
            let longer = Varlen::value((number + 1..).find(|&other| len_bytes(other) > value.len()).unwrap());
            for cut in (8..value.len()).step_by(8) {
                let mut torn = longer.clone();
                torn[..cut].copy_from_slice(&value[..cut]);
                Varlen::number(&torn).unwrap_err();
            }
            Varlen::number(&longer[..value.len()].to_vec()).unwrap_err();
            if value.len() > 8 {
                Varlen::number(&value[..value.len() - 1].to_vec()).unwrap_err();
            }
        }
        let mut half = Fixed::of_lanes([1, 2, 3, 4]);
        half[0] += 1;
        Fixed::lanes(&half).unwrap_err();
        let mut half = Varlen::of_lanes([1, 2, 3, 4]);
        half[0] += 1;
        Varlen::lanes(&half).unwrap_err();
    }
}
