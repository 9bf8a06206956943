//! arm64: `svc 0` takes the number in x8 and arguments in x0 to x5; it gives its result, or a
//! negative error number, in x0.

use core::arch::{asm, naked_asm};

pub use super::generic::nr;
pub use super::no_ports::{HAS_PORTS, read_port, read_two_ports, switch_interrupts};

/// One system call. For programs that pass on purpose what no sound program would.
///
/// # Safety
///
/// The arguments mean to the kernel what the call's number makes of them: where one is an address,
/// the memory behind it must be valid for what that call does with it.
pub unsafe fn syscall(number: usize, arguments: [usize; 6]) -> isize {
    let result;
    // SAFETY: (1) the kernel destroys x0 only; (2) memory is touched only as the call's own
    // contract says, the caller's duty.
    unsafe {
        asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") arguments[0] => result,
            in("x1") arguments[1],
            in("x2") arguments[2],
            in("x3") arguments[3],
            in("x4") arguments[4],
            in("x5") arguments[5],
            options(nostack),
        );
    }
    result
}

/// getppid, the instruction alone, for measuring: the number is loaded, nothing else is done.
#[inline(always)]
pub fn raw_getppid() {
    // SAFETY: (1) the call takes no argument and touches no memory.
    unsafe { asm!("svc 0", in("x8") nr::GETPPID, out("x0") _, options(nostack)) };
}

/// What counts instructions in the emulator's counting mode, read when all before it is done: the
/// cycle counter, which this kernel lets programs read. (The system counter runs at a sixteenth of
/// that in older emulators.)
#[inline(always)]
pub fn counter() -> u64 {
    let count: u64;
    // SAFETY: (1) the instructions change nothing but the register.
    unsafe { asm!("isb", "mrs {}, pmccntr_el0", out(reg) count, options(nomem, nostack)) };
    count
}

/// The first instructions of a program: calls `$body` with where SP was.
#[macro_export]
macro_rules! start {
    ($body:path) => {
        core::arch::naked_asm!(
            // The outermost frame: a frame pointer of zero ends every backtrace.
            "mov x29, xzr",
            "mov x30, xzr",
            // Where argc is: for programs that look at what they were given.
            "mov x0, sp",
            "bl {body}",
            // Nothing to return to: a return of the body would be a bug, and stops here.
            "brk 1",
            body = sym $body,
        )
    };
}

/// clone whose child stores where its stack pointer is to `shared` and ends with status 3. The
/// child has the stack that ends at `stack`, or, for 0, its parent's, which it does not touch.
pub fn clone_that_ends(flags: usize, stack: usize, shared: *mut usize) -> isize {
    let child: isize;
    // SAFETY: (1) the child writes one word and ends: it returns from nothing; (2) it pushes
    // nothing.
    unsafe {
        asm!(
            "svc 0",
            "cbnz x0, 2f",
            "mov x1, sp",
            "str x1, [{shared}]",
            "mov x8, {exit}",
            "mov x0, 3",
            "svc 0",
            "2:",
            shared = in(reg) shared,
            exit = const nr::EXIT,
            inlateout("x0") flags => child,
            inlateout("x1") stack => _,
            in("x2") 0, in("x3") 0, in("x4") 0,
            inlateout("x8") nr::CLONE => _,
        );
    }
    child
}

/// clone of a thread that calls `entry`, on the stack that ends at `stack` (a multiple of 16).
/// `words`: where the parent's and the child's words for the thread's number are, and what
/// [`pointer_argument`] gave, for the flags that ask for them.
pub fn clone_and_call(
    flags: usize,
    stack: usize,
    words: [usize; 3],
    entry: extern "C" fn() -> !,
) -> isize {
    let child: isize;
    // SAFETY: (1) the child leaves for `entry`, on a stack of its own, and never comes back; (2)
    // the parent's registers are as before, but for those named.
    unsafe {
        asm!(
            "svc 0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "blr {entry}",
            "brk 1",
            "2:",
            entry = in(reg) entry,
            inlateout("x0") flags => child,
            in("x1") stack,
            in("x2") words[0],
            in("x3") words[2],
            in("x4") words[1],
            inlateout("x8") nr::CLONE => _,
            lateout("x30") _,
        );
    }
    child
}

/// Gives back the memory that the caller's stack lies in, and ends the thread: what a thread
/// library does with a thread that is not waited for.
pub fn unmap_and_exit(lowest: usize, bytes: usize) -> ! {
    // SAFETY: (1) the stack is not used once the memory is gone, and nothing comes back.
    unsafe {
        asm!(
            "svc 0",
            "mov x8, {exit}",
            "mov x0, 0",
            "svc 0",
            "brk 1",
            exit = const nr::EXIT,
            in("x8") nr::MUNMAP,
            in("x0") lowest,
            in("x1") bytes,
            options(noreturn),
        )
    }
}

/// Puts a number into a floating-point register that nothing else here uses.
pub fn set_float(number: u64) {
    // SAFETY: (1) programs for this target use no floating point of their own.
    unsafe { asm!(".arch_extension fp", "fmov d31, {}", in(reg) number, options(nomem, nostack)) };
}

/// What is in that register.
pub fn float() -> u64 {
    let number;
    // SAFETY: (1) nothing but the result changes.
    unsafe { asm!(".arch_extension fp", "fmov {}, d31", out(reg) number, options(nomem, nostack)) };
    number
}

/// Loads `seed` + 0 to 31 into both halves of v0 to v31, and two bits of the seed into the rounding
/// mode; spins, yields, and returns how many of them are something else then.
#[unsafe(naked)]
pub extern "C" fn keep_floats(seed: u64, spins: u64) -> u64 {
    naked_asm!(
        ".arch_extension fp",
        ".arch_extension simd",
        "ubfx x9, x0, 8, 2",
        "lsl x9, x9, 22",
        "msr fpcr, x9",
        "mov x10, x0",
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
        "dup v\\n\\().2d, x10",
        "add x10, x10, 1",
        ".endr",
        "2:",
        "subs x1, x1, 1",
        "b.ne 2b",
        "mov x11, x0",
        "mov x8, {sched_yield}",
        "svc 0",
        "mov x10, x11",
        "mov x0, 0",
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
        "umov x12, v\\n\\().d[{low}]",
        "cmp x12, x10",
        "cinc x0, x0, ne",
        "umov x12, v\\n\\().d[{high}]",
        "cmp x12, x10",
        "cinc x0, x0, ne",
        "add x10, x10, 1",
        ".endr",
        "mrs x12, fpcr",
        "cmp x12, x9",
        "cinc x0, x0, ne",
        "ret",
        low = const 0,
        high = const 1,
        sched_yield = const nr::SCHED_YIELD,
    )
}

/// fork with `seed` and a small number in every register that the call keeps. Stores what the call
/// gave to `child`; says, in parent and child, how many of them are something else then.
#[unsafe(naked)]
pub extern "C" fn fork_keeping(seed: usize, child: *mut isize) -> usize {
    naked_asm!(
        "stp x29, x30, [sp, -14 * {word}]!",
        "stp x19, x20, [sp, 2 * {word}]",
        "stp x21, x22, [sp, 4 * {word}]",
        "stp x23, x24, [sp, 6 * {word}]",
        "stp x25, x26, [sp, 8 * {word}]",
        "stp x27, x28, [sp, 10 * {word}]",
        "stp x0, x1, [sp, 12 * {word}]",
        ".irp n, 5,6,7,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30",
        "add x\\n, x0, \\n",
        ".endr",
        "mov x0, {flags}",
        "mov x1, 0",
        "mov x2, 0",
        "mov x3, 0",
        "mov x4, 0",
        "mov x8, {clone}",
        "svc 0",
        "ldp x1, x2, [sp, 12 * {word}]",
        "str x0, [x2]",
        "mov x0, 0",
        ".irp n, 5,6,7,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30",
        "add x3, x1, \\n",
        "cmp x3, x\\n",
        "cinc x0, x0, ne",
        ".endr",
        "ldp x19, x20, [sp, 2 * {word}]",
        "ldp x21, x22, [sp, 4 * {word}]",
        "ldp x23, x24, [sp, 6 * {word}]",
        "ldp x25, x26, [sp, 8 * {word}]",
        "ldp x27, x28, [sp, 10 * {word}]",
        "ldp x29, x30, [sp], 14 * {word}",
        "ret",
        word = const size_of::<usize>(),
        flags = const super::FORK_FLAGS,
        clone = const nr::CLONE,
    )
}

/// What AT_PLATFORM leads to.
pub const PLATFORM: &core::ffi::CStr = c"aarch64";

/// Bits that AT_HWCAP must have: floating point and vectors.
pub fn hardware() -> usize {
    0b11
}

/// Whether AT_SYSINFO is as it should be: not there.
pub fn sysinfo_is_right(entry: Option<usize>) -> bool {
    entry.is_none()
}

/// How many of v0 to v31 and the control register are not what a program starts with: 0.
#[unsafe(naked)]
pub extern "C" fn used_registers() -> usize {
    naked_asm!(
        ".arch_extension fp",
        ".arch_extension simd",
        "mov x0, 0",
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
        "umov x12, v\\n\\().d[{low}]",
        "cmp x12, 0",
        "cinc x0, x0, ne",
        ".endr",
        "mrs x12, fpcr",
        "cmp x12, 0",
        "cinc x0, x0, ne",
        "ret",
        low = const 0,
    )
}

/// Calls of this machine alone that must be refused, and how: none.
pub const REFUSED: &[(&str, usize, [usize; 6], isize)] = &[];

/// Addresses no program can have: just above user memory, the kernel's first byte, the stack arena.
pub const BAD_ADDRESSES: [usize; 3] =
    [0x1_0000_0000_0000, 0xffff_0000_0000_0000, 0xffff_c900_0000_4000];

/// Flags of open that are not the same everywhere: `O_DIRECTORY`, `O_NOFOLLOW`, `O_LARGEFILE`.
pub const OPEN_FLAGS: [usize; 3] = [0o40_000, 0o100_000, 0o400_000];

/// Makes a word what the thread pointer leads to, as a program's start-up code does for its
/// thread-local storage.
pub fn point_to(word: &'static core::sync::atomic::AtomicUsize) {
    // SAFETY: (1) the word stays; nothing else here uses the thread pointer.
    unsafe { asm!("msr tpidr_el0, {}", in(reg) word.as_ptr(), options(nostack, preserves_flags)) };
}

/// What clone takes to make a word what the thread pointer of the new thread leads to. `area`: for
/// machines that want it described.
pub fn pointer_argument(
    word: &'static core::sync::atomic::AtomicUsize,
    _area: &mut [u32; 4],
) -> usize {
    word.as_ptr().addr()
}

/// The word that the thread pointer leads to.
pub fn pointed_at() -> usize {
    let word;
    // SAFETY: (1) the thread pointer leads to a word since [`point_to`]; nothing but the result
    // changes.
    unsafe {
        asm!("mrs {0}, tpidr_el0", "ldr {0}, [{0}]", out(reg) word, options(nostack, preserves_flags));
    }
    word
}

/// Where things lie in the `ucontext` that a signal handler gets.
pub const CONTEXT: super::Context = super::Context {
    stack: 16,
    sp: 176 + 32 * 8,
    pc: 176 + 33 * 8,
    flags: 176 + 34 * 8,
    resume: 0,
    mask: 40,
};

/// The remainder of SP by 16 when a signal handler begins, and the alignment it is a remainder of.
pub const HANDLER_SP: (usize, usize) = (0, 16);

/// The least size of an alternate stack, MINSIGSTKSZ.
pub const MIN_STACK: usize = 5120;

/// Whether `struct sigaction` has a place for what a handler returns to.
pub const HAS_RESTORER: bool = true;

/// What a handler returns to, for a machine whose kernel wants to be told; 0: the kernel has its
/// own.
pub fn restorer() -> usize {
    0
}

/// The same for a handler without SA_SIGINFO.
pub fn plain_restorer() -> usize {
    0
}

const RT_SIGRETURN: usize = 139;

/// A signal handler that leaves SP as it found it in the first word of [`super::HANDLER_ENTRY`],
/// and continues at the address in the second.
#[unsafe(naked)]
pub extern "C" fn handler_entry() {
    naked_asm!(
        "adrp x9, {words}",
        "add x9, x9, :lo12:{words}",
        "mov x10, sp",
        "str x10, [x9]",
        "ldr x10, [x9, {word}]",
        "br x10",
        words = sym super::HANDLER_ENTRY,
        word = const size_of::<usize>(),
    )
}

/// Calls `body` with `argument`; what it gives, or what [`leave`] was told with the same `place`.
#[unsafe(naked)]
pub extern "C" fn try_call(
    place: *mut usize,
    body: extern "C" fn(usize) -> usize,
    argument: usize,
) -> usize {
    naked_asm!(
        "stp x29, x30, [sp, -12 * {word}]!",
        "stp x19, x20, [sp, 2 * {word}]",
        "stp x21, x22, [sp, 4 * {word}]",
        "stp x23, x24, [sp, 6 * {word}]",
        "stp x25, x26, [sp, 8 * {word}]",
        "stp x27, x28, [sp, 10 * {word}]",
        "mov x9, sp",
        "str x9, [x0]",
        "mov x0, x2",
        "blr x1",
        "ldp x19, x20, [sp, 2 * {word}]",
        "ldp x21, x22, [sp, 4 * {word}]",
        "ldp x23, x24, [sp, 6 * {word}]",
        "ldp x25, x26, [sp, 8 * {word}]",
        "ldp x27, x28, [sp, 10 * {word}]",
        "ldp x29, x30, [sp], 12 * {word}",
        "ret",
        word = const size_of::<usize>(),
    )
}

/// Leaves the call that stored its stack pointer to `place`, whatever stack the caller is on.
#[unsafe(naked)]
pub extern "C" fn leave(place: *const usize, result: usize) -> ! {
    naked_asm!(
        "ldr x9, [x0]",
        "mov sp, x9",
        "mov x0, x1",
        "ldp x19, x20, [sp, 2 * {word}]",
        "ldp x21, x22, [sp, 4 * {word}]",
        "ldp x23, x24, [sp, 6 * {word}]",
        "ldp x25, x26, [sp, 8 * {word}]",
        "ldp x27, x28, [sp, 10 * {word}]",
        "ldp x29, x30, [sp], 12 * {word}",
        "ret",
        word = const size_of::<usize>(),
    )
}

/// Goes back from a signal's frame that lies at `sp`.
#[unsafe(naked)]
pub extern "C" fn sigreturn_from(sp: usize) -> ! {
    naked_asm!("mov sp, x0", "mov x8, {}", "svc 0", "udf 0", const RT_SIGRETURN)
}

/// Makes every floating-point register something else.
#[unsafe(naked)]
pub extern "C" fn clobber_floats() {
    naked_asm!(
        ".arch_extension fp",
        ".arch_extension simd",
        "mov x9, -1",
        "msr fpcr, xzr",
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
        "dup v\\n\\().2d, x9",
        ".endr",
        "ret",
    )
}

/// Keeps numbers below SP, where the ABI has a red zone, while it spins; how many of them are
/// something else then. 0 where it has none.
pub extern "C" fn keep_below(_seed: usize, _spins: usize) -> usize {
    0
}

/// Instructions that fault: the signal, its code, a function that has the instruction.
pub const FAULTS: &[(usize, i32, extern "C" fn(usize) -> usize)] = &[
    (4, 1, faults_undefined),
    (5, 1, faults_breakpoint),
    (4, 1, faults_scalable),
    (4, 1, faults_streaming),
];

/// Whether the processor runs this as a program, as far as it says.
pub fn is_unprivileged() -> bool {
    // What says it is not for programs; a call that works comes from one.
    crate::getppid() >= 0
}

#[unsafe(naked)]
extern "C" fn faults_undefined(_argument: usize) -> usize {
    naked_asm!("udf 0")
}

/// Asks how long scalable vectors are: programs have none, whether the processor has them or not.
#[unsafe(naked)]
extern "C" fn faults_scalable(_argument: usize) -> usize {
    // rdvl x0, #1
    naked_asm!(".inst 0x04bf5020", "ret")
}

/// Begins streaming mode, which programs have not either.
#[unsafe(naked)]
extern "C" fn faults_streaming(_argument: usize) -> usize {
    // smstart
    naked_asm!(".inst 0xd503477f", "ret")
}

#[unsafe(naked)]
extern "C" fn faults_breakpoint(_argument: usize) -> usize {
    naked_asm!("brk 1", "ret")
}

/// Vector registers that some processors have and others have not: programs are given none.
pub fn wide() -> Option<super::Wide> {
    None
}

/// Whether the calls for shadow stacks are those of prctl.
pub const SHADOW_BY_PRCTL: bool = true;

/// Calls `body` with a shadow stack that is on in this mode, and turns it off. [`usize::MAX`]:
/// there is none.
#[unsafe(naked)]
pub extern "C" fn with_shadow_stack(
    mode: usize,
    body: extern "C" fn(usize) -> usize,
    argument: usize,
) -> usize {
    // From one call of the kernel to the other, what was called before is not on the shadow stack.
    naked_asm!(
        "stp x29, x30, [sp, #-32]!",
        "mov x29, sp",
        "stp x19, x20, [sp, #16]",
        "mov x19, x1",
        "mov x20, x2",
        "mov x1, x0",
        "mov x0, #{set_status}",
        "mov x2, xzr",
        "mov x3, xzr",
        "mov x4, xzr",
        "mov x8, #{prctl}",
        "svc #0",
        "cbnz x0, 2f",
        "mov x0, x20",
        "blr x19",
        "mov x20, x0",
        "mov x0, #{set_status}",
        "mov x1, xzr",
        "mov x2, xzr",
        "mov x3, xzr",
        "mov x4, xzr",
        "mov x8, #{prctl}",
        "svc #0",
        "mov x0, x20",
        "b 3f",
        "2:",
        "mov x0, #-1",
        "3:",
        "ldp x19, x20, [sp, #16]",
        "ldp x29, x30, [sp], #32",
        "ret",
        set_status = const 75,
        prctl = const 167,
    )
}

/// Where the shadow stack is.
#[inline(always)]
pub fn shadow_pointer() -> usize {
    let pointer;
    // SAFETY: (1) GCSPR_EL0: only read where shadow stacks are.
    unsafe { asm!("mrs {}, S3_3_C2_C5_1", out(reg) pointer, options(nostack, preserves_flags)) };
    pointer
}

/// Takes up the shadow stack whose word is at an address; where the one that was left has its own.
#[inline(always)]
pub fn switch_shadow(to: usize) -> usize {
    let left;
    // SAFETY: (1) `gcsss1`, `gcsss2`: a fault if there is no such word; (2) callers switch back
    // before they return.
    unsafe {
        asm!("sys #3, c7, c7, #2, {}", "mov {left}, xzr", "sysl {left}, #3, c7, c7, #3", in(reg) to,
             left = out(reg) left, options(nostack, preserves_flags));
    }
    left
}

/// Returns to another address than it was called from.
#[unsafe(naked)]
pub extern "C" fn return_to(address: usize) -> usize {
    naked_asm!("mov x30, x0", "ret")
}

/// Stores a word to a shadow stack: `gcsstr`.
#[inline(always)]
pub fn store_shadow(at: usize, word: usize) {
    // SAFETY: (1) a fault if that is no place on a shadow stack, or if it was not asked for; (2)
    // callers name places that no return reads, or mean the fault.
    unsafe {
        asm!(".inst 0xd91f0c20", in("x0") word, in("x1") at, options(nostack, preserves_flags));
    }
}

/// Makes the call that ends a handler, with the shadow stack's pointer elsewhere. Here the frame
/// names it.
pub extern "C" fn sigreturn_above(_sp: usize, _words: usize) -> ! {
    crate::exit(1)
}

/// Keeps known values in registers that a system call may change, until a word is no longer 0.
/// Returns whether they are still there.
pub fn spins_with_all_kept(until: &core::sync::atomic::AtomicU32) -> bool {
    const VALUES: [usize; 6] =
        [0x12345678, 0x13456789, 0x1456789a, 0x156789ab, 0x16789abc, 0x1789abcd];
    let mut r = VALUES;
    // SAFETY: (1) the word is read as long as it is borrowed; (2) the registers are named.
    unsafe {
        core::arch::asm!(
            "2: ldr {look:w}, [{until}]",
            "cbz {look:w}, 2b",
            until = in(reg) until.as_ptr(), look = out(reg) _,
            inout("x0") r[0], inout("x1") r[1], inout("x2") r[2], inout("x9") r[3], inout("x16") r[4], inout("x17") r[5],
            options(nostack, readonly),
        );
    }
    r == VALUES
}
