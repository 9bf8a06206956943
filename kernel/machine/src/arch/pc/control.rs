//! The control registers: which bit is what on every CPU, and why.
//!
//! What firmware, a boot loader and INIT leave in them differs. So each register is *set*, never
//! added to: by the boot code to what paging needs ([`BOOT_CR0`], [`BOOT_CR4`], [`BOOT_EFER`]),
//! then by every CPU, the first and the others, to what stands in [`TABLE`] ([`load`]). A bit that
//! has no row there is 0.
//!
//! Source: Intel SDM vol. 3, 2.5 (CR0, CR4), 2.2.1 (EFER), 18.2 (DR6, DR7), 16.3 (machine check);
//! AMD APM vol. 2, 3.1.7 (EFER).

use core::arch::asm;
#[cfg(target_arch = "x86")]
use core::arch::x86::__cpuid_count;
#[cfg(target_arch = "x86_64")]
use core::arch::x86_64::__cpuid_count;

/// Whether this CPU is in 64-bit mode.
const LONG: bool = cfg!(target_arch = "x86_64");

/// A register of bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Register {
    /// Control register 0.
    Cr0,
    /// Control register 4.
    Cr4,
    /// The extended features' register, a model-specific one.
    Efer,
    /// Which debug exceptions there are.
    Dr7,
}

/// What a bit is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Set, from the boot code on.
    Set,
    /// Set, from [`load`] on.
    SetLater,
    /// Set from [`load`] on, on a CPU that has the feature: a leaf of `cpuid`, which of its
    /// registers (eax, ebx, ecx, edx), which bit.
    SetWhereThere(u32, usize, u32),
    /// Clear. The row is there for its reason only.
    Clear,
}

/// One bit.
#[derive(Debug)]
pub struct Row {
    /// Of which register.
    pub register: Register,
    /// Its number.
    pub bit: u32,
    /// The manual's name.
    pub name: &'static str,
    /// What it is to be.
    pub wanted: Wanted,
    /// What it is for, or what breaks otherwise.
    pub why: &'static str,
}

use Register::{Cr0, Cr4, Dr7, Efer};
use Wanted::{Clear, Set, SetLater, SetWhereThere};

const fn row(
    register: Register,
    bit: u32,
    name: &'static str,
    wanted: Wanted,
    why: &'static str,
) -> Row {
    Row { register, bit, name, wanted, why }
}

/// In 64-bit mode only.
const IF_LONG: Wanted = if LONG { Set } else { Clear };

/// Every bit that is set anywhere, and every clear one whose being set would break something.
pub const TABLE: &[Row] = &[
    row(Cr0, 0, "PE", Set, "protected mode"),
    row(Cr0, 1, "MP", Set, "`wait` heeds TS"),
    row(Cr0, 2, "EM", Clear, "programs use the x87 and SSE registers"),
    row(Cr0, 3, "TS", Clear, "a program's floating-point instruction would fault"),
    row(Cr0, 4, "ET", Set, "hardwired"),
    row(
        Cr0,
        5,
        "NE",
        Set,
        "floating-point errors are exceptions, not an interrupt of the old controller",
    ),
    row(
        Cr0,
        16,
        "WP",
        Set,
        "the kernel's writes heed read-only pages: copy on write, and what is written once",
    ),
    row(
        Cr0,
        18,
        "AM",
        SetLater,
        "programs may have their alignment checked, by their flag, as on Linux",
    ),
    row(Cr0, 29, "NW", Clear, "writes reach memory"),
    row(Cr0, 30, "CD", Clear, "memory is cached"),
    row(Cr0, 31, "PG", Set, "paging"),
    row(Cr4, 0, "VME", Clear, "no virtual-8086 mode"),
    row(Cr4, 1, "PVI", Clear, "`cli` of a program is a fault, not a flag of its own"),
    row(Cr4, 2, "TSD", Clear, "programs may read the time stamp counter"),
    row(Cr4, 5, "PAE", Set, "page-table entries of 64 bits"),
    row(
        Cr4,
        6,
        "MCE",
        SetWhereThere(1, EDX, 7),
        "machine checks are exceptions; otherwise they reset the machine",
    ),
    row(Cr4, 7, "PGE", Set, "translations of the kernel outlive a switch of tables"),
    row(Cr4, 8, "PCE", Clear, "performance counters are not programs' to read"),
    row(Cr4, 9, "OSFXSR", Set, "programs use SSE, saved by `fxsave`"),
    row(Cr4, 10, "OSXMMEXCPT", Set, "errors of SSE are exceptions"),
    row(
        Cr4,
        11,
        "UMIP",
        SetWhereThere(7, ECX, 2),
        "programs cannot read where the descriptor tables are",
    ),
    row(Cr4, 12, "LA57", Clear, "four levels of tables"),
    row(Cr4, 13, "VMXE", Clear, "no virtual machines"),
    row(
        Cr4,
        16,
        "FSGSBASE",
        Clear,
        "a program that sets its GS base would be taken for the kernel by the NMI entry",
    ),
    row(
        Cr4,
        17,
        "PCIDE",
        Clear,
        "a load of CR3 drops translations; nothing numbers address spaces",
    ),
    row(
        Cr4,
        18,
        "OSXSAVE",
        SetWhereThere(1, ECX, 26),
        "`xsave` keeps what programs have besides x87 and SSE, as XCR0 says",
    ),
    row(Cr4, 20, "SMEP", SetWhereThere(7, EBX, 7), "the kernel does not execute programs' pages"),
    row(Cr4, 21, "SMAP", SetWhereThere(7, EBX, 20), "the kernel does not touch programs' pages"),
    row(Cr4, 22, "PKE", Clear, "protection keys are not switched"),
    row(
        Cr4,
        23,
        "CET",
        if LONG { SetWhereThere(7, ECX, 7) } else { Clear },
        "programs may have shadow stacks, by IA32_U_CET; the kernel has none: IA32_S_CET is 0",
    ),
    row(
        Efer,
        0,
        "SCE",
        if LONG { SetLater } else { Clear },
        "`syscall`, whose entries `load` of the tables sets; on 32 bits it has none",
    ),
    row(Efer, 8, "LME", IF_LONG, "long mode"),
    row(
        Efer,
        10,
        "LMA",
        if LONG { SetLater } else { Clear },
        "the CPU's own, set by paging with LME",
    ),
    row(Efer, 11, "NXE", Set, "pages that are not executed"),
    row(Efer, 12, "SVME", Clear, "no virtual machines"),
    row(
        Efer,
        14,
        "FFXSR",
        Clear,
        "`fxsave` would leave out the SSE registers: one program's in another's hands",
    ),
    row(Dr7, 10, "1", SetLater, "hardwired; all breakpoints are off until one is set"),
];

const EBX: usize = 1;
const ECX: usize = 2;
const EDX: usize = 3;

const fn is_register(row: &Row, register: Register) -> bool {
    row.register as u8 == register as u8
}

/// What the boot code sets a register to.
const fn boot(register: Register) -> u32 {
    let (mut value, mut at) = (0, 0);
    while at < TABLE.len() {
        if is_register(&TABLE[at], register) && matches!(TABLE[at].wanted, Set) {
            value |= 1 << TABLE[at].bit;
        }
        at += 1;
    }
    value
}

/// What the boot code sets CR0 to.
pub(in crate::arch) const BOOT_CR0: u32 = boot(Cr0);
/// What the boot code sets CR4 to, before paging is on.
pub(in crate::arch) const BOOT_CR4: u32 = boot(Cr4);
/// What the boot code sets EFER to, before paging is on.
pub(in crate::arch) const BOOT_EFER: u32 = boot(Efer);

/// Whether the CPU has what a leaf of `cpuid` tells.
pub fn has(leaf: u32, register: usize, bit: u32) -> bool {
    let highest = __cpuid_count(leaf & 0x8000_0000, 0).eax;
    if highest < leaf {
        return false;
    }
    let answer = __cpuid_count(leaf, 0);
    [answer.eax, answer.ebx, answer.ecx, answer.edx][register] & 1 << bit != 0
}

/// What a register is to be on this CPU.
pub fn wanted(register: Register) -> usize {
    let is_set = |row: &&Row| match row.wanted {
        Set | SetLater => true,
        SetWhereThere(leaf, register, bit) => has(leaf, register, bit),
        Clear => false,
    };
    let rows = TABLE.iter().filter(|row| row.register == register).filter(is_set);
    rows.fold(0, |value, row| value | 1 << row.bit)
}

/// The number of EFER.
pub(in crate::arch) const EFER: u32 = 0xc000_0080;

/// What a register is on this CPU.
pub fn read(register: Register) -> usize {
    let value: usize;
    // SAFETY: (1) reading these registers has no effect; EFER exists, or the boot code would not
    // have come this far.
    unsafe {
        match register {
            Cr0 => asm!("mov {}, cr0", out(reg) value, options(nomem, nostack, preserves_flags)),
            Cr4 => asm!("mov {}, cr4", out(reg) value, options(nomem, nostack, preserves_flags)),
            Dr7 => asm!("mov {}, dr7", out(reg) value, options(nomem, nostack, preserves_flags)),
            Efer => value = read_msr(EFER) as usize,
        }
    }
    value
}

/// # Safety
///
/// 1. The register exists.
pub(super) unsafe fn read_msr(register: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: (1) by the caller's promise.
    unsafe {
        asm!("rdmsr", in("ecx") register, out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags));
    }
    u64::from(high) << 32 | u64::from(low)
}

/// # Safety
///
/// 1. The register exists and the value keeps the kernel's invariants.
pub(super) unsafe fn write_msr(register: u32, value: u64) {
    // SAFETY: (1) by the caller's promise.
    unsafe {
        asm!("wrmsr", in("ecx") register, in("eax") value as u32, in("edx") (value >> 32) as u32,
             options(nostack, preserves_flags));
    }
}

/// Sets every register of the table on the CPU this runs on. Before its descriptor tables are
/// loaded. Interrupts are off.
pub fn load() {
    /// What DR6 is after reset: nothing has happened.
    const NO_DEBUG_EVENTS: usize = 0xffff_0ff0;
    let [cr0, cr4, efer, dr7] = [Cr0, Cr4, Efer, Dr7].map(wanted);
    // SAFETY: (1) the values are the table's, whose rows say why nothing breaks: what is on already
    // stays on, and the kernel touches no page of a program; (2) the last bits of DR7 are off, so
    // that no breakpoint is left that was not set here.
    unsafe {
        asm!("mov dr7, {}", "mov dr6, {}", in(reg) dr7, in(reg) NO_DEBUG_EVENTS, options(nostack, preserves_flags));
        // CR4.CET is refused while CR0.WP is clear (Intel SDM vol. 3, 2.5).
        asm!("mov cr0, {}", in(reg) cr0, options(nostack, preserves_flags));
        asm!("mov cr4, {}", in(reg) cr4, options(nostack, preserves_flags));
        write_msr(EFER, efer as u64);
    }
    if has(1, EDX, MACHINE_CHECK_BANKS) {
        enable_machine_checks();
    }
}

/// In leaf 1 of `cpuid`, in edx: there are the registers that follow.
const MACHINE_CHECK_BANKS: u32 = 14;

/// Lets every bank report every error: a machine check that no bank may report never comes (Intel
/// SDM vol. 3, 16.3.2 and 16.8).
fn enable_machine_checks() {
    const CAPABILITIES: u32 = 0x179;
    const CONTROL: u32 = 0x17b;
    const FIRST_BANK: u32 = 0x400;
    const HAS_CONTROL: u64 = 1 << 8;
    // SAFETY: (1) the CPU has these registers, as many as the first says; (2) all bits may be set:
    // those without a meaning are ignored.
    unsafe {
        let capabilities = read_msr(CAPABILITIES);
        for bank in 0..capabilities as u32 & 0xff {
            let control = FIRST_BANK + 4 * bank;
            // On the oldest family the first bank is the firmware's.
            if bank > 0 || !first_bank_is_the_firmwares() {
                write_msr(control, u64::MAX);
            }
            // What was there before this kernel is not its own error.
            write_msr(control + 1, 0);
        }
        if capabilities & HAS_CONTROL != 0 {
            write_msr(CONTROL, u64::MAX);
        }
    }
}

/// Who made the CPU.
pub fn vendor() -> [u8; 12] {
    let answer = __cpuid_count(0, 0);
    let mut name = [0; 12];
    for (to, from) in name.chunks_exact_mut(4).zip([answer.ebx, answer.edx, answer.ecx]) {
        to.copy_from_slice(&from.to_le_bytes());
    }
    name
}

/// Intel's family 6 before model 0x1a (Intel SDM vol. 3, 16.3.2.1).
fn first_bank_is_the_firmwares() -> bool {
    let is_intel = vendor() == *b"GenuineIntel";
    let version = __cpuid_count(1, 0).eax;
    let (family, model) = (version >> 8 & 0xf, version >> 4 & 0xf | version >> 12 & 0xf0);
    is_intel && family == 6 && model < 0x1a
}
