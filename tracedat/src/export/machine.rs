//! Whose records a file has, and of which day.

use std::fmt;

use crate::metadata::Metadata;

/// The machine that a file is of: of a guest the name that its host's file has for it, else the host name in
/// the file; `None` where neither is there.
pub fn machine_name<'a>(metadata: &'a Metadata, all: &[&'a Metadata]) -> Option<&'a str> {
    let guest = metadata.trace_id().and_then(|id| {
        let mut guests = all.iter().flat_map(|host| host.guests());
        guests.find(|guest| guest.trace_id == id)
    });
    match guest {
        Some(guest) => Some(&guest.name),
        None => metadata.uname()?.split(' ').nth(1).filter(|name| !name.is_empty()),
    }
}

/// The machine of each file; where the file does not tell, the name it is given here.
pub fn machine_names(files: &[(&str, &Metadata)]) -> Vec<String> {
    let all: Vec<&Metadata> = files.iter().map(|(_, metadata)| *metadata).collect();
    let name = |(name, metadata): &(&str, &Metadata)| {
        machine_name(metadata, &all).unwrap_or(name).to_owned()
    };
    files.iter().map(name).collect()
}

/// A day of the calendar, in UTC. Displayed as `2026-11-26`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Day(u64);

const NANOSECONDS: u64 = 86_400_000_000_000;

impl Day {
    /// The day of a time stamp that counts nanoseconds since 1970.
    pub fn of(time: u64) -> Self {
        Self(time / NANOSECONDS)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Years begin in March here, so that the day of a leap year comes last.
        let day = self.0 + 719_468;
        let era = day / 146_097;
        let of_era = day % 146_097;
        let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let month = (5 * of_year + 2) / 153;
        let of_month = of_year - (153 * month + 2) / 5 + 1;
        let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
        write!(f, "{:04}-{month:02}-{of_month:02}", 400 * era + year + next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (seconds, day) in [
            (0, "1970-01-01"),
            (86_399, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (1_709_164_800, "2024-02-29"),
            (1_735_689_599, "2024-12-31"),
            (4_107_542_400, "2100-03-01"),
            (18_446_744_073, "2554-07-21"),
        ] {
            assert_eq!(Day::of(seconds * 1_000_000_000).to_string(), day);
        }
    }
}
