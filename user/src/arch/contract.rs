//! What every architecture's file has, with its exact type: the compiler checks the file that it
//! builds.
//!
//! It is the checklist for a new architecture, too: write the file until this one compiles, and the
//! macro `start!`, which programs begin with. `generic` has what architectures that came to Linux
//! late share.

use core::ffi::CStr;
use core::sync::atomic::{AtomicU32, AtomicUsize};

use super::*;

// Numbers of system calls, and the instruction.
const _: [usize; 27] = [
    nr::READ,
    nr::WRITE,
    nr::CLOSE,
    nr::MMAP,
    nr::MUNMAP,
    nr::SCHED_YIELD,
    nr::NANOSLEEP,
    nr::CLONE,
    nr::EXECVE,
    nr::EXIT,
    nr::WAIT4,
    nr::UNAME,
    nr::GETCWD,
    nr::GETPPID,
    nr::CLOCK_GETTIME,
    nr::EXIT_GROUP,
    nr::OPENAT,
    nr::FSTATAT,
    nr::NFSSERVCTL,
    nr::PIPE2,
    nr::FUTEX,
    nr::RT_SIGACTION,
    nr::SIGALTSTACK,
    nr::TGKILL,
    nr::GETPID,
    nr::GETTID,
    nr::MINCORE,
];
const _: unsafe fn(usize, [usize; 6]) -> isize = syscall;
const _: fn() = raw_getppid;
const _: Option<OldCall> = OLD_CALL;

// Counts this program's instructions, where programs may.
const _: fn() -> u64 = counter;

// Threads and processes whose stack the caller does not share.
const _: fn(usize, usize, *mut usize) -> isize = clone_that_ends;
const _: fn(usize, usize, [usize; 3], extern "C" fn() -> !) -> isize = clone_and_call;
const _: fn(usize, usize) -> ! = unmap_and_exit;

// Registers across calls, switches and the start of a program.
const _: fn(u64) = set_float;
const _: fn() -> u64 = float;
const _: extern "C" fn(u64, u64) -> u64 = keep_floats;
const _: extern "C" fn(usize, *mut isize) -> usize = fork_keeping;
const _: extern "C" fn() -> usize = used_registers;
const _: fn(&'static AtomicUsize) = point_to;
const _: fn() -> usize = pointed_at;
const _: fn(&'static AtomicUsize, &mut [u32; 4]) -> usize = pointer_argument;

// What the kernel tells a program of the machine.
const _: &CStr = PLATFORM;
const _: fn() -> usize = hardware;
const _: fn(Option<usize>) -> bool = sysinfo_is_right;

// What it must refuse.
const _: &[(&str, usize, [usize; 6], isize)] = REFUSED;
const _: &[usize] = &BAD_ADDRESSES;
const _: [usize; 3] = OPEN_FLAGS;

// Signal handlers: their frames, and ways out of them.
const _: Context = CONTEXT;
const _: (usize, usize) = HANDLER_SP;
const _: usize = MIN_STACK;
const _: bool = HAS_RESTORER;
const _: fn() -> usize = restorer;
const _: fn() -> usize = plain_restorer;
const _: extern "C" fn() = handler_entry;
const _: extern "C" fn(*mut usize, extern "C" fn(usize) -> usize, usize) -> usize = try_call;
const _: extern "C" fn(*const usize, usize) -> ! = leave;
const _: extern "C" fn(usize) -> ! = sigreturn_from;
const _: extern "C" fn() = clobber_floats;
const _: extern "C" fn(usize, usize) -> usize = keep_below;
const _: fn(&AtomicU32) -> bool = spins_with_all_kept;
const _: &[(usize, i32, extern "C" fn(usize) -> usize)] = FAULTS;
const _: fn() -> bool = is_unprivileged;
const _: fn() -> Option<Wide> = wide;

// I/O ports.
const _: bool = HAS_PORTS;
const _: [extern "C" fn(usize) -> usize; 3] = [read_port, read_two_ports, switch_interrupts];

// Shadow stacks.
const _: extern "C" fn(usize, extern "C" fn(usize) -> usize, usize) -> usize = with_shadow_stack;
const _: bool = SHADOW_BY_PRCTL;
const _: fn() -> usize = shadow_pointer;
const _: fn(usize) -> usize = switch_shadow;
const _: extern "C" fn(usize) -> usize = return_to;
const _: fn(usize, usize) = store_shadow;
const _: extern "C" fn(usize, usize) -> ! = sigreturn_above;
