//! What the CPU itself reads: the task state segment, the segment descriptors and the interrupt
//! descriptors.
//!
//! ```text
//!   task state segment, 104 bytes (Intel SDM vol. 3, 9.7)
//!     4  rsp0   the stack for entry from user mode: top of the running thread's stack, rewritten at every switch
//!    12  rsp1   unused in 64-bit mode, poisoned
//!    20  rsp2   unused in 64-bit mode, poisoned
//!    36  ist1   double fault      44  ist2  NMI      52  ist3  debug      60  ist4  machine check
//!   102  offset of the map of I/O ports: past the limit, so that user mode has no port, unless the kernel permits some
//!        ([`io_maps`](crate::arch::io_maps))
//! ```
//!
//! The segment lies on a page of its own between unmapped pages ([`CpuTables`] is what the kernel
//! maps there): a stray write next to it faults instead of moving the stack of the next interrupt.
//!
//! # What the kernel grants
//!
//! The entries rest on what only the kernel can see to. What a CPU can tell of it is asked when the
//! tables are loaded ([`CpuTables::check`], [`Unfit`]); the rest is the caller's promise:
//!
//! | condition | what breaks without it | asked |
//! | --- | --- | --- |
//! | programs cannot set the GS base (CR4.FSGSBASE is clear) | an NMI takes a program's GS base for the kernel's | yes |
//! | the CPU's block lies in the upper half | an NMI takes the kernel's GS base for a program's | yes |
//! | the kernel's writes heed read-only pages (CR0.WP) | the interrupt descriptors can be written, below | yes |
//! | the tops of the exception stacks lie in the upper half, 16-aligned | the CPU pushes a frame elsewhere | yes |
//! | each of them has an aligned block of a body's size to itself | a debug exception takes one for another | yes |
//! | above each of those tops lie the words that an entry finds without GS | an NMI takes other bytes for them | yes |
//! | the CPU has its IRQ stack | the first interrupt runs on address 0 | yes |
//! | the descriptors are filled before they are loaded (`load::fill_gates`) | the first exception is a triple fault | yes |
//! | a hardware breakpoint on entry code is the kernel's alone | a program's breakpoint stops an entry with the program's GS | no |
//! | no program maps the first page of its half, unless SMAP is on (CR4.SMAP) | a null pointer in the kernel reads what a program wrote | no |
//!
//! # What is written once
//!
//! The interrupt descriptors and the pointer to the [hooks](crate::hooks) lead into the kernel.
//! Both lie in the section `.data.kstack_once`: written before the first CPU loads its tables, and
//! never again. A linker script gives the section pages of its own; the kernel maps them read-only.

use core::fmt;
use core::mem::{offset_of, size_of};
use core::sync::atomic::{AtomicU32, Ordering};
use kstack_core::addr::Addr;

/// Kernel code segment. All are where Linux has them: programs count on the places of theirs.
pub const KERNEL_CODE: u16 = 0x10;
/// Kernel data segment.
pub const KERNEL_DATA: u16 = 0x18;
/// User code segment of 32 bits (compatibility mode), with its privilege level. `syscall` there
/// leads to an entry of its own on CPUs of AMD, and is no instruction on others.
pub const USER_CODE_32: u16 = 0x20 | 3;
/// User data segment, with its privilege level. `sysret` wants it 8 above the 32-bit code segment.
pub const USER_DATA: u16 = 0x28 | 3;
/// User code segment, with its privilege level.
pub const USER_CODE: u16 = 0x30 | 3;
pub(super) const TSS_SELECTOR: u16 = 0x40;
/// A program's own segments, if it has some: the local descriptor table.
const LOCAL_SELECTOR: u16 = 0x50;
pub(super) const DESCRIPTORS: usize = 12;

/// What stands in stack fields that nothing may use yet: not canonical, so that a push through it
/// is a fault at once.
pub const POISON: u64 = 0xdead_57ac_dead_57ac;

/// The 64-bit task state segment, field for field.
#[derive(Clone, Copy, Debug)]
#[repr(C, packed(4))]
pub struct Tss {
    reserved0: u32,
    rsp: [u64; 3],
    reserved1: u64,
    ist: [u64; 7],
    reserved2: u64,
    reserved3: u16,
    io_bitmap_offset: u16,
}

const _: () = {
    assert!(size_of::<Tss>() == 104);
    assert!(offset_of!(Tss, rsp) == 4);
    assert!(offset_of!(Tss, ist) == 36);
    assert!(offset_of!(Tss, io_bitmap_offset) == 102);
};

/// The exception stacks, by their place in the interrupt stack table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[expect(
    clippy::exhaustive_enums,
    reason = "the stacks that the entries of these vectors are made for"
)]
pub enum Ist {
    /// Double fault.
    DoubleFault = 1,
    /// NMI.
    Nmi = 2,
    /// Debug exception.
    Debug = 3,
    /// Machine check.
    MachineCheck = 4,
}

impl Ist {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::DoubleFault, Self::Nmi, Self::Debug, Self::MachineCheck];

    /// The stack for this vector, if it has one of its own.
    pub const fn of_vector(vector: u8) -> Option<Self> {
        match vector {
            1 => Some(Self::Debug),
            2 => Some(Self::Nmi),
            8 => Some(Self::DoubleFault),
            18 => Some(Self::MachineCheck),
            _ => None,
        }
    }
}

/// What lies at the top of the NMI body stack, 16 bytes; the frame copy ends where it starts.
#[derive(Debug)]
#[repr(C, align(16))]
pub struct NmiWords {
    pub(super) latched: AtomicU32,
    pub(super) active: AtomicU32,
}

const _: () = assert!(size_of::<NmiWords>() == 16);

impl NmiWords {
    /// Nothing active, nothing latched.
    pub const fn new() -> Self {
        Self { latched: AtomicU32::new(0), active: AtomicU32::new(0) }
    }

    /// Whether an NMI from the kernel is being handled.
    pub fn is_active(&self) -> bool {
        self.active.load(Ordering::Relaxed) != 0
    }

    /// Marks the NMI under way as over. For a handler that does not return but continues elsewhere:
    /// NMIs stay held back until the next `iretq`.
    ///
    /// # Safety
    ///
    /// 1. Called by the handler, on the body stack of these words, which it leaves for good right
    ///    after.
    /// 2. No exception has happened in that handler: NMIs are still held back. Otherwise the next
    ///    one would take the body stack between this call and the last use of it.
    pub unsafe fn abandon(&self) {
        self.latched.store(0, Ordering::Relaxed);
        self.active.store(0, Ordering::Relaxed);
    }

    /// Whether another one is waiting for it to end.
    pub fn is_latched(&self) -> bool {
        self.latched.load(Ordering::Relaxed) != 0
    }
}

impl Default for NmiWords {
    fn default() -> Self {
        Self::new()
    }
}

/// What lies at the top of each exception stack, above the CPU's frame: what an entry finds without
/// GS. 16 bytes.
#[derive(Debug)]
#[repr(C, align(16))]
pub struct ExceptionHead {
    /// The address of the [`NmiWords`], in the highest bytes of the NMI body stack.
    pub nmi_words: u64,
    /// An address on the NMI stack.
    pub nmi_stack: u64,
}

const _: () = assert!(size_of::<ExceptionHead>() == 16);

/// One CPU's task state segment and segment descriptors; a page of its own.
#[derive(Debug)]
#[repr(C, align(4096))]
pub struct CpuTables {
    tss: Tss,
    pub(super) gdt: [u64; DESCRIPTORS],
}

const _: () =
    assert!(offset_of!(CpuTables, tss) == 0, "maps of ports are reckoned from the segment");

/// Type 2, present: a local descriptor table (Intel SDM vol. 3, 3.5; in 64-bit mode two entries).
const fn local_descriptor(base: u64, bytes: u32) -> [u64; 2] {
    let limit = bytes as u64 - 1;
    let low = (limit & 0xffff) | (base & 0xff_ffff) << 16 | 0x82 << 40 | (base >> 24 & 0xff) << 56;
    [low, base >> 32]
}

impl CpuTables {
    /// Fills the tables: IST tops for the exception stacks, everything else poisoned.
    pub fn new(tables_at: Addr, ist_tops: [Addr; 4]) -> Self {
        let mut ist = [POISON; 7];
        for (entry, top) in ist.iter_mut().zip(ist_tops) {
            *entry = top.get() as u64;
        }
        let tss = Tss {
            reserved0: 0,
            rsp: [POISON; 3],
            reserved1: 0,
            ist,
            reserved2: 0,
            reserved3: 0,
            // At the limit: no bitmap.
            io_bitmap_offset: size_of::<Tss>() as u16,
        };
        let base = tables_at.get() as u64 + offset_of!(Self, tss) as u64;
        let limit = size_of::<Tss>() as u64 - 1;
        // Intel SDM vol. 3, 3.4.5 and 8.2.3: a system descriptor takes two entries in 64-bit mode.
        // Type 9: available TSS.
        let tss_low =
            (limit & 0xffff) | (base & 0xff_ffff) << 16 | 0x89 << 40 | (base >> 24 & 0xff) << 56;
        let gdt = [
            0,
            0,
            0x00af_9b00_0000_ffff, // kernel code, 64-bit
            0x00cf_9300_0000_ffff, // kernel data
            0x00cf_fb00_0000_ffff, // user code, 32-bit
            0x00cf_f300_0000_ffff, // user data
            0x00af_fb00_0000_ffff, // user code, 64-bit
            0,
            tss_low,
            base >> 32,
            0, // a program's own segments
            0,
        ];
        Self { tss, gdt }
    }

    /// Sets the stack for entries from user mode.
    ///
    /// # Safety
    ///
    /// 1. `tables` are the loaded tables of the CPU this runs on, and interrupts are off.
    /// 2. `top` is the top of the stack of the thread that runs when user mode is next entered.
    #[inline(always)]
    pub unsafe fn set_user_entry_stack(tables: *mut Self, top: Addr) {
        // SAFETY: (1) the tables are mapped, and written only by their own CPU with interrupts off;
        // (2) the field is 4-aligned, hence the unaligned write.
        unsafe {
            (&raw mut (*tables).tss.rsp).cast::<u64>().write_unaligned(top.get() as u64);
        }
    }

    /// Makes this CPU use a program's own segments, or none: `bytes` of descriptors from `base` on.
    ///
    /// # Safety
    ///
    /// 1. `tables` are the loaded tables of the CPU this runs on, and interrupts are off.
    /// 2. The descriptors lie in memory of the kernel, and stay there unchanged until the next call
    ///    on this CPU has named others.
    /// 3. Each is zero, or a segment of programs: code or data, privilege level 3, accessed, and
    ///    none of 64-bit code.
    /// 4. Before the CPU next goes to user mode, the kernel has seen that the saved selectors name
    ///    segments that are there, and an instruction within: an `iret` that faults, faults in the
    ///    kernel.
    pub unsafe fn set_local_segments(tables: *mut Self, base: Addr, bytes: u32) {
        // SAFETY: (1) by the caller's promise: the descriptor is this CPU's alone, and not loaded
        // from until `lldt`; (2) with a null selector, the CPU has no such table.
        unsafe {
            let selector = if bytes == 0 { 0 } else { LOCAL_SELECTOR };
            if bytes != 0 {
                let descriptor =
                    (&raw mut (*tables).gdt).cast::<u64>().byte_add(LOCAL_SELECTOR.into());
                let [low, high] = local_descriptor(base.get() as u64, bytes);
                descriptor.write_volatile(low);
                descriptor.add(1).write_volatile(high);
            }
            core::arch::asm!("lldt {:x}", in(reg) selector, options(nostack, preserves_flags));
        }
    }

    /// The word that says where the map of I/O ports starts.
    ///
    /// # Safety
    ///
    /// 1. `tables` are mapped.
    #[inline(always)]
    pub(in crate::arch) unsafe fn io_map_offset(tables: *mut Self) -> *mut u16 {
        // SAFETY: (1) by the caller's promise; the field is 2-aligned: at 102 of a page.
        unsafe { &raw mut (*tables).tss.io_bitmap_offset }
    }

    /// Sets the limit of the task state segment.
    ///
    /// # Safety
    ///
    /// 1. `tables` are mapped, writable, and not loaded.
    pub(in crate::arch) unsafe fn set_limit(tables: *mut Self, limit: u16) {
        // SAFETY: (1) by the caller's promise. The limit's low half is the descriptor's.
        unsafe {
            (&raw mut (*tables).gdt)
                .byte_add(TSS_SELECTOR.into())
                .cast::<u16>()
                .write_volatile(limit);
        }
    }

    /// A copy of the task state segment as it stands, for tests and the console.
    ///
    /// # Safety
    ///
    /// 1. `tables` are mapped.
    pub unsafe fn read_tss(tables: *const Self) -> Tss {
        // SAFETY: (1) mapped, by the caller's promise; a torn read of rsp0 is harmless for display.
        unsafe { (&raw const (*tables).tss).read_unaligned() }
    }
}

impl Tss {
    /// The stack for entries from user mode.
    pub fn user_entry_stack(&self) -> u64 {
        let rsp = self.rsp;
        rsp[0]
    }

    /// The two privilege stacks that 64-bit mode never uses.
    pub fn unused_stacks(&self) -> [u64; 2] {
        let rsp = self.rsp;
        [rsp[1], rsp[2]]
    }

    /// The top of an exception stack.
    pub fn exception_stack(&self, which: Ist) -> u64 {
        let ist = self.ist;
        ist[which as usize - 1]
    }

    /// Where the I/O permission bitmap would start.
    pub fn io_bitmap_offset(&self) -> u16 {
        self.io_bitmap_offset
    }
}

/// What of this CPU, or of what the kernel gave it, the entries cannot work with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unfit {
    /// Interrupts are on.
    InterruptsAreOn,
    /// CR4.FSGSBASE is set.
    ProgramsSetGsBase,
    /// CR0.WP is clear.
    WritesIgnoreProtection,
    /// The CPU's block lies in the half that is the programs'.
    BlockInLowerHalf,
    /// The top of this exception stack lies in the half that is the programs', is not 16-aligned,
    /// or shares an aligned block of a body's size with another.
    ExceptionStack(Ist),
    /// Above the top of this exception stack there is no [`ExceptionHead`] with this CPU's NMI
    /// words and NMI stack: a plain top.
    NoWordsAbove(Ist),
    /// The CPU has no IRQ stack.
    NoIrqStack,
    /// `load::fill_gates` was not called.
    GatesAreEmpty,
}

impl core::error::Error for Unfit {}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InterruptsAreOn => "descriptor tables are loaded with interrupts on",
            Self::ProgramsSetGsBase => "programs can set the GS base (CR4.FSGSBASE is set), which an NMI trusts",
            Self::WritesIgnoreProtection => "the kernel's writes ignore read-only pages (CR0.WP is clear)",
            Self::BlockInLowerHalf => "the CPU's block lies in the lower half, where an NMI takes it for a program's",
            Self::ExceptionStack(_) => "the top of an exception stack lies in the lower half, is not 16-aligned, or shares a block with another",
            Self::NoWordsAbove(_) => "above the top of an exception stack there are no words that lead to this CPU's NMI stacks",
            Self::NoIrqStack => "the CPU has no IRQ stack",
            Self::GatesAreEmpty => "the interrupt descriptors are loaded before they are filled",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn x1_the_task_state_segment_has_the_manuals_offsets() {
        let tops = [Addr::new(0x1111), Addr::new(0x2222), Addr::new(0x3333), Addr::new(0x4444)];
        let tables = CpuTables::new(Addr::new(0xffff_e000_0000_1000), tops);
        // SAFETY: (1) a Tss is plain bytes.
        let bytes: [u8; 104] = unsafe { core::mem::transmute(tables.tss) };
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        assert_eq!(word(4), POISON);
        for (number, at) in [(0x1111, 36), (0x2222, 44), (0x3333, 52), (0x4444, 60)] {
            assert_eq!(word(at), number);
        }
        assert_eq!(word(68), POISON);
        assert_eq!(u16::from_le_bytes([bytes[102], bytes[103]]), 104);
    }

    #[test]
    fn x1_the_descriptor_points_at_the_segment() {
        let at = 0xffff_e012_3456_7000_u64;
        let tables = CpuTables::new(Addr::new(at as usize), [Addr::new(0); 4]);
        let (low, high) = (tables.gdt[8], tables.gdt[9]);
        let base = low >> 16 & 0xff_ffff | (low >> 56) << 24 | high << 32;
        assert_eq!(base, at);
        assert_eq!(low & 0xffff, 103);
    }
}
