//! What the CPU itself reads: the vector base, and the stack pointers of the modes that exceptions
//! arrive in.
//!
//! ```text
//!   one page per CPU, between two that are never mapped
//!   +0x000  thread_info of the last stack, where that is on the stack
//!   +0x020  words of IRQ mode        8 words: r0, pc, cpsr as interrupted; sp, lr, r1 while looking for a stack
//!   +0x040  words of abort mode
//!   +0x060  words of undefined mode
//!   +0x080  words of FIQ mode
//!   +0x0a0  the last stack           what is left of the page: for an overflow of the overflow stack
//!   +0x1000
//!
//!   The page's address is a multiple of twice the size of a stack, so that the last stack passes the bit test too.
//! ```
//!
//! Nothing is ever pushed on the modes' words, they are written by offset: so they cannot overflow.
//! A mode's words are in use from the exception to the change to SVC mode a few instructions later,
//! with IRQ masked: no exception of the same kind can arrive in between.

use core::arch::asm;
use core::cell::UnsafeCell;
use core::fmt;
use core::mem::{offset_of, size_of};
use kstack_core::addr::{Addr, AddrRange, ByteSize, PAGE_BYTES};

/// The small stack of an exception mode: words with a fixed meaning.
#[derive(Debug)]
#[repr(C)]
pub(super) struct ModeWords(UnsafeCell<[u32; 8]>);

// SAFETY: (1) only entry code of the CPU that owns them touches them.
unsafe impl Sync for ModeWords {}

impl ModeWords {
    /// r0, as interrupted.
    pub(super) const R0: usize = 0;
    /// PC, as interrupted.
    pub(super) const PC: usize = size_of::<u32>();
    /// CPSR, as interrupted.
    pub(super) const CPSR: usize = 2 * size_of::<u32>();
    /// SP_svc, as interrupted.
    pub(super) const SP: usize = 3 * size_of::<u32>();
    /// LR_svc, as interrupted.
    pub(super) const LR: usize = 4 * size_of::<u32>();
    /// r1, as interrupted.
    pub(super) const R1: usize = 5 * size_of::<u32>();

    pub(crate) const fn new() -> Self {
        Self(UnsafeCell::new([0; 8]))
    }
}

const LAST_STACK_BYTES: usize = PAGE_BYTES - 5 * size_of::<ModeWords>();

/// One CPU's words; a page of its own.
#[derive(Debug)]
#[repr(C, align(4096))]
pub struct CpuTables {
    last_thread_info: ModeWords,
    irq: ModeWords,
    abort: ModeWords,
    undefined: ModeWords,
    fiq: ModeWords,
    last_stack: UnsafeCell<[u8; LAST_STACK_BYTES]>,
}

const _: () = assert!(size_of::<CpuTables>() == PAGE_BYTES);

impl CpuTables {
    /// Empty words.
    pub const fn new() -> Self {
        Self {
            last_thread_info: ModeWords::new(),
            irq: ModeWords::new(),
            abort: ModeWords::new(),
            undefined: ModeWords::new(),
            fiq: ModeWords::new(),
            last_stack: UnsafeCell::new([0; LAST_STACK_BYTES]),
        }
    }

    /// Where the last stack of the tables at `tables` is.
    pub const fn last_stack(tables: Addr) -> AddrRange {
        AddrRange {
            lowest: tables.wrapping_add(ByteSize::new(offset_of!(Self, last_stack))),
            top: tables.wrapping_add(ByteSize::PAGE),
        }
    }

    /// Points the exception modes of the CPU this runs on at their words, and the vector base at
    /// `vectors`; lets FIQs in.
    ///
    /// # Safety
    ///
    /// 1. `tables` stays mapped and writable, and no other CPU uses it; `vectors` are this
    ///    library's.
    /// 2. Interrupts are off; the CPU is in SVC mode, with its [`crate::local::CpuLocal`] loaded.
    pub unsafe fn load(tables: *const Self, vectors: Addr) {
        // SAFETY: (1) each mode's banked SP is set in that mode, interrupts masked throughout, and
        // SVC mode is back at the end with its own SP untouched; (2) the vectors are aligned as
        // VBAR wants.
        unsafe {
            asm!(
                "cps #{irq_mode}",
                "add sp, r0, #{irq}",
                "cps #{abort_mode}",
                "add sp, r0, #{abort}",
                "cps #{undefined_mode}",
                "add sp, r0, #{undefined}",
                "cps #{fiq_mode}",
                "add sp, r0, #{fiq}",
                "cps #{svc_mode}",
                "mcr p15, 0, r1, c12, c0, 0",
                "isb",
                // FIQs, which are NMIs, may come from now on: only their own handler masks them.
                "cpsie f",
                // FIQ has r8 to r12 and every mode but user has SP and LR of its own: no operand
                // may be one of those.
                in("r0") tables,
                in("r1") vectors.get(),
                irq = const offset_of!(Self, irq),
                abort = const offset_of!(Self, abort),
                undefined = const offset_of!(Self, undefined),
                fiq = const offset_of!(Self, fiq),
                irq_mode = const 0x12,
                abort_mode = const 0x17,
                undefined_mode = const 0x1b,
                fiq_mode = const 0x11,
                svc_mode = const super::regs::SVC_MODE,
                options(nostack, preserves_flags),
            );
        }
    }
}

impl Default for CpuTables {
    fn default() -> Self {
        Self::new()
    }
}

/// What of this CPU, or of what the kernel gave it, the entries cannot work with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unfit {
    /// The CPU is not in SVC mode.
    NotInSvcMode,
    /// The CPU has no overflow stack.
    NoOverflowStack,
    /// The CPU has no IRQ stack.
    NoIrqStack,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotInSvcMode => {
                "the CPU is not in SVC mode, in which this library runs the kernel"
            }
            Self::NoOverflowStack => "the CPU has no overflow stack",
            Self::NoIrqStack => "the CPU has no IRQ stack",
        })
    }
}

impl core::error::Error for Unfit {}
