//! Steps 1 and 2: the kernel's own switch, interrupts and tables; the stacks are kstack's.

use alloc::boxed::Box;
use core::arch::naked_asm;
use core::cell::UnsafeCell;
use guest_x86_64::sched::Context;
use guest_x86_64::{memory, sync::Lock};
use kstack::addr::{Addr, AddrRange, CpuId, PAGE_BYTES};
use kstack::{Backing, Stack, Stacks, cache::CpuCache, pool::Exhausted};
use x86_64::{VirtAddr, instructions::interrupts};

pub struct Pages;

static CACHE: Lock<CpuCache> = Lock::new(CpuCache::new(CpuId::new(0)));

// SAFETY: (1) (2) `memory` maps a frame of its own, and there is one CPU; (3) the defaults zero
// everything; (4) one CPU, one cache, behind a lock; (5) interrupts are off.
unsafe impl Backing for Pages {
    fn map_page(&self, page: Addr) -> Result<(), Exhausted> {
        memory::map(VirtAddr::new(page.get() as u64)).map_err(|_| Exhausted::Frame)
    }

    fn unmap_pages(&self, range: AddrRange) {
        for page in (range.lowest.get()..range.top.get()).step_by(PAGE_BYTES) {
            memory::unmap(VirtAddr::new(page as u64));
        }
    }

    // Only as long as kstack has no block for the CPU; step 3 drops these two.
    fn without_interrupts<R>(&self, body: impl FnOnce() -> R) -> R {
        interrupts::without_interrupts(body)
    }

    fn with_cache<R>(&self, body: impl FnOnce(&mut CpuCache) -> R) -> R {
        body(&mut CACHE.lock())
    }
}

// SAFETY: (1) `memory` maps nothing else there; (2) `Pages` is theirs; (3) nothing takes exceptions
// or unwinds by kstack yet.
pub static STACKS: Stacks<Pages> =
    unsafe { kstack::stacks!(Pages, lowest: 0xffff_c900_0000_0000, slots: 64) };

/// What `switch` of the kernel before kstack had as memory of the heap, is a stack between guards.
pub struct Guarded {
    sp: UnsafeCell<usize>,
    _stack: Option<Box<Stack<Pages>>>,
}

// SAFETY: the scheduler's lock, and one CPU.
unsafe impl Send for Guarded {}

impl Guarded {
    /// What runs now, on the boot stack.
    pub fn boot() -> Self {
        Self { sp: UnsafeCell::new(0), _stack: None }
    }
}

impl Context for Guarded {
    fn new(task: u64, run: extern "C" fn(usize)) -> Self {
        let stack = STACKS.acquire_thread(task).expect("no stack for a task");
        // What `switch` pops: six registers, of which rbx is the first function, and where to
        // return to.
        let frame = [0, 0, 0, 0, run as *const () as usize, 0, start as *const () as usize];
        let sp = stack.range().top.get() - size_of_val(&frame);
        // SAFETY: the stack is mapped, and this task's.
        unsafe { (sp as *mut [usize; 7]).write(frame) };
        Self { sp: UnsafeCell::new(sp), _stack: Some(Box::new(stack)) }
    }

    unsafe fn switch(from: &Self, to: &Self) {
        // SAFETY: the caller's.
        unsafe { switch(from.sp.get(), *to.sp.get()) };
    }
}

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

/// The first instruction of a task; rbx is what it calls.
#[unsafe(naked)]
unsafe extern "C" fn start() {
    naked_asm!("sti", "xor ebp, ebp", "call rbx", "ud2")
}
