//! i386: `int 0x80` takes the number in EAX and arguments in EBX, ECX, EDX, ESI, EDI, EBP; it gives
//! its result, or a negative error number, in EAX.

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
    pub const CLOCK_GETTIME: usize = 265;
    /// exit_group
    pub const EXIT_GROUP: usize = 252;
    /// openat
    pub const OPENAT: usize = 295;
    /// newfstatat, or fstatat64
    pub const FSTATAT: usize = 300;
    /// nfsservctl, which no kernel has any more
    pub const NFSSERVCTL: usize = 169;
    /// pipe2
    pub const PIPE2: usize = 331;
    /// futex
    pub const FUTEX: usize = 240;
    /// rt_sigaction
    pub const RT_SIGACTION: usize = 174;
    /// sigaltstack
    pub const SIGALTSTACK: usize = 186;
    /// tgkill
    pub const TGKILL: usize = 270;
    /// getpid
    pub const GETPID: usize = 20;
    /// gettid
    pub const GETTID: usize = 224;
    /// mincore
    pub const MINCORE: usize = 218;
}

/// One system call. For programs that pass on purpose what no sound program would.
///
/// # Safety
///
/// The arguments mean to the kernel what the call's number makes of them: where one is an address,
/// the memory behind it must be valid for what that call does with it.
pub unsafe fn syscall(number: usize, arguments: [usize; 6]) -> isize {
    let result;
    // SAFETY: (1) the kernel destroys EAX only; EBX, ESI and EBP may be reserved, so they are
    // loaded and put back by hand; (2) memory is touched only as the call's own contract says, the
    // caller's duty.
    unsafe {
        asm!(
            "push ebx",
            "push esi",
            "push ebp",
            "mov ebp, [edi + {sixth}]",
            "mov esi, [edi + {fourth}]",
            "mov ebx, [edi]",
            "mov edi, [edi + {fifth}]",
            "int 0x80",
            "pop ebp",
            "pop esi",
            "pop ebx",
            fourth = const 3 * size_of::<usize>(),
            fifth = const 4 * size_of::<usize>(),
            sixth = const 5 * size_of::<usize>(),
            inlateout("eax") number as isize => result,
            in("ecx") arguments[1],
            in("edx") arguments[2],
            inlateout("edi") arguments.as_ptr() => _,
        );
    }
    result
}

/// getppid, the instruction alone, for measuring: the number is loaded, nothing else is done.
#[inline(always)]
pub fn raw_getppid() {
    // SAFETY: (1) the call takes no argument and touches no memory.
    unsafe { asm!("int 0x80", inlateout("eax") nr::GETPPID => _, options(nostack)) };
}

/// What counts instructions in the emulator's counting mode, read when all before it is done.
#[inline(always)]
pub fn counter() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: (1) the instructions change nothing but the registers: `cpuid` waits for all before
    // it.
    unsafe {
        asm!("push ebx", "xor eax, eax", "cpuid", "pop ebx", "rdtsc", out("eax") low, out("edx") high, out("ecx") _);
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
            "mov eax, esp",
            "and esp, -16",
            "sub esp, 12",
            "push eax",
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
    // SAFETY: (1) the child writes one word and ends: it returns from nothing; (2) it pushes
    // nothing; EBX and ESI are put back in the parent.
    unsafe {
        asm!(
            "push ebx",
            "push esi",
            "mov ebx, eax",
            "mov eax, {clone}",
            "xor esi, esi",
            "int 0x80",
            "test eax, eax",
            "jnz 2f",
            "mov [edi], esp",
            "mov eax, {exit}",
            "mov ebx, 3",
            "int 0x80",
            "2:",
            "pop esi",
            "pop ebx",
            exit = const nr::EXIT,
            clone = const nr::CLONE,
            inlateout("eax") flags as isize => child,
            in("ecx") stack,
            in("edx") 0,
            in("edi") shared,
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
    let place = (stack - 4 * size_of::<usize>()) as *mut usize;
    // SAFETY: (1) the child's stack is the caller's to give; nothing else uses it; (2) the child
    // leaves for `entry`, whose address it finds there, and never comes back; (3) EBX and ESI are
    // put back in the parent.
    unsafe {
        place.write(entry as usize);
        place.add(1).write(words[2]);
        asm!(
            "push ebx",
            "push esi",
            "mov ebx, eax",
            "mov eax, {clone}",
            "mov esi, [ecx + {word}]",
            "int 0x80",
            "test eax, eax",
            "jnz 2f",
            "xor ebp, ebp",
            "pop eax",
            "and esp, -16",
            "call eax",
            "ud2",
            "2:",
            "pop esi",
            "pop ebx",
            word = const size_of::<usize>(),
            clone = const nr::CLONE,
            inlateout("eax") flags as isize => child,
            in("ecx") place,
            in("edx") words[0],
            in("edi") words[1],
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
            "mov ebx, edx",
            "int 0x80",
            "mov eax, {exit}",
            "xor ebx, ebx",
            "int 0x80",
            "ud2",
            exit = const nr::EXIT,
            in("eax") nr::MUNMAP,
            in("edx") lowest,
            in("ecx") bytes,
            options(noreturn),
        )
    }
}

/// Puts the lower half of a number into a floating-point register that nothing else here uses.
pub fn set_float(number: u64) {
    // SAFETY: (1) programs for this target use no floating point of their own.
    unsafe { asm!("movd xmm7, {}", in(reg) number as u32, options(nomem, nostack)) };
}

/// What is in that register.
pub fn float() -> u64 {
    let number: u32;
    // SAFETY: (1) nothing but the result changes.
    unsafe { asm!("movd {}, xmm7", out(reg) number, options(nomem, nostack)) };
    number.into()
}

/// Loads `seed` + 0 to 7 into xmm0 to xmm7, the seed into the x87 stack, and two bits of it into
/// the rounding mode; spins, yields, and returns how many of them are something else then.
#[unsafe(naked)]
pub extern "C" fn keep_floats(seed: u64, spins: u64) -> u64 {
    naked_asm!(
        "push ebx",
        "push esi",
        "push edi",
        "mov esi, [esp + {seed}]",
        "mov ecx, [esp + {spins}]",
        // A word of scratch: the seed's place.
        "mov eax, esi",
        "shr eax, 8",
        "and eax, 3",
        "shl eax, 13",
        "or eax, 0x1f80",
        "mov [esp + {seed}], eax",
        "ldmxcsr [esp + {seed}]",
        "fninit",
        "mov [esp + {seed}], esi",
        "fild dword ptr [esp + {seed}]",
        "mov eax, esi",
        ".irp n, 0,1,2,3,4,5,6,7",
        "movd xmm\\n, eax",
        "pshufd xmm\\n, xmm\\n, 0",
        "inc eax",
        ".endr",
        "2:",
        "dec ecx",
        "jnz 2b",
        "mov eax, {sched_yield}",
        "int 0x80",
        "xor edi, edi",
        "mov eax, esi",
        ".irp n, 0,1,2,3,4,5,6,7",
        "xor ecx, ecx",
        "movd ebx, xmm\\n",
        "cmp ebx, eax",
        "setne cl",
        "add edi, ecx",
        "xor ecx, ecx",
        "movhlps xmm\\n, xmm\\n",
        "movd ebx, xmm\\n",
        "cmp ebx, eax",
        "setne cl",
        "add edi, ecx",
        "inc eax",
        ".endr",
        "xor ecx, ecx",
        "fistp dword ptr [esp + {seed}]",
        "cmp esi, [esp + {seed}]",
        "setne cl",
        "add edi, ecx",
        "shr esi, 8",
        "and esi, 3",
        "shl esi, 13",
        "stmxcsr [esp + {seed}]",
        "mov eax, [esp + {seed}]",
        "and eax, 0x6000",
        "xor ecx, ecx",
        "cmp eax, esi",
        "setne cl",
        "add edi, ecx",
        "mov eax, edi",
        "xor edx, edx",
        "pop edi",
        "pop esi",
        "pop ebx",
        "ret",
        // Three saved registers and the return address are below the arguments.
        seed = const 4 * size_of::<usize>(),
        spins = const 6 * size_of::<usize>(),
        sched_yield = const nr::SCHED_YIELD,
    )
}

/// fork with `seed` and a small number in every register that the call keeps. Stores what the call
/// gave to `child`; says, in parent and child, how many of them are something else then.
#[unsafe(naked)]
pub extern "C" fn fork_keeping(seed: usize, child: *mut isize) -> usize {
    naked_asm!(
        "push ebx",
        "push esi",
        "push edi",
        "push ebp",
        "mov eax, [esp + 5 * {word}]",
        "lea esi, [eax + 1]",
        "lea edi, [eax + 2]",
        "lea ebp, [eax + 3]",
        "mov ebx, {flags}",
        "xor ecx, ecx",
        "xor edx, edx",
        "mov eax, {clone}",
        "int 0x80",
        "mov ecx, [esp + 6 * {word}]",
        "mov [ecx], eax",
        "mov edx, [esp + 5 * {word}]",
        "xor eax, eax",
        ".irp register, esi, edi, ebp",
        "inc edx",
        "cmp edx, \\register",
        "setne cl",
        "movzx ecx, cl",
        "add eax, ecx",
        ".endr",
        "cmp ebx, {flags}",
        "setne cl",
        "movzx ecx, cl",
        "add eax, ecx",
        "pop ebp",
        "pop edi",
        "pop esi",
        "pop ebx",
        "ret",
        word = const size_of::<usize>(),
        flags = const super::FORK_FLAGS,
        clone = const nr::CLONE,
    )
}

/// What AT_PLATFORM leads to.
pub const PLATFORM: &core::ffi::CStr = c"i686";

/// Bits that AT_HWCAP must have, by the CPU itself.
pub fn hardware() -> usize {
    core::arch::x86::__cpuid(1).edx as usize
}

/// Whether AT_SYSINFO is as it should be: it leads to code that does system calls, and keeps all
/// registers but the result's.
pub fn sysinfo_is_right(entry: Option<usize>) -> bool {
    /// getppid through the code at the address given; -1 if one of three registers changed.
    #[unsafe(naked)]
    extern "C" fn getppid_there(code: usize) -> usize {
        naked_asm!(
            "push ebp",
            "push esi",
            "mov ecx, [esp + {argument}]",
            "mov edx, {kept}",
            "mov esi, ecx",
            "mov ebp, {kept} + 1",
            "mov eax, {getppid}",
            "call ecx",
            "xor ecx, esi",
            "xor edx, {kept}",
            "xor ebp, {kept} + 1",
            "or ecx, edx",
            "or ecx, ebp",
            "jz 2f",
            "mov eax, -1",
            "2:",
            "pop esi",
            "pop ebp",
            "ret",
            // Two saved registers and the return address are below it.
            argument = const 3 * size_of::<usize>(),
            kept = const 0x5a5a_0000_u32,
            getppid = const nr::GETPPID,
        )
    }
    let gate = crate::getppid();
    entry.is_some_and(|code| getppid_there(code) as isize == gate)
}

/// How many of xmm0 to xmm7 and the control words of x87 and SSE are not what a program starts
/// with: 0.
#[unsafe(naked)]
pub extern "C" fn used_registers() -> usize {
    naked_asm!(
        "push ebx",
        "push edi",
        "sub esp, 2 * {word}",
        "xor edi, edi",
        ".irp n, 0,1,2,3,4,5,6,7",
        "xor ecx, ecx",
        "movd ebx, xmm\\n",
        "test ebx, ebx",
        "setne cl",
        "add edi, ecx",
        ".endr",
        "stmxcsr [esp]",
        "xor ecx, ecx",
        "cmp dword ptr [esp], 0x1f80",
        "setne cl",
        "add edi, ecx",
        "fnstcw [esp]",
        "xor ecx, ecx",
        "cmp word ptr [esp], 0x37f",
        "setne cl",
        "add edi, ecx",
        "mov eax, edi",
        "add esp, 2 * {word}",
        "pop edi",
        "pop ebx",
        "ret",
        word = const size_of::<usize>(),
    )
}

/// Calls of this machine alone that must be refused, and how: none.
pub const REFUSED: &[(&str, usize, [usize; 6], isize)] = &[];

/// Addresses no program can have: the kernel's first byte, inside the kernel, near the end.
pub const BAD_ADDRESSES: [usize; 3] = [0xc000_0000, 0xd000_4000, 0xffff_e000];

/// Makes a word what the thread pointer leads to, as a program's start-up code does for its
/// thread-local storage.
pub fn point_to(word: &'static core::sync::atomic::AtomicUsize) {
    const SET_THREAD_AREA: usize = 243;
    // A new entry; base; the largest limit; 32 bits, limit in pages, usable.
    let mut entry = [u32::MAX, word.as_ptr().addr() as u32, 0xf_ffff, 0x51];
    // SAFETY: (1) the word stays; nothing else here uses the thread pointer; (2) the kernel writes
    // the entry's number to the structure.
    unsafe {
        syscall(SET_THREAD_AREA, [entry.as_mut_ptr().addr(), 0, 0, 0, 0, 0]);
        let selector = entry.as_ptr().read_volatile() << 3 | 3;
        asm!("mov gs, {0:x}", in(reg) selector, options(nostack, preserves_flags));
    }
}

/// What clone takes to make a word what the thread pointer of the new thread leads to. `area`: for
/// machines that want it described.
pub fn pointer_argument(
    word: &'static core::sync::atomic::AtomicUsize,
    area: &mut [u32; 4],
) -> usize {
    let selector: u32;
    // SAFETY: (1) nothing but the result changes.
    unsafe { asm!("mov {0:e}, gs", out(reg) selector, options(nomem, nostack, preserves_flags)) };
    // The new thread has the selector of the one that makes it: the entry that it names.
    *area = [selector >> 3, word.as_ptr().addr() as u32, 0xf_ffff, 0x51];
    area.as_mut_ptr().addr()
}

/// The word that the thread pointer leads to.
pub fn pointed_at() -> usize {
    let word;
    // SAFETY: (1) the thread pointer leads to a word since [`point_to`]; nothing but the result
    // changes.
    unsafe {
        asm!("mov {}, gs:[{at}]", out(reg) word, at = const 0, options(nostack, preserves_flags));
    }
    word
}

/// Where things lie in the `ucontext` that a signal handler gets.
pub const CONTEXT: super::Context = super::Context {
    stack: 8,
    sp: 20 + 7 * 4,
    pc: 20 + 14 * 4,
    flags: 20 + 16 * 4,
    resume: 1 << 16,
    mask: 108,
};

/// The remainder of SP by 16 when a signal handler begins, and the alignment it is a remainder of.
pub const HANDLER_SP: (usize, usize) = (12, 16);

/// The least size of an alternate stack, MINSIGSTKSZ.
pub const MIN_STACK: usize = 2048;

/// Whether `struct sigaction` has a place for what a handler returns to.
pub const HAS_RESTORER: bool = true;

/// What a handler returns to, for a machine whose kernel wants to be told; 0: the kernel has its
/// own.
pub fn restorer() -> usize {
    #[unsafe(naked)]
    extern "C" fn code() {
        naked_asm!("mov eax, {}", "int 0x80", "ud2", const RT_SIGRETURN)
    }
    (code as *const ()).expose_provenance()
}

/// The same for a handler without SA_SIGINFO. Not told: the kernel has its own.
pub fn plain_restorer() -> usize {
    0
}

const RT_SIGRETURN: usize = 173;

/// A signal handler that leaves SP as it found it in the first word of [`super::HANDLER_ENTRY`],
/// and continues at the address in the second.
#[unsafe(naked)]
pub extern "C" fn handler_entry() {
    naked_asm!(
        "mov [{words}], esp",
        "jmp [{words} + {word}]",
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
        "push ebx", "push ebp", "push esi", "push edi",
        "sub esp, 2 * {word}",
        "mov eax, [esp + 7 * {word}]",
        "mov [eax], esp",
        "push dword ptr [esp + 9 * {word}]",
        "call [esp + 9 * {word}]",
        "add esp, 3 * {word}",
        "pop edi", "pop esi", "pop ebp", "pop ebx", "ret",
        word = const size_of::<usize>(),
    )
}

/// Leaves the call that stored its stack pointer to `place`, whatever stack the caller is on.
#[unsafe(naked)]
pub extern "C" fn leave(place: *const usize, result: usize) -> ! {
    naked_asm!(
        "mov ecx, [esp + {word}]",
        "mov eax, [esp + 2 * {word}]",
        "mov esp, [ecx]",
        "add esp, 2 * {word}",
        "pop edi", "pop esi", "pop ebp", "pop ebx", "ret",
        word = const size_of::<usize>(),
    )
}

/// Goes back from a signal's frame that lies at `sp`.
#[unsafe(naked)]
pub extern "C" fn sigreturn_from(sp: usize) -> ! {
    naked_asm!(
        "mov esp, [esp + {word}]",
        "mov eax, {call}",
        "int 0x80",
        "ud2",
        word = const size_of::<usize>(),
        call = const RT_SIGRETURN,
    )
}

/// Keeps numbers below SP, where the ABI has a red zone, while it spins; how many of them are
/// something else then. 0 where it has none.
pub extern "C" fn keep_below(_seed: usize, _spins: usize) -> usize {
    0
}

pub use super::no_shadow_stacks::*;
pub use super::pc::*;
