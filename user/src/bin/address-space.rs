//! What a program may make of its address space, and what it must not: guards, the heap, the stack,
//! the limits of Linux, and what other CPUs see of a change. The first argument names a part;
//! status 0 if all of it is as it should be.

#![no_std]
#![no_main]

use core::ffi::CStr;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use user::arch::{self, THREAD_FLAGS, nr};
use user::calls::{Calls, HERE, call, read_file};
use user::memory::{ANONYMOUS, FIXED, NO_RESERVE, NONE, PAGE, PRIVATE, READ, SIGSEGV, WRITE};
use user::memory::{child, is_deadly, is_error, map, read, write};
use user::must;

user::entry!(main);

const FIXED_NO_REPLACE: usize = 0x10_0000;
const MAY_MOVE: usize = 1;
const TO_THERE: usize = 2;
const DONT_NEED: usize = 4;

const EPERM: isize = -1;
const EBADF: isize = -9;
const ENOMEM: isize = -12;
const EFAULT: isize = -14;
const EEXIST: isize = -17;
const EINVAL: isize = -22;

/// As Linux's `vm.max_map_count`.
const MAX_AREAS: usize = 65_530;
const GAP_PAGES: usize = 256;

fn milliseconds() -> usize {
    let time = [0_usize; 2];
    call(nr::CLOCK_GETTIME, [1, time.as_ptr().addr()]);
    // Through atomics: the kernel wrote behind the compiler's back.
    let at = |index: usize| read(time.as_ptr().addr() + index * size_of::<usize>());
    at(0) * 1000 + at(1) / 1_000_000
}

/// The lines of /proc/self/maps.
fn areas() -> usize {
    let mut text = [0; 8192];
    let length = read_file(c"/proc/self/maps", &mut text).unwrap_or(0);
    text[..length].iter().filter(|&&byte| byte == b'\n').count()
}

struct Numbers {
    mprotect: usize,
    brk: usize,
    mremap: usize,
    madvise: usize,
    ftruncate: usize,
    lseek: usize,
    unlinkat: usize,
    setresuid: usize,
}

impl Numbers {
    fn protect(&self, at: usize, bytes: usize, protection: usize) -> isize {
        call(self.mprotect, [at, bytes, protection])
    }

    fn brk(&self, at: usize) -> usize {
        call(self.brk, [at]) as usize
    }

    /// The heap's end, on a page.
    fn heap_end(&self) -> usize {
        self.brk(0).next_multiple_of(PAGE)
    }
}

/// A guard that a program makes is as good as the kernel's: no access, not by the program nor by
/// the kernel for it, before and after a fork; and the contents are there when it is opened again.
fn guard(n: &Numbers) -> i32 {
    let at = map(0, 4 * PAGE, WRITE, 0) as usize;
    (0..4).for_each(|page| write(at + page * PAGE, 0x5a + page));
    let guard = at + PAGE;
    must!(n.protect(guard, PAGE, NONE) == 0, "mprotect");
    must!(is_deadly(|| write(guard, read(guard))), "a guard was read");
    must!(is_deadly(|| write(guard, 1)), "a guard was written");
    let grandchild = child(|| i32::from(!is_deadly(|| write(at, read(guard)))));
    must!(grandchild == 0, "a guard was read after a fork");
    must!(call(nr::WRITE, [1, guard, 1]) == EFAULT, "the kernel read a guard");
    must!(call(nr::UNAME, [guard]) == EFAULT, "the kernel wrote a guard");
    must!(n.protect(guard, PAGE, READ) == 0 && read(guard) == 0x5b, "contents were lost");
    must!(is_deadly(|| write(guard, 1)), "a page that can only be read was written");
    must!(n.protect(guard, PAGE, WRITE) == 0, "mprotect, to write");
    write(guard, 9);
    must!(read(guard) == 9 && read(at) == 0x5a && read(at + 2 * PAGE) == 0x5c, "a neighbour");
    let fresh = map(0, PAGE, NONE, 0) as usize;
    must!(is_deadly(|| write(at, read(fresh))), "a fresh guard was read");
    // Where there is a hole, what lies below has changed.
    must!(call(nr::MUNMAP, [at + 2 * PAGE, PAGE]) == 0, "munmap");
    must!(n.protect(at, 4 * PAGE, NONE) == ENOMEM, "mprotect over a hole");
    must!(is_deadly(|| write(fresh, read(at))), "mprotect did not begin before a hole");
    must!(n.protect(at, PAGE, WRITE) == 0 && read(at) == 0x5a, "contents were lost");
    0
}

/// The heap grows from its end alone: past holes and guards in it, never over others, never near
/// the stack.
fn heap(n: &Numbers) -> i32 {
    let here = 0_usize;
    let stack = (&raw const here).addr() & !(PAGE - 1);
    let before = n.heap_end();
    for pages in [1, 4, 16, 64, 200] {
        // The stack has 32 pages from the start, and begins a few above this one.
        let wanted = stack - 40 * PAGE - pages * PAGE;
        must!(n.brk(wanted) != wanted, "the heap grew up to the stack");
    }
    let deep = child(|| {
        (1..1800).for_each(|page| write(stack - page * PAGE, page));
        0
    });
    must!(deep == 0, "the stack did not grow to where it may");
    let start = before;
    must!(n.brk(start + 8 * PAGE) == start + 8 * PAGE, "brk");
    (0..8).for_each(|page| write(start + page * PAGE, page + 1));
    must!(!is_error(map(start + 3 * PAGE, PAGE, WRITE, FIXED)), "a mapping in the heap");
    write(start + 3 * PAGE, 77);
    must!(n.protect(start + 5 * PAGE, PAGE, NONE) == 0, "a guard in the heap");
    must!(n.brk(start + 16 * PAGE) == start + 16 * PAGE, "brk behind a hole");
    for page in [0, 1, 2, 4, 6, 7] {
        must!(read(start + page * PAGE) == page + 1, "the heap lost a page");
    }
    must!(read(start + 3 * PAGE) == 77, "the mapping lost its page");
    must!(is_deadly(|| write(start + 5 * PAGE, 1)), "brk opened a guard");
    // Another mapping above: the heap stays where it is.
    must!(!is_error(map(start + 20 * PAGE, PAGE, WRITE, FIXED)), "a mapping above the heap");
    write(start + 20 * PAGE, 88);
    let end = n.brk(0);
    must!(n.brk(start + 32 * PAGE) == end, "brk over another mapping");
    must!(n.brk(start + 20 * PAGE) == end, "brk up to another mapping");
    must!(read(start + 20 * PAGE) == 88, "brk took another mapping's page");
    must!(n.brk(start + 4 * PAGE) == start + 4 * PAGE, "brk down");
    must!(is_deadly(|| write(start + 6 * PAGE, 1)), "what brk gave back is there");
    must!(read(start + 20 * PAGE) == 88 && read(start + 3 * PAGE) == 77, "brk down took more");
    must!(call(nr::MUNMAP, [start + 20 * PAGE, PAGE]) == 0, "munmap above the heap");
    // A piece moved away, twenty times: the caller compares what is free.
    let moved = (0..20).all(|_| {
        child(|| {
            let heap = n.heap_end();
            n.brk(heap + 256 * PAGE);
            (0..256).for_each(|page| write(heap + page * PAGE, page));
            let piece = [heap + 128 * PAGE, 128 * PAGE, 129 * PAGE, MAY_MOVE];
            let to = call(n.mremap, piece);
            must!(!is_error(to) && read(to as usize + PAGE) == 129, "mremap of heap");
            n.brk(heap + 300 * PAGE);
            0
        }) == 0
    });
    must!(moved, "a piece of heap");
    0
}

/// The stack grows to 256 pages above what is accessible, and right up to a guard of the program's
/// own.
fn stack(n: &Numbers) -> i32 {
    let here = 0_usize;
    let stack = (&raw const here).addr() & !(PAGE - 1);
    let below = stack - 1000 * PAGE;
    let down_to = |lowest: usize| {
        let mut page = stack;
        while page > lowest {
            page -= PAGE;
            write(page, 1);
        }
    };
    let near = |protection: usize, pages: usize| {
        child(|| {
            must!(!is_error(map(below, PAGE, protection, FIXED)), "a mapping below the stack");
            down_to(below + PAGE + pages * PAGE);
            0
        })
    };
    must!(near(WRITE, GAP_PAGES) == 0, "the stack did not grow up to the gap");
    must!(near(WRITE, GAP_PAGES - 1) & 0x7f == SIGSEGV, "the stack grew into the gap");
    must!(near(NONE, 0) == 0, "the stack did not grow up to a guard");
    must!(
        child(|| {
            map(below, PAGE, NONE, FIXED);
            down_to(below);
            0
        }) & 0x7f
            == SIGSEGV,
        "the stack grew over a guard"
    );
    // The kernel chooses no place in the gap.
    let at = map(stack - 300 * PAGE, 8 * PAGE, WRITE, 0) as usize;
    must!(at + 8 * PAGE + (GAP_PAGES + 32) * PAGE <= stack || at > stack, "mmap in the gap");
    let limit = n.protect(stack, PAGE, WRITE);
    must!(limit == 0, "mprotect of the stack");
    must!(is_deadly(|| down_to(stack - 2100 * PAGE)), "the stack grew past its limit");
    0
}

/// What fails changes nothing; what may not replace does not.
fn fixed(n: &Numbers) -> i32 {
    let at = map(0, 4 * PAGE, WRITE, 0) as usize;
    write(at, 55);
    let file = |flags: usize| call(nr::MMAP, [at, PAGE, READ, PRIVATE | flags, 99, 0]);
    must!(file(FIXED) == EBADF && read(at) == 55, "mmap of no file");
    let before = areas();
    must!((0..5).all(|_| file(0) == EBADF) && areas() == before, "a failed mmap left an area");
    must!(map(at, PAGE, WRITE, FIXED_NO_REPLACE) == EEXIST && read(at) == 55, "replaced");
    must!(map(at + 4 * PAGE - 1, PAGE, WRITE, FIXED_NO_REPLACE) == EINVAL, "an odd place");
    must!(call(nr::MUNMAP, [at + PAGE, PAGE]) == 0, "munmap");
    let hole = (at + PAGE) as isize;
    must!(map(at + PAGE, PAGE, WRITE, FIXED_NO_REPLACE) == hole, "a place that is free");
    must!(areas() == before, "areas that are alike did not become one");
    must!(map(at, usize::MAX - 8191, WRITE, FIXED) == ENOMEM && read(at) == 55, "too long");
    let by_another = child(|| {
        call(n.setresuid, [1000, 1000, 1000]);
        i32::from(map(0x1000, PAGE, WRITE, FIXED) != EPERM)
    });
    must!(by_another == 0, "a mapping at zero by who is not root");
    must!(call(nr::MMAP, [at, PAGE, READ, FIXED | ANONYMOUS, 0, 0]) == EINVAL, "no type");
    must!(read(at) == 55, "no type, but gone");
    must!(call(nr::MUNMAP, [usize::MAX - 4095, PAGE]) == EINVAL, "munmap of the end");
    // mremap: in place, elsewhere, to a place; a piece that is not there.
    let area = map(0, 8 * PAGE, WRITE, 0) as usize;
    (0..4).for_each(|page| write(area + page * PAGE, 100 + page));
    must!(call(nr::MUNMAP, [area + 4 * PAGE, 4 * PAGE]) == 0, "munmap, for mremap");
    let in_place = call(n.mremap, [area, 4 * PAGE, 6 * PAGE, 0]);
    must!(in_place as usize == area && read(area + 5 * PAGE) == 0, "mremap in place");
    must!(!is_error(map(area + 6 * PAGE, PAGE, READ, FIXED)), "something behind");
    must!(call(n.mremap, [area, 6 * PAGE, 9 * PAGE, 0]) == ENOMEM, "mremap without a place");
    must!(call(n.mremap, [area, 9 * PAGE, 10 * PAGE, MAY_MOVE]) == EFAULT, "mremap of two");
    let moved = child(|| {
        // Shared pages stay shared when they move.
        let to = call(n.mremap, [area, 6 * PAGE, 9 * PAGE, MAY_MOVE]) as usize;
        must!((0..4).all(|page| read(to + page * PAGE) == 100 + page), "mremap lost a page");
        (0..9).for_each(|page| write(to + page * PAGE, 1));
        must!(is_deadly(|| write(area, 1)), "mremap left the old place");
        0
    });
    must!(moved == 0 && read(area) == 100, "mremap in a child");
    let there = map(0, 16 * PAGE, WRITE, 0) as usize;
    let to = call(n.mremap, [area, 4 * PAGE, 2 * PAGE, MAY_MOVE | TO_THERE, there + PAGE]);
    must!(to as usize == there + PAGE && read(there + PAGE) == 100, "mremap to a place");
    must!(read(there + 2 * PAGE) == 101 && read(there + 3 * PAGE) == 0, "mremap, smaller");
    must!(is_deadly(|| write(area, read(area + 3 * PAGE))), "mremap left what it cut off");
    // What is not needed reads as zeros.
    must!(call(n.madvise, [there, 4 * PAGE, DONT_NEED]) == 0, "madvise");
    must!(read(there + PAGE) == 0 && read(there + 2 * PAGE) == 0, "what was not needed is there");
    0
}

/// As many areas as Linux allows, and neighbours that are alike are one again.
fn limit(n: &Numbers) -> i32 {
    let pages = 2 * MAX_AREAS;
    let at = map(0, pages * PAGE, READ, 0) as usize;
    write_page_of(n, at + (pages - 3) * PAGE);
    let refused = (0..pages).step_by(2).find(|page| n.protect(at + page * PAGE, PAGE, NONE) != 0);
    let Some(refused) = refused else {
        must!(false, "there is no limit");
        return 1;
    };
    must!(refused > MAX_AREAS - 64 && refused <= MAX_AREAS, "the limit is not Linux's");
    // Each of them made two more: there may be room for one, and a new one may be one too many.
    (0..4).for_each(|index| {
        map(0, PAGE, [READ | 4, READ][index & 1], 0);
    });
    let kept = at + (pages - 3) * PAGE;
    must!(call(nr::MUNMAP, [kept, PAGE]) == ENOMEM, "munmap at the limit, in the middle");
    must!(read(kept) == 5, "munmap failed, and the page is gone");
    must!(map(0, PAGE, WRITE, 0) == ENOMEM, "mmap at the limit");
    must!(map(kept, PAGE, WRITE, FIXED) == ENOMEM && read(kept) == 5, "mmap FIXED at the limit");
    // What does not make more areas works.
    must!(call(nr::MUNMAP, [at + (pages - 1) * PAGE, PAGE]) == 0, "munmap at the end");
    must!(call(nr::MUNMAP, [at, PAGE]) == 0, "munmap of a whole area");
    must!(child(|| 0) == 0, "fork at the limit");
    must!(n.protect(at + PAGE, (pages - 2) * PAGE, READ) == 0, "mprotect of all");
    must!(areas() < 16 && read(kept) == 5, "areas that are alike did not become one");
    must!(call(nr::MUNMAP, [at, pages * PAGE]) == 0, "munmap of all");
    // As a runtime with many stacks makes them: one after the other, each with its guard.
    let began = milliseconds();
    let mut made = 0;
    while made < 15_000 {
        let stack = map(0, 4 * PAGE, WRITE, 0);
        if is_error(stack) || n.protect(stack as usize, PAGE, NONE) != 0 {
            break;
        }
        made += 1;
    }
    must!(made == 15_000, "30,000 areas");
    must!(milliseconds() - began < 20_000, "30,000 areas take too long");
    0
}

fn write_page_of(n: &Numbers, at: usize) {
    n.protect(at, PAGE, WRITE);
    write(at, 5);
    n.protect(at, PAGE, READ);
}

/// Time is for what is present, not for what is reserved.
fn reservation(n: &Numbers) -> i32 {
    let bytes = if size_of::<usize>() == 8 { 1_usize << 20 << 22 } else { 1 << 30 };
    let at = map(0, bytes, NONE, NO_RESERVE);
    must!(!is_error(at) || size_of::<usize>() == 4, "a reservation");
    let at = if is_error(at) { return 0 } else { at as usize };
    n.protect(at + bytes / 2, PAGE, WRITE);
    write(at + bytes / 2, 1);
    let began = milliseconds();
    must!(child(|| 0) == 0, "fork");
    must!(n.protect(at, bytes, READ) == 0 && read(at + bytes / 2) == 1, "mprotect");
    must!(call(nr::MUNMAP, [at, bytes]) == 0, "munmap");
    must!(milliseconds() - began < 2000, "empty address space takes time");
    0
}

static GO: AtomicBool = AtomicBool::new(false);
static READY: AtomicBool = AtomicBool::new(false);
static TARGET: AtomicUsize = AtomicUsize::new(0);

#[repr(align(16))]
struct Stack([AtomicUsize; 512]);

static STACK: Stack = Stack([const { AtomicUsize::new(0) }; 512]);

/// Writes to the page until it may go, so that its CPU has a translation to write with; and once
/// more.
extern "C" fn writer() -> ! {
    let target = TARGET.load(Ordering::SeqCst);
    while !GO.load(Ordering::SeqCst) {
        write(target, 1);
        READY.store(true, Ordering::SeqCst);
    }
    write(target, 2);
    user::exit(0)
}

/// Counts in the page until the process ends.
extern "C" fn counter() -> ! {
    let target = TARGET.load(Ordering::SeqCst);
    loop {
        write(target, read(target) + 1);
        READY.store(true, Ordering::SeqCst);
    }
}

/// Starts a thread, and waits until it has written. Says whether it has.
fn start_thread(entry: extern "C" fn() -> !, target: usize) -> bool {
    TARGET.store(target, Ordering::SeqCst);
    let top = STACK.0.as_ptr_range().end.addr();
    if arch::clone_and_call(THREAD_FLAGS, top, [0; 3], entry) < 0 {
        return false;
    }
    while !READY.load(Ordering::SeqCst) {
        user::yield_now();
    }
    true
}

/// A thread on another CPU cannot write any more when mprotect or munmap has returned, whatever its
/// CPU remembers.
fn shootdown(n: &Numbers) -> i32 {
    let ways: [fn(&Numbers, usize) -> isize; 3] = [
        |n, at| n.protect(at, PAGE, READ),
        |n, at| n.protect(at, PAGE, NONE),
        |_, at| call(nr::MUNMAP, [at, PAGE]),
    ];
    for round in 0..30 {
        let at = map(0, 4 * PAGE, WRITE, 0) as usize;
        let status = child(|| {
            must!(start_thread(writer, at), "no thread");
            must!(ways[round % 3](n, at) == 0, "the change");
            GO.store(true, Ordering::SeqCst);
            // The writer ends the process, one way or the other.
            loop {
                user::yield_now();
            }
        });
        must!(status & 0x7f == SIGSEGV, "a CPU wrote through a translation that was taken back");
    }
    0
}

/// What a parent writes behind a fork is its own, also when its CPU, or another one of its threads,
/// could write just before.
fn fork_flush(_: &Numbers) -> i32 {
    let at = map(0, PAGE, WRITE, 0) as usize;
    for round in 0..20 {
        write(at, 1);
        let mut pipe = [0_u32; 2];
        must!(call(nr::PIPE2, [pipe.as_mut_ptr().addr(), 0]) == 0, "pipe");
        let [from, to] = pipe.map(|end| end as usize);
        let byte = 0_u8;
        let child = user::fork();
        if child == 0 {
            call(nr::READ, [from, (&raw const byte).addr(), 1]);
            user::exit(if read(at) == 1 { 0 } else { 4 });
        }
        write(at, 2 + round);
        must!(call(nr::WRITE, [to, (&raw const byte).addr(), 1]) == 1, "pipe, to write");
        must!(user::wait() == Ok(0), "a parent's write behind fork reached its child");
        call(nr::CLOSE, [from]);
        call(nr::CLOSE, [to]);
    }
    for _ in 0..10 {
        let status = child(|| {
            must!(start_thread(counter, at), "no thread");
            let mine = user::fork();
            if mine == 0 {
                // The copy of a moment, whatever the thread writes meanwhile.
                let before = read(at);
                let stays = (0..200).all(|_| {
                    user::yield_now();
                    read(at) == before
                });
                user::exit(if stays { 0 } else { 4 });
            }
            must!(
                mine > 0 && user::wait() == Ok(0),
                "a thread's write behind fork reached a child"
            );
            0
        });
        must!(status == 0, "a thread's write behind fork reached the child");
    }
    0
}

/// Files grow by ftruncate, have holes, and are larger than the kernel's heap.
fn files(n: &Numbers) -> i32 {
    const PATH: &CStr = c"/tmp/address-space";
    let file = call(nr::OPENAT, [HERE, PATH.as_ptr().addr(), 0o102, 0o644]);
    must!(file >= 0, "open");
    let file = file as usize;
    let mut bytes = [1_u8; 16];
    let there = bytes.as_mut_ptr().addr();
    must!(call(nr::WRITE, [file, there, 16]) == 16, "write");
    must!(call(n.ftruncate, [file, 100_000]) == 0, "ftruncate could not grow a file");
    must!(call(n.lseek, [file, 0, 2]) == 100_000, "the size after ftruncate");
    must!(call(n.lseek, [file, 8, 0]) == 8 && call(nr::READ, [file, there, 16]) == 16, "read");
    must!(bytes == [1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0], "what ftruncate added");
    must!(call(n.ftruncate, [file, 4]) == 0 && call(n.ftruncate, [file, 12]) == 0, "ftruncate");
    must!(call(n.lseek, [file, 0, 0]) == 0 && call(nr::READ, [file, there, 16]) == 12, "short");
    must!(bytes[..12] == [1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0], "what ftruncate had cut off");
    must!(call(n.ftruncate, [file, usize::MAX]) == EINVAL || size_of::<usize>() == 4, "negative");
    // A hole of 1 GiB costs nothing.
    must!(call(n.lseek, [file, 1 << 30, 0]) == 1 << 30, "lseek");
    must!(call(nr::WRITE, [file, there, 16]) == 16, "write behind a hole");
    must!(call(n.lseek, [file, 1 << 29, 0]) == 1 << 29, "lseek into the hole");
    must!(call(nr::READ, [file, there, 16]) == 16 && bytes == [0; 16], "a hole");
    // Mapped, it is what it is.
    let mapped = call(nr::MMAP, [0, PAGE, READ, PRIVATE, file, 0]);
    must!(!is_error(mapped) && read(mapped as usize) & 0xff == 1, "a file mapped");
    must!(call(n.unlinkat, [HERE, PATH.as_ptr().addr(), 0]) == 0, "unlink");
    must!(call(n.ftruncate, [file, 0]) == 0, "ftruncate to nothing");
    // Half of memory is for files; then it is full, and the rest continues.
    let large = map(0, 1 << 20, WRITE, 0) as usize;
    call(n.lseek, [file, 0, 0]);
    let full = loop {
        let written = call(nr::WRITE, [file, large, 1 << 20]);
        if written < 1 << 20 {
            break call(nr::WRITE, [file, large, PAGE]);
        }
    };
    must!(full == -28, "files took all memory");
    must!(child(|| 0) == 0, "fork with full files");
    must!(call(n.ftruncate, [file, 0]) == 0, "ftruncate of what is full");
    must!(call(nr::WRITE, [file, large, PAGE]) == PAGE as isize, "write after that");
    must!(call(nr::CLOSE, [file]) == 0, "close");
    0
}

/// One of the parts; 0 if all is as it should be.
type Part = fn(&Numbers) -> i32;

fn main() -> i32 {
    let Ok(calls) = Calls::read() else { return 2 };
    let numbers = Numbers {
        mprotect: calls.number("mprotect"),
        brk: calls.number("brk"),
        mremap: calls.number("mremap"),
        madvise: calls.number("madvise"),
        ftruncate: calls.number("ftruncate"),
        lseek: calls.number("lseek"),
        unlinkat: calls.number("unlinkat"),
        setresuid: calls.number("setresuid"),
    };
    let parts: [(&CStr, Part); 9] = [
        (c"guard", guard),
        (c"heap", heap),
        (c"stack", stack),
        (c"fixed", fixed),
        (c"limit", limit),
        (c"reservation", reservation),
        (c"shootdown", shootdown),
        (c"fork-flush", fork_flush),
        (c"files", files),
    ];
    // SAFETY: (1) argc and the pointers behind it are where the kernel put them; (2) the second
    // string has an end.
    let named = unsafe {
        if user::first_stack().read() != 2 {
            return 2;
        }
        let at = user::first_stack().add(2).read();
        CStr::from_ptr(core::ptr::with_exposed_provenance(at))
    };
    parts.iter().find(|part| part.0 == named).map_or(2, |part| (part.1)(&numbers))
}
