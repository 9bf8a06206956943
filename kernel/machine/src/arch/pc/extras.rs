//! What else a program's thread may have in the CPU: ports that it may use, segments of its own, a
//! base of GS, and a shadow stack (see [`shadow`]).
//!
//! The map of a thread is shown to the CPU when the thread first needs it after it came: by the
//! fault of the instruction that used a port. A switch away hides it again, with one store; a
//! switch between threads that use no port does nothing.

use super::segments;
pub use super::segments::LocalSegments;
pub use super::segments::{Description, MOST, Segment, fault_of_return, is_stack};
use super::shadow;
pub use super::shadow::{is_shadow_access, shadow_form, shadow_pointer};
pub use crate::arch::any::extras::settle_shadow;
use crate::arch::paging::{self, NoMemory};
use crate::arch::regs::SavedRegs;
use crate::arch::{cpu, cpu_tables, step, user};
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
}

impl Extras {
    /// Nothing.
    pub const fn new() -> Self {
        Self {
            pointer: AtomicU64::new(0),
            mode: AtomicU64::new(0),
            segments: AtomicPtr::new(core::ptr::null_mut()),
            gs_base: AtomicU64::new(0),
        }
    }

    /// At the switch away from a thread that has some. Interrupts off.
    pub fn leave(&self) {
        permit_ports(Ports::None);
        segments::unload();
        self.leave_gs_base();
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
        user::set_gs_base(self.gs_base.load(Ordering::Relaxed));
        self.catch_up();
    }

    /// Those who have no extras find 0. The thread itself may have changed it, by a selector.
    fn leave_gs_base(&self) {
        self.gs_base.store(user::gs_base(), Ordering::Relaxed);
        user::set_gs_base(0);
    }

    /// These are of a child of the running thread, which has not run. Says whether it has any by
    /// that.
    pub fn inherit(&self) -> bool {
        let gs_base = user::gs_base();
        self.gs_base.store(gs_base, Ordering::Relaxed);
        gs_base != 0
    }

    /// The running thread, whose these are, starts another program.
    pub fn start_afresh(&self) {
        user::set_gs_base(0);
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
    }
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
