//! Where the data of guests goes: a file, or who takes their records while they are recorded.

use std::path::Path;

use trace_virt::host::{CpuReport, GuestSession};
use tracedat::ByteOrder;
use tracedat::layout::OptionId;

use super::file::Closed;
use super::output::GuestOutput;
use crate::command::record::plan::GuestPlan;
use crate::error::Error;

/// Where the data of a guest goes.
pub(crate) trait GuestSink: Sized + Send {
    /// What is there before the guest is asked to record.
    type Place: Send;

    /// What becomes of what a guest has sent, in one word.
    const KEPT: &'static str;

    /// Lets the data of a guest that records flow.
    fn open(
        place: Self::Place,
        session: &mut GuestSession,
        plan: &GuestPlan,
    ) -> Result<Self, Error>;

    /// Where what the guest's command writes goes.
    fn output() -> GuestOutput;

    /// The file, if it is one.
    fn path(&self) -> Option<&Path>;

    /// What ties it to other files.
    fn trace_id(&self) -> u64;

    /// The byte order of the guest.
    fn byte_order(&self) -> ByteOrder;

    /// All that was to come `came`: adds what the guest told last, and what is known here.
    fn close(
        self,
        tail: &[u8],
        options: Vec<(OptionId, Vec<u8>)>,
        came: &[CpuReport],
    ) -> Result<Closed, Error>;
}

/// Makes the place for the data of a guest.
pub(crate) type MakePlace<'a, S> =
    &'a (dyn Fn(&GuestPlan) -> Result<<S as GuestSink>::Place, Error> + Sync);
