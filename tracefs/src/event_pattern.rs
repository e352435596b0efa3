//! Patterns of event names.
