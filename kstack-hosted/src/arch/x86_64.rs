//! The switch on x86_64, System V ABI.

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
            concat!("mov {0}, [rip + ", word!(), "@GOTTPOFF]"),
            "mov {0}, fs:[{0}]",
            out(reg) current,
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
            concat!("mov {at}, [rip + ", word!(), "@GOTTPOFF]"),
            "mov fs:[{at}], {control}",
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
    rbp: usize,
    /// Where the resumer continues.
    return_address: usize,
    /// Saved by [`resume`] itself.
    rbx: usize,
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
    // SAFETY: (1) by the caller's promises `[rdx]` says where the coroutine continues, and it comes
    // back here by `suspend`, `finish` or the overflow handler, each with RSP at P + 16 and RBP
    // restored; (2) all other registers that a callee keeps are clobbered.
    unsafe {
        asm!(
            "push rbx",
            // The return address makes P a frame record, once the other side has pushed RBP.
            "call [rdx]",
            "pop rbx",
            inlateout("rdi") message => back,
            inlateout("rsi") control => saved,
            in("rdx") sp,
            lateout("r12") _, lateout("r13") _, lateout("r14") _, lateout("r15") _,
            clobber_abi("sysv64"),
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
    // `ret`; (2) the label is reached only by the `call` of `resume`, with RSI the control block
    // and RDX the SP saved here; (3) registers as in `resume`.
    unsafe {
        asm!(
            "push rbp",
            "push rbx",
            "lea rax, [rip + 2f]",
            "push rax",
            "mov rax, rsi",
            "mov rsi, rsp",
            // From here on the coroutine's stack is at rest.
            "mov rsp, [rax + {link}]",
            "mov rcx, [rax + {parent}]",
            concat!("mov rax, [rip + ", word!(), "@GOTTPOFF]"),
            "mov fs:[rax], rcx",
            "pop rbp",
            "ret",
            "2:",
            "push rbp",
            "mov [rsi + {link}], rsp",
            "lea rsp, [rdx + {word}]",
            "pop rbx",
            "pop rbp",
            parent = const offset_of!(Control, parent),
            link = const offset_of!(Control, link),
            word = const WORD,
            inlateout("rdi") message => back,
            inlateout("rsi") control => _,
            lateout("r12") _, lateout("r13") _, lateout("r14") _, lateout("r15") _,
            clobber_abi("sysv64"),
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
            "mov rcx, [rsi + {parent}]",
            "mov rsp, [rsi + {link}]",
            concat!("mov rax, [rip + ", word!(), "@GOTTPOFF]"),
            "mov fs:[rax], rcx",
            "pop rbp",
            "xor esi, esi",
            "ret",
            parent = const offset_of!(Control, parent),
            link = const offset_of!(Control, link),
            in("rdi") message,
            in("rsi") control,
            options(noreturn),
        );
    }
}

/// Where a coroutine begins: links its stack to the resumer's and calls `entry`.
///
/// In: rdi = message, rsi = control, rdx = saved SP; RSP on the resumer's stack, at the return
/// address. `entry` gets message, control and the address above the first words. Never returns.
#[unsafe(naked)]
unsafe extern "C" fn first() {
    naked_asm!(
        ".cfi_startproc",
        // Frames beyond this one lie on another stack, below or above: no debugger may call that
        // corrupt.
        ".cfi_signal_frame",
        "push rbp",
        ".cfi_adjust_cfa_offset {word}",
        "mov [rsi + {link}], rsp",
        "lea rbp, [rsi + {link}]",
        // CFA = *(RBP) + size of the resumer's words: DW_CFA_def_cfa_expression { DW_OP_breg6 0;
        // DW_OP_deref; DW_OP_plus_uconst n }.
        ".cfi_escape 0x0f, 5, 0x76, 0, 0x06, 0x23, {resumer}",
        ".cfi_offset rbp, {rbp} - {resumer}",
        ".cfi_offset rip, {return_address} - {resumer}",
        ".cfi_offset rbx, {rbx} - {resumer}",
        "lea rsp, [rdx + {words} * {word}]",
        "mov rdx, rsp",
        "call [rsi + {entry}]",
        concat!(".globl ", called!()),
        concat!(called!(), ":"),
        "ud2",
        ".cfi_endproc",
        word = const WORD,
        words = const FIRST_WORDS,
        link = const offset_of!(Control, link),
        entry = const offset_of!(Control, entry),
        resumer = const size_of::<Resumer>(),
        rbp = const offset_of!(Resumer, rbp),
        return_address = const offset_of!(Resumer, return_address),
        rbx = const offset_of!(Resumer, rbx),
    )
}

/// The return address in [`first`]: the other half of the frame record at a coroutine's top.
pub(crate) fn first_called() -> usize {
    let address;
    // SAFETY: (1) computes an address.
    unsafe {
        asm!(
            concat!("lea {0}, [rip + ", called!(), "]"),
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
    let registers = unsafe { &(*context).uc_mcontext.gregs };
    let register = |number: i32| Addr::new(registers[number as usize] as usize);
    SavedRegs {
        pc: register(libc::REG_RIP),
        sp: register(libc::REG_RSP),
        fp: register(libc::REG_RBP),
        link: None,
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
    /// Direction and alignment-check flags: clear at every call.
    const DF_AC: i64 = 1 << 10 | 1 << 18;
    let resumer = link as *const Resumer;
    // SAFETY: (1) the caller's promise: the resumer's words are there; (2) `fpregs` is null or
    // leads to the frame of the signal.
    unsafe {
        let machine = &mut (*context).uc_mcontext;
        let mut set = |number: i32, value: usize| machine.gregs[number as usize] = value as i64;
        set(libc::REG_RIP, (*resumer).return_address);
        set(libc::REG_RBP, (*resumer).rbp);
        set(libc::REG_RSP, link + offset_of!(Resumer, rbx));
        set(libc::REG_RDI, 0);
        set(libc::REG_RSI, 0);
        machine.gregs[libc::REG_EFL as usize] &= !DF_AC;
        if let Some(fp) = machine.fpregs.as_mut() {
            // An x87 or MMX routine may have been cut: its register stack is empty at every call.
            fp.swd = 0;
            fp.ftw = 0;
        }
    }
}
