//! A generator: a function on a stack of its own that hands out one value after another. It takes
//! nothing of kstack but the switch between two stacks and the first frame of a new one; the memory
//! is the program's own, and has no guard.
//!
//! Between the marks is all it needs of kstack. It runs wherever kstack's switch does: the System V
//! ABI on any of its architectures.

use std::alloc::{Layout, alloc, dealloc};
use std::cell::Cell;
use std::ptr::NonNull;

// kstack glue: begin
use kstack::addr::{Addr, AddrRange, ByteSize};
use kstack::{arch::current::switch::switch, first_frame};

/// Where SP was on the side that does not run.
struct Sides {
    generator: Cell<usize>,
    caller: Cell<usize>,
}

impl Sides {
    /// # Safety
    ///
    /// The memory is a page-aligned stack that nothing else uses; `body` gets `argument`.
    unsafe fn start(
        &self,
        memory: NonNull<u8>,
        body: extern "C" fn(usize, usize) -> !,
        argument: usize,
    ) {
        let stack = AddrRange::sized(Addr::new(memory.as_ptr() as usize), ByteSize::new(SIZE));
        // SAFETY: (1) the caller's.
        self.generator.set(unsafe { first_frame::build_bare(stack, body, argument) });
    }
    fn resume(&self) -> usize {
        // SAFETY: (1) the generator has started, and waits in `give` or at its first instruction.
        unsafe { switch(self.caller.as_ptr(), self.generator.get(), 0) }
    }
    fn give(&self, value: usize) {
        // SAFETY: (1) the caller waits in `resume`.
        unsafe { switch(self.generator.as_ptr(), self.caller.get(), value) };
    }
}
// kstack glue: end

const SIZE: usize = 64 * 1024;

/// A function that gives values, and the memory that it runs on. The function never returns, so
/// dropping it only frees the memory.
struct Generator {
    sides: Box<Sides>,
    memory: NonNull<u8>,
}

impl Generator {
    const LAYOUT: Layout = match Layout::from_size_align(SIZE, 4096) {
        Ok(layout) => layout,
        Err(_) => panic!("a stack has a layout"),
    };

    fn new(body: extern "C" fn(usize, usize) -> !) -> Self {
        // SAFETY: the layout has a size.
        let memory = NonNull::new(unsafe { alloc(Self::LAYOUT) }).expect("there is memory");
        let sides = Box::new(Sides { generator: Cell::new(0), caller: Cell::new(0) });
        let argument = &raw const *sides as usize;
        // SAFETY: new memory, page-aligned.
        unsafe { sides.start(memory, body, argument) };
        Self { sides, memory }
    }
}

impl Iterator for Generator {
    type Item = usize;
    fn next(&mut self) -> Option<usize> {
        Some(self.sides.resume())
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        // SAFETY: allocated in `new`; nothing runs there, since the caller runs.
        unsafe { dealloc(self.memory.as_ptr(), Self::LAYOUT) };
    }
}

extern "C" fn fibonacci(sides: usize, _message: usize) -> ! {
    let (mut this, mut next) = (0, 1);
    loop {
        // SAFETY: the generator's sides, which live as long as it.
        unsafe { &*(sides as *const Sides) }.give(this);
        (this, next) = (next, this + next);
    }
}

extern "C" fn squares(sides: usize, _message: usize) -> ! {
    for number in 1_usize.. {
        // SAFETY: as above.
        unsafe { &*(sides as *const Sides) }.give(number * number);
    }
    unreachable!("there are always more")
}

fn main() {
    // The two take turns.
    let pairs: Vec<(usize, usize)> =
        Generator::new(fibonacci).zip(Generator::new(squares)).take(8).collect();
    println!("{pairs:?}");
}
