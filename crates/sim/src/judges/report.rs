//! What a judge says at its end: one line of JSON, with the seed that replays it.

use std::fmt;

use serde_json::{Map, Value};

/// A judge's verdict with its numbers.
#[derive(Clone, Debug)]
pub struct Report {
    judge: &'static str,
    seed: u64,
    counts: Map<String, Value>,
    guilty: Option<String>,
}

impl Report {
    /// Nothing was found so far.
    #[must_use]
    pub fn new(judge: &'static str, seed: u64) -> Self {
        Self { judge, seed, counts: Map::new(), guilty: None }
    }

    /// Adds a number, or a text.
    pub fn note(&mut self, name: &str, value: impl Into<Value>) {
        self.counts.insert(name.to_owned(), value.into());
    }

    /// A promise was broken.
    pub fn blame(&mut self, message: impl AsRef<str>) {
        let guilty = self.guilty.get_or_insert_default();
        if !guilty.is_empty() {
            guilty.push('\n');
        }
        guilty.push_str(message.as_ref());
    }

    /// Blames a run that says it was about something and met none of it.
    pub fn require(&mut self, names: &[&str]) {
        for name in names {
            if self.count(name).unwrap_or(0) == 0 {
                self.blame(format!("nothing was judged: {name} is 0"));
            }
        }
    }

    /// What was broken.
    #[must_use]
    pub fn guilty(&self) -> Option<&str> {
        self.guilty.as_deref()
    }

    /// A number that was added.
    #[must_use]
    pub fn count(&self, name: &str) -> Option<u64> {
        self.counts.get(name).and_then(Value::as_u64)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = Map::new();
        line.insert("judge".to_owned(), self.judge.into());
        line.insert("verdict".to_owned(), if self.guilty.is_some() { "broken" } else { "kept" }.into());
        line.insert("seed".to_owned(), self.seed.into());
        line.extend(self.counts.clone());
        write!(f, "{}", Value::Object(line))
    }
}

/// Where a judge tells how far it is.
pub type Progress<'p> = &'p mut dyn FnMut(&str);
