//! Small charts in SVG: for light and dark, without a script, readable as they are.
//!
//! Callers: `ycsb --report`.
//!
//! | file | what it is |
//! |---|---|
//! | `axis` | where a value stands, and which values have a tick |
//! | `document` | the SVG elements: text is escaped, numbers are rounded |
//! | `panel` | lines over two axes, with labels and a legend |

mod axis;
mod document;
mod panel;

pub use axis::{Axis, Scale};
pub use document::Document;
pub use panel::{Line, Panel};
