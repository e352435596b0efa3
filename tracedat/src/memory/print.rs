//! The table of call sites.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::io::{self, Write};

use super::{Caller, MemoryUse, Site};

const HEAD: &str = "                Function            \tWaste\tAlloc\treq\t\t\
    TotAlloc     TotReq\t\tMaxAlloc     MaxReq\tMaxWaste\n                \
    --------            \t-----\t-----\t---\t\t--------     ------\t\t--------     ------\t--------\n";

impl MemoryUse<'_> {
    /// Writes a line for each function that allocated, those that waste most of what they hold
    /// first, then by name. All numbers are bytes.
    ///
    /// # Errors
    ///
    /// The text cannot be written.
    pub fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut lines: Vec<_> = self
            .sites
            .iter()
            .map(|site| (Reverse(site.held.waste()), self.name(site), site))
            .collect();
        lines.sort_by(|left, right| (left.0, &left.1).cmp(&(right.0, &right.1)));
        out.write_all(HEAD.as_bytes())?;
        for (Reverse(waste), name, Site { held, total, max, max_waste, .. }) in lines {
            writeln!(
                out,
                "{name:>32}\t{waste}\t{}\t{}\t\t{:>8}   {:>8}\t\t{:>8}   {:>8}\t{max_waste}",
                held.allocated,
                held.requested,
                total.allocated,
                total.requested,
                max.allocated,
                max.requested
            )?;
        }
        Ok(())
    }

    fn name(&self, site: &Site) -> Cow<'_, str> {
        match site.caller {
            Caller::Address(address) => format!("{address:#x}").into(),
            Caller::Function(index) => {
                let symbol = self.metadata.symbols().symbol(index);
                symbol.map(|symbol| symbol.name).unwrap_or_default().into()
            }
        }
    }
}
