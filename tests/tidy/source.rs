//! Rust text without what is not code: comments and the contents of literals become blanks, lines stay where they are.
//!
//! A small scanner, not a parser: enough to look for words and paths without being fooled by prose.

/// `text` with every comment, and everything between the quotes of literals, replaced by blanks.
pub(crate) fn code_only(text: &str) -> String {
    let mut scanner = Scanner { rest: text.chars().collect(), at: 0, out: String::with_capacity(text.len()) };
    scanner.scan();
    scanner.out
}

struct Scanner {
    rest: Vec<char>,
    at: usize,
    out: String,
}

impl Scanner {
    fn peek(&self, ahead: usize) -> char {
        self.rest.get(self.at + ahead).copied().unwrap_or('\0')
    }

    fn keep(&mut self) {
        let character = self.peek(0);
        self.out.push(character);
        self.at += 1;
    }

    fn blank(&mut self) {
        let character = self.peek(0);
        self.out.push(if character == '\n' { '\n' } else { ' ' });
        self.at += 1;
    }

    fn done(&self) -> bool {
        self.at >= self.rest.len()
    }

    fn scan(&mut self) {
        let mut previous = ' ';
        while !self.done() {
            let (here, next) = (self.peek(0), self.peek(1));
            let in_word = previous.is_alphanumeric() || previous == '_';
            match here {
                '/' if next == '/' => self.line_comment(),
                '/' if next == '*' => self.block_comment(),
                '"' => self.string(),
                'r' if !in_word && self.raw_hashes(1).is_some() => self.raw_string(1),
                'b' | 'c' if !in_word && next == 'r' && self.raw_hashes(2).is_some() => self.raw_string(2),
                '\'' => self.quote(),
                _ => self.keep(),
            }
            previous = here;
        }
    }

    fn line_comment(&mut self) {
        while !self.done() && self.peek(0) != '\n' {
            self.blank();
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0_u32;
        while !self.done() {
            let pair = (self.peek(0), self.peek(1));
            if pair == ('/', '*') {
                depth += 1;
                self.blank();
            } else if pair == ('*', '/') {
                depth -= 1;
                self.blank();
            }
            self.blank();
            if depth == 0 {
                return;
            }
        }
    }

    fn string(&mut self) {
        self.keep();
        while !self.done() && self.peek(0) != '"' {
            if self.peek(0) == '\\' {
                self.blank();
            }
            self.blank();
        }
        if !self.done() {
            self.keep();
        }
    }

    /// The number of `#` of a raw string that starts `ahead` characters from here, if one does.
    fn raw_hashes(&self, ahead: usize) -> Option<usize> {
        let hashes = (0..).take_while(|&index| self.peek(ahead + index) == '#').count();
        (self.peek(ahead + hashes) == '"').then_some(hashes)
    }

    fn raw_string(&mut self, prefix: usize) {
        let hashes = self.raw_hashes(prefix).unwrap_or(0);
        for _ in 0..prefix + hashes + 1 {
            self.keep();
        }
        while !self.done() {
            let closes = self.peek(0) == '"' && (1..=hashes).all(|index| self.peek(index) == '#');
            if closes {
                for _ in 0..=hashes {
                    self.keep();
                }
                return;
            }
            self.blank();
        }
    }

    /// A character literal loses its content; a lifetime stays.
    fn quote(&mut self) {
        self.keep();
        if self.peek(0) == '\\' {
            self.blank();
            self.blank();
            while !self.done() && self.peek(0) != '\'' {
                self.blank();
            }
            self.keep();
        } else if self.peek(1) == '\'' {
            self.blank();
            self.keep();
        }
    }
}

/// `code` (the result of [`code_only`]) without the items that exist only in tests.
pub(crate) fn production_only(code: &str) -> String {
    let mut out = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(start) = rest.find("#[cfg(") {
        let (before, attribute) = rest.split_at(start);
        out.push_str(before);
        let (condition, after) = split_balanced(attribute.get(1..).unwrap_or(""));
        if is_test_only(condition) {
            let (item, behind) = split_item(after);
            out.extend(item.chars().filter(|&character| character == '\n'));
            rest = behind;
        } else {
            out.push('#');
            out.push_str(condition);
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

/// Whether `[cfg(..)]` holds in tests only.
pub(crate) fn is_test_only(attribute: &str) -> bool {
    let dense: String = attribute.chars().filter(|character| !character.is_whitespace()).collect();
    let Some(inside) = dense.strip_prefix("[cfg(").and_then(|rest| rest.strip_suffix(")]")) else {
        return false;
    };
    if inside == "test" {
        return true;
    }
    let all = inside.strip_prefix("all(").and_then(|rest| rest.strip_suffix(')'));
    all.is_some_and(|conditions| conditions.split(',').any(|condition| condition == "test"))
}

/// Splits behind the bracket that closes the one `text` starts with.
fn split_balanced(text: &str) -> (&str, &str) {
    let mut depth = 0_i32;
    for (index, character) in text.char_indices() {
        match character {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return text.split_at(index + character.len_utf8());
        }
    }
    (text, "")
}

/// Splits behind the item that `text` starts with: after its `;`, or after the brace that closes its body.
pub(crate) fn split_item(text: &str) -> (&str, &str) {
    let mut depth = 0_i32;
    for (index, character) in text.char_indices() {
        match character {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        // The braces of `use x::{..};` and of `const X: T = T { .. };` end nothing: their semicolon does.
        let behind = text.get(index + character.len_utf8()..).unwrap_or("");
        let ends = character == ';' || (character == '}' && !behind.trim_start().starts_with(';'));
        if depth <= 0 && ends {
            return text.split_at(index + character.len_utf8());
        }
    }
    (text, "")
}

/// The number, from 1, of the line that byte `position` is on.
pub(crate) fn line_of(text: &str, position: usize) -> usize {
    text.bytes().take(position).filter(|&byte| byte == b'\n').count() + 1
}

/// Positions at which `word` stands by itself.
pub(crate) fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let is_part = |character: Option<char>| character.is_some_and(|c| c.is_alphanumeric() || c == '_');
    code.match_indices(word).map(|(index, _)| index).filter(move |&index| {
        let (before, from) = code.split_at(index);
        !is_part(before.chars().next_back()) && !is_part(from.chars().nth(word.chars().count()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn squeezed(text: &str) -> String {
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn comments_and_literals_become_blanks() {
        let text =
            "a // unsafe\nb /* unsafe /* nested */ unsafe */ c \"unsafe \\\" unsafe\" r#\"unsafe \" x\"# d";
        assert_eq!(squeezed(&code_only(text)), "a b c \" \" r#\" \"# d");
        assert_eq!(code_only("'\"' 'a' '\\'' '\\u{1F600}' &'a str b'x'").matches('"').count(), 0);
        let lifetimes = squeezed(&code_only("fn f<'a>(x: &'a str) { br\"unsafe\"; for_r\"x\" }"));
        assert_eq!(lifetimes, "fn f<'a>(x: &'a str) { br\" \"; for_r\" \" }");
        assert_eq!(code_only("x\n/* a\nb */\ny").lines().count(), 4);
    }

    #[test]
    fn items_of_tests_are_cut_out_and_lines_stay() {
        let code = "fn a() {}\n#[cfg(test)]\nmod tests {\n fn b() {}\n}\nfn c() {}";
        let production = production_only(code);
        assert_eq!(squeezed(&production), "fn a() {} fn c() {}");
        assert_eq!(production.lines().count(), code.lines().count());
        assert_eq!(
            squeezed(&production_only("#[cfg(all(test, not(loom)))]\nuse x::{y, z};\nfn d() {}")),
            "fn d() {}"
        );
        assert!(production_only("#[cfg(not(test))]\nfn e() {}").contains("fn e"));
        assert!(production_only("#[cfg(loom)]\nfn e() {}").contains("fn e"));
    }

    #[test]
    fn words_stand_alone() {
        assert_eq!(words("unsafe_code unsafe{} not_unsafe", "unsafe").collect::<Vec<_>>(), [12]);
        assert_eq!(line_of("a\nb\nc", 4), 3);
    }
}
