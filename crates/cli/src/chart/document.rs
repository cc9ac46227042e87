//! The elements of an SVG document: text is escaped, numbers are rounded, everything that is opened is closed.

use std::fmt::{self, Write as _};

/// Colours follow what the reader's system prefers; those of lines are told apart without green and red alone. Plain rules
/// and no variables: viewers outside of browsers know these only, and show the light ones.
const STYLE: &str = "\
svg { font: 13px system-ui, sans-serif; } .title { font-size: 17px; font-weight: 600; }
.ground { fill: #ffffff; } text { fill: #1f2328; } .faint { fill: #59636e; } .grid { stroke: #d8dee4; stroke-width: 1; }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; }
.line0 { stroke: #0b62c4; } .line1 { stroke: #c2410c; } .line2 { stroke: #15803d; } .line3 { stroke: #7e22ce; }
@media (prefers-color-scheme: dark) {
.ground { fill: #10151c; } text { fill: #e6edf3; } .faint { fill: #9aa5b1; } .grid { stroke: #2d3640; }
.line0 { stroke: #58a6ff; } .line1 { stroke: #ff9e64; } .line2 { stroke: #56d364; } .line3 { stroke: #d2a8ff; } }
";

/// Where text stands beside its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// It begins there.
    Start,
    /// Its middle is there.
    Middle,
    /// It ends there.
    End,
}

/// An SVG document that is being written.
#[derive(Clone, Debug)]
pub struct Document {
    text: String,
}

impl Document {
    /// Colours that [`polyline`](Self::polyline) knows.
    pub const COLOURS: usize = 4;

    /// A document of so many pixels. `title` is for those who hear it.
    #[must_use]
    pub fn new(width: u32, height: u32, title: &str) -> Self {
        let mut document = Self { text: String::new() };
        let title = Escaped(title);
        document.write(format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" role=\"img\">\n<title>{title}</title>\n<style>\n{STYLE}</style>\n\
             <rect width=\"100%\" height=\"100%\" class=\"ground\"/>\n"
        ));
        document
    }

    /// What the whole document shows, and one line of details.
    pub fn headline(&mut self, title: &str, details: &str) {
        self.text((24.0, 32.0), Anchor::Start, "title", title);
        self.text((24.0, 54.0), Anchor::Start, "faint", details);
    }

    /// Text at a point; `class` is one of the style sheet's, or empty.
    pub fn text(&mut self, at: (f64, f64), anchor: Anchor, class: &str, text: &str) {
        self.text_turned(at, anchor, class, text, 0);
    }

    /// Text that is turned by so many degrees around its point.
    pub fn text_turned(&mut self, (x, y): (f64, f64), anchor: Anchor, class: &str, text: &str, degrees: i32) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let turned = match degrees {
            0 => String::new(),
            _ => format!(" transform=\"rotate({degrees} {x:.1} {y:.1})\""),
        };
        let text = Escaped(text);
        self.write(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" class=\"{class}\"{turned}>{text}</text>\n"
        ));
    }

    /// A line of the grid.
    pub fn grid_line(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
        self.write(format_args!(
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" class=\"grid\"/>\n"
        ));
    }

    /// Points joined by a line, in one of the colours.
    pub fn polyline(&mut self, points: impl Iterator<Item = (f64, f64)>, colour: usize) {
        self.write(format_args!("<polyline class=\"line line{}\" points=\"", colour % Self::COLOURS));
        for (x, y) in points {
            self.write(format_args!("{x:.1},{y:.1} "));
        }
        self.write(format_args!("\"/>\n"));
    }

    /// The document.
    #[must_use]
    pub fn finish(mut self) -> String {
        self.text.push_str("</svg>\n");
        self.text
    }

    fn write(&mut self, arguments: fmt::Arguments<'_>) {
        let written = self.text.write_fmt(arguments);
        debug_assert!(written.is_ok(), "writing to a String can't fail");
    }
}

/// Text in which nothing is markup.
struct Escaped<'t>(&'t str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                // XML knows no other control characters.
                character if character.is_control() => f.write_char(' ')?,
                character => f.write_char(character)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Anchor, Document};

    #[test]
    fn text_is_never_markup() {
        let mut document = Document::new(10, 10, "a < b");
        document.text((1.0, 2.25), Anchor::End, "faint", "<x> & \"y\"\u{1}");
        let text = document.finish();
        assert!(text.contains("<title>a &lt; b</title>"), "{text}");
        let element = "<text x=\"1.0\" y=\"2.2\" text-anchor=\"end\" class=\"faint\">&lt;x&gt; &amp; &quot;y&quot; </text>";
        assert!(text.contains(element), "{text}");
        assert!(text.ends_with("</svg>\n"));
    }
}
