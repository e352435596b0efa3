//! From cycles of the time stamp counter to nanoseconds: as the kernel itself counts them, or measured.

use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use trace_virt::time_sync::Clock;
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

/// How long the counter is measured: it is read within 50 ns or so, which makes one part in a million.
const MEASURED: Duration = Duration::from_millis(50);
/// Looks at both clocks; the tightest counts.
const LOOKS: usize = 100;

/// The factor, which is the same on all CPUs. A kernel that does not keep time by the counter, as in many virtual machines, has
/// none: there it is measured, which takes a moment.
///
/// # Errors
/// CPUs differ, or the counter is none to keep time by.
pub(crate) fn factor() -> Result<TscToNsec, Error> {
    match of_kernel()? {
        Some(factor) => Ok(factor),
        None if is_constant() => {
            measured().ok_or_else(|| no_factor("it cannot be measured, either"))
        }
        None => Err(no_factor("the kernel does not tell it, and cycles have no constant length")),
    }
}

fn no_factor(why: &str) -> Error {
    Error::failure(format!("no factor from TSC cycles to nanoseconds: {why}"))
        .hint("leave --tsc2nsec out, or choose another clock with -C")
}

fn of_kernel() -> Result<Option<TscToNsec>, Error> {
    let online = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    let mut first: Option<TscToNsec> = None;
    for cpu in CpuMask::parse_list(&online).unwrap_or_default().iter() {
        let head = sys::open_dummy_perf_event(cpu).and_then(|fd| sys::mapped_head(fd.as_fd()));
        let head: [u8; page::LEN] = head.map_err(|error| no_factor("perf").because(error))?;
        let Some(factor) = parse(&head) else { return Ok(None) };
        match &first {
            Some(other) if (other.mult, other.shift) != (factor.mult, factor.shift) => {
                return Err(no_factor("CPUs differ"));
            }
            Some(_) => {}
            None => first = Some(factor),
        }
    }
    Ok(first)
}

fn measured() -> Option<TscToNsec> {
    let first = look()?;
    thread::sleep(MEASURED);
    let second = look()?;
    ratio(second.0.checked_sub(first.0)?, second.1.checked_sub(first.1)?)
}

/// Cycles and nanoseconds of one moment.
fn look() -> Option<(u64, u64)> {
    let look = || {
        let before = Clock::X86Tsc.now()?;
        let time = Clock::MonoRaw.now()?;
        let width = Clock::X86Tsc.now()?.checked_sub(before)?;
        Some((width, (before.checked_add(width / 2)?, time)))
    };
    (0..LOOKS).filter_map(|_| look()).min().map(|(_, moment)| moment)
}

/// As many bits as readers take, who know no larger number than 31 bits have.
fn ratio(cycles: u64, nanoseconds: u64) -> Option<TscToNsec> {
    (0..=31u16).rev().find_map(|shift| {
        let scaled = u128::from(nanoseconds) << shift;
        let mult = scaled.checked_div(cycles.into())?;
        let mult = i32::try_from(mult).ok()?.cast_unsigned();
        (mult > 0).then_some(TscToNsec { mult, shift: shift.into(), offset: 0 })
    })
}

/// Whether ticks are of one length, also where the processor sleeps, as far as the kernel sees.
pub(crate) fn is_constant() -> bool {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    has_constant_ticks(&text)
}

fn has_constant_ticks(cpuinfo: &str) -> bool {
    let mut flags = cpuinfo.lines().filter_map(|line| {
        let (name, words) = line.split_once(':')?;
        (name.trim_end() == "flags").then_some(words)
    });
    let are_constant = |words: &str| {
        let has = |flag| words.split_whitespace().any(|word| word == flag);
        has("constant_tsc") && has("nonstop_tsc")
    };
    flags.next().is_some_and(are_constant) && flags.all(are_constant)
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
    fn measured_factors_have_all_the_bits_there_are() {
        for (cycles, nanoseconds) in [(2_100_000, 1_000_000), (1_000, 1_000), (7, 7_000_000)] {
            let TscToNsec { mult, shift, .. } = ratio(cycles, nanoseconds).unwrap();
            assert!(mult < 1 << 31 && (shift == 31 || mult >= 1 << 30), "{mult} >> {shift}");
            let back = (u128::from(cycles) * u128::from(mult)) >> shift;
            assert!(back.abs_diff(nanoseconds.into()) <= 1, "{back}");
        }
        assert!(ratio(0, 5).is_none() && ratio(5, 0).is_none());
        assert!(ratio(1, u64::MAX).is_none());
        if is_constant() {
            let (a, b) = (measured().unwrap(), measured().unwrap());
            assert_eq!(a.shift, b.shift);
            // The processor was busy with something else meanwhile at worst, not for the time of a look.
            assert!(a.mult.abs_diff(b.mult) < a.mult / 1000, "{a:?} {b:?}");
        }
    }

    #[test]
    fn ticks_are_constant_if_they_are_on_all_cpus() {
        let constant = "processor\t: 0\nflags\t\t: fpu tsc constant_tsc nonstop_tsc\nbugs\t\t: a\n";
        let other = "processor\t: 1\nflags\t\t: fpu tsc constant_tsc_x nonstop_tsc\n";
        assert!(has_constant_ticks(constant));
        assert!(!has_constant_ticks(&format!("{constant}{other}")));
        assert!(!has_constant_ticks("Features\t: fp asimd\n"));
    }

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
