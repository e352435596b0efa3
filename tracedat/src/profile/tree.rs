//! Stacks with a common beginning as a tree, in ASCII.

use super::span::Spans;
use super::text;
use crate::report::number;
use crate::symbols::Symbols;

/// Columns left of the outermost tree.
const MARGIN: usize = 4;
/// Columns that each level of the tree takes.
const INDENT: usize = 6;

/// Appends the tree of an event's stacks, the innermost function at the root.
pub(super) fn print(mut stacks: Vec<(&[u64], Spans)>, symbols: &Symbols, out: &mut Vec<u8>) {
    if stacks.is_empty() {
        return;
    }
    stacks.sort_by_key(|(frames, _)| *frames);
    let mut prefix = vec![b' '; MARGIN + INDENT];
    // Not by recursion: a damaged trace may have stacks of any depth.
    let mut levels = vec![Level::new(branches(&stacks, 0))];
    while let Some(level) = levels.last_mut() {
        let Some((branch, is_last)) = level.next() else {
            out.extend_from_slice(&prefix);
            out.extend_from_slice(b"  \n");
            levels.pop();
            prefix.truncate(prefix.len().saturating_sub(INDENT));
            if let Some(parent) = levels.last() {
                // A line down to the next sibling, if there is one.
                out.extend_from_slice(&prefix);
                out.extend_from_slice(if parent.is_done() { b"  \n" } else { b"| \n" });
            }
            continue;
        };
        let line = if is_last { b' ' } else { b'|' };
        let total = level.total;
        for start in [b"| \n", b"+ "] as [&[u8]; 2] {
            out.extend_from_slice(&prefix);
            out.extend_from_slice(start);
        }
        print_function(branch.function, symbols, out);
        out.extend_from_slice(&prefix);
        out.push(line);
        out.extend_from_slice(b"   ");
        print_spans(&branch, total, out);
        let mut depth = branch.depth;
        let below = loop {
            depth += 1;
            let below = branches(branch.stacks, depth);
            let [only] = below.as_slice() else { break below };
            out.extend_from_slice(&prefix);
            out.push(line);
            out.extend_from_slice(b"    ");
            print_function(only.function, symbols, out);
        };
        if !below.is_empty() {
            prefix.push(line);
            number::blanks(&mut prefix, INDENT - 1);
            levels.push(Level::new(below));
        }
    }
    out.extend_from_slice(&[b' '; MARGIN + 2]);
    out.push(b'\n');
}

/// Stacks that agree up to a depth, as a slice of all stacks in order.
struct Branch<'a> {
    stacks: &'a [(&'a [u64], Spans)],
    depth: usize,
    function: u64,
    spans: Spans,
}

impl Branch<'_> {
    /// What siblings are compared by.
    fn weight(&self, timed: bool) -> u64 {
        if timed { self.spans.total } else { self.spans.count }
    }
}

/// Siblings, the heaviest last, as they are taken from the end.
struct Level<'a> {
    branches: Vec<Branch<'a>>,
    total: u64,
}

impl<'a> Level<'a> {
    fn new(mut branches: Vec<Branch<'a>>) -> Self {
        let timed = branches.iter().any(|branch| branch.spans.total > 0);
        let weights = branches.iter().map(|branch| branch.weight(timed));
        let total = weights.fold(0, u64::saturating_add);
        branches.reverse();
        branches.sort_by_key(|branch| branch.weight(timed));
        Self { branches, total }
    }

    fn next(&mut self) -> Option<(Branch<'a>, bool)> {
        Some((self.branches.pop()?, self.branches.is_empty()))
    }

    fn is_done(&self) -> bool {
        self.branches.is_empty()
    }
}

/// Divides stacks that agree before `depth` by the function they have there.
fn branches<'a>(stacks: &'a [(&'a [u64], Spans)], depth: usize) -> Vec<Branch<'a>> {
    let function = |stack: &(&[u64], Spans)| stack.0.get(depth).copied();
    let groups = stacks.chunk_by(|a, b| function(a) == function(b));
    groups
        .filter_map(|stacks| {
            let function = function(stacks.first()?)?;
            let mut spans = Spans::default();
            stacks.iter().for_each(|(_, own)| spans.merge(own));
            Some(Branch { stacks, depth, function, spans })
        })
        .collect()
}

fn print_function(address: u64, symbols: &Symbols, out: &mut Vec<u8>) {
    match symbols.find(address) {
        Some(symbol) => {
            out.extend_from_slice(symbol.name.as_bytes());
            out.extend_from_slice(b" (0x");
            number::hex(out, address, 0);
            out.extend_from_slice(b")\n");
        }
        None => {
            out.extend_from_slice(b"0x");
            number::hex(out, address, 0);
            out.push(b'\n');
        }
    }
}

/// `69% (4) time:40891 max:16825(ts:1116.331579) min:7241(ts:1116.334751) avg:10222`
fn print_spans(branch: &Branch<'_>, total: u64, out: &mut Vec<u8>) {
    let spans = &branch.spans;
    let timed = spans.total > 0;
    let share = u128::from(branch.weight(timed)) * 100 + u128::from(total / 2);
    number::decimal(out, (share / u128::from(total.max(1))) as u64);
    out.extend_from_slice(b"% (");
    number::decimal(out, spans.count);
    out.push(b')');
    if timed {
        out.extend_from_slice(b" time:");
        number::decimal(out, spans.total);
        text::print_extreme(b" max:", spans.max, out);
        text::print_extreme(b" min:", spans.min, out);
        out.extend_from_slice(b" avg:");
        number::decimal(out, spans.average());
    }
    out.push(b'\n');
}
