//! What a host sends at the end that was recorded for this machine, its guest. None of it is trusted.

use tracedat::clock::TimeShift;
use tracedat::layout::OptionId;
use tracedat::write::{ahead, option};
use tracedat::{Abi, Reader};

/// Bytes of a TSC2NSEC option: multiplier, shift, offset.
const TSC_TO_NSEC_LEN: usize = 16;

/// The head that came first, and how its file is told at the end.
pub(super) struct ProxyHead {
    /// As it came.
    head: Vec<u8>,
    trace_id: u64,
}

impl ProxyHead {
    /// Makes `head` one that can be read while there are no options yet.
    ///
    /// # Errors
    /// It is no head of version 7, or is damaged.
    pub(super) fn new(
        head: &mut Vec<u8>,
        trace_id: u64,
        cpus: u32,
    ) -> Result<Self, tracedat::WriteError> {
        let came = head.clone();
        if ahead::is_ahead(&came)? {
            let order = Abi::NATIVE.byte_order;
            let known = [option::trace_id(trace_id, order), option::cpu_count(cpus, order)];
            *head = ahead::with_options(std::mem::take(head), &known)?;
        }
        Ok(Self { head: came, trace_id })
    }

    /// The whole head, with the sections that came at the end.
    ///
    /// # Errors
    /// They do not make a head that can be read.
    pub(super) fn whole(&self, sections: &[u8]) -> Result<Vec<u8>, String> {
        if sections.is_empty() {
            return Err("it sent nothing that completes its file".to_owned());
        }
        let whole = [&self.head, sections].concat();
        match Reader::parse(whole.clone()) {
            Ok(_) => Ok(whole),
            Err(error) => Err(format!("what it sent to complete its file makes no sense: {error}")),
        }
    }

    /// The options for this machine's own file, whose machine has so many CPUs, and how many comparisons of clocks are in
    /// them.
    ///
    /// # Errors
    /// What makes no sense; then none of them is of use.
    pub(super) fn own_options(&self, packed: &[u8], cpus: u32) -> Result<OwnOptions, String> {
        let nonsense =
            |error| format!("the options it sent for this machine make no sense: {error}");
        let options = ahead::unpacked_options(packed, Abi::NATIVE.byte_order).map_err(nonsense)?;
        let mut own = OwnOptions::default();
        for (id, data) in options {
            match id {
                OptionId::TIME_SHIFT => {
                    let shift = TimeShift::from_option(&data, Abi::NATIVE).map_err(nonsense)?;
                    self.check(&shift, cpus)?;
                    own.samples += shift.cpus.iter().map(Vec::len).sum::<usize>();
                    own.options.push(option::time_shift(&shift, Abi::NATIVE.byte_order));
                }
                OptionId::TSC_TO_NSEC if data.len() == TSC_TO_NSEC_LEN => {
                    own.options.push((id, data));
                }
                other => return Err(format!("it sent option {} for this machine's file", other.0)),
            }
        }
        Ok(own)
    }

    fn check(&self, shift: &TimeShift, cpus: u32) -> Result<(), String> {
        if shift.peer != self.trace_id {
            let (peer, own) = (shift.peer, self.trace_id);
            return Err(format!("its clock is that of trace {peer:#x}, its trace is {own:#x}"));
        }
        let told = shift.cpus.len();
        if told > cpus as usize {
            return Err(format!("it compared the clocks of {told} CPUs, and there are {cpus}"));
        }
        Ok(())
    }
}

/// Options for this machine's own file.
#[derive(Debug, Default, PartialEq)]
pub(super) struct OwnOptions {
    pub(super) options: Vec<(OptionId, Vec<u8>)>,
    /// Comparisons of clocks in them.
    pub(super) samples: usize,
}

#[cfg(test)]
mod tests {
    use tracedat::clock::ClockSample;

    use super::*;

    const ORDER: tracedat::ByteOrder = Abi::NATIVE.byte_order;

    fn head() -> ProxyHead {
        ProxyHead { head: Vec::new(), trace_id: 7 }
    }

    fn shift(peer: u64, cpus: usize) -> Vec<u8> {
        let sample = ClockSample { time: 5, offset: -9, scaling: 1, fraction_bits: 0 };
        let shift = TimeShift { peer, interpolate: true, cpus: vec![vec![sample, sample]; cpus] };
        ahead::packed_options(&[option::time_shift(&shift, ORDER)], ORDER).unwrap()
    }

    #[test]
    fn clocks_of_this_machine_against_that_host_are_taken() {
        let own = head().own_options(&shift(7, 2), 2).unwrap();
        assert_eq!((own.options.len(), own.samples), (1, 4));
        assert_eq!(ahead::packed_options(&own.options, ORDER).unwrap(), shift(7, 2));
        assert_eq!(head().own_options(&[], 2).unwrap(), OwnOptions::default());
    }

    #[test]
    fn all_else_is_refused_with_a_reason() {
        let cut = shift(7, 2);
        let other = ahead::packed_options(&[option::cpu_count(3, ORDER)], ORDER).unwrap();
        for (packed, part) in [
            (shift(8, 2), "trace 0x8"),
            (shift(7, 3), "3 CPUs, and there are 2"),
            (cut[..cut.len() - 1].to_vec(), "make no sense"),
            (b"garbage".to_vec(), "make no sense"),
            (other, "sent option 8"),
        ] {
            let error = head().own_options(&packed, 2).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn sections_that_complete_no_head_are_refused() {
        let error = head().whole(b"garbage").unwrap_err();
        assert!(error.contains("makes no sense"), "{error}");
        assert!(head().whole(b"").unwrap_err().contains("nothing"));
    }
}
