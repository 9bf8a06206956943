//! The machines of `cargo xtask test --boards`, and what each is to do.
//!
//! Memory: the old walls were at 1 GiB (x86_64, arm64) and 2 GiB (riscv64); 32-bit kernels reach
//! less than a GiB and say so. CPUs: the kernel has room for 64, the 32-bit arm's interrupt
//! controller for 8. Models: for PCs from the first 64-bit ones on, of both makers.

use crate::arch::Arch;

/// What a machine is to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Expected {
    /// Boot, pass the smoke tests, end in an orderly way.
    Runs,
    /// Say this and end with the status for a panic.
    Refuses(&'static str),
}

/// How the kernel is started there, where not as usual.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Special {
    /// As usual.
    Nothing,
    /// With interrupts that have threads (`threadirqs`).
    IrqThreads,
    /// With threads on physically contiguous stacks (`stacks=contiguous`).
    Contiguous,
    /// As usual, on a machine with two memory nodes.
    Nodes,
    /// The same with three, the last of which is nearer to the second than to the first.
    FarNodes,
    /// What calls leave on stacks is erased, and the next begins elsewhere (`stack_erasing=on` and
    /// `randomize_kstack_offset=on`).
    Hardened,
}

/// What emulates it.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Emulator {
    /// The QEMU that everything else is run in.
    Qemu,
    /// QEMU of another release.
    SecondQemu,
    /// Bochs, whose models differ: see [`crate::boot::bochs`].
    Bochs,
}

/// A machine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) arch: Arch,
    pub(super) emulator: Emulator,
    /// The emulator's `-M`, and further arguments behind it.
    pub(super) machine: &'static [&'static str],
    /// The emulator's `-cpu`.
    pub(super) cpu: &'static str,
    pub(super) memory: &'static str,
    pub(super) cpus: u32,
    /// The CPU that comes up later than the kernel waits for it.
    pub(super) late: Option<u32>,
    /// What is special to one of its CPUs, and what the kernel says of that.
    pub(super) odd: Option<(&'static str, &'static str)>,
    pub(super) expected: Expected,
    /// Whether its CPU has shadow stacks for programs, and the tests of them run.
    pub(super) shadow_stacks: bool,
    /// How the kernel is started.
    pub(super) special: Special,
    /// Whether every run of the tests boots it.
    pub(super) always: bool,
}

use Arch::{Arm32, Arm64, I386, Riscv64, X86_64};
use Emulator::{Bochs, Qemu, SecondQemu};
use Expected::{Refuses, Runs};

const Q35: &[&str] = &["q35"];
const PC: &[&str] = &["pc"];
const Q35_BARE: &[&str] = &["q35,acpi=off"];
/// It has no second serial port of its own, and a timer only if asked.
const MICROVM: &[&str] =
    &["microvm,pit=on,pic=on", "-device", "isa-serial,iobase=0x2f8,irq=3,chardev=control"];
const MICROVM_BARE: &[&str] =
    &["microvm,pit=off,pic=off", "-device", "isa-serial,iobase=0x2f8,irq=3,chardev=control"];
/// With a second CPU that is not like the first.
const Q35_NO_NX: &[&str] = &[
    "q35",
    "-smp",
    "sockets=2,maxcpus=2",
    "-device",
    "max-x86_64-cpu,socket-id=1,core-id=0,thread-id=0,nx=off",
];
const Q35_NO_AVX: &[&str] = &[
    "q35",
    "-smp",
    "sockets=2,maxcpus=2",
    "-device",
    "max-x86_64-cpu,socket-id=1,core-id=0,thread-id=0,avx=off",
];
const Q35_NO_NX_32: &[&str] = &[
    "q35",
    "-smp",
    "sockets=2,maxcpus=2",
    "-device",
    "max-i386-cpu,socket-id=1,core-id=0,thread-id=0,nx=off",
];
const GIC2: &[&str] = &["virt,gic-version=2"];
const GIC3: &[&str] = &["virt,gic-version=3"];
const GIC3_EL2: &[&str] = &["virt,gic-version=3,virtualization=on"];
const LOW: &[&str] = &["virt,highmem=off"];
const HIGH: &[&str] = &["virt,highmem=on"];
const LOW_HYP: &[&str] = &["virt,highmem=off,virtualization=on"];
/// What Bochs emulates.
const I440FX: &[&str] = &["i440fx"];
const VIRT: &[&str] = &["virt"];

/// Two CPUs and half of 768 MiB on each of two nodes.
macro_rules! two_nodes {
    ($machine:literal) => {
        &[
            $machine,
            "-object",
            "memory-backend-ram,id=near,size=384M,reserve=off",
            "-object",
            "memory-backend-ram,id=far,size=384M,reserve=off",
            "-numa",
            "node,nodeid=0,cpus=0-1,memdev=near",
            "-numa",
            "node,nodeid=1,cpus=2-3,memdev=far",
        ]
    };
}
/// One CPU and a third of 768 MiB on each of three nodes.
macro_rules! three_nodes {
    ($machine:literal) => {
        &[
            $machine,
            "-object",
            "memory-backend-ram,id=first,size=256M,reserve=off",
            "-object",
            "memory-backend-ram,id=second,size=256M,reserve=off",
            "-object",
            "memory-backend-ram,id=third,size=256M,reserve=off",
            "-numa",
            "node,nodeid=0,cpus=0,memdev=first",
            "-numa",
            "node,nodeid=1,cpus=1,memdev=second",
            "-numa",
            "node,nodeid=2,cpus=2,memdev=third",
            "-numa",
            "dist,src=0,dst=1,val=20",
            "-numa",
            "dist,src=0,dst=2,val=40",
            "-numa",
            "dist,src=1,dst=2,val=15",
        ]
    };
}
const Q35_THREE_NODES: &[&str] = three_nodes!("q35");
const GIC3_THREE_NODES: &[&str] = three_nodes!("virt,gic-version=3");
const Q35_TWO_NODES: &[&str] = two_nodes!("q35");
const GIC3_TWO_NODES: &[&str] = two_nodes!("virt,gic-version=3");

const fn row(
    arch: Arch,
    machine: &'static [&'static str],
    cpu: &'static str,
    memory: &'static str,
    cpus: u32,
) -> Row {
    Row {
        arch,
        emulator: Qemu,
        machine,
        cpu,
        memory,
        cpus,
        late: None,
        odd: None,
        expected: Runs,
        shadow_stacks: false,
        special: Special::Nothing,
        always: false,
    }
}

/// The same in QEMU of another release.
const fn second(
    arch: Arch,
    machine: &'static [&'static str],
    cpu: &'static str,
    memory: &'static str,
    cpus: u32,
) -> Row {
    Row { emulator: SecondQemu, ..row(arch, machine, cpu, memory, cpus) }
}

/// The same in Bochs, which has one machine.
const fn bochs(arch: Arch, cpu: &'static str, memory: &'static str, cpus: u32) -> Row {
    Row { emulator: Bochs, ..row(arch, I440FX, cpu, memory, cpus) }
}

impl Row {
    /// Booted by every run of the tests.
    const fn always(mut self) -> Row {
        self.always = true;
        self
    }

    /// With shadow stacks for programs.
    const fn shadow_stacks(mut self) -> Row {
        self.shadow_stacks = true;
        self
    }

    /// With interrupts that have threads.
    const fn irq_threads(mut self) -> Row {
        self.special = Special::IrqThreads;
        self
    }

    /// With threads on contiguous stacks.
    const fn contiguous(mut self) -> Row {
        self.special = Special::Contiguous;
        self
    }

    /// With two memory nodes.
    const fn nodes(mut self) -> Row {
        self.special = Special::Nodes;
        self
    }

    /// With three memory nodes that are not equally far.
    const fn far_nodes(mut self) -> Row {
        self.special = Special::FarNodes;
        self
    }

    /// With stacks that are erased, and calls that begin elsewhere each time.
    const fn hardened(mut self) -> Row {
        self.special = Special::Hardened;
        self
    }

    /// With a CPU that comes up too late.
    const fn late(mut self, cpu: u32) -> Row {
        self.late = Some(cpu);
        self.odd("one late", "did not come up")
    }

    /// With a CPU that is not as the others: the kernel says so, and runs.
    const fn odd(mut self, how: &'static str, sentence: &'static str) -> Row {
        self.odd = Some((how, sentence));
        self
    }

    /// Said to lack something.
    const fn refuses(mut self, sentence: &'static str) -> Row {
        self.expected = Refuses(sentence);
        self
    }
}

const NO_NX: &str = "lacks what the kernel needs: no-execute bit";
const ONE_WITHOUT_NX: &str = "CPU 1 lacks what the kernel needs: no-execute bit";
const ONE_WITHOUT_AVX: &str = "CPU 1 lacks what the kernel needs: AVX, which the first CPU has";
const NO_SV48: &str = "lacks what the kernel needs: four-level page tables (Sv48)";

/// All of them.
pub(super) const TABLE: &[Row] = &[
    row(X86_64, Q35, "max,-erms", "64M", 1),
    row(X86_64, Q35, "Nehalem", "1200M", 2).always(),
    row(X86_64, PC, "EPYC", "6G", 4).always(),
    row(X86_64, Q35, "max", "512M", 4).irq_threads().always(),
    row(X86_64, Q35, "max", "512M", 4).contiguous().always(),
    row(X86_64, Q35_TWO_NODES, "max", "768M", 4).nodes().always(),
    row(X86_64, Q35_THREE_NODES, "max", "768M", 3).far_nodes().always(),
    row(X86_64, Q35, "max", "512M", 4).hardened().always(),
    row(X86_64, PC, "Opteron_G1", "3500M", 1),
    row(X86_64, Q35, "qemu64", "2G", 16),
    row(X86_64, Q35, "Skylake-Client", "16G", 8),
    row(X86_64, Q35, "Conroe", "512M", 2),
    row(X86_64, PC, "Opteron_G5", "1G", 3),
    row(X86_64, Q35, "max,-erms", "64G", 64),
    row(X86_64, Q35, "max,-x2apic,-xsave,-smep,-smap,-umip,-fsgsbase,-pdpe1gb", "4G", 4),
    row(X86_64, MICROVM, "max", "2G", 2),
    row(X86_64, Q35_BARE, "max", "512M", 1),
    row(X86_64, MICROVM_BARE, "max", "512M", 1).refuses("this machine has no 8254 timer"),
    row(X86_64, Q35, "max,-nx", "512M", 1).refuses(NO_NX).always(),
    row(X86_64, Q35_NO_NX, "max", "512M", 1).odd("and one without NX", ONE_WITHOUT_NX),
    row(X86_64, Q35_NO_AVX, "max", "512M", 1).odd("and one without AVX", ONE_WITHOUT_AVX),
    row(X86_64, Q35, "max,-pge", "512M", 1).refuses("lacks what the kernel needs: global pages"),
    row(X86_64, Q35, "max,-fxsr", "512M", 1).refuses("lacks what the kernel needs: FXSAVE"),
    row(X86_64, Q35, "max,-apic", "512M", 1).refuses("lacks what the kernel needs: local APIC"),
    row(X86_64, Q35, "qemu32", "512M", 1).refuses("lacks what the kernel needs: 64-bit mode"),
    second(X86_64, Q35, "max,-erms", "64M", 1),
    second(X86_64, Q35, "Nehalem", "1200M", 2),
    second(X86_64, PC, "EPYC", "6G", 4),
    second(X86_64, MICROVM, "max", "2G", 2),
    second(X86_64, Q35, "max", "64G", 64),
    second(X86_64, Q35, "max,-nx", "512M", 1).refuses(NO_NX),
    bochs(X86_64, "ryzen", "512M", 1),
    bochs(X86_64, "ryzen", "512M", 4),
    bochs(X86_64, "corei7_skylake_x", "512M", 1),
    bochs(X86_64, "tigerlake", "1200M", 2).shadow_stacks().always(),
    bochs(X86_64, "tigerlake", "512M", 1).shadow_stacks(),
    bochs(X86_64, "p4_willamette", "512M", 1).refuses("lacks what the kernel needs"),
    row(I386, Q35, "max,-erms", "64M", 1),
    row(I386, Q35, "Nehalem", "1200M", 2).always(),
    row(I386, PC, "EPYC", "3500M", 2).always(),
    row(I386, Q35, "max", "512M", 4).irq_threads().always(),
    row(I386, Q35, "max", "512M", 4).contiguous().always(),
    row(I386, Q35, "max", "512M", 4).hardened().always(),
    row(I386, PC, "n270", "2G", 2),
    row(I386, Q35, "qemu64", "8G", 16),
    row(I386, Q35, "Opteron_G3", "16G", 4),
    row(I386, PC, "max", "1G", 64),
    row(I386, PC, "pentium3", "512M", 1).refuses("lacks what the kernel needs: SSE2").always(),
    row(I386, PC, "qemu32", "512M", 1).refuses(NO_NX),
    row(I386, Q35_NO_NX_32, "max", "512M", 1).odd("and one without NX", ONE_WITHOUT_NX),
    row(I386, PC, "486", "512M", 1).refuses("lacks what the kernel needs: SYSENTER"),
    second(I386, Q35, "max,-erms", "64M", 1),
    second(I386, Q35, "Nehalem", "1200M", 2),
    second(I386, PC, "EPYC", "3500M", 4),
    second(I386, PC, "pentium3", "512M", 1).refuses("lacks what the kernel needs: SSE2"),
    bochs(I386, "ryzen", "512M", 1),
    bochs(I386, "ryzen", "512M", 4),
    bochs(I386, "corei7_skylake_x", "1200M", 2),
    bochs(I386, "p4_willamette", "512M", 1).refuses(NO_NX),
    row(Arm64, GIC3, "max", "64M", 1),
    row(Arm64, GIC3, "cortex-a57", "3G", 2).always(),
    row(Arm64, GIC2, "neoverse-n1", "1200M", 4).always(),
    row(Arm64, GIC3, "max", "512M", 4).irq_threads().always(),
    row(Arm64, GIC3, "max", "512M", 4).contiguous().always(),
    row(Arm64, GIC3_TWO_NODES, "max", "768M", 4).nodes().always(),
    row(Arm64, GIC3_THREE_NODES, "max", "768M", 3).far_nodes().always(),
    row(Arm64, GIC3, "max", "512M", 4).hardened().always(),
    row(Arm64, GIC2, "cortex-a53", "1G", 8),
    row(Arm64, GIC3_EL2, "neoverse-v1", "2G", 4),
    row(Arm64, GIC3_EL2, "max", "1G", 2).shadow_stacks(),
    row(Arm64, GIC3, "a64fx", "16G", 16),
    row(Arm64, GIC3, "cortex-a76", "4G", 4),
    row(Arm64, GIC3, "max", "64G", 64),
    second(Arm64, GIC3, "max", "64M", 1),
    second(Arm64, GIC2, "cortex-a72", "1200M", 4),
    second(Arm64, GIC3_EL2, "cortex-a57", "3G", 2),
    second(Arm64, GIC3, "a64fx", "16G", 16),
    row(Arm32, LOW, "cortex-a15", "64M", 1),
    row(Arm32, LOW, "cortex-a7", "1G", 2).always(),
    row(Arm32, HIGH, "cortex-a15", "2G", 4),
    row(Arm32, HIGH, "cortex-a15", "8G", 2).always(),
    row(Arm32, LOW, "cortex-a15", "512M", 4).irq_threads().always(),
    row(Arm32, LOW, "cortex-a15", "512M", 4).contiguous().always(),
    row(Arm32, LOW, "cortex-a15", "512M", 4).hardened().always(),
    row(Arm32, LOW, "max", "512M", 4),
    row(Arm32, LOW, "cortex-a7", "768M", 8),
    row(Arm32, LOW_HYP, "cortex-a15", "512M", 1).refuses("not in HYP mode"),
    second(Arm32, LOW, "cortex-a15", "64M", 1),
    second(Arm32, LOW, "cortex-a7", "1G", 2),
    second(Arm32, HIGH, "cortex-a15", "8G", 4),
    row(Riscv64, VIRT, "rv64", "64M", 1),
    row(Riscv64, VIRT, "rv64,svade=on,svadu=off", "3G", 2).always(),
    row(Riscv64, VIRT, "max", "6G", 4).always(),
    row(Riscv64, VIRT, "rv64", "512M", 4).irq_threads().always(),
    row(Riscv64, VIRT, "rv64", "512M", 4).contiguous().always(),
    row(Riscv64, VIRT, "rv64", "512M", 4).hardened().always(),
    row(Riscv64, VIRT, "rva22s64,sv48=on", "1G", 4),
    row(Riscv64, VIRT, "rva23s64,sv48=on", "2G", 2),
    row(Riscv64, VIRT, "rv64,svade=on,svadu=on", "16G", 8),
    row(Riscv64, VIRT, "rv64", "64G", 64),
    row(Riscv64, VIRT, "rv64", "512M", 4).late(1),
    row(Riscv64, VIRT, "rv64,sv48=off", "512M", 1).refuses(NO_SV48),
    second(Riscv64, VIRT, "rv64", "64M", 1),
    second(Riscv64, VIRT, "rv64", "3G", 2),
    second(Riscv64, VIRT, "rv64", "16G", 8),
];
