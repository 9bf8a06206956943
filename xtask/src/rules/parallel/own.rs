//! What only some architectures have, and why: the exceptions to the rule that their trees are alike.
//!
//! An entry is about a file, or about items of a file that all have; `Type::*` is all of a type's members, `*` everything. A
//! name that excuses nothing any more, because nobody has it or everybody, is a breach itself.

/// Where this table stands, for messages.
pub(super) const WHERE: &str = "xtask/src/rules/parallel/own.rs";

/// A file, or items of it, that not every architecture has.
pub(super) struct Own {
    /// The folder of the trees.
    pub(super) trees: &'static str,
    /// The file's name in the tree.
    pub(super) file: &'static str,
    /// The items; none: the whole file.
    pub(super) items: &'static [&'static str],
    /// Why the others do without.
    pub(super) reason: &'static str,
}

impl Own {
    /// Whether this is about an item.
    pub(super) fn is_about(&self, name: &str) -> bool {
        self.items.iter().any(|item| stands_for(item, name))
    }
}

/// Whether a name of the table is a name of the file's.
pub(super) fn stands_for(item: &str, name: &str) -> bool {
    match item.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == item,
    }
}

const LIBRARY: &str = "kstack/src/arch";
const KERNEL: &str = "kernel/machine/src/arch";
const TESTS: &str = "kernel/src/tests/arch";
const ATTACKS: &str = "user/src/attack";

pub(super) const TABLE: [Own; 46] = [
    // The library.
    Own {
        trees: LIBRARY,
        file: "nmi.rs",
        items: &[],
        reason: "only PCs have entries that can interrupt any instruction, the first of another entry's too",
    },
    Own {
        trees: LIBRARY,
        file: "double_fault.rs",
        items: &[],
        reason: "only on PCs does a push that faults become another exception; the others look at SP first",
    },
    Own {
        trees: LIBRARY,
        file: "load.rs",
        items: &[],
        reason: "only PCs read gates and tables of segments; elsewhere `bring_up` writes two registers",
    },
    Own {
        trees: LIBRARY,
        file: "syscall.rs",
        items: &[],
        reason: "only 64-bit PCs have an instruction for it that finds no stack by hardware",
    },
    Own {
        trees: LIBRARY,
        file: "sysenter.rs",
        items: &[],
        reason: "only 32-bit PCs have an instruction for it that saves nothing",
    },
    Own {
        trees: LIBRARY,
        file: "fiq.rs",
        items: &[],
        reason: "only 32-bit Arm has FIQs, its NMIs",
    },
    Own {
        trees: LIBRARY,
        file: "mod.rs",
        items: &["cause"],
        reason: "numbers that PCs' kernels know from the manual; the others' are this library's own",
    },
    Own {
        trees: LIBRARY,
        file: "overflow.rs",
        items: &[],
        reason: "on a PC the double fault finds a stack of its own by hardware; the others look at SP first",
    },
    Own {
        trees: LIBRARY,
        file: "tables.rs",
        items: &["*"],
        reason: "what a CPU reads is that CPU's own; of all code only the kernel's `cpu_tables` for it uses this",
    },
    Own {
        trees: LIBRARY,
        file: "local.rs",
        items: &["ArchLocal::*"],
        reason: "the words of the exception stacks that an architecture has; the kernel's `cpu_tables` for it sets them",
    },
    Own {
        trees: LIBRARY,
        file: "local.rs",
        items: &["THREAD_INFO_ON_STACK", "thread_info_at"],
        reason: "only 32-bit Arm can be built with `thread_info` at the low end of the stack",
    },
    Own {
        trees: LIBRARY,
        file: "vectors.rs",
        items: &["vectors", "vector"],
        reason: "one address for each number (PCs), the address of a table of code (Arm), or one address for all (riscv64)",
    },
    Own {
        trees: LIBRARY,
        file: "cause.rs",
        items: &[
            "DATA_ABORT",
            "PREFETCH_ABORT",
            "UNDEFINED",
            "LINE",
            "SOFTWARE",
            "FROM_CONTROLLER",
            "software_interrupt",
        ],
        reason: "numbers that the entry code gives to what has none in hardware",
    },
    Own {
        trees: LIBRARY,
        file: "cause.rs",
        items: &["DEBUG_EVENT", "STATUS", "WRITE"],
        reason: "fields of arm32's fault status, which the kernel's `exceptions` reads too",
    },
    Own {
        trees: LIBRARY,
        file: "regs.rs",
        items: &["SavedRegs::error_code"],
        reason: "only a PC pushes an error code; elsewhere the fault's cause is in a register",
    },
    Own {
        trees: LIBRARY,
        file: "regs.rs",
        items: &[
            "INTERRUPTS_ON",
            "FLOAT_INITIAL",
            "USER_64_BIT",
            "MODE",
            "SVC_MODE",
            "USER_MODE",
            "THUMB",
        ],
        reason: "bits of that architecture's status register, for the registers of a program that starts",
    },
    Own {
        trees: LIBRARY,
        file: "regs.rs",
        items: &["FREE_AT_TOP"],
        reason: "only 32-bit Arm leaves bytes free above the saved registers",
    },
    Own {
        trees: LIBRARY,
        file: "switch.rs",
        items: &["DOMAIN"],
        reason: "only 32-bit Arm has a domain register to switch",
    },
    // The machine.
    Own {
        trees: KERNEL,
        file: "gic.rs",
        items: &[],
        reason: "two versions of the interrupt controller; elsewhere there is one, in `irqchip`",
    },
    Own { trees: KERNEL, file: "psci.rs", items: &[], reason: "the firmware's calls on Arm" },
    Own { trees: KERNEL, file: "sbi.rs", items: &[], reason: "the firmware's calls on RISC-V" },
    Own {
        trees: KERNEL,
        file: "semihosting.rs",
        items: &[],
        reason: "the emulator's calls on Arm",
    },
    Own {
        trees: KERNEL,
        file: "board.rs",
        items: &[],
        reason: "what the device tree says of a board, kept; PCs look their tables up when they are asked",
    },
    Own {
        trees: KERNEL,
        file: "board.rs",
        items: &["boot_hart", "Machine", "Machine::*", "MACHINE"],
        reason: "only on RISC-V may the first CPU be any; its own test of that asks",
    },
    Own {
        trees: KERNEL,
        file: "mod.rs",
        items: &["board"],
        reason: "the same: only RISC-V's is asked from outside of its tree",
    },
    Own {
        trees: KERNEL,
        file: "flush.rs",
        items: &[],
        reason: "32-bit Arm's page tables need it, and what starts CPUs passes it on; elsewhere it is shared, or one call",
    },
    Own {
        trees: KERNEL,
        file: "sysenter_page.rs",
        items: &[],
        reason: "only a 32-bit PC has `sysenter`, and a page of user mode that it returns to",
    },
    Own {
        trees: KERNEL,
        file: "cpu.rs",
        items: &["has_pan"],
        reason: "only 64-bit Arm can be without; its own test asks",
    },
    Own {
        trees: KERNEL,
        file: "cpu_tables.rs",
        items: &["tables_address", "nmi_words", "NmiWords", "NmiWords::*"],
        reason: "for that architecture's own tests of what its entries rest on",
    },
    Own {
        trees: KERNEL,
        file: "fpu.rs",
        items: &["let_pointers_stay"],
        reason: "only some PCs leave the pointers of the last floating-point instruction behind",
    },
    Own {
        trees: KERNEL,
        file: "irqchip.rs",
        items: &["send_nmi"],
        reason: "only PCs and 32-bit Arm have NMIs, and only their tests send any",
    },
    Own {
        trees: KERNEL,
        file: "layout.rs",
        items: &["FIRMWARE_WINDOW"],
        reason: "only PCs tell of CPUs in tables that lie in reserved memory; the others' device tree is read at boot",
    },
    Own {
        trees: KERNEL,
        file: "smp.rs",
        items: &["find_cpus_from"],
        reason: "the same tables, made up, for the PCs' own test of their reader",
    },
    Own {
        trees: KERNEL,
        file: "step.rs",
        items: &["RESUME", "step_over", "has_stepped", "set_breakpoint"],
        reason: "how an architecture stops at each instruction differs; its own sweep uses this",
    },
    Own {
        trees: KERNEL,
        file: "user.rs",
        items: &["SYSENTER_PAGE", "SYSENTER_RETURN"],
        reason: "only a 32-bit PC has `sysenter`, and a page of user mode that it returns to",
    },
    // Tests of what only one architecture has.
    Own {
        trees: TESTS,
        file: "every_instruction.rs",
        items: &[],
        reason: "the sweep over the entry code, where it is not the PCs' shared one",
    },
    Own {
        trees: TESTS,
        file: "harts.rs",
        items: &[],
        reason: "only on RISC-V may the first CPU be any",
    },
    Own {
        trees: TESTS,
        file: "modes.rs",
        items: &[],
        reason: "the processor modes and small stacks of 32-bit Arm",
    },
    Own {
        trees: TESTS,
        file: "nmi.rs",
        items: &[],
        reason: "NMI, debug and machine-check stacks of PCs; FIQs of 32-bit Arm",
    },
    Own {
        trees: TESTS,
        file: "overflow_stack.rs",
        items: &[],
        reason: "the overflow stack of architectures that change to it by software",
    },
    Own {
        trees: TESTS,
        file: "privileges.rs",
        items: &[],
        reason: "the modes, selectors and addresses of 64-bit PCs that no other machine has",
    },
    Own {
        trees: TESTS,
        file: "sweep.rs",
        items: &[],
        reason: "what the PCs' shared sweep needs to know of one of them",
    },
    Own {
        trees: TESTS,
        file: "sysenter.rs",
        items: &[],
        reason: "only a 32-bit PC has `sysenter`",
    },
    Own { trees: TESTS, file: "tss.rs", items: &[], reason: "only PCs have a task state segment" },
    Own {
        trees: TESTS,
        file: "user_memory.rs",
        items: &[],
        reason: "PAN and PXN, which only 64-bit Arm's CPUs may or may not have",
    },
    Own {
        trees: ATTACKS,
        file: "NAME.rs",
        items: &[
            "HELD_BACK_WAYS",
            "OWN_CODE",
            "SYSCALL_VECTOR",
            "WILD",
            "call_with_stack",
            "far_return",
            "fork_with_known_registers",
            "interrupt_return",
            "is_for_programs",
            "keep_flags",
            "load_selector",
            "prevents_questions",
            "push_with_stack",
            "trap_held_back",
        ],
        reason: "both PCs are attacked alike (`pc`): with selectors, vectors and flags that the others do not have",
    },
];
