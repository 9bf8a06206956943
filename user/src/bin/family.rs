//! fork, vfork and a thread, each with the stack it should have; status 0 if all is as it should be.

#![no_std]
#![no_main]

use core::arch::asm;
use core::sync::atomic::{AtomicUsize, Ordering};
use user::must;

user::entry!(main);

const VFORK: usize = 58;
const CLONE: usize = 56;
const EXIT: usize = 60;
/// Memory, file system, files, signal handlers, thread group: what a thread library asks for.
const THREAD_FLAGS: usize = 0x100 | 0x200 | 0x400 | 0x800 | 0x1_0000;

static SHARED: AtomicUsize = AtomicUsize::new(0);

#[repr(align(16))]
struct Stack([AtomicUsize; 512]);

static STACK: Stack = Stack([const { AtomicUsize::new(0) }; 512]);

/// The child sees the same address, and what it writes there stays its own.
fn forked() -> i32 {
    let mine = AtomicUsize::new(1);
    let child = user::fork();
    if child == 0 {
        let seen = mine.load(Ordering::Relaxed);
        mine.store(2, Ordering::Relaxed);
        SHARED.store(99, Ordering::Relaxed);
        // The address, to be compared: its page number in two parts would not fit a status; the low byte does.
        user::exit(if seen == 1 && mine.load(Ordering::Relaxed) == 2 { 7 } else { 8 });
    }
    must!(child > 0, "fork failed");
    must!(user::wait() == Ok(7 << 8), "the child of fork did not see what it should");
    must!(mine.load(Ordering::Relaxed) == 1, "the child wrote to its parent's stack");
    must!(SHARED.load(Ordering::Relaxed) == 0, "the child wrote to its parent's data");
    0
}

/// The child runs on the parent's memory; the parent sleeps until it is done.
fn vforked() -> i32 {
    let child: isize;
    // SAFETY: (1) the child writes one static word and ends: it returns from nothing and moves SP nowhere.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "mov qword ptr [{shared}], 5",
            "mov eax, {exit}",
            "mov edi, 3",
            "syscall",
            "2:",
            shared = in(reg) SHARED.as_ptr(),
            exit = const EXIT,
            inlateout("rax") VFORK as isize => child,
            out("rcx") _, out("r11") _, out("rdi") _,
        );
    }
    must!(child > 0, "vfork failed");
    must!(
        SHARED.load(Ordering::Relaxed) == 5,
        "the child of vfork did not borrow the memory, or was not waited for"
    );
    must!(user::wait() == Ok(3 << 8), "the child of vfork ended otherwise");
    0
}

/// A thread runs on the stack it is given, in the same memory.
fn threaded() -> i32 {
    let top = STACK.0.as_ptr_range().end;
    let child: isize;
    // SAFETY: (1) the thread has a stack of its own, stores its SP to a static word and ends.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            // It uses the stack, and says where it is.
            "push rax",
            "pop rax",
            "mov [{shared}], rsp",
            "mov eax, {exit}",
            "xor edi, edi",
            "syscall",
            "2:",
            shared = in(reg) SHARED.as_ptr(),
            exit = const EXIT,
            in("rdi") THREAD_FLAGS,
            in("rsi") top,
            in("rdx") 0, in("r10") 0, in("r8") 0,
            inlateout("rax") CLONE as isize => child,
            out("rcx") _, out("r11") _,
        );
    }
    must!(child > 0, "clone failed");
    // Bounded: a thread that never comes is an error, not a wait for ever.
    let mut turns = 0_u32;
    while SHARED.load(Ordering::Relaxed) == 5 && turns < 1_000_000 {
        user::yield_now();
        turns += 1;
    }
    must!(SHARED.load(Ordering::Relaxed) == top.addr(), "the thread did not run on its stack");
    0
}

fn main() -> i32 {
    for part in [forked, vforked, threaded] {
        if part() != 0 {
            return 1;
        }
    }
    0
}
