//! arm32: `svc 0` takes the number in r7 and arguments in r0 to r5; it gives its result, or a
//! negative error number, in r0.

pub use super::no_ports::{HAS_PORTS, read_port, read_two_ports, switch_interrupts};
pub use super::no_shadow_stacks::{
    SHADOW_BY_PRCTL, return_to, shadow_pointer, sigreturn_above, store_shadow, switch_shadow,
    with_shadow_stack,
};
use core::arch::{asm, naked_asm};

/// The system calls that our programs use, by Linux's numbers for this machine.
pub mod nr {
    /// read
    pub const READ: usize = 3;
    /// write
    pub const WRITE: usize = 4;
    /// close
    pub const CLOSE: usize = 6;
    /// mmap, or mmap2
    pub const MMAP: usize = 192;
    /// munmap
    pub const MUNMAP: usize = 91;
    /// sched_yield
    pub const SCHED_YIELD: usize = 158;
    /// nanosleep
    pub const NANOSLEEP: usize = 162;
    /// clone
    pub const CLONE: usize = 120;
    /// execve
    pub const EXECVE: usize = 11;
    /// exit
    pub const EXIT: usize = 1;
    /// wait4
    pub const WAIT4: usize = 114;
    /// uname
    pub const UNAME: usize = 122;
    /// getcwd
    pub const GETCWD: usize = 183;
    /// getppid
    pub const GETPPID: usize = 64;
    /// clock_gettime
    pub const CLOCK_GETTIME: usize = 263;
    /// exit_group
    pub const EXIT_GROUP: usize = 248;
    /// openat
    pub const OPENAT: usize = 322;
    /// newfstatat, or fstatat64
    pub const FSTATAT: usize = 327;
    /// nfsservctl, which no kernel has any more
    pub const NFSSERVCTL: usize = 169;
    /// pipe2
    pub const PIPE2: usize = 359;
    /// futex
    pub const FUTEX: usize = 240;
    /// rt_sigaction
    pub const RT_SIGACTION: usize = 174;
    /// sigaltstack
    pub const SIGALTSTACK: usize = 186;
    /// tgkill
    pub const TGKILL: usize = 268;
    /// getpid
    pub const GETPID: usize = 20;
    /// gettid
    pub const GETTID: usize = 224;
    /// mincore
    pub const MINCORE: usize = 219;
}

/// Sets the thread pointer: a call of this machine alone.
const SET_TLS: usize = 0xf_0005;

/// One system call. For programs that pass on purpose what no sound program would.
///
/// # Safety
///
/// The arguments mean to the kernel what the call's number makes of them: where one is an address,
/// the memory behind it must be valid for what that call does with it.
pub unsafe fn syscall(number: usize, arguments: [usize; 6]) -> isize {
    let result;
    // SAFETY: (1) the kernel destroys r0 only; r7 may be reserved, so it is exchanged by hand; (2)
    // memory is touched only as the call's own contract says, the caller's duty.
    unsafe {
        asm!(
            "mov {kept}, r7",
            "mov r7, {number}",
            "svc 0",
            "mov r7, {kept}",
            kept = out(reg) _,
            number = in(reg) number,
            inlateout("r0") arguments[0] => result,
            in("r1") arguments[1],
            in("r2") arguments[2],
            in("r3") arguments[3],
            in("r4") arguments[4],
            in("r5") arguments[5],
            options(nostack),
        );
    }
    result
}

/// getppid, the instruction alone, for measuring: the number is loaded, nothing else is done.
#[inline(always)]
pub fn raw_getppid() {
    // SAFETY: (1) the call takes no argument and touches no memory.
    unsafe {
        asm!("mov {kept}, r7", "mov r7, {number}", "svc 0", "mov r7, {kept}", kept = out(reg) _,
             number = const nr::GETPPID, out("r0") _, options(nostack));
    }
}

/// What counts instructions in the emulator's counting mode, read when all before it is done: the
/// cycle counter, which this kernel lets programs read, and which begins again at 0 after 2^32.
/// (The system counter runs at a sixteenth of that.)
#[inline(always)]
pub fn counter() -> u64 {
    let count: u32;
    // SAFETY: (1) the instructions change nothing but the register.
    unsafe { asm!("isb", "mrc p15, 0, {}, c9, c13, 0", out(reg) count, options(nomem, nostack)) };
    u64::from(count)
}

/// The first instructions of a program: calls `$body` with where SP was.
#[macro_export]
macro_rules! start {
    ($body:path) => {
        core::arch::naked_asm!(
            // The outermost frame: a frame pointer of zero ends every backtrace.
            "mov r11, #0",
            "mov lr, #0",
            // Where argc is: for programs that look at what they were given.
            "mov r0, sp",
            "bl {body}",
            // Nothing to return to: a return of the body would be a bug, and stops here.
            "udf #0",
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
            "mov {kept}, r7",
            "mov r7, #{clone}",
            "svc 0",
            "cmp r0, #0",
            "bne 2f",
            "str sp, [r5]",
            "mov r7, #{exit}",
            "mov r0, #3",
            "svc 0",
            "2:",
            "mov r7, {kept}",
            kept = out(reg) _,
            exit = const nr::EXIT,
            clone = const nr::CLONE,
            inlateout("r0") flags => child,
            in("r1") stack,
            in("r2") 0, in("r3") 0, in("r4") 0,
            // Not any register: the number takes r7.
            in("r5") shared,
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
            "mov {kept}, r7",
            "mov r7, #{clone}",
            "svc 0",
            "cmp r0, #0",
            "bne 2f",
            "mov r11, #0",
            "blx r5",
            "udf #0",
            "2:",
            "mov r7, {kept}",
            kept = out(reg) _,
            clone = const nr::CLONE,
            inlateout("r0") flags => child,
            in("r1") stack,
            in("r2") words[0],
            in("r3") words[2],
            in("r4") words[1],
            // Not any register: the number takes r7.
            in("r5") entry,
            lateout("lr") _,
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
            "mov r7, #{munmap}",
            "svc 0",
            "mov r7, #{exit}",
            "mov r0, #0",
            "svc 0",
            "udf #0",
            munmap = const nr::MUNMAP,
            exit = const nr::EXIT,
            in("r0") lowest,
            in("r1") bytes,
            options(noreturn),
        )
    }
}

/// Puts a number into a floating-point register that nothing else here uses.
pub fn set_float(number: u64) {
    let (low, high) = (number as u32, (number >> 32) as u32);
    // SAFETY: (1) programs for this target use no floating point of their own.
    unsafe {
        asm!(".fpu neon-vfpv4", "vmov d31, {}, {}", in(reg) low, in(reg) high, options(nomem, nostack));
    }
}

/// What is in that register.
pub fn float() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: (1) nothing but the result changes.
    unsafe {
        asm!(".fpu neon-vfpv4", "vmov {}, {}, d31", out(reg) low, out(reg) high, options(nomem, nostack));
    }
    u64::from(high) << 32 | u64::from(low)
}

/// Moves `seed` + 0 to 31 into d0 to d31, two bits of the seed into the rounding mode, and its
/// lower word into both thread registers; spins, yields, and returns how many of them are something
/// else then.
#[unsafe(naked)]
pub extern "C" fn keep_floats(seed: u64, spins: u64) -> u64 {
    naked_asm!(
        ".fpu neon-vfpv4",
        // In: seed in r0 and r1, spins in r2 and r3 (the lower word counts).
        "push {{r4, r5, r6, r7, r8, lr}}",
        "mov r6, r0",
        "movw r7, #({set_tls} & 0xffff)",
        "movt r7, #({set_tls} >> 16)",
        "svc 0",
        "mov r0, r6",
        "mcr p15, 0, r0, c13, c0, 2",
        "ubfx r4, r0, #8, #2",
        "lsl r4, r4, #22",
        "vmsr fpscr, r4",
        "mov r5, r0",
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
        "vmov d\\n, r5, r1",
        "add r5, r5, #1",
        ".endr",
        "2:",
        "subs r2, r2, #1",
        "bne 2b",
        "mov r6, r0",
        "mov r8, r1",
        "mov r7, #{sched_yield}",
        "svc 0",
        "mov r5, r6",
        "mov r0, #0",
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
        "vmov r2, r3, d\\n",
        "cmp r2, r5",
        "addne r0, r0, #1",
        "cmp r3, r8",
        "addne r0, r0, #1",
        "add r5, r5, #1",
        ".endr",
        "vmrs r2, fpscr",
        "and r2, r2, #0xc00000",
        "cmp r2, r4",
        "addne r0, r0, #1",
        "mrc p15, 0, r2, c13, c0, 2",
        "cmp r2, r6",
        "addne r0, r0, #1",
        "mrc p15, 0, r2, c13, c0, 3",
        "cmp r2, r6",
        "addne r0, r0, #1",
        "mov r1, #0",
        "pop {{r4, r5, r6, r7, r8, pc}}",
        sched_yield = const nr::SCHED_YIELD,
        set_tls = const SET_TLS,
    )
}

/// fork with `seed` and a small number in every register that the call keeps. Stores what the call
/// gave to `child`; says, in parent and child, how many of them are something else then.
#[unsafe(naked)]
pub extern "C" fn fork_keeping(seed: usize, child: *mut isize) -> usize {
    naked_asm!(
        "push {{r4-r11, lr}}",
        "push {{r0, r1, r2}}",
        ".irp n, 5,6,8,9,10,11,12,14",
        "add r\\n, r0, #\\n",
        ".endr",
        "mov r0, #{flags}",
        "mov r1, #0",
        "mov r2, #0",
        "mov r3, #0",
        "mov r4, #0",
        "mov r7, #{clone}",
        "svc 0",
        "pop {{r1, r2, r3}}",
        "str r0, [r2]",
        "mov r0, #0",
        ".irp n, 5,6,8,9,10,11,12,14",
        "add r3, r1, #\\n",
        "cmp r3, r\\n",
        "addne r0, r0, #1",
        ".endr",
        "pop {{r4-r11, pc}}",
        flags = const super::FORK_FLAGS,
        clone = const nr::CLONE,
    )
}

/// What AT_PLATFORM leads to.
pub const PLATFORM: &core::ffi::CStr = c"v7l";

/// Bits that AT_HWCAP must have: HALF, THUMB, FAST_MULT, VFP, EDSP, NEON, VFPv3, TLS, VFPv4, IDIVA,
/// IDIVT, VFPD32 and LPAE.
pub fn hardware() -> usize {
    [1, 2, 4, 6, 7, 12, 13, 15, 16, 17, 18, 19, 20].iter().fold(0, |bits, bit| bits | 1 << bit)
}

/// Whether AT_SYSINFO is as it should be: not there.
pub fn sysinfo_is_right(entry: Option<usize>) -> bool {
    entry.is_none()
}

/// How many of d0 to d31, the status register and the thread registers are not what a program
/// starts with: 0.
#[unsafe(naked)]
pub extern "C" fn used_registers() -> usize {
    naked_asm!(
        ".fpu neon-vfpv4",
        "mov r0, #0",
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
        "vmov r2, r3, d\\n",
        "orrs r2, r2, r3",
        "addne r0, r0, #1",
        ".endr",
        "vmrs r2, fpscr",
        "cmp r2, #0",
        "addne r0, r0, #1",
        "mrc p15, 0, r2, c13, c0, 2",
        "cmp r2, #0",
        "addne r0, r0, #1",
        "mrc p15, 0, r2, c13, c0, 3",
        "cmp r2, #0",
        "addne r0, r0, #1",
        "bx lr",
    )
}

/// Calls of this machine alone that must be refused, and how: none.
pub const REFUSED: &[(&str, usize, [usize; 6], isize)] = &[];

/// Addresses no program can have: the kernel's first byte, inside the kernel, near the end.
pub const BAD_ADDRESSES: [usize; 3] = [0xc000_0000, 0xd000_4000, 0xffff_e000];

/// Flags of open that are not the same everywhere: `O_DIRECTORY`, `O_NOFOLLOW`, `O_LARGEFILE`.
pub const OPEN_FLAGS: [usize; 3] = [0o40_000, 0o100_000, 0o400_000];

/// Makes a word what the thread pointer leads to, as a program's start-up code does for its
/// thread-local storage.
pub fn point_to(word: &'static core::sync::atomic::AtomicUsize) {
    const SET_TLS: usize = 0xf_0005;
    // SAFETY: (1) the word stays; nothing else here uses the thread pointer.
    unsafe { syscall(SET_TLS, [word.as_ptr().addr(), 0, 0, 0, 0, 0]) };
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
        asm!("mrc p15, 0, {0}, c13, c0, 3", "ldr {0}, [{0}]", out(reg) word, options(nostack, preserves_flags));
    }
    word
}

/// Where things lie in the `ucontext` that a signal handler gets.
pub const CONTEXT: super::Context = super::Context {
    stack: 8,
    sp: 20 + 16 * 4,
    pc: 20 + 18 * 4,
    flags: 20 + 19 * 4,
    resume: 0,
    mask: 104,
};

/// The remainder of SP by 16 when a signal handler begins, and the alignment it is a remainder of.
pub const HANDLER_SP: (usize, usize) = (0, 8);

/// The least size of an alternate stack, MINSIGSTKSZ.
pub const MIN_STACK: usize = 2048;

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

const RT_SIGRETURN: usize = 173;

/// A signal handler that leaves SP as it found it in the first word of [`super::HANDLER_ENTRY`],
/// and continues at the address in the second.
#[unsafe(naked)]
pub extern "C" fn handler_entry() {
    naked_asm!(
        "movw ip, #:lower16:{words}",
        "movt ip, #:upper16:{words}",
        "str sp, [ip]",
        "ldr pc, [ip, #{word}]",
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
        "push {{r4-r11, ip, lr}}",
        "str sp, [r0]",
        "mov r0, r2",
        "blx r1",
        "pop {{r4-r11, ip, pc}}",
    )
}

/// Leaves the call that stored its stack pointer to `place`, whatever stack the caller is on.
#[unsafe(naked)]
pub extern "C" fn leave(place: *const usize, result: usize) -> ! {
    naked_asm!("ldr sp, [r0]", "mov r0, r1", "pop {{r4-r11, ip, pc}}")
}

/// Goes back from a signal's frame that lies at `sp`.
#[unsafe(naked)]
pub extern "C" fn sigreturn_from(sp: usize) -> ! {
    naked_asm!("mov sp, r0", "mov r7, #{}", "svc 0", "udf #0", const RT_SIGRETURN)
}

/// Makes every floating-point register something else.
#[unsafe(naked)]
pub extern "C" fn clobber_floats() {
    naked_asm!(
        ".fpu neon-vfpv4",
        "mvn r2, #0",
        "mov r3, #0",
        "vmsr fpscr, r3",
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
        "vmov d\\n, r2, r2",
        ".endr",
        "bx lr",
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
    /// The mode; masked interrupts.
    const MODE: u32 = 0x1f;
    const USER: u32 = 0x10;
    const MASKED: u32 = 0xc0;
    let flags: u32;
    // SAFETY: (1) nothing but the result changes.
    unsafe { asm!("mrs {}, cpsr", out(reg) flags, options(nomem, nostack)) };
    flags & MODE == USER && flags & MASKED == 0
}

#[unsafe(naked)]
extern "C" fn faults_undefined(_argument: usize) -> usize {
    naked_asm!("udf #0")
}

#[unsafe(naked)]
extern "C" fn faults_breakpoint(_argument: usize) -> usize {
    naked_asm!("bkpt #0", "bx lr")
}

/// Vector registers that some processors have and others have not: programs are given none.
pub fn wide() -> Option<super::Wide> {
    None
}

/// Keeps known values in registers that a system call may change, until a word is no longer 0.
/// Returns whether they are still there.
pub fn spins_with_all_kept(until: &core::sync::atomic::AtomicU32) -> bool {
    const VALUES: [usize; 5] = [0x12345678, 0x13456789, 0x1456789a, 0x156789ab, 0x16789abc];
    let mut r = VALUES;
    // SAFETY: (1) the word is read as long as it is borrowed; (2) the registers are named.
    unsafe {
        core::arch::asm!(
            "2: ldr {look}, [{until}]",
            "cmp {look}, #0",
            "beq 2b",
            until = in(reg) until.as_ptr(), look = out(reg) _,
            inout("r0") r[0], inout("r1") r[1], inout("r2") r[2], inout("r3") r[3], inout("r12") r[4],
            options(nostack, readonly),
        );
    }
    r == VALUES
}
