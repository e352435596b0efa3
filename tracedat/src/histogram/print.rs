//! The text of a histogram: for each event or function a tree of the ways to it.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::io::{self, Write};

use rustc_hash::FxHashMap;

use super::stack_tree::{Label, Node};
use super::{Histogram, Leaf};

/// Columns between the bars of one level and the next.
const INDENT: usize = 13;
/// Columns from a bar to the names below what the bar leads to.
const NAME_COLUMN: usize = 11;

/// Chains, or their upper parts, that have in common what was printed of them so far.
type Branch = Vec<Part>;

/// What is left of a chain.
#[derive(Clone, Copy)]
struct Part {
    /// Where it goes on.
    node: Node,
    count: u64,
    /// Its place in the order in which chains occur first.
    order: usize,
}

/// Branches that begin with the same thing.
struct Group {
    label: Label,
    count: u64,
    first: usize,
    branch: Branch,
}

impl Histogram<'_> {
    /// Writes the trees, the most frequent first.
    ///
    /// # Errors
    ///
    /// The text cannot be written.
    pub fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut by_pid: FxHashMap<i32, Branch> = FxHashMap::default();
        for (order, chain) in self.chains.list.iter().enumerate() {
            let part = Part { node: chain.node, count: chain.count, order };
            by_pid.entry(chain.pid).or_default().push(part);
        }
        let groups = by_pid.into_iter().flat_map(|(pid, branch)| {
            self.groups(&branch).into_iter().map(move |group| (pid, group))
        });
        let mut groups: Vec<(i32, Group)> = groups.collect();
        groups.sort_unstable_by_key(|(_, group)| group.rank());
        let names = self.names.sorted();
        let mut out = Printer { histogram: self, out, bars: String::new() };
        for (at, (pid, group)) in groups.into_iter().enumerate() {
            if at > 0 {
                writeln!(out.out)?;
            }
            write!(out.out, "  %{:.2}", percent(group.count, self.total()))?;
            if self.options.ignore_pids {
                out.out.write_all(b" <all pids>")?;
            } else {
                write!(out.out, "  ({pid}) ")?;
                out.out.write_all(names.get(pid))?;
            }
            writeln!(out.out, " {:>30} #{}", self.name(group.label), group.count)?;
            out.tree(&group)?;
        }
        Ok(())
    }

    /// Sorts parts of chains by what they begin with, and takes that off them. Those that end here
    /// are left out.
    fn groups(&self, branch: &[Part]) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        let mut index = FxHashMap::default();
        for part in branch {
            let Some(label) = self.tree.label(part.node) else { continue };
            let at = *index.entry(label).or_insert(groups.len());
            if at == groups.len() {
                groups.push(Group { label, count: 0, first: part.order, branch: Vec::new() });
            }
            let Some(group) = groups.get_mut(at) else { continue };
            group.count += part.count;
            group.branch.push(Part { node: self.tree.parent(part.node), ..*part });
        }
        groups.sort_unstable_by_key(Group::rank);
        groups
    }

    /// Whether there is no more than one way.
    fn is_straight(&self, branch: &[Part]) -> bool {
        let mut next;
        let mut branch = branch;
        while branch.len() > 1 {
            let mut groups = self.groups(branch);
            let Some(only) = groups.pop() else { return true };
            if !groups.is_empty() {
                return false;
            }
            next = only.branch;
            branch = &next;
        }
        true
    }

    fn name(&self, label: Label) -> Cow<'_, str> {
        let known = match label {
            Label::Function(index) => {
                self.metadata.symbols().symbol(index as usize).map(|symbol| symbol.name)
            }
            Label::Event(id) => self.metadata.event_by_id(id).map(|event| &*event.format.name),
            Label::Address(address) => return format!("{address:#x}").into(),
        };
        known.unwrap_or_default().into()
    }
}

impl Group {
    /// The most frequent comes first; of those that are equal, the one that occurs last.
    fn rank(&self) -> (Reverse<u64>, Reverse<usize>) {
        (Reverse(self.count), Reverse(self.first))
    }
}

struct Printer<'h, 'o> {
    histogram: &'h Histogram<'h>,
    out: &'o mut dyn Write,
    /// What stands before the bars of the current level.
    bars: String,
}

impl Printer<'_, '_> {
    fn tree(&mut self, root: &Group) -> io::Result<()> {
        let name = self.histogram.name(root.label);
        let first = self.histogram.chains.list.get(root.first);
        let mark = if first.is_some_and(|chain| chain.leaf == Leaf::Event) { "*" } else { "" };
        writeln!(self.out, "         |\n         --- {mark}{name}{mark}")?;
        self.bars.clear();
        if self.histogram.is_straight(&root.branch) {
            self.straight(&root.branch)
        } else {
            self.bars.push_str(&" ".repeat(INDENT - 1));
            let groups = self.histogram.groups(&root.branch);
            self.branches(groups, root.count)
        }
    }

    /// Prints the only way to something.
    fn straight(&mut self, branch: &[Part]) -> io::Result<()> {
        let mut groups = self.histogram.groups(branch);
        while let Some(group) = groups.pop() {
            self.plain(group.label)?;
            groups = self.histogram.groups(&group.branch);
        }
        Ok(())
    }

    /// Prints what something is reached from without a choice.
    fn plain(&mut self, label: Label) -> io::Result<()> {
        let (name, bars) = (self.histogram.name(label), &self.bars);
        writeln!(self.out, "{bars}{:width$}{name}", "", width = NAME_COLUMN - 1)
    }

    /// Prints the ways to something that occurs `count` times.
    fn branches(&mut self, groups: Vec<Group>, count: u64) -> io::Result<()> {
        let last = groups.len().saturating_sub(1);
        for (at, group) in groups.into_iter().enumerate() {
            let (name, bars) = (self.histogram.name(group.label), &self.bars);
            let share = percent(group.count, count);
            writeln!(self.out, "{bars}|\n{bars}|--%{share:.2}-- {name}  # {}", group.count)?;
            let bar = if at == last { ' ' } else { '|' };
            self.below(group, bar)?;
        }
        Ok(())
    }

    /// Prints what is above the start of a way, up to where ways part.
    fn below(&mut self, group: Group, bar: char) -> io::Result<()> {
        let len = self.bars.len();
        self.bars.push(bar);
        let (mut branch, count) = (group.branch, group.count);
        loop {
            let groups = self.histogram.groups(&branch);
            if let [only] = groups.as_slice()
                && only.count == count
            {
                self.plain(only.label)?;
                branch.clone_from(&only.branch);
            } else if self.histogram.is_straight(&branch) {
                self.straight(&branch)?;
                break;
            } else {
                self.bars.push_str(&" ".repeat(INDENT - 1));
                self.branches(groups, count)?;
                break;
            }
        }
        self.bars.truncate(len);
        Ok(())
    }
}

fn percent(part: u64, whole: u64) -> f64 {
    100.0 * part as f64 / whole as f64
}
