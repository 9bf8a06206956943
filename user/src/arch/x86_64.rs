//! x86_64: `syscall` takes the number in RAX and arguments in RDI, RSI, RDX, R10, R8, R9; it
//! destroys RCX and R11 (the processor puts RIP and RFLAGS there) and gives its result, or a
//! negative error number, in RAX.

use core::arch::{asm, naked_asm};
use core::mem::offset_of;

/// The system calls that our programs use, by Linux's numbers for this machine.
pub mod nr {
    /// read
    pub const READ: usize = 0;
    /// write
    pub const WRITE: usize = 1;
    /// close
    pub const CLOSE: usize = 3;
    /// mmap, or mmap2
    pub const MMAP: usize = 9;
    /// munmap
    pub const MUNMAP: usize = 11;
    /// sched_yield
    pub const SCHED_YIELD: usize = 24;
    /// nanosleep
    pub const NANOSLEEP: usize = 35;
    /// clone
    pub const CLONE: usize = 56;
    /// execve
    pub const EXECVE: usize = 59;
    /// exit
    pub const EXIT: usize = 60;
    /// wait4
    pub const WAIT4: usize = 61;
    /// uname
    pub const UNAME: usize = 63;
    /// getcwd
    pub const GETCWD: usize = 79;
    /// getppid
    pub const GETPPID: usize = 110;
    /// clock_gettime
    pub const CLOCK_GETTIME: usize = 228;
    /// exit_group
    pub const EXIT_GROUP: usize = 231;
    /// openat
    pub const OPENAT: usize = 257;
    /// newfstatat, or fstatat64
    pub const FSTATAT: usize = 262;
    /// nfsservctl, which no kernel has any more
    pub const NFSSERVCTL: usize = 180;
    /// pipe2
    pub const PIPE2: usize = 293;
    /// futex
    pub const FUTEX: usize = 202;
    /// rt_sigaction
    pub const RT_SIGACTION: usize = 13;
    /// sigaltstack
    pub const SIGALTSTACK: usize = 131;
    /// tgkill
    pub const TGKILL: usize = 234;
    /// getpid
    pub const GETPID: usize = 39;
    /// gettid
    pub const GETTID: usize = 186;
    /// mincore
    pub const MINCORE: usize = 27;
}

/// One system call. For programs that pass on purpose what no sound program would.
///
/// # Safety
///
/// The arguments mean to the kernel what the call's number makes of them: where one is an address,
/// the memory behind it must be valid for what that call does with it.
pub unsafe fn syscall(number: usize, arguments: [usize; 6]) -> isize {
    let result;
    // SAFETY:
    // 1. the kernel destroys RCX and R11 only, and both are named as clobbers;
    // 2. memory is touched only as the call's own contract says, which is the caller's duty.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") arguments[0],
            in("rsi") arguments[1],
            in("rdx") arguments[2],
            in("r10") arguments[3],
            in("r8") arguments[4],
            in("r9") arguments[5],
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// getppid, the instruction alone, for measuring: the number is loaded, nothing else is done.
#[inline(always)]
pub fn raw_getppid() {
    // SAFETY: (1) the call takes no argument and touches no memory; (2) RCX and R11 are named as
    // clobbers.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") nr::GETPPID => _,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
}

/// What counts instructions in the emulator's counting mode, read when all before it is done.
#[inline(always)]
pub fn counter() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: (1) both instructions change nothing but the two registers.
    unsafe {
        asm!("lfence", "rdtsc", out("eax") low, out("edx") high, options(nomem, nostack));
    }
    u64::from(high) << 32 | u64::from(low)
}

/// The first instructions of a program: calls `$body` with where SP was.
#[macro_export]
macro_rules! start {
    ($body:path) => {
        core::arch::naked_asm!(
            // The outermost frame: a frame pointer of zero ends every backtrace.
            "xor ebp, ebp",
            // Where argc is: for programs that look at what they were given.
            "mov rdi, rsp",
            "call {body}",
            // Nothing to return to: a return of the body would be a bug, and stops here.
            "ud2",
            body = sym $body,
        )
    };
}

/// clone whose child stores where its stack pointer is to `shared` and ends with status 3. The
/// child has the stack that ends at `stack`, or, for 0, its parent's, which it does not touch.
pub fn clone_that_ends(flags: usize, stack: usize, shared: *mut usize) -> isize {
    let child: isize;
    // SAFETY: (1) the child writes one word and ends: it returns from nothing; (2) it pushes only
    // on a stack of its own.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "mov [{shared}], rsp",
            "mov eax, {exit}",
            "mov edi, 3",
            "syscall",
            "2:",
            shared = in(reg) shared,
            exit = const nr::EXIT,
            inlateout("rax") nr::CLONE as isize => child,
            inlateout("rdi") flags => _,
            in("rsi") stack,
            in("rdx") 0, in("r10") 0, in("r8") 0,
            out("rcx") _, out("r11") _,
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
    // the parent's stack and registers are as before, but for those named.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "call {entry}",
            "ud2",
            "2:",
            entry = in(reg) entry,
            inlateout("rax") nr::CLONE as isize => child,
            in("rdi") flags,
            in("rsi") stack,
            in("rdx") words[0],
            in("r10") words[1],
            in("r8") words[2],
            out("rcx") _, out("r11") _,
        );
    }
    child
}

/// Gives back the memory that the caller's stack lies in, and ends the thread: what a thread
/// library does with a thread that is not waited for.
pub fn unmap_and_exit(lowest: usize, bytes: usize) -> ! {
    // SAFETY: (1) nothing is pushed once the memory is gone, and nothing comes back.
    unsafe {
        asm!(
            "syscall",
            "mov eax, {exit}",
            "xor edi, edi",
            "syscall",
            "ud2",
            exit = const nr::EXIT,
            in("rax") nr::MUNMAP,
            in("rdi") lowest,
            in("rsi") bytes,
            options(noreturn),
        )
    }
}

/// Puts a number into a floating-point register that nothing else here uses.
pub fn set_float(number: u64) {
    // SAFETY: (1) programs for this target use no floating point of their own.
    unsafe { asm!("movq xmm15, {}", in(reg) number, options(nomem, nostack)) };
}

/// What is in that register.
pub fn float() -> u64 {
    let number;
    // SAFETY: (1) nothing but the result changes.
    unsafe { asm!("movq {}, xmm15", out(reg) number, options(nomem, nostack)) };
    number
}

/// What goes through memory.
#[repr(C, align(16))]
struct Scratch {
    control: u32,
    integer: u64,
}

/// Loads `seed` + 0 to 15 into both halves of xmm0 to xmm15, the seed into the x87 stack, and two
/// bits of it into the rounding mode; spins, yields, and returns how many of them are something
/// else then.
#[unsafe(naked)]
pub extern "C" fn keep_floats(seed: u64, spins: u64) -> u64 {
    naked_asm!(
        "push rbx",
        "sub rsp, {size}",
        // The rounding mode of SSE, and of x87, from two bits of the seed.
        "mov rax, rdi",
        "shr rax, 8",
        "and eax, 3",
        "shl eax, 13",
        "or eax, 0x1f80",
        "mov [rsp], eax",
        "ldmxcsr [rsp + {control}]",
        "fninit",
        "mov [rsp + {integer}], rdi",
        "fild qword ptr [rsp + {integer}]",
        "mov rax, rdi",
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
        "movq xmm\\n, rax",
        "punpcklqdq xmm\\n, xmm\\n",
        "inc rax",
        ".endr",
        "2:",
        "dec rsi",
        "jnz 2b",
        "mov eax, {sched_yield}",
        "mov rbx, rdi",
        "syscall",
        "mov rdi, rbx",
        "xor edx, edx",
        "mov rax, rdi",
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
        "xor ecx, ecx",
        "movq rbx, xmm\\n",
        "cmp rbx, rax",
        "setne cl",
        "add edx, ecx",
        "xor ecx, ecx",
        "movhlps xmm\\n, xmm\\n",
        "movq rbx, xmm\\n",
        "cmp rbx, rax",
        "setne cl",
        "add edx, ecx",
        "inc rax",
        ".endr",
        "xor ecx, ecx",
        "fistp qword ptr [rsp + {integer}]",
        "cmp rdi, [rsp + {integer}]",
        "setne cl",
        "add edx, ecx",
        "mov ebx, [rsp + {control}]",
        "stmxcsr [rsp + {control}]",
        "xor ebx, [rsp + {control}]",
        "and ebx, 0x6000",
        "xor ecx, ecx",
        "test ebx, ebx",
        "setne cl",
        "add edx, ecx",
        "mov eax, edx",
        "add rsp, {size}",
        "pop rbx",
        "ret",
        sched_yield = const nr::SCHED_YIELD,
        size = const size_of::<Scratch>(),
        control = const offset_of!(Scratch, control),
        integer = const offset_of!(Scratch, integer),
    )
}

/// fork with `seed` and a small number in every register that the call keeps. Stores what the call
/// gave to `child`; says, in parent and child, how many of them are something else then.
#[unsafe(naked)]
pub extern "C" fn fork_keeping(seed: usize, child: *mut isize) -> usize {
    naked_asm!(
        "push rbx",
        "push rbp",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "push rdi",
        "push rsi",
        "lea rbx, [rdi + 1]",
        "lea rbp, [rdi + 2]",
        "lea r12, [rdi + 3]",
        "lea r13, [rdi + 4]",
        "lea r14, [rdi + 5]",
        "lea r15, [rdi + 6]",
        "lea r9, [rdi + 7]",
        "mov edi, {flags}",
        "xor esi, esi",
        "xor edx, edx",
        "xor r10d, r10d",
        "xor r8d, r8d",
        "mov eax, {clone}",
        "syscall",
        "pop rsi",
        "pop rdi",
        "mov [rsi], rax",
        "xor eax, eax",
        "mov ecx, 1",
        ".irp register, rbx, rbp, r12, r13, r14, r15, r9",
        "lea rdx, [rdi + rcx]",
        "cmp rdx, \\register",
        "setne dl",
        "movzx edx, dl",
        "add eax, edx",
        "inc ecx",
        ".endr",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbp",
        "pop rbx",
        "ret",
        flags = const super::FORK_FLAGS,
        clone = const nr::CLONE,
    )
}

/// What AT_PLATFORM leads to.
pub const PLATFORM: &core::ffi::CStr = c"x86_64";

/// Bits that AT_HWCAP must have, by the CPU itself.
pub fn hardware() -> usize {
    core::arch::x86_64::__cpuid(1).edx as usize
}

/// Whether AT_SYSINFO is as it should be: not there.
pub fn sysinfo_is_right(entry: Option<usize>) -> bool {
    entry.is_none()
}

/// How many of xmm0 to xmm15 and the control words of x87 and SSE are not what a program starts
/// with: 0.
#[unsafe(naked)]
pub extern "C" fn used_registers() -> usize {
    naked_asm!(
        "sub rsp, {size}",
        "xor eax, eax",
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
        "xor ecx, ecx",
        "movq rdx, xmm\\n",
        "test rdx, rdx",
        "setne cl",
        "add eax, ecx",
        ".endr",
        "stmxcsr [rsp + {control}]",
        "xor ecx, ecx",
        "cmp dword ptr [rsp + {control}], 0x1f80",
        "setne cl",
        "add eax, ecx",
        "fnstcw [rsp + {control}]",
        "xor ecx, ecx",
        "cmp word ptr [rsp + {control}], 0x37f",
        "setne cl",
        "add eax, ecx",
        "add rsp, {size}",
        "ret",
        size = const size_of::<Scratch>(),
        control = const offset_of!(Scratch, control),
    )
}

const ARCH_PRCTL: usize = 158;
const SET_FS: usize = 0x1002;
const EPERM: isize = -1;
/// Of clone: the new thread gets a base of its own for its thread-local storage.
const SETTLS: usize = 0x8_0000;

/// Calls of this machine alone that must be refused, and how: name, number, arguments, result.
pub const REFUSED: &[(&str, usize, [usize; 6], isize)] = &[
    (
        "arch_prctl with a kernel address",
        ARCH_PRCTL,
        [SET_FS, 0xffff_8000_0000_0000, 0, 0, 0, 0],
        EPERM,
    ),
    (
        "arch_prctl with a non-canonical address",
        ARCH_PRCTL,
        [SET_FS, 0x8000_0000_0000, 0, 0, 0, 0],
        EPERM,
    ),
    (
        "clone with a non-canonical address",
        nr::CLONE,
        [super::THREAD_FLAGS | SETTLS, 0x1_0000, 0, 0, 0x8000_0000_0000, 0],
        EPERM,
    ),
    (
        "clone with a kernel address",
        nr::CLONE,
        [super::THREAD_FLAGS | SETTLS, 0x1_0000, 0, 0, 0xffff_8000_0000_0000, 0],
        EPERM,
    ),
];

/// Addresses no program can have: the last page below the kernel, the kernel's first byte, the
/// stack arena.
pub const BAD_ADDRESSES: [usize; 3] =
    [0x7fff_ffff_f000, 0xffff_8000_0000_0000, 0xffff_c900_0000_4000];

/// Makes a word what the thread pointer leads to, as a program's start-up code does for its
/// thread-local storage.
pub fn point_to(word: &'static core::sync::atomic::AtomicUsize) {
    let arguments = [SET_FS, word.as_ptr().addr(), 0, 0, 0, 0];
    // SAFETY: (1) the word stays; nothing else here uses the thread pointer.
    unsafe { syscall(ARCH_PRCTL, arguments) };
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
        asm!("mov {}, fs:[{at}]", out(reg) word, at = const 0, options(nostack, preserves_flags));
    }
    word
}

/// Where things lie in the `ucontext` that a signal handler gets.
pub const CONTEXT: super::Context = super::Context {
    stack: 16,
    sp: 40 + 15 * 8,
    pc: 40 + 16 * 8,
    flags: 40 + 17 * 8,
    resume: 1 << 16,
    mask: 296,
};

/// The remainder of SP by 16 when a signal handler begins, and the alignment it is a remainder of.
pub const HANDLER_SP: (usize, usize) = (8, 16);

/// The least size of an alternate stack, MINSIGSTKSZ.
pub const MIN_STACK: usize = 2048;

/// Whether `struct sigaction` has a place for what a handler returns to.
pub const HAS_RESTORER: bool = true;

/// What a handler returns to, for a machine whose kernel wants to be told; 0: the kernel has its
/// own.
pub fn restorer() -> usize {
    #[unsafe(naked)]
    extern "C" fn code() {
        naked_asm!("mov eax, {}", "syscall", "ud2", const RT_SIGRETURN)
    }
    (code as *const ()).expose_provenance()
}

/// The same for a handler without SA_SIGINFO.
pub fn plain_restorer() -> usize {
    restorer()
}

pub(super) const RT_SIGRETURN: usize = 15;

/// A signal handler that leaves SP as it found it in the first word of [`super::HANDLER_ENTRY`],
/// and continues at the address in the second.
#[unsafe(naked)]
pub extern "C" fn handler_entry() {
    naked_asm!(
        "mov [rip + {words}], rsp",
        "jmp [rip + {words} + {word}]",
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
        "push rbx",
        "push rbp",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "push rdi",
        "mov [rdi], rsp",
        "mov rdi, rdx",
        "call rsi",
        "pop rdi; pop r15; pop r14; pop r13",
        "pop r12",
        "pop rbp",
        "pop rbx",
        "ret",
    )
}

/// Leaves the call that stored its stack pointer to `place`, whatever stack the caller is on.
#[unsafe(naked)]
pub extern "C" fn leave(place: *const usize, result: usize) -> ! {
    naked_asm!(
        "mov rsp, [rdi]",
        "mov rax, rsi",
        "pop rdi; pop r15; pop r14; pop r13",
        "pop r12",
        "pop rbp",
        "pop rbx",
        "ret",
    )
}

/// Goes back from a signal's frame that lies at `sp`.
#[unsafe(naked)]
pub extern "C" fn sigreturn_from(sp: usize) -> ! {
    naked_asm!("mov rsp, rdi", "mov eax, {}", "syscall", "ud2", const RT_SIGRETURN)
}

/// Keeps numbers below SP, where the ABI has a red zone, while it spins; how many of them are
/// something else then. 0 where it has none.
#[unsafe(naked)]
pub extern "C" fn keep_below(seed: usize, spins: usize) -> usize {
    naked_asm!(
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
        "mov [rsp - {word} - \\n * {word}], rdi",
        "inc rdi",
        ".endr",
        "2:",
        "dec rsi",
        "jnz 2b",
        "xor eax, eax",
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
        "mov rdx, rdi",
        "sub rdx, {words} - \\n",
        "xor ecx, ecx",
        "cmp [rsp - {word} - \\n * {word}], rdx",
        "setne cl",
        "add eax, ecx",
        ".endr",
        "ret",
        word = const size_of::<usize>(),
        words = const 16,
    )
}

pub use super::cet::*;
pub use super::pc::*;
