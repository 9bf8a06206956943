//! What the CPU itself reads: the task state segment, the segment descriptors and the interrupt descriptors.
//!
//! ```text
//!   task state segment, 104 bytes (Intel SDM vol. 3, 9.7)
//!     4  rsp0   the stack for entry from user mode: top of the running thread's stack, rewritten at every switch
//!    12  rsp1   unused in 64-bit mode, poisoned
//!    20  rsp2   unused in 64-bit mode, poisoned
//!    36  ist1   double fault      44  ist2  NMI      52  ist3  debug      60  ist4  machine check
//!   102  offset of the I/O permission bitmap: past the limit, so that user mode has no port
//! ```
//!
//! The segment lies on a page of its own between unmapped pages ([`CpuTables`] is what the kernel maps there): a stray
//! write next to it faults instead of moving the stack of the next interrupt.

use crate::arch::current::entry;
use core::arch::asm;
use core::mem::{offset_of, size_of};
use core::sync::atomic::{AtomicU64, Ordering};
use kstack_core::addr::Addr;

/// Kernel code segment.
pub const KERNEL_CODE: u16 = 0x08;
/// Kernel data segment.
pub const KERNEL_DATA: u16 = 0x10;
/// User data segment, with its privilege level. `sysret` wants it 8 above the 32-bit code segment.
pub const USER_DATA: u16 = 0x20 | 3;
/// User code segment, with its privilege level.
pub const USER_CODE: u16 = 0x28 | 3;
const TSS_SELECTOR: u16 = 0x30;

/// What stands in stack fields that nothing may use yet: not canonical, so that a push through it is a fault at once.
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

/// One CPU's task state segment and segment descriptors; a page of its own.
#[derive(Debug)]
#[repr(C, align(4096))]
pub struct CpuTables {
    tss: Tss,
    gdt: [u64; 8],
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
        // Intel SDM vol. 3, 3.4.5 and 8.2.3: a system descriptor takes two entries in 64-bit mode. Type 9: available TSS.
        let tss_low =
            (limit & 0xffff) | (base & 0xff_ffff) << 16 | 0x89 << 40 | (base >> 24 & 0xff) << 56;
        let gdt = [
            0,
            0x00af_9b00_0000_ffff, // kernel code, 64-bit
            0x00cf_9300_0000_ffff, // kernel data
            0x00cf_fb00_0000_ffff, // user code, 32-bit: only its place matters, for sysret
            0x00cf_f300_0000_ffff, // user data
            0x00af_fb00_0000_ffff, // user code, 64-bit
            tss_low,
            base >> 32,
        ];
        Self { tss, gdt }
    }

    /// Loads the tables, the interrupt descriptors and the system-call entry on the CPU this runs on.
    ///
    /// # Safety
    ///
    /// 1. `tables` stays mapped and writable for ever, no other CPU uses it, and its IST tops are mapped stacks.
    /// 2. The CPU has its [`crate::local::CpuLocal`] loaded afterwards again (segment loads clear the GS base): call this first.
    /// 3. Interrupts are off.
    pub unsafe fn load(tables: *const Self) {
        #[repr(C, packed)]
        struct Pointer {
            limit: u16,
            base: u64,
        }
        let gdt = Pointer {
            limit: size_of::<[u64; 8]>() as u16 - 1,
            base: tables as u64 + offset_of!(Self, gdt) as u64,
        };
        let idt = Pointer {
            limit: size_of::<[Gate; 256]>() as u16 - 1,
            base: core::ptr::from_ref(&IDT) as u64,
        };
        fill_idt();
        // SAFETY: (1) both tables are complete and stay, by the caller's promise and because IDT is static; (2) the selectors
        // name descriptors made above; (3) the far return only reloads CS with the same meaning.
        unsafe {
            asm!(
                "lgdt [{gdt}]",
                "lidt [{idt}]",
                // CS can only be loaded by a far transfer.
                "push {code}",
                "lea {scratch}, [rip + 2f]",
                "push {scratch}",
                "retfq",
                "2:",
                "mov ds, {data:e}",
                "mov es, {data:e}",
                "mov ss, {data:e}",
                "xor {scratch:e}, {scratch:e}",
                "mov fs, {scratch:e}",
                "mov gs, {scratch:e}",
                "ltr {tss:x}",
                gdt = in(reg) &gdt,
                idt = in(reg) &idt,
                code = const KERNEL_CODE,
                data = in(reg) KERNEL_DATA as u32,
                tss = in(reg) TSS_SELECTOR,
                scratch = out(reg) _,
            );
        }
        entry::enable_syscall();
    }

    /// Sets the stack for entries from user mode.
    ///
    /// # Safety
    ///
    /// 1. `tables` are the loaded tables of the CPU this runs on, and interrupts are off.
    /// 2. `top` is the top of the stack of the thread that runs when user mode is next entered.
    #[inline(always)]
    pub unsafe fn set_user_entry_stack(tables: *mut Self, top: Addr) {
        // SAFETY: (1) the tables are mapped, and written only by their own CPU with interrupts off; (2) the field is
        // 4-aligned, hence the unaligned write.
        unsafe {
            (&raw mut (*tables).tss.rsp).cast::<u64>().write_unaligned(top.get() as u64);
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

/// An interrupt descriptor, two words that only ever go from absent to present.
#[repr(C, align(16))]
struct Gate([AtomicU64; 2]);

static IDT: [Gate; 256] = [const { Gate([AtomicU64::new(0), AtomicU64::new(0)]) }; 256];

/// Every CPU writes the same values, so that it does not matter who comes first.
fn fill_idt() {
    for (vector, gate) in IDT.iter().enumerate() {
        let stub = entry::VECTORS[vector] as usize as u64;
        let vector = vector as u8;
        let ist = Ist::of_vector(vector).map_or(0, |ist| ist as u64);
        // A program may execute `int3`; everything else raised by `int n` in user mode is a general protection fault.
        let privilege = if vector == 3 { 3 } else { 0 };
        // Type 0xe: interrupt gate, so that interrupts are off on entry.
        let kind = 0x8e | privilege << 5;
        let low = (stub & 0xffff)
            | (KERNEL_CODE as u64) << 16
            | ist << 32
            | kind << 40
            | (stub >> 16 & 0xffff) << 48;
        gate.0[1].store(stub >> 32, Ordering::Relaxed);
        gate.0[0].store(low, Ordering::Relaxed);
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
        let (low, high) = (tables.gdt[6], tables.gdt[7]);
        let base = low >> 16 & 0xff_ffff | (low >> 56) << 24 | high << 32;
        assert_eq!(base, at);
        assert_eq!(low & 0xffff, 103);
    }
}
