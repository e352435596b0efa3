//! Event formats like those of a kernel, for any `long` size.

use std::fmt::Write;

use crate::abi::Abi;

/// Identifiers of the events.
pub mod event_id {
    /// `ftrace:function`.
    pub const FUNCTION: u16 = 1;
    /// `ftrace:print`.
    pub const PRINT: u16 = 5;
    /// `irq:irq_handler_entry`.
    pub const IRQ_HANDLER_ENTRY: u16 = 151;
    /// `sched:sched_switch`.
    pub const SCHED_SWITCH: u16 = 314;
    /// `sched:sched_waking`.
    pub const SCHED_WAKING: u16 = 317;
    /// `kmem:kmalloc`.
    pub const KMALLOC: u16 = 530;
    /// `raw_syscalls:sys_enter`.
    pub const SYS_ENTER: u16 = 349;
}

/// A field: declaration, bytes, whether signed. 0 bytes mean the size of `long`.
type Field<'a> = (&'a str, usize, bool);

const COMMON: [Field<'_>; 4] = [
    ("unsigned short common_type", 2, false),
    ("unsigned char common_flags", 1, false),
    ("unsigned char common_preempt_count", 1, false),
    ("int common_pid", 4, true),
];

/// Makes the texts of the tracing directory.
#[derive(Clone, Copy, Debug)]
pub struct FormatTexts {
    /// The machine whose formats these are.
    pub abi: Abi,
}

impl FormatTexts {
    /// `events/header_page`.
    pub fn header_page(&self, size: usize) -> String {
        let long = usize::from(self.abi.long_size);
        let (data, rest) = (8 + long, size - 8 - long);
        format!(
            "\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n\
             \tfield: local_t commit;\toffset:8;\tsize:{long};\tsigned:1;\n\
             \tfield: int overwrite;\toffset:8;\tsize:1;\tsigned:1;\n\
             \tfield: char data;\toffset:{data};\tsize:{rest};\tsigned:0;\n"
        )
    }

    /// `events/header_event`.
    pub fn header_event(&self) -> String {
        "# compressed entry header\n\ttype_len    :    5 bits\n\ttime_delta  :   27 bits\n\
         \tarray       :   32 bits\n\n\tpadding     : type == 29\n\ttime_extend : type == 30\n\
         \ttime_stamp : type == 31\n\tdata max type_len  == 28\n"
            .to_owned()
    }

    /// Formats of ftrace's own events.
    pub fn ftrace(&self) -> Vec<String> {
        vec![
            self.format(
                "function",
                event_id::FUNCTION,
                &[("unsigned long ip", 0, false), ("unsigned long parent_ip", 0, false)],
                r#"" %ps <-- %ps", (void *)REC->ip, (void *)REC->parent_ip"#,
            ),
            self.format(
                "print",
                event_id::PRINT,
                &[("unsigned long ip", 0, false), ("char buf[]", usize::MAX, false)],
                r#""%ps: %s", (void *)REC->ip, REC->buf"#,
            ),
        ]
    }

    /// All other systems with their formats.
    pub fn systems(&self) -> Vec<(&'static str, Vec<String>)> {
        vec![
            ("sched", vec![self.sched_switch(), self.sched_waking()]),
            ("irq", vec![self.irq_handler_entry()]),
            ("kmem", vec![self.kmalloc()]),
            ("raw_syscalls", vec![self.sys_enter()]),
        ]
    }

    fn sched_switch(&self) -> String {
        self.format(
            "sched_switch",
            event_id::SCHED_SWITCH,
            &[
                ("char prev_comm[16]", 16, false),
                ("pid_t prev_pid", 4, true),
                ("int prev_prio", 4, true),
                ("long prev_state", 0, true),
                ("char next_comm[16]", 16, false),
                ("pid_t next_pid", 4, true),
                ("int next_prio", 4, true),
            ],
            "\"prev_comm=%s prev_pid=%d prev_prio=%d prev_state=%s%s ==> next_comm=%s \
             next_pid=%d next_prio=%d\", REC->prev_comm, REC->prev_pid, REC->prev_prio, \
             (REC->prev_state & 0xff) ? __print_flags(REC->prev_state & 0xff, \"|\", \
             { 0x01, \"S\" }, { 0x02, \"D\" }, { 0x04, \"T\" }, { 0x08, \"t\" }, \
             { 0x10, \"X\" }, { 0x20, \"Z\" }) : \"R\", REC->prev_state & 0x100 ? \"+\" : \"\", \
             REC->next_comm, REC->next_pid, REC->next_prio",
        )
    }

    fn sched_waking(&self) -> String {
        self.format(
            "sched_waking",
            event_id::SCHED_WAKING,
            &[
                ("char comm[16]", 16, false),
                ("pid_t pid", 4, true),
                ("int prio", 4, true),
                ("int target_cpu", 4, true),
            ],
            "\"comm=%s pid=%d prio=%d target_cpu=%03d\", REC->comm, REC->pid, REC->prio, \
             REC->target_cpu",
        )
    }

    fn irq_handler_entry(&self) -> String {
        self.format(
            "irq_handler_entry",
            event_id::IRQ_HANDLER_ENTRY,
            &[("int irq", 4, true), ("__data_loc char[] name", 4, false)],
            "\"irq=%d name=%s\", REC->irq, __get_str(name)",
        )
    }

    fn kmalloc(&self) -> String {
        self.format(
            "kmalloc",
            event_id::KMALLOC,
            &[
                ("unsigned long call_site", 0, false),
                ("const void * ptr", 0, false),
                ("size_t bytes_req", 0, false),
                ("size_t bytes_alloc", 0, false),
                ("unsigned long gfp_flags", 0, false),
                ("int node", 4, true),
            ],
            "\"call_site=%pS ptr=%p bytes_req=%zu bytes_alloc=%zu gfp_flags=%s node=%d\", \
             (void *)REC->call_site, REC->ptr, REC->bytes_req, REC->bytes_alloc, \
             (REC->gfp_flags) ? __print_flags(REC->gfp_flags, \"|\", \
             {( unsigned long)(0x400 | 0x800 | 0x40 | 0x80), \"GFP_KERNEL\"}, \
             {( unsigned long)0x20, \"GFP_ATOMIC\"}, {( unsigned long)0x100, \"__GFP_ZERO\"}) \
             : \"none\", REC->node",
        )
    }

    fn sys_enter(&self) -> String {
        let args: Field<'_> = match self.abi.long_size {
            4 => ("unsigned long args[6]", 24, false),
            _ => ("unsigned long args[6]", 48, false),
        };
        self.format(
            "sys_enter",
            event_id::SYS_ENTER,
            &[("long id", 0, true), args],
            "\"NR %ld (%lx, %lx, %lx, %lx, %lx, %lx)\", REC->id, REC->args[0], REC->args[1], \
             REC->args[2], REC->args[3], REC->args[4], REC->args[5]",
        )
    }

    pub(super) fn kernel_stack(&self, id: u16) -> String {
        let caller = ("unsigned long caller[]", usize::MAX, false);
        self.format("kernel_stack", id, &[("unsigned long size", 0, false), caller], "\"\"")
    }

    pub(super) fn sched_wakeup(&self, id: u16) -> String {
        self.sched_waking()
            .replace("name: sched_waking", "name: sched_wakeup")
            .replace(&format!("ID: {}", event_id::SCHED_WAKING), &format!("ID: {id}"))
    }

    pub(super) fn irq_handler_exit(&self, id: u16) -> String {
        let fields = [("int irq", 4, true), ("int ret", 4, true)];
        self.format("irq_handler_exit", id, &fields, "\"irq=%d\", REC->irq")
    }

    pub(super) fn sys_exit(&self, id: u16) -> String {
        let fields = [("long id", 0, true), ("long ret", 0, true)];
        self.format("sys_exit", id, &fields, "\"NR %ld = %ld\", REC->id, REC->ret")
    }

    pub(super) fn numbers(&self, name: &str, id: u16, fields: &[&str]) -> String {
        let declarations: Vec<String> = fields.iter().map(|field| format!("int {field}")).collect();
        let declared: Vec<Field<'_>> =
            declarations.iter().map(|declaration| (declaration.as_str(), 4, true)).collect();
        let print: Vec<String> = fields.iter().map(|field| format!("{field}=%d")).collect();
        let values: Vec<String> = fields.iter().map(|field| format!("REC->{field}")).collect();
        let print_fmt = format!("\"{}\", {}", print.join(" "), values.join(", "));
        self.format(name, id, &declared, &print_fmt)
    }

    /// A format file with its offsets, as the kernel's compiler would lay the fields out.
    fn format(&self, name: &str, id: u16, fields: &[Field<'_>], print_fmt: &str) -> String {
        let mut text = format!("name: {name}\nID: {id}\nformat:\n");
        let mut offset = 0;
        self.put_fields(&mut text, &COMMON, &mut offset);
        text.push('\n');
        self.put_fields(&mut text, fields, &mut offset);
        let _ = writeln!(text, "\nprint fmt: {print_fmt}");
        text
    }

    fn put_fields(&self, text: &mut String, fields: &[Field<'_>], offset: &mut usize) {
        for &(declaration, size, signed) in fields {
            let long = usize::from(self.abi.long_size);
            let (size, align) = match size {
                0 => (long, long),
                usize::MAX => (0, 1),
                2 | 4 => (size, size),
                24 | 48 => (size, long),
                _ => (size, 1),
            };
            *offset = offset.next_multiple_of(align);
            let signed = u8::from(signed);
            let _ = writeln!(
                text,
                "\tfield:{declaration};\toffset:{offset};\tsize:{size};\tsigned:{signed};"
            );
            *offset += size;
        }
    }
}
