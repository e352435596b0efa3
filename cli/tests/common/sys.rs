//! System calls without a safe wrapper.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::errno::Errno;

/// Has a system call fail with `errno` in what `command` starts, as on a kernel that has it not.
pub(crate) fn deny(command: &mut Command, call: libc::c_long, errno: Errno) -> &mut Command {
    const LOAD_NUMBER: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const ANSWER: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, k| libc::sock_filter { code, jt: 0, jf: 0, k };
    let refusal = libc::SECCOMP_RET_ERRNO | errno as u32;
    let mut steps = [
        // The call's number comes first in what a filter sees.
        step(LOAD_NUMBER, 0),
        libc::sock_filter { jf: 1, ..step(IF_EQUAL, call as u32) },
        step(ANSWER, refusal),
        step(ANSWER, libc::SECCOMP_RET_ALLOW),
    ];
    let restrict = move || {
        let program = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
        nix::sys::prctl::set_no_new_privs()?;
        // SAFETY: the kernel copies the filter, which is there for the length of the call.
        match unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: between fork and exec only system calls are made, on memory that was made before.
    unsafe { command.pre_exec(restrict) }
}
