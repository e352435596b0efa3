//! Print fmts read as C: events that the reference fails to parse, or prints otherwise than the kernel.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::{Arguments, Completion, Trial};
use tracedat::event::Event;
use tracedat::event_format::EventFormat;
use tracedat::print_fmt::{NoNames, PrintContext};
use tracedat::{Abi, ByteOrder};

const LITTLE: Abi = Abi { byte_order: ByteOrder::Little, long_size: 8 };
const BIG_32: Abi = Abi { byte_order: ByteOrder::Big, long_size: 4 };

fn main() {
    let arguments = Arguments::from_args();
    let mut trials: Vec<Trial> = Vec::new();
    let mut add = |name: &str, test: fn()| {
        trials.push(Trial::test(name, move || {
            test();
            Ok(())
        }));
    };
    add("events_that_the_reference_gives_up_on_are_printed", given_up);
    add("texts_that_the_reference_has_wrong_are_the_kernel_s", wrong);
    add("expressions_have_the_values_that_c_gives_them", expressions);
    add("values_have_the_byte_order_and_long_of_the_traced_machine", other_machine);
    add("conversions_are_those_of_the_kernel", conversions);
    add("what_a_format_does_not_tell_is_a_question_mark", unknown);
    add("a_handful_of_statements_makes_no_endless_expression", hostile);
    add("formats_cut_anywhere_do_not_stop_the_program", cut);
    trials.push(Trial::ignorable_test("every_format_of_this_kernel_is_understood", || {
        Ok(match running_kernel() {
            Some(formats) => {
                every_format(&formats);
                Completion::Completed
            }
            None => Completion::ignored_with("needs the formats of tracefs"),
        })
    }));
    libtest_mimic::run(&arguments, trials).exit();
}

/// A record of an event, its fields set by name.
struct Record {
    event: Event,
    data: Vec<u8>,
}

impl Record {
    fn of(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/formats");
        let file = format!("{name}.format");
        let text =
            fs::read(folder.join("full").join(&file)).or_else(|_| fs::read(folder.join(file)));
        Self::with_text(&text.unwrap(), LITTLE)
    }

    fn with_text(text: &[u8], abi: Abi) -> Self {
        let event = Event::new("test", text, abi).unwrap();
        let ends = event.format.fields.iter().map(|field| (field.offset + field.size) as usize);
        let data = vec![0; ends.max().unwrap_or(8)];
        Self { event, data }
    }

    fn set(mut self, name: &str, value: i64) -> Self {
        let field = self.event.format.field(name).unwrap();
        let (start, size) = (field.offset as usize, field.size as usize);
        match self.event.abi().byte_order {
            ByteOrder::Little => {
                self.data[start..start + size].copy_from_slice(&value.to_le_bytes()[..size]);
            }
            ByteOrder::Big => {
                self.data[start..start + size].copy_from_slice(&value.to_be_bytes()[8 - size..]);
            }
        }
        self
    }

    fn bytes(mut self, name: &str, bytes: &[u8]) -> Self {
        let field = self.event.format.field(name).unwrap();
        let (start, flags) = (field.offset as usize, field.flags);
        if !flags.dynamic {
            self.data[start..start + bytes.len()].copy_from_slice(bytes);
            return self;
        }
        let base = if flags.relative { start + 4 } else { 0 };
        let at = self.data.len() - base;
        self.data.extend_from_slice(bytes);
        self.set(name, (bytes.len() << 16 | at) as i64)
    }

    fn print(&self, full: bool) -> String {
        let names = NoNames::default();
        let mut cx = PrintContext::new(&names);
        cx.full = full;
        let mut out = Vec::new();
        self.event.print(&self.data, &cx, &mut out);
        String::from_utf8(out).unwrap()
    }
}

fn given_up() {
    let sizes = [7u32, 9].map(u32::to_le_bytes).concat();
    let addresses = [0x1000u64, 0x2000].map(u64::to_le_bytes).concat();
    let trb = Record::of("xhci_hcd.xhci_log_trb")
        .set("type", 2)
        .set("field3", 0x8000)
        .bytes("str", b"\0");
    let cases = [
        (
            Record::of("dma.dma_map_sg")
                .bytes("device", b"0000:00:02.0\0")
                .set("dir", 1)
                .set("full_nents", 200)
                .set("full_ents", 3)
                .set("truncated", 1)
                .set("attrs", 2)
                .bytes("dma_addrs", &addresses)
                .bytes("lengths", &sizes)
                .bytes("phys_addrs", &addresses[..8]),
            "0000:00:02.0 dir=TO_DEVICE nents=128/200 ents=3/3 [TRUNCATED] dma_addrs={0x1000,0x2000} \
             sizes={0x7,0x9} phys_addrs={0x1000} attrs=WEAK_ORDERING",
        ),
        (
            Record::of("kvmmmu.kvm_mmu_get_page")
                .set("mmu_valid_gen", 1)
                .set("gfn", 0xabc)
                // Level 4, direct, all access, no-execute.
                .set("role", 4 | 1 << 7 | 7 << 8 | 1 << 12)
                .set("root_count", 2)
                .set("created", 1),
            "sp gen 1 gfn abc l4 8-byte q0 direct wux nxe ad root 2 sync new",
        ),
        (
            Record::of("kvm.kvm_inj_exception")
                .set("exception", 14)
                .set("has_error", 1)
                .set("error_code", 2),
            "#PF (0x2)",
        ),
        (
            Record::of("maple_tree.ma_op").set("min", 1).set("max", -1),
            "0\tNode: (nil) (1 18446744073709551615) range: 0-0",
        ),
        (
            Record::of("ras.mc_event")
                .set("error_count", 2)
                .set("error_type", 1)
                .bytes("msg", b"read\0")
                .bytes("label", b"DIMM0\0")
                .bytes("driver_detail", b"\0")
                .set("middle_layer", -1)
                .set("grain_bits", 3),
            "2 Uncorrected errors: read on DIMM0 (mc:0 location:0:-1:0 address:0x00000000 grain:8 \
             syndrome:0x00000000)",
        ),
        (
            Record::of("tps6598x.tps6598x_power_status").set("power_status", 1 | 2 << 2 | 1 << 5),
            "conn: 1, pwr-role: source, typec: 3.0A, bc: 0x1",
        ),
        (
            Record::of("ib_core.ib_mad_recv_done_handler")
                .set("status", 0x1234)
                .set("attr_mod", 0x0102_0304),
            "0:0 QP0 : RECV WC Status 0 : length 0 : hdr : base_ver 0x00 class 0x00 class_ver 0x00 \
             method 0x00 status 0x3412 class_specific 0x0000 tid 0x0000000000000000 attr_id 0x0000 \
             attr_mod 0x04030201 slid 0x00000000 src QP0, sl 0",
        ),
        (
            Record::of("snd_soc_catpt.catpt_ipc_payload").bytes("buf", &sizes),
            "8 byte(s)\n00000007 00000009\n",
        ),
        (
            Record::of("kafs.afs_edit_dir").set("vnode", 16).bytes("name", b"file\0"),
            "d=10:0 0x0 0x0 0[0] f=0:0 \"file\"",
        ),
        (
            Record::of("hv_netvsc.rndis_msg_class").set("msg_type", 7).bytes("name", b"eth0\0"),
            "dev=eth0 q=0 req=0 type=INDICATE msg_len=0",
        ),
        (trb, "xhci_ring_type_string(2): xhci_decode_trb(\"\", 500, 0, 0, 0, 32768)"),
    ];
    for (record, text) in cases {
        let name = &record.event.format.name;
        assert!(!record.event.full_program().has_failed(), "{name}");
        assert_eq!(record.print(true), text, "{name}");
        if !matches!(name.as_str(), "mc_event" | "afs_edit_dir") {
            assert!(record.print(false).starts_with("[FAILED TO PARSE]"), "{name}");
        }
    }
}

fn wrong() {
    let received = Record::of("sock.sock_recv_length").set("ret", -11).set("family", 2);
    assert!(received.print(true).contains("length = 0, error = -11,"));
    let scaled = Record::of("kvm.kvm_pvclock_update").set("tsc_shift", -1);
    assert!(scaled.print(true).contains("tsc_shift -1,"));
    let flags = Record::of("tcp.tcp_hash_ao_required").set("syn", 1).set("ack", 1);
    assert!(flags.print(true).ends_with("[ S  .]"));
}

/// A record of one event with fields of several types and that print fmt.
fn made_up(abi: Abi, print_fmt: &str) -> Record {
    let long = usize::from(abi.long_size);
    let text = format!(
        "name: made_up\nID: 7\nformat:\n\
         \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\n\
         \tfield:u8 a;\toffset:8;\tsize:1;\tsigned:0;\n\
         \tfield:s8 b;\toffset:9;\tsize:1;\tsigned:1;\n\
         \tfield:int c;\toffset:12;\tsize:4;\tsigned:1;\n\
         \tfield:u64 d;\toffset:16;\tsize:8;\tsigned:0;\n\
         \tfield:s16 e[4];\toffset:24;\tsize:8;\tsigned:1;\n\
         \tfield:__data_loc u32[] f;\toffset:32;\tsize:4;\tsigned:0;\n\
         \tfield:__rel_loc char[] g;\toffset:36;\tsize:4;\tsigned:0;\n\
         \tfield:unsigned long h;\toffset:40;\tsize:{long};\tsigned:0;\n\n\
         print fmt: {print_fmt}\n"
    );
    Record::with_text(text.as_bytes(), abi)
        .set("a", 200)
        .set("b", -3)
        .set("c", -7)
        .set("d", 1_500_000_000)
        .set("h", 5)
}

fn expressions() {
    let cases: [(&str, i64); _] = [
        ("10 - 3 - 2", 5),
        ("2 + 4 * 8 - 1 & 15", 1),
        ("2 * (3 + 4)", 14),
        ("2 * -3", -6),
        ("6 ^ 3", 5),
        ("1 ? 2 : 0 ? 3 : 4", 2),
        ("REC->c / 2", -3),
        ("REC->c % 4", -3),
        ("REC->c >> 1", -4),
        ("REC->c < 0", 1),
        ("REC->c < 0U", 0),
        ("(unsigned int)REC->c", 4_294_967_289),
        ("(u8)REC->c", 249),
        ("(s8)REC->a", -56),
        ("REC->a + REC->b", 197),
        ("REC->b > REC->a", 0),
        ("1U - 2 > 0", 1),
        ("~0U", 4_294_967_295),
        ("~0", -1),
        ("0xffffffff", 4_294_967_295),
        ("4294967295 + 1", 4_294_967_296),
        ("1 << 31", -2_147_483_648),
        ("1UL << 31", 2_147_483_648),
        ("!REC->a", 0),
        ("!!REC->a", 1),
        ("REC->a && REC->c", 1),
        ("sizeof(REC->e)", 8),
        ("sizeof(u64)", 8),
        ("sizeof(unsigned long)", 8),
        ("sizeof(int *)", 8),
        ("sizeof(REC->e[0])", 2),
        ("REC->e[1]", -2),
        ("REC->e[REC->a - 199]", -2),
        ("*REC->e", 1),
        ("((u32 *)__get_dynamic_array(f))[1]", 9),
        ("*(u32 *)__get_dynamic_array(f)", 7),
        ("((u16 *)__get_dynamic_array(f))[2]", 9),
        ("__get_dynamic_array_len(f) / sizeof(u32)", 2),
        ("__get_rel_str(g)[1]", 101),
        ("'A' + 1", 66),
        ("(typeof(REC->b))REC->a", -56),
        ("({ int x = (REC->c); int y = (3); ((x) < (y) ? (x) : (y)); })", -7),
        (
            "({ typeof(REC->c) x = REC->c; typeof(REC->c) y = -9; (void)(&x == &y); x < y ? x : y; })",
            -9,
        ),
        ("({ __auto_type x = REC->a; x; })", 200),
        ("({ unsigned int x; x = REC->c; x; })", 4_294_967_289),
        ("({ _Static_assert(sizeof(int) == 4, \"int\"); do { } while (0); 3; })", 3),
        ("__builtin_choose_expr(__builtin_types_compatible_p(int, long), 1, 2)", 2),
        ("__builtin_choose_expr(sizeof(int) == 4, 1, 2)", 1),
        ("__builtin_constant_p(3)", 1),
        ("__builtin_constant_p(REC->a)", 0),
        ("__builtin_expect(!!(REC->a), 1)", 1),
        ("__builtin_bswap16(0x1234)", 0x3412),
        ("__builtin_ffsll(8)", 4),
        ("__print_ns_to_secs(REC->d)", 1),
        ("__print_ns_without_secs(REC->d)", 500_000_000),
        ("(int)(sizeof(struct { int:(-!!(1 > 2)); }))", 0),
        ("(bool)REC->a", 1),
        ("((ktime_t) { .tv64 = REC->c }).tv64 + 1", -6),
    ];
    for (expression, value) in cases {
        let elements = [1i16, -2, 3, 4].map(i16::to_le_bytes).concat();
        let numbers = [7u32, 9].map(u32::to_le_bytes).concat();
        let record = made_up(LITTLE, &format!("\"%lld\", (long long)({expression})"))
            .bytes("e", &elements)
            .bytes("f", &numbers)
            .bytes("g", b"text\0");
        assert_eq!(record.print(true), value.to_string(), "{expression}");
    }
}

fn other_machine() {
    let elements = [1i16, -2, 3, 4].map(i16::to_be_bytes).concat();
    let numbers = [7u32, 9].map(u32::to_be_bytes).concat();
    let text = "\"%d %d %d %lu %lu %s\", REC->b, REC->e[1], ((u32 *)__get_dynamic_array(f))[1], \
                (unsigned long)-1, sizeof(REC->h), __print_array(__get_dynamic_array(f), 2, 4)";
    let record = made_up(BIG_32, text).bytes("e", &elements).bytes("f", &numbers);
    assert_eq!(record.print(true), "-3 -2 9 4294967295 4 {0x7,0x9}");
}

fn conversions() {
    let bytes = [0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0, 0];
    for (text, printed) in [
        (r#""%c%c", 'x', REC->a ? 'y' : 'n'"#, "xy"),
        (r#""%+d %+d", REC->a, REC->b"#, "+200 -3"),
        (r#""%d %u %x", REC->b, (u8)REC->b, REC->c"#, "-3 253 fffffff9"),
        (r#""[%*.*s]", 6, 2, __get_rel_str(g)"#, "[    te]"),
        (r#""[%-*s]", 6, __get_rel_str(g)"#, "[text  ]"),
        (r#""%.*s", 3, (char *)__get_rel_dynamic_array(g)"#, "tex"),
        (r#""%pM %pmR", REC->e, REC->e"#, "12:34:56:78:9a:bc bc9a78563412"),
        (r#""%pI4 %pI4", REC->e, __get_dynamic_array(f)"#, "18.52.86.120 18.52.86.120"),
        (r#""%6phC %*phN", REC->e, 2, REC->e"#, "12:34:56:78:9a:bc 1234"),
        (r#""%*pbl", 8, __get_dynamic_array(f)"#, "1,4"),
        (r#""%s", __print_hex(REC->e, 3)"#, "12 34 56"),
        (r#""%s", __print_hex_str(__get_dynamic_array(f), 3)"#, "123456"),
        (
            r#""%s", __print_flags(REC->b, "|", { 1UL << 63, "top" }, { 1, "low" })"#,
            "top|low|0x7ffffffffffffffc",
        ),
        (r#""%s", __print_flags_u64(0ULL, "|", { 0, "none" })"#, ""),
        (r#""%s", __print_symbolic_u64(REC->c, { -7, "seven" }, { NOT_KNOWN, "x" })"#, "seven"),
        (r#""%s", __print_symbolic(REC->c, { NOT_KNOWN, "x" })"#, "0xfffffffffffffff9"),
        (r#""%s %s", str_yes_no(REC->a), REC->c ? "a" : "b""#, "yes a"),
        (r#""%s" "%s", "a", "b""#, "ab"),
        (r#""say "%s"", "a""#, "say \"a\""),
    ] {
        let record =
            made_up(LITTLE, text).bytes("e", &bytes).bytes("f", &bytes).bytes("g", b"text\0");
        assert_eq!(record.print(true), printed, "{text}");
    }
}

fn unknown() {
    for (text, printed) in [
        (r#""%d %s", REC->nothing, __print_symbolic(REC->e.x, { 1, "a" })"#, "? ?"),
        (r#""%lu %u", sizeof(struct page), offsetof(struct page, lru)"#, "? ?"),
        (r#""%p", (struct page *)base + REC->d"#, "?"),
        (
            r#""%s %d", REC->a ? name(REC->a, REC->b) : "b", count(REC->e)"#,
            "name(200, -3) count(...)",
        ),
        (r#""%u", count(1) + 1"#, "?"),
    ] {
        assert_eq!(made_up(LITTLE, text).print(true), printed, "{text}");
    }
}

fn hostile() {
    // Each local doubles the one before.
    let mut text = String::from("\"%d\", ({ int x0 = REC->c;");
    for n in 1..60 {
        text.push_str(&format!(" int x{n} = x{} + x{};", n - 1, n - 1));
    }
    text.push_str(" x59; })");
    let nested = "(".repeat(100_000);
    let opened = "({".repeat(100_000);
    let types = format!("\"%d\", {}int", "sizeof(".repeat(100_000));
    let chained = format!("\"%d\", {}1", "REC->c + ".repeat(20_000));
    let signs = format!("\"%d\", {}1", "-".repeat(100_000));
    let mut printed = String::from("\"%s\", ({ char *b = trace_seq_buffer_ptr(p);");
    printed.push_str(&"trace_seq_printf(p, \"%s%s\", b, b); ".repeat(60));
    printed.push_str(" b; })");
    let typed = format!("\"%d\", {}1", "(typeof(".repeat(60));
    for text in [
        text,
        chained,
        signs,
        printed,
        typed,
        format!("\"%d\", {nested}"),
        format!("\"%d\", {opened}"),
        types,
    ] {
        let record = made_up(LITTLE, &text);
        assert!(record.event.full_program().has_failed());
        assert!(record.print(true).starts_with("[FAILED TO PARSE]"));
    }
}

fn cut() {
    let names = NoNames::default();
    let mut cx = PrintContext::new(&names);
    cx.full = true;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/formats/full");
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "format") {
            continue;
        }
        let text = fs::read(path).unwrap();
        let mut out = Vec::new();
        for at in (0..text.len()).step_by(5) {
            let mut changed = text.clone();
            changed[at] = changed[at].wrapping_add(at as u8 | 1);
            for text in [&text[..at], &changed] {
                let Ok(event) = Event::new("test", text, LITTLE) else { continue };
                out.clear();
                event.print(&[0xff; 64], &cx, &mut out);
            }
        }
    }
}

/// The format files of the running kernel, where they can be read.
fn running_kernel() -> Option<Vec<PathBuf>> {
    let systems = fs::read_dir("/sys/kernel/tracing/events").ok()?;
    let folders =
        systems.flatten().flat_map(|system| fs::read_dir(system.path()).into_iter().flatten());
    let formats: Vec<_> = folders.flatten().map(|event| event.path().join("format")).collect();
    let formats: Vec<_> = formats.into_iter().filter(|path| path.is_file()).collect();
    (!formats.is_empty()).then_some(formats)
}

fn every_format(paths: &[PathBuf]) {
    let mut failed = Vec::new();
    for path in paths {
        // Events of probes come and go.
        let Ok(text) = fs::read(path) else { continue };
        let format = EventFormat::parse("test", &text, Abi::NATIVE);
        let understood = format.is_ok_and(|format| format.broken.is_none())
            && !Event::new("test", &text, Abi::NATIVE).unwrap().full_program().has_failed();
        if !understood {
            failed.push(path);
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
}
