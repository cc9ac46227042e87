//! How far the entries in the ring are complete: the writer's walk from header to header.
//!
//! One thread has it. What it goes over it tells the ring's readers ([`LogRing::completed`]).

use crate::entry::{EntryKind, Header};
use crate::mutation::{Mutation, planted};
use crate::ring::LogRing;
use crate::shared::backoff;

/// See the module header.
#[derive(Debug)]
pub(crate) struct Frontier {
    /// Below it all entries are complete.
    pub(crate) walked: u64,
    /// User entries below it.
    pub(crate) entries: u64,
}

impl Frontier {
    /// Goes as far as entries are complete. Says whether it got any further.
    pub(crate) fn advance(&mut self, ring: &LogRing) -> bool {
        let from = self.walked;
        let tail = ring.tail();
        while self.walked < tail {
            let Some(header) = Header::decode(ring.header(self.walked)) else { break };
            self.entries += u64::from(header.kind == EntryKind::User);
            self.walked += header.words();
        }
        if self.walked == from {
            return false;
        }
        ring.completed(self.walked);
        true
    }

    /// Goes on until all below `address`, which is reserved, is complete: copies are under way.
    pub(crate) fn pass(&mut self, ring: &LogRing, address: u64) {
        let mut rounds = 0;
        while self.walked < address && !planted(Mutation::CommitOverOpenAppend) {
            if !self.advance(ring) {
                backoff(&mut rounds);
            }
        }
    }
}
