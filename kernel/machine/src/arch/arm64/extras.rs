//! What else a program's thread may have in the CPU: a shadow stack (FEAT_GCS; Arm ARM, D11).
//!
//! A call pushes its return address there too, at GCSPR_EL0, and a return that finds another one is
//! an exception. GCSCRE0_EL1 says per thread what of that is on. Pages of such a stack have a
//! permission of their own, see `paging`.

pub use crate::arch::any::extras::{
    forget_cause, may_be_about_a_port, permit_ports, prepare_ports, step_over_interrupt_flag,
};
pub use crate::arch::any::no_breakpoints::{BadBreakpoint, Breakpoints};
pub use crate::arch::any::no_segments::{
    Description, LocalSegments, MOST, Segment, fault_of_return,
};
use crate::arch::regs::SavedRegs;
use alloc::sync::Arc;
use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};
use kstack::shadow::{Form, mode};

/// In GCSCRE0_EL1: programs may read where their shadow stack is; calls and returns use it; return
/// values are checked; stores; pushes and pops.
const READABLE: u64 = 1 << 10;
const CALLS: u64 = 1;
const CHECKED: u64 = 1 << 5;
const STORES: u64 = 1 << 9;
const PUSHES: u64 = 1 << 8;

/// In the syndrome of a data abort: a call, a return, or an instruction for shadow stacks
/// (ISS2.GCS).
const OF_SHADOW_STACK: u64 = 1 << 40;
const DATA_ABORT: u8 = 0x24;

/// What a thread keeps of it while it does not run.
#[derive(Debug)]
pub struct Extras {
    pointer: AtomicU64,
    control: AtomicU64,
}

const fn control_of(mode: u64) -> u64 {
    let mut control = READABLE;
    if mode & mode::ENABLED != 0 {
        control |= CALLS | CHECKED;
    }
    if mode & mode::STORES != 0 {
        control |= STORES;
    }
    if mode & mode::PUSHES != 0 {
        control |= PUSHES;
    }
    control
}

impl Extras {
    /// Nothing.
    pub const fn new() -> Self {
        Self { pointer: AtomicU64::new(0), control: AtomicU64::new(READABLE) }
    }

    /// These are of a child of the running thread, which has not run. Says whether it has any by
    /// that.
    pub fn inherit(&self) -> bool {
        false
    }

    /// The running thread, whose these are, starts another program.
    pub fn start_afresh(&self) {}

    /// Takes the breakpoints from the running thread: it has none.
    pub fn take_breakpoints(&self) -> Option<Breakpoints> {
        None
    }

    /// Gives it some.
    pub fn give_breakpoints(&self, breakpoints: Option<Breakpoints>) {
        if let Some(breakpoints) = breakpoints {
            match breakpoints {}
        }
    }

    /// What the last exception of the program was about, as its tracer reads it.
    pub fn events(&self) -> u64 {
        0
    }

    /// Sets that.
    pub fn set_events(&self, _told: u64) {}

    /// Keeps what the CPU says of an exception beside its frame: nothing. Says whether it was about
    /// a breakpoint.
    pub fn keep_cause(&self, _vector: u8, _regs: &mut SavedRegs) -> bool {
        false
    }

    /// At the switch away from a thread that has some. Interrupts off.
    pub fn leave(&self) {
        self.pointer.store(shadow_pointer(), Ordering::Relaxed);
        set_registers(0, READABLE);
    }

    /// At the switch to one.
    pub fn come(&self) {
        let pointer = self.pointer.load(Ordering::Relaxed);
        set_registers(pointer, self.control.load(Ordering::Relaxed));
    }

    /// Sets the shadow stack's pointer and mode of a thread that does not run.
    pub fn set_shadow(&self, pointer: u64, mode: u64) {
        self.pointer.store(pointer, Ordering::Relaxed);
        self.control.store(control_of(mode), Ordering::Relaxed);
    }

    /// The same for the thread that runs, whose these are. Interrupts off.
    pub fn set_own_shadow(&self, pointer: u64, mode: u64) {
        self.set_shadow(pointer, mode);
        self.come();
    }

    /// Loads what the running thread has been given since it came: nothing.
    pub fn catch_up(&self) {}

    /// Gives it segments: there are none.
    pub fn give_segments(&self, segments: Arc<LocalSegments>) {
        match *segments {}
    }

    /// Takes them from it.
    pub fn drop_segments(&self) {}
}

/// What shadow stacks look like; `None`: this CPU has none.
pub fn shadow_form() -> Option<Form> {
    let (features, permissions): (u64, u64);
    // SAFETY: (1) reading identification registers has no effect.
    unsafe {
        asm!("mrs {}, id_aa64pfr1_el1", "mrs {}, S3_0_C0_C7_3", out(reg) features, out(reg) permissions,
             options(nomem, nostack, preserves_flags));
    }
    let has = |register: u64, shift: u32| register >> shift & 0xf != 0;
    (has(features, 44) && has(permissions, 8)).then_some(Form::Arm64)
}

/// Before this CPU runs a program.
pub(super) fn set_up() {
    if shadow_form().is_some() {
        set_registers(0, READABLE);
    }
}

fn set_registers(pointer: u64, control: u64) {
    // SAFETY: (1) the registers are there, or no thread would have a shadow stack; (2) they are the
    // programs' alone, and count from the return to user mode on, which synchronizes.
    unsafe {
        asm!("msr S3_3_C2_C5_1, {}", "msr S3_0_C2_C5_2, {}", in(reg) pointer, in(reg) control,
             options(nostack, preserves_flags));
    }
}

/// Where the running thread's shadow stack is. Only if it has one.
pub fn shadow_pointer() -> u64 {
    let pointer;
    // SAFETY: (1) reading the register has no effect; it is there, by the caller.
    unsafe {
        asm!("mrs {}, S3_3_C2_C5_1", out(reg) pointer, options(nomem, nostack, preserves_flags))
    };
    pointer
}

/// What calls and returns wrote to shadow stacks is seen by loads from here on, and the reverse:
/// `gcsb dsync`.
pub fn settle_shadow() {
    // SAFETY: (1) a barrier changes nothing; older CPUs take it for a hint without effect.
    unsafe { asm!("hint #19", options(nostack, preserves_flags)) };
}

/// Whether a page fault is of a call, a return, or an instruction for shadow stacks.
pub fn is_shadow_access(vector: u8, regs: &SavedRegs) -> bool {
    vector == DATA_ABORT && regs.esr & OF_SHADOW_STACK != 0
}
