//! What is wrong with a query, and where.

use std::fmt;

/// A query that is not understood, or asks for what events cannot give. `Display` gives the cause;
/// [`pointed`](Self::pointed) shows the place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlError {
    /// What is wrong.
    pub message: String,
    /// The query.
    pub query: String,
    /// Byte in the query where it is wrong.
    pub position: usize,
}

impl SqlError {
    pub(super) fn new(query: &str, position: usize, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            query: query.to_owned(),
            position: position.min(query.len()),
        }
    }

    /// Line and column of the place, both from 1; columns are characters.
    pub fn line_and_column(&self) -> (usize, usize) {
        let before = self.query.get(..self.position).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        (line, column)
    }

    /// The line of the query with a caret below the place.
    pub fn pointed(&self) -> String {
        let (line, column) = self.line_and_column();
        let text = self.query.lines().nth(line - 1).unwrap_or_default();
        format!("{text}\n{:width$}^", "", width = column - 1)
    }
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.line_and_column();
        write!(f, "line {line}, column {column}: {}", self.message)
    }
}

impl std::error::Error for SqlError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_shown_in_its_line() {
        let error = SqlError::new("SELECT \u{e4},\n  pid FORM x", 16, "expected FROM");
        assert_eq!(error.to_string(), "line 2, column 6: expected FROM");
        assert_eq!(error.pointed(), "  pid FORM x\n     ^");
        assert_eq!(SqlError::new("", 7, "empty").pointed(), "\n^");
    }
}
