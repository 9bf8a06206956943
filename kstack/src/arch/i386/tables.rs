//! What the CPU itself reads: the task state segments, the segment descriptors and the interrupt
//! descriptors.
//!
//! ```text
//!   one CPU's page, between unmapped pages
//!      0  task state segment, 104 bytes (Intel SDM vol. 3, 9.2.1)
//!           4  esp0  the stack for entry from user mode: top of the running thread's stack, rewritten at every switch
//!           8  ss0   kernel data
//!          12  esp1  the same top: where the `sysenter` entry finds it. The CPU never uses ring 1
//!          16  ss1   what SYSENTER_CS holds: that register is written only when this word changes
//!          20  esp2  poisoned      24  ss2  null
//!          28  cr3   not used: nothing ever switches back to this task
//!         100  no trap; offset of the map of I/O ports: past the limit, so that user mode has no port, unless the kernel permits some
//!              ([`io_maps`](crate::arch::io_maps))
//!    104  task state segment of the double fault: where it starts, and on which stack
//!    208  segment descriptors: code, data, user code, user data, per CPU, 3 of the running thread, the two segments above
//!    ...  the entry stack, down from the end of the page: where `sysenter` sets SP. One instruction runs on it; an NMI or a debug
//!         exception at that moment has all of it
//!   4096
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
//! | the kernel's writes heed read-only pages (CR0.WP) | the interrupt descriptors can be written, below | yes |
//! | programs have no virtual interrupt flag and no virtual-8086 mode (CR4.VME, CR4.PVI) | `cli` of a program is no fault, and a frame of another shape comes in | yes |
//! | the descriptors are filled before they are loaded (`load::fill_gates`) | the first exception is a triple fault | yes |
//! | `syscall` is off (EFER.SCE) | it enters the kernel where firmware said | no: not every CPU has the register |
//! | a hardware breakpoint on entry code is the kernel's alone | a program's breakpoint stops an entry half-way | no |
//! | no program maps the first page, unless SMAP is on (CR4.SMAP) | a null pointer in the kernel reads what a program wrote | no |
//!
//! # What is written once
//!
//! The interrupt descriptors and the pointer to the [hooks](crate::hooks) lead into the kernel.
//! Both lie in the section `.data.kstack_once`: written before the first CPU loads its tables, and
//! never again. A linker script gives the section pages of its own; the kernel maps them read-only.

use core::arch::asm;
use core::fmt;
use core::mem::{offset_of, size_of};
use kstack_core::addr::Addr;

/// Kernel code segment. The three that follow must follow in this order: `sysenter` and `sysexit`
/// compute them.
pub const KERNEL_CODE: u16 = 0x08;
/// Kernel data segment.
pub const KERNEL_DATA: u16 = 0x10;
/// User code segment, with its privilege level.
pub const USER_CODE: u16 = 0x18 | 3;
/// User data segment, with its privilege level.
pub const USER_DATA: u16 = 0x20 | 3;
/// The segment whose base is the CPU's [`CpuLocal`](crate::local::CpuLocal).
pub const PER_CPU: u16 = 0x28;
/// What GS is in the kernel: null, or the same segment, where code that the stack protector was
/// compiled into looks for its canary.
pub const GUARD_SEGMENT: u16 = if crate::protected::IS_ON { PER_CPU } else { 0 };
/// The first of the running thread's own segments, by its place in the table. Linux has them at the
/// same place.
pub const TLS_FIRST: usize = 6;
/// How many there are.
pub const TLS_SEGMENTS: usize = 3;
pub(super) const TSS_SELECTOR: u16 = 0x48;
pub(super) const DOUBLE_FAULT_SELECTOR: u16 = 0x50;
/// A program's own segments, if it has some: the local descriptor table.
const LOCAL_SELECTOR: u16 = 0x58;
pub(super) const DESCRIPTORS: usize = 12;

/// What stands in stack fields that nothing may use yet: near the top of the address space, where
/// nothing is mapped, so that a push through it is a fault at once.
pub const POISON: u32 = 0xffff_57ac;

/// The 32-bit task state segment, field for field. Segment selectors have two bytes; the two above
/// them are reserved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[expect(missing_docs, reason = "the fields are those of the manual's figure 9-2")]
pub struct Tss {
    pub link: u32,
    pub esp0: u32,
    pub ss0: u32,
    pub esp1: u32,
    pub ss1: u32,
    pub esp2: u32,
    pub ss2: u32,
    pub cr3: u32,
    pub eip: u32,
    pub eflags: u32,
    pub eax: u32,
    pub ecx: u32,
    pub edx: u32,
    pub ebx: u32,
    pub esp: u32,
    pub ebp: u32,
    pub esi: u32,
    pub edi: u32,
    pub es: u32,
    pub cs: u32,
    pub ss: u32,
    pub ds: u32,
    pub fs: u32,
    pub gs: u32,
    pub ldt: u32,
    pub trap: u16,
    pub io_bitmap_offset: u16,
}

const _: () = {
    assert!(size_of::<Tss>() == 104);
    assert!(offset_of!(Tss, esp0) == 4);
    assert!(offset_of!(Tss, ss1) == 16);
    assert!(offset_of!(Tss, cr3) == 28);
    assert!(offset_of!(Tss, esp) == 56);
    assert!(offset_of!(Tss, es) == 72);
    assert!(offset_of!(Tss, ldt) == 96);
    assert!(offset_of!(Tss, io_bitmap_offset) == 102);
};

const ENTRY_STACK_WORDS: usize =
    (4096 - 2 * size_of::<Tss>() - size_of::<[u64; DESCRIPTORS]>()) / size_of::<u32>();

/// One CPU's task state segments, segment descriptors and entry stack; a page of its own.
#[derive(Debug)]
#[repr(C, align(4096))]
pub struct CpuTables {
    tss: Tss,
    double_fault: Tss,
    pub(super) gdt: [u64; DESCRIPTORS],
    entry_stack: [u32; ENTRY_STACK_WORDS],
}

const _: () = {
    assert!(size_of::<CpuTables>() == 4096);
    // Maps of ports are reckoned from the segment.
    assert!(offset_of!(CpuTables, tss) == 0);
    assert!(offset_of!(CpuTables, gdt).is_multiple_of(8));
    assert!(TSS_SELECTOR as usize == offset_of_descriptor(TLS_FIRST + TLS_SEGMENTS));
    assert!(DOUBLE_FAULT_SELECTOR as usize == TSS_SELECTOR as usize + size_of::<u64>());
};

const fn offset_of_descriptor(number: usize) -> usize {
    number * size_of::<u64>()
}

/// A flat, writable, 32-bit data segment of the kernel with this base.
pub(super) const fn data_descriptor(base: u32) -> u64 {
    with_base(0x00cf_9300_0000_ffff, base)
}

/// The same of a program.
pub const fn user_data_descriptor(base: u32) -> u64 {
    with_base(0x00cf_f300_0000_ffff, base)
}

/// Intel SDM vol. 3, figure 3-8.
const fn with_base(flat: u64, base: u32) -> u64 {
    let base = base as u64;
    flat | (base & 0xff_ffff) << 16 | (base >> 24) << 56
}

/// Type 9: a 32-bit task state segment, not busy. The CPU sets bit 1 of the type while it is the
/// current task's.
const fn tss_descriptor(base: u32) -> u64 {
    with_base((size_of::<Tss>() as u64 - 1) | 0x89 << 40, base)
}

/// Type 2, present: a local descriptor table (Intel SDM vol. 3, 3.5).
const fn local_descriptor(base: u32, bytes: u32) -> u64 {
    with_base((bytes as u64 - 1) | 0x82 << 40, base)
}

/// In the descriptor of a task state segment: busy.
const BUSY: u64 = 1 << 41;

pub(super) const SYSENTER_CS: u32 = 0x174;
pub(super) const SYSENTER_ESP: u32 = 0x175;
pub(super) const SYSENTER_EIP: u32 = 0x176;

pub(super) fn write_msr(register: u32, value: u32) {
    // SAFETY: (1) the registers exist on every CPU with `sysenter`; (2) the callers' values are
    // entry code, stack and segment of this library.
    unsafe {
        asm!("wrmsr", in("ecx") register, in("eax") value, in("edx") 0,
             options(nostack, preserves_flags));
    }
}

impl CpuTables {
    /// Offset of the word in which the `sysenter` entry finds the thread stack's top, for assembly.
    pub(super) const ESP1: usize = offset_of!(Self, tss) + offset_of!(Tss, esp1);

    /// Fills the tables: everything that is not real yet is poisoned. `double_fault_entry`: where a
    /// double fault's task starts. `page_tables`: the root with which it is handled, until
    /// [`CpuTables::set_page_tables`] says otherwise.
    pub fn new(
        tables_at: Addr,
        double_fault_top: Addr,
        double_fault_entry: Addr,
        page_tables: u32,
    ) -> Self {
        // At the limit: no bitmap.
        let io_bitmap_offset = size_of::<Tss>() as u16;
        let tss = Tss {
            esp0: POISON,
            ss0: KERNEL_DATA.into(),
            esp1: POISON,
            esp2: POISON,
            io_bitmap_offset,
            ..Tss::default()
        };
        let double_fault = Tss {
            cr3: page_tables,
            eip: double_fault_entry.get() as u32,
            // The bit that is always set; interrupts off.
            eflags: 2,
            esp: double_fault_top.get() as u32,
            es: KERNEL_DATA.into(),
            cs: KERNEL_CODE.into(),
            ss: KERNEL_DATA.into(),
            ds: KERNEL_DATA.into(),
            fs: PER_CPU.into(),
            gs: GUARD_SEGMENT.into(),
            io_bitmap_offset,
            ..Tss::default()
        };
        let base = tables_at.get() as u32;
        let mut gdt = Self::segments();
        let tasks = [offset_of!(Self, tss), offset_of!(Self, double_fault)];
        for (selector, offset) in [TSS_SELECTOR, DOUBLE_FAULT_SELECTOR].into_iter().zip(tasks) {
            gdt[selector as usize / size_of::<u64>()] = tss_descriptor(base + offset as u32);
        }
        Self { tss, double_fault, gdt, entry_stack: [0; ENTRY_STACK_WORDS] }
    }

    /// The descriptors without those of tasks: flat segments of the kernel and of programs.
    pub(super) const fn segments() -> [u64; DESCRIPTORS] {
        let mut gdt = [0; DESCRIPTORS];
        gdt[KERNEL_CODE as usize / size_of::<u64>()] = 0x00cf_9b00_0000_ffff;
        gdt[KERNEL_DATA as usize / size_of::<u64>()] = data_descriptor(0);
        gdt[USER_CODE as usize / size_of::<u64>()] = 0x00cf_fb00_0000_ffff;
        gdt[USER_DATA as usize / size_of::<u64>()] = user_data_descriptor(0);
        // The block's is filled when that is loaded, a program's own when it asks for one.
        gdt
    }

    /// Sets the stack for entries from user mode, by gate and by `sysenter`.
    ///
    /// # Safety
    ///
    /// 1. `tables` are the loaded tables of the CPU this runs on, and interrupts are off.
    /// 2. `top` is the top of the stack of the thread that runs when user mode is next entered.
    #[inline(always)]
    pub unsafe fn set_user_entry_stack(tables: *mut Self, top: Addr) {
        // SAFETY: (1) the tables are mapped, and written only by their own CPU with interrupts off.
        unsafe {
            (&raw mut (*tables).tss.esp0).write_volatile(top.get() as u32);
            (&raw mut (*tables).tss.esp1).write_volatile(top.get() as u32);
        }
    }

    /// Lets programs use `sysenter`, or not: with a null selector it is a general protection fault.
    /// Says whether the CPU's register had to be written: `ss1` knows what it holds.
    ///
    /// # Safety
    ///
    /// 1. `tables` are the loaded tables of the CPU this runs on, and interrupts are off.
    #[inline(always)]
    pub unsafe fn allow_sysenter(tables: *mut Self, allowed: bool) -> bool {
        let selector = if allowed { u32::from(KERNEL_CODE) } else { 0 };
        // SAFETY: (1) as for `set_user_entry_stack`.
        unsafe {
            let cached = &raw mut (*tables).tss.ss1;
            if cached.read_volatile() == selector {
                return false;
            }
            cached.write_volatile(selector);
        }
        write_msr(SYSENTER_CS, selector);
        true
    }

    /// Sets the running thread's own segments, from the next load of a selector on.
    ///
    /// # Safety
    ///
    /// 1. `tables` are the loaded tables of the CPU this runs on, and interrupts are off.
    /// 2. Each is zero or a [`user_data_descriptor`]; where one is zero, no selector in the saved
    ///    registers of the thread that goes to user mode next names it.
    #[inline(always)]
    pub unsafe fn set_tls(tables: *mut Self, segments: &[u64; TLS_SEGMENTS]) {
        // SAFETY: (1) as for `set_user_entry_stack`.
        unsafe {
            (&raw mut (*tables).gdt)
                .cast::<[u64; TLS_SEGMENTS]>()
                .byte_add(offset_of_descriptor(TLS_FIRST))
                .write_volatile(*segments);
        }
    }

    /// Says which page tables are loaded: a double fault is handled with them, so that the thread
    /// it ends can go on with them.
    ///
    /// # Safety
    ///
    /// 1. `tables` are the loaded tables of the CPU this runs on.
    /// 2. `root` maps the kernel, and stays until another one is set.
    #[inline(always)]
    pub unsafe fn set_page_tables(tables: *mut Self, root: u32) {
        // SAFETY: (1) as for `set_user_entry_stack`.
        unsafe { (&raw mut (*tables).double_fault.cr3).write_volatile(root) };
    }

    /// From the double-fault task back to the task whose registers the fault stored, without going
    /// back to what it did: the CPU takes this code for that task from now on, and the gate can be
    /// used again.
    ///
    /// # Safety
    ///
    /// 1. `tables` are the loaded tables of the CPU this runs on, which is in the double-fault
    ///    task.
    pub(super) unsafe fn leave_double_fault_task(tables: *mut Self) {
        // SAFETY: (1) the descriptors are this CPU's; `ltr` wants one that is not busy, and marks
        // it so.
        unsafe {
            let gdt = (&raw mut (*tables).gdt).cast::<u64>();
            for selector in [TSS_SELECTOR, DOUBLE_FAULT_SELECTOR] {
                let descriptor = gdt.byte_add(selector.into());
                descriptor.write_volatile(descriptor.read_volatile() & !BUSY);
            }
            asm!("ltr {:x}", in(reg) TSS_SELECTOR, options(nostack, preserves_flags));
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
                descriptor.write_volatile(local_descriptor(base.get() as u32, bytes));
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
        // SAFETY: (1) by the caller's promise.
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

    /// A copy of the task state segment as it stands, for the double fault, tests and the console.
    ///
    /// # Safety
    ///
    /// 1. `tables` are mapped.
    pub unsafe fn read_tss(tables: *const Self) -> Tss {
        // SAFETY: (1) mapped, by the caller's promise; a torn read is harmless for display.
        unsafe { (&raw const (*tables).tss).read_volatile() }
    }

    /// The same of the double fault's.
    ///
    /// # Safety
    ///
    /// 1. `tables` are mapped.
    pub unsafe fn read_double_fault_tss(tables: *const Self) -> Tss {
        // SAFETY: (1) as for `read_tss`.
        unsafe { (&raw const (*tables).double_fault).read_volatile() }
    }
}

/// What of this CPU, or of what the kernel gave it, the entries cannot work with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unfit {
    /// Interrupts are on.
    InterruptsAreOn,
    /// CR0.WP is clear.
    WritesIgnoreProtection,
    /// CR4.VME or CR4.PVI is set.
    VirtualModeIsOn,
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
            Self::WritesIgnoreProtection => {
                "the kernel's writes ignore read-only pages (CR0.WP is clear)"
            }
            Self::VirtualModeIsOn => {
                "programs have an interrupt flag of their own (CR4.VME or CR4.PVI is set)"
            }
            Self::NoIrqStack => "the CPU has no IRQ stack",
            Self::GatesAreEmpty => "the interrupt descriptors are loaded before they are filled",
        })
    }
}
