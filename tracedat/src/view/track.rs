//! What changes over time, a few bytes a change.

/// Appends a number, seven bits a byte, the lowest first.
pub(super) fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A value that holds until the next: pairs of the time since the change before and the value. It begins with 0, which is not known.
#[derive(Clone, Debug, Default)]
pub(super) struct Track {
    pub(super) bytes: Vec<u8>,
    time: u64,
    value: u64,
}

impl Track {
    /// Changes the value. Time does not go backwards: what is told late changes at once.
    pub(super) fn set(&mut self, time: u64, value: u64) {
        if value == self.value {
            return;
        }
        varint(time.saturating_sub(self.time), &mut self.bytes);
        varint(value, &mut self.bytes);
        self.time = self.time.max(time);
        self.value = value;
    }

    /// The value that holds now.
    pub(super) fn value(&self) -> u64 {
        self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_changes_take_room_and_late_ones_come_at_once() {
        let mut track = Track::default();
        track.set(5, 0);
        assert!(track.bytes.is_empty());
        track.set(300, 7);
        track.set(400, 7);
        track.set(200, 1);
        track.set(301, 0);
        assert_eq!(track.bytes, [0xac, 0x02, 7, 0, 1, 1, 0]);
        assert_eq!(track.value(), 0);
    }
}
