//! x86_64: segments that a program describes itself, and the ways into 32-bit and 16-bit code:
//! every entry of the kernel from there, and ways back to segments that are not there any more.

use super::{Attack, End, SIGBUS, SIGILL, SIGSEGV, SIGTRAP, has_ended_by};
use crate::arch::{clone_and_call, nr};
use crate::calls::call;
use crate::memory::{ANONYMOUS, PAGE, PRIVATE};
use crate::signals::{Numbers, SIGUSR1};
use core::arch::naked_asm;
use core::sync::atomic::{AtomicUsize, Ordering};

const MODIFY_LDT: usize = 154;
const SCHED_YIELD: usize = 24;
const GETPPID: usize = 110;
/// The 32-bit code segment that is always there.
const CODE_32: usize = 0x23;
const OWN_CODE: usize = 0x33;
const OWN_DATA: usize = 0x2b;

/// `struct user_desc`: bits of its last word.
const IS_32_BIT: u32 = 1;
const CODE: u32 = 2 << 1;
const GROWS_DOWN: u32 = 1 << 1;
const RESTRICTED: u32 = 1 << 3;
const IN_PAGES: u32 = 1 << 4;
const NOT_PRESENT: u32 = 1 << 5;

/// Describes a segment; what modify_ldt says, an `int`.
fn describe(number: u32, base: usize, limit: u32, flags: u32) -> i32 {
    let words = [number, base as u32, limit, flags];
    call(MODIFY_LDT, [0x11, words.as_ptr().addr(), 16]) as i32
}

const fn selector(number: usize) -> usize {
    number << 3 | 7
}

/// A page that 32-bit code can reach: code, the return path, the stack pointer to go back to, a
/// stack.
fn low_page() -> usize {
    const LOW: usize = 0x40;
    const ALL: usize = 7;
    let page = call(nr::MMAP, [0, PAGE, ALL, PRIVATE | ANONYMOUS | LOW, usize::MAX, 0]) as usize;
    // mov rsp, [rip + 0xf9]; ret
    const BACK: [u8; 8] = [0x48, 0x8b, 0x25, 0xf9, 0, 0, 0, 0xc3];
    put(page + WAY_BACK, &BACK);
    page
}

const WAY_BACK: usize = 0x800;
const KEPT_SP: usize = 0x900;

fn put(at: usize, bytes: &[u8]) {
    for (offset, &byte) in bytes.iter().enumerate() {
        // SAFETY: (1) the page is this program's own, and nothing runs in it now.
        unsafe { core::ptr::with_exposed_provenance_mut::<u8>(at + offset).write_volatile(byte) };
    }
}

/// Goes to a place in a segment, with SP near the end of the page; back with eax.
#[unsafe(naked)]
extern "C" fn go(selector: usize, offset: usize, page: usize) -> u32 {
    naked_asm!(
        "push rbx", "push rbp", "push r12", "push r13", "push r14", "push r15",
        "lea rax, [rip + 9f]",
        "push rax",
        "mov [rdx + {KEPT_SP}], rsp",
        "lea rsp, [rdx + 0xf00]",
        "push rdi",
        "push rsi",
        "xor eax, eax",
        "retfq",
        "9:",
        "pop r15", "pop r14", "pop r13", "pop r12", "pop rbp", "pop rbx",
        "ret",
        KEPT_SP = const KEPT_SP,
    )
}

/// Instructions of 32 bits; in 16-bit code most are others, which is as good.
const STEPS: [&[u8]; 15] = [
    &[0x90],                                                       // nop
    &[0xb9, 0, 0, 0x20, 0, 0x49, 0x75, 0xfd], // mov ecx, 0x200000; dec ecx; jnz
    &[0x0f, 0x05],                            // syscall
    &[0xb8, 0x6e, 0, 0, 0, 0x0f, 0x05],       // mov eax, 110; syscall
    &[0x0f, 0x34],                            // sysenter
    &[0xcd, 0x80],                            // int 0x80
    &[0xcd, 0x0e],                            // int 14
    &[0xcc],                                  // int3
    &[0xf4],                                  // hlt
    &[0x0f, 0x0b],                            // ud2
    &[0xa1, 0, 0, 0, 0],                      // mov eax, [0]
    &[0x9c, 0x81, 0x0c, 0x24, 0, 1, 0, 0, 0x9d, 0x90], // pushf; or [esp], the trap flag; popf; nop
    &[0x31, 0xc0, 0x8e, 0xd0],                // xor eax, eax; mov ss, eax
    &[0xcf],                                  // iret
    &[0xbc, 0, 0, 0, 0x80, 0xb9, 0, 0, 0x10, 0, 0x49, 0x75, 0xfd], // mov esp, 0x80000000; a loop
];

/// Puts instructions into a page, and behind them a far jump back to 64-bit code.
fn put_code(page: usize, step: &[u8]) {
    put(page, step);
    let back = (page + WAY_BACK) as u32;
    put(page + step.len(), &[0xea]);
    put(page + step.len() + 1, &back.to_le_bytes());
    put(page + step.len() + 5, &(OWN_CODE as u16).to_le_bytes());
}

/// Segments of code: the one that is always there, flat ones of our own with 32 and 16 bits, one
/// that begins at the page, one that ends in it.
const KINDS: usize = 5;

fn code_segment(kind: usize, page: usize) -> (usize, usize) {
    const FLAT: u32 = 0xf_ffff;
    match kind {
        0 => return (CODE_32, page),
        1 => describe(0, 0, FLAT, CODE | IS_32_BIT | IN_PAGES),
        2 => describe(0, 0, FLAT, CODE | IN_PAGES),
        3 => describe(0, page, FLAT, CODE | IS_32_BIT | IN_PAGES),
        _ => describe(0, 0, page as u32 + 1, CODE | IS_32_BIT),
    };
    (selector(0), if kind == 3 { 0 } else { page })
}

/// Every entry of the kernel from 32-bit and 16-bit code.
pub(super) const ENTRIES: Attack = Attack {
    name: "an entry from 32-bit code",
    arguments: 0..STEPS.len() * KINDS,
    run: |number| {
        let page = low_page();
        put_code(page, STEPS[number % STEPS.len()]);
        let (segment, offset) = code_segment(number / STEPS.len(), page);
        let result = go(segment, offset, page) as i32;
        let no_call = -38;
        i32::from(result != 0 && result != no_call)
    },
    may_end: |number, end| match number {
        // Flat 32-bit code that does nothing, or is interrupted.
        0 | 1 | 15 | 16 => end == End::Exit(0),
        _ => end == End::Exit(0) || has_ended_by(end, &[SIGSEGV, SIGILL, SIGTRAP, SIGBUS]),
    },
};

/// Descriptions that must be refused, taken, or cannot be used: base, limit, flags, whether taken.
const DESCRIPTIONS: [(u32, u32, u32, bool); 10] = [
    (0, 0xf_ffff, IS_32_BIT | IN_PAGES, true),
    (0, 0xf_ffff, IS_32_BIT | IN_PAGES | GROWS_DOWN, true),
    (0, 0xf_ffff, IS_32_BIT | IN_PAGES | RESTRICTED, true),
    (0, 0xf_ffff, IS_32_BIT | IN_PAGES | CODE, true),
    (0, 0xf_ffff, IS_32_BIT | IN_PAGES | CODE | RESTRICTED, true),
    (0, 0, IS_32_BIT | NOT_PRESENT, true),
    // Code that keeps its caller's privilege: only if it is not there.
    (0, 0xf_ffff, IS_32_BIT | IN_PAGES | 3 << 1, false),
    (0, 0xf_ffff, IS_32_BIT | NOT_PRESENT | 3 << 1, true),
    // A stack of 16 bits.
    (0, 0xffff, 0, false),
    (0, 0xffff, RESTRICTED, true),
];

/// Every kind of segment in every segment register, then taken away while it is loaded: the program
/// is interrupted, and continues with none.
pub(super) const LOADED: Attack = Attack {
    name: "a segment that goes while it is loaded",
    arguments: 0..DESCRIPTIONS.len() * 5,
    run: |number| {
        let (base, limit, flags, is_taken) = DESCRIPTIONS[number % DESCRIPTIONS.len()];
        if (describe(3, base as usize, limit, flags) == 0) != is_taken {
            return 1;
        }
        if !is_taken {
            return 0;
        }
        let after = load_and_lose(selector(3), number / DESCRIPTIONS.len());
        // DS and ES lose it at once, FS and GS with the next switch, SS only if it is used.
        i32::from(after != 0 && number / DESCRIPTIONS.len() < 2)
    },
    may_end: |_, end| end == End::Exit(0) || has_ended_by(end, &[SIGSEGV, SIGBUS]),
};

/// Loads a selector into DS, ES, FS, GS or SS, takes its segment away, lets others run, and says
/// what is in DS or ES then.
extern "C" fn load_and_lose(selector: usize, register: usize) -> usize {
    let words = [3_u32, 0, 0, RESTRICTED | NOT_PRESENT];
    let kept: usize;
    // SAFETY: (1) whatever comes, this process is all that it can end; (2) what the calls destroy
    // is named, and 64-bit code needs none of these segments.
    unsafe {
        core::arch::asm!(
            "mov r12d, esi",
            ".irp register, ds, es, fs, gs, ss",
            "sub r12d, 1",
            "jnb 9f",
            "mov \\register, r14d",
            "jmp 2f",
            "9:",
            ".endr",
            "2:",
            "mov eax, {modify}",
            "mov edi, 0x11",
            "mov rsi, r13",
            "mov edx, 16",
            "syscall",
            "mov eax, {yield_}",
            "syscall",
            "mov ecx, 1000000",
            "3:",
            "dec ecx",
            "jnz 3b",
            "mov eax, {yield_}",
            "syscall",
            "mov eax, ds",
            "mov ecx, es",
            "or eax, ecx",
            modify = const MODIFY_LDT,
            yield_ = const SCHED_YIELD,
            in("r13") words.as_ptr(),
            in("r14") selector,
            inout("rsi") register => _,
            out("rax") kept, out("rcx") _, out("rdx") _, out("rdi") _, out("r11") _, out("r12") _,
        );
    }
    kept
}

static PAGE_OF_THREADS: AtomicUsize = AtomicUsize::new(0);

/// Takes the segment away that the other thread runs in.
extern "C" fn take_it_away() -> ! {
    let page = PAGE_OF_THREADS.load(Ordering::Relaxed);
    let flag = core::ptr::with_exposed_provenance::<AtomicUsize>(page + 0x700);
    // SAFETY: (1) a word of the page, which stays.
    while unsafe { (*flag).load(Ordering::Relaxed) } == 0 {
        call(SCHED_YIELD, [0; 0]);
    }
    describe(0, 0, 0, RESTRICTED | NOT_PRESENT);
    // It cannot be running there any more; and it must not be seen to end by the process's end.
    loop {
        call(SCHED_YIELD, [0; 0]);
    }
}

/// A segment that is taken away by another thread while code runs in it.
pub(super) const TAKEN: Attack = Attack {
    name: "a segment that another thread takes away",
    arguments: 0..12,
    run: |number| {
        const THREAD: usize = 0x100 | 0x200 | 0x400 | 0x800 | 0x1_0000;
        let page = low_page();
        PAGE_OF_THREADS.store(page, Ordering::Relaxed);
        // Half of the time the other thread is there before the first segment is.
        let stack = call(nr::MMAP, [0, 4 * PAGE, 3, PRIVATE | ANONYMOUS, usize::MAX, 0]) as usize;
        let start = || clone_and_call(THREAD, stack + 4 * PAGE, [0; 3], take_it_away);
        let is_late = number % 2 == 0;
        if !is_late {
            start();
        }
        let (segment, offset) = code_segment(1 + number % 2, page);
        // mov byte [page + 0x700], 1; then round and round
        let mut code = [0xc6, 0x05, 0, 0, 0, 0, 1, 0xeb, 0xfe, 0x90];
        code[2..6].copy_from_slice(&(page as u32 + 0x700).to_le_bytes());
        if number % 2 == 1 {
            // The same in 16-bit code, with prefixes for 32-bit addresses.
            code = [0x67, 0xc6, 0x05, 0, 0, 0, 0, 1, 0xeb, 0xfe];
            code[3..7].copy_from_slice(&(page as u32 + 0x700).to_le_bytes());
        }
        put_code(page, &code);
        if is_late {
            start();
        }
        go(segment, offset, page);
        1
    },
    may_end: |_, end| has_ended_by(end, &[SIGSEGV]),
};

static WANTED: [AtomicUsize; 2] = [AtomicUsize::new(0), AtomicUsize::new(0)];

/// Makes the registers that a handler gives back those that are wanted.
extern "C" fn give_segments(_: usize, _: usize, context: usize) {
    const SEGMENTS: usize = 40 + 18 * 8;
    let [code, stack] = WANTED.each_ref().map(|word| word.load(Ordering::Relaxed) as u64);
    let at = core::ptr::with_exposed_provenance_mut::<u64>(context + SEGMENTS);
    // SAFETY: (1) the context is this handler's, and has its segments there.
    unsafe { at.write(code | stack << 48) };
}

/// Selectors that are tried: all of the global table, and the first of our own.
const SELECTORS: usize = 0xa0;

/// A handler gives back every selector as CS or SS.
pub(super) const GIVEN_BACK: Attack = Attack {
    name: "a segment from a handler's frame",
    arguments: 0..SELECTORS * 2,
    run: |number| {
        let Some(numbers) = Numbers::read() else { return 2 };
        describe(0, 0, 0xf_ffff, IS_32_BIT | IN_PAGES);
        describe(1, 0, 0xf_ffff, CODE | IS_32_BIT | IN_PAGES);
        describe(2, 0, 0xf_ffff, IS_32_BIT | IN_PAGES | NOT_PRESENT);
        let wanted = number % SELECTORS;
        let (code, stack) =
            if number < SELECTORS { (wanted, OWN_DATA) } else { (OWN_CODE, wanted) };
        WANTED[0].store(code, Ordering::Relaxed);
        WANTED[1].store(stack, Ordering::Relaxed);
        numbers.handle(SIGUSR1, give_segments, 0, 0);
        numbers.raise(SIGUSR1);
        i32::from(call(GETPPID, [0; 0]) <= 0)
    },
    may_end: |number, end| {
        let wanted = (number % SELECTORS) | 3;
        let is_code = number < SELECTORS;
        let refused = has_ended_by(end, &[SIGSEGV, SIGBUS]);
        match (is_code, wanted) {
            (true, OWN_CODE) | (false, OWN_DATA) => end == End::Exit(0),
            (false, 7) => end == End::Exit(0),
            // 64-bit code as 32-bit code: anything may come of it, to the program.
            (true, CODE_32 | 15) => true,
            _ => refused,
        }
    },
};
