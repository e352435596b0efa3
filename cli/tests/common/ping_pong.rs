//! Markers of a host and its guest that take turns.

use libtest_mimic::Failed;

use super::check;

/// Whether every round is there: sent, seen in the guest, answered, in this order.
pub(crate) fn in_order(report: &str, rounds: u32) -> Result<(), Failed> {
    let mut places = vec![[None; 3]; rounds as usize];
    for (number, line) in report.lines().enumerate() {
        let Some((_, marker)) = line.split_once("ping ") else { continue };
        let Some((round, what)) = marker.trim_end().split_once(' ') else { continue };
        let step = match what {
            "sent" => 0,
            "in guest" => 1,
            "answered" => 2,
            _ => continue,
        };
        let round: usize = round.parse()?;
        if let Some(place) = places.get_mut(round.wrapping_sub(1)) {
            place[step] = Some(number);
        }
    }
    let broken: Vec<_> =
        (1..).zip(&places).filter(|(_, steps)| steps.iter().any(Option::is_none)).collect();
    check(broken.is_empty(), || {
        let (count, some) = (broken.len(), &broken[..broken.len().min(5)]);
        format!("not all of {count} rounds is there: {some:?}")
    })?;
    let wrong: Vec<usize> = places
        .iter()
        .enumerate()
        .filter(|(_, steps)| !steps.is_sorted())
        .map(|(round, _)| round + 1)
        .collect();
    check(wrong.is_empty(), || format!("in the wrong order: rounds {wrong:?}"))
}
