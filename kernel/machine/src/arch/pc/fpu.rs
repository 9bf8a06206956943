//! Floating-point and vector registers of user programs, saved and loaded whole at a switch.
//!
//! The kernel is compiled without floating point, so between a switch away and a switch back
//! nothing touches the registers. Only threads of processes have an area; how large it is and what
//! saves it is found out at boot ([`xstate`]).
//!
//! # Invariants of an area
//!
//! 1. It is in the standard form, its header names no state that XCR0 has not, the header's other
//!    bytes are zero, and MXCSR has no reserved bit: `xrstor` and `fxrstor` do not fault on it.
//! 2. A state whose bit in the header is clear is as at a program's start, whatever its bytes say:
//!    `xsaveopt` leaves them out. [`FpuState::read`] writes all of them first.
//! 3. `xsaveopt` leaves out, too, what did not change since the last `xrstor` from the same address
//!    on the same CPU. So an area's bytes change only by saving, or with a load after it.
//!
//! With the registers go the segment selectors that the kernel does not load in 64-bit mode: they
//! too stay as a program left them until the next program runs. On i386 every entry saves them.

use super::xstate::{self, HEADER, LEGACY};
use crate::arch::cpu::{self, Selectors};
use crate::arch::pc::control;
use crate::memory::fallible::NoMemory;
use crate::memory::frames::Stretch;
use alloc::alloc::{alloc, alloc_zeroed, dealloc};
use core::alloc::Layout;
use core::arch::asm;
use core::cell::UnsafeCell;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, Ordering};

pub use super::xstate::LEGACY_BYTES;

/// The x87 and SSE registers as `fxsave` lays them out (Intel SDM vol. 1, 10.5.1).
pub type Snapshot = [u8; LEGACY_BYTES];

/// Where the control word of the x87 and MXCSR are in an area.
const CONTROL: usize = 0;
const MXCSR: usize = 24;
/// All exceptions masked, round to nearest, 64 bits.
const FRESH_CONTROL: u16 = 0x037f;
const FRESH_MXCSR: u32 = 0x1f80;

/// The saved state of one thread.
pub struct FpuState {
    /// [`xstate::bytes`] bytes at a multiple of 64, or of 16 where `fxsave` is all there is.
    area: NonNull<u8>,
    selectors: UnsafeCell<Selectors>,
}

/// A state that the CPU would not load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadState;

/// Whether `fxrstor` leaves the x87's last instruction, operand and opcode as they are: CPUs of AMD
/// do, unless an exception is pending, if they have no feature that says otherwise (AMD APM vol. 2,
/// 11.4.4; `cpuid` leaf 0x8000_0008, ebx bit 2).
static POINTERS_STAY: AtomicBool = AtomicBool::new(false);

/// Finds out about [`POINTERS_STAY`], and turns the states of programs on. By each CPU, before it
/// runs a program.
pub(in crate::arch) fn look_at_cpu() {
    const EBX: usize = 1;
    let vendor = control::vendor();
    let is_amd = matches!(&vendor, b"AuthenticAMD" | b"HygonGenuine");
    if is_amd && !control::has(0x8000_0008, EBX, 2) {
        POINTERS_STAY.store(true, Ordering::Relaxed);
    }
    xstate::set_up();
}

/// Makes [`FpuState::load`] behave as on a CPU whose pointers stay, or not; says how it was. For
/// tests.
pub fn let_pointers_stay(stay: bool) -> bool {
    POINTERS_STAY.swap(stay, Ordering::Relaxed)
}

// SAFETY: (1) only the CPU that switches the owning thread in or out touches it, and a thread is on
// one CPU at a time.
unsafe impl Sync for FpuState {}
// SAFETY: (1) the area is its own, and any CPU may give it back.
unsafe impl Send for FpuState {}

impl core::fmt::Debug for FpuState {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("FpuState")
    }
}

fn layout() -> Layout {
    // What `fxsave` wants; with 64 the area would be of the layout of a thread, which the heap
    // serves from a cache.
    let alignment = if xstate::is_fxsave() { 16 } else { 64 };
    // CANNOT FAIL: a few thousand bytes at most, and a power of two.
    Layout::from_size_align(xstate::bytes(), alignment).expect("a small area")
}

impl Drop for FpuState {
    fn drop(&mut self) {
        // SAFETY: (1) `new` allocated it with this layout, which does not change after boot.
        unsafe { dealloc(self.area.as_ptr(), layout()) };
    }
}

impl FpuState {
    /// As a program starts: all exceptions masked, registers empty.
    pub fn new() -> Result<Self, NoMemory> {
        // SAFETY: (1) the size is not zero.
        let area = NonNull::new(unsafe { alloc_zeroed(layout()) }).ok_or(NoMemory)?;
        let new = Self { area, selectors: UnsafeCell::default() };
        // SAFETY: (1) nothing else has it yet.
        make_fresh(unsafe { new.bytes() });
        Ok(new)
    }

    /// A copy, for the child of a fork. The registers of the running thread are saved first.
    pub fn fork(&self) -> Result<Self, NoMemory> {
        // SAFETY: (1) the size is not zero.
        let area = NonNull::new(unsafe { alloc(layout()) }).ok_or(NoMemory)?;
        self.save();
        // SAFETY: (1) both areas have so many bytes, and are apart; (2) the owner runs this, so no
        // other thread writes to them; (3) nothing else has the copy yet.
        unsafe { area.copy_from_nonoverlapping(self.area, xstate::bytes()) };
        let copy = Self { area, selectors: UnsafeCell::default() };
        // SAFETY: (1) as above.
        unsafe { copy.selectors.get().copy_from_nonoverlapping(self.selectors.get(), 1) };
        Ok(copy)
    }

    /// The area.
    ///
    /// # Safety
    ///
    /// 1. Nothing else uses it while the caller does: the caller is the owner (or nothing else has
    ///    the state yet), and no switch comes in between where the caller writes.
    #[expect(clippy::mut_from_ref, reason = "the area is apart, as what an UnsafeCell holds")]
    unsafe fn bytes(&self) -> &mut [u8] {
        // SAFETY: (1) so many bytes, all written at the allocation; (2) by the caller's promise.
        unsafe { core::slice::from_raw_parts_mut(self.area.as_ptr(), xstate::bytes()) }
    }

    /// Stores the registers. By the owner, or at the switch away from it.
    #[inline]
    pub fn save(&self) {
        let area = self.area.as_ptr();
        if xstate::is_xsaveopt() {
            // SAFETY: (1) the area is as large as XCR0 wants it, 64-aligned, ours alone at this
            // moment.
            unsafe { cpu::xsaveopt(area) };
        } else {
            self.save_all();
        }
        // SAFETY: (1) the place is ours alone at this moment.
        unsafe { cpu::save_selectors(self.selectors.get()) };
    }

    /// Stores the registers, and every byte of the area with them (2).
    #[inline(never)]
    fn save_all(&self) {
        let area = self.area.as_ptr();
        // SAFETY: (1) as in `save`.
        unsafe {
            if xstate::is_fxsave() {
                cpu::save_fpu(area.cast());
            } else {
                cpu::xsave(area);
            }
        }
    }

    /// The x87 and SSE registers. By the owner.
    pub fn snapshot(&self) -> Snapshot {
        let mut snapshot = [0; LEGACY_BYTES];
        self.read(&mut snapshot);
        snapshot
    }

    /// The first bytes of an area with the registers as they are, for a signal's frame. By the
    /// owner.
    pub fn read(&self, to: &mut [u8]) {
        self.save_all();
        // SAFETY: (1) the owner runs this and reads only: a switch in between stores what is there
        // already.
        to.copy_from_slice(unsafe { &self.bytes()[..to.len()] });
    }

    /// Stores the registers into a signal's frame, in the form of an area, every state of it. What
    /// an area leaves to programs has any bytes then. By the owner. The stretch begins at a
    /// multiple of 64.
    pub fn write_to(&self, to: Stretch) {
        let Some(area) = to.whole(xstate::bytes()) else {
            self.save_all();
            // SAFETY: (1) as in `read`.
            to.write(0, unsafe { self.bytes() });
            return;
        };
        assert!(area.addr().is_multiple_of(64), "an area that is not aligned");
        // SAFETY: (1) inside a frame, which the direct map shows, aligned as the instructions want
        // it; (2) the program may write there meanwhile, which changes what it finds, and nothing
        // else: neither instruction looks at what is there.
        unsafe {
            if xstate::is_fxsave() {
                cpu::save_fpu(area.cast());
            } else {
                // Of the header the CPU writes the list of states only.
                area.add(HEADER.start).write_bytes(0, HEADER.len());
                cpu::xsave(area);
            }
        }
    }

    /// Makes the registers those of an area in a signal's frame, which a program may have written
    /// and may be writing: see [`FpuState::adopt`]. `legacy` stands for its first bytes. `states`:
    /// as there, and without it there is no header, and only the first bytes are taken.
    pub fn adopt_from(
        &self,
        from: Stretch,
        legacy: Option<&Snapshot>,
        states: Option<u64>,
    ) -> Result<(), BadState> {
        self.replace(states, |own| {
            let bytes = if states.is_some() { own.len() } else { LEGACY_BYTES };
            // Once, and looked at afterwards: the program cannot change it in between.
            from.read(0, &mut own[..bytes]);
            if let Some(legacy) = legacy {
                own[..LEGACY_BYTES].copy_from_slice(legacy);
            }
        })
    }

    /// Makes these the registers: of a signal's frame, which a program may have written. Those of
    /// the states in `states` are taken, where the area's header names them; others are as at a
    /// program's start. By the owner. An error where the CPU would refuse to load them: then the
    /// registers are as at a program's start.
    ///
    /// `area` has every byte of the states that are taken, at the places of the standard form.
    pub fn adopt(&self, area: &[u8], states: u64) -> Result<(), BadState> {
        let states = (area.len() >= HEADER.end).then_some(states);
        self.replace(states, |own| {
            let taken = area.len().min(own.len());
            own[..taken].copy_from_slice(&area[..taken]);
        })
    }

    /// Has `fill` write the area as a frame has it, and loads the registers from it.
    #[inline(always)]
    fn replace(&self, states: Option<u64>, fill: impl FnOnce(&mut [u8])) -> Result<(), BadState> {
        cpu::without_interrupts(|| {
            // SAFETY: (1) the owner runs this, and interrupts are off, so no switch comes in
            // between.
            let own = unsafe { self.bytes() };
            fill(own);
            let is_sound = make_loadable(own, states);
            if !is_sound {
                make_fresh(own);
            }
            self.load_registers();
            if is_sound { Ok(()) } else { Err(BadState) }
        })
    }

    /// Makes the registers those of a program's start. By the owner; its area follows at the next
    /// saving.
    #[inline]
    pub fn clear(&self) {
        load_registers(FRESH.0.as_ptr());
    }

    /// Loads the registers. At the switch to the owner, interrupts off; its thread-local storage
    /// comes after it.
    #[inline]
    pub fn load(&self) {
        if POINTERS_STAY.load(Ordering::Relaxed) {
            // SAFETY: (1) as below: the registers are not in use.
            unsafe { clear_pointers() };
        }
        self.load_registers();
        // SAFETY: (1) the selectors are null or a program loaded them once, and interrupts are off.
        unsafe { cpu::load_selectors(self.selectors.get()) };
    }

    #[inline(always)]
    fn load_registers(&self) {
        load_registers(self.area.as_ptr());
    }
}

/// Makes what a frame has an area by invariant 1, with no state but those in `states`; without them
/// there is no header yet. Says whether it can be: the CPU would load it.
#[inline]
fn make_loadable(own: &mut [u8], states: Option<u64>) -> bool {
    const SSE_OR_AVX: u64 = 2 | xstate::AVX;
    if u32_at(own, MXCSR) & !xstate::mxcsr_bits() != 0 {
        return false;
    }
    let taken = match (own.get_mut(HEADER), states) {
        (Some(header), Some(states)) => {
            // Intel SDM vol. 1, 13.8: other states, or the other form. What is behind is not
            // looked at there, and is zero in an area (invariant 1).
            let (words, _) = header.as_chunks_mut::<8>();
            let [named, form, reserved, rest @ ..] = words else { return false };
            let named_states = u64::from_le_bytes(*named);
            if named_states & !xstate::features() != 0
                || u64::from_le_bytes(*form) | u64::from_le_bytes(*reserved) != 0
            {
                return false;
            }
            rest.fill([0; 8]);
            *named = (named_states & states).to_le_bytes();
            states
        }
        (Some(header), None) => {
            header.fill(0);
            header[..8].copy_from_slice(&LEGACY.to_le_bytes());
            LEGACY
        }
        (None, _) => LEGACY,
    };
    if taken & SSE_OR_AVX == 0 {
        own[MXCSR..MXCSR + 4].copy_from_slice(&FRESH_MXCSR.to_le_bytes());
    }
    true
}

/// Loads the registers from an area.
#[inline(always)]
fn load_registers(area: *const u8) {
    // SAFETY: (1) invariant 1 of an area; (2) the callers are the registers' owner, in the kernel,
    // which has none of its own, or the switch to it.
    unsafe {
        if xstate::is_fxsave() {
            cpu::load_fpu(area.cast());
        } else {
            cpu::xrstor(area);
        }
    }
}

/// The first bytes of an area of a program that starts: its header names no state, so no more of it
/// is read.
#[repr(align(64))]
struct Fresh([u8; HEADER.end]);

static FRESH: Fresh = Fresh({
    let mut bytes = [0; HEADER.end];
    [bytes[CONTROL], bytes[CONTROL + 1]] = FRESH_CONTROL.to_le_bytes();
    [bytes[MXCSR], bytes[MXCSR + 1], ..] = FRESH_MXCSR.to_le_bytes();
    bytes
});

/// Makes an area that of a program that starts.
fn make_fresh(area: &mut [u8]) {
    area.fill(0);
    area[..LEGACY_BYTES].copy_from_slice(&FRESH.0[..LEGACY_BYTES]);
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// An x87 environment of 28 bytes as after `fninit`, last instruction and operand at 0.
const NO_POINTERS: [u32; 7] = [0xffff_037f, 0xffff_0000, 0xffff_ffff, 0, 0, 0, 0xffff_0000];

/// Makes the x87's pointers lead nowhere: otherwise they tell a program where another one's code
/// and data are.
///
/// # Safety
///
/// 1. The x87 registers are not in use.
#[cold]
unsafe fn clear_pointers() {
    // On the stack, because QEMU wants what `fldenv` reads to be writable.
    let environment = NO_POINTERS;
    // SAFETY: (1) by the caller's promise; (2) pending exceptions are cleared first, so that the
    // load does not raise them.
    unsafe { asm!("fnclex", "fldenv [{}]", in(reg) &environment, options(readonly, nostack)) };
}
