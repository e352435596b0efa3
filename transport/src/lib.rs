//! Moves trace data and control messages between machines; ignorant of what is inside.
