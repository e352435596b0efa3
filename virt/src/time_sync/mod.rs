//! Guest clock to host clock, with a stated error.
//!
//! ```text
//!   host                        guest
//!    ├ sent ── PROBE(seq) ────────►│
//!    │                             ├ reads its clock
//!    │◄──────── ANSWER(seq, guest) ┤
//!    └ received
//! ```
//!
//! The guest read its clock between `sent` and `received`, so `sent - guest <= offset <= received - guest`: that holds for
//! every probe, however long and however lopsided its way. A round is a few dozen probes and the offset is
//! where all their intervals overlap; the error is half of what is left. Rounds are repeated, as guest clocks drift. What comes
//! out ([`Sample`]) is what a trace file's TIME_SHIFT option stores, to be interpolated.
//!
//! Probes travel as TIME_SYNC messages of protocol `ping` on the control stream:
//!
//! | id | message | payload, big-endian |
//! |---|---|---|
//! | 1 | PROBE | u64 number, u32 clock |
//! | 2 | ANSWER | u64 number, u64 guest time |
//! | 3 | CANNOT | u64 number: the guest has no such clock |

mod clock;
mod clock_sample;
mod estimate;
mod ping;

pub use clock::{Clock, NotComparable};
pub use clock_sample::ClockSample;
pub use estimate::{Probe, Round, Sample, estimate};
pub use ping::PROTOCOL;
pub(crate) use ping::{Ping, answer};
