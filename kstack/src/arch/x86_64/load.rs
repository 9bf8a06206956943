//! What the CPU is told to read: the gates, filled once, and each CPU's tables, checked before they
//! are loaded. What they mean is in [`super::tables`].

use super::interrupts;
use super::syscall::enable_syscall;
use super::tables::{CpuTables, DESCRIPTORS, ExceptionHead, Ist, Unfit};
use super::tables::{KERNEL_CODE, KERNEL_DATA, TSS_SELECTOR};
use super::this_cpu::{self, GS_BASE};
use super::vectors::vector;
use crate::local::CpuLocal;
use crate::protected;
use core::arch::asm;
use core::mem::{offset_of, size_of};
use core::sync::atomic::{AtomicU64, Ordering};

impl CpuTables {
    /// Whether this CPU and these tables are as the entries need them; see the module's head.
    ///
    /// # Safety
    ///
    /// 1. `tables` are mapped, and so are 16 bytes above the top of each exception stack that they
    ///    name in the kernel's half.
    pub unsafe fn check(tables: *const Self, local: &CpuLocal) -> Result<(), Unfit> {
        const UPPER_HALF: u64 = 1 << 63;
        const WRITE_PROTECT: u64 = 1 << 16;
        const FSGSBASE: u64 = 1 << 16;
        let (cr0, cr4): (u64, u64);
        // SAFETY: (1) reading control registers has no effect.
        unsafe {
            asm!("mov {}, cr0", "mov {}, cr4", out(reg) cr0, out(reg) cr4, options(nomem, nostack, preserves_flags));
        }
        // SAFETY: (1) by the caller's promise.
        let tss = unsafe { Self::read_tss(tables) };
        let block = |ist| (tss.exception_stack(ist) - 1) / super::GEOMETRY.body().get() as u64;
        let is_sound = |ist| {
            let top = tss.exception_stack(ist);
            let alone =
                Ist::ALL.into_iter().filter(|&other| block(other) == block(ist)).count() == 1;
            top & UPPER_HALF != 0 && top.is_multiple_of(16) && alone
        };
        let nmi_stack = tss.exception_stack(Ist::Nmi);
        let nmi_words = local.arch.nmi_body_top().get() as u64;
        let has_head = |ist| {
            // SAFETY: (1) asked after `is_sound`: an aligned address in the kernel's half; by the
            // caller's promise words lie there.
            let head = unsafe { &*(tss.exception_stack(ist) as *const ExceptionHead) };
            nmi_words != 0 && head.nmi_words == nmi_words && head.nmi_stack == nmi_stack
        };
        if interrupts::are_on() {
            Err(Unfit::InterruptsAreOn)
        } else if cr4 & FSGSBASE != 0 {
            Err(Unfit::ProgramsSetGsBase)
        } else if cr0 & WRITE_PROTECT == 0 {
            Err(Unfit::WritesIgnoreProtection)
        } else if core::ptr::from_ref(local) as u64 & UPPER_HALF == 0 {
            Err(Unfit::BlockInLowerHalf)
        } else if let Some(ist) = Ist::ALL.into_iter().find(|&ist| !is_sound(ist)) {
            Err(Unfit::ExceptionStack(ist))
        } else if let Some(ist) = Ist::ALL.into_iter().find(|&ist| !has_head(ist)) {
            Err(Unfit::NoWordsAbove(ist))
        } else if local.irq_top().get() == 0 {
            Err(Unfit::NoIrqStack)
        } else if !gates_are_filled() {
            Err(Unfit::GatesAreEmpty)
        } else {
            Ok(())
        }
    }

    /// Loads the tables, the CPU's block, the system-call entry and, last of all, the interrupt
    /// descriptors on the CPU this runs on: from the first moment an exception can be taken, it
    /// finds its stack and the block. Nothing is left of what was loaded before; the FS base is
    /// lost.
    ///
    /// # Safety
    ///
    /// 1. `tables` stays mapped and writable for good, no other CPU uses it, and its IST tops are
    ///    mapped stacks with an [`ExceptionHead`] above each top.
    /// 2. `local` lives as long as the CPU runs, and no other CPU loads it.
    /// 3. The hooks are installed.
    pub unsafe fn load(tables: *mut Self, local: &'static CpuLocal) -> Result<(), Unfit> {
        /// In the descriptor of a task state segment: it is loaded. `ltr` sets it, and wants it
        /// clear.
        const BUSY: u64 = 1 << 41;
        #[repr(C, packed)]
        struct Pointer {
            limit: u16,
            base: u64,
        }
        // SAFETY: (1) by the caller's promise.
        unsafe { Self::check(tables, local)? };
        let gdt = Pointer {
            limit: size_of::<[u64; DESCRIPTORS]>() as u16 - 1,
            base: tables as u64 + offset_of!(Self, gdt) as u64,
        };
        let idt = Pointer {
            limit: size_of::<[Gate; 256]>() as u16 - 1,
            base: core::ptr::from_ref(&IDT) as u64,
        };
        // SAFETY: (1) mapped and writable, by the caller's promise.
        unsafe {
            let descriptor = (&raw mut (*tables).gdt).cast::<u64>().byte_add(TSS_SELECTOR.into());
            descriptor.write_volatile(descriptor.read_volatile() & !BUSY);
        }
        if protected::IS_ON {
            this_cpu::keep_guard(local);
        }
        // SAFETY: (1) the table is complete and stays, by the caller's promise; (2) the selectors
        // name descriptors made above, or none; (3) the far return only reloads CS with the same
        // meaning; (4) the block is this CPU's from here on.
        unsafe {
            asm!(
                "lgdt [{gdt}]",
                // CS can only be loaded by a far transfer.
                "push {code}",
                "lea {scratch}, [rip + 2f]",
                "push {scratch}",
                "retfq",
                "2:",
                "mov ss, {data:e}",
                // Null: what a program leaves in these is saved and loaded with its floating point,
                // and nothing else uses them.
                "xor {scratch:e}, {scratch:e}",
                "mov ds, {scratch:e}",
                "mov es, {scratch:e}",
                "mov fs, {scratch:e}",
                "mov gs, {scratch:e}",
                // That has cleared the base of GS, where code may look for its canary at once.
                "mov ecx, {gs_base}",
                "mov rdx, rax",
                "shr rdx, 32",
                "wrmsr",
                // Without it, the local descriptors are whatever firmware left.
                "lldt {scratch:x}",
                "ltr {tss:x}",
                gdt = in(reg) &gdt,
                code = const KERNEL_CODE,
                data = in(reg) KERNEL_DATA as u32,
                tss = in(reg) TSS_SELECTOR,
                scratch = out(reg) _,
                gs_base = const GS_BASE,
                inout("rax") core::ptr::from_ref(local) => _,
                out("rcx") _,
                out("rdx") _,
            );
        }
        // SAFETY: (1) by the caller's promise; (2) interrupts are off, `check` has seen it.
        unsafe { local.load() };
        local.arch.tables.store(tables, Ordering::Relaxed);
        enable_syscall();
        // SAFETY: (1) the descriptors are filled, `check` has seen it, and static.
        unsafe { asm!("lidt [{}]", in(reg) &idt, options(readonly, nostack, preserves_flags)) };
        Ok(())
    }
}

/// An interrupt descriptor.
#[repr(C, align(16))]
struct Gate([AtomicU64; 2]);

/// All of them; a page.
#[repr(C, align(4096))]
struct Gates([Gate; 256]);

const _: () = assert!(size_of::<Gates>() == 4096);

#[unsafe(link_section = ".data.kstack_once")]
static IDT: Gates = Gates([const { Gate([AtomicU64::new(0), AtomicU64::new(0)]) }; 256]);

/// Whether [`fill_gates`] was called.
pub fn gates_are_filled() -> bool {
    IDT.0[0].0[0].load(Ordering::Acquire) != 0
}

/// Fills the interrupt descriptors. Once, by one CPU, before any loads them; see the module's head.
///
/// # Safety
///
/// 1. The section `.data.kstack_once` is writable still.
pub unsafe fn fill_gates() {
    for (number, gate) in (0..=u8::MAX).zip(&IDT.0).rev() {
        let stub = vector(number).get() as u64;
        let ist = Ist::of_vector(number).map_or(0, |ist| ist as u64);
        // A program may execute `int3`; everything else raised by `int n` in user mode is a general
        // protection fault.
        let privilege = if number == 3 { 3 } else { 0 };
        // Type 0xe: interrupt gate, so that interrupts are off on entry.
        let kind = 0x8e | privilege << 5;
        let low = (stub & 0xffff)
            | (KERNEL_CODE as u64) << 16
            | ist << 32
            | kind << 40
            | (stub >> 16 & 0xffff) << 48;
        gate.0[1].store(stub >> 32, Ordering::Relaxed);
        gate.0[0].store(low, Ordering::Release);
    }
}
