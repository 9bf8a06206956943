//! What the CPU is told to read: the gates, filled once, and each CPU's tables. What they mean is
//! in [`super::tables`].

use super::cause::{DOUBLE_FAULT, SYSCALL_VECTOR};
use super::interrupts;
use super::sysenter::sysenter_entry;
use super::tables::{
    CpuTables, DESCRIPTORS, DOUBLE_FAULT_SELECTOR, GUARD_SEGMENT, KERNEL_CODE, KERNEL_DATA,
    PER_CPU, SYSENTER_CS, SYSENTER_EIP, SYSENTER_ESP, TSS_SELECTOR, Unfit, data_descriptor,
    write_msr,
};
use super::vectors::vector;
use crate::local::CpuLocal;
use core::arch::asm;
use core::mem::{offset_of, size_of};
use core::sync::atomic::{AtomicU32, Ordering};

impl CpuTables {
    /// Whether this CPU is as the entries need it; see the module's head.
    pub fn check() -> Result<(), Unfit> {
        const WRITE_PROTECT: u32 = 1 << 16;
        const VIRTUAL_MODE: u32 = 0b11;
        let (cr0, cr4): (u32, u32);
        // SAFETY: (1) reading control registers has no effect.
        unsafe {
            asm!("mov {}, cr0", "mov {}, cr4", out(reg) cr0, out(reg) cr4, options(nomem, nostack, preserves_flags));
        }
        if interrupts::are_on() {
            Err(Unfit::InterruptsAreOn)
        } else if cr0 & WRITE_PROTECT == 0 {
            Err(Unfit::WritesIgnoreProtection)
        } else if cr4 & VIRTUAL_MODE != 0 {
            Err(Unfit::VirtualModeIsOn)
        } else if !gates_are_filled() {
            Err(Unfit::GatesAreEmpty)
        } else {
            Ok(())
        }
    }

    /// Loads descriptors of the kernel's segments and room for the block's, from tables that are
    /// not made yet. No segment register is loaded: what each holds stays in the CPU.
    ///
    /// # Safety
    ///
    /// 1. `tables` is mapped and writable, this CPU's for as long as it runs, and not loaded yet.
    pub(super) unsafe fn load_first_segments(tables: *mut Self) {
        // SAFETY: (1) by the caller's promise.
        unsafe { (&raw mut (*tables).gdt).write(Self::segments()) };
        let gdt = Pointer::to_descriptors(tables);
        // SAFETY: (1) the table is complete and stays, by the caller's promise.
        unsafe { asm!("lgdt [{}]", in(reg) &gdt, options(readonly, nostack, preserves_flags)) };
    }

    /// Loads the tables, the CPU's block, the `sysenter` entry and, last of all, the interrupt
    /// descriptors on the CPU this runs on: from the first moment an exception can be taken, it
    /// finds its stack and the block.
    ///
    /// # Safety
    ///
    /// 1. `tables` stays mapped and writable for good, no other CPU uses it, and its double-fault
    ///    stack is mapped.
    /// 2. `local` lives as long as the CPU runs, and no other CPU loads it; its stacks are set.
    /// 3. The hooks are installed.
    pub unsafe fn load(tables: *mut Self, local: &'static CpuLocal) -> Result<(), Unfit> {
        Self::check()?;
        let gdt = Pointer::to_descriptors(tables);
        let idt = Pointer {
            limit: size_of::<[[AtomicU32; 2]; 256]>() as u16 - 1,
            base: core::ptr::from_ref(&IDT) as u32,
        };
        let block = data_descriptor(core::ptr::from_ref(local) as u32);
        // SAFETY: (1) the table is no other CPU's, and not loaded yet, by the caller's promise.
        unsafe { (*tables).gdt[usize::from(PER_CPU) / size_of::<u64>()] = block };
        // SAFETY: (1) the table is complete and stays, by the caller's promise; (2) the selectors
        // name descriptors made above, or none; (3) the far return only reloads CS with the same
        // meaning.
        unsafe {
            asm!(
                "lgdt [{gdt}]",
                // CS can only be loaded by a far transfer.
                "push {code}",
                "lea {scratch}, [2f]",
                "push {scratch}",
                "retf",
                "2:",
                "mov ds, {data:e}",
                "mov es, {data:e}",
                "mov ss, {data:e}",
                "xor {data:e}, {data:e}",
                "xor {data:e}, {data:e}",
                "lldt {data:x}",
                "mov fs, {data:e}",
                "mov {data:e}, {guard}",
                "mov gs, {data:e}",
                "ltr {tss:x}",
                gdt = in(reg) &gdt,
                code = const KERNEL_CODE,
                data = inout(reg) u32::from(KERNEL_DATA) => _,
                tss = in(reg) TSS_SELECTOR,
                guard = const GUARD_SEGMENT,
                scratch = out(reg) _,
            );
        }
        // SAFETY: (1) by the caller's promise; (2) interrupts are off, `check` has seen it. The
        // double-fault task asks the block for the tables.
        unsafe { local.load() };
        local.arch.set_tables(tables as usize);
        write_msr(SYSENTER_CS, 0);
        write_msr(SYSENTER_ESP, tables as u32 + size_of::<Self>() as u32);
        write_msr(SYSENTER_EIP, sysenter_entry as *const () as u32);
        // SAFETY: (1) the descriptors are filled, `check` has seen it, and static.
        unsafe { asm!("lidt [{}]", in(reg) &idt, options(readonly, nostack, preserves_flags)) };
        Ok(())
    }
}

/// What `lgdt` and `lidt` read (Intel SDM vol. 3, figure 2-6).
#[repr(C, packed)]
struct Pointer {
    limit: u16,
    base: u32,
}

impl Pointer {
    /// To the segment descriptors of these tables.
    fn to_descriptors(tables: *mut CpuTables) -> Self {
        Self {
            limit: size_of::<[u64; DESCRIPTORS]>() as u16 - 1,
            base: tables as u32 + offset_of!(CpuTables, gdt) as u32,
        }
    }
}

/// The interrupt descriptors, two words each; in a page of their own. Not words of 64 bits: what
/// loads one of those atomically is a write for this CPU, and the page is read-only.
#[repr(C, align(4096))]
struct Gates([[AtomicU32; 2]; 256]);

#[unsafe(link_section = ".data.kstack_once")]
static IDT: Gates = Gates([const { [AtomicU32::new(0), AtomicU32::new(0)] }; 256]);

/// Whether [`fill_gates`] was called.
pub fn gates_are_filled() -> bool {
    IDT.0[0][0].load(Ordering::Acquire) != 0
}

/// Fills the interrupt descriptors. Once, by one CPU, before any loads them; see the module's head.
///
/// # Safety
///
/// 1. The section `.data.kstack_once` is writable still.
pub unsafe fn fill_gates() {
    for (number, gate) in (0..=u8::MAX).zip(&IDT.0).rev() {
        let stub = vector(number).get() as u64;
        // Intel SDM vol. 3, figure 7-2.
        let descriptor = match number {
            // Type 5: a task gate. Each CPU's table has its own double-fault task at the same
            // place.
            DOUBLE_FAULT => u64::from(DOUBLE_FAULT_SELECTOR) << 16 | 0x85 << 40,
            _ => {
                // A program may execute `int3` and `int 0x80`; everything else raised by `int n` in
                // user mode is a general protection fault.
                let privilege = if matches!(number, 3 | SYSCALL_VECTOR) { 3 } else { 0 };
                // Type 0xe: interrupt gate, so that interrupts are off on entry.
                let kind = 0x8e | privilege << 5;
                (stub & 0xffff)
                    | u64::from(KERNEL_CODE) << 16
                    | kind << 40
                    | (stub >> 16 & 0xffff) << 48
            }
        };
        gate[1].store((descriptor >> 32) as u32, Ordering::Relaxed);
        gate[0].store(descriptor as u32, Ordering::Release);
    }
}
