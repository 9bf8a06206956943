//! Memory that one process changes while another one uses it, on another CPU and without an entry
//! into the kernel: a file that is cut (`cut`), bytes that are written (`written`). And a thread
//! that is kept to a CPU by another process (`kept`), advice about another process's memory
//! (`advised`), memory of one that is dying (`released`). Status 0 if all is as on Linux.

#![no_std]
#![no_main]

use user::arch::nr;
use user::calls::{Calls, call, ended_within, sleep_milliseconds};
use user::memory::{ANONYMOUS, PAGE, WRITE, map, read, write};
use user::{fork, must};

user::entry!(main);

const SHARED: usize = 1;
const SIGKILL: usize = 9;
const SIGBUS: i32 = 7;
const EPERM: isize = -1;
const ESRCH: isize = -3;
const EBADF: isize = -9;
const ENOMEM: isize = -12;
const EACCES: isize = -13;
const EINVAL: isize = -22;
const WILLNEED: usize = 3;
const DONTNEED: usize = 4;
const COLD: usize = 20;
/// Looks of a tick or more at what must come soon.
const LOOKS: u32 = 600;

/// How a child ends that still sees what was there before.
const STALE: i32 = 8;

struct Numbers(Calls);

impl Numbers {
    fn call<const N: usize>(&self, name: &str, arguments: [usize; N]) -> isize {
        call(self.0.number(name), arguments)
    }

    /// A page of a file in memory.
    fn page_of_file(&self) -> (usize, usize) {
        let file = self.call("memfd_create", [c"cut".as_ptr().addr(), 0]) as usize;
        self.call("ftruncate", [file, PAGE]);
        (file, call(nr::MMAP, [0, PAGE, WRITE, SHARED, file, 0]) as usize)
    }

    fn kill(&self, child: isize) {
        self.call("kill", [child as usize, SIGKILL]);
    }

    /// The end of a child, which is killed if it does not come.
    fn end_of(&self, child: isize) -> Option<i32> {
        let status = ended_within(child, LOOKS);
        if status.is_none() {
            self.kill(child);
            ended_within(child, LOOKS);
        }
        status
    }

    /// Keeps a process to one CPU; 0: the caller.
    fn keep(&self, process: usize, cpu: u32) -> isize {
        let set = 1_u64 << cpu;
        self.call("sched_setaffinity", [process, 8, (&raw const set).addr()])
    }

    /// Each on a CPU of its own, if there are two: neither switches to the other one's memory.
    fn part(&self, child: isize) {
        let mut set = 0_u64;
        self.call("sched_getaffinity", [0, 8, (&raw mut set).addr()]);
        if set.count_ones() > 1 {
            self.keep(0, 0);
            self.keep(child as usize, 1);
        }
        sleep_milliseconds(20);
    }

    fn descriptor_of(&self, child: isize) -> usize {
        self.call("pidfd_open", [child as usize, 0]) as usize
    }
}

/// A word that parent and children have in common.
fn common() -> usize {
    call(nr::MMAP, [0, PAGE, WRITE, SHARED | ANONYMOUS, usize::MAX, 0]) as usize
}

/// A child that does this, and runs: it has said so in `word`.
fn running(word: usize, body: impl FnOnce()) -> isize {
    let child = fork();
    if child == 0 {
        write(word, 1);
        body();
        user::exit(7);
    }
    for _ in 0..LOOKS {
        if read(word) != 0 {
            break;
        }
        sleep_milliseconds(5);
    }
    child
}

/// Reads a word until it is something else than 1.
fn watch(at: usize) {
    while read(at) == 1 {
        core::hint::spin_loop();
    }
}

/// The same; `word` is 2 as soon as another process has changed what is there: from then on it must
/// not be 1.
fn watch_until(word: usize, at: usize) {
    loop {
        let is_changed = read(word) == 2;
        if read(at) != 1 {
            return;
        }
        if is_changed {
            user::exit(STALE);
        }
    }
}

fn cut(n: &Numbers) -> i32 {
    let (file, at) = n.page_of_file();
    write(at, 1);
    let word = common();
    let child = running(word, || watch_until(word, at));
    n.part(child);
    must!(n.call("ftruncate", [file, 0]) == 0, "ftruncate");
    write(word, 2);
    let status = n.end_of(child);
    must!(status != Some(STALE << 8), "a page of a file that was cut is still read");
    must!(status.is_some_and(|status| status & 0x7f == SIGBUS), "who reads on has no SIGBUS");
    0
}

fn written(n: &Numbers) -> i32 {
    let at = map(0, PAGE, WRITE, 0) as usize;
    // Its parent's page, until one of them writes.
    write(at, 1);
    let word = common();
    let child = running(word, || watch_until(word, at));
    n.part(child);
    let value = 2_usize;
    let from = [(&raw const value).addr(), size_of::<usize>()];
    let to = [at, size_of::<usize>()];
    let moved = n.call(
        "process_vm_writev",
        [child as usize, from.as_ptr().addr(), 1, to.as_ptr().addr(), 1, 0],
    );
    write(word, 2);
    must!(moved == size_of::<usize>() as isize, "process_vm_writev");
    must!(n.end_of(child) == Some(7 << 8), "what was written to a process is not what it reads");
    must!(read(at) == 1, "it was written to the parent too");
    0
}

/// A child says where it is, again and again.
fn kept(n: &Numbers) -> i32 {
    const ROUNDS: usize = 60;
    let mut set = 0_u64;
    n.call("sched_getaffinity", [0, 8, (&raw mut set).addr()]);
    let cpus = set.count_ones() as usize;
    let word = common();
    let (cpu_at, count_at) = (word + 64, word + 128);
    let getcpu = n.0.number("getcpu");
    let child = running(word, || {
        let mut cpu = 0_u32;
        while read(word) == 1 {
            call(getcpu, [(&raw mut cpu).addr(), 0, 0]);
            write(cpu_at, cpu as usize);
            write(count_at, read(count_at).wrapping_add(1));
        }
    });
    let mut is_elsewhere = false;
    for round in 0..ROUNDS {
        let wanted = round % cpus;
        let asked = n.keep(child as usize, wanted as u32);
        // What it said first may be from before.
        let before = read(count_at);
        while read(count_at).wrapping_sub(before) < 2 {
            core::hint::spin_loop();
        }
        is_elsewhere |= asked != 0 || read(cpu_at) != wanted;
    }
    write(word, 2);
    must!(n.end_of(child) == Some(7 << 8), "the child that is moved");
    must!(!is_elsewhere, "a thread is where it may not be, behind sched_setaffinity");
    0
}

fn advised(n: &Numbers) -> i32 {
    let word = common();
    let at = map(0, 3 * PAGE, WRITE, 0) as usize;
    call(nr::MUNMAP, [at + 2 * PAGE, PAGE]);
    let child = running(word, || watch(word));
    let process = n.descriptor_of(child);
    let advise = |process: usize, pieces: &[[usize; 2]], advice, flags| {
        let (at, count) = (pieces.as_ptr().addr(), pieces.len());
        n.call("process_madvise", [process, at, count, advice, flags])
    };
    let two = [[at, PAGE], [at + PAGE, PAGE]];
    must!(advise(process, &two, COLD, 0) == 2 * PAGE as isize, "advice for two pieces");
    must!(advise(process, &two[..1], WILLNEED, 0) == PAGE as isize, "another advice");
    must!(advise(process, &[[at + 2 * PAGE, PAGE]], COLD, 0) == ENOMEM, "advice for a hole");
    let ends_in_hole = [[at, PAGE], [at + 2 * PAGE, PAGE]];
    must!(advise(process, &ends_in_hole, COLD, 0) == PAGE as isize, "a piece before a hole");
    must!(advise(process, &two, DONTNEED, 0) == EINVAL, "advice that takes contents");
    must!(advise(process, &two, COLD, 1) == EINVAL, "flags");
    must!(advise(1, &two, COLD, 0) == EBADF, "advice for a file");
    // Another user's.
    let status = user::memory::child(|| {
        n.call("setresuid", [1000; 3]);
        i32::from(!matches!(advise(process, &two, COLD, 0), EACCES | EPERM))
    });
    must!(status == 0, "advice for somebody else's process");
    n.kill(child);
    ended_within(child, LOOKS);
    must!(advise(process, &two, COLD, 0) == ESRCH, "advice for one that is gone");
    0
}

fn released(n: &Numbers) -> i32 {
    let word = common();
    let child = running(word, || watch(word));
    let process = n.descriptor_of(child);
    let release = |process: usize, flags: usize| n.call("process_mrelease", [process, flags]);
    must!(release(usize::MAX, 0) == EBADF, "no descriptor");
    must!(release(process, 1) == EINVAL, "flags");
    must!(release(process, 0) == EINVAL, "a process that lives");
    // As often as a round meets it before it has ended: no round may meet anything else.
    for _ in 0..20 {
        let word = common();
        let at = map(0, 64 * PAGE, WRITE, 0) as usize;
        (0..64).for_each(|page| write(at + page * PAGE, 1));
        let child = running(word, || watch(word));
        let process = n.descriptor_of(child);
        n.kill(child);
        must!(matches!(release(process, 0), 0 | ESRCH), "one that is dying");
        must!(ended_within(child, LOOKS) == Some(SIGKILL as i32), "one whose memory is gone");
        must!(read(at) == 1, "the memory of its parent");
        call(nr::MUNMAP, [at, 64 * PAGE]);
    }
    n.kill(child);
    ended_within(child, LOOKS);
    must!(release(process, 0) == ESRCH, "one that is gone");
    0
}

fn main() -> i32 {
    let Ok(calls) = Calls::read() else { return 1 };
    let n = Numbers(calls);
    match user::only_argument() {
        Some(b"cut") => cut(&n),
        Some(b"written") => written(&n),
        Some(b"kept") => kept(&n),
        Some(b"advised") => advised(&n),
        Some(b"released") => released(&n),
        _ => 2,
    }
}
