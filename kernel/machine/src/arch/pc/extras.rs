//! What else a program's thread may have in the CPU: ports that it may use, segments of its own, a
//! base of GS, and a shadow stack (see [`shadow`]).
//!
//! The map of a thread is shown to the CPU when the thread first needs it after it came: by the
//! fault of the instruction that used a port. A switch away hides it again, with one store; a
//! switch between threads that use no port does nothing.

use super::breakpoints::{self, Registers};
pub use super::breakpoints::{BadBreakpoint, Breakpoints};
use super::segments;
pub use super::segments::LocalSegments;
pub use super::segments::{Description, MOST, Segment, fault_of_return, is_stack};
use super::shadow;
pub use super::shadow::{is_shadow_access, shadow_form, shadow_pointer};
pub use crate::arch::any::extras::settle_shadow;
use crate::arch::paging::{self, NoMemory};
use crate::arch::regs::SavedRegs;
use crate::arch::{cpu, cpu_tables, step};
use crate::cpus::{self, Cpu};
use crate::memory::frames;
use crate::spin::SpinLock;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use kstack::arch::current::tables::CpuTables;
use kstack::arch::io_maps::IoMaps;
use kstack::ports::Ports;

/// Pages of a CPU's maps.
const PAGES: u64 = size_of::<IoMaps>() as u64 / 4096;
const _: () = assert!(2 + PAGES < cpu_tables::PAGES_OF_A_CPU);

const DEBUG: u8 = 1;
const GENERAL_PROTECTION: u8 = 13;

/// What a thread keeps of it while it does not run.
#[derive(Debug)]
pub struct Extras {
    /// The shadow stack's pointer.
    pointer: AtomicU64,
    /// Its mode; 0: it is off.
    mode: AtomicU64,
    /// The segments of its address space, of which it is one owner; null: none.
    segments: AtomicPtr<LocalSegments>,
    /// The base of GS.
    gs_base: AtomicU64,
    /// Breakpoints in the CPU, which this owns; null: none.
    breakpoints: AtomicPtr<Registers>,
    /// What the last debug exception of the program was about.
    events: AtomicU64,
}

impl Extras {
    /// Nothing.
    pub const fn new() -> Self {
        Self {
            pointer: AtomicU64::new(0),
            mode: AtomicU64::new(0),
            segments: AtomicPtr::new(core::ptr::null_mut()),
            gs_base: AtomicU64::new(0),
            breakpoints: AtomicPtr::new(core::ptr::null_mut()),
            events: AtomicU64::new(0),
        }
    }

    /// At the switch away from a thread that has some. Interrupts off.
    pub fn leave(&self) {
        permit_ports(Ports::None);
        segments::unload();
        self.leave_gs_base();
        if let Some(breakpoints) = self.own_breakpoints() {
            breakpoints.unload();
        }
        if self.mode.load(Ordering::Relaxed) != 0 {
            self.pointer.store(shadow_pointer(), Ordering::Relaxed);
            shadow::set_mode(0);
        }
    }

    /// At the switch to one. Interrupts off.
    pub fn come(&self) {
        let mode = self.mode.load(Ordering::Relaxed);
        if mode != 0 {
            shadow::set_pointer(self.pointer.load(Ordering::Relaxed));
            shadow::set_mode(mode);
        }
        cpu::set_user_gs_base(self.gs_base.load(Ordering::Relaxed));
        if let Some(breakpoints) = self.own_breakpoints() {
            breakpoints.load();
        }
        self.catch_up();
    }

    fn own_breakpoints(&self) -> Option<&Registers> {
        // SAFETY: (1) what lies there is this one's, and only the thread itself, which runs this or
        // the switch to or from it, replaces it.
        unsafe { self.breakpoints.load(Ordering::Relaxed).as_ref() }
    }

    /// Takes the breakpoints from the running thread, whose these are.
    pub fn take_breakpoints(&self) -> Option<Breakpoints> {
        let taken = cpu::without_interrupts(|| {
            self.own_breakpoints()?.unload();
            Some(self.breakpoints.swap(core::ptr::null_mut(), Ordering::Relaxed))
        })?;
        // SAFETY: (1) from `into_raw`, and the CPU does not have them any more.
        Some(unsafe { Breakpoints::from_raw(taken) })
    }

    /// Gives it these, where it has none, or takes those that it has.
    pub fn give_breakpoints(&self, breakpoints: Option<Breakpoints>) {
        let before = self.take_breakpoints();
        if let Some(breakpoints) = breakpoints {
            cpu::without_interrupts(|| {
                self.breakpoints.store(breakpoints.into_raw(), Ordering::Relaxed);
                if let Some(own) = self.own_breakpoints() {
                    own.load();
                }
            });
        }
        drop(before);
    }

    /// What the last debug exception of the program was about, as its tracer reads it.
    pub fn events(&self) -> u64 {
        breakpoints::told(self.events.load(Ordering::Relaxed))
    }

    /// Sets that.
    pub fn set_events(&self, told: u64) {
        self.events.store(breakpoints::told(told), Ordering::Relaxed);
    }

    /// Keeps what the CPU says of an exception of the running program, whose thread's these are,
    /// beside its frame. Says whether it was about a breakpoint. Interrupts off.
    pub fn keep_cause(&self, vector: u8, regs: &mut SavedRegs) -> bool {
        if vector != DEBUG {
            return false;
        }
        let events = breakpoints::take_events();
        let hits = self.own_breakpoints().map_or(0, |own| own.hits(events, regs));
        let is_step = breakpoints::is_step(events);
        self.events.store((hits | is_step) as u64, Ordering::Relaxed);
        hits != 0 && is_step == 0
    }

    /// Those who have no extras find 0. The thread itself may have changed it, by a selector.
    fn leave_gs_base(&self) {
        self.gs_base.store(cpu::user_gs_base(), Ordering::Relaxed);
        cpu::set_user_gs_base(0);
    }

    /// These are of a child of the running thread, which has not run. Says whether it has any by
    /// that.
    pub fn inherit(&self) -> bool {
        let gs_base = cpu::user_gs_base();
        self.gs_base.store(gs_base, Ordering::Relaxed);
        gs_base != 0
    }

    /// The running thread, whose these are, starts another program.
    pub fn start_afresh(&self) {
        cpu::set_user_gs_base(0);
        self.events.store(0, Ordering::Relaxed);
        drop(self.take_breakpoints());
    }

    /// Loads the segments of the running thread, whose these are, if it has been given some since
    /// it came. Interrupts off.
    pub fn catch_up(&self) {
        let segments = self.segments.load(Ordering::Acquire);
        // SAFETY: (1) one owner of what lies there is this.
        if let Some(wanted) = unsafe { segments.as_ref() }
            && !segments::is_loaded(segments)
        {
            wanted.load();
        }
    }

    /// Gives it the segments of its address space, if it has none: from the next
    /// [`Extras::catch_up`] on.
    pub fn give_segments(&self, segments: Arc<LocalSegments>) {
        let given = Arc::into_raw(segments).cast_mut();
        let none = core::ptr::null_mut();
        let is_first =
            self.segments.compare_exchange(none, given, Ordering::AcqRel, Ordering::Acquire);
        if is_first.is_err() {
            // SAFETY: (1) from `into_raw` above, and taken by no other code.
            drop(unsafe { Arc::from_raw(given) });
        }
    }

    /// The running thread, whose these are, has an address space of its own from now on.
    pub fn drop_segments(&self) {
        cpu::without_interrupts(|| {
            if !self.segments.load(Ordering::Relaxed).is_null() {
                segments::unload();
            }
        });
        self.take_segments();
    }

    fn take_segments(&self) {
        let taken = self.segments.swap(core::ptr::null_mut(), Ordering::AcqRel);
        if !taken.is_null() {
            // SAFETY: (1) from `into_raw`, and no CPU has them loaded for this thread.
            drop(unsafe { Arc::from_raw(taken) });
        }
    }

    /// Sets the shadow stack's pointer and mode of a thread that does not run.
    pub fn set_shadow(&self, pointer: u64, mode: u64) {
        self.pointer.store(pointer, Ordering::Relaxed);
        self.mode.store(mode, Ordering::Relaxed);
    }

    /// The same for the thread that runs, whose these are. Interrupts off.
    pub fn set_own_shadow(&self, pointer: u64, mode: u64) {
        self.set_shadow(pointer, mode);
        shadow::set_pointer(pointer);
        shadow::set_mode(mode);
    }
}

impl Drop for Extras {
    fn drop(&mut self) {
        self.take_segments();
        let breakpoints = *self.breakpoints.get_mut();
        if !breakpoints.is_null() {
            // SAFETY: (1) from `into_raw`, and the thread has ended.
            drop(unsafe { Breakpoints::from_raw(breakpoints) });
        }
    }
}

/// What a debug exception in the kernel was about is forgotten: a program's breakpoint that a load
/// of SS held back, or a test's. Interrupts off.
pub fn forget_cause() {
    breakpoints::take_events();
}

/// Makes the maps of all CPUs, before a port can be permitted: the first time a program asks.
pub fn prepare_ports() -> Result<(), NoMemory> {
    static ONE_AT_A_TIME: SpinLock<()> = SpinLock::new(());
    let _one_at_a_time = ONE_AT_A_TIME.lock();
    for cpu in cpus::online() {
        if !cpu.arch.has_io_maps.load(Ordering::Acquire) {
            make_maps(cpu)?;
        }
    }
    Ok(())
}

fn make_maps(cpu: &Cpu) -> Result<(), NoMemory> {
    let lowest = cpu_tables::tables_address(cpu.id()) + 4096;
    for address in (lowest..lowest + 4096 * PAGES).step_by(4096) {
        // Those that an earlier try mapped stay.
        if !paging::kernel_is_mapped(address) {
            paging::map_kernel(address, frames::alloc_zeroed().ok_or(NoMemory)?)?;
        }
    }
    // SAFETY: (1) mapped above, with frames of zeros; no word leads there before `has_io_maps` is
    // set.
    unsafe { CpuTables::fill_io_maps(cpu.arch.tables.load(Ordering::Acquire)) };
    cpu.arch.has_io_maps.store(true, Ordering::Release);
    Ok(())
}

/// Permits ports to user mode on this CPU; more than none only after [`prepare_ports`]. Says
/// whether it was something else before. Interrupts off.
pub fn permit_ports(ports: Ports<'_>) -> bool {
    let cpu = cpus::this();
    debug_assert!(matches!(ports, Ports::None) || cpu.arch.has_io_maps.load(Ordering::Relaxed));
    // SAFETY: (1) this CPU's loaded tables, interrupts off; (2) `cpu_tables::load` has made the
    // limit reach the maps, and `prepare_ports` has filled them before a thread had a port.
    unsafe { CpuTables::permit_ports(cpu.arch.tables.load(Ordering::Relaxed), ports) }
}

/// Whether an exception in user mode may have been about a port.
pub fn may_be_about_a_port(vector: u8) -> bool {
    vector == GENERAL_PROTECTION
}

/// Steps over an instruction that disables or enables interrupts, by its first byte. Says whether
/// it is one.
pub fn step_over_interrupt_flag(code: u8, regs: &mut SavedRegs) -> bool {
    const CLI: u8 = 0xfa;
    const STI: u8 = 0xfb;
    let is_one = matches!(code, CLI | STI);
    if is_one {
        step::over(regs, 1);
    }
    is_one
}
