//! What has started and not ended yet.

use rustc_hash::FxHashMap;

use super::tally::Key;

/// Starts by what ends them; of several, the last one ends first.
#[derive(Clone, Debug, Default)]
pub(super) struct Pending {
    last: FxHashMap<Key, u32>,
    starts: Vec<Started>,
    free: Vec<u32>,
    serial: u64,
}

#[derive(Clone, Copy, Debug)]
struct Started {
    before: Option<u32>,
    serial: u64,
    /// The only CPU where it can end; `None` for any.
    cpu: Option<u32>,
    start: Start,
}

/// Something that started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Start {
    /// Time stamp.
    pub(super) time: u64,
    /// What it is counted under when it ends.
    pub(super) value: u64,
    /// The stack that was recorded with it, and when.
    pub(super) stack: Option<(u32, u64)>,
}

/// Names a start for as long as it is pending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    place: u32,
    serial: u64,
}

impl Pending {
    /// Keeps a start until [`Pending::end`] asks for the key. It may end on `cpu` only, if there is one.
    pub(super) fn start(&mut self, key: Key, cpu: Option<u32>, time: u64, value: u64) -> Ticket {
        self.serial += 1;
        let started = Started {
            before: self.last.get(&key).copied(),
            serial: self.serial,
            cpu,
            start: Start { time, value, stack: None },
        };
        let place = match self.free.pop() {
            Some(place) => {
                self.starts[place as usize] = started;
                place
            }
            None => {
                self.starts.push(started);
                (self.starts.len() - 1) as u32
            }
        };
        self.last.insert(key, place);
        Ticket { place, serial: self.serial }
    }

    /// Takes the last start of the key.
    pub(super) fn end(&mut self, key: Key) -> Option<Start> {
        let place = *self.last.get(&key)?;
        let started = self.starts.get_mut(place as usize)?;
        // The place may be taken again: old tickets no longer name it.
        started.serial = 0;
        let started = *started;
        match started.before {
            Some(before) => self.last.insert(key, before),
            None => self.last.remove(&key),
        };
        self.free.push(place);
        Some(started.start)
    }

    /// Forgets what may have ended among records that were lost on a CPU.
    pub(super) fn lose(&mut self, cpu: u32) {
        let Self { last, starts, free, .. } = self;
        last.retain(|_, newest| {
            let (mut kept, mut after) = (None, None::<u32>);
            let mut next = Some(*newest);
            while let Some(place) = next {
                let Some(started) = starts.get_mut(place as usize) else { break };
                next = started.before.take();
                if started.cpu.is_none_or(|own| own == cpu) {
                    started.serial = 0;
                    free.push(place);
                    continue;
                }
                match after.and_then(|after| starts.get_mut(after as usize)) {
                    Some(after) => after.before = Some(place),
                    None => kept = Some(place),
                }
                after = Some(place);
            }
            *newest = kept.unwrap_or(*newest);
            kept.is_some()
        });
    }

    /// Gives a start its stack, if it has not ended.
    pub(super) fn attach(&mut self, ticket: Ticket, stack: u32, time: u64) {
        let started = self.starts.get_mut(ticket.place as usize);
        if let Some(started) = started.filter(|started| started.serial == ticket.serial) {
            started.start.stack = Some((stack, time));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tally::Owner;
    use super::*;

    fn key(value: u64) -> Key {
        Key { owner: Owner::Machine, event: 1, value }
    }

    #[test]
    fn last_start_ends_first_and_old_tickets_are_worth_nothing() {
        let mut pending = Pending::default();
        let first = pending.start(key(7), None, 10, 0);
        let second = pending.start(key(7), None, 20, 1);
        assert_eq!(pending.end(key(8)), None);
        pending.attach(second, 3, 21);
        let end = pending.end(key(7));
        assert_eq!(end, Some(Start { time: 20, value: 1, stack: Some((3, 21)) }));
        pending.start(key(9), None, 30, 2);
        pending.attach(second, 4, 31);
        assert_eq!(pending.end(key(9)), Some(Start { time: 30, value: 2, stack: None }));
        pending.attach(first, 5, 11);
        let end = pending.end(key(7));
        assert_eq!(end, Some(Start { time: 10, value: 0, stack: Some((5, 11)) }));
        assert_eq!(pending.end(key(7)), None);
    }

    #[test]
    fn what_may_have_ended_unseen_is_forgotten() {
        let mut pending = Pending::default();
        for (number, cpu) in
            [Some(0), None, Some(1), Some(0), Some(1), Some(0)].into_iter().enumerate()
        {
            pending.start(key(7), cpu, number as u64, 0);
        }
        let anywhere = pending.start(key(8), None, 9, 0);
        pending.lose(0);
        pending.attach(anywhere, 1, 1);
        let ended = std::iter::from_fn(|| pending.end(key(7))).map(|start| start.time);
        assert_eq!(ended.collect::<Vec<_>>(), [4, 2]);
        assert_eq!(pending.end(key(8)), None);
        assert_eq!(pending.free.len(), pending.starts.len());
    }
}
