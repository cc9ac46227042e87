//! Words and n-grams of real text.
//!
//! A *word* is a longest run of characters for which `char::is_alphanumeric` holds; everything else, bytes that are not
//! UTF-8 included, only separates words. An *n-gram* is `n` words in a row, joined by one space; it may cross line ends,
//! but not the end of a file.
//!
//! Chunks of one file are counted by different threads, so a chunk needs the last `n - 1` words before it: its *context*
//! ([`tail_words`]). The n-grams of a file are then exactly those that end in one of its chunks.

use std::collections::VecDeque;

/// Calls `on_word` for every word of `text`, in order.
pub fn for_each_word(text: &[u8], mut on_word: impl FnMut(&str)) {
    for chunk in text.utf8_chunks() {
        chunk
            .valid()
            .split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .for_each(&mut on_word);
    }
}

/// The last `count` words of `text`; words of `before`, the context of `text`, fill up what is missing.
#[must_use]
pub fn tail_words(before: &[String], text: &[u8], count: usize) -> Vec<String> {
    if count == 0 {
        return Vec::new();
    }
    let mut looked_at = 4096;
    loop {
        let whole = looked_at >= text.len();
        let (_, tail) = text.split_at(text.len().saturating_sub(looked_at));
        // A word may have been cut: what counts starts behind white space, which no word and no character contains.
        let safe_start =
            if whole { 0 } else { tail.iter().position(u8::is_ascii_whitespace).unwrap_or(tail.len()) };
        let (_, safe_tail) = tail.split_at(safe_start);
        let mut words = VecDeque::from_iter(before.iter().filter(|_| whole).cloned());
        for_each_word(safe_tail, |word| words.push_back(word.to_owned()));
        if whole || words.len() >= count {
            words.drain(..words.len().saturating_sub(count));
            return words.into();
        }
        looked_at *= 16;
    }
}

/// The last words of a stream, joined by spaces: yields an n-gram for every word after the first `n - 1`.
#[derive(Debug)]
pub struct NgramWindow {
    n: usize,
    lowercase: bool,
    text: String,
    lengths: VecDeque<usize>,
}

impl NgramWindow {
    /// A window of `n` words (at least 1).
    #[must_use]
    pub fn new(n: usize, lowercase: bool) -> Self {
        Self { n: n.max(1), lowercase, text: String::new(), lengths: VecDeque::new() }
    }

    /// Forgets everything: the next word is the first of a file or chunk.
    pub fn clear(&mut self) {
        self.text.clear();
        self.lengths.clear();
    }

    /// Adds a word; gives the n-gram that ends with it, if there is one.
    pub fn push(&mut self, word: &str) -> Option<&str> {
        if self.lengths.len() == self.n {
            let oldest = self.lengths.pop_front().unwrap_or(0);
            let with_space = (oldest + 1).min(self.text.len());
            self.text.drain(..with_space);
        }
        if !self.lengths.is_empty() {
            self.text.push(' ');
        }
        let start = self.text.len();
        if self.lowercase {
            self.text.extend(word.chars().flat_map(char::to_lowercase));
        } else {
            self.text.push_str(word);
        }
        self.lengths.push_back(self.text.len() - start);
        (self.lengths.len() == self.n).then_some(self.text.as_str())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{NgramWindow, for_each_word, tail_words};

    fn words(text: &[u8]) -> Vec<String> {
        let mut found = Vec::new();
        for_each_word(text, |word| found.push(word.to_owned()));
        found
    }

    fn ngrams(n: usize, lowercase: bool, text: &[u8]) -> Vec<String> {
        let mut window = NgramWindow::new(n, lowercase);
        let mut found = Vec::new();
        for_each_word(text, |word| found.extend(window.push(word).map(str::to_owned)));
        found
    }

    #[test]
    fn words_are_runs_of_letters_and_digits() {
        assert_eq!(
            words("don't stop: x86_64, größe №5".as_bytes()),
            ["don", "t", "stop", "x86", "64", "größe", "5"]
        );
        assert_eq!(words(b"a\xff\xfeb \xc3"), ["a", "b"]);
        assert_eq!(words("上海 abc".as_bytes()), ["上海", "abc"]);
        assert_eq!(words(b" ,.\n"), [""; 0]);
    }

    #[test]
    fn ngrams_slide_over_words() {
        assert_eq!(ngrams(1, false, b"a b a"), ["a", "b", "a"]);
        assert_eq!(ngrams(3, false, b"a bb\nccc d"), ["a bb ccc", "bb ccc d"]);
        assert_eq!(ngrams(3, false, b"a b"), [""; 0]);
        assert_eq!(ngrams(2, true, "Straße İX".as_bytes()), ["straße i\u{307}x"]);
    }

    #[test]
    fn the_tail_of_a_long_text_is_found_without_cutting_a_word() {
        let text = [b"first second ".repeat(5000), vec![b'.'; 5000], b" end".to_vec()].concat();
        assert_eq!(tail_words(&[], &text, 3), ["first", "second", "end"]);
        assert_eq!(tail_words(&["x".to_owned(), "y".to_owned()], b"z", 2), ["y", "z"]);
        assert_eq!(tail_words(&["x".to_owned()], b"", 2), ["x"]);
        assert_eq!(tail_words(&["x".to_owned()], b"a b", 0), [""; 0]);
        // The 4,096 bytes that are looked at first start inside of "abcdef".
        let cut = [b"x abcdef".to_vec(), vec![b' '; 4090], b"end".to_vec()].concat();
        assert_eq!(tail_words(&[], &cut, 2), ["abcdef", "end"]);
        let unbroken = [b"w ".to_vec(), vec![b'a'; 10_000]].concat();
        assert_eq!(tail_words(&[], &unbroken, 2), ["w".to_owned(), "a".repeat(10_000)]);
    }

    proptest! {
        /// Chunks with their contexts yield the n-grams of the whole text, in order.
        #[test]
        fn contexts_join_chunks(
            parts in proptest::collection::vec("([a-c]{1,3}[ .,\n]{1,3}|\u{e9}|[.] ){0,6}", 0..8),
            n in 1_usize..5,
        ) {
            let parts: Vec<String> = parts.into_iter().map(|part| part + " ").collect();
            let mut context: Vec<String> = Vec::new();
            let mut found = Vec::new();
            for part in &parts {
                let mut window = NgramWindow::new(n, false);
                for word in &context {
                    prop_assert!(window.push(word).is_none());
                }
                for_each_word(part.as_bytes(), |word| found.extend(window.push(word).map(str::to_owned)));
                context = tail_words(&context, part.as_bytes(), n - 1);
            }
            prop_assert_eq!(found, ngrams(n, false, parts.concat().as_bytes()));
        }
    }
}
