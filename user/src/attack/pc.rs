//! What a hostile program tries on both PCs: instructions by their bytes, segments, and what the
//! two have in common.

use super::current;
use super::{self as attack, Attack, End, SIGBUS, SIGILL, SIGSEGV, SIGTRAP};

/// Executes code, which returns.
fn execute(code: &[u8]) -> i32 {
    let page = attack::page_with(code);
    if page == 0 {
        return 100;
    }
    // SAFETY: (1) the page is executable and holds code that returns, or does not get that far.
    let code = unsafe {
        core::mem::transmute::<*const (), extern "C" fn()>(core::ptr::with_exposed_provenance(page))
    };
    code();
    0
}

const RETURN: u8 = 0xc3;

/// What only a kernel may execute, or what means nothing without features that are off. Each is
/// followed by a return. `invd` and `wbinvd` are not among them: QEMU takes them from anybody, and
/// they do nothing there.
const PRIVILEGED: &[&[u8]] = &[
    &[0xf4],                         // hlt
    &[0xfa],                         // cli
    &[0xfb],                         // sti
    &[0xec],                         // in al, dx
    &[0xed],                         // in eax, dx
    &[0xee],                         // out dx, al
    &[0xef],                         // out dx, eax
    &[0x6c],                         // insb
    &[0x6e],                         // outsb
    &[0xe4, 0x60],                   // in al, 0x60
    &[0xe6, 0x80],                   // out 0x80, al
    &[0x0f, 0x06],                   // clts
    &[0x0f, 0x20, 0xc0],             // mov rax, cr0
    &[0x0f, 0x22, 0xc0],             // mov cr0, rax
    &[0x0f, 0x20, 0xd8],             // mov rax, cr3
    &[0x0f, 0x22, 0xd8],             // mov cr3, rax
    &[0x0f, 0x20, 0xe0],             // mov rax, cr4
    &[0x0f, 0x22, 0xe0],             // mov cr4, rax
    &[0x0f, 0x21, 0xc0],             // mov rax, dr0
    &[0x0f, 0x23, 0xf8],             // mov dr7, rax
    &[0x0f, 0x30],                   // wrmsr
    &[0x0f, 0x32],                   // rdmsr
    &[0x0f, 0x33],                   // rdpmc
    &[0x0f, 0x01, 0x14, 0x24],       // lgdt [rsp]
    &[0x0f, 0x01, 0x1c, 0x24],       // lidt [rsp]
    &[0x0f, 0x01, 0xf0],             // lmsw ax
    &[0x0f, 0x00, 0xd0],             // lldt ax
    &[0x0f, 0x00, 0xd8],             // ltr ax
    &[0x0f, 0x01, 0x3c, 0x24],       // invlpg [rsp]
    &[0x0f, 0x01, 0xf8],             // swapgs
    &[0x0f, 0x07],                   // sysret
    &[0x0f, 0x35],                   // sysexit
    &[0x0f, 0xaa],                   // rsm
    &[0x0f, 0x0b],                   // ud2
    &[0x0f, 0x01, 0xd0],             // xgetbv
    &[0x0f, 0x01, 0xd1],             // xsetbv
    &[0x0f, 0x01, 0xca],             // clac
    &[0x0f, 0x01, 0xcb],             // stac
    &[0x0f, 0x01, 0xc1],             // vmcall
    &[0x0f, 0x01, 0xd8],             // vmrun
    &[0x0f, 0x01, 0xdc],             // stgi
    &[0xf3, 0x0f, 0xae, 0xc0],       // rdfsbase eax
    &[0xf3, 0x0f, 0xae, 0xc8],       // rdgsbase eax
    &[0xf3, 0x0f, 0xae, 0xd0],       // wrfsbase eax
    &[0xf3, 0x0f, 0xae, 0xd8],       // wrgsbase eax
    &[0xf3, 0x48, 0x0f, 0xae, 0xd8], // wrgsbase rax; on 32 bits: dec eax, and the one above without its prefix
];

/// What tells where the kernel's tables are. Where the CPU has user-mode instruction prevention, it
/// is refused.
const TELLING: &[&[u8]] = &[
    &[0x0f, 0x01, 0x44, 0x24, 0xc0], // sgdt [rsp - 64]
    &[0x0f, 0x01, 0x4c, 0x24, 0xc0], // sidt [rsp - 64]
    &[0x0f, 0x00, 0xc0],             // sldt eax
    &[0x0f, 0x00, 0xc8],             // str eax
    &[0x0f, 0x01, 0xe0],             // smsw eax
];

fn followed_by_return(instruction: &[u8]) -> i32 {
    let mut code = [RETURN; 16];
    code[..instruction.len()].copy_from_slice(instruction);
    execute(&code)
}

const BREAKPOINT: usize = 3;

/// Every vector by the instruction that raises it: the breakpoint is for programs, and the system
/// call where it is one.
pub(super) const INTERRUPTS: Attack = Attack {
    name: "int n",
    arguments: 0..256,
    run: |vector| execute(&[0xcd, vector as u8, RETURN]),
    may_end: |vector, end| match vector {
        BREAKPOINT => end == End::Signal(SIGTRAP),
        // Whatever number is in the register.
        vector if Some(vector) == current::SYSCALL_VECTOR => true,
        _ => end == End::Signal(SIGSEGV),
    },
};

/// Instructions of the kernel.
pub(super) const INSTRUCTIONS: Attack = Attack {
    name: "a privileged instruction",
    arguments: 0..PRIVILEGED.len(),
    run: |number| followed_by_return(PRIVILEGED[number]),
    may_end: |_, end| matches!(end, End::Signal(SIGILL | SIGSEGV)),
};

/// Instructions that tell where the kernel's tables are.
pub(super) const QUESTIONS: Attack = Attack {
    name: "where the kernel's tables are",
    arguments: 0..TELLING.len(),
    run: |number| followed_by_return(TELLING[number]),
    may_end: |_, end| {
        let refused = end == End::Signal(SIGSEGV);
        refused || !current::prevents_questions() && end == End::Exit(0)
    },
};

/// The breakpoint that debuggers built as hardware use.
pub(super) const HARDWARE_BREAKPOINT: Attack = Attack {
    name: "int1",
    arguments: 0..1,
    run: |_| execute(&[0xf1, RETURN]),
    // Some emulators know no such instruction.
    may_end: |_, end| matches!(end, End::Signal(SIGTRAP | SIGILL)),
};

/// Selectors that are tried: every descriptor of the global table and some beyond, every one of a
/// local table's first, each with every privilege.
pub(super) const SELECTORS: usize = 0x80;

/// Every selector in every segment register: those for programs are loaded, and are still there
/// after others have run.
pub(super) const SEGMENTS: Attack = Attack {
    name: "a selector",
    arguments: 0..SELECTORS * 5,
    run: |number| {
        let (selector, register) = (number % SELECTORS, number / SELECTORS);
        if current::load_selector(selector, register) == 0 { 0 } else { 1 }
    },
    may_end: |number, end| {
        let (selector, register) = (number % SELECTORS, number / SELECTORS);
        if current::is_for_programs(selector, register) {
            end == End::Exit(0)
        } else {
            matches!(end, End::Signal(SIGSEGV | SIGBUS))
        }
    },
};

/// A far return to every selector: only a program's own code segment leads anywhere.
pub(super) const FAR_RETURNS: Attack = Attack {
    name: "a far return",
    arguments: 0..SELECTORS,
    run: |selector| current::far_return(selector) as i32,
    may_end: |selector, end| {
        if selector == current::OWN_CODE {
            end == End::Exit(0)
        } else if selector == current::OTHER_CODE {
            // Code for another mode: what it does there is the program's affair.
            matches!(end, End::Exit(_) | End::Signal(SIGSEGV | SIGBUS | SIGILL | SIGTRAP))
        } else {
            matches!(end, End::Signal(SIGSEGV | SIGBUS))
        }
    },
};

/// An interrupt return to every selector, with every flag set that a program might want.
pub(super) const INTERRUPT_RETURNS: Attack = Attack {
    name: "an interrupt return",
    arguments: 0..SELECTORS,
    run: |selector| current::interrupt_return(selector) as i32,
    may_end: FAR_RETURNS.may_end,
};

const TRAP: usize = 1 << 8;
/// Direction, nested task, resume, alignment check, I/O privilege, virtual interrupts,
/// identification.
const FLAGS: [usize; 7] = [1 << 10, 1 << 14, 1 << 16, 1 << 18, 3 << 12, 3 << 19, 1 << 21];

fn flags(subset: usize) -> usize {
    (0..FLAGS.len()).filter(|bit| subset & 1 << bit != 0).map(|bit| FLAGS[bit]).sum()
}

/// Every set of flags across a system call, time slices and a page fault: those that are a
/// program's stay as they are.
pub(super) const FLAG_SETS: Attack = Attack {
    name: "flags",
    arguments: 0..1 << FLAGS.len(),
    run: |subset| {
        let page = attack::page_with(&[]);
        i32::from(page == 0 || current::keep_flags(flags(subset), page) != 0)
    },
    may_end: attack::is_harmless,
};

/// The same with the trap flag.
pub(super) const TRAPPED_FLAG_SETS: Attack = Attack {
    name: "flags with the trap flag",
    arguments: FLAG_SETS.arguments,
    run: |subset| {
        let page = attack::page_with(&[]);
        i32::from(page == 0 || current::keep_flags(flags(subset) | TRAP, page) != 0)
    },
    may_end: |_, end| end == End::Signal(SIGTRAP),
};

/// A load of SS holds back what a trap, an exception or a system call would have raised: no kernel
/// may take it for its own.
pub(super) const HELD_BACK: Attack = Attack {
    name: "a trap held back by a load of SS",
    arguments: 0..current::HELD_BACK_WAYS,
    run: |way| current::trap_held_back(way) as i32,
    may_end: |way, end| match end {
        // The system call that nothing was held back for.
        End::Exit(0) => way == 0,
        End::Signal(signal) => way != 0 && matches!(signal, SIGTRAP | SIGSEGV | SIGILL),
        End::Exit(_) => false,
    },
};

/// A system call, time slices and a fault with SP anywhere.
pub(super) const STACK_POINTERS: Attack = Attack {
    name: "a stack pointer",
    arguments: 0..current::WILD.len(),
    run: |number| current::call_with_stack(current::WILD[number]) as i32,
    may_end: attack::is_harmless,
};

/// A push where SP may not be.
pub(super) const PUSHES: Attack = Attack {
    name: "a push with a stack pointer",
    arguments: 0..current::WILD.len(),
    run: |number| current::push_with_stack(current::WILD[number]) as i32,
    may_end: |number, end| attack::is_refused(number, end) || attack::is_harmless(number, end),
};

/// A child has every register of its parent, and the parent keeps them.
pub(super) const FORKED_REGISTERS: Attack = Attack {
    name: "registers across fork",
    arguments: 0..1,
    run: |_| {
        let mut child = 0;
        let wrong = current::fork_with_known_registers(&mut child);
        if child == 0 {
            return wrong as i32;
        }
        let of_child = crate::wait().unwrap_or(-1);
        i32::from(wrong != 0 || of_child != 0)
    },
    may_end: attack::is_harmless,
};
