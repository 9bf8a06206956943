//! The switch on arm64, AAPCS64.

use super::message::Message;
use super::words::{called, thread_local_word, word};
use crate::control::Control;
use core::arch::{asm, naked_asm};
use core::mem::{offset_of, size_of};
use kstack_core::addr::Addr;
use kstack_core::unwind::SavedRegs;

const WORD: usize = size_of::<usize>();

thread_local_word!();

/// The thread's word: the block of its innermost coroutine. Usable in a handler of signals.
#[inline(always)]
pub(crate) fn current() -> *mut Control {
    let current;
    // SAFETY: (1) reads this thread's word, which lasts as long as the thread.
    unsafe {
        asm!(
            "mrs {thread}, tpidr_el0",
            concat!("adrp {at}, :gottprel:", word!()),
            concat!("ldr {at}, [{at}, :gottprel_lo12:", word!(), "]"),
            "ldr {at}, [{thread}, {at}]",
            thread = out(reg) _,
            at = out(reg) current,
            options(nostack, preserves_flags, readonly),
        );
    }
    current
}

/// Changes the thread's word.
#[inline(always)]
pub(crate) fn set_current(control: *mut Control) {
    // SAFETY: (1) writes this thread's word; what it says is followed only by those who know that
    // it is there.
    unsafe {
        asm!(
            "mrs {thread}, tpidr_el0",
            concat!("adrp {at}, :gottprel:", word!()),
            concat!("ldr {at}, [{at}, :gottprel_lo12:", word!(), "]"),
            "str {control}, [{thread}, {at}]",
            thread = out(reg) _,
            at = out(reg) _,
            control = in(reg) control,
            options(nostack, preserves_flags),
        );
    }
}

/// What [`resume`] leaves on the stack it is called on, lowest address first. P points to it.
#[repr(C)]
struct Resumer {
    /// The resumer's frame pointer.
    x29: usize,
    /// Where the resumer continues: the link register.
    x30: usize,
    /// No clobber list may name it.
    x19: usize,
    /// SP is a multiple of 16.
    padding: usize,
}

/// What [`suspend`] leaves on the coroutine's stack, lowest address first. The saved SP points to
/// it.
#[repr(C)]
struct Suspended {
    /// Where the coroutine continues.
    pc: usize,
    padding: usize,
    x19: usize,
    x29: usize,
}

/// Words that a coroutine that never ran has at its saved SP: where it begins.
pub(crate) const FIRST_WORDS: usize = 2;

/// Writes what [`resume`] finds on a stack that never ran. Below it is free, above it lies what
/// `entry` is given.
///
/// # Safety
///
/// 1. [`FIRST_WORDS`] words from `sp` on are the caller's to write, and `sp` is a multiple of 16.
pub(crate) unsafe fn build_first(sp: *mut usize) {
    // SAFETY: (1) the caller's promise.
    unsafe {
        sp.write(first as *const () as usize);
        sp.add(1).write(0);
    }
}

/// Continues the coroutine of `control`, whose saved SP is `sp`, and hands it `message`. Returns
/// what it hands back: a message, and its new saved SP or 0 if it never continues. The thread's
/// word is the block's `parent` then.
///
/// # Safety
///
/// 1. `sp` was made by [`build_first`] or returned by the latest [`resume`] of this coroutine, and
///    is used once.
/// 2. The coroutine's stack is mapped and `control` lies at its top.
/// 3. `message` is what the coroutine's `suspend` or entry expects.
#[inline(always)]
pub(crate) unsafe fn resume(
    message: Message,
    control: *mut Control,
    sp: usize,
) -> (Message, usize) {
    let (back, saved);
    // SAFETY: (1) by the caller's promises `[x2]` says where the coroutine continues, and it comes
    // back here by `suspend`, `finish` or the overflow handler, each with x2 = P and x19 and x29
    // restored; (2) all other registers that a callee keeps are clobbered.
    unsafe {
        asm!(
            "ldr x3, [x2, #{pc}]",
            "blr x3",
            "add sp, x2, #{resumer}",
            pc = const offset_of!(Suspended, pc),
            resumer = const size_of::<Resumer>(),
            inlateout("x0") message => back,
            inlateout("x1") control => saved,
            inlateout("x2") sp => _,
            lateout("x20") _, lateout("x21") _, lateout("x22") _, lateout("x23") _, lateout("x24") _,
            lateout("x25") _, lateout("x26") _, lateout("x27") _, lateout("x28") _,
            lateout("v8") _, lateout("v9") _, lateout("v10") _, lateout("v11") _,
            lateout("v12") _, lateout("v13") _, lateout("v14") _, lateout("v15") _,
            clobber_abi("C"),
        );
    }
    (back, saved)
}

/// Hands `message` to the resumer, makes it the thread's innermost, and waits to be continued.
/// Returns the message that comes with it.
///
/// # Safety
///
/// 1. This runs in the coroutine of `control`, which is the thread's innermost.
/// 2. `message` is what the resumer expects.
#[inline(always)]
pub(crate) unsafe fn suspend(message: Message, control: *mut Control) -> Message {
    let back;
    // SAFETY: (1) `link` is the P of the `resume` under way, whose frame stays as it is until the
    // `ret`; (2) the label is reached only by the `blr` of `resume`, with x1 the control block and
    // x2 the SP saved here; (3) registers as in `resume`.
    unsafe {
        asm!(
            "sub sp, sp, #{suspended}",
            "stp x19, x29, [sp, #{x19}]",
            "adr x3, 2f",
            "str x3, [sp, #{pc}]",
            "ldr x2, [x1, #{link}]",
            "ldr x3, [x1, #{parent}]",
            "mov x1, sp",
            "mrs x4, tpidr_el0",
            concat!("adrp x5, :gottprel:", word!()),
            concat!("ldr x5, [x5, :gottprel_lo12:", word!(), "]"),
            "str x3, [x4, x5]",
            "ldp x29, x30, [x2, #{x29}]",
            "ldr x19, [x2, #{resumer_x19}]",
            // The resumer sets SP; from here on the coroutine's stack is at rest.
            "ret",
            "2:",
            // bti jc: where branch targets are checked, this is one.
            "hint #38",
            "stp x29, x30, [sp, #-{resumer}]!",
            "str x19, [sp, #{resumer_x19}]",
            "mov x3, sp",
            "str x3, [x1, #{link}]",
            "ldp x19, x29, [x2, #{x19}]",
            "add sp, x2, #{suspended}",
            parent = const offset_of!(Control, parent),
            link = const offset_of!(Control, link),
            suspended = const size_of::<Suspended>(),
            pc = const offset_of!(Suspended, pc),
            x19 = const offset_of!(Suspended, x19),
            resumer = const size_of::<Resumer>(),
            x29 = const offset_of!(Resumer, x29),
            resumer_x19 = const offset_of!(Resumer, x19),
            inlateout("x0") message => back,
            inlateout("x1") control => _,
            lateout("x20") _, lateout("x21") _, lateout("x22") _, lateout("x23") _, lateout("x24") _,
            lateout("x25") _, lateout("x26") _, lateout("x27") _, lateout("x28") _,
            lateout("v8") _, lateout("v9") _, lateout("v10") _, lateout("v11") _,
            lateout("v12") _, lateout("v13") _, lateout("v14") _, lateout("v15") _,
            clobber_abi("C"),
        );
    }
    back
}

/// Hands `message`, an address, to the resumer for the last time.
///
/// # Safety
///
/// 1. As for [`suspend`].
#[inline(always)]
pub(crate) unsafe fn finish(message: *mut u8, control: *mut Control) -> ! {
    // SAFETY: (1) as in `suspend`; (2) a saved SP of 0 says that nothing comes back.
    unsafe {
        asm!(
            "ldr x2, [x1, #{link}]",
            "ldr x3, [x1, #{parent}]",
            "mov x1, xzr",
            "mrs x4, tpidr_el0",
            concat!("adrp x5, :gottprel:", word!()),
            concat!("ldr x5, [x5, :gottprel_lo12:", word!(), "]"),
            "str x3, [x4, x5]",
            "ldp x29, x30, [x2, #{x29}]",
            "ldr x19, [x2, #{x19}]",
            "ret",
            parent = const offset_of!(Control, parent),
            link = const offset_of!(Control, link),
            x29 = const offset_of!(Resumer, x29),
            x19 = const offset_of!(Resumer, x19),
            in("x0") message,
            in("x1") control,
            options(noreturn),
        );
    }
}

/// Where a coroutine begins: links its stack to the resumer's and calls `entry`.
///
/// In: x0 = message, x1 = control, x2 = saved SP; SP on the resumer's stack. `entry` gets message,
/// control and the address above the first words. Never returns.
#[unsafe(naked)]
unsafe extern "C" fn first() {
    naked_asm!(
        ".cfi_startproc",
        // Frames beyond this one lie on another stack, below or above: no debugger may call that
        // corrupt.
        ".cfi_signal_frame",
        "hint #38",
        "stp x29, x30, [sp, #-{resumer}]!",
        ".cfi_adjust_cfa_offset {resumer}",
        "str x19, [sp, #{x19}]",
        "mov x3, sp",
        "str x3, [x1, #{link}]",
        "add x29, x1, #{link}",
        // CFA = *(x29) + size of the resumer's words: DW_CFA_def_cfa_expression { DW_OP_breg29 0;
        // DW_OP_deref; DW_OP_plus_uconst n }.
        ".cfi_escape 0x0f, 5, 0x8d, 0, 0x06, 0x23, {resumer}",
        ".cfi_offset x29, {x29} - {resumer}",
        ".cfi_offset x30, {x30} - {resumer}",
        ".cfi_offset x19, {x19} - {resumer}",
        "add sp, x2, #({words} * {word})",
        "mov x2, sp",
        "ldr x3, [x1, #{entry}]",
        "blr x3",
        concat!(".globl ", called!()),
        concat!(called!(), ":"),
        "udf #0",
        ".cfi_endproc",
        word = const WORD,
        words = const FIRST_WORDS,
        link = const offset_of!(Control, link),
        entry = const offset_of!(Control, entry),
        resumer = const size_of::<Resumer>(),
        x29 = const offset_of!(Resumer, x29),
        x30 = const offset_of!(Resumer, x30),
        x19 = const offset_of!(Resumer, x19),
    )
}

/// The return address in [`first`]: the other half of the frame record at a coroutine's top.
pub(crate) fn first_called() -> usize {
    let address;
    // SAFETY: (1) computes an address.
    unsafe {
        asm!(
            concat!("adrp {0}, ", called!()),
            concat!("add {0}, {0}, :lo12:", called!()),
            out(reg) address,
            options(nostack, nomem, pure, preserves_flags),
        );
    }
    address
}

/// The registers of a fault, as the unwinder wants them.
///
/// # Safety
///
/// 1. `context` is what the kernel passed to a handler of signals, which has not returned.
pub(crate) unsafe fn saved_regs(context: *const libc::ucontext_t) -> SavedRegs {
    // SAFETY: (1) the caller's promise.
    let machine = unsafe { &(*context).uc_mcontext };
    let [.., x29, x30] = machine.regs;
    SavedRegs {
        pc: Addr::new(machine.pc as usize),
        sp: Addr::new(machine.sp as usize),
        fp: Addr::new(x29 as usize),
        link: Some(Addr::new(x30 as usize)),
        from_user: false,
    }
}

/// Makes the return from the handler a [`finish`] with no message.
///
/// # Safety
///
/// 1. As for [`saved_regs`].
/// 2. `link` is the P of the innermost coroutine of this thread, and the fault happened in that
///    coroutine.
pub(crate) unsafe fn cut(context: *mut libc::ucontext_t, link: usize) {
    /// The kind of the last branch, which a branch target is checked against: none was taken.
    const BTYPE: u64 = 0b11 << 10;
    let resumer = link as *const Resumer;
    // SAFETY: (1) the caller's promise: the resumer's words are there.
    unsafe {
        let machine = &mut (*context).uc_mcontext;
        machine.pc = (*resumer).x30 as u64;
        machine.sp = link as u64;
        machine.pstate &= !BTYPE;
        machine.regs[0] = 0;
        machine.regs[1] = 0;
        machine.regs[2] = link as u64;
        machine.regs[19] = (*resumer).x19 as u64;
        machine.regs[29] = (*resumer).x29 as u64;
        machine.regs[30] = (*resumer).x30 as u64;
    }
}
