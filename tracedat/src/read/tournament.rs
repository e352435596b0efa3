//! The smallest of many, found again in few steps when one of them grows.

/// What is compared: the time, then the place in the order of streams. One number, as the smaller of two is then
/// found without a branch, which the processor could only guess.
type Key = u128;

/// Bits of a key for the place.
const PLACE: u32 = u32::BITS;

/// After all that have a time.
const ENDED: Key = Key::MAX;

/// A tree whose leaves are streams and whose nodes each hold the smaller one of the two below.
///
/// One CPU often has many records in a row: as long as that is so, the best of all others is known, and the winner is
/// not moved in the tree while it stays before that one. Where winners change all the time, nobody looks for it.
pub(super) struct Tournament {
    /// Node 1 is the root, nodes `2 * n` and `2 * n + 1` are below node `n`.
    nodes: Vec<Key>,
    leaves: usize,
    winner: Key,
    /// The best of all others; 0, before which nothing is, where it is not known.
    runner_up: Key,
    /// The winner before this one won more than once.
    in_rows: bool,
}

impl Tournament {
    /// A tree of so many streams, all of which have ended.
    pub(super) fn new(streams: usize) -> Self {
        let leaves = streams.next_power_of_two();
        let nodes = vec![ENDED; 2 * leaves];
        Self { nodes, leaves, winner: ENDED, runner_up: 0, in_rows: false }
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
        self.take_winner();
    }

    /// The stream that comes first.
    #[inline]
    pub(super) fn winner(&self) -> Option<usize> {
        (self.winner != ENDED).then_some(stream(self.winner))
    }

    /// Sets the winner's next time.
    #[inline]
    pub(super) fn advance_winner(&mut self, time: Option<u64>) {
        let before = stream(self.winner);
        let next = key(before, time);
        if next < self.runner_up {
            self.winner = next;
            self.in_rows = true;
            return;
        }
        self.replay(before, next);
        self.take_winner();
        let stays = stream(self.winner) == before;
        if stays || self.in_rows {
            self.find_runner_up();
        }
        self.in_rows = stays;
    }

    /// Sets a stream's next time.
    pub(super) fn advance(&mut self, other: usize, time: Option<u64>) {
        if self.winner != ENDED {
            self.replay(stream(self.winner), self.winner);
        }
        self.replay(other, key(other, time));
        self.take_winner();
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

    #[inline]
    fn take_winner(&mut self) {
        self.winner = self.nodes[1];
        self.runner_up = 0;
    }

    /// The smallest of those that the winner was compared with.
    fn find_runner_up(&mut self) {
        if self.winner == ENDED {
            return;
        }
        self.runner_up = ENDED;
        let mut node = self.leaves + stream(self.winner);
        while node > 1 {
            self.runner_up = self.runner_up.min(self.nodes[node ^ 1]);
            node /= 2;
        }
    }
}

#[inline]
fn key(stream: usize, time: Option<u64>) -> Key {
    time.map_or(ENDED, |time| Key::from(time) << PLACE | Key::from(stream as u32))
}

#[inline]
fn stream(key: Key) -> usize {
    key as u32 as usize
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
