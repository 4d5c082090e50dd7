//! Raw system calls.
//!
//! A program's calls are made as they stand: no libc wrapper retries them, adds flags or makes
//! further calls. Nothing here touches `errno` or any other thread-local variable, since the tasks
//! of a program share the agent's memory and with it the thread-local area of PID 1 (see
//! [`crate::task`]).

use std::arch::asm;

/// Makes a system call; returns what the kernel does: errors are -errno (`syscall(2)`).
///
/// # Safety
/// As for the call: pointers among the arguments must be good for what the kernel does with them.
pub unsafe fn raw(number: libc::c_long, args: [usize; 6]) -> i64 {
    let ret: i64;
    // SAFETY: the x86-64 convention of the kernel (`syscall(2)`): rcx and r11 are clobbered; what
    // the call does to memory is the caller's promise.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => ret,
            in("rdi") args[0],
            in("rsi") args[1],
            in("rdx") args[2],
            in("r10") args[3],
            in("r8") args[4],
            in("r9") args[5],
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    ret
}

/// `ioctl(2)` without an argument, as a 32-bit task makes it: by the interrupt that serves those. On
/// a kernel without them it ends the process.
pub fn ioctl32(fd: i32, request: u32) -> i64 {
    /// Number of the call in `arch/x86/entry/syscalls/syscall_32.tbl`.
    const IOCTL: u32 = 54;
    let mut ret = IOCTL;
    // SAFETY: the 32-bit convention: number and arguments in eax, ebx, ecx, edx; r8 to r11 may be
    // cleared. rbx, which is not ours to name, is put back. The call gets no pointers.
    unsafe {
        asm!(
            "mov {saved}, rbx",
            "mov ebx, {fd:e}",
            "int 0x80",
            "mov rbx, {saved}",
            saved = out(reg) _,
            fd = in(reg) fd,
            inlateout("eax") ret,
            in("ecx") request,
            in("edx") 0,
            lateout("r8") _,
            lateout("r9") _,
            lateout("r10") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    i64::from(ret as i32)
}

/// Makes a system call none of whose arguments is a pointer.
macro_rules! sys {
    ($number:expr $(, $arg:expr)* $(,)?) => {{
        let given: &[usize] = &[$($arg as usize),*];
        let mut args = [0usize; 6];
        args[..given.len()].copy_from_slice(given);
        $crate::sys::raw($number, args)
    }};
}
pub(crate) use sys;

/// Nanoseconds of `CLOCK_MONOTONIC`.
pub fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a local; the vDSO's fast path and the call it falls back to cannot
    // fail for this clock, so errno is not touched.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
}

/// Ends the calling process, without any of libc's exit handlers.
pub fn exit(status: i32) -> ! {
    loop {
        // SAFETY: no pointers; does not return.
        unsafe { sys!(libc::SYS_exit_group, status) };
    }
}
