//! From the first instruction to Rust, for the first CPU and for the others.
//!
//! The emulator enters at the lowest address of the image, MMU off: at EL1, or at EL2 if the
//! machine has it, which is left at once. x0 is the device tree if the image was loaded as an
//! Image, 0 if as an ELF file; then the tree lies at the start of memory. The smallest page tables
//! that let the kernel run where it is linked are filled in by the linker:
//!
//! ```text
//!   virtual                      physical
//!   0 .. 2 GiB                -> 0 .. 2 GiB      identity, so that turning the MMU on does not lose us        (TTBR0)
//!   0xffff000000000000 + 2 GiB -> 0 .. 2 GiB      the first part of the direct map: devices, then memory      (TTBR1)
//!   0xffffffffc0000000 + 1 GiB -> 1 .. 2 GiB      the kernel image                                           (TTBR1)
//! ```
//!
//! Then the MMU, the high half, a boot stack in .bss, and `kernel_main`. The other CPUs are started
//! by PSCI at `boot_secondary`, go through the same tables, and continue in `kernel_secondary` on
//! the stack given.
//!
//! From the first Rust function on SPSel is 0. SP_EL1 leads to a small stack for exceptions that
//! come before the library's vectors are loaded: they can only be told of.

use super::layout::{DEVICES_TOP, IMAGE_LOWEST};
use super::{board, cpu, paging, power, semihosting};
use crate::boot_info::BootInfo;
use crate::cpus::MAX_CPUS;
use crate::memory::direct;
use core::arch::global_asm;
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use kstack::addr::{Addr, AddrRange, ByteSize};
use kstack::protector::BOOT;

/// Bytes of the stack the first CPU boots on, until its idle stack is there: a thread's worth, and
/// aligned like one, so that the bit test of the entry code holds for it too.
pub const BOOT_STACK_BYTES: usize = 16 * 1024;
/// Bytes of the guard below it: so many that the stack is aligned to twice its size, as the
/// bit test wants.
const BOOT_GUARD_BYTES: usize = 2 * BOOT_STACK_BYTES;
/// Where the stack begins, counted from the guard's lowest byte.
const BOOT_STACK_TOP: usize = BOOT_GUARD_BYTES + BOOT_STACK_BYTES;
const EARLY_STACK_BYTES: usize = 8 * 1024;

/// A block descriptor's bits, in the boot tables.
const NORMAL: u64 = paging::BLOCK | paging::NORMAL;
const DEVICE: u64 = paging::BLOCK | paging::DEVICE;
const TABLE: u64 = paging::TABLE;
const GIB: u64 = 1 << 30;

global_asm!(
    ".section .boot.header, \"ax\"",
    // Documentation/arch/arm64/booting in Linux: branch, text offset, image size, flags (4 KiB
    // pages), magic.
    ".globl boot_start",
    "boot_start:",
    "b boot_first",
    ".long 0",
    ".quad {text_offset}",
    ".quad image_bytes",
    ".quad {page_flags}",
    ".quad 0, 0, 0",
    ".ascii \"ARM\\x64\"",
    ".long 0",

    ".section .boot.text, \"ax\"",
    "boot_first:",
    "mov x20, x0",
    "bl boot_check_cpu",
    "bl boot_leave_el2",
    "bl boot_enable_mmu",
    // High now. .bss is not in the file; the emulator's memory is zero, others' need not be.
    "ldr x1, =bss_lowest",
    "ldr x2, =data_top",
    "2:",
    "stp xzr, xzr, [x1], #{pair}",
    "cmp x1, x2",
    "b.lo 2b",
    "ldr x1, =kernel_entry",
    "br x1",

    ".globl boot_secondary",
    "boot_secondary:",
    "mov x20, x0",
    "bl boot_leave_el2",
    "bl boot_enable_mmu",
    // To the final kernel half while nothing runs in it.
    "ldr x2, ={secondary_tables}",
    "ldr x0, [x2]",
    "ldr x2, ={secondary_user_tables}",
    "ldr x1, [x2]",
    "bl boot_replace_kernel_half",
    "ldr x1, =secondary_entry",
    "br x1",

    // In: x0 = the kernel half's root, x1 = that of tables with nothing in them; called from either
    // half. Uses x2. The tables of before map by blocks what the new ones map by pages. A CPU that
    // had both in its TLB could use a mixture, or abort (Arm ARM, D8.17.1, break-before-make). So
    // the kernel half is empty in between, and this code, which is linked where it is loaded, runs
    // in the identity map of the other half.
    ".globl boot_replace_kernel_half",
    "boot_replace_kernel_half:",
    "mrs x2, daif",
    "msr daifset, #0xf",
    "dsb ish",
    "msr ttbr1_el1, x1",
    "isb",
    "tlbi vmalle1",
    "dsb nsh",
    "isb",
    "msr ttbr1_el1, x0",
    "isb",
    "msr daif, x2",
    "ret",

    // Returns if the CPU is one that the kernel runs on, at EL1 or EL2. MMU off. Uses x0, x1.
    "boot_check_cpu:",
    "adr x1, boot_at_el3",
    "mrs x0, CurrentEL",
    "cmp x0, #{el2}",
    "b.hi boot_refuse",
    // Signed fields: all ones is "no".
    "adr x1, boot_no_granule",
    "mrs x0, id_aa64mmfr0_el1",
    "sbfx x0, x0, #28, #4",
    "tbnz x0, #63, boot_refuse",
    "adr x1, boot_no_float",
    "mrs x0, id_aa64pfr0_el1",
    "sbfx x0, x0, #16, #4",
    "tbnz x0, #63, boot_refuse",
    "ret",
    // In: x1 = what is missing. On the serial port, which needs no set-up in an emulator, and by
    // semihosting to the control channel; then the machine ends with the status for a panic.
    // Without semihosting that traps to nowhere.
    "boot_refuse:",
    "adr x2, boot_lacks",
    "ldr x3, ={pl011}",
    "2:",
    "ldrb w4, [x2], #1",
    "cbz w4, 3f",
    "strb w4, [x3]",
    "b 2b",
    "3:",
    "mov x2, x1",
    "4:",
    "ldrb w4, [x2], #1",
    "cbz w4, 5f",
    "strb w4, [x3]",
    "b 4b",
    "5:",
    "mov x5, x1",
    "mov w0, #{write_text}",
    "adr x1, boot_lacks + 3",
    "hlt #0xf000",
    "mov w0, #{write_text}",
    "mov x1, x5",
    "hlt #0xf000",
    "mov w0, #{exit}",
    "adr x1, boot_panic",
    "hlt #0xf000",
    "6:",
    "wfi",
    "b 6b",
    "boot_lacks: .asciz \"\\2\\r\\nkernel panic: this machine lacks what the kernel needs: \"",
    "boot_at_el3: .asciz \"firmware that enters it at EL2 or EL1, not at EL3\\r\\n\"",
    "boot_no_granule: .asciz \"page tables of 4 KiB pages\\r\\n\"",
    "boot_no_float: .asciz \"floating point, which programs use\\r\\n\"",
    ".balign 8",
    "boot_panic: .quad {application_exit}, {panic}",

    // Out: EL1, everything masked. Uses x0, x1. Of EL2 is kept: nothing.
    "boot_leave_el2:",
    "msr daifset, #0xf",
    "mrs x0, CurrentEL",
    "cmp x0, #{el2}",
    "b.ne 2f",
    // EL1 is 64-bit; timers, floating point and the interrupt controller's registers are EL1's.
    "mov x0, #{el1_is_64_bit}",
    "msr hcr_el2, x0",
    // What the bits of the next registers mean depends on HCR_EL2.E2H, which firmware may have set.
    "isb",
    "mov x0, #3",
    "msr cnthctl_el2, x0",
    "msr cntvoff_el2, xzr",
    "mov x0, #{cptr_no_traps}",
    "msr cptr_el2, x0",
    "msr hstr_el2, xzr",
    // EL1 sees which CPU this is, and has all of its counters.
    "mrs x0, midr_el1",
    "msr vpidr_el2, x0",
    "mrs x0, mpidr_el1",
    "msr vmpidr_el2, x0",
    "mrs x0, pmcr_el0",
    "ubfx x0, x0, #{counters_shift}, #{counters_bits}",
    "msr mdcr_el2, x0",
    "mrs x0, id_aa64pfr0_el1",
    "ubfx x0, x0, #24, #4",
    "cbz x0, 3f",
    "mov x0, #{sre_el2}",
    "msr S3_4_C12_C9_5, x0",
    "isb",
    "msr S3_4_C12_C11_0, xzr",
    "3:",
    // EL1 may use the instructions that copy and fill memory (FEAT_MOPS), and takes their
    // exceptions: HCRX_EL2.
    "mrs x0, s3_0_c0_c6_2",
    "ubfx x0, x0, #{mops_shift}, #4",
    "cbz x0, 4f",
    "mrs x0, S3_4_C1_C2_2",
    "orr x0, x0, #{mops_enabled}",
    "bic x0, x0, #{mops_to_el2}",
    "msr S3_4_C1_C2_2, x0",
    "4:",
    // So are the registers for permissions by index and shadow stacks: TCR2En and GCSEn of
    // HCRX_EL2, and the bits of HFGRTR_EL2 and HFGWTR_EL2 that are traps while clear.
    "mrs x0, S3_0_C0_C7_3",
    "ubfx x0, x0, #8, #4",
    "cbz x0, 5f",
    "mrs x0, S3_4_C1_C2_2",
    "orr x0, x0, #{tcr2_enabled}",
    "mrs x1, id_aa64pfr1_el1",
    "ubfx x1, x1, #{gcs_shift}, #4",
    "cbz x1, 6f",
    "orr x0, x0, #{gcs_enabled}",
    "6:",
    "msr S3_4_C1_C2_2, x0",
    "ldr x1, ={not_trapped}",
    "mrs x0, S3_4_C1_C1_4",
    "orr x0, x0, x1",
    "msr S3_4_C1_C1_4, x0",
    "mrs x0, S3_4_C1_C1_5",
    "orr x0, x0, x1",
    "msr S3_4_C1_C1_5, x0",
    "5:",
    "ldr x0, ={sctlr_off}",
    "msr sctlr_el1, x0",
    "mov x0, #{el1h_masked}",
    "msr spsr_el2, x0",
    "msr elr_el2, x30",
    // The exception return is no barrier where firmware has cleared SCTLR_EL2.EOS (FEAT_ExS).
    "isb",
    "eret",
    "2:",
    "ret",

    // In: MMU off. Out: MMU on, floating point for programs. Uses x0 to x4.
    "boot_enable_mmu:",
    "dsb ish",
    "mov x0, #{mair}",
    "msr mair_el1, x0",
    "ldr x0, ={tcr}",
    // As many physical address bits as the CPU has, 48 at most.
    "mrs x1, id_aa64mmfr0_el1",
    "and x1, x1, #0xf",
    "mov x2, #5",
    "cmp x1, x2",
    "csel x1, x1, x2, lo",
    "bfi x0, x1, #32, #3",
    // The CPU keeps accessed and dirty bits, if it can, and if it is none of those that cannot
    // though they say so: before the first write to a stack.
    "mrs x1, id_aa64mmfr1_el1",
    "and x1, x1, #0xf",
    "cmp x1, #{keeps_dirty}",
    "b.lo 2f",
    "mrs x1, midr_el1",
    "adr x2, boot_broken_dirty",
    "4:",
    "ldp w3, w4, [x2], #{broken_entry}",
    "cbz w3, 5f",
    "and w3, w1, w3",
    "cmp w3, w4",
    "b.ne 4b",
    "b 2f",
    "5:",
    "orr x0, x0, #{hardware_dirty}",
    "2:",
    "msr tcr_el1, x0",
    // Permissions by index, where the CPU has them (FEAT_S1PIE): PIR_EL1, PIRE0_EL1, TCR2_EL1. On
    // older CPUs ID_AA64MMFR3_EL1 reads as zero.
    "mrs x1, S3_0_C0_C7_3",
    "ubfx x1, x1, #8, #4",
    "cbz x1, 6f",
    "ldr x1, ={kernel_by_index}",
    "msr S3_0_C10_C2_3, x1",
    "ldr x1, ={user_by_index}",
    "msr S3_0_C10_C2_2, x1",
    "mov x1, #{permissions_by_index}",
    "msr S3_0_C2_C0_3, x1",
    "6:",
    "adrp x0, boot_level0_low",
    "msr ttbr0_el1, x0",
    "adrp x0, boot_level0_high",
    "msr ttbr1_el1, x0",
    "mov x0, #{fp_on}",
    "msr cpacr_el1, x0",
    // The counter is for programs too; debug registers are unlocked.
    "mov x0, #2",
    "msr cntkctl_el1, x0",
    "msr oslar_el1, xzr",
    "msr mdscr_el1, xzr",
    "isb",
    "tlbi vmalle1",
    "dsb nsh",
    "isb",
    "ldr x0, ={sctlr}",
    "msr sctlr_el1, x0",
    "isb",
    "ret",
    // Bits of MIDR_EL1 that count, and their values: Cortex-A55 of any revision (erratum 1024718),
    // Kryo 4xx Silver r13p14, which is one, and Cortex-A510 r0p0 to r0p2 (erratum 2051678). Zero
    // ends it.
    ".balign 8",
    "boot_broken_dirty:",
    ".long 0xff0ffff0, 0x410fd050",
    ".long 0xffffffff, 0x51df805e",
    ".long 0xffffffff, 0x410fd460",
    ".long 0xffffffff, 0x410fd461",
    ".long 0xffffffff, 0x410fd462",
    ".quad 0",
    ".ltorg",

    ".section .boot.data, \"aw\"",
    ".balign 4096",
    "boot_level0_low: .quad boot_level1 + {table}",
    ".balign 4096",
    "boot_level0_high: .quad boot_level1 + {table}",
    ".skip {high_skip}",
    ".quad boot_level1_high + {table}",
    "boot_level1: .quad {device}, {gib} + {normal}",
    ".balign 4096",
    "boot_level1_high: .skip {image_skip}",
    ".quad {gib} + {normal}",
    ".balign 4096",

    ".section .text.boot_high, \"ax\"",
    "kernel_entry:",
    "bl boot_stacks",
    "adrp x1, {boot_stack}",
    "add x1, x1, #{boot_stack_top}",
    "mov sp, x1",
    // Where code that the stack protector was compiled into finds a canary until the CPU's block is
    // loaded.
    "adrp x1, {boot_guard}",
    "add x1, x1, :lo12:{boot_guard}",
    "msr tpidrro_el0, x1",
    "mov x0, x20",
    "bl {kernel_main}",
    "brk #1",
    "secondary_entry:",
    "bl boot_stacks",
    // Stacks of a kernel that has their dirty bits kept are read-only to a CPU that does not keep
    // them. Until the first CPU has made them writable, it must not touch one.
    "adrp x0, {relies}",
    "ldr w1, [x0, :lo12:{relies}]",
    "cbz w1, 6f",
    "mrs x1, tcr_el1",
    "tbnz x1, #{dirty_bit}, 6f",
    "mov w1, #1",
    "adrp x2, {needs_writable}",
    "str w1, [x2, :lo12:{needs_writable}]",
    "5:",
    "ldr w1, [x0, :lo12:{relies}]",
    "cbnz w1, 5b",
    "6:",
    "adrp x0, {secondary_user_tables}",
    "ldr x1, [x0, :lo12:{secondary_user_tables}]",
    "dsb ish",
    "msr ttbr0_el1, x1",
    "isb",
    "tlbi vmalle1",
    "dsb nsh",
    "isb",
    // A CPU that comes later than it was waited for still has a stack of its own.
    "adrp x0, {secondary_stacks}",
    "add x0, x0, :lo12:{secondary_stacks}",
    "ldr x1, [x0, x20, lsl #{word_shift}]",
    "mov sp, x1",
    "adrp x1, {boot_guard}",
    "add x1, x1, :lo12:{boot_guard}",
    "msr tpidrro_el0, x1",
    "mov x0, x20",
    "bl {kernel_secondary}",
    "brk #1",
    // Out: SP_EL1 the early stack, SPSel 0, the early vectors, x29 = x30 = outermost. Uses x1, x2.
    "boot_stacks:",
    "mov x2, x30",
    "msr spsel, #1",
    "adrp x1, {early_stack}",
    "add x1, x1, #{early_stack_bytes}",
    "mov sp, x1",
    "msr spsel, #0",
    "adrp x1, early_vectors",
    "add x1, x1, :lo12:early_vectors",
    "msr vbar_el1, x1",
    "isb",
    "mov x29, #0",
    "mov x30, #0",
    "br x2",

    ".balign 2048",
    "early_vectors:",
    ".rept 16",
    ".balign 128",
    "mrs x0, esr_el1",
    "mrs x1, elr_el1",
    "mrs x2, far_el1",
    "mov x29, #0",
    "b {early_exception}",
    ".endr",
    ".balign 128",
    ".text",
    pl011 = const super::serial::PL011,
    write_text = const semihosting::SYS_WRITE0,
    exit = const semihosting::SYS_EXIT_EXTENDED,
    application_exit = const semihosting::APPLICATION_EXIT,
    panic = const power::End::Panic as u64,
    text_offset = const IMAGE_LOWEST - DEVICES_TOP,
    page_flags = const 0b0010,
    pair = const 2 * size_of::<u64>(),
    el2 = const 2 << 2,
    el1_is_64_bit = const 1_u64 << 31,
    cptr_no_traps = const 0x33ff,
    counters_shift = const 11,
    counters_bits = const 5,
    sre_el2 = const 0b1001,
    mops_shift = const cpu::MOPS_SHIFT,
    mops_enabled = const 1 << 11,
    mops_to_el2 = const 1 << 10,
    tcr2_enabled = const 1 << 14,
    gcs_shift = const 44,
    gcs_enabled = const 1 << 22,
    // nGCS_EL0, nGCS_EL1, nPIRE0_EL1, nPIR_EL1.
    not_trapped = const 3_u64 << 52 | 3 << 57,
    kernel_by_index = const paging::BY_INDEX[0],
    user_by_index = const paging::BY_INDEX[1],
    permissions_by_index = const paging::PERMISSIONS_BY_INDEX,
    sctlr_off = const paging::SCTLR_OFF,
    el1h_masked = const 0x3c5,
    mair = const paging::MAIR,
    tcr = const paging::TCR,
    keeps_dirty = const paging::KEEPS_DIRTY,
    broken_entry = const 2 * size_of::<u32>(),
    hardware_dirty = const paging::HARDWARE_ACCESSED_AND_DIRTY,
    fp_on = const 3 << 20,
    sctlr = const paging::SCTLR,
    table = const TABLE,
    device = const DEVICE,
    normal = const NORMAL,
    gib = const GIB,
    high_skip = const 510 * size_of::<u64>(),
    image_skip = const 511 * size_of::<u64>(),
    boot_guard = sym BOOT,
    boot_stack = sym BOOT_STACK,
    boot_stack_top = const BOOT_STACK_TOP,
    early_stack = sym EARLY_STACK,
    early_stack_bytes = const EARLY_STACK_BYTES,
    kernel_main = sym crate::arch::any::start::kernel_main,
    kernel_secondary = sym crate::arch::any::start::kernel_secondary,
    relies = sym paging::CPU_KEEPS_DIRTY,
    needs_writable = sym paging::NEEDS_WRITABLE,
    dirty_bit = const paging::DIRTY_BIT,
    secondary_tables = sym SECONDARY_TABLES,
    secondary_user_tables = sym SECONDARY_USER_TABLES,
    secondary_stacks = sym SECONDARY_STACKS,
    word_shift = const size_of::<u64>().trailing_zeros(),
    early_exception = sym early_exception,
);

#[repr(C, align(32768))]
struct BootStack([AtomicU8; BOOT_STACK_TOP]);

#[repr(C, align(4096))]
struct EarlyStack([AtomicU8; EARLY_STACK_BYTES]);

static BOOT_STACK: BootStack = BootStack([const { AtomicU8::new(0) }; BOOT_STACK_TOP]);
static EARLY_STACK: EarlyStack = EarlyStack([const { AtomicU8::new(0) }; EARLY_STACK_BYTES]);

/// The bounds of the stack that the first CPU boots on.
pub fn boot_stack() -> AddrRange {
    AddrRange::sized(boot_guard().top, ByteSize::new(BOOT_STACK_BYTES))
}

/// What lies below it, and is not mapped once the kernel has tables of its own.
pub fn boot_guard() -> AddrRange {
    AddrRange::sized(Addr::new(&raw const BOOT_STACK as usize), ByteSize::new(BOOT_GUARD_BYTES))
}

static SECONDARY_TABLES: AtomicU64 = AtomicU64::new(0);
static SECONDARY_USER_TABLES: AtomicU64 = AtomicU64::new(0);
static SECONDARY_STACKS: [AtomicU64; MAX_CPUS] = [const { AtomicU64::new(0) }; MAX_CPUS];

unsafe extern "C" {
    static boot_secondary: u8;
}

/// Any exception before the library's vectors are loaded.
extern "C" fn early_exception(esr: u64, pc: u64, address: u64) -> ! {
    panic!("exception before there are vectors: esr {esr:#x}, pc {pc:#x}, address {address:#x}")
}

/// What a CPU will run with when it starts, its number in x0: page tables, the same for all, and a
/// stack of its own. Returns the physical address it starts at.
pub fn prepare_secondary(kernel: u64, user: u64, cpu: usize, stack_top: u64) -> u64 {
    SECONDARY_TABLES.store(kernel, Ordering::SeqCst);
    SECONDARY_USER_TABLES.store(user, Ordering::SeqCst);
    SECONDARY_STACKS[cpu].store(stack_top, Ordering::SeqCst);
    // .boot is linked at its physical address.
    &raw const boot_secondary as u64
}

/// Reads the device tree at the physical address the boot loader gave, or at the start of memory.
/// `None` if there is none.
///
/// # Safety
///
/// 1. The boot page tables are active: the first 2 GiB are in the direct map, and the tree lies
///    there.
pub unsafe fn read_boot_info(device_tree: u64, info: &mut BootInfo) -> bool {
    let at = if device_tree == 0 { DEVICES_TOP } else { device_tree };
    // SAFETY: (1) by the caller's promise; the parser checks magic and lengths.
    let Some(tree) = (unsafe { crate::arch::virt::device_tree::Tree::at(direct(at)) }) else {
        return false;
    };
    board::remember(&tree);
    tree.read_into(info);
    true
}
