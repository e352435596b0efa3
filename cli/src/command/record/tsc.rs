//! From cycles of the time stamp counter to nanoseconds, as the kernel itself counts them.

use std::os::fd::AsFd;

use tracedat::metadata::TscToNsec;
use tracefs::CpuMask;

use crate::error::Error;
use crate::sys;

/// Where the page of a performance event has its numbers.
mod page {
    pub(super) const CAPABILITIES: usize = 40;
    pub(super) const TIME_SHIFT: usize = 50;
    pub(super) const TIME_MULT: usize = 52;
    pub(super) const TIME_OFFSET: usize = 56;
    pub(super) const LEN: usize = 64;
    /// The numbers for user space are valid.
    pub(super) const CAN_USER_TIME: u64 = 1 << 3;
}

/// The factor, which is the same on all CPUs.
///
/// # Errors
/// The kernel does not tell it, or CPUs differ.
pub(crate) fn factor() -> Result<TscToNsec, Error> {
    let no_factor = |why: &str| {
        Error::failure(format!("no factor from TSC cycles to nanoseconds: {why}"))
            .hint("leave --tsc2nsec out, or choose another clock with -C")
    };
    let online = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    let mut first: Option<TscToNsec> = None;
    for cpu in CpuMask::parse_list(&online).unwrap_or_default().iter() {
        let head = sys::open_dummy_perf_event(cpu).and_then(|fd| sys::mapped_head(fd.as_fd()));
        let head: [u8; page::LEN] = head.map_err(|error| no_factor("perf").because(error))?;
        let factor = parse(&head).ok_or_else(|| no_factor("the kernel does not tell it"))?;
        match &first {
            Some(other) if (other.mult, other.shift) != (factor.mult, factor.shift) => {
                return Err(no_factor("CPUs differ"));
            }
            Some(_) => {}
            None => first = Some(factor),
        }
    }
    first.ok_or_else(|| no_factor("there is no CPU"))
}

fn parse(head: &[u8; page::LEN]) -> Option<TscToNsec> {
    let number = |at: usize| Some(u64::from_ne_bytes(head.get(at..at + 8)?.try_into().ok()?));
    if number(page::CAPABILITIES)? & page::CAN_USER_TIME == 0 {
        return None;
    }
    let mult = head.get(page::TIME_MULT..page::TIME_MULT + 4)?;
    let shift = head.get(page::TIME_SHIFT..page::TIME_SHIFT + 2)?;
    Some(TscToNsec {
        mult: u32::from_ne_bytes(mult.try_into().ok()?),
        shift: u16::from_ne_bytes(shift.try_into().ok()?).into(),
        offset: number(page::TIME_OFFSET)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_where_the_page_has_them() {
        let mut head = [0; 64];
        head[40] = 0x08;
        head[50..52].copy_from_slice(&31u16.to_ne_bytes());
        head[52..56].copy_from_slice(&0x2a00_0000u32.to_ne_bytes());
        head[56..64].copy_from_slice(&77u64.to_ne_bytes());
        let factor = parse(&head).unwrap();
        assert_eq!((factor.mult, factor.shift, factor.offset), (0x2a00_0000, 31, 77));
        head[40] = 0x04;
        assert!(parse(&head).is_none());
    }
}
