//! What is looked at: three functions, one inside the other, on a stack between guards; a
//! breakpoint, then an overflow.

use kstack::addr::{Addr, CpuId};
use kstack::arena::{Arena, SlotIndex};
use kstack::kind::StackKind;
use kstack::stacks::{StackId, ThreadId};
use std::arch::asm;
use std::hint::black_box;

/// Where its stacks may lie.
const LOWEST: usize = 0x6000_0000_0000;
/// The one there is.
pub const SLOT: SlotIndex = SlotIndex::new(1);

/// Its stacks.
pub fn arena() -> Arena {
    let lowest = Arena::lowest_from(Addr::new(LOWEST), kstack::GEOMETRY).expect("it fits");
    Arena::new(lowest, 4, kstack::GEOMETRY).expect("it fits")
}

/// The one stack: what it was started on.
pub fn stack(arena: &Arena) -> StackId {
    StackId {
        kind: StackKind::Boot,
        cpu: Some(CpuId::new(0)),
        owner: ThreadId::NONE,
        range: arena.body(SLOT),
    }
}

/// The function that an address lies in, as far as it is known.
pub fn name(address: Addr) -> Option<&'static str> {
    let known = [
        (inner as *const () as usize, "inner"),
        (middle as *const () as usize, "middle"),
        (outer as *const () as usize, "outer"),
    ];
    let before = known.into_iter().filter(|&(lowest, _)| lowest <= address.get());
    before.max_by_key(|&(lowest, _)| lowest).map(|(_, name)| name)
}

/// In a process of its own.
pub fn run() -> ! {
    let range = stack(&arena()).range;
    let (protection, flags) = (
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
    );
    // SAFETY: a new mapping where there is none; then that stack is run on, for good.
    unsafe {
        let at = range.lowest.get() as *mut _;
        assert_eq!(libc::mmap(at, range.size().get(), protection, flags, -1, 0), at);
        asm!("mov rsp, {}", "xor ebp, ebp", "call {}", "ud2", in(reg) range.top.get(), sym outer, options(noreturn))
    }
}

#[inline(never)]
extern "C" fn outer() {
    middle();
    black_box(());
}

#[inline(never)]
extern "C" fn middle() {
    inner(0);
    black_box(());
}

#[expect(unconditional_recursion, reason = "the stack is to overflow")]
#[inline(never)]
extern "C" fn inner(level: u64) -> u64 {
    let frame = black_box([level; 16]);
    if level == 0 {
        // SAFETY: stops the process; the tracer lets it continue.
        unsafe { asm!("int3") };
    }
    inner(level + 1) + frame[0]
}
