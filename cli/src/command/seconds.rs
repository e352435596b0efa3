//! Times in seconds, as users write and read them.

/// Decimal seconds, exactly, up to nanoseconds.
pub(super) fn nanoseconds(text: &str) -> Result<u64, String> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let wrong = || "not seconds as 75678.923853".to_owned();
    if !digits(whole) || !digits(fraction) || (whole.is_empty() && fraction.is_empty()) {
        return Err(wrong());
    }
    let number = |text: &str| if text.is_empty() { Ok(0) } else { text.parse::<u64>() };
    let seconds = number(whole).map_err(|error| error.to_string())?;
    let nanoseconds: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanoseconds = number(&nanoseconds).map_err(|error| error.to_string())?;
    let total = seconds.checked_mul(1_000_000_000).and_then(|ns| ns.checked_add(nanoseconds));
    total.ok_or_else(|| "more seconds than a clock can have".to_owned())
}

/// Nanoseconds as they may be given again.
pub(super) fn seconds(nanoseconds: u64) -> String {
    format!("{}.{:09}", nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_exact() {
        assert_eq!(nanoseconds("75678.923853"), Ok(75_678_923_853_000));
        assert_eq!(nanoseconds("0.0000000019"), Ok(1));
        assert_eq!(nanoseconds("5"), Ok(5_000_000_000));
        assert_eq!(seconds(75_678_923_853_001), "75678.923853001");
        for wrong in ["", ".", "-1", "1e3", "1.5s", "99999999999999999999"] {
            nanoseconds(wrong).unwrap_err();
        }
    }
}
