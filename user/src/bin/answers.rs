//! What a program sees of its own stacks, for the kernel's `ask`: lines `NAME HEXADECIMAL`, and
//! lines of `/proc/self/maps` behind `maps: `. The first argument names the part; status 0 if the
//! program could say everything.

#![no_std]
#![no_main]

use core::ffi::CStr;
use core::hint::black_box;
use core::sync::atomic::{AtomicUsize, Ordering};
use user::calls::{Calls, call, print_number, read_file, status_of};
use user::memory::{PAGE, READ, WRITE, map};
use user::must;
use user::signals::{self, Numbers, SA_ONSTACK, SIGSEGV, SIGUSR1, SIGUSR2};

user::entry!(main);

/// Bytes of the alternate signal stack.
const OTHER_STACK: usize = 32 * 1024;

fn text_of_maps() -> &'static [u8] {
    static mut TEXT: [u8; 8192] = [0; 8192];
    let text = &raw mut TEXT;
    // SAFETY: (1) one thread, and what it read before is not used any more.
    let text = unsafe { &mut *text };
    let length = read_file(c"/proc/self/maps", text).unwrap_or(0);
    &text[..length]
}

fn hexadecimal(digits: &[u8]) -> (usize, &[u8]) {
    let mut number = 0;
    for (at, &digit) in digits.iter().enumerate() {
        let Some(value) = char::from(digit).to_digit(16) else { return (number, &digits[at..]) };
        number = number << 4 | value as usize;
    }
    (number, &[])
}

/// The lowest address and the end of an area.
fn bounds(line: &[u8]) -> (usize, usize) {
    let (lowest, rest) = hexadecimal(line);
    (lowest, hexadecimal(rest.get(1..).unwrap_or_default()).0)
}

/// The area with an address, as a line of maps.
fn line_with(at: usize) -> Option<&'static [u8]> {
    let mut lines = text_of_maps().split(|&byte| byte == b'\n');
    lines.find(|line| {
        let (lowest, end) = bounds(line);
        (lowest..end).contains(&at)
    })
}

/// Says which area an address is in.
fn print_area(at: usize, lowest_is: &CStr, end_is: &CStr) {
    let (lowest, end) = line_with(at).map_or((0, 0), bounds);
    print_number(lowest_is, lowest);
    print_number(end_is, end);
}

/// Where a local variable is.
#[inline(never)]
fn here() -> usize {
    let local = 0_usize;
    black_box(&raw const local).addr()
}

fn word(index: usize) -> usize {
    // SAFETY: (1) each is read after the one before it said that it is there.
    unsafe { user::first_stack().add(index).read() }
}

fn address(index: usize) -> usize {
    user::first_stack().addr() + index * size_of::<usize>()
}

/// Where execve put what.
fn argv() -> i32 {
    const AT_RANDOM: usize = 25;
    const AT_EXECFN: usize = 31;
    print_area(here(), c"lowest", c"end");
    print_number(c"argc-at", address(0));
    let count = word(0);
    print_number(c"argc", count);
    print_number(c"argv-at", address(1));
    print_number(c"first-argument", word(1));
    print_number(c"last-argument", word(count));
    let mut at = count + 2;
    print_number(c"envp-at", address(at));
    print_number(c"first-variable", word(at));
    while word(at) != 0 {
        at += 1;
    }
    print_number(c"last-variable", word(at - 1));
    at += 1;
    print_number(c"auxv-at", address(at));
    while word(at) != 0 {
        match word(at) {
            AT_RANDOM => print_number(c"random", word(at + 1)),
            AT_EXECFN => print_number(c"path", word(at + 1)),
            _ => {}
        }
        at += 2;
    }
    print_number(c"auxv-end", address(at + 2));
    0
}

#[inline(never)]
fn deep(pages: usize) -> usize {
    let mut page = [0_u8; PAGE];
    page[pages % PAGE] = 1;
    black_box(&mut page);
    if pages == 0 { here() } else { deep(pages - 1) + usize::from(page[(pages + 1) % PAGE]) }
}

/// Page faults that the kernel has mended so far for this program, as getrusage counts them.
fn faults(getrusage: usize) -> usize {
    /// Behind two times, of two words each, and four other figures.
    const MINOR_FAULTS: usize = 8;
    let mut usage = [0_usize; 18];
    call(getrusage, [0, usage.as_mut_ptr().expose_provenance()]);
    black_box(&usage)[MINOR_FAULTS]
}

/// How the stack grows: `pages` deep, without a system call in between.
fn grow() -> i32 {
    const PAGES: usize = 64;
    let Ok(calls) = Calls::read() else { return 2 };
    let getrusage = calls.number("getrusage");
    print_area(here(), c"lowest-before", c"end");
    print_number(c"sp-before", here());
    let before = faults(getrusage);
    print_number(c"faults-before", before);
    let deepest = deep(PAGES);
    print_number(c"faults-after", faults(getrusage));
    print_number(c"sp-deepest", deepest);
    print_area(here(), c"lowest-after", c"end-after");
    // What a library gives a thread: memory like any other.
    let of_thread = map(0, 16 * PAGE, WRITE, 0) as usize;
    user::memory::write(of_thread, 1);
    print_number(c"mapped", of_thread);
    print_number(c"mapped-end", of_thread + 16 * PAGE);
    0
}

fn print_line(line: &[u8]) {
    let _ = user::write_all(1, b"maps: ");
    let _ = user::write_all(1, line);
    let _ = user::write_all(1, b"\n");
}

fn print_lines_in(lowest: usize, end: usize) {
    let lines = text_of_maps().split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    for line in lines.filter(|line| (lowest..end).contains(&bounds(line).0)) {
        print_line(line);
    }
}

/// What maps calls the stack once it is three areas, and what it calls other memory.
fn maps() -> i32 {
    let Ok(calls) = Calls::read() else { return 2 };
    let (lowest, end) = line_with(here()).map_or((0, 0), bounds);
    // Two pages further down, so that there are three areas below.
    black_box(deep(8));
    let lowest = lowest.min(line_with(here()).map_or(lowest, |line| bounds(line).0));
    print_number(c"start", address(0));
    print_number(c"lowest", lowest);
    print_number(c"end", end);
    print_lines_in(lowest, end);
    let _ = user::write_all(1, b"split\n");
    let page = (here() & !(PAGE - 1)) - 4 * PAGE;
    must!(call(calls.number("mprotect"), [page, PAGE, READ]) == 0, "mprotect");
    print_lines_in(lowest, end);
    let _ = user::write_all(1, b"others\n");
    let mapped = map(0, PAGE, WRITE, 0) as usize;
    print_number(c"mapped", mapped);
    let mine = line_with(mapped).unwrap_or_default();
    print_line(mine);
    let old = call(calls.number("brk"), [0]) as usize;
    must!(call(calls.number("brk"), [old + PAGE]) as usize == old + PAGE, "brk");
    print_line(line_with(old).unwrap_or_default());
    0
}

static IN_HANDLER: AtomicUsize = AtomicUsize::new(0);

extern "C" fn handler(_: usize, _: usize, context: usize) {
    black_box(context);
    IN_HANDLER.store(here(), Ordering::Relaxed);
}

/// Where handlers run.
fn signal_stack() -> i32 {
    let Some(n) = Numbers::read() else { return 2 };
    let other = map(0, OTHER_STACK, WRITE, 0) as usize;
    print_area(here(), c"lowest", c"end");
    print_number(c"other", other);
    print_number(c"other-end", other + OTHER_STACK);
    print_number(c"main", here());
    must!(n.handle(SIGUSR1, handler, 0, 0), "a handler");
    n.raise(SIGUSR1);
    print_number(c"plain", IN_HANDLER.load(Ordering::Relaxed));
    must!(n.handle(SIGUSR2, handler, SA_ONSTACK, 0), "a handler on the other stack");
    n.raise(SIGUSR2);
    print_number(c"none-set", IN_HANDLER.load(Ordering::Relaxed));
    must!(n.set_stack(other, OTHER_STACK, 0) == 0, "sigaltstack");
    n.raise(SIGUSR1);
    print_number(c"not-asked", IN_HANDLER.load(Ordering::Relaxed));
    n.raise(SIGUSR2);
    print_number(c"asked", IN_HANDLER.load(Ordering::Relaxed));
    0
}

/// Bytes of a buffer that [`victim`] fills too far.
const WORDS: usize = 4;

/// Copies more into its buffer than fits: over its own return address.
#[inline(never)]
fn victim(words: usize, value: usize) -> usize {
    let mut buffer = [0_usize; WORDS];
    let first = black_box(buffer.as_mut_ptr());
    for at in 0..words {
        // SAFETY: (1) none: what lies behind the buffer is overwritten, up to the return address.
        // That is the purpose, in a child that dies of it.
        unsafe { first.add(at).write_volatile(value) };
    }
    // A call, so that the return address is on the stack where calls keep it in a register.
    black_box(here()) + buffer[0]
}

extern "C" fn told(_: usize, info: usize, context: usize) {
    print_number(c"code", signals::code_of(info) as usize);
    print_number(c"address", signals::address_of(info));
    print_number(c"pc", signals::pc_of(context));
    user::exit(7);
}

/// What a return address meets that was overwritten.
fn smash() -> i32 {
    /// Words that lie between the buffer and its caller's frame, at most.
    const TOO_MANY: usize = WORDS + 12;
    let Some(n) = Numbers::read() else { return 2 };
    let other = map(0, OTHER_STACK, WRITE, 0) as usize;
    must!(n.set_stack(other, OTHER_STACK, 0) == 0, "sigaltstack");
    must!(n.handle(SIGSEGV, told, SA_ONSTACK, 0), "a handler");
    print_area(here(), c"lowest", c"end");
    let line = line_with(here()).unwrap_or_default();
    print_line(line);
    // Where an attacker's instructions would be: on the stack, in the buffer that was overrun.
    let code = [0_usize; 8];
    let on_stack = black_box(code.as_ptr()).addr();
    for (name, target) in [(c"to-stack", on_stack), (c"to-nowhere", 0x1000)] {
        print_number(name, target);
        let child = user::fork();
        if child == 0 {
            victim(TOO_MANY, target);
            user::exit(0);
        }
        print_number(c"status", status_of(child) as usize);
    }
    0
}

fn main() -> i32 {
    // SAFETY: (1) the kernel puts argc and, behind it, as many pointers to strings.
    let part = unsafe {
        if word(0) < 2 {
            return 2;
        }
        CStr::from_ptr(core::ptr::with_exposed_provenance(word(2))).to_bytes()
    };
    match part {
        b"argv" => argv(),
        b"grow" => grow(),
        b"maps" => maps(),
        b"signals" => signal_stack(),
        b"smash" => smash(),
        _ => 2,
    }
}
