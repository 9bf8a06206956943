//! From the first instruction to Rust, for the first CPU and for the others.
//!
//! The firmware starts one hart, not always number 0, in supervisor mode at the image's lowest
//! address, paging off: a0 = its number, a1 = the device tree. We build the smallest page tables
//! that let the kernel run where it is linked:
//!
//! ```text
//!   virtual                      physical
//!   0 .. 512 GiB                -> 0 .. 512 GiB   identity, so that turning paging on does not lose us
//!   0xffff888000000000 + 512 GiB -> 0 .. 512 GiB   the first part of the direct map: firmware puts the tree at the end of memory
//!   0xffffffff00000000 + 4 GiB   -> 0 .. 4 GiB     the kernel image
//! ```
//!
//! Then the high half, a boot stack in .bss, and `kernel_main`. The other CPUs are started by the
//! firmware when asked, go through the same tables, and continue in `secondary_main` on the stack
//! given.
//!
//! # What the firmware may get wrong
//!
//! OpenSBI before 1.3 marks a hart as started *before* it notes where the hart is to go
//! (`sbi_hsm_hart_start`). A hart that comes out of its own initialisation right then goes where
//! the first one went, with the first one's argument, or to the right place with that argument. So
//! nothing but a0, the hart's number, is trusted: a hart that comes to `boot_start` second is no
//! first CPU, and each of the others finds its CPU number by its hart number (`boot_harts`, written
//! before it is started).

use super::board::{BOOT_HART, MACHINE};
use super::cpu::{self, SV48};
use super::{paging, power, sbi};
use crate::arch::any::start::kernel_secondary;
use crate::arch::virt::device_tree::Tree;
use crate::boot_info::BootInfo;
use crate::cpus::{self, MAX_CPUS};
use crate::memory::direct;
use core::arch::global_asm;
use core::sync::atomic::{AtomicU64, Ordering};
use kstack::addr::{Addr, AddrRange, ByteSize, CpuId};
use kstack::arch::current::local::TP;
use kstack::protector::BOOT;

/// Bytes of the stack the first CPU boots on, until its idle stack is there.
pub const BOOT_STACK_BYTES: usize = 32 * 1024;
/// Bytes of the guard below it.
const BOOT_GUARD_BYTES: usize = 4096;
/// Where the stack begins, counted from the guard's lowest byte.
const BOOT_STACK_TOP: usize = BOOT_GUARD_BYTES + BOOT_STACK_BYTES;

/// In sstatus, whatever the firmware left there: interrupts; the use of programs' pages by the
/// kernel (SUM), and reads of what is only executable (MXR). Nothing sets the last two ever again.
const NOT_AT_FIRST: u64 = 1 << 1 | 1 << 18 | 1 << 19;
/// A leaf that allows everything: valid, read, write, execute, accessed, dirty.
const EVERYTHING: u64 = 0xcf;
/// Bits that a page number is shifted by in an entry, from the address.
const ENTRY_SHIFT: u32 = 2;

global_asm!(
    ".section .boot.text, \"ax\"",
    ".option push",
    ".option norelax",
    ".option arch, +a",
    // Compressed instructions may be what it lacks.
    ".option norvc",
    ".globl boot_start",
    "boot_start:",
    "csrw sie, zero",
    "li t0, {not_at_first}",
    "csrc sstatus, t0",
    // The CPU may lack what the next instructions are: everything from the first atomic one on.
    "la t0, boot_cannot",
    "csrw stvec, t0",
    "la t0, boot_taken",
    "li t1, 1",
    "amoswap.w.aqrl t1, t1, (t0)",
    "bnez t1, boot_secondary",
    "la t0, boot_level4",
    // Level 4: the identity and the direct map lead to one level 3 table, the image to the other.
    "la t1, boot_level3_low",
    "srli t1, t1, {entry_shift}",
    "ori t1, t1, 1",
    "sd t1, 0(t0)",
    "li t2, {direct_entry}",
    "add t2, t2, t0",
    "sd t1, 0(t2)",
    "la t1, boot_level3_high",
    "srli t1, t1, {entry_shift}",
    "ori t1, t1, 1",
    "li t2, {image_entry}",
    "add t2, t2, t0",
    "sd t1, 0(t2)",
    // Level 3: pages of 1 GiB, 512 low and four high.
    "la t0, boot_level3_low",
    "li t4, {early_gib}",
    "li t5, 2",
    "li t3, {gib}",
    "2:",
    "li t2, {everything}",
    "3:",
    "sd t2, 0(t0)",
    "add t2, t2, t3",
    "addi t0, t0, {word}",
    "addi t4, t4, -1",
    "bnez t4, 3b",
    "la t0, boot_level3_high",
    "li t2, {image_gib}",
    "add t0, t0, t2",
    "li t4, 4",
    "addi t5, t5, -1",
    "bnez t5, 2b",
    "la t5, boot_kernel_entry",
    "j boot_enable_paging",

    ".globl boot_secondary",
    "boot_secondary:",
    "csrw sie, zero",
    "li t0, {not_at_first}",
    "csrc sstatus, t0",
    // a1 = the CPU's number: where the hart's, plus 1, is in the table.
    "addi t2, a0, 1",
    "8:",
    "la t0, boot_harts",
    "li a1, 0",
    "9:",
    "ld t1, 0(t0)",
    "beq t1, t2, 10f",
    "addi t0, t0, {word}",
    "addi a1, a1, 1",
    "li t1, {most_cpus}",
    "bltu a1, t1, 9b",
    "j 8b",
    "10:",
    "fence r, rw",
    "la t5, boot_secondary_entry",

    // In: t5 = where the address to go on at is.
    "boot_enable_paging:",
    "ld t5, 0(t5)",
    "la t0, boot_level4",
    "srli t0, t0, 12",
    "li t1, {sv48}",
    "or t0, t0, t1",
    "sfence.vma",
    "csrw satp, t0",
    "sfence.vma",
    "fence.i",
    // A CPU that has no such tables ignores the write.
    "csrr t1, satp",
    "bne t0, t1, 3f",
    "jr t5",
    "3:",
    "la s1, boot_no_sv48",
    "j boot_refuse",
    // A trap of the first instructions.
    ".balign 4",
    "boot_cannot:",
    "la s1, boot_no_instruction",
    // In: s1 = a sentence. Through the firmware's console, one byte a call (the legacy extension,
    // which needs no memory), and the machine ends with the status for a panic.
    "boot_refuse:",
    "lbu a0, 0(s1)",
    "beqz a0, 5f",
    "li a7, 1",
    "ecall",
    "addi s1, s1, 1",
    "j boot_refuse",
    "5:",
    "li t0, {end_at}",
    "li t1, {end_panic}",
    "sw t1, 0(t0)",
    "6:",
    "wfi",
    "j 6b",
    ".option pop",

    ".section .boot.data, \"aw\"",
    ".balign 8",
    "boot_kernel_entry: .dword kernel_entry",
    "boot_secondary_entry: .dword secondary_entry",
    "boot_taken: .dword 0",
    "boot_harts: .skip {most_cpus} * {word}",
    "boot_no_sv48: .asciz \"\\2\\r\\nkernel panic: this CPU lacks what the kernel needs: four-level page tables (Sv48)\\r\\n\"",
    "boot_no_instruction: .asciz \"\\2\\r\\nkernel panic: this CPU lacks instructions that the kernel is made of (RV64IMAC)\\r\\n\"",
    ".balign 4096",
    ".globl boot_level4",
    "boot_level4: .skip 4096",
    "boot_level3_low: .skip 4096",
    "boot_level3_high: .skip 4096",

    ".section .text.boot_high, \"ax\"",
    ".balign 4",
    ".globl kernel_entry",
    "kernel_entry:",
    "lla sp, {boot_stack}",
    "li t0, {boot_stack_top}",
    "add sp, sp, t0",
    "li s0, 0",
    // Where code that the stack protector was compiled into finds a canary until the CPU's block is
    // loaded.
    "lla tp, {boot_guard}",
    "addi tp, tp, {above}",
    "csrw sscratch, zero",
    "lla t0, boot_trap",
    "csrw stvec, t0",
    "lla t0, {boot_hart}",
    "sd a0, 0(t0)",
    "mv a0, a1",
    "call {kernel_main}",
    "unimp",

    // A trap before the CPU has entries: say so.
    ".balign 4",
    "boot_trap:",
    "lla sp, {boot_stack}",
    "li t0, {boot_stack_top}",
    "add sp, sp, t0",
    "csrr a0, scause",
    "csrr a1, sepc",
    "csrr a2, stval",
    "call {early_trap}",
    "unimp",

    ".globl secondary_entry",
    "secondary_entry:",
    "ld t0, {secondary_tables}",
    "csrw satp, t0",
    "sfence.vma",
    // The first store to its stack may be the first to that page: dirty bits by hardware, if
    // firmware and hart can (FWFT), before it. A refusal is looked at later
    // (`paging::this_cpu_will_do`). The call keeps all registers but a0 and a1.
    "mv s1, a1",
    "li a0, {dirty_bits}",
    "li a1, 1",
    "li a2, 0",
    "li a6, 0",
    "li a7, {firmware_features}",
    "ecall",
    "mv a1, s1",
    // A hart that comes later than it was waited for still has a stack of its own.
    "lla t0, {secondary_stacks}",
    "slli t1, a1, {word_shift}",
    "add t0, t0, t1",
    "ld sp, 0(t0)",
    "li s0, 0",
    "lla tp, {boot_guard}",
    "addi tp, tp, {above}",
    "csrw sscratch, zero",
    "lla t0, boot_trap",
    "csrw stvec, t0",
    "mv a0, a1",
    "call {secondary_main}",
    "unimp",

    // Too far from here for an instruction.
    ".section .rodata.boot_secondary, \"a\"",
    ".balign 8",
    ".globl boot_secondary_at",
    "boot_secondary_at: .dword boot_secondary",
    ".globl boot_harts_at",
    "boot_harts_at: .dword boot_harts",
    ".text",
    entry_shift = const ENTRY_SHIFT,
    direct_entry = const (crate::memory::DIRECT_MAP >> 39 & 511) * 8,
    image_entry = const (crate::memory::IMAGE >> 39 & 511) * 8,
    image_gib = const (crate::memory::IMAGE >> 30 & 511) * 8,
    everything = const EVERYTHING,
    early_gib = const super::layout::EARLY_TOP >> 30,
    gib = const (1_u64 << 30) >> ENTRY_SHIFT,
    word = const size_of::<u64>(),
    sv48 = const SV48,
    not_at_first = const NOT_AT_FIRST,
    dirty_bits = const sbi::PTE_AD_HW_UPDATING,
    firmware_features = const sbi::FIRMWARE_FEATURES,
    most_cpus = const MAX_CPUS,
    end_at = const power::DEVICE,
    end_panic = const power::word(power::End::Panic),
    boot_guard = sym BOOT,
    above = const TP,
    boot_stack = sym BOOT_STACK,
    boot_stack_top = const BOOT_STACK_TOP,
    boot_hart = sym BOOT_HART,
    kernel_main = sym crate::arch::any::start::kernel_main,
    early_trap = sym early_trap,
    secondary_main = sym secondary_main,
    secondary_tables = sym SECONDARY_TABLES,
    secondary_stacks = sym SECONDARY_STACKS,
    word_shift = const size_of::<u64>().trailing_zeros(),
);

#[repr(C, align(4096))]
struct BootStack([core::sync::atomic::AtomicU8; BOOT_STACK_TOP]);

static BOOT_STACK: BootStack =
    BootStack([const { core::sync::atomic::AtomicU8::new(0) }; BOOT_STACK_TOP]);

/// The bounds of the stack that the first CPU boots on.
pub fn boot_stack() -> AddrRange {
    AddrRange::sized(boot_guard().top, ByteSize::new(BOOT_STACK_BYTES))
}

/// What lies below it, and is not mapped once the kernel has tables of its own.
pub fn boot_guard() -> AddrRange {
    AddrRange::sized(Addr::new(&raw const BOOT_STACK as usize), ByteSize::new(BOOT_GUARD_BYTES))
}

static SECONDARY_TABLES: AtomicU64 = AtomicU64::new(0);
static SECONDARY_STACKS: [AtomicU64; MAX_CPUS] = [const { AtomicU64::new(0) }; MAX_CPUS];

unsafe extern "C" {
    static boot_secondary_at: u64;
    static boot_harts_at: u64;
}

/// The physical address at which the other harts start. It is linked where it is loaded.
pub(super) fn secondary_start() -> u64 {
    // SAFETY: (1) a word of the image that no code writes.
    unsafe { boot_secondary_at }
}

/// What a CPU will run with when its hart starts: page tables, the same for all, and a stack of its
/// own. Last, that it is this CPU.
pub fn prepare_secondary(cpu: usize, hart: usize, satp: u64, stack_top: u64) {
    SECONDARY_TABLES.store(satp, Ordering::SeqCst);
    SECONDARY_STACKS[cpu].store(stack_top, Ordering::SeqCst);
    // SAFETY: (1) a word of the image that no code writes.
    let harts: *const [AtomicU64; MAX_CPUS] = direct(unsafe { boot_harts_at });
    // SAFETY: (1) the table of the boot code, which stays in the direct map; (2) harts and this
    // function use it atomically.
    let harts = unsafe { &*harts };
    harts[cpu].store(hart as u64 + 1, Ordering::SeqCst);
}

/// Where the other CPUs enter Rust, on their idle stacks.
extern "C" fn secondary_main(number: u64) -> ! {
    // SAFETY: (1) a static, this CPU's own; (2) interrupts are off.
    unsafe { cpus::by_id(CpuId::new(number as u32)).local.load() };
    if !paging::this_cpu_will_do() {
        log!(
            "CPU {number} stays off: it leaves dirty bits to software, and the first CPU does not"
        );
        cpu::halt();
    }
    kernel_secondary(number as usize)
}

/// An exception before the entries were there.
extern "C" fn early_trap(cause: u64, pc: u64, address: u64) -> ! {
    panic!("exception {cause} at {pc:#x}, address {address:#x}, while starting");
}

/// Reads the device tree at the physical address the firmware gave. False if it is none.
///
/// # Safety
///
/// 1. The boot page tables are active: what lies below `EARLY_TOP` is in the direct map.
pub unsafe fn read_boot_info(device_tree: u64, boot: &mut BootInfo) -> bool {
    assert!(
        device_tree < super::layout::EARLY_TOP,
        "the device tree is at {device_tree:#x}, beyond what the boot tables reach"
    );
    // SAFETY: (1) by the caller's promise.
    let Some(tree) = (unsafe { Tree::at(direct::<u8>(device_tree)) }) else { return false };
    check_harts(&tree);
    MACHINE.learn(&tree);
    tree.read_into(boot);
    true
}

/// Says what is missing if the harts lack what only programs use, so that nothing before would have
/// trapped.
fn check_harts(tree: &Tree<'_>) {
    /// Single letters, and what they stand for.
    const NEEDED: [(u8, &str); 2] = [
        (b'f', "floating point (F), which programs use"),
        (b'd', "floating point of 64 bits (D), which programs use"),
    ];
    // "rv64imafdc_zicsr_...": letters up to the first word; `g` is short for `imafd`. A tree
    // without it says nothing.
    let cpus = tree.node("/cpus").into_iter().flat_map(|cpus| cpus.children());
    for isa in cpus.filter_map(|cpu| cpu.property("riscv,isa")?.as_str()) {
        let letters = isa.bytes().skip("rv64".len()).take_while(u8::is_ascii_lowercase);
        for (letter, name) in NEEDED {
            let mut letters = letters.clone();
            assert!(
                letters.any(|one| one == letter || one == b'g'),
                "a hart lacks what the kernel needs: {name}"
            );
        }
    }
}
