//! What the judges of `FasterLog` share: entries that tell whose they are, a ledger of what was shown, and a life of a log.

pub mod cuts;
pub mod damage;
pub mod entries;
mod flips;
pub mod follow;
pub mod following;
pub mod io_errors;
pub mod journal;
pub mod kill;
pub mod ledger;
pub mod life;
pub mod power_loss;
pub mod sample;
mod truncations;
