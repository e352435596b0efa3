//! Text as troff's man macros have it.

/// A page that grows.
pub(super) struct Roff(String);

impl Roff {
    /// The title line, and the section NAME.
    pub(super) fn page(name: &str, section: u8, about: &str) -> Self {
        let version = env!("CARGO_PKG_VERSION");
        let title = escaped(&name.to_uppercase());
        let mut page =
            Self(format!(".TH {title} {section} \"\" \"trace-cmd {version}\" \"Tracing\"\n"));
        page.section("Name");
        page.line(&format!("{} \\- {}", escaped(name), escaped(about)));
        page
    }

    /// What was written.
    pub(super) fn into_text(self) -> String {
        self.0
    }

    /// Begins a section.
    pub(super) fn section(&mut self, title: &str) {
        self.line(&format!(".SH {}", quoted(&title.to_uppercase())));
    }

    /// Begins a part of a section.
    pub(super) fn part(&mut self, title: &str) {
        self.line(&format!(".SS {}", quoted(title)));
    }

    /// A term, in bold, with what it means beside or below it.
    pub(super) fn term(&mut self, term: &str, meaning: &str) {
        self.line(&format!(".TP\n.B {}", quoted(term)));
        self.line(&plain(meaning));
    }

    /// Lines as they stand.
    pub(super) fn literal(&mut self, text: &str) {
        self.line(".nf");
        for line in text.lines() {
            self.line(&plain(line));
        }
        self.line(".fi");
    }

    /// Paragraphs; what is indented in them stays as it stands.
    pub(super) fn text(&mut self, text: &str) {
        for (at, paragraph) in text.trim_end().split("\n\n").enumerate() {
            if at > 0 {
                self.line(".PP");
            }
            let mut literal = false;
            for line in paragraph.lines() {
                let indented = line.starts_with("  ");
                if indented != literal {
                    self.line(if indented { ".nf" } else { ".fi" });
                    literal = indented;
                }
                self.line(&plain(line));
            }
            if literal {
                self.line(".fi");
            }
        }
    }

    fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }
}

/// A line of text, whatever it begins with.
fn plain(line: &str) -> String {
    let escaped = escaped(line);
    if escaped.starts_with(['.', '\'']) { format!("\\&{escaped}") } else { escaped }
}

/// The one argument of a macro.
fn quoted(text: &str) -> String {
    format!("\"{}\"", escaped(text).replace('"', "\\(dq"))
}

/// Characters that troff would read, or print in another way.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\e"),
            '-' => out.push_str("\\-"),
            '\'' => out.push_str("\\(aq"),
            '`' => out.push_str("\\(ga"),
            '^' => out.push_str("\\(ha"),
            '~' => out.push_str("\\(ti"),
            '…' => out.push_str("..."),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_troff_would_read_is_escaped() {
        let mut page = Roff::page("trace-cmd-x", 1, "Does it");
        page.section("Examples");
        page.text("Try 'this':\n  .x -e \"a\\b\"\n\nand that");
        page.term("-e \"X\"", "About it");
        assert!(page.into_text().ends_with(
            "trace\\-cmd\\-x \\- Does it\n.SH \"EXAMPLES\"\nTry \\(aqthis\\(aq:\n.nf\n  .x \\-e \"a\\eb\"\n.fi\n\
             .PP\nand that\n.TP\n.B \"\\-e \\(dqX\\(dq\"\nAbout it\n"
        ));
        assert_eq!(plain(".x"), "\\&.x");
    }
}
