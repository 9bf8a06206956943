//! Fibers in turn, each on a stack that the caller gives; a fault on one ends it.

use crate::Pages;
use kstack::Stack;
use std::arch::naked_asm;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

struct Fiber {
    number: u64,
    stack: Stack<Pages>,
    sp: usize,
    body: fn(),
}

thread_local! {
    static READY: RefCell<VecDeque<Box<Fiber>>> = const { RefCell::new(VecDeque::new()) };
    static RUNNING: RefCell<Option<Box<Fiber>>> = const { RefCell::new(None) };
    static SCHEDULER: Cell<usize> = const { Cell::new(0) };
    static ENDED: Cell<bool> = const { Cell::new(false) };
    static ON_OVERFLOW: Cell<fn(usize)> = const { Cell::new(|_| ()) };
}

/// Saves what a callee keeps, leaves this stack with its SP in `from`, continues at `to`.
#[unsafe(naked)]
unsafe extern "C" fn switch(from: *mut usize, to: usize) {
    naked_asm!(
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "mov [rdi], rsp",
        "mov rsp, rsi",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
    )
}

#[unsafe(naked)]
unsafe extern "C" fn start() {
    naked_asm!("xor ebp, ebp", "call {}", "ud2", sym run_body)
}

extern "C" fn run_body() -> ! {
    let body = RUNNING.with_borrow(|running| running.as_ref().unwrap().body);
    body();
    end()
}

extern "C" fn end() -> ! {
    ENDED.set(true);
    give_way();
    unreachable!("a fiber that ended runs again")
}

/// The running fiber.
pub fn current() -> u64 {
    RUNNING.with_borrow(|running| running.as_ref().map_or(0, |fiber| fiber.number))
}

/// Back to the scheduler.
pub fn give_way() {
    let sp = RUNNING.with_borrow_mut(|running| &raw mut running.as_mut().unwrap().sp);
    // SAFETY: the fiber is boxed; the scheduler's SP is that of its switch to this fiber.
    unsafe { switch(sp, SCHEDULER.get()) };
}

/// Runs fibers until all have ended.
pub fn run(fibers: impl IntoIterator<Item = (u64, Stack<Pages>, fn())>) {
    for (number, stack, body) in fibers {
        // Seven words for the switch to pop, and one so that `start` begins with SP 16-aligned.
        let sp = stack.range().top.get() - 8 * 8;
        // SAFETY: the stack is mapped and this fiber's.
        unsafe { ((sp + 6 * 8) as *mut usize).write(start as *const () as usize) };
        READY.with_borrow_mut(|ready| ready.push_back(Box::new(Fiber { number, stack, sp, body })));
    }
    while let Some(fiber) = READY.with_borrow_mut(VecDeque::pop_front) {
        let sp = fiber.sp;
        RUNNING.set(Some(fiber));
        // SAFETY: what a fiber's SP leads to is a frame of `switch`, or one that looks like it.
        unsafe { switch(SCHEDULER.with(Cell::as_ptr), sp) };
        let fiber = RUNNING.take().unwrap();
        if ENDED.replace(false) {
            // Its stack goes back.
            drop(fiber);
        } else {
            READY.with_borrow_mut(|ready| ready.push_back(fiber));
        }
    }
}

/// Handles faults on a stack of its own: `what` is told the address, and the fiber ends.
pub fn on_overflow(what: fn(usize)) {
    const SIZE: usize = 64 * 1024;
    ON_OVERFLOW.set(what);
    let stack = Box::leak(vec![0_u8; SIZE].into_boxed_slice());
    // SAFETY: plain system calls; the stack stays.
    unsafe {
        let alternate =
            libc::stack_t { ss_sp: stack.as_mut_ptr().cast(), ss_flags: 0, ss_size: SIZE };
        assert_eq!(libc::sigaltstack(&alternate, std::ptr::null_mut()), 0);
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_fault as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        assert_eq!(libc::sigaction(libc::SIGSEGV, &action, std::ptr::null_mut()), 0);
    }
}

extern "C" fn on_fault(_signal: i32, info: *const libc::siginfo_t, context: *mut libc::ucontext_t) {
    // SAFETY: the system's, for the length of the handler.
    let (address, registers) =
        unsafe { ((*info).si_addr() as usize, &mut (*context).uc_mcontext.gregs) };
    ON_OVERFLOW.get()(address);
    // The fiber continues at the top of its own stack, in `end`, as if that had been called.
    let top = RUNNING.with_borrow(|running| running.as_ref().unwrap().stack.range().top.get());
    registers[libc::REG_RSP as usize] = (top - 8) as i64;
    registers[libc::REG_RBP as usize] = 0;
    registers[libc::REG_RIP as usize] = end as *const () as i64;
}
