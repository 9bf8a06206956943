//! What every architecture's file has, with its exact type: the compiler checks the file that it
//! builds.
//!
//! It is the checklist for a new architecture, too: write the file until this one compiles.
//! `generic` has what architectures that came to Linux late share, `wide` and `narrow` what depends
//! on the size of a word.

use kstack::shadow::Form;
use machine::arch::fpu::Snapshot;
use machine::arch::regs::SavedRegs;

use super::signals::{Info, Trap};
use super::stack_image::WordSize;
use super::*;
use crate::error::Errno;

// Numbers of calls, as lists of names, and the place of a number in a table.
const _: &[names::Stretch] = NAMES;
const _: usize = table_index(0);
const _: Option<OldCalls> = OLD_CALLS;

// Registers: the call in them, its result, those of a program that starts, of a thread that does.
type Read = fn(u64) -> Result<[u8; 4], Errno>;
const _: fn(&SavedRegs) -> u64 = number;
const _: fn(&SavedRegs, Read) -> [u64; 6] = arguments::<6>;
const _: fn(&mut SavedRegs, u64) = set_result;
const _: bool = RESULT_REPLACES_NUMBER;
const _: fn(&SavedRegs) -> u64 = result;
const _: fn(&SavedRegs) -> bool = has_usual_segments;
const _: fn(&SavedRegs) -> bool = can_be_gone_to;
const _: fn(&SavedRegs) -> u64 = stack_pointer;
const _: fn(&SavedRegs) -> u64 = program_counter;
const _: fn(&mut SavedRegs, u64) = set_program_counter;

// A call that is made again, and the kernel's code for going back from a handler.
const _: fn(&mut SavedRegs) = rewind_call;
const _: fn(&mut SavedRegs, u64) = set_number;
const _: u64 = RESTART_SYSCALL;
const _: [usize; 3] = [LONG_ALIGNMENT, EPOLL_DATA_AT, SEMAPHORE_TIME];
const _: &[u8] = TRAMPOLINE;
const _: vdso::Contents = VDSO;

// What exceptions are to a program.
const _: fn(u8, u64, &SavedRegs, &Snapshot) -> Info = exception;
const _: fn(u8, u64, &SavedRegs, Trap) -> Trap = trap;

const _: fn(u64, u64) -> SavedRegs = start;
const _: fn(&mut SavedRegs, u64) = set_stack;
const _: fn(&mut SavedRegs, u64) = set_tls;
const _: fn([u64; 6]) -> [u64; 5] = clone_arguments;
type Word = Result<u64, Errno>;
const _: fn(u64, fn(u64) -> Word) -> Word = thread_local;

// The machine, as programs are told, and which executables are its own.
const _: WordSize = WORD;
const _: [&str; 2] = [MACHINE, PLATFORM];
const _: u16 = ELF_MACHINE;
const _: fn() -> u64 = hardware;
const _: &[(u64, u64)] = OWN_AUXILIARY;
const _: [u64; 2] = [USER_TOP, DYNAMIC_BASE];
const _: [u32; 2] = [random::STACK_BITS, random::MMAP_BITS];
const _: u64 = random::HEAP_BYTES;
const _: bool = EXECUTABLE_STACK_UNASKED;
const _: bool = HAS_USER_DISPATCH;
const _: Option<u64> = MAP_32BIT;
const _: Option<Form> = SHADOW_FORM;

// Flags of `openat`.
const _: [u32; 4] = [open::DIRECTORY, open::NOFOLLOW, open::DIRECT, open::LARGE];

// Layouts of what programs read.
const _: () = stat(encode_stat);
const _: () = sysinfo(encode_sysinfo);
const _: () = pair(encode_pair);
const _: () = statfs(encode_statfs);
const _: u64 = RUSAGE_BYTES;

const fn stat<const BYTES: usize>(_: fn(&Stat) -> [u8; BYTES]) {}
const fn sysinfo<const BYTES: usize>(_: fn(&SystemInfo) -> [u8; BYTES]) {}
const fn pair<const BYTES: usize>(_: fn(u64, u64) -> [u8; BYTES]) {}
const fn statfs<const BYTES: usize>(_: fn(u64, [u64; 2], u64) -> [u8; BYTES]) {}
