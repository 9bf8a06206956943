//! Which instructions a kernel of each architecture must have, and where: see the module's head for
//! what the rules mean.

use anyhow::{Result, bail};
use object::Architecture;

/// What an image must have.
#[derive(Debug)]
pub(super) enum Rule {
    /// This function, or piece of assembly with this label, has these instructions, in this order.
    In(&'static str, &'static [&'static str], &'static str),
    /// Wherever the first is, the others come behind it, in this order.
    Follows(&'static str, &'static [&'static str], &'static str),
    /// One of the first comes before the second, wherever that is.
    Leads(&'static [&'static str], &'static str, &'static str),
}
use Rule::{Follows, In, Leads};

/// An instruction of 32 bits: its name here, the bits that count, and their values.
pub(super) type Word = (&'static str, u32, u32);

/// Arm ARM, C6.2 and C5.
pub(super) const ARM64_WORDS: &[Word] = &[
    ("dsb ish", !0, 0xd503_3b9f),
    ("dsb ishst", !0, 0xd503_3a9f),
    ("dsb nsh", !0, 0xd503_379f),
    ("dsb sy", !0, 0xd503_3f9f),
    ("isb", !0xf00, 0xd503_30df),
    ("tlbi", 0xfff8_f000, 0xd508_8000),
    ("msr ttbr0_el1", !0x1f, 0xd518_2000),
    ("msr ttbr1_el1", !0x1f, 0xd518_2020),
    ("msr icc_sgi1r_el1", !0x1f, 0xd518_cba0),
    ("msr tpidrro_el0, xzr", !0, 0xd51b_d07f),
    ("mov sp, x1", !0, 0x9100_003f),
    ("eret", !0, 0xd69f_03e0),
];

const ARM64: &[Rule] = &[
    In(
        "kstack::arch::arm64::switch::switch",
        &["dsb ish", "mov sp, x1"],
        "or the marks of dirty pages that this CPU made are not seen by the CPU that erases the stack",
    ),
    In(
        "kstack::arch::arm64::return_path::return_to_user",
        &["msr tpidrro_el0, xzr", "eret"],
        "or the program reads where its thread lies",
    ),
    In(
        "boot_replace_kernel_half",
        &["dsb ish", "msr ttbr1_el1", "isb", "tlbi", "dsb nsh", "isb", "msr ttbr1_el1", "isb"],
        "or blocks of the boot tables and pages of the final ones are in the TLB at once",
    ),
    In("boot_leave_el2", &["isb", "eret"], "or what EL2 has set does not hold in EL1 yet"),
    Follows(
        "msr ttbr0_el1",
        &["isb", "tlbi", "dsb nsh", "isb"],
        "or translations of the old program serve the new one",
    ),
    Follows("tlbi", &["isb"], "or instructions behind it may have been fetched before it"),
    Leads(
        &["dsb ishst", "dsb ish"],
        "tlbi",
        "or the walk that comes next may still find the old entry",
    ),
    Leads(&["dsb ish"], "msr icc_sgi1r_el1", "or the interrupt is there before what it is about"),
];

/// ARMv7-A manual, A8.8 and B3.17.
pub(super) const ARM32_WORDS: &[Word] = &[
    ("dsb", !0xf, 0xf57f_f040),
    ("isb", !0xf, 0xf57f_f060),
    ("clrex", !0, 0xf57f_f01f),
    ("ldm {..., pc}^", !0, 0xe8dd_ffff),
    ("movs pc, lr", !0, 0xe1b0_f00e),
    ("rfeia sp!", !0, 0xf8bd_0a00),
    ("tlbi", 0x0fff_0f10, 0x0e08_0f10),
    ("bpiall", 0x0fff_0fff, 0x0e07_0fd5),
    ("bpiallis", 0x0fff_0fff, 0x0e07_0fd1),
    ("icialluis", 0x0fff_0fff, 0x0e07_0f11),
    ("mcrr ttbr0", 0x0ff0_0fff, 0x0c40_0f02),
    ("mcrr ttbr1", 0x0ff0_0fff, 0x0c40_0f12),
];

const ARM32: &[Rule] = &[
    In(
        "kstack::arch::arm32::return_path::return_path",
        &["clrex", "ldm {..., pc}^"],
        "or an exclusive store that was interrupted succeeds",
    ),
    In(
        "kstack::arch::arm32::return_path::to_user",
        &["clrex", "movs pc, lr"],
        "or an exclusive store that was interrupted succeeds",
    ),
    In(
        "kstack::arch::arm32::fiq::fiq_entry",
        &["clrex", "rfeia sp!"],
        "or an exclusive store that was interrupted succeeds",
    ),
    In(
        "boot_replace_kernel_half",
        &[
            "dsb",
            "mcrr ttbr1",
            "isb",
            "tlbi",
            "dsb",
            "isb",
            "mcrr ttbr1",
            "isb",
            "bpiall",
            "dsb",
            "isb",
        ],
        "or blocks of the boot tables and pages of the final ones are in the TLB at once",
    ),
    Follows(
        "mcrr ttbr0",
        &["isb", "tlbi", "bpiall", "dsb", "isb"],
        "or translations and branch predictions of the old program serve the new one",
    ),
    Follows("tlbi", &["dsb", "isb"], "or it is not complete when the next access comes"),
    Follows("bpiallis", &["dsb", "isb"], "or old predictions are used for new code"),
    Follows("icialluis", &["dsb", "isb"], "or old instructions are executed"),
    Leads(&["dsb"], "tlbi", "or the walk that comes next may still find the old entry"),
];

/// RISC-V unprivileged and privileged manuals, tables of instructions.
const RISCV64_WORDS: &[Word] = &[
    ("sc.d", 0xf800_707f, 0x1800_302f),
    ("sret", !0, 0x1020_0073),
    ("ecall", !0, 0x0000_0073),
    ("csrw satp", 0xfff0_707f, 0x1800_1073),
    ("csrc sip", 0xfff0_707f, 0x1440_3073),
    ("sfence.vma", 0xfe00_7fff, 0x1200_0073),
    ("fence iorw, iorw", !0, 0x0ff0_000f),
    ("fence w, o", !0, 0x0140_000f),
];

const RISCV64: &[Rule] = &[
    In(
        "kstack::arch::riscv64::return_path::return_path",
        &["sc.d", "sret"],
        "or a reservation of what ran before lets a store of what runs next succeed",
    ),
    Follows("csrw satp", &["sfence.vma"], "or translations of the old program serve the new one"),
    Follows("csrc sip", &["fence iorw, iorw"], "or an interrupt that is sent in between is lost"),
    Follows("fence w, o", &["ecall"], "or the interrupt is there before what it is about"),
];

/// The kernel's code is compiled for a clear direction flag, and a program may have set it, or the
/// one that turns its SMAP off. `popf` clears both.
const FLAGS: &str = "or the kernel runs with a program's direction flag, and copies backwards";

const X86_64: &[Rule] = &[
    In("kstack::arch::x86_64::entry::common", &["cld", "popf", "call"], FLAGS),
    In("kstack::arch::x86_64::nmi::nmi_body", &["popf", "call"], FLAGS),
    In("kstack::arch::x86_64::nmi::nmi_from_user", &["popf", "call"], FLAGS),
    In("kstack::arch::x86_64::nmi::debug_from_kernel", &["popf", "call"], FLAGS),
    In("kstack::arch::x86_64::double_fault::double_fault", &["popf", "call"], FLAGS),
    In("kstack::arch::x86_64::nmi::machine_check", &["popf", "call"], FLAGS),
];

const I386: &[Rule] = &[In("kstack::arch::i386::entry::common", &["cld", "popf", "call"], FLAGS)];

/// The instructions and rules for a kernel of this architecture.
pub(super) fn table(architecture: Architecture) -> Result<(&'static [Word], &'static [Rule])> {
    Ok(match architecture {
        Architecture::Aarch64 => (ARM64_WORDS, ARM64),
        Architecture::Arm => (ARM32_WORDS, ARM32),
        Architecture::Riscv64 => (RISCV64_WORDS, RISCV64),
        Architecture::X86_64 => (&[], X86_64),
        Architecture::I386 => (&[], I386),
        _ => bail!("a kernel for an unknown machine"),
    })
}
