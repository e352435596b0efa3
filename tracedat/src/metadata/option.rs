//! Values of options.

use crate::abi::Abi;
use crate::clock::{ClockSample, ErrorSample, TimeError, TimeShift};
use crate::cursor::Cursor;
use crate::error::DecodeError;
use crate::layout::OptionId;

/// An option as it is in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionValue {
    /// What it tells.
    pub id: OptionId,
    /// Where its data starts in the file.
    pub offset: u64,
    /// Its data.
    pub data: Vec<u8>,
}

/// A guest traced together with this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guest {
    /// Its name on the host.
    pub name: String,
    /// What names its trace.
    pub trace_id: u64,
    /// Its virtual CPUs.
    pub cpus: Vec<VirtualCpu>,
}

/// A virtual CPU and the host's thread that runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VirtualCpu {
    /// Its number in the guest.
    pub cpu: u32,
    /// The host's thread, -1 when that is not known.
    pub pid: i32,
}

/// Address ranges of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcMaps<'a> {
    /// The process.
    pub pid: i32,
    /// Its program.
    pub name: &'a str,
    /// One line each: start and end in hexadecimal, then the file that is mapped there.
    pub lines: &'a str,
}

/// How cycles become nanoseconds: `(cycles × mult) >> shift`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TscToNsec {
    /// Multiplier.
    pub mult: u32,
    /// Bits to shift right after the multiplication.
    pub shift: u32,
    /// Nanoseconds at cycle 0. Stored, but not applied by any reader so far.
    pub offset: u64,
}

/// A text up to its first NUL, or what of it is UTF-8.
pub(super) fn text(data: &[u8]) -> &str {
    let text = data.split(|&byte| byte == 0).next().unwrap_or_default();
    match str::from_utf8(text) {
        Ok(text) => text,
        Err(error) => str::from_utf8(&text[..error.valid_up_to()]).unwrap_or_default(),
    }
}

/// The decimal number in the second text of DATE.
pub(super) fn uncertainty(data: &[u8]) -> Option<u64> {
    let second = data.splitn(2, |&byte| byte == 0).nth(1)?;
    text(second).parse().ok()
}

/// The clock in brackets.
pub(crate) fn selected_clock(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once('[')?;
    Some(rest.split(']').next().unwrap_or_default())
}

/// A number in ASCII as C writes them: decimal, `0x` hexadecimal, `0` octal; the nearest that
/// fits when it is too large, 0 when there is none.
pub(super) fn number(data: &[u8]) -> i64 {
    let text = text(data).trim_start();
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (radix, digits) = if let Some(hex) = text.strip_prefix("0x").or(text.strip_prefix("0X")) {
        (16, hex)
    } else if text.starts_with('0') {
        (8, text)
    } else {
        (10, text)
    };
    let mut value: i64 = 0;
    for digit in digits.chars().map_while(|c| c.to_digit(radix)) {
        let digit = if negative { -i64::from(digit) } else { i64::from(digit) };
        value = value.saturating_mul(i64::from(radix)).saturating_add(digit);
    }
    value
}

pub(super) fn proc_maps(option: &OptionValue) -> Option<ProcMaps<'_>> {
    let (head, lines) = text(&option.data).split_once('\n')?;
    let mut words = head.splitn(3, ' ');
    let pid = i32::from_str_radix(words.next()?, 16).ok()?;
    let _count = words.next()?;
    Some(ProcMaps { pid, name: words.next()?, lines })
}

pub(super) fn tsc_to_nsec(option: &OptionValue, abi: Abi) -> Option<TscToNsec> {
    let mut cursor = Cursor::new(&option.data, option.offset, abi.byte_order);
    let (mult, shift) = (cursor.u32().ok()?, cursor.u32().ok()?);
    Some(TscToNsec { mult, shift, offset: cursor.u64().unwrap_or(0) })
}

/// Decodes a TRACEID option.
pub(crate) fn trace_id(option: &OptionValue, abi: Abi) -> Result<u64, DecodeError> {
    Cursor::new(&option.data, option.offset, abi.byte_order).u64()
}

/// Decodes a GUEST option; virtual CPUs that are cut off are left out.
pub(crate) fn guest(option: &OptionValue, abi: Abi) -> Result<Guest, DecodeError> {
    let mut cursor = Cursor::new(&option.data, option.offset, abi.byte_order);
    let name = String::from_utf8_lossy(cursor.str0()?).into_owned();
    let trace_id = cursor.u64()?;
    let count = cursor.u32()?;
    let mut cpus = Vec::new();
    for _ in 0..count {
        let (Ok(cpu), Ok(pid)) = (cursor.u32(), cursor.u32()) else { break };
        cpus.push(VirtualCpu { cpu, pid: pid.cast_signed() });
    }
    Ok(Guest { name, trace_id, cpus })
}

/// Decodes a TIME_SHIFT option.
///
/// The bits after the point follow all samples, so that readers that do not know them stop before.
pub(crate) fn time_shift(option: &OptionValue, abi: Abi) -> Result<TimeShift, DecodeError> {
    let mut cursor = Cursor::new(&option.data, option.offset, abi.byte_order);
    let peer = cursor.u64()?;
    let interpolate = cursor.u32()? & 1 != 0;
    let count = cursor.u32()?;
    let mut cpus = Vec::new();
    for _ in 0..count {
        let samples = u64::from(cursor.u32()?);
        let mut times = part(&mut cursor, samples, abi)?;
        let mut offsets = part(&mut cursor, samples, abi)?;
        let mut scalings = part(&mut cursor, samples, abi)?;
        let mut cpu = Vec::new();
        while let (Ok(time), Ok(offset), Ok(scaling)) = (times.u64(), offsets.i64(), scalings.u64())
        {
            cpu.push(ClockSample { time, offset, scaling, fraction_bits: 0 });
        }
        cpus.push(cpu);
    }
    for sample in cpus.iter_mut().flatten() {
        let Ok(bits) = cursor.u64() else { break };
        sample.fraction_bits = bits;
    }
    for cpu in &mut cpus {
        cpu.sort_by_key(|sample| sample.time);
    }
    Ok(TimeShift { peer, interpolate, cpus })
}

/// Decodes a TIME_ERROR option; what is cut off is left out.
pub(super) fn time_error(option: &OptionValue, abi: Abi) -> Option<TimeError> {
    let mut cursor = Cursor::new(&option.data, option.offset, abi.byte_order);
    let mut cpus = Vec::new();
    for _ in 0..cursor.u32().ok()? {
        let Ok(count) = cursor.u32() else { break };
        let mut samples = Vec::new();
        for _ in 0..count {
            let (Ok(time), Ok(error), Ok(between)) = (cursor.u64(), cursor.u64(), cursor.u64())
            else {
                break;
            };
            samples.push(ErrorSample { time, error, between });
        }
        samples.sort_by_key(|sample| sample.time);
        cpus.push(samples);
    }
    Some(TimeError { cpus })
}

/// So many 64-bit numbers.
fn part<'a>(cursor: &mut Cursor<'a>, count: u64, abi: Abi) -> Result<Cursor<'a>, DecodeError> {
    let offset = cursor.offset();
    Ok(Cursor::new(cursor.take(count.saturating_mul(8))?, offset, abi.byte_order))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::ByteOrder;

    const LITTLE: Abi = Abi { byte_order: ByteOrder::Little, long_size: 8 };
    const BIG: Abi = Abi { byte_order: ByteOrder::Big, long_size: 8 };

    fn option(id: OptionId, data: &[u8]) -> OptionValue {
        OptionValue { id, offset: 0x40, data: data.to_vec() }
    }

    #[test]
    fn numbers_are_those_of_c() {
        for (text, value) in [
            (&b"0x10\0"[..], 16),
            (b"-5", -5),
            (b"+7", 7),
            (b"010", 8),
            (b"12x", 12),
            (b"", 0),
            (b"0x8000000000000000", i64::MAX),
            (b"-99999999999999999999", i64::MIN),
        ] {
            assert_eq!(number(text), value, "{text:?}");
        }
    }

    #[test]
    fn uncertainty_stands_behind_the_date() {
        let (_, data) = crate::write::option::date_within(0x1234, 7);
        assert_eq!(data, b"0x1234\x007\0");
        assert_eq!((number(&data), uncertainty(&data)), (0x1234, Some(7)));
        for other in [&b"0x1234\0"[..], b"0x1234", b"", b"0x1\0-7\0", b"0x1\0x"] {
            assert_eq!(uncertainty(other), None, "{other:?}");
        }
    }

    #[test]
    fn clock_is_the_one_in_brackets() {
        assert_eq!(selected_clock("local [mono] boot\n"), Some("mono"));
        assert_eq!(selected_clock("local mono"), None);
    }

    #[test]
    fn guest_keeps_the_virtual_cpus_that_are_there() {
        let data = b"vm\0\0\0\0\0\0\0\0\x09\0\0\0\x02\0\0\0\0\0\0\x10\0\0\0\0\x01\xff\xff\xff\xff";
        let guest = guest(&option(OptionId::GUEST, data), BIG).unwrap();
        assert_eq!((guest.name.as_str(), guest.trace_id), ("vm", 9));
        assert_eq!(guest.cpus, [VirtualCpu { cpu: 0, pid: 4096 }, VirtualCpu { cpu: 1, pid: -1 }]);
    }

    #[test]
    fn time_shift_has_its_fractions_after_all_cpus() {
        let mut data = Vec::new();
        data.extend(7_u64.to_le_bytes());
        data.extend([1, 0, 0, 0, 2, 0, 0, 0]);
        data.extend([2, 0, 0, 0]);
        for number in [10_i64, 20, -3, -4, 1, 2] {
            data.extend(number.to_le_bytes());
        }
        data.extend([0, 0, 0, 0]);
        for number in [0_i64, 32] {
            data.extend(number.to_le_bytes());
        }
        let shift = time_shift(&option(OptionId::TIME_SHIFT, &data), LITTLE).unwrap();
        assert_eq!((shift.peer, shift.interpolate), (7, true));
        assert_eq!(
            shift.cpus,
            [
                vec![
                    ClockSample { time: 10, offset: -3, scaling: 1, fraction_bits: 0 },
                    ClockSample { time: 20, offset: -4, scaling: 2, fraction_bits: 32 },
                ],
                vec![],
            ]
        );
        let error = time_shift(&option(OptionId::TIME_SHIFT, &data[..30]), LITTLE).unwrap_err();
        assert_eq!(error, DecodeError::Truncated { offset: 0x40 + 20, need: 16, left: 10 });
    }

    #[test]
    fn time_error_keeps_what_is_there() {
        let mut data = vec![0, 0, 0, 2, 0, 0, 0, 2];
        for number in [9_u64, 3, 1, 5, 4, 0] {
            data.extend(number.to_be_bytes());
        }
        data.extend([0, 0, 0, 9, 0]);
        let samples = vec![
            ErrorSample { time: 5, error: 4, between: 0 },
            ErrorSample { time: 9, error: 3, between: 1 },
        ];
        let error = time_error(&option(OptionId::TIME_ERROR, &data), BIG).unwrap();
        assert_eq!(error.cpus, [samples.clone(), vec![]]);
        let one = TimeError { cpus: vec![samples.clone()] };
        let (id, written) = crate::write::option::time_error(&one, ByteOrder::Big);
        assert_eq!(time_error(&option(id, &written), BIG), Some(one.clone()));
        assert_eq!(one.samples(7), samples);
        assert_eq!(time_error(&option(id, &[0, 0]), BIG), None);
    }

    #[test]
    fn process_maps_are_headed_by_pid_and_name() {
        let data = b"4c2 2 /usr/bin/my program\n1000 2000 /lib/a\n3000 4000 /lib/b\n\0";
        let option = option(OptionId::PROC_MAPS, data);
        let maps = proc_maps(&option).unwrap();
        assert_eq!((maps.pid, maps.name), (0x4c2, "/usr/bin/my program"));
        assert_eq!(maps.lines.lines().count(), 2);
    }
}
