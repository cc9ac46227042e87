//! Lines over two axes, with labels, a grid and a legend.

use super::axis::Axis;
use super::document::{Anchor, Document};

/// Room for what is written left of a panel, above it, and below.
const LEFT: f64 = 78.0;
const ABOVE: f64 = 34.0;
const BELOW: f64 = 48.0;
const RIGHT: f64 = 28.0;

/// A line and what it is called.
#[derive(Clone, Debug)]
pub struct Line {
    /// What the legend says; empty for none.
    pub name: String,
    /// Its points, by value.
    pub points: Vec<(f64, f64)>,
}

/// Lines over two axes.
#[derive(Clone, Debug)]
pub struct Panel {
    /// What is shown.
    pub title: String,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// The lines, at most as many as there are colours.
    pub lines: Vec<Line>,
}

impl Panel {
    /// Draws it into the rectangle whose upper left corner, width and height are given in pixels.
    pub fn draw(&self, document: &mut Document, (left, top): (f64, f64), (width, height): (f64, f64)) {
        let (x0, y0) = (left + LEFT, top + height - BELOW);
        let (x1, y1) = (left + width - RIGHT, top + ABOVE);
        let x_at = |value: f64| x0 + self.x.place(value) * (x1 - x0);
        let y_at = |value: f64| y0 + self.y.place(value) * (y1 - y0);
        document.text((x0, top + 16.0), Anchor::Start, "", &self.title);
        for (value, text) in self.x.ticks() {
            let x = x_at(*value);
            document.grid_line((x, y0), (x, y1));
            document.text((x, y0 + 17.0), Anchor::Middle, "faint", text);
        }
        for (value, text) in self.y.ticks() {
            let y = y_at(*value);
            document.grid_line((x0, y), (x1, y));
            document.text((x0 - 7.0, y + 4.5), Anchor::End, "faint", text);
        }
        document.text((x0.midpoint(x1), y0 + 38.0), Anchor::Middle, "", self.x.label());
        let middle = (left + 16.0, y0.midpoint(y1));
        document.text_turned(middle, Anchor::Middle, "", self.y.label(), -90);
        for (colour, line) in self.lines.iter().enumerate() {
            document.polyline(line.points.iter().map(|&(x, y)| (x_at(x), y_at(y))), colour);
        }
        self.draw_legend(document, x1, top + 16.0);
    }

    /// Right of the title: a dash of the line's colour and its name, the last one rightmost.
    fn draw_legend(&self, document: &mut Document, right: f64, y: f64) {
        let mut end = right;
        for (colour, line) in self.lines.iter().enumerate().rev().filter(|(_, line)| !line.name.is_empty()) {
            document.text((end, y), Anchor::End, "", &line.name);
            // About the width of the text: the reader's font is not known.
            end -= 8.0 * f64::from(u32::try_from(line.name.chars().count()).unwrap_or(0)) + 6.0;
            document.polyline([(end - 18.0, y - 4.5), (end, y - 4.5)].into_iter(), colour);
            end -= 32.0;
        }
    }
}
