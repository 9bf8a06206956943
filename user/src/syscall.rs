//! The system calls that our programs use, by Linux's numbers for x86_64.
//!
//! `syscall` takes the number in RAX and arguments in RDI, RSI, RDX; it destroys RCX and R11 (the
//! processor puts RIP and RFLAGS there) and gives its result, or a negative error number, in RAX.

use core::arch::asm;

const WRITE: usize = 1;
const EXIT_GROUP: usize = 231;
const GETPPID: usize = 110;

/// The negative error number that a system call gave.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Errno(pub isize);

/// One system call with three arguments. For programs that pass on purpose what no sound program would.
///
/// # Safety
///
/// The arguments mean to the kernel what the call's number makes of them: where one is an address, the
/// memory behind it must be valid for what that call does with it.
pub unsafe fn syscall(number: usize, arguments: [usize; 3]) -> isize {
    let result;
    // SAFETY:
    // 1. the kernel destroys RCX and R11 only, and both are named as clobbers;
    // 2. memory is touched only as the call's own contract says, which is the caller's duty.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") arguments[0],
            in("rsi") arguments[1],
            in("rdx") arguments[2],
            in("r10") 0,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// Writes all of the bytes, however many calls that takes.
pub fn write_all(descriptor: i32, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        let arguments = [descriptor as usize, bytes.as_ptr().addr(), bytes.len()];
        // SAFETY: (1) the address and the length are those of a live slice, which write only reads.
        let written = unsafe { syscall(WRITE, arguments) };
        match usize::try_from(written) {
            Ok(written @ 1..) => bytes = &bytes[written.min(bytes.len())..],
            _ => return Err(Errno(written)),
        }
    }
    Ok(())
}

/// The parent's process id: the cheapest call there is, since it takes nothing and changes nothing.
pub fn getppid() -> isize {
    // SAFETY: (1) the call takes no argument and touches no memory.
    unsafe { syscall(GETPPID, [0; 3]) }
}

/// The instruction alone, for measuring: the number is loaded, nothing else is done.
#[inline(always)]
pub fn raw_getppid() {
    // SAFETY: (1) as in [`getppid`]; (2) RCX and R11 are named as clobbers.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") GETPPID => _,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
}

/// Makes a copy of the process; 0 in the copy, its number in the original.
pub fn fork() -> isize {
    const FORK: usize = 57;
    // SAFETY: (1) the copy has memory of its own; (2) neither has other threads.
    unsafe { syscall(FORK, [0; 3]) }
}

/// Waits for a child; its wait status.
pub fn wait() -> Result<i32, Errno> {
    const WAIT4: usize = 61;
    let mut status = 0_i32;
    // SAFETY: (1) the address is that of a live integer.
    let child = unsafe { syscall(WAIT4, [usize::MAX, (&raw mut status).addr(), 0]) };
    if child < 0 { Err(Errno(child)) } else { Ok(status) }
}

/// Lets others run.
pub fn yield_now() {
    const SCHED_YIELD: usize = 24;
    // SAFETY: (1) the call takes no argument and touches no memory.
    unsafe { syscall(SCHED_YIELD, [0; 3]) };
}

/// Ends the process.
pub fn exit(status: i32) -> ! {
    loop {
        // SAFETY: (1) the call takes a number and touches no memory of ours.
        unsafe { syscall(EXIT_GROUP, [status as usize, 0, 0]) };
    }
}
