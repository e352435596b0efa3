//! `sys_enter_futex`: the operation by name, and the arguments it uses.

use super::{Binding, HandledRecord, Handler, IntField};
use crate::report::number;

const PRIVATE_FLAG: u64 = 128;
const CLOCK_REALTIME: u64 = 256;

/// How an operation's `val` is shown.
enum Val {
    No,
    Hex,
    Decimal,
}

struct Operation {
    name: &'static str,
    val: Val,
    /// `utime` is the number `val2`, not a pointer.
    val2: bool,
    utime: bool,
    uaddr2: bool,
    val3: bool,
}

impl Operation {
    const fn new(name: &'static str) -> Self {
        Self { name, val: Val::No, val2: false, utime: false, uaddr2: false, val3: false }
    }
    const fn hex(self) -> Self {
        Self { val: Val::Hex, ..self }
    }
    const fn decimal(self) -> Self {
        Self { val: Val::Decimal, ..self }
    }
    const fn utime(self) -> Self {
        Self { utime: true, ..self }
    }
    const fn val2(self) -> Self {
        Self { val2: true, ..self }
    }
    const fn uaddr2(self) -> Self {
        Self { uaddr2: true, ..self }
    }
    const fn val3(self) -> Self {
        Self { val3: true, ..self }
    }
}

/// Operations by number.
const OPERATIONS: [Operation; 13] = [
    Operation::new("FUTEX_WAIT").hex().utime(),
    Operation::new("FUTEX_WAKE").decimal(),
    Operation::new("FUTEX_FD").decimal(),
    Operation::new("FUTEX_REQUEUE").decimal().val2().uaddr2(),
    Operation::new("FUTEX_CMP_REQUEUE").decimal().val2().uaddr2().val3(),
    Operation::new("FUTEX_WAKE_OP").decimal().val2().uaddr2().val3(),
    Operation::new("FUTEX_LOCK_PI").utime(),
    Operation::new("FUTEX_UNLOCK_PI"),
    Operation::new("FUTEX_TRYLOCK_PI"),
    Operation::new("FUTEX_WAIT_BITSET").hex().utime().val3(),
    Operation::new("FUTEX_WAKE_BITSET").decimal().val3(),
    Operation::new("FUTEX_WAIT_REQUEUE_PI").hex().utime().uaddr2().val3(),
    Operation::new("FUTEX_CMP_REQUEUE_PI").decimal().val2().uaddr2().val3(),
];

pub(super) fn bind(binding: &Binding<'_>) -> Option<Box<dyn Handler>> {
    Some(Box::new(Futex {
        uaddr: binding.int("uaddr")?,
        op: binding.int("op")?,
        val: binding.int("val")?,
        utime: binding.int("utime")?,
        uaddr2: binding.int("uaddr2")?,
        val3: binding.int("val3")?,
    }))
}

struct Futex {
    uaddr: IntField,
    op: IntField,
    val: IntField,
    utime: IntField,
    uaddr2: IntField,
    val3: IntField,
}

impl Handler for Futex {
    fn print(&self, record: &HandledRecord<'_>, out: &mut Vec<u8>) {
        let data = record.data;
        let value = |field: IntField| field.get(data).unwrap_or(0);
        let op = value(self.op);
        let number = usize::try_from(op & !(PRIVATE_FLAG | CLOCK_REALTIME)).ok();
        let Some(operation) = number.and_then(|at| OPERATIONS.get(at)) else {
            return record.print_fmt(out);
        };
        out.extend_from_slice(b"op=");
        out.extend_from_slice(operation.name.as_bytes());
        if op & PRIVATE_FLAG != 0 {
            out.extend_from_slice(b"|FUTEX_PRIVATE_FLAG");
        }
        if op & CLOCK_REALTIME != 0 {
            out.extend_from_slice(b"|FUTEX_CLOCK_REALTIME");
        }
        let hex = |out: &mut Vec<u8>, name: &str, field: IntField| {
            out.extend_from_slice(name.as_bytes());
            number::hex(out, value(field), 8);
        };
        hex(out, " uaddr=0x", self.uaddr);
        match operation.val {
            Val::No => {}
            Val::Hex => hex(out, " val=0x", self.val),
            Val::Decimal => {
                out.extend_from_slice(b" val=");
                number::decimal(out, value(self.val));
            }
        }
        if operation.val2 {
            out.extend_from_slice(b" val2=");
            number::decimal(out, value(self.utime));
        }
        if operation.utime {
            hex(out, " utime=0x", self.utime);
        }
        if operation.uaddr2 {
            hex(out, " uaddr2=0x", self.uaddr2);
        }
        if operation.val3 {
            hex(out, " val3=0x", self.val3);
        }
    }
}
