//! A metadata payload of any bytes is decoded without a panic, and what is accepted is exactly what was written.

use oxifaster_core::hlog::metadata::LogMetadata;

/// Decodes `bytes`; what is accepted must encode to the same bytes.
pub fn run(bytes: &[u8]) {
    let Ok(metadata) = LogMetadata::decode(bytes) else { return };
    let written = metadata.encode();
    assert!(bytes.starts_with(&written), "an accepted payload is the one that its content encodes to");
    assert!(metadata.layout().page_of(metadata.consistent_tail) == metadata.open_page.page);
}
