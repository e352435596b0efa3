//! How a session is fed: bytes in, bytes out, and when to look again. All sessions have these methods, over their fields
//! `input`, `output` and `deadline`.

/// The methods, inside the `impl` of a session.
macro_rules! session_io {
    () => {
        /// Takes bytes of the connection; returns how many. It takes none only while an event is to be taken, or a call that
        /// one of them asked for is to be made, and when the session is over.
        pub fn push(&mut self, bytes: &[u8]) -> usize {
            self.input.push(bytes)
        }

        /// Room to read into; tell by [`filled`](Self::filled) how much of it was. Where [`push`](Self::push) would take
        /// nothing it is empty, and reading into it looks like the end of the connection.
        pub fn space(&mut self) -> &mut [u8] {
            self.input.space()
        }

        /// Takes note of `count` bytes put into [`space`](Self::space).
        pub fn filled(&mut self, count: usize) {
            self.input.filled(count);
        }

        /// Bytes to be sent, after all events are done.
        #[must_use]
        pub fn output(&self) -> &[u8] {
            self.output.waiting()
        }

        /// Takes note that `count` bytes of [`output`](Self::output) were sent.
        pub fn sent(&mut self, count: usize) {
            self.output.sent(count);
        }

        /// When [`on_time`](Self::on_time) is to be called, if ever.
        #[must_use]
        pub fn next_deadline(&self) -> Option<Instant> {
            self.deadline
        }
    };
}

pub(super) use session_io;
