//! Which records filters let through.

use rustc_hash::FxHashMap;

use super::file::ReportFile;
use super::options::{Compat, ReportFilter, ReportOptions};
use crate::event_format::EventFormat;
use crate::filter::{FilterContext, Program};
use crate::read::Candidate;

/// What the filters of a file say about one event.
#[derive(Debug, Default)]
pub(crate) struct EventFilters {
    /// Shown when one of these holds.
    shows: Vec<Program>,
    /// Hidden when one of these holds, whatever else does.
    hides: Vec<Program>,
    /// Whether it belongs to the event before it on its CPU.
    follows: bool,
}

impl EventFilters {
    /// Whether a record of the event could be shown where filters say what is.
    fn may_show(&self) -> bool {
        self.follows || !self.shows.is_empty()
    }

    /// Compiles the filters that speak of an event of the given file.
    pub(crate) fn new(filters: &[ReportFilter], file: usize, format: &EventFormat) -> Self {
        let mut made = Self::default();
        for filter in filters.iter().filter(|filter| filter.input.is_none_or(|i| i == file)) {
            if let Some(event) = filter.filter.for_event(format) {
                let programs = if filter.hides { &mut made.hides } else { &mut made.shows };
                programs.push(event.compile());
            }
        }
        made.follows = matches!(format.name.as_str(), "kernel_stack" | "user_stack");
        made
    }
}

/// Decides over records in their order.
#[derive(Debug, Default)]
pub(crate) struct Selection {
    /// Per file: whether it has filters, and any that show.
    files: Vec<(bool, bool)>,
    /// Whether stack traces are shown after any event that was shown on their CPU, as the older
    /// release does, rather than only the first after their own.
    sticky: bool,
    /// Whether a stack trace that comes next is shown, by file, buffer and CPU.
    shown: FxHashMap<(usize, u32, u32), bool>,
    /// Whether one of these is.
    any_shown: bool,
    /// Per file and event.
    chances: Vec<Vec<Option<Chance>>>,
}

/// Whether records of an event may be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chance {
    /// A filter could show them.
    Some,
    /// No filter speaks of them.
    None,
    /// The file has no such event.
    NoEvent,
}

impl Selection {
    /// For so many files.
    pub(crate) fn new(options: &ReportOptions, files: usize) -> Self {
        let of_file = |file| {
            let mut own = options.filters.iter().filter(move |f| f.input.is_none_or(|i| i == file));
            (own.clone().next().is_some(), own.any(|filter| !filter.hides))
        };
        let sticky = options.compat == Compat::V3_1_6;
        let chances = vec![Vec::new(); files];
        let files = (0..files).map(of_file).collect();
        Self { files, sticky, shown: FxHashMap::default(), any_shown: false, chances }
    }

    /// Whether a file has filters.
    #[inline]
    pub(crate) fn is_filtered(&self, file: usize) -> bool {
        self.files.get(file).is_some_and(|file| file.0)
    }

    /// Whether a record may be shown, as far as its event tells.
    #[inline]
    pub(crate) fn may_show(&mut self, candidate: &Candidate<'_>, files: &[ReportFile<'_>]) -> bool {
        let &Candidate { file, buffer, cpu, data } = candidate;
        let (Some(context), Some(known)) = (files.get(file), self.chances.get_mut(file)) else {
            return true;
        };
        let Some(id) = context.event_id(data) else { return true };
        let chance = match known.get(usize::from(id)) {
            Some(Some(chance)) => *chance,
            _ => {
                let needs_match = self.files.get(file).is_some_and(|file| file.1);
                let chance = match context.slot(id) {
                    _ if !needs_match => Chance::Some,
                    Some(slot) if slot.filters.may_show() => Chance::Some,
                    Some(_) => Chance::None,
                    None => Chance::NoEvent,
                };
                if known.len() <= usize::from(id) {
                    known.resize(usize::from(id) + 1, None);
                }
                known[usize::from(id)] = Some(chance);
                chance
            }
        };
        // It comes between an event that was shown and what belongs to that.
        if chance == Chance::None
            && self.any_shown
            && !self.sticky
            && let Some(shown) = self.shown.get_mut(&(file, buffer, cpu))
        {
            *shown = false;
            self.any_shown = self.shown.values().any(|&shown| shown);
        }
        chance == Chance::Some
    }

    /// Whether a record of a filtered file is shown.
    #[inline]
    pub(crate) fn shows(
        &mut self,
        (file, buffer): (usize, u32),
        filters: Option<&EventFilters>,
        data: &[u8],
        context: &FilterContext<'_>,
    ) -> bool {
        let needs_match = self.files.get(file).is_some_and(|file| file.1);
        let Some(filters) = filters else { return !needs_match };
        let any = |programs: &[Program]| programs.iter().any(|p| p.matches(data, context));
        let hidden = !filters.hides.is_empty() && any(&filters.hides);
        let mut shown = !hidden && (!needs_match || any(&filters.shows));
        if needs_match {
            let last = self.shown.entry((file, buffer, context.cpu)).or_default();
            let before = *last;
            if filters.follows && !hidden {
                shown |= before;
            }
            *last = if self.sticky {
                // One that matches by itself brings on those after it, what is hidden ends it.
                !hidden && (shown || before)
            } else {
                match filters.follows {
                    false => shown,
                    true => before && hidden,
                }
            };
            self.any_shown |= *last;
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::{Abi, ByteOrder};
    use crate::filter::Filter;
    use crate::print_fmt::NoNames;

    fn format(name: &str) -> EventFormat {
        let abi = Abi { byte_order: ByteOrder::Little, long_size: 8 };
        let text = format!(
            "name: {name}\nID: 7\nformat:\n\tfield:u8 a;\toffset:0;\tsize:1;\tsigned:0;\n\n\
             print fmt: \"\"\n"
        );
        EventFormat::parse("test", text.as_bytes(), abi).unwrap()
    }

    /// Which of the events, with the value of their field, are shown on one CPU of file 1.
    fn shown(filters: &[(&str, bool, Option<usize>)], compat: Compat) -> Vec<bool> {
        let filters = filters.iter().map(|&(text, hides, input)| ReportFilter {
            filter: Filter::parse(text).unwrap(),
            hides,
            input,
        });
        let options = ReportOptions { filters: filters.collect(), compat, ..Default::default() };
        let mut selection = Selection::new(&options, 2);
        let names = NoNames::default();
        let context = FilterContext { cpu: 0, comm: &|_| None, names: &names };
        [
            ("x", 1),
            ("kernel_stack", 0),
            ("kernel_stack", 0),
            ("x", 2),
            ("kernel_stack", 0),
            ("y", 1),
        ]
        .into_iter()
        .map(|(name, value)| {
            let filters = EventFilters::new(&options.filters, 1, &format(name));
            let place = (1, 0);
            !selection.is_filtered(1) || selection.shows(place, Some(&filters), &[value], &context)
        })
        .collect()
    }

    #[test]
    fn one_stack_trace_is_shown_with_its_event() {
        let filters = [("x: a == 1", false, None)];
        assert_eq!(shown(&filters, Compat::V3_4), [true, true, false, false, false, false]);
        assert_eq!(shown(&filters, Compat::V3_1_6), [true, true, true, false, true, false]);
    }

    #[test]
    fn a_stack_trace_that_matches_brings_on_others_in_the_older_release() {
        let filters = [("kernel_stack: a == 0", false, None), ("y", true, None)];
        let all = [false, true, true, false, true, false];
        assert_eq!(shown(&filters, Compat::V3_4), all);
        let (names, options) = (
            NoNames::default(),
            ReportOptions {
                filters: vec![ReportFilter {
                    filter: Filter::parse("kernel_stack: a == 0").unwrap(),
                    hides: false,
                    input: None,
                }],
                compat: Compat::V3_1_6,
                ..Default::default()
            },
        );
        let mut selection = Selection::new(&options, 1);
        let context = FilterContext { cpu: 0, comm: &|_| None, names: &names };
        let filters = EventFilters::new(&options.filters, 0, &format("kernel_stack"));
        let shown =
            [1, 0, 1].map(|value| selection.shows((0, 0), Some(&filters), &[value], &context));
        assert_eq!(shown, [false, true, true]);
    }

    #[test]
    fn any_filter_shows_and_hiding_wins() {
        let both = [("x", false, None), ("y", false, Some(1)), ("x: a == 2", true, None)];
        assert_eq!(shown(&both, Compat::V3_4), [true, true, false, false, false, true]);
        // The stack trace of what is hidden is hidden too.
        let both = [("x: a == 1", false, None), ("x: a == 2", true, None)];
        assert_eq!(shown(&both, Compat::V3_1_6), [true, true, true, false, false, false]);
        assert_eq!(
            shown(&[("x", true, None)], Compat::V3_4),
            [false, true, true, false, true, true]
        );
        assert_eq!(shown(&[("x", false, Some(0))], Compat::V3_4), [true; 6]);
    }
}
