//! What Linux got later than the calls that it belongs to: packets in pipes, other parts of a file
//! in a mapping, capabilities that go along, what /proc tells of all that has a number, and how
//! often threads leave their CPUs. The first argument names a part; status 0 if all is as on Linux.

#![no_std]
#![no_main]

use core::ffi::CStr;
use core::sync::atomic::{AtomicUsize, Ordering};
use user::arch::{self, nr};
use user::calls::{Calls, call, ended_within, path, read_file, sleep_milliseconds};
use user::memory::{ANONYMOUS, PAGE, PRIVATE, WRITE, child, is_error, map, read, write};
use user::signals::exit_thread;
use user::{fork, must};

user::entry!(main);

const EPERM: isize = -1;
const EAGAIN: isize = -11;
const ENOMEM: isize = -12;
const EBUSY: isize = -16;
const EINVAL: isize = -22;

const SHARED: usize = 1;
const NONBLOCK: usize = 0o4000;
/// `O_DIRECT`: of the PCs and RISC-V, and of Arm, which have the other's for O_DIRECTORY.
const DIRECTS: [usize; 2] = [0o40000, 0o200000];
const SET_PIPE_SIZE: usize = 1031;
const SET_FLAGS: usize = 4;

struct Numbers(Calls);

impl Numbers {
    fn call<const N: usize>(&self, name: &str, arguments: [usize; N]) -> isize {
        call(self.0.number(name), arguments)
    }

    fn pipe(&self, flags: usize) -> Option<[usize; 2]> {
        let mut ends = [0_u32; 2];
        let made = call(nr::PIPE2, [ends.as_mut_ptr().addr(), flags]);
        (made == 0).then(|| core::hint::black_box(ends).map(|end| end as usize))
    }

    fn write(&self, file: usize, bytes: &[u8]) -> isize {
        call(nr::WRITE, [file, bytes.as_ptr().addr(), bytes.len()])
    }

    fn control(&self, file: usize, command: usize, argument: usize) -> isize {
        let name = if cfg!(target_pointer_width = "32") { "fcntl64" } else { "fcntl" };
        self.call(name, [file, command, argument])
    }

    fn prctl(&self, arguments: [usize; 5]) -> isize {
        self.call("prctl", arguments)
    }

    fn set_user(&self, to: usize) -> isize {
        let name = if cfg!(target_pointer_width = "32") { "setuid32" } else { "setuid" };
        self.call(name, [to])
    }
}

fn packets(n: &Numbers) -> i32 {
    let made = DIRECTS.iter().find_map(|&flag| Some((flag, n.pipe(flag | NONBLOCK)?)));
    let Some((direct, [reader, writer])) = made else { return 1 };
    let mut bytes = [0_u8; 16];
    let mut room = |size: usize| call(nr::READ, [reader, bytes.as_mut_ptr().addr(), size]);
    must!(n.write(writer, b"abc") == 3 && n.write(writer, b"de") == 2, "packets");
    must!(room(16) == 3, "a read takes more than a packet");
    must!(room(1) == 1, "a part of a packet");
    must!(room(16) == EAGAIN, "the rest of a packet is kept");
    must!(n.write(writer, b"") == 0 && room(16) == EAGAIN, "an empty packet");
    // Without the flag again, bytes are bytes, and what comes behind them fills up their page.
    must!(n.control(writer, SET_FLAGS, NONBLOCK) == 0, "flags");
    must!(n.write(writer, b"abc") == 3 && n.write(writer, b"de") == 2, "bytes");
    must!(n.control(writer, SET_FLAGS, NONBLOCK | direct) == 0, "flags of packets");
    must!(n.write(writer, b"f") == 1 && n.write(writer, b"g") == 1, "behind bytes");
    must!(room(4) == 4 && room(16) == 3 && room(16) == EAGAIN, "bytes");
    let count = (0..100).take_while(|_| n.write(writer, b"x") == 1).count();
    must!(count == 16, "as many packets as pages");
    must!(n.control(writer, SET_PIPE_SIZE, PAGE) == EBUSY, "fewer pages than packets");
    must!(room(16) == 1 && n.write(writer, b"x") == 1, "room for one more");
    must!(n.control(writer, SET_PIPE_SIZE, 2 << 20) == 2 << 20, "root's pipes are larger");
    must!(n.control(writer, SET_PIPE_SIZE, 1 << 30) == ENOMEM, "more than there is");
    let stranger = child(|| {
        must!(n.set_user(1000) == 0, "setuid");
        must!(n.control(writer, SET_PIPE_SIZE, 4 << 20) == EPERM, "another's pipes are not");
        0
    });
    must!(stranger == 0, "a stranger");
    0
}

fn shown(n: &Numbers) -> i32 {
    let file = n.call("memfd_create", [c"shown".as_ptr().addr(), 0]) as usize;
    must!(n.call("ftruncate", [file, 4 * PAGE]) == 0, "ftruncate");
    let mapped = |flags| match cfg!(target_pointer_width = "32") {
        true => n.call("mmap2", [0, 4 * PAGE, WRITE, flags, file, 0]),
        false => n.call("mmap", [0, 4 * PAGE, WRITE, flags, file, 0]),
    };
    let at = mapped(SHARED);
    must!(!is_error(at), "mmap");
    let at = at as usize;
    (0..4).for_each(|page| write(at + page * PAGE, page + 1));
    let show = |at: usize, size: usize, protection: usize, page: usize| {
        n.call("remap_file_pages", [at, size, protection, page, 0])
    };
    must!(show(at, PAGE, 0, 2) == 0 && read(at) == 3, "another part of the file");
    write(at, 7);
    must!(read(at + 2 * PAGE) == 7, "it is the file's");
    // The range may go over what was split, as long as it is one file's.
    must!(show(at, 2 * PAGE, 0, 2) == EINVAL || read(at + PAGE) == 4, "a range of two mappings");
    must!(show(at, PAGE, 1, 2) == EINVAL, "a protection");
    must!(show(at, 0, 0, 2) == EINVAL, "nothing");
    let own = mapped(PRIVATE);
    must!(show(own as usize, PAGE, 0, 1) == EINVAL, "a private mapping");
    let moved = |at: usize, to: usize| {
        const MAY_MOVE_AND_STAY: usize = 1 | 4;
        n.call("mremap", [at, 2 * PAGE, 2 * PAGE, MAY_MOVE_AND_STAY, to])
    };
    let from = map(0, 2 * PAGE, WRITE, PRIVATE | ANONYMOUS) as usize;
    write(from, 5);
    let wanted = map(0, 16 * PAGE, WRITE, PRIVATE | ANONYMOUS) as usize + 8 * PAGE;
    must!(n.call("munmap", [wanted, 8 * PAGE]) == 0, "munmap");
    must!(moved(from, wanted + 1) == EINVAL, "half a page");
    must!(moved(from, from) == EINVAL, "onto itself");
    must!(moved(from, wanted) == wanted as isize, "where it would like to be");
    must!(read(wanted) == 5 && read(from) == 0, "what it left");
    0
}

/// Whether a line of a file of /proc has these words, in this order.
fn has_line(name: &CStr, words: &[&[u8]]) -> bool {
    let mut text = [0_u8; 2048];
    let Ok(length) = read_file(name, &mut text) else { return false };
    text[..length].split(|&byte| byte == b'\n').any(|line| {
        let mut there = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
        words.iter().all(|word| there.any(|other| other == *word))
    })
}

fn numbered(n: &Numbers) -> i32 {
    const KEY: usize = 4711;
    const MAKE: usize = 0o1640;
    // i386 has one call for all of them, and numbers for each as well.
    let queue = n.call("msgget", [KEY, MAKE]);
    let set = n.call("semget", [KEY, 3, MAKE]);
    let segment = n.call("shmget", [KEY, 5000, MAKE]);
    must!(queue >= 0 && set >= 0 && segment >= 0, "made");
    let at = n.call("shmat", [segment as usize, 0, 0]);
    must!(!is_error(at), "shmat");
    must!(has_line(c"/proc/sysvipc/msg", &[b"4711", b"640", b"0", b"0"]), "a queue");
    must!(has_line(c"/proc/sysvipc/sem", &[b"4711", b"640", b"3"]), "a set");
    must!(has_line(c"/proc/sysvipc/shm", &[b"4711", b"640", b"5000", b"1"]), "a segment");
    must!(has_line(c"/proc/sysvipc/sem", &[b"key", b"semid", b"nsems", b"ctime"]), "a head");
    const REMOVE: usize = 0x100;
    must!(n.call("shmctl", [segment as usize, REMOVE, 0]) == 0, "remove");
    must!(has_line(c"/proc/sysvipc/shm", &[b"0", b"1640", b"5000", b"1"]), "one that is to go");
    must!(n.call("shmdt", [at as usize]) == 0, "shmdt");
    must!(!has_line(c"/proc/sysvipc/shm", &[b"5000"]), "one that has gone");
    must!(n.call("msgctl", [queue as usize, REMOVE, 0]) == 0, "remove");
    must!(n.call("semctl", [set as usize, 0, REMOVE, 0]) == 0, "remove");
    must!(!has_line(c"/proc/sysvipc/msg", &[b"4711"]), "a queue that has gone");
    // What tells boots apart, and what nothing else is called.
    let identifier = |name: &CStr| {
        let mut text = [0_u8; 64];
        let length = read_file(name, &mut text).unwrap_or(0);
        (length == 37).then_some(core::hint::black_box(text))
    };
    let boot = || identifier(c"/proc/sys/kernel/random/boot_id");
    let other = || identifier(c"/proc/sys/kernel/random/uuid");
    must!(boot().is_some() && boot() == boot(), "of this boot");
    must!(other().is_some() && other() != other(), "of nothing");
    0
}

const AMBIENT: usize = 47;
const IS_SET: usize = 1;
const RAISE: usize = 2;
const LOWER: usize = 3;
const CLEAR: usize = 4;
const SECURE_BITS: usize = 28;
const KEEP_CAPABILITIES: usize = 8;
const CHOWN: usize = 0;
const KILL: usize = 5;

/// Makes a capability one that may be inherited.
fn inherit(n: &Numbers, which: usize) -> bool {
    let header = [0x2008_0522_u32, 0];
    let mut sets = [0_u32; 6];
    let at = |sets: &mut [u32; 6]| [header.as_ptr().addr(), sets.as_mut_ptr().addr()];
    if n.call("capget", at(&mut sets)) != 0 {
        return false;
    }
    sets[2] |= 1 << which;
    n.call("capset", at(&mut sets)) == 0
}

/// Another program of the caller's, which says whether it has KILL.
fn in_next_program(n: &Numbers) -> i32 {
    let arguments = [c"/kstack/bin/later-rules".as_ptr(), c"has-kill".as_ptr(), core::ptr::null()];
    let none: [*const u8; 1] = [core::ptr::null()];
    let pointers = [arguments.as_ptr().addr(), none.as_ptr().addr()];
    n.call("execve", [path(c"/kstack/bin/later-rules"), pointers[0], pointers[1]]);
    3
}

fn ambient(n: &Numbers) -> i32 {
    let ask = |what, which| n.prctl([AMBIENT, what, which, 0, 0]);
    must!(ask(RAISE, KILL) == EPERM, "one that is not inherited");
    must!(ask(RAISE, 64) == EINVAL && n.prctl([AMBIENT, CLEAR, 1, 0, 0]) == EINVAL, "what is none");
    must!(
        ask(9, CHOWN) == EINVAL && n.prctl([AMBIENT, RAISE, KILL, 1, 0]) == EINVAL,
        "no question"
    );
    must!(inherit(n, KILL), "inherit");
    must!(ask(RAISE, KILL) == 0 && ask(IS_SET, KILL) == 1, "raised");
    must!(ask(LOWER, KILL) == 0 && ask(IS_SET, KILL) == 0, "lowered");
    must!(ask(RAISE, KILL) == 0 && ask(CLEAR, 0) == 0 && ask(IS_SET, KILL) == 0, "cleared");
    // Another user's program has what is ambient, and nothing without that.
    let started = |raises: bool| {
        child(|| {
            must!(n.prctl([KEEP_CAPABILITIES, 1, 0, 0, 0]) == 0, "keep");
            must!(n.set_user(1000) == 0, "setuid");
            must!(ask(IS_SET, KILL) == 0, "who leaves root has none");
            if raises && ask(RAISE, KILL) != 0 {
                return 4;
            }
            in_next_program(n)
        })
    };
    must!(started(true) == 1 << 8, "an ambient one goes along");
    must!(started(false) == 0, "others do not");
    let bits = child(|| {
        const NO_ROOT_AND_LOCK: usize = 3;
        const NO_RAISE: usize = 1 << 6;
        must!(n.prctl([SECURE_BITS, 1 << 8, 0, 0, 0]) == EPERM, "a bit that is none");
        let to = NO_ROOT_AND_LOCK | NO_RAISE;
        must!(n.prctl([SECURE_BITS, to, 0, 0, 0]) == 0, "bits");
        must!(n.prctl([SECURE_BITS - 1, 0, 0, 0, 0]) == to as isize, "what they are");
        must!(n.prctl([SECURE_BITS, 0, 0, 0, 0]) == EPERM, "what is locked");
        must!(ask(RAISE, KILL) == EPERM, "none becomes ambient");
        in_next_program(n)
    });
    must!(bits == 0, "root's program without root's ways");
    0
}

/// A thread that is there when the first one has left.
extern "C" fn stays() -> ! {
    sleep_milliseconds(30_000);
    user::exit(0)
}

fn leader(n: &Numbers) -> i32 {
    let process = fork();
    if process == 0 {
        let stack = map(0, 4 * PAGE, WRITE, PRIVATE | ANONYMOUS) as usize + 4 * PAGE;
        let thread = arch::clone_and_call(arch::THREAD_FLAGS, stack, [0; 3], stays);
        must!(thread > 0, "no thread");
        exit_thread();
    }
    let mut name = [0_u8; 32];
    let mut digits = [0_u8; 20];
    let (mut rest, mut count) = (process as usize, 0);
    while rest > 0 {
        digits[count] = b'0' + (rest % 10) as u8;
        (rest, count) = (rest / 10, count + 1);
    }
    let text = b"/proc/".iter().chain(digits[..count].iter().rev()).chain(b"/stat");
    name.iter_mut().zip(text).for_each(|(to, from)| *to = *from);
    let is_zombie = || {
        let mut text = [0; 128];
        let name = CStr::from_bytes_until_nul(&name).unwrap_or(c"");
        let length = read_file(name, &mut text).unwrap_or(0);
        text[..length].windows(3).any(|part| part == b") Z")
    };
    let shown = (0..1000).any(|_| {
        sleep_milliseconds(5);
        is_zombie()
    });
    must!(shown, "a first thread that has left is no zombie");
    must!(n.call("wait4", [process as usize, 0, 1, 0]) == 0, "its process has not ended");
    must!(n.call("kill", [process as usize, 9]) == 0, "kill");
    must!(ended_within(process, 1000) == Some(9), "its end");
    const NEW_IPC_AND_UNDONE: usize = 0x800_0000 | 0x4_0000 | 17;
    must!(n.call("clone", [NEW_IPC_AND_UNDONE, 0, 0, 0, 0]) == EINVAL, "undone in two namespaces");
    0
}

/// Whose CPUs were left how often, with nothing to do and with more: -1, waited-for children; 1,
/// this thread.
fn left(n: &Numbers, whose: isize) -> [usize; 2] {
    /// Behind two times, of two words each, and twelve other figures.
    const WITH_NOTHING: usize = 16;
    let mut usage = [0_usize; 18];
    n.call("getrusage", [whose as usize, usage.as_mut_ptr().expose_provenance()]);
    let usage = core::hint::black_box(&usage);
    [usage[WITH_NOTHING], usage[WITH_NOTHING + 1]]
}

/// The number behind a word of this thread's `status`.
fn status_number(key: &[u8]) -> usize {
    let mut text = [0; 4096];
    let length = read_file(c"/proc/thread-self/status", &mut text).unwrap_or(0);
    let text = &text[..length];
    let at = text.windows(key.len()).position(|here| here == key);
    let digits = at.map_or(&[][..], |at| &text[at + key.len()..]);
    let digits = digits.iter().skip_while(|&&byte| byte == b' ');
    let digits = digits.take_while(|digit| digit.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0'))
}

fn switches(n: &Numbers) -> i32 {
    const THREAD: isize = 1;
    const CHILDREN: isize = -1;
    const SLEEPS: usize = 10;
    /// Looks at the clock of those who share a CPU: many of their turns.
    const MAX_LOOKS: usize = 100_000_000;
    let [before, _] = left(n, THREAD);
    for _ in 0..SLEEPS {
        sleep_milliseconds(2);
    }
    let [after, _] = left(n, THREAD);
    must!(after >= before + SLEEPS, "sleeps");
    must!(status_number(b"\nvoluntary_ctxt_switches:\t") >= after, "sleeps in status");
    // Two that always have something to do, on one CPU.
    let first_cpu = 1_usize;
    let here = [0, size_of::<usize>(), (&raw const first_cpu).expose_provenance()];
    must!(n.call("sched_setaffinity", here) == 0, "one CPU");
    let other = fork();
    if other == 0 {
        loop {
            core::hint::spin_loop();
        }
    }
    must!(other > 0, "no child");
    let [_, before] = left(n, THREAD);
    let has_left = (0..MAX_LOOKS).any(|_| left(n, THREAD)[1] > before + 3);
    must!(has_left, "turns of others");
    must!(status_number(b"\nnonvoluntary_ctxt_switches:\t") > before + 3, "turns in status");
    let children = left(n, CHILDREN);
    must!(n.call("kill", [other as usize, 9]) == 0, "kill");
    must!(user::calls::status_of(other) & 0x7f == 9, "its end");
    must!(left(n, CHILDREN)[1] > children[1], "turns of a child that was waited for");
    // As many places as there may be descriptors: twice as many, each time that they are full.
    let size = status_number(b"\nFDSize:\t");
    must!(size.is_power_of_two() && size >= usize::BITS as usize, "places of descriptors");
    must!(n.call("dup2", [0, 300]) == 300 || n.call("dup3", [0, 300, 0]) == 300, "dup");
    must!(status_number(b"\nFDSize:\t") == 512, "more places");
    0
}

/// In the file, and so in the part of it that holds data.
static DATA: AtomicUsize = AtomicUsize::new(7);

/// Where /proc/self/stat says that the program and its strings lie; field 22 is the first.
fn places() -> [usize; 31] {
    let mut text = [0; 1024];
    let length = read_file(c"/proc/self/stat", &mut text).unwrap_or(0);
    let end = text[..length].iter().rposition(|&byte| byte == b')').unwrap_or(0);
    let mut fields = text[end..length].split(|&byte| byte == b' ').skip(20);
    core::array::from_fn(|_| {
        let field = fields.next().unwrap_or_default();
        let digits = field.iter().take_while(|digit| digit.is_ascii_digit());
        digits.fold(0_usize, |number, digit| {
            number.wrapping_mul(10).wrapping_add(usize::from(digit - b'0'))
        })
    })
}

fn extents(n: &Numbers) -> i32 {
    let fields = places();
    let field = |number: usize| fields[number - 22];
    let lies = |at: usize, first: usize| (field(first)..field(first + 1)).contains(&at);
    let function: fn(&Numbers) -> i32 = extents;
    must!(lies((function as *const ()).expose_provenance(), 26), "instructions");
    must!(lies((&raw const DATA).expose_provenance(), 45), "data");
    must!(DATA.load(Ordering::Relaxed) == 7, "what is in them");
    let stack = user::first_stack();
    must!(field(28) == stack.expose_provenance(), "the first stack");
    must!(field(47) <= n.call("brk", [0]) as usize && field(47) > field(46), "the heap");
    // SAFETY: (1) the number of arguments, the pointers to them, a null, and those to variables.
    let (argument, variable) = unsafe {
        let arguments = stack.read();
        (stack.add(1).read(), stack.add(arguments + 2).read())
    };
    must!(argument == field(48), "the first argument");
    must!(variable == 0 || variable == field(50), "the first variable");
    must!(field(49) == field(50) && field(50) <= field(51), "one behind the other");
    must!(status_number(b"\nVmExe:\t") > 0, "bytes of instructions");
    // Who may not look is told nothing of it.
    let other = fork();
    if other == 0 {
        sleep_milliseconds(60_000);
        user::exit(0);
    }
    let hidden = child(|| {
        if n.set_user(1000) != 0 {
            return 1;
        }
        let mut path = *b"/proc/0000000000/stat\0";
        let mut number = other as usize;
        for digit in path[6..16].iter_mut().rev() {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
        }
        let zeros = path[6..16].iter().take_while(|&&digit| digit == b'0').count();
        path[6..].rotate_left(zeros);
        let mut text = [0; 1024];
        let Ok(path) = CStr::from_bytes_until_nul(&path) else { return 2 };
        let length = read_file(path, &mut text).unwrap_or(0);
        let end = text[..length].iter().rposition(|&byte| byte == b')').unwrap_or(0);
        let mut fields = text[end..length].split(|&byte| byte == b' ').skip(24);
        let first_three = [fields.next(), fields.next(), fields.next()];
        i32::from(first_three != [Some(&b"1"[..]), Some(b"1"), Some(b"0")]) * 4
    });
    n.call("kill", [other as usize, 9]);
    user::calls::status_of(other);
    must!(hidden == 0, "what a stranger sees");
    0
}

type Part = fn(&Numbers) -> i32;

fn main() -> i32 {
    let Ok(calls) = Calls::read() else { return 2 };
    let n = Numbers(calls);
    let parts: [(&CStr, Part); 7] = [
        (c"extents", extents),
        (c"switches", switches),
        (c"packets", packets),
        (c"shown", shown),
        (c"numbered", numbered),
        (c"ambient", ambient),
        (c"leader", leader),
    ];
    let Some(named) = user::only_argument() else { return 2 };
    if named == b"has-kill" {
        let header = [0x2008_0522_u32, 0];
        let mut sets = [0_u32; 6];
        let told = n.call("capget", [header.as_ptr().addr(), sets.as_mut_ptr().addr()]);
        return if told == 0 { (core::hint::black_box(sets)[0] >> KILL & 1) as i32 } else { 2 };
    }
    let part = parts.iter().find(|part| part.0.to_bytes() == named);
    part.map_or(2, |part| (part.1)(&n))
}
