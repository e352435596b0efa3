//! From a guest's counter back to its host's.

use super::TscOfVcpu;

/// How the host's counter follows from a guest's: `host = (guest × scaling >> fraction_bits) + offset`, of the whole product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TscToHost {
    /// Added to the scaled counter, in the host's ticks.
    pub offset: i64,
    /// Factor, a fixed-point number; 1 without scaling.
    pub scaling: u64,
    /// Bits of `scaling` after the point; 0 without scaling.
    pub fraction_bits: u32,
    /// Bound of the error, in the host's ticks, of counters below 2⁶³.
    pub error: u64,
}

impl TscOfVcpu {
    /// The way back. Without scaling it is exact; with it a few ticks are lost, as the processor itself rounds. `None` when the
    /// numbers are none that a machine can have.
    #[must_use]
    pub fn to_host(&self) -> Option<TscToHost> {
        const MOST_BITS: u32 = 62;
        if (self.ratio, self.fraction_bits) == (1, 0) {
            let offset = self.offset.wrapping_neg();
            return Some(TscToHost { offset, scaling: 1, fraction_bits: 0, error: 0 });
        }
        let ratio = u128::from(self.ratio);
        let one = 1_u128.checked_shl(self.fraction_bits).filter(|_| self.fraction_bits < 64)?;
        // Readers take the factor for a number with a sign.
        let (fraction_bits, scaling) = (0..=MOST_BITS).rev().find_map(|bits| {
            let scaling = ((one << bits) + ratio / 2).checked_div(ratio)?;
            Some((bits, u64::try_from(scaling).ok().filter(|&scaling| scaling < 1 << 63)?))
        })?;
        let moved = i128::from(self.offset) * i128::try_from(one).ok()?;
        let offset = i64::try_from(moved.checked_div(i128::try_from(ratio).ok()?)?).ok()?;
        // Half a unit of the factor, two roundings, and what the guest's own rounding hides.
        let hidden = u64::try_from(one.div_ceil(ratio)).ok()?;
        let error = hidden.checked_add(2)?.checked_add(1 << (MOST_BITS - fraction_bits))?;
        Some(TscToHost { offset: offset.checked_neg()?, scaling, fraction_bits, error })
    }
}

impl TscToHost {
    /// The host's counter at a guest's.
    #[must_use]
    pub fn apply(&self, guest: u64) -> u64 {
        let scaled = (u128::from(guest) * u128::from(self.scaling)) >> self.fraction_bits;
        (scaled as u64).wrapping_add_signed(self.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the processor does.
    fn guest(tsc: &TscOfVcpu, host: u64) -> Option<u64> {
        let scaled = (u128::from(host) * u128::from(tsc.ratio)) >> tsc.fraction_bits;
        u64::try_from(i128::try_from(scaled).ok()? + i128::from(tsc.offset)).ok()
    }

    #[test]
    fn without_scaling_the_way_back_is_exact() {
        for offset in [0, 5, -113_219_846_287, i64::MIN + 1, i64::MAX] {
            let back = TscOfVcpu { offset, ratio: 1, fraction_bits: 0 }.to_host().unwrap();
            assert_eq!((back.error, back.scaling), (0, 1));
            for host in [1 << 62, 3_000_000_000 * 86_400, u64::MAX / 2] {
                assert_eq!(back.apply(host.wrapping_add_signed(offset)), host, "{offset}");
            }
        }
    }

    #[test]
    fn with_scaling_it_is_within_its_bound() {
        let mut cases = 0;
        // Intel has 48 bits after the point, AMD 32.
        for bits in [48, 32] {
            for per_mille in [1_u64, 250, 333, 500, 999, 1001, 1500, 2718, 10_000, 60_000] {
                let ratio = ((u128::from(per_mille) << bits) / 1000) as u64;
                for offset in [0, 1, -1, 987_654_321_987_654, -987_654_321_987_654] {
                    let tsc = TscOfVcpu { offset, ratio, fraction_bits: bits };
                    let back = tsc.to_host().unwrap();
                    // At a factor of a thousandth a tick of the guest is a thousand of the host's.
                    assert!(back.error <= 2000 / per_mille + 1030, "{tsc:?} {back:?}");
                    for host in [1_u64 << 40, 3_000_000_000 * 86_400 * 365, (1 << 57) + 12_345] {
                        let Some(time) = guest(&tsc, host).filter(|&time| time < 1 << 63) else {
                            continue;
                        };
                        let error = back.apply(time).abs_diff(host);
                        assert!(error <= back.error, "{error} > {back:?} of {tsc:?} at {host}");
                        cases += 1;
                    }
                }
            }
        }
        assert!(cases > 200, "{cases}");
    }

    #[test]
    fn numbers_of_no_machine_give_nothing() {
        for (offset, ratio, fraction_bits) in
            [(0, 0, 48), (0, 5, 64), (i64::MAX, 1, 48), (i64::MIN, 1, 63)]
        {
            let tsc = TscOfVcpu { offset, ratio, fraction_bits };
            assert_eq!(tsc.to_host(), None, "{tsc:?}");
        }
    }
}
