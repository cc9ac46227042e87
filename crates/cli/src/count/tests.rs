//! The pipeline with sinks in memory: exact counts whatever the chunks, failures.

use std::collections::BTreeMap;

use oxifaster_device::sync::{Arc, Mutex};

use super::{CountOptions, CountOutcome, CountSink, KeyBatch, count};
use crate::failure::Failure;
use crate::input::Source;
use crate::interrupt::Interrupt;

type Counts = BTreeMap<String, u64>;

#[derive(Clone, Default)]
struct MapSink {
    counts: Arc<Mutex<Counts>>,
    fails_at: Option<String>,
}

impl CountSink for MapSink {
    fn add_one_each(&mut self, keys: &KeyBatch) -> Result<Vec<u64>, Failure> {
        let mut counts = self.counts.lock();
        let mut add_one = |key: &[u8]| {
            let key = String::from_utf8(key.to_vec()).unwrap();
            if self.fails_at.as_ref() == Some(&key) {
                return Err(Failure::other("the device is full"));
            }
            let count = counts.entry(key).or_default();
            *count += 1;
            Ok(*count)
        };
        keys.iter().map(&mut add_one).collect()
    }
}

fn run(text: &str, ngram_words: usize, fails_at: Option<&str>) -> (CountOutcome, Counts) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("text");
    std::fs::write(&path, text).unwrap();
    let options = CountOptions {
        ngram_words,
        lowercase: true,
        top: 3,
        key_bytes_max: 40,
        chunk_bytes: 100,
        in_flight: 4,
    };
    let sink = MapSink { counts: Arc::default(), fails_at: fails_at.map(str::to_owned) };
    let sinks = vec![sink.clone(), sink.clone(), sink.clone()];
    // Twice the same file: n-grams must not cross from one file into the next.
    let sources = vec![Source::File(path.clone()), Source::File(path)];
    let outcome = count(sources, options, sinks, &Interrupt::default(), |_| {}).unwrap();
    let counts = sink.counts.lock().clone();
    (outcome, counts)
}

fn text() -> String {
    (0..3000).map(|index: u32| format!("W{} of,\n", index * index % 91)).collect()
}

#[test]
fn counts_are_exact_whatever_the_chunks() {
    for ngram_words in 1..=4 {
        let text = text();
        let words: Vec<String> = text
            .split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .map(str::to_lowercase)
            .collect();
        let mut expected = Counts::new();
        for ngram in words.windows(ngram_words) {
            *expected.entry(ngram.join(" ")).or_default() += 2;
        }
        let (outcome, counts) = run(&text, ngram_words, None);
        assert_eq!(outcome.failure, None);
        assert_eq!(counts, expected, "{ngram_words}-grams");
        assert_eq!(outcome.ngrams, expected.values().sum::<u64>());
        assert_eq!(outcome.new_ngrams, expected.len() as u64);
        assert_eq!(outcome.bytes, 2 * text.len() as u64);
        let mut best: Vec<(u64, String)> = expected.into_iter().map(|(key, count)| (count, key)).collect();
        best.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        let found: Vec<(u64, String)> = outcome
            .top
            .into_iter()
            .map(|(key, count)| (count, String::from_utf8(key.into_vec()).unwrap()))
            .collect();
        assert_eq!(found, best[..3]);
    }
}

#[test]
fn long_ngrams_are_left_out_and_reported() {
    let (outcome, counts) = run(&format!("a {} b", "x".repeat(41)), 1, None);
    assert_eq!((outcome.ngrams, outcome.too_long), (4, 2));
    assert_eq!(counts, Counts::from([("a".to_owned(), 2), ("b".to_owned(), 2)]));
}

#[test]
fn a_failing_store_ends_the_count() {
    let (outcome, _) = run(&text(), 2, Some("of w0"));
    assert_eq!(outcome.failure, Some(Failure::other("the device is full")));
}
