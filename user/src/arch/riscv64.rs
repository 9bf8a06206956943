//! riscv64: `ecall` takes the number in a7 and arguments in a0 to a5; it gives its result, or a
//! negative error number, in a0.

use core::arch::{asm, naked_asm};

pub use super::generic::nr;
pub use super::no_ports::{HAS_PORTS, read_port, read_two_ports, switch_interrupts};
pub use super::no_shadow_stacks::{
    SHADOW_BY_PRCTL, return_to, shadow_pointer, sigreturn_above, store_shadow, switch_shadow,
    with_shadow_stack,
};

/// One system call. For programs that pass on purpose what no sound program would.
///
/// # Safety
///
/// The arguments mean to the kernel what the call's number makes of them: where one is an address,
/// the memory behind it must be valid for what that call does with it.
pub unsafe fn syscall(number: usize, arguments: [usize; 6]) -> isize {
    let result;
    // SAFETY: (1) the kernel destroys a0 only; (2) memory is touched only as the call's own
    // contract says, the caller's duty.
    unsafe {
        asm!(
            "ecall",
            in("a7") number,
            inlateout("a0") arguments[0] => result,
            in("a1") arguments[1],
            in("a2") arguments[2],
            in("a3") arguments[3],
            in("a4") arguments[4],
            in("a5") arguments[5],
            options(nostack),
        );
    }
    result
}

/// getppid, the instruction alone, for measuring: the number is loaded, nothing else is done.
#[inline(always)]
pub fn raw_getppid() {
    // SAFETY: (1) the call takes no argument and touches no memory.
    unsafe { asm!("ecall", in("a7") nr::GETPPID, out("a0") _, options(nostack)) };
}

/// What counts instructions in the emulator's counting mode.
#[inline(always)]
pub fn counter() -> u64 {
    let count: u64;
    // SAFETY: (1) the instruction changes nothing but the register.
    unsafe { asm!("rdcycle {}", out(reg) count, options(nomem, nostack)) };
    count
}

/// The first instructions of a program: calls `$body` with where SP was.
#[macro_export]
macro_rules! start {
    ($body:path) => {
        core::arch::naked_asm!(
            ".option push",
            ".option norelax",
            "la gp, __global_pointer$",
            ".option pop",
            // The outermost frame: a frame pointer of zero ends every backtrace.
            "mv s0, zero",
            "mv ra, zero",
            // Where argc is: for programs that look at what they were given.
            "mv a0, sp",
            "call {body}",
            // Nothing to return to: a return of the body would be a bug, and stops here.
            "unimp",
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
            "ecall",
            "bnez a0, 2f",
            "sd sp, 0({shared})",
            "li a7, {exit}",
            "li a0, 3",
            "ecall",
            "2:",
            shared = in(reg) shared,
            exit = const nr::EXIT,
            inlateout("a0") flags => child,
            in("a1") stack,
            in("a2") 0, in("a3") 0, in("a4") 0,
            inlateout("a7") nr::CLONE => _,
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
            "ecall",
            "bnez a0, 2f",
            "mv s0, zero",
            "jalr {entry}",
            "unimp",
            "2:",
            entry = in(reg) entry,
            inlateout("a0") flags => child,
            in("a1") stack,
            in("a2") words[0],
            in("a3") words[2],
            in("a4") words[1],
            inlateout("a7") nr::CLONE => _,
            lateout("ra") _,
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
            "ecall",
            "li a7, {exit}",
            "li a0, 0",
            "ecall",
            "unimp",
            exit = const nr::EXIT,
            in("a7") nr::MUNMAP,
            in("a0") lowest,
            in("a1") bytes,
            options(noreturn),
        )
    }
}

/// Puts a number into a floating-point register that nothing else here uses.
pub fn set_float(number: u64) {
    // SAFETY: (1) programs for this target use no floating point of their own.
    unsafe {
        asm!(".option push", ".option arch, +d", "fmv.d.x ft11, {}", ".option pop", in(reg) number,
             options(nomem, nostack));
    }
}

/// What is in that register.
pub fn float() -> u64 {
    let number;
    // SAFETY: (1) nothing but the result changes.
    unsafe {
        asm!(".option push", ".option arch, +d", "fmv.x.d {}, ft11", ".option pop", out(reg) number,
             options(nomem, nostack));
    }
    number
}

/// Moves `seed` + 0 to 31 into f0 to f31, and two bits of the seed into the rounding mode; spins,
/// yields, and returns how many of them are something else then.
#[unsafe(naked)]
pub extern "C" fn keep_floats(seed: u64, spins: u64) -> u64 {
    naked_asm!(
        ".option push",
        ".option arch, +d",
        "srli t0, a0, 8",
        "andi t0, t0, 3",
        "csrw frm, t0",
        "mv t1, a0",
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
        "fmv.d.x f\\n, t1",
        "addi t1, t1, 1",
        ".endr",
        "2:",
        "addi a1, a1, -1",
        "bnez a1, 2b",
        "mv t2, a0",
        "li a7, {sched_yield}",
        "ecall",
        "mv t1, t2",
        "li a0, 0",
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
        "fmv.x.d t3, f\\n",
        "sub t3, t3, t1",
        "snez t3, t3",
        "add a0, a0, t3",
        "addi t1, t1, 1",
        ".endr",
        "csrr t3, frm",
        "sub t3, t3, t0",
        "snez t3, t3",
        "add a0, a0, t3",
        "ret",
        ".option pop",
        sched_yield = const nr::SCHED_YIELD,
    )
}

/// fork with `seed` and a small number in every register that the call keeps. Stores what the call
/// gave to `child`; says, in parent and child, how many of them are something else then.
#[unsafe(naked)]
pub extern "C" fn fork_keeping(seed: usize, child: *mut isize) -> usize {
    naked_asm!(
        "addi sp, sp, -16 * {word}",
        "sd s0, 0 * {word}(sp)",
        "sd s1, 1 * {word}(sp)",
        "sd s2, 2 * {word}(sp)",
        "sd s3, 3 * {word}(sp)",
        "sd s4, 4 * {word}(sp)",
        "sd s5, 5 * {word}(sp)",
        "sd s6, 6 * {word}(sp)",
        "sd s7, 7 * {word}(sp)",
        "sd s8, 8 * {word}(sp)",
        "sd s9, 9 * {word}(sp)",
        "sd s10, 10 * {word}(sp)",
        "sd s11, 11 * {word}(sp)",
        "sd a0, 12 * {word}(sp)",
        "sd a1, 13 * {word}(sp)",
        "sd gp, 14 * {word}(sp)",
        "sd tp, 15 * {word}(sp)",
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11",
        "addi s\\n, a0, \\n",
        ".endr",
        ".irp n, 0,1,2,3,4,5,6",
        "addi t\\n, a0, \\n + 16",
        ".endr",
        "addi gp, a0, 32",
        "addi tp, a0, 33",
        "li a0, {flags}",
        "li a1, 0",
        "li a2, 0",
        "li a3, 0",
        "li a4, 0",
        "li a7, {clone}",
        "ecall",
        "ld a1, 12 * {word}(sp)",
        "ld a2, 13 * {word}(sp)",
        "sd a0, 0(a2)",
        "li a0, 0",
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11",
        "addi a3, a1, \\n",
        "sub a3, a3, s\\n",
        "snez a3, a3",
        "add a0, a0, a3",
        ".endr",
        ".irp n, 0,1,2,3,4,5,6",
        "addi a3, a1, \\n + 16",
        "sub a3, a3, t\\n",
        "snez a3, a3",
        "add a0, a0, a3",
        ".endr",
        "addi a3, a1, 32",
        "sub a3, a3, gp",
        "snez a3, a3",
        "add a0, a0, a3",
        "addi a3, a1, 33",
        "sub a3, a3, tp",
        "snez a3, a3",
        "add a0, a0, a3",
        "ld s0, 0 * {word}(sp)",
        "ld s1, 1 * {word}(sp)",
        "ld s2, 2 * {word}(sp)",
        "ld s3, 3 * {word}(sp)",
        "ld s4, 4 * {word}(sp)",
        "ld s5, 5 * {word}(sp)",
        "ld s6, 6 * {word}(sp)",
        "ld s7, 7 * {word}(sp)",
        "ld s8, 8 * {word}(sp)",
        "ld s9, 9 * {word}(sp)",
        "ld s10, 10 * {word}(sp)",
        "ld s11, 11 * {word}(sp)",
        "ld gp, 14 * {word}(sp)",
        "ld tp, 15 * {word}(sp)",
        "addi sp, sp, 16 * {word}",
        "ret",
        word = const size_of::<usize>(),
        flags = const super::FORK_FLAGS,
        clone = const nr::CLONE,
    )
}

/// What AT_PLATFORM leads to.
pub const PLATFORM: &core::ffi::CStr = c"riscv64";

/// Bits that AT_HWCAP must have: the letters of the extensions that every program may use.
pub fn hardware() -> usize {
    b"imafdc".iter().fold(0, |bits, letter| bits | 1 << (letter - b'a'))
}

/// Whether AT_SYSINFO is as it should be: not there.
pub fn sysinfo_is_right(entry: Option<usize>) -> bool {
    entry.is_none()
}

/// How many of f0 to f31 and the rounding mode are not what a program starts with: 0.
#[unsafe(naked)]
pub extern "C" fn used_registers() -> usize {
    naked_asm!(
        ".option push",
        ".option arch, +d",
        "li a0, 0",
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
        "fmv.x.d t3, f\\n",
        "snez t3, t3",
        "add a0, a0, t3",
        ".endr",
        "csrr t3, frm",
        "snez t3, t3",
        "add a0, a0, t3",
        "ret",
        ".option pop",
    )
}

/// Calls of this machine alone that must be refused, and how: none.
pub const REFUSED: &[(&str, usize, [usize; 6], isize)] = &[];

/// Addresses no program can have: just above user memory, the kernel's first byte, the end of the
/// upper half.
pub const BAD_ADDRESSES: [usize; 3] =
    [0x40_0000_0000, 0xffff_ffc0_0000_0000, 0xffff_ffff_ffff_e000];

/// Flags of open that are not the same everywhere: `O_DIRECTORY`, `O_NOFOLLOW`, `O_LARGEFILE`.
pub const OPEN_FLAGS: [usize; 3] = [0o200_000, 0o400_000, 0o100_000];

/// Makes a word what the thread pointer leads to, as a program's start-up code does for its
/// thread-local storage.
pub fn point_to(word: &'static core::sync::atomic::AtomicUsize) {
    // SAFETY: (1) the word stays; nothing else here uses the thread pointer.
    unsafe { asm!("mv tp, {}", in(reg) word.as_ptr(), options(nostack, preserves_flags)) };
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
        asm!("ld {}, 0(tp)", out(reg) word, options(nostack, preserves_flags));
    }
    word
}

/// Where things lie in the `ucontext` that a signal handler gets.
pub const CONTEXT: super::Context =
    super::Context { stack: 16, sp: 176 + 2 * 8, pc: 176, flags: 176 + 3 * 8, resume: 0, mask: 40 };

/// The remainder of SP by 16 when a signal handler begins, and the alignment it is a remainder of.
pub const HANDLER_SP: (usize, usize) = (0, 16);

/// The least size of an alternate stack, MINSIGSTKSZ.
pub const MIN_STACK: usize = 2048;

/// Whether `struct sigaction` has a place for what a handler returns to.
pub const HAS_RESTORER: bool = false;

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
        "la t0, {words}",
        "sd sp, 0(t0)",
        "ld t0, {word}(t0)",
        "jr t0",
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
        "addi sp, sp, -14 * {word}",
        "sd ra, 0(sp)",
        "sd s0, 1 * {word}(sp)",
        "sd s1, 2 * {word}(sp)",
        "sd s2, 3 * {word}(sp)",
        "sd s3, 4 * {word}(sp)",
        "sd s4, 5 * {word}(sp)",
        "sd s5, 6 * {word}(sp)",
        "sd s6, 7 * {word}(sp)",
        "sd s7, 8 * {word}(sp)",
        "sd s8, 9 * {word}(sp)",
        "sd s9, 10 * {word}(sp)",
        "sd s10, 11 * {word}(sp)",
        "sd s11, 12 * {word}(sp)",
        "sd sp, 0(a0)",
        "mv a0, a2",
        "jalr a1",
        "ld ra, 0(sp)",
        "ld s0, 1 * {word}(sp)",
        "ld s1, 2 * {word}(sp)",
        "ld s2, 3 * {word}(sp)",
        "ld s3, 4 * {word}(sp)",
        "ld s4, 5 * {word}(sp)",
        "ld s5, 6 * {word}(sp)",
        "ld s6, 7 * {word}(sp)",
        "ld s7, 8 * {word}(sp)",
        "ld s8, 9 * {word}(sp)",
        "ld s9, 10 * {word}(sp)",
        "ld s10, 11 * {word}(sp)",
        "ld s11, 12 * {word}(sp)",
        "addi sp, sp, 14 * {word}",
        "ret",
        word = const size_of::<usize>(),
    )
}

/// Leaves the call that stored its stack pointer to `place`, whatever stack the caller is on.
#[unsafe(naked)]
pub extern "C" fn leave(place: *const usize, result: usize) -> ! {
    naked_asm!(
        "ld sp, 0(a0)",
        "mv a0, a1",
        "ld ra, 0(sp)",
        "ld s0, 1 * {word}(sp)",
        "ld s1, 2 * {word}(sp)",
        "ld s2, 3 * {word}(sp)",
        "ld s3, 4 * {word}(sp)",
        "ld s4, 5 * {word}(sp)",
        "ld s5, 6 * {word}(sp)",
        "ld s6, 7 * {word}(sp)",
        "ld s7, 8 * {word}(sp)",
        "ld s8, 9 * {word}(sp)",
        "ld s9, 10 * {word}(sp)",
        "ld s10, 11 * {word}(sp)",
        "ld s11, 12 * {word}(sp)",
        "addi sp, sp, 14 * {word}",
        "ret",
        word = const size_of::<usize>(),
    )
}

/// Goes back from a signal's frame that lies at `sp`.
#[unsafe(naked)]
pub extern "C" fn sigreturn_from(sp: usize) -> ! {
    naked_asm!("mv sp, a0", "li a7, {}", "ecall", "unimp", const RT_SIGRETURN)
}

/// Makes every floating-point register something else.
#[unsafe(naked)]
pub extern "C" fn clobber_floats() {
    naked_asm!(
        ".option push",
        ".option arch, +d",
        "li t0, -1",
        "csrw fcsr, zero",
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
        "fmv.d.x f\\n, t0",
        ".endr",
        "ret",
        ".option pop",
    )
}

/// Keeps numbers below SP, where the ABI has a red zone, while it spins; how many of them are
/// something else then. 0 where it has none.
pub extern "C" fn keep_below(_seed: usize, _spins: usize) -> usize {
    0
}

/// Instructions that fault: the signal, its code, a function that has the instruction.
pub const FAULTS: &[(usize, i32, extern "C" fn(usize) -> usize)] =
    &[(4, 1, faults_undefined), (5, 1, faults_breakpoint)];

/// Whether the processor runs this as a program, as far as it says.
pub fn is_unprivileged() -> bool {
    // What says it is not for programs; a call that works comes from one.
    crate::getppid() >= 0
}

#[unsafe(naked)]
extern "C" fn faults_undefined(_argument: usize) -> usize {
    naked_asm!("unimp")
}

#[unsafe(naked)]
extern "C" fn faults_breakpoint(_argument: usize) -> usize {
    naked_asm!("ebreak", "ret")
}

/// Vector registers that some processors have and others have not: programs are given none.
pub fn wide() -> Option<super::Wide> {
    None
}

/// Keeps known values in registers that a system call may change, until a word is no longer 0.
/// Returns whether they are still there.
pub fn spins_with_all_kept(until: &core::sync::atomic::AtomicU32) -> bool {
    const VALUES: [usize; 7] =
        [0x12345678, 0x13456789, 0x1456789a, 0x156789ab, 0x16789abc, 0x1789abcd, 0x189abcde];
    let mut r = VALUES;
    // SAFETY: (1) the word is read as long as it is borrowed; (2) the registers are named.
    unsafe {
        core::arch::asm!(
            "2: lw {look}, 0({until})",
            "beqz {look}, 2b",
            until = in(reg) until.as_ptr(), look = out(reg) _,
            inout("a0") r[0], inout("a1") r[1], inout("a7") r[2], inout("t0") r[3], inout("t1") r[4], inout("t2") r[5], inout("t6") r[6],
            options(nostack, readonly),
        );
    }
    r == VALUES
}
