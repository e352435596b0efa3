//! The smallest of many, found again in few steps when one of them grows.

/// What is compared: the time, then the place in the order of streams.
type Key = (u64, u32);

/// After all that have a time.
const ENDED: Key = (u64::MAX, u32::MAX);

/// A tree whose leaves are streams and whose nodes each hold the smaller one of the two below.
///
/// While the winner stays before the best of all others it is not moved in the tree, as one CPU
/// often has many records in a row.
pub(super) struct Tournament {
    /// Node 1 is the root, nodes `2 * n` and `2 * n + 1` are below node `n`.
    nodes: Vec<Key>,
    leaves: usize,
    winner: Key,
    runner_up: Key,
}

impl Tournament {
    /// A tree of so many streams, all of which have ended.
    pub(super) fn new(streams: usize) -> Self {
        let leaves = streams.next_power_of_two();
        Self { nodes: vec![ENDED; 2 * leaves], leaves, winner: ENDED, runner_up: ENDED }
    }

    /// Sets the times of all streams, `None` for those that have ended.
    pub(super) fn start(&mut self, times: impl Iterator<Item = Option<u64>>) {
        for (leaf, time) in (0..).zip(times) {
            if let Some(node) = self.nodes.get_mut(self.leaves + leaf) {
                *node = key(leaf, time);
            }
        }
        for node in (1..self.leaves).rev() {
            self.nodes[node] = self.nodes[2 * node].min(self.nodes[2 * node + 1]);
        }
        self.find_winner();
    }

    /// The stream that comes first.
    #[inline]
    pub(super) fn winner(&self) -> Option<usize> {
        (self.winner != ENDED).then_some(self.winner.1 as usize)
    }

    /// Sets the winner's next time.
    #[inline]
    pub(super) fn advance_winner(&mut self, time: Option<u64>) {
        let next = key(self.winner.1 as usize, time);
        if next < self.runner_up {
            self.winner = next;
        } else {
            self.replay(self.winner.1 as usize, next);
            self.find_winner();
        }
    }

    /// Sets a stream's next time.
    pub(super) fn advance(&mut self, stream: usize, time: Option<u64>) {
        if self.winner != ENDED {
            self.replay(self.winner.1 as usize, self.winner);
        }
        self.replay(stream, key(stream, time));
        self.find_winner();
    }

    #[inline]
    fn replay(&mut self, leaf: usize, mut key: Key) {
        let mut node = self.leaves + leaf;
        while node > 1 {
            self.nodes[node] = key;
            key = key.min(self.nodes[node ^ 1]);
            node /= 2;
        }
        self.nodes[1] = key;
    }

    /// The root, and the smallest of those that it was compared with.
    #[inline]
    fn find_winner(&mut self) {
        self.winner = self.nodes[1];
        self.runner_up = ENDED;
        if self.winner == ENDED {
            return;
        }
        let mut node = self.leaves + self.winner.1 as usize;
        while node > 1 {
            self.runner_up = self.runner_up.min(self.nodes[node ^ 1]);
            node /= 2;
        }
    }
}

#[inline]
fn key(stream: usize, time: Option<u64>) -> Key {
    time.map_or(ENDED, |time| (time, stream as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Merges by taking winners; the numbers of the streams in the order they come.
    fn merge(streams: &[&[u64]]) -> Vec<usize> {
        let mut left: Vec<_> = streams.iter().map(|times| times.iter().copied()).collect();
        let mut tree = Tournament::new(left.len());
        tree.start(left.iter_mut().map(Iterator::next));
        let mut order = Vec::new();
        while let Some(winner) = tree.winner() {
            order.push(winner);
            tree.advance_winner(left[winner].next());
        }
        order
    }

    #[test]
    fn the_earliest_comes_first_and_ties_keep_the_order_of_streams() {
        assert_eq!(merge(&[&[1, 4, 4], &[2, 4], &[3, 3, 5]]), [0, 1, 2, 2, 0, 0, 1, 2]);
        assert_eq!(merge(&[&[5], &[5], &[5], &[5], &[5]]), [0, 1, 2, 3, 4]);
        assert_eq!(merge(&[&[], &[7], &[]]), [1]);
        assert_eq!(merge(&[&[1, 2, 3]]), [0, 0, 0]);
        assert_eq!(merge(&[]), [0; 0]);
    }

    #[test]
    fn the_largest_time_is_a_time() {
        assert_eq!(merge(&[&[u64::MAX], &[1, u64::MAX]]), [1, 0, 1]);
    }

    #[test]
    fn a_stream_that_did_not_win_can_be_advanced() {
        let mut tree = Tournament::new(3);
        tree.start([Some(1), Some(5), Some(3)].into_iter());
        tree.advance_winner(Some(2));
        tree.advance(2, Some(9));
        assert_eq!(tree.winner(), Some(0));
        tree.advance_winner(Some(6));
        assert_eq!(tree.winner(), Some(1));
        tree.advance(1, None);
        assert_eq!(tree.winner(), Some(0));
        tree.advance(0, None);
        assert_eq!(tree.winner(), Some(2));
        tree.advance_winner(None);
        assert_eq!(tree.winner(), None);
    }

    #[test]
    fn any_number_of_streams_merges_like_a_sort() {
        let mut seed = 1_u64;
        for streams in 1..40 {
            let mut all = Vec::new();
            for stream in 0..streams {
                let mut time = 0;
                for _ in 0..20 {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    time += seed >> 61;
                    all.push((time, stream));
                }
            }
            let lists: Vec<Vec<u64>> = (0..streams)
                .map(|stream| all.iter().filter(|e| e.1 == stream).map(|e| e.0).collect())
                .collect();
            let lists: Vec<&[u64]> = lists.iter().map(Vec::as_slice).collect();
            all.sort();
            let expected: Vec<usize> = all.iter().map(|e| e.1).collect();
            assert_eq!(merge(&lists), expected);
        }
    }
}
