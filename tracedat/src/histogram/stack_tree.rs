//! All stacks of a trace as one tree, the outermost caller nearest to the root.

use rustc_hash::FxHashMap;

/// Deepest stack that is kept; what is called from there replaces what is there. Kernel stacks have
/// no room for that many calls.
const MAX_DEPTH: u32 = 1024;

/// What stands in a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Label {
    /// A function, by its index among the symbols.
    Function(u32),
    /// An address without a function.
    Address(u64),
    /// An event, by its number.
    Event(u16),
}

/// A stack: its innermost entry, whose callers are its parents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Node(u32);

impl Node {
    /// The stack without entries.
    pub(super) const ROOT: Self = Self(0);
}

struct Entry {
    label: Label,
    parent: Node,
    depth: u32,
}

/// The stacks that occur.
pub(super) struct StackTree {
    entries: Vec<Entry>,
    children: FxHashMap<(Node, Label), Node>,
}

impl StackTree {
    pub(super) fn new() -> Self {
        let root = Entry { label: Label::Event(0), parent: Node::ROOT, depth: 0 };
        Self { entries: vec![root], children: FxHashMap::default() }
    }

    /// The stack with one more call.
    #[inline]
    pub(super) fn push(&mut self, mut parent: Node, label: Label) -> Node {
        let mut depth = self.depth(parent);
        if depth >= MAX_DEPTH {
            parent = self.parent(parent);
            depth -= 1;
        }
        let next = Node(self.entries.len() as u32);
        let entries = &mut self.entries;
        *self.children.entry((parent, label)).or_insert_with(|| {
            entries.push(Entry { label, parent, depth: depth + 1 });
            next
        })
    }

    /// The innermost entry.
    #[inline]
    pub(super) fn label(&self, node: Node) -> Option<Label> {
        let entry = self.entries.get(node.0 as usize)?;
        (node != Node::ROOT).then_some(entry.label)
    }

    /// The stack without its innermost entry.
    #[inline]
    pub(super) fn parent(&self, node: Node) -> Node {
        self.entries.get(node.0 as usize).map_or(Node::ROOT, |entry| entry.parent)
    }

    /// How many entries it has.
    #[inline]
    pub(super) fn depth(&self, node: Node) -> u32 {
        self.entries.get(node.0 as usize).map_or(0, |entry| entry.depth)
    }

    /// The stack without what is deeper.
    pub(super) fn truncate(&self, mut node: Node, depth: u32) -> Node {
        while self.depth(node) > depth {
            node = self.parent(node);
        }
        node
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_calls_are_the_same_stack() {
        let mut tree = StackTree::new();
        let outer = tree.push(Node::ROOT, Label::Function(7));
        let inner = tree.push(outer, Label::Event(7));
        assert_eq!(tree.push(outer, Label::Event(7)), inner);
        assert_ne!(tree.push(Node::ROOT, Label::Event(7)), inner);
        assert_eq!((tree.label(inner), tree.depth(inner)), (Some(Label::Event(7)), 2));
        assert_eq!(tree.truncate(inner, 1), outer);
        assert_eq!((tree.truncate(inner, 0), tree.label(Node::ROOT)), (Node::ROOT, None));
    }

    #[test]
    fn stacks_do_not_grow_without_end() {
        let mut tree = StackTree::new();
        let mut node = Node::ROOT;
        for call in 0..2 * MAX_DEPTH {
            node = tree.push(node, Label::Function(call));
        }
        assert_eq!(tree.depth(node), MAX_DEPTH);
        assert_eq!(tree.label(node), Some(Label::Function(2 * MAX_DEPTH - 1)));
    }
}
