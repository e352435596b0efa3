//! Texts of the kernel that a trace.dat holds: symbols, format strings, tasks, types.

use tracedat::btf::Btf;
use tracedat::printk_formats::PrintkFormats;
use tracedat::symbols::Symbols;
use tracedat::tasks::Tasks;

/// Asked for at most, of what a text names.
const MAX_ASKED: usize = 1000;

/// A byte that says which text it is, and the text.
///
/// # Panics
/// When what is listed is not found.
pub fn run(data: &[u8]) {
    let Some((kind, text)) = data.split_first() else { return };
    match kind % 4 {
        0 => symbols(text),
        1 => printk_formats(text),
        2 => tasks(text),
        _ => btf(text),
    }
}

fn symbols(text: &[u8]) {
    let symbols = Symbols::parse(text);
    for symbol in symbols.iter().take(MAX_ASKED) {
        // An alias whose name is no text may be what the search meets.
        if let Some(found) = symbols.find(symbol.start) {
            assert_eq!(found.start, symbol.start);
        }
        for address in [symbol.start.wrapping_sub(1), symbol.start.wrapping_add(1)] {
            if let Some(found) = symbols.find(address) {
                assert!(found.start <= address, "{:#x} for {address:#x}", found.start);
            }
        }
    }
    std::hint::black_box((symbols.find(0), symbols.find(u64::MAX)));
}

fn printk_formats(text: &[u8]) {
    let formats = PrintkFormats::parse(text);
    for (address, text) in formats.iter().take(MAX_ASKED) {
        assert!(formats.text(address).is_some(), "{text:?}");
        std::hint::black_box(formats.binary(address));
    }
}

fn tasks(text: &[u8]) {
    for tasks in [Tasks::parse(text), Tasks::parse_until_damage(text)] {
        for (pid, comm) in tasks.iter().take(MAX_ASKED) {
            assert_eq!(tasks.comm(pid), Some(comm), "{pid}");
        }
    }
}

fn btf(bytes: &[u8]) {
    // The error says where it went wrong, which is all that is asked for.
    let Ok(btf) = Btf::parse(bytes) else { return };
    std::hint::black_box(btf.function_count());
    for name in ["f", "g", "vfs_read", ""] {
        let Some(parameters) = btf.parameters(name) else { continue };
        for parameter in parameters.take(MAX_ASKED) {
            std::hint::black_box(format!("{parameter:?}"));
        }
    }
}
