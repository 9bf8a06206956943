//! The one vector, and the way back.
//!
//! # States
//!
//! | where | tp | `sscratch` | SP | interrupts | what may trap there |
//! | --- | --- | --- | --- | --- | --- |
//! | a program | its own | CpuLocal | its own | on | everything |
//! | the kernel | CpuLocal | 0 | a stack | as it likes | everything |
//! | entry from a program, first instruction done | CpuLocal | the program's tp | the program's | off | nothing |
//! | ... before the first store on the thread stack | CpuLocal | 0 | the program's | off | nothing |
//! | entry from the kernel, first instruction done | 0 | CpuLocal | the interrupted | off | nothing |
//! | ... second exchange done | CpuLocal | 0 | the interrupted, tested | off | nothing |
//! | saving registers | CpuLocal | 0 | below the interrupted, or below the thread's top | off | the stores |
//! | way back to a program, all but tp and sp loaded | CpuLocal | CpuLocal | SavedRegs | off | the last two loads |
//!
//! # Invariants
//!
//! 1. `sscratch` is 0 exactly while tp is the kernel's, except in the rows above where nothing may trap. So one exchange and one
//!    branch tell where an entry comes from, and need no free register.
//! 2. Before the test of SP has been passed, an entry touches no stack: what it needs it keeps in the CPU's block. Between the
//!    exchange and the last store interrupts are off, so that those words are not used twice.
//! 3. An entry from the kernel goes on where SP is only if SavedRegs and RESERVE bytes below them ([`crate::room`]) fit on the
//!    running thread's stack, or SavedRegs on this CPU's IRQ stack or on its overflow stack. Until then nothing has changed: an
//!    interrupt that finds no room stays pending. Everything else goes to [`super::overflow`]. This is stricter than one bit of SP, which is
//!    clear in every body: a frame that jumped all guards into another thread's stack is found, too.
//! 4. tp is never loaded on the way back to the kernel: the thread may have moved to another CPU.
//! 5. The last loads on the way back to a program come from the thread's top, which the entry wrote or the kernel made: they
//!    cannot fault.

use crate::arch::current::local::ArchLocal;
use crate::arch::current::overflow;
use crate::arch::current::regs::{FROM_KERNEL, INTERRUPTS_ON_NOW, SavedRegs};
use crate::local::CpuLocal;
use core::arch::{asm, global_asm, naked_asm};
use core::mem::{offset_of, size_of};
use kstack_core::addr::Addr;

/// The vector of [`software_interrupt`]. All others are codes of `scause`, below 16.
pub const SOFTWARE: u8 = 19;

/// scause: an `ecall` of a program.
const SYSTEM_CALL: u64 = 8;
/// In scause: an interrupt, not an exception.
const INTERRUPT: u64 = 1 << 63;
/// Bytes of the instruction `ecall`.
const ECALL: usize = 4;

/// The exponent of a stack's size: an offset into a stack is 0 when shifted by it.
pub(super) const BODY_SHIFT: u32 = {
    let body = super::GEOMETRY.body().get();
    assert!(body.is_power_of_two());
    body.trailing_zeros()
};

/// Stores everything but t0, sp and tp in the SavedRegs at sp; t0 is free after it has been stored. Then s0 marks them.
macro_rules! save_at_sp {
    () => {
        "
        sd ra, {ra}(sp)
        sd gp, {gp}(sp)
        sd t1, {t0} + {word}(sp)
        sd t2, {t0} + 2 * {word}(sp)
        sd s0, {s0}(sp)
        sd s1, {s0} + {word}(sp)
        sd a0, {a0}(sp)
        sd a1, {a0} + {word}(sp)
        sd a2, {a0} + 2 * {word}(sp)
        sd a3, {a0} + 3 * {word}(sp)
        sd a4, {a0} + 4 * {word}(sp)
        sd a5, {a0} + 5 * {word}(sp)
        sd a6, {a0} + 6 * {word}(sp)
        sd a7, {a0} + 7 * {word}(sp)
        sd s2, {s2}(sp)
        sd s3, {s2} + {word}(sp)
        sd s4, {s2} + 2 * {word}(sp)
        sd s5, {s2} + 3 * {word}(sp)
        sd s6, {s2} + 4 * {word}(sp)
        sd s7, {s2} + 5 * {word}(sp)
        sd s8, {s2} + 6 * {word}(sp)
        sd s9, {s2} + 7 * {word}(sp)
        sd s10, {s2} + 8 * {word}(sp)
        sd s11, {s2} + 9 * {word}(sp)
        sd t3, {t3}(sp)
        sd t4, {t3} + {word}(sp)
        sd t5, {t3} + 2 * {word}(sp)
        sd t6, {t3} + 3 * {word}(sp)
        csrr t1, sepc
        csrr t2, sstatus
        sd t1, {epc}(sp)
        sd t2, {status}(sp)
        csrr t1, stval
        csrr t2, scause
        sd t1, {badaddr}(sp)
        sd t2, {cause}(sp)
        sd a0, {orig_a0}(sp)
        addi s0, sp, 1
        "
    };
}

/// The same with the offsets that it names.
macro_rules! entry_asm {
    ([$($line:expr),* $(,)?], $($operands:tt)*) => {
        core::arch::naked_asm!(
            $($line,)*
            epc = const core::mem::offset_of!(SavedRegs, epc),
            ra = const core::mem::offset_of!(SavedRegs, ra),
            sp = const core::mem::offset_of!(SavedRegs, sp),
            gp = const core::mem::offset_of!(SavedRegs, gp),
            tp = const core::mem::offset_of!(SavedRegs, tp),
            t0 = const core::mem::offset_of!(SavedRegs, t0),
            s0 = const core::mem::offset_of!(SavedRegs, s0),
            a0 = const core::mem::offset_of!(SavedRegs, a0),
            s2 = const core::mem::offset_of!(SavedRegs, s2),
            t3 = const core::mem::offset_of!(SavedRegs, t3),
            status = const core::mem::offset_of!(SavedRegs, status),
            badaddr = const core::mem::offset_of!(SavedRegs, badaddr),
            cause = const core::mem::offset_of!(SavedRegs, cause),
            orig_a0 = const core::mem::offset_of!(SavedRegs, orig_a0),
            regs = const core::mem::size_of::<SavedRegs>(),
            word = const core::mem::size_of::<u64>(),
            $($operands)*
        )
    };
}
pub(super) use save_at_sp;

// Every interrupt and exception starts here. In: every register as it was; interrupts off. `stvec` wants it 4-aligned.
global_asm!(
    ".section .text.kstack_entry, \"ax\"",
    ".balign 4",
    ".globl kstack_trap",
    "kstack_trap:",
    "csrrw tp, sscratch, tp",
    "bnez tp, {from_user}",
    // From the kernel: the exchange was one too many.
    "csrrw tp, sscratch, tp",
    "sd t0, {kept_t0}(tp)",
    // Do SavedRegs fit between SP and the line on the running thread's stack, which has RESERVE below it? The offset of their
    // lowest byte says so.
    "ld t0, {thread_line}(tp)",
    "sub t0, sp, t0",
    "addi t0, t0, -{regs}",
    "srli t0, t0, {body_shift}",
    "beqz t0, 2f",
    // On the IRQ stack? Counted from its top.
    "ld t0, {irq_top}(tp)",
    "sub t0, t0, sp",
    "addi t0, t0, {regs} - 1",
    "srli t0, t0, {body_shift}",
    "beqz t0, 2f",
    // On the overflow stack, where somebody handles an overflow?
    "ld t0, {overflow_top}(tp)",
    "sub t0, t0, sp",
    "addi t0, t0, {regs} - 1",
    "srli t0, t0, {body_shift}",
    "beqz t0, 2f",
    // Before the CPU has stacks there is nothing to test against.
    "ld t0, {overflow_top}(tp)",
    "bnez t0, {no_room}",
    "2:",
    "ld t0, {kept_t0}(tp)",
    "j {from_kernel}",
    ".text",
    kept_t0 = const ArchLocal::T0,
    thread_line = const CpuLocal::THREAD_LINE,
    irq_top = const CpuLocal::IRQ_TOP,
    overflow_top = const ArchLocal::OVERFLOW_TOP,
    regs = const size_of::<SavedRegs>(),
    body_shift = const BODY_SHIFT,
    from_user = sym from_user,
    from_kernel = sym from_kernel,
    no_room = sym overflow::no_room,
);

unsafe extern "C" {
    static kstack_trap: u8;
}

/// The address for `stvec`.
pub(super) fn vector() -> Addr {
    Addr::new(&raw const kstack_trap as usize)
}

/// From the kernel, on a stack with room. In: every register but tp as it was.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
extern "C" fn from_kernel() {
    entry_asm!(
        ["addi sp, sp, -{regs}",
        "sd t0, {t0}(sp)",
        "addi t0, sp, {regs}",
        "sd t0, {sp}(sp)",
        "sd tp, {tp}(sp)",
        save_at_sp!(),
        "mv a0, sp",
        "call {on_trap}",
        "j {way_back}"],
        on_trap = sym on_trap,
        way_back = sym way_back
    )
}

/// From user mode. In: every register but tp as it was; tp = CpuLocal, `sscratch` = the program's tp.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
extern "C" fn from_user() {
    entry_asm!(
        ["sd sp, {user_sp}(tp)",
        "sd t0, {kept_t0}(tp)",
        // From here on this is the kernel; only then may a stack be touched.
        "csrrw t0, sscratch, zero",
        "ld sp, {thread_top}(tp)",
        "addi sp, sp, -{regs}",
        "sd t0, {tp}(sp)",
        "ld t0, {user_sp}(tp)",
        "sd t0, {sp}(sp)",
        "ld t0, {kept_t0}(tp)",
        "sd t0, {t0}(sp)",
        save_at_sp!(),
        "mv a0, sp",
        "ld t0, {cause}(sp)",
        "li t1, {system_call}",
        "beq t0, t1, 2f",
        "call {on_trap}",
        "j {way_back}",
        "2:",
        // The program goes on behind the instruction.
        "ld t0, {epc}(sp)",
        "addi t0, t0, {ecall}",
        "sd t0, {epc}(sp)",
        // Everything that belongs to the user is saved: interrupts may come.
        "csrsi sstatus, {interrupts_on}",
        "call {on_syscall}",
        "j {way_back}"],
        user_sp = const CpuLocal::SCRATCH,
        kept_t0 = const ArchLocal::T0,
        thread_top = const CpuLocal::THREAD_TOP,
        system_call = const SYSTEM_CALL,
        ecall = const ECALL,
        interrupts_on = const INTERRUPTS_ON_NOW,
        on_trap = sym on_trap,
        on_syscall = sym crate::hooks::on_syscall,
        way_back = sym way_back
    )
}

const _: () =
    assert!(offset_of!(SavedRegs, epc) == 0, "`sc` has no offset: it stores where SP points");

/// Goes back to wherever the SavedRegs at SP came from. SP: at SavedRegs.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
pub(super) extern "C" fn way_back() {
    naked_asm!(
        ".option push",
        ".option arch, +a",
        // The handler may have run with interrupts on. From here to sret they stay off.
        "csrci sstatus, {interrupts_on}",
        "ld t0, {status}(sp)",
        "andi t1, t0, {from_kernel}",
        "bnez t1, 2f",
        "mv a0, sp",
        "call {before_user}",
        "ld t0, {status}(sp)",
        "2:",
        "csrw sstatus, t0",
        "ld t1, {epc}(sp)",
        // A reservation belongs to the hart, not to the thread: an `lr` of what ran here last could let an `sc` of what runs next
        // succeed. This one takes it away, whether it stores or not: what it would store is there (unprivileged manual, "A"
        // extension, load-reserved/store-conditional).
        "sc.d zero, t1, (sp)",
        "csrw sepc, t1",
        "andi t0, t0, {from_kernel}",
        "ld ra, {ra}(sp)",
        "ld t1, {t0} + {word}(sp)",
        "ld t2, {t0} + 2 * {word}(sp)",
        "ld s0, {s0}(sp)",
        "ld s1, {s0} + {word}(sp)",
        "ld a0, {a0}(sp)",
        "ld a1, {a0} + {word}(sp)",
        "ld a2, {a0} + 2 * {word}(sp)",
        "ld a3, {a0} + 3 * {word}(sp)",
        "ld a4, {a0} + 4 * {word}(sp)",
        "ld a5, {a0} + 5 * {word}(sp)",
        "ld a6, {a0} + 6 * {word}(sp)",
        "ld a7, {a0} + 7 * {word}(sp)",
        "ld s2, {s2}(sp)",
        "ld s3, {s2} + {word}(sp)",
        "ld s4, {s2} + 2 * {word}(sp)",
        "ld s5, {s2} + 3 * {word}(sp)",
        "ld s6, {s2} + 4 * {word}(sp)",
        "ld s7, {s2} + 5 * {word}(sp)",
        "ld s8, {s2} + 6 * {word}(sp)",
        "ld s9, {s2} + 7 * {word}(sp)",
        "ld s10, {s2} + 8 * {word}(sp)",
        "ld s11, {s2} + 9 * {word}(sp)",
        "ld t3, {t3}(sp)",
        "ld t4, {t3} + {word}(sp)",
        "ld t5, {t3} + 2 * {word}(sp)",
        "ld t6, {t3} + 3 * {word}(sp)",
        "bnez t0, 3f",
        // To user mode: the block's address waits where the next entry looks for it.
        "csrw sscratch, tp",
        "ld gp, {gp}(sp)",
        "ld tp, {tp}(sp)",
        "3:",
        "ld t0, {t0}(sp)",
        "ld sp, {sp}(sp)",
        "sret",
        ".option pop",
        interrupts_on = const INTERRUPTS_ON_NOW,
        from_kernel = const FROM_KERNEL,
        epc = const offset_of!(SavedRegs, epc),
        ra = const offset_of!(SavedRegs, ra),
        sp = const offset_of!(SavedRegs, sp),
        gp = const offset_of!(SavedRegs, gp),
        tp = const offset_of!(SavedRegs, tp),
        t0 = const offset_of!(SavedRegs, t0),
        s0 = const offset_of!(SavedRegs, s0),
        a0 = const offset_of!(SavedRegs, a0),
        s2 = const offset_of!(SavedRegs, s2),
        t3 = const offset_of!(SavedRegs, t3),
        status = const offset_of!(SavedRegs, status),
        word = const size_of::<u64>(),
        before_user = sym crate::hooks::before_user,
    )
}

/// Where a stack that never ran starts: the switch returns to here.
///
/// In: a0 = the switch's message, s1 = function or 0, s2 = its argument, s0 = outermost marker. Interrupts off.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
pub(super) extern "C" fn first_return() {
    naked_asm!(
        "call {after_switch}",
        "beqz s1, 2f",
        "csrsi sstatus, {interrupts_on}",
        "mv a0, s2",
        "jalr s1",
        "mv a0, sp",
        "call {after_function}",
        "2:",
        "j {way_back}",
        interrupts_on = const INTERRUPTS_ON_NOW,
        after_switch = sym crate::hooks::after_switch,
        after_function = sym crate::hooks::after_function,
        way_back = sym way_back,
    )
}

/// Everything but system calls arrives here, on a stack with room, interrupts off.
pub(super) extern "C" fn on_trap(regs: &mut SavedRegs) {
    if regs.cause & INTERRUPT != 0 {
        crate::irq::on_interrupt(regs.cause as u8, regs);
    } else {
        super::fault::on_exception(regs.cause as u8, regs);
    }
}

/// The immediate of the `lui zero` that follows the `ebreak` of a software interrupt. To the CPU it is a hint without meaning.
const MARK: u32 = 0x57ac;
/// `ebreak` in its long form, and `lui zero, MARK`.
const SOFTWARE_CODE: [u32; 2] = [0x0010_0073, MARK << 12 | 0x37];

/// Takes an interrupt with the vector [`SOFTWARE`] right here, whether interrupts are on or not.
#[inline(always)]
pub fn software_interrupt() {
    // SAFETY: (1) the vector's handler returns with everything as it was, behind both instructions.
    unsafe {
        asm!(
            ".option push",
            ".option norvc",
            "ebreak",
            "lui zero, {mark}",
            ".option pop",
            mark = const MARK,
        );
    }
}

/// What an `ebreak` of the kernel is: how many bytes to step over, and whether it is a software interrupt.
pub(super) fn breakpoint_at(pc: usize) -> (u64, bool) {
    // SAFETY: (1) the CPU has just executed what is there; code is readable, 2-aligned, and never the image's last words.
    let halves = unsafe { (pc as *const [u16; 4]).read() };
    let word = |low: u16, high: u16| u32::from(high) << 16 | u32::from(low);
    if halves[0] & 3 != 3 {
        return (2, false);
    }
    let code = [word(halves[0], halves[1]), word(halves[2], halves[3])];
    if code == SOFTWARE_CODE { (8, true) } else { (4, false) }
}
