use super::*;
use crate::abi::{Abi, ByteOrder};
use crate::print_fmt::Names;
use crate::printk_formats::PrintkFormats;
use crate::symbols::Symbols;

const ABI: Abi = Abi { byte_order: ByteOrder::Little, long_size: 8 };

const SWITCH: &[u8] = b"name: sched_switch\nID: 9\nformat:\n\
    \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
    \tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n\
    \tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;\n\
    \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n\
    \tfield:char prev_comm[8];\toffset:8;\tsize:8;\tsigned:0;\n\
    \tfield:int prev_pid;\toffset:16;\tsize:4;\tsigned:1;\n\
    \tfield:u32 state;\toffset:20;\tsize:4;\tsigned:0;\n\
    \tfield:int next_pid;\toffset:24;\tsize:4;\tsigned:1;\n\
    \tfield:__data_loc char[] name;\toffset:28;\tsize:4;\tsigned:0;\n\
    \tfield:void * function;\toffset:32;\tsize:8;\tsigned:0;\n\
    \tfield:u64 big;\toffset:40;\tsize:8;\tsigned:0;\n\nprint fmt: \"\"\n";

struct Functions {
    symbols: Symbols,
    formats: PrintkFormats,
}

impl Names for Functions {
    fn symbols(&self) -> &Symbols {
        &self.symbols
    }

    fn printk_formats(&self) -> &PrintkFormats {
        &self.formats
    }
}

fn format() -> EventFormat {
    EventFormat::parse("sched", SWITCH, ABI).unwrap()
}

/// prev_comm bash, prev_pid -1, state 0xffffffff, next_pid 3, name disk.
fn record() -> Vec<u8> {
    let mut data = vec![9, 0, 1, 0, 7, 0, 0, 0];
    data.extend_from_slice(b"bash\0\0\0\0");
    data.extend_from_slice(&(-1_i32).to_le_bytes());
    data.extend_from_slice(&u32::MAX.to_le_bytes());
    data.extend_from_slice(&3_i32.to_le_bytes());
    data.extend_from_slice(&(5_u32 << 16 | 48).to_le_bytes());
    data.extend_from_slice(&0x1004_u64.to_le_bytes());
    data.extend_from_slice(&u64::MAX.to_le_bytes());
    data.extend_from_slice(b"disk\0");
    data
}

fn shown(condition: &str) -> Result<String, FilterError> {
    let filter = Filter::parse(&format!("sched_switch:{condition}"))?;
    Ok(filter.for_event(&format()).unwrap().to_string())
}

fn holds_for(condition: &str, data: &[u8]) -> bool {
    let filter = Filter::parse(&format!("sched_switch:{condition}"))
        .unwrap_or_else(|error| panic!("{error}\n{}", error.caret()));
    let names = Functions {
        symbols: Symbols::parse(*b"1000 T schedule\n2000 T other\n"),
        formats: PrintkFormats::default(),
    };
    let context = FilterContext {
        cpu: 2,
        comm: &|pid| (pid == 7).then_some(&b"worker/7"[..]),
        names: &names,
    };
    filter.for_event(&format()).unwrap().compile().matches(data, &context)
}

fn holds(condition: &str) -> bool {
    holds_for(condition, &record())
}

#[test]
fn shown_as_the_reference_shows_it() {
    let cases = [
        ("a == 0 || prev_pid == 1 && next_pid > 3", "(prev_pid == 1) && (next_pid > 3)"),
        ("!prev_pid == 0 && next_pid == 1", "(!(prev_pid == 0)) && (next_pid == 1)"),
        ("prev_pid & 1", "prev_pid & 1"),
        (
            "prev_pid != 0 && (next_pid == 3 || !(COMM == \"x\")) || CPU < 0x10",
            "((prev_pid != 0) && ((next_pid == 3) || (!(COMM == \"x\")))) || (CPU < 16)",
        ),
        ("unknown == 1", "FALSE"),
        ("unknown == 1 && prev_pid == 1", "FALSE"),
        ("unknown == 1 || prev_pid == 1", "prev_pid == 1"),
        ("!unknown == 1", "TRUE"),
        ("prev_comm !~ \"a\\\"b\"", "prev_comm !~ \"a\\\"b\""),
        ("prev_comm == 'abc'", "prev_comm == \"abc\""),
        ("prev_comm == 'a\\\"b'", "prev_comm == 'a\\\"b'"),
        ("prev_pid == 010", "prev_pid == 8"),
        ("next_pid << 3", "next_pid << 3"),
        (
            "prev_pid==1||prev_pid==2||prev_pid==3&&next_pid==4",
            "(((prev_pid == 1) || (prev_pid == 2)) || (prev_pid == 3)) && (next_pid == 4)",
        ),
    ];
    for (condition, expected) in cases {
        assert_eq!(shown(condition).as_deref(), Ok(expected), "{condition}");
        // What is shown means the same.
        assert_eq!(shown(expected).as_deref(), Ok(expected));
    }
}

#[test]
fn what_the_reference_refuses_or_crashes_on_works() {
    let cases = [
        ("(prev_pid & 1) == 1", true, "(prev_pid & 1) == 1"),
        ("(next_pid & 4) == 4", false, "(next_pid & 4) == 4"),
        ("(next_pid + 1) > 3", true, "(next_pid + 1) > 3"),
        ("next_pid + 1 > 3", true, "(next_pid + 1) > 3"),
        ("next_pid + 1 * 2 > 4", true, "(next_pid + (1 * 2)) > 4"),
        ("prev_pid > next_pid", false, "prev_pid > next_pid"),
        ("next_pid > prev_pid", true, "next_pid > prev_pid"),
        ("3 == next_pid", true, "3 == next_pid"),
        ("4 > next_pid", true, "4 > next_pid"),
        ("next_pid == (3)", true, "next_pid == 3"),
        ("prev_pid == -1", true, "prev_pid == -1"),
        ("prev_pid < 0", true, "prev_pid < 0"),
        ("state == -1", true, "state == -1"),
        ("state == 4294967295", true, "state == 4294967295"),
        ("state > 0", true, "state > 0"),
        ("big == -1", true, "big == -1"),
        ("big > 0x7fffffffffffffff", true, "big > 9223372036854775807"),
        ("-next_pid == -3", true, "-next_pid == -3"),
        ("next_pid + 'a' == 100", true, "(next_pid + 'a') == 100"),
        ("COMM == prev_comm", false, "COMM == prev_comm"),
        ("prev_comm != name", true, "prev_comm != name"),
        ("next_pid / 0 == 0", false, "(next_pid / 0) == 0"),
        ("next_pid % 0", false, "next_pid % 0"),
        ("prev_pid", true, "prev_pid"),
        ("CPU == \"0x2\"", true, "CPU == \"0x2\""),
        ("CPU =~ \"2\"", true, "CPU =~ \"2\""),
    ];
    for (condition, expected, text) in cases {
        assert_eq!(holds(condition), expected, "{condition}");
        assert_eq!(shown(condition).as_deref(), Ok(text));
    }
}

#[test]
fn texts_and_numbers_are_compared_as_what_they_are() {
    let cases = [
        ("prev_comm == \"bash\"", true),
        ("prev_comm == \"Bash\"", false),
        ("prev_comm != 'bash'", false),
        ("prev_comm =~ \"BA\"", true),
        ("prev_comm !~ \"^a\"", true),
        ("name == \"disk\"", true),
        ("name =~ \"d.*k$\"", true),
        ("COMM == \"worker/7\"", true),
        ("COMM =~ \"^WORK\"", true),
        ("function == \"schedule\"", true),
        ("function =~ \"sched\"", true),
        ("function == \"other\"", false),
        ("function == 0x1004", true),
        ("big == \"0xffffffffffffffff\"", true),
        ("next_pid == \"0x3\"", true),
        ("prev_comm == 3", false),
        ("COMM ~ \"*s*\"", false),
        ("prev_pid ~ 3", false),
        ("common_flags & 1 && CPU == 2", true),
        ("next_pid == '\\n'", false),
        ("next_pid ^ 3", false),
        ("next_pid << 64", false),
        ("prev_pid >> 70", true),
        ("TRUE && !FALSE", true),
    ];
    for (condition, expected) in cases {
        assert_eq!(holds(condition), expected, "{condition}");
    }
    assert!(holds_for("COMM == \"<idle>\"", &[9, 0, 0, 0, 0, 0, 0, 0]));
    assert!(holds_for("COMM == \"<...>\"", &[9, 0, 0, 0, 8, 0, 0, 0]));
}

#[test]
fn and_and_or_go_from_left_to_right() {
    assert!(!holds("next_pid == 3 || next_pid == 3 && next_pid == 4"));
    assert!(holds("next_pid == 3 || (next_pid == 3 && next_pid == 4)"));
    assert!(holds("next_pid == 4 && next_pid == 3 || CPU == 2"));
}

#[test]
fn short_records_are_no_match() {
    let data = record();
    for len in 0..data.len() {
        assert!(!holds_for("name == \"disk\"", &data[..len]), "{len} bytes");
        holds_for("COMM != \"x\" || next_pid + big > 3 || function =~ \".\"", &data[..len]);
    }
}

#[test]
fn errors_say_what_and_where() {
    let cases = [
        ("", "expected the name of an event", 0),
        ("a,,b", "expected the name of an event", 2),
        ("sched/", "expected the name of an event", 6),
        ("s:", "expected a field, a number or a string", 2),
        ("s: prev_pid==", "expected a field, a number or a string", 13),
        ("s: a == 0 ||", "expected a field, a number or a string", 12),
        ("s: (a == 0", "expected ')'", 10),
        ("s: a == 1;", "unexpected ';'", 9),
        ("s: a == 1, b == 2", "unexpected ','", 9),
        ("s: a == 1 b", "expected '&&', '||' or the end", 10),
        ("s: a & 1 == 1", "'&' and a comparison need brackets: (FIELD & MASK) == VALUE", 3),
        ("s: a == b & 1", "'&' and a comparison need brackets: (FIELD & MASK) == VALUE", 8),
        (
            "s: a =~ b",
            "'=~' wants a field before it and a regular expression in quotes after it",
            8,
        ),
        (
            "s: a =~ 3",
            "'=~' wants a field before it and a regular expression in quotes after it",
            8,
        ),
        ("s: a < \"x\"", "strings are compared with ==, !=, =~ or !~, not with <", 5),
        ("s: 3 == \"x\"", "'==' wants numbers on both sides", 5),
        ("s: (a == 1) == 1", "'==' wants numbers on both sides", 3),
        ("s: a == 1 == 1", "'==' wants numbers on both sides", 10),
        ("s: \"x\"", "a string is no condition", 3),
        ("s: a == \"x", "string without an end", 8),
        ("s: a == 08", "'08' is no number of 64 bits", 8),
        ("s: a == 18446744073709551616", "'18446744073709551616' is no number of 64 bits", 8),
        ("s: a =~ \"\\(x\"", "bad regular expression: ", 8),
    ];
    for (text, expected, at) in cases {
        let error = Filter::parse(text).unwrap_err();
        assert!(error.kind.to_string().starts_with(expected), "{text}: {error}");
        assert_eq!(error.at, at, "{text}: {error}");
    }
    let error = Filter::parse("s: ä").unwrap_err();
    assert_eq!(error.caret(), "  s: ä\n     ^");
}

#[test]
fn nothing_is_too_deep_or_too_long_for_the_stack() {
    let deep = format!("s: {}a{}", "(".repeat(100_000), ")".repeat(100_000));
    assert_eq!(Filter::parse(&deep).unwrap_err().kind, FilterErrorKind::TooDeep);
    for sign in ["!", "-"] {
        let deep = format!("s: {}a", sign.repeat(100_000));
        assert_eq!(Filter::parse(&deep).unwrap_err().kind, FilterErrorKind::TooDeep);
    }
    let sum = format!("s: a{}", " + 1".repeat(100_000));
    assert_eq!(Filter::parse(&sum).unwrap_err().kind, FilterErrorKind::TooDeep);
    let long = format!("next_pid == 4{}", " || next_pid == 3".repeat(20_000));
    assert!(holds(&long));
    let nested = format!("{}next_pid{} == 17", "(1 + ".repeat(14), ")".repeat(14));
    assert!(holds(&nested));
}

#[test]
fn events_are_named_from_end_to_end() {
    let names = |filter: &str, system, name| Filter::parse(filter).unwrap().names(system, name);
    assert!(names("SCHED_SW.*", "sched", "sched_switch"));
    assert!(names("sched", "sched", "sched_switch"));
    assert!(!names("switch", "sched", "sched_switch"));
    assert!(names(" irq , sched/sched_switch : a == 1", "sched", "sched_switch"));
    assert!(!names("irq/sched_switch", "sched", "sched_switch"));
    assert!(names("[[:alpha:]]*_switch: a == 1", "sched", "sched_switch"));
    assert!(!names("sched|irq", "sched", "sched_switch"));
}
