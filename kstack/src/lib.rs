//! Kernel stacks for any kernel: one library that allocates, guards, caches, switches, unwinds and
//! judges them, on x86_64, i386, arm64, arm32 and riscv64. `no_std`, no allocation, no dependency
//! outside this project.
//!
//! A kernel has more stacks than threads: one per thread, and per CPU one for interrupts and
//! several for exceptions. Each can overflow, be freed while it is read, be reused with its last
//! owner's secrets on it, or be the wrong one at the wrong instruction. With this library
//!
//! * a stack that overflows hits a guard, is **named** (which stack, whose, how far, from where)
//!   and, where nothing but its thread is half done, **survived**: the thread ends, the system
//!   continues;
//! * interrupts run on a stack of their own per CPU, double faults, NMIs, debug exceptions and
//!   machine checks on others, each between guards;
//! * a freed stack waits, clean, in a cache of the CPU's: to get it again takes no lock and no TLB
//!   flush;
//! * a backtrace goes from a handler through all stacks to the outermost frame, and says whether it
//!   can be relied on.
//!
//! # A stack, with addresses
//!
//! ```text
//!   0xffff_c900_0000_0000  slot lowest   +--------------------+
//!                                        | guard below 12 KiB |  never mapped: a frame that overshoots faults here
//!   0xffff_c900_0000_3000  lowest        +--------------------+
//!                                        | body        16 KiB |  mapped page by page
//!                          lowest + 1024 |- - - the line - - -|  below it nothing begins that cannot be given up half-way
//!                                        |         ^          |
//!                                        |         | SP moves |
//!                                        | first frame        |
//!                                        | saved registers    |  of user mode: where every backtrace ends
//!   0xffff_c900_0000_7000  top           +--------------------+
//!                                        | guard above  4 KiB |  never mapped
//!   0xffff_c900_0000_8000  next slot     +--------------------+
//! ```
//!
//! All slots have one shape ([`GEOMETRY`]), so that "which stack is this address on" is a division:
//! no lock, no list, in any context.
//!
//! # Quick start
//!
//! A kernel that has page tables gives two functions, answers one question (how many spinning locks
//! this CPU holds) and brings each CPU up with one call:
//!
//! ```no_run
//! use kstack::addr::{Addr, AddrRange};
//! use kstack::verdict::OverflowReport;
//! use kstack::{Backing, Hooks, SavedRegs, Stacks, Start, Thread};
//! use kstack::{cpu, hooks, interrupts, pool::Exhausted};
//! # mod my {
//! #     pub fn map(_: usize) -> Option<()> { None }
//! #     pub fn unmap_everywhere(_: usize, _: usize) {}
//! #     pub fn handle(_: u8) {}
//! #     pub fn locks_of_this_cpu() -> u32 { 0 }
//! #     pub fn exit_current_thread() -> ! { loop {} }
//! # }
//!
//! /// 1. Pages.
//! struct Pages;
//!
//! // SAFETY: (1) `map` puts an unused frame there, in the tables of all address spaces; (2)
//! // `unmap_everywhere` waits for all CPUs; (3) to (5) are left to their defaults, and every CPU
//! // comes up below.
//! unsafe impl Backing for Pages {
//!     fn map_page(&self, page: Addr) -> Result<(), Exhausted> {
//!         my::map(page.get()).ok_or(Exhausted::Frame)
//!     }
//!     fn unmap_pages(&self, range: AddrRange) {
//!         my::unmap_everywhere(range.lowest.get(), range.top.get());
//!     }
//! }
//!
//! /// 2. Everything about stacks. Addresses that cannot be are refused by the compiler.
//! // SAFETY: (1) nothing else is from here to 0xffff_c900_0100_0000; (2) `Pages` is for these
//! // stacks; (3) `bring_up` loads the block.
//! static STACKS: Stacks<Pages> =
//!     unsafe { kstack::stacks!(Pages, lowest: 0xffff_c900_0000_0000, slots: 512) };
//!
//! /// 3. The kernel's side of entries.
//! static HOOKS: Hooks =
//!     Hooks::new(my::locks_of_this_cpu).interrupt(on_interrupt).end_thread(end_thread);
//!
//! fn on_interrupt(vector: u8, _regs: &mut SavedRegs) {
//!     my::handle(vector); // on the CPU's IRQ stack
//! }
//!
//! fn end_thread(report: &OverflowReport) -> ! {
//!     // On the thread's own stack, which is empty again: print `report`, end the thread.
//!     let _text = format_args!("{report}");
//!     my::exit_current_thread()
//! }
//!
//! /// 4. A CPU.
//! static CPUS: [cpu::Block; 4] = cpu::blocks();
//!
//! fn start() -> ! {
//!     // SAFETY: (1) the kernel's first CPU, in its own mode, on its boot stack; (2) a static; (3)
//!     // nothing is read-only yet; (4) one `Stacks`.
//!     let refused = unsafe {
//!         hooks::install(&HOOKS);
//!         cpu::bring_up(&STACKS, &CPUS[0], first)
//!     };
//!     panic!("{refused}")
//! }
//!
//! /// 5. Threads: what runs next is the kernel's decision.
//! fn first(idle: &'static Thread<Pages>) -> ! {
//!     extern "C" fn worker(_argument: usize) {}
//!     let stack = STACKS.acquire_thread(1).expect("memory for a stack");
//!     let thread = Thread::new(stack, Start::Kernel { function: worker, argument: 0 }, 1);
//!     // SAFETY: (1) the idle thread runs here; (2) `thread` has never run; (3) both stay.
//!     unsafe { interrupts::without(|off| idle.switch_to(&thread, off, 0)) };
//!     # loop {}
//! }
//! ```
//!
//! Build a kernel with `-C force-frame-pointers=yes`: backtraces follow frame pointers.
//!
//! # I have X, I want Y, take Z
//!
//! | a kernel that has | and wants | takes |
//! | --- | --- | --- |
//! | paging | all of it | the default features, [`cpu::bring_up`] |
//! | its own scheduler and interrupt code | guarded stacks that are cached and reused clean | `stacks`: [`Stacks`], [`Backing`] |
//! | its own IDT, GDT and TSS (x86_64) | an overflow that is named and survived | `entry`: [`cpu::prepare`], the exception stacks' tops for its own TSS, `arch::x86_64::vectors::vector(8)` for the gate, [`cpu::run_idle`]; *docs/adopting.md* has it whole |
//! | its own entry code | the switch alone | `switch`: [`arch::current::switch`], [`first_frame::build_bare`] |
//! | a guest, a dump, another kernel's stacks | to unwind them | `unwind`: [`unwind::Unwinder`] over a closure that reads |
//! | a fault that may be about a stack | a judgement | [`verdict::judge`], in every configuration |
//! | a host, for tests | the pool on memory of its own | `stacks`, on any target |
//!
//! | feature | needs | assembly |
//! | --- | --- | --- |
//! | `stacks` | nothing: any target | none |
//! | `unwind` | one of the five architectures | reading the frame pointer |
//! | `switch` | the System V ABI; on arm32 also `entry` | the switch, a call on another stack, first frames |
//! | `entry` | the kernel's mode; brings the other three | vectors, system calls, the return path, exception stacks |
//!
//! # What it costs
//!
//! Instructions on x86_64, as `cargo xtask bench` counts them in the project's reference kernel:
//!
//! | what | instructions |
//! | --- | --- |
//! | a stack from this CPU's cache and back to it, 1 KiB used | 470 |
//! | a stack mapped anew and unmapped again | 2,426, page tables included |
//! | a switch between two threads | 46 |
//! | an interrupt's way to the IRQ stack and back | 118 |
//! | a system call and back | 137, `getppid` in it |
//! | a frame of a backtrace | 23 |
//! | memory per slot, besides the stack's pages | 64 bytes |
//!
//! # What the library promises, and what it asks
//!
//! No safe function breaks memory. What is unsafe says in numbered conditions what the caller sees
//! to; the promises behind a [`Backing`] are listed there, those behind a CPU at [`cpu::bring_up`].
//! What a kernel forgot is refused with a sentence ([`cpu::Refused`]) or panics with one that names
//! the hook.
//!
//! Everything has run in emulation only; the project's CAVEATS.md says per architecture what is
//! tested, modelled and assumed.
#![no_std]
// A function that the sanitizer itself is made of is not watched by it.
#![cfg_attr(feature = "address-sanitizer", feature(sanitize))]
#![deny(unreachable_pub)]
#![deny(missing_docs)]
// What is public may grow unless it says why it will not.
#![warn(clippy::exhaustive_enums, clippy::exhaustive_structs, clippy::return_self_not_must_use)]

// The decisions, under the same names: a kernel depends on this crate alone.
pub use kstack_core::{
    addr, arena, cache, canary, depot, depths, erase, geometry, groups, kind, lifetime, offset,
    pool, ports, prologue, record, shadow, stacks, stock, verdict,
};

#[path = "arch/target.rs"]
mod target;

#[cfg(any(feature = "unwind", feature = "switch", feature = "entry"))]
#[expect(clippy::exhaustive_structs, reason = "registers and tables, as the hardware has them")]
pub mod arch;

#[cfg(feature = "stacks")]
mod backing;
#[cfg(feature = "stacks")]
mod divided;
#[cfg(feature = "stacks")]
pub mod dma;
#[cfg(feature = "stacks")]
pub mod elsewhere;
#[cfg(feature = "stacks")]
mod lock;
#[cfg(feature = "stacks")]
pub mod nodes;
#[cfg(feature = "stacks")]
mod owned;
#[cfg(feature = "stacks")]
pub mod registry;

#[cfg(feature = "unwind")]
pub mod unwind;

#[cfg(feature = "switch")]
pub mod first_frame;

#[cfg(feature = "entry")]
pub mod cpu;
#[cfg(feature = "entry")]
pub mod end_word;
#[cfg(feature = "entry")]
pub mod hooks;
#[cfg(feature = "entry")]
pub mod interrupts;
#[cfg(feature = "entry")]
pub mod irq;
#[cfg(feature = "entry")]
mod irq_cell;
#[cfg(feature = "entry")]
pub mod local;
#[cfg(feature = "entry")]
pub mod on_return;
#[cfg(feature = "address-sanitizer")]
mod poison;
#[cfg(feature = "entry")]
mod protected;
#[cfg(feature = "entry")]
pub mod protector;
#[cfg(feature = "entry")]
pub mod report;
#[cfg(feature = "entry")]
pub mod room;
#[cfg(feature = "address-sanitizer")]
pub mod sanitizer;
#[cfg(feature = "entry")]
mod shifted;
#[cfg(feature = "entry")]
mod this_cpu;
#[cfg(feature = "entry")]
mod thread;

pub mod meter;
#[cfg(all(doctest, feature = "entry"))]
pub mod misuse;

#[cfg(feature = "stacks")]
pub use backing::Backing;
#[cfg(feature = "stacks")]
pub use owned::{Borrowed, Stack, Stacks};

#[cfg(feature = "entry")]
pub use arch::current::regs::SavedRegs;
#[cfg(feature = "entry")]
pub use first_frame::Start;
#[cfg(feature = "entry")]
pub use hooks::Hooks;
#[cfg(feature = "entry")]
pub use interrupts::InterruptsOff;
#[cfg(feature = "entry")]
pub use thread::Thread;

pub use target::GEOMETRY;
