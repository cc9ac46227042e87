//! A value lent by a session.

use std::fmt;
use std::ops::Deref;

/// The encoded bytes of a value, lent from its session's buffer until the view is dropped.
///
/// The bytes are a validated copy: whatever happens to the record meanwhile (overwritten, deleted, evicted), they do not
/// change. A view holds no epoch guard, so it holds up nobody, however long it lives (`docs/design/0003-views-copy.md`).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RecordView<'s> {
    pub(crate) bytes: &'s [u8],
}

impl RecordView<'_> {
    /// The encoded bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes
    }
}

impl Deref for RecordView<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes
    }
}

impl fmt::Debug for RecordView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecordView({} bytes)", self.bytes.len())
    }
}
