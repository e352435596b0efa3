//! Print fmts of our own making, printed by this crate and by the C `trace-cmd`, where that is installed.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::{Command, Stdio};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use tracedat::event::Event;
use tracedat::print_fmt::{Compat, Names, PrintContext};
use tracedat::printk_formats::PrintkFormats;
use tracedat::symbols::Symbols;
use tracedat::testing::{FormatTexts, SubBufferBuilder};
use tracedat::write::{BufferData, CpuSource, Head, Settings, System, Version, Writer};
use tracedat::{Abi, ByteOrder};

/// What follows `print fmt: `. Every event has the fields of [`FIELDS`].
const PRINT_FMTS: &[&str] = &[
    // Numbers of every length, laid out in every way.
    r#""%d %i %u %x %X %o", REC->d, REC->d, REC->d, REC->d, REC->d, REC->d"#,
    r#""%ld %lu %lx %lX %lo", REC->h, REC->h, REC->h, REC->h, REC->h"#,
    r#""%lld %llu %llx %Ld %Lx", REC->f, REC->f, REC->f, REC->f, REC->f"#,
    r#""%hd %hu %hx %hhd %hhu %hhx", REC->d, REC->d, REC->d, REC->d, REC->d, REC->d"#,
    r#""%zu %zx %zd", REC->h, REC->h, REC->h"#,
    r#""%d %d %u %u", REC->a, REC->b, REC->b, REC->c"#,
    r#""%5d|%-5d|%05d|%.3d|%8.3d|%-8.3d|", REC->d, REC->d, REC->d, REC->d, REC->d, REC->d"#,
    r#""%08x|%#x|%#010x|%#o|%-#10x|%.8x|", REC->c, REC->c, REC->c, REC->c, REC->c, REC->c"#,
    r#""%016llx %#018llx %20lld %-20lld|", REC->e, REC->e, REC->f, REC->f"#,
    r#""%*d|%-*d|%.*d|%*x", 7, REC->c, 7, REC->c, 5, REC->c, REC->a, REC->c"#,
    r#""%#x %#o %.0d", REC->zero, REC->zero, REC->zero"#,
    r#""%% %d%%", REC->a"#,
    r#""%d %d", 5, 3 + 4"#,
    // Texts.
    r#""%s|%20s|%-20s|%.3s|%10.3s|%-10.3s|", REC->name, REC->name, REC->name, REC->name, REC->name, REC->name"#,
    r#""%s|%10s|%-10s|%.2s|", __get_str(str), __get_str(str), __get_str(str), __get_str(str)"#,
    r#""%s|%10s|%-10s|%.2s|", __get_rel_str(rstr), __get_rel_str(rstr), __get_rel_str(rstr), __get_rel_str(rstr)"#,
    r#""%.*s|%*s|%-*s|", 3, __get_str(str), 12, __get_str(str), 12, __get_str(str)"#,
    r#""%.*s", REC->a & 3, REC->name"#,
    r#""%s %s", "text", REC->a ? "yes" : "no""#,
    r#""%10s|%-10s|%.2s|", "text", "text", "text""#,
    r#""%10s|%-6s|", REC->zero ? "yes" : "no", REC->a ? "yes" : "no""#,
    r#""%s", REC->a > 3 ? REC->a > 5 ? "a" : "b" : "c""#,
    r#""%s", REC->a > 3 ? "a" : REC->a > 5 ? "b" : "c""#,
    "\"a\" \"b %d\", REC->a",
    // Lines may end within a text, as they do in the format of `maple_tree:exit_mmap`, but not elsewhere.
    "\"%d, \n%d\n\", REC->a, REC->b",
    "\"%s %s\", \"a\nb\", __print_flags(REC->a, \"\n\", { 1, \"one\" }, { 2, \"two\" })",
    "\"%d\",\nREC->a",
    // Tables.
    r#""%s", __print_flags(REC->a, "|", { 1, "one" }, { 2, "two" }, { 4, "four" })"#,
    r#""%s", __print_flags(REC->e, "", { 0x10, "x" }, { 0x20, "y" })"#,
    r#""%s", __print_flags(REC->zero, "|", { 1, "one" })"#,
    r#""%s", __print_flags(REC->d, ",", { 0x80000000, "top" }, { 0x7, "low" })"#,
    r#""%s", __print_flags(REC->f, ",", { 1ULL << 63, "top" }, { 0x7, "low" })"#,
    r#""%s", __print_flags(REC->c & 0xff, " ", { 3, "three" }, { 1, "one" }, { 0xf0, "high" })"#,
    r#""%-20s|%20s|", __print_flags(REC->a, "|", { 1, "one" }, { 2, "two" }), __print_symbolic(REC->a, { 7, "seven" })"#,
    r#""%s", __print_symbolic(REC->a, { 0, "zero" }, { 7, "seven" }, { 200, "many" })"#,
    r#""%s", __print_symbolic(REC->b, { -1, "minus" }, { -3, "three" })"#,
    r#""%s", __print_symbolic(REC->d, { 1 + 2, "three" }, { (1 << 3) | 2, "ten" })"#,
    r#""%s", __print_symbolic(REC->e, { 0x123456789abcdef0, "long" }, { 5, "five" })"#,
    r#""%s", __print_symbolic(REC->a, { NAME, "named" }, { 7, "seven" })"#,
    // Arrays that do not say how long they are.
    r#""%u %x", REC->halves[0], REC->halves[1]"#,
    r#""%lx %u %u", REC->longs[0], REC->bytes[0], REC->bytes[3]"#,
    // Names of the kernel's, unless they are counted with before they are looked up.
    r#""%p %lx %d %u", (((struct page *)page_base) + (REC->a)), page_base, -page_base, REC->a ? page_base : 0"#,
    r#""%lx %lx %s %s", page_base + 1, unknown_base, page_base, __print_symbolic(page_base, { 0, "zero" })"#,
    // Bytes and arrays.
    r#""%s", __print_hex(REC->mac, 6)"#,
    r#""%s", __print_hex_str(REC->mac, 6)"#,
    r#""%s %s", __print_hex(__get_dynamic_array(dyn), 4), __print_hex_str(__get_dynamic_array(dyn), 3)"#,
    r#""%s", __print_hex(__get_dynamic_array(dyn), __get_dynamic_array_len(dyn))"#,
    r#""%s", __print_array(REC->arr, 4, 4)"#,
    r#""%s", __print_array(__get_dynamic_array(dyn), 4, 2)"#,
    r#""%s", __print_array(__get_dynamic_array(dyn), 8, 1)"#,
    r#""%s", __print_array(__get_dynamic_array(dyn), __get_dynamic_array_len(dyn) / 8, 8)"#,
    r#""%d %u %x", REC->arr[0], REC->arr[1], REC->arr[3]"#,
    r#""%d", __get_dynamic_array_len(dyn)"#,
    // Addresses of all kinds.
    r#""%p %p", REC->ptr, (void *)REC->h"#,
    r#""%ps %pS %pf %pF", (void *)REC->h, (void *)REC->h, (void *)REC->h, (void *)REC->h"#,
    r#""%px %pK %pB", REC->ptr, REC->ptr, REC->ptr"#,
    r#""%pM %pMF %pm %pMR %pmR", REC->mac, REC->mac, REC->mac, REC->mac, REC->mac"#,
    r#""%pM", REC->ip4"#,
    r#""%pI4 %pi4 %pI4h %pI4n %pI4b %pI4l %pi4l", REC->ip4, REC->ip4, REC->ip4, REC->ip4, REC->ip4, REC->ip4, REC->ip4"#,
    r#""%pI4", REC->mac"#,
    r#""%pI6 %pi6 %pI6c", REC->ip6, REC->ip6, REC->ip6"#,
    r#""%pI6c", REC->uuid"#,
    r#""%pU %pUb %pUB %pUl %pUL", REC->uuid, REC->uuid, REC->uuid, REC->uuid, REC->uuid"#,
    r#""%pIS %pISp %pISpc %pISc", REC->sock, REC->sock, REC->sock, REC->sock"#,
    r#""%pISpc", __get_sockaddr(dsock)"#,
    r#""%pISpsfc %pISpfsc", REC->sock, REC->sock"#,
    r#""%pISpcsf %pISsfc %pIScfp %pISfp %pISsp", REC->sock, REC->sock, REC->sock, REC->sock, REC->sock"#,
    r#""%pISpsx %pISpff %pISpcc %piSpcs %pISpsfcf", REC->sock, REC->sock, REC->sock, REC->sock, REC->sock"#,
    r#""%*ph", 4, __get_dynamic_array(dyn)"#,
    r#""%*phC %*phD %*phN", 3, __get_dynamic_array(dyn), 3, __get_dynamic_array(dyn), 3, __get_dynamic_array(dyn)"#,
    r#""%*ph", __get_dynamic_array_len(dyn), __get_dynamic_array(dyn)"#,
    r#""%ph", __get_dynamic_array(dyn)"#,
    r#""%pISssss %pISscff %pISpffffff %pISfcc %pISspc", REC->sock, REC->sock, REC->sock, REC->sock, REC->sock"#,
    // Masks.
    r#""%s|%40s|%-40s|", __get_bitmask(mask), __get_bitmask(mask), __get_bitmask(mask)"#,
    r#""%s", __get_rel_bitmask(rmask)"#,
    r#""%s|%s", __get_cpumask(mask), __get_rel_cpumask(rmask)"#,
    // Expressions.
    r#""%d %d %d", 10 - 3 - 2, 2 + 3 * 4, 2 * (3 + 4)"#,
    r#""%d %d", REC->a - 1 - 1, REC->a * 2 + 1"#,
    r#""%d %d", REC->a / 2, REC->a % 4"#,
    r#""%x %x %x", REC->c & 0xf0, REC->c | 0xf0, ~REC->c"#,
    r#""%x %x", REC->c << 4, REC->c >> 4"#,
    r#""%u:%u", REC->d >> 20, REC->d & ((1 << 20) - 1)"#,
    r#""%u:%u", ((unsigned int) ((REC->d) >> 20)), ((unsigned int) ((REC->d) & ((1U << 20) - 1)))"#,
    r#""%d %d %d %d", REC->a == 7, REC->a != 7, REC->a < 7, REC->a >= 7"#,
    r#""%d %d %d", REC->a && REC->zero, REC->a || REC->zero, !REC->a"#,
    r#""%d %lld", -REC->a, -REC->e"#,
    r#""%d %d", (int)REC->a, (u8)REC->d"#,
    r#""%lu %lu %lu", sizeof(int), sizeof(long), sizeof(unsigned long)"#,
    r#""%lu", sizeof(u64)"#,
    r#""%d", REC->b < 0"#,
    r#""%llu", (unsigned long long)REC->e / 1000"#,
    r#""%lld.%06llu", (long long)(REC->f / 1000000), REC->e % 1000000"#,
    r#""%d", __builtin_expect(!!(REC->a), 1)"#,
    // What is not understood.
    r#""%d", unknown_function(REC->a)"#,
    r#""%d", ({ int x = 1; x; })"#,
    r#""%d", REC->nothing"#,
    r#""%d %d", REC->a"#,
    r#""%d", __builtin_choose_expr(1, REC->a, REC->b)"#,
    r#""%d", offsetof(struct page, lru)"#,
    r#""%s", __print_symbolic_u64(REC->a, { 7, "seven" })"#,
    r#""%s", __print_hex_dump("", 0, 16, 1, REC->mac, 6, 0)"#,
    r#""%llu", __print_ns_to_secs(REC->e)"#,
    r#""%*.*s", 10, 2, REC->name"#,
];

/// Declaration, bytes (0 for a `long`), alignment, sign.
const FIELDS: &[(&str, usize, usize, bool)] = &[
    ("u8 a", 1, 1, false),
    ("s8 b", 1, 1, true),
    ("u16 c", 2, 2, false),
    ("int d", 4, 4, true),
    ("u64 e", 8, 8, false),
    ("s64 f", 8, 8, true),
    ("char name[16]", 16, 1, false),
    ("u8 mac[6]", 6, 1, false),
    ("u8 ip4[4]", 4, 1, false),
    ("u8 ip6[16]", 16, 1, false),
    ("u8 uuid[16]", 16, 1, false),
    ("u8 sock[28]", 28, 1, false),
    ("u32 arr[4]", 16, 4, false),
    ("long h", 0, 8, true),
    ("void * ptr", 0, 8, false),
    ("int zero", 4, 4, true),
    ("__data_loc char[] str", 4, 4, true),
    ("__rel_loc char[] rstr", 4, 4, true),
    ("__data_loc u8[] dyn", 4, 4, false),
    ("__data_loc unsigned long[] mask", 4, 4, false),
    ("__rel_loc unsigned long[] rmask", 4, 4, false),
    ("__data_loc __u8[] dsock", 4, 4, false),
    ("u16 halves[]", 4, 2, false),
    ("unsigned long longs[]", 0, 8, false),
    ("u8 bytes[]", 4, 1, false),
];

const KALLSYMS: &str =
    "0000000000100000 D first\n0000000000200010 D page_base\n0000000000300010 D last\n";

/// What is known of the kernel.
#[derive(Default)]
struct Kernel {
    symbols: Symbols,
    printk_formats: PrintkFormats,
}

impl Names for Kernel {
    fn symbols(&self) -> &Symbols {
        &self.symbols
    }

    fn printk_formats(&self) -> &PrintkFormats {
        &self.printk_formats
    }
}

fn main() {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    for (name, byte_order, long_size) in [
        ("little_endian_64", ByteOrder::Little, 8),
        ("little_endian_32", ByteOrder::Little, 4),
        ("big_endian_64", ByteOrder::Big, 8),
        ("big_endian_32", ByteOrder::Big, 4),
    ] {
        trials.push(Trial::ignorable_test(name, move || {
            // The text is that of this release.
            if !reference_is("3.1.6") {
                return Ok(Completion::ignored_with("needs trace-cmd 3.1.6"));
            }
            compare(Abi { byte_order, long_size })?;
            Ok(Completion::Completed)
        }));
    }
    libtest_mimic::run(&arguments, trials).exit();
}

fn reference_is(version: &str) -> bool {
    let output = Command::new("trace-cmd").arg("--version").output();
    output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(version))
}

fn name(index: usize) -> String {
    format!("event_{index}")
}

/// The format file of one event.
fn format(index: usize, print_fmt: &str, abi: Abi) -> String {
    let mut text = format!("name: {}\nID: {}\nformat:\n", name(index), 1000 + index);
    for (declaration, offset, size, signed) in [
        ("unsigned short common_type", 0, 2, 0),
        ("unsigned char common_flags", 2, 1, 0),
        ("unsigned char common_preempt_count", 3, 1, 0),
        ("int common_pid", 4, 4, 1),
    ] {
        let _ = writeln!(
            text,
            "\tfield:{declaration};\toffset:{offset};\tsize:{size};\tsigned:{signed};"
        );
    }
    text.push('\n');
    let mut offset = 8usize;
    for &(declaration, size, align, signed) in FIELDS {
        let size = if size == 0 { usize::from(abi.long_size) } else { size };
        offset = offset.next_multiple_of(align);
        let signed = u8::from(signed);
        let _ = writeln!(
            text,
            "\tfield:{declaration};\toffset:{offset};\tsize:{size};\tsigned:{signed};"
        );
        offset += size;
    }
    let _ = writeln!(text, "\nprint fmt: {print_fmt}");
    text
}

/// A record's fields, as numbers and bytes.
struct Values {
    numbers: [(&'static str, i64); 9],
    texts: [&'static [u8]; 2],
    dynamic: Vec<u8>,
    masks: [u64; 2],
    address: &'static [u8],
}

fn values() -> Vec<Values> {
    let numbers = |a, b, c, d, e, f, h, ptr| {
        [
            ("a", a),
            ("b", b),
            ("c", c),
            ("d", d),
            ("e", e),
            ("f", f),
            ("h", h),
            ("ptr", ptr),
            ("zero", 0),
        ]
    };
    vec![
        Values {
            numbers: numbers(
                7,
                3,
                0x1234,
                0x0123_4567,
                0x1234_5678_9abc_def0,
                5_000_001,
                0x1000,
                0x2000,
            ),
            texts: [b"short\0", b"relative\0"],
            dynamic: (1..=16).collect(),
            masks: [0b1011, 0x8000_0001],
            address: &[10, 1, 2, 3],
        },
        Values {
            numbers: numbers(200, -3, 0xfff0, -2, -1, i64::MIN, -1, -4096),
            texts: [b"a rather long text\0", b"\0"],
            dynamic: vec![0xff; 8],
            masks: [u64::MAX, 0],
            address: &[255, 255, 0, 9],
        },
    ]
}

/// The bytes of a record of that format.
fn record(event: &Event, values: &Values) -> Vec<u8> {
    let (order, long) = (event.abi().byte_order, usize::from(event.abi().long_size));
    let bytes_of = |value: u64, size: usize| match order {
        ByteOrder::Little => value.to_le_bytes()[..size].to_vec(),
        ByteOrder::Big => value.to_be_bytes()[8 - size..].to_vec(),
    };
    let fields = &event.format.fields;
    let end = fields.iter().map(|field| (field.offset + field.size) as usize).max().unwrap();
    let mut data = vec![0; end.next_multiple_of(4)];
    let put = |data: &mut Vec<u8>, at: u32, bytes: &[u8]| {
        data[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
    };
    put(&mut data, 0, &bytes_of(event.format.id.into(), 2));
    let family = bytes_of(2, 2);
    let inet = [&family[..], &[0x1f, 0x90], values.address, &[0; 8]].concat();
    let family = bytes_of(10, 2);
    let inet6 =
        [&family[..], &[0, 80, 0, 0, 0, 0], b"\x20\x01\x0d\xb8", &[0; 11], b"\x01", &[0; 4]]
            .concat();
    let masks = values.masks.map(|mask| {
        let words = [mask & (u64::MAX >> (64 - 8 * long)), 5];
        words.iter().flat_map(|&word| bytes_of(word, long)).collect::<Vec<_>>()
    });
    for field in fields {
        let name = field.name.as_str();
        let number = values.numbers.iter().find(|(number, _)| *number == name);
        if let Some(&(_, number)) = number {
            put(&mut data, field.offset, &bytes_of(number as u64, field.size as usize));
            continue;
        }
        let dynamic: &[u8] = match name {
            "name" => &b"a name\0after it"[..],
            "mac" => &[0x02, 0, 0x5e, 0x10, 0xab, 0xcd],
            "ip4" => values.address,
            "ip6" => b"\x20\x01\x0d\xb8\0\0\0\0\0\x01\0\0\0\0\0\x01",
            "uuid" => b"\0\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff",
            "sock" => &inet6,
            "arr" => {
                let words: Vec<u8> =
                    [1, 2, 0xffff_ffff, 4].iter().flat_map(|&w| bytes_of(w, 4)).collect();
                put(&mut data, field.offset, &words);
                continue;
            }
            "str" => values.texts[0],
            "rstr" => values.texts[1],
            "dyn" => &values.dynamic,
            "mask" => &masks[0],
            "rmask" => &masks[1],
            "dsock" => &inet,
            "halves" | "longs" | "bytes" => {
                put(&mut data, field.offset, &[0x12, 0x34, 0x56, 0x78]);
                continue;
            }
            other => panic!("{other}"),
        };
        if !field.flags.dynamic {
            put(&mut data, field.offset, dynamic);
            continue;
        }
        let base = if field.flags.relative { field.offset + field.size } else { 0 };
        let at = data.len() as u64 - u64::from(base);
        put(&mut data, field.offset, &bytes_of((dynamic.len() as u64) << 16 | at, 4));
        data.extend_from_slice(dynamic);
        data.resize(data.len().next_multiple_of(8), 0);
    }
    data
}

fn compare(abi: Abi) -> Result<(), Failed> {
    let texts: Vec<String> =
        PRINT_FMTS.iter().enumerate().map(|(index, text)| format(index, text, abi)).collect();
    let events: Vec<Event> = texts
        .iter()
        .map(|text| Event::new("made_up", text.as_bytes(), abi))
        .collect::<Result<_, _>>()?;
    let page_size = 4096;
    let formats = FormatTexts { abi };
    let head = Head {
        header_page: formats.header_page(page_size).into_bytes(),
        header_event: formats.header_event().into_bytes(),
        ftrace_formats: formats.ftrace().into_iter().map(String::into_bytes).collect(),
        systems: vec![System {
            name: String::from("made_up"),
            formats: texts.into_iter().map(String::into_bytes).collect(),
        }],
        kallsyms: KALLSYMS.into(),
        cpus: 1,
        ..Head::default()
    };

    // Each event once with each set of values.
    let names = Kernel { symbols: Symbols::parse(KALLSYMS), ..Kernel::default() };
    let cx = PrintContext { names: &names, plugins: false, full: false, compat: Compat::V3_1_6 };
    let (mut pages, mut expected) = (Vec::new(), Vec::new());
    let mut time = 1000;
    let mut page = SubBufferBuilder::new(abi).timestamp(time);
    for values in values() {
        for event in &events {
            let data = record(event, &values);
            if page.room() < data.len() + 16 {
                pages.extend(page.build());
                page = SubBufferBuilder::new(abi).timestamp(time);
            }
            page = if data.len() > 112 { page.long_event(1, &data) } else { page.event(1, &data) };
            time += 1;
            let mut out = Vec::new();
            event.print(&data, &cx, &mut out);
            expected.push(String::from_utf8_lossy(&out).into_owned());
        }
    }
    pages.extend(page.build());

    let mut file = tempfile::NamedTempFile::new()?;
    let settings = Settings { version: Version::V6, ..Settings::new(abi, page_size as u32) };
    let writer = Writer::create(file.as_file_mut(), settings, &head)?;
    let mut data = pages.as_slice();
    let size = data.len() as u64;
    let cpus = vec![CpuSource::from_reader(0, &mut data, size)];
    let buffer = BufferData { name: "", clock: "local", page_size: page_size as u32, cpus };
    writer.finish(&[], vec![buffer])?;

    let output = Command::new("trace-cmd")
        .args(["report", "-N", "-i"])
        .arg(file.path())
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()?;
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    // A text may have line breaks: it ends where the next event begins.
    let mut lines = report.split("\n          <idle>-0 ").skip(1);
    let mut different = BTreeMap::new();
    for (index, ours) in expected.iter().enumerate() {
        let (index, set) = (index % events.len(), index / events.len());
        let line = lines.next().ok_or_else(|| format!("it ends before {}", PRINT_FMTS[index]))?;
        let name = format!("{}: ", name(index));
        let (_, text) = line.split_once(&name).ok_or_else(|| format!("{name} is not in {line}"))?;
        // The name has a column of its own.
        let theirs = text.get(22usize.saturating_sub(name.len())..).unwrap_or_default();
        let theirs = theirs.trim_end_matches('\n');
        if theirs != ours.trim_end_matches('\n') {
            let text = format!("  theirs {theirs:?}\n  ours   {ours:?}");
            different.insert((index, set), text);
        }
    }
    if different.is_empty() {
        return Ok(());
    }
    let mut message = format!("{} of {} texts differ\n", different.len(), expected.len());
    for ((index, set), text) in different {
        let _ = writeln!(message, "{} with values {set}\n{text}", PRINT_FMTS[index]);
    }
    Err(message.into())
}
