//! seccomp, as on Linux: which programs are taken for filters, what their answers do, who has them.
//! The first argument names a part: `answers`, `rules`, `listener`. Status 0 if all is as on Linux.

#![no_std]
#![no_main]

use core::sync::atomic::{AtomicUsize, Ordering};
use user::arch::nr;
use user::calls::{Calls, call, read_file};
use user::memory::child;
use user::must;
use user::signals::Numbers;

user::entry!(main);

const EPERM: isize = -1;
const EFAULT: isize = -14;
const EACCES: isize = -13;
const EINVAL: isize = -22;
const ENOSYS: isize = -38;
const ENOMEM: isize = -12;
const EOPNOTSUPP: isize = -95;
const SIGKILL: i32 = 9;
const SIGSYS: i32 = 31;

const ALLOW: u32 = 0x7fff_0000;
const KILL_PROCESS: u32 = 0x8000_0000;
const KILL_THREAD: u32 = 0;
const TRAP: u32 = 0x0003_0000;
const ERROR: u32 = 0x0005_0000;
const TRACE: u32 = 0x7ff0_0000;
const LOG: u32 = 0x7ffc_0000;

/// `struct sock_filter`: code and jumps, number.
type Step = [u32; 2];

const fn step(code: u32, if_true: u32, if_false: u32, k: u32) -> Step {
    [code | if_true << 16 | if_false << 24, k]
}

/// Loads a word of what a filter is told.
const fn load(at: u32) -> Step {
    step(0x20, 0, 0, at)
}

/// Answers.
const fn answer(what: u32) -> Step {
    step(6, 0, 0, what)
}

/// Whether A is a number: if not, so many steps are passed over.
const fn unless(number: u32, passed: u32) -> Step {
    step(0x15, 0, passed, number)
}

struct Here {
    seccomp: usize,
    prctl: usize,
    getppid: usize,
}

impl Here {
    fn add(&self, flags: usize, steps: &[Step]) -> isize {
        let program = [steps.len(), steps.as_ptr().addr()];
        call(self.seccomp, [1, flags, program.as_ptr().addr()])
    }

    fn give_up_privileges(&self) -> isize {
        call(self.prctl, [38, 1, 0, 0, 0])
    }

    /// A filter that says this of getppid, and lets all else through.
    fn for_getppid(&self, what: u32) -> [Step; 4] {
        [load(0), unless(self.getppid as u32, 1), answer(what), answer(ALLOW)]
    }

    fn getppid(&self) -> isize {
        call(self.getppid, [0; 0])
    }
}

static TOLD: [AtomicUsize; 5] = [const { AtomicUsize::new(0) }; 5];

extern "C" fn trapped(_: usize, info: usize, _: usize) {
    let word = |at: usize| {
        // SAFETY: (1) the information is this handler's.
        unsafe { core::ptr::with_exposed_provenance::<u32>(info + at).read() as usize }
    };
    let fields = if size_of::<usize>() == 8 { 16 } else { 12 };
    let told = [word(0), word(4), word(8), word(fields + size_of::<usize>()), 1];
    for (place, value) in TOLD.iter().zip(told) {
        place.store(value, Ordering::Relaxed);
    }
}

fn answers(here: &Here) -> i32 {
    let with = |what: u32, body: &dyn Fn() -> i32| {
        child(|| if here.add(0, &here.for_getppid(what)) == 0 { body() } else { 99 })
    };
    let parent = || i32::from(here.getppid() <= 0);
    must!(with(ALLOW, &parent) == 0, "a call that is allowed");
    must!(with(LOG, &parent) == 0, "a call that is logged");
    must!(with(ERROR | 1, &|| i32::from(here.getppid() != EPERM)) == 0, "a call that is an error");
    must!(with(ERROR, &|| i32::from(here.getppid() != 0)) == 0, "an error that is none");
    must!(with(ERROR | 5000, &|| i32::from(here.getppid() != -4095)) == 0, "a number of no error");
    must!(with(TRACE, &|| i32::from(here.getppid() != ENOSYS)) == 0, "a call for a debugger");
    must!(with(KILL_PROCESS, &parent) & 0x7f == SIGSYS, "a call that ends the process");
    must!(with(KILL_THREAD, &parent) & 0x7f == SIGSYS, "a call that ends the last thread");
    must!(with(0x1234_0000, &parent) & 0x7f == SIGSYS, "an answer that is none");
    let is_trapped = with(TRAP | 77, &|| {
        let Some(numbers) = Numbers::read() else { return 2 };
        numbers.handle(SIGSYS as usize, trapped, 0, 0);
        here.getppid();
        let wanted = [SIGSYS as usize, 77, 1, here.getppid, 1];
        let told = TOLD.each_ref().map(|word| word.load(Ordering::Relaxed));
        i32::from(told != wanted)
    });
    must!(is_trapped == 0, "a call that becomes a signal");
    let strict = child(|| {
        if call(here.seccomp, [0, 0, 0]) != 0 || call(nr::WRITE, [1, 0, 0]) != 0 {
            return 1;
        }
        here.getppid();
        2
    });
    must!(strict & 0x7f == SIGKILL, "a call of one that may make four");
    // The strictest answer counts, whichever came first; arguments are told.
    let both = child(|| {
        here.add(0, &here.for_getppid(ERROR | 7));
        here.add(0, &here.for_getppid(LOG));
        let by_argument = [
            load(0),
            unless(nr::CLOSE as u32, 3),
            load(16),
            unless(77, 1),
            answer(ERROR | 55),
            answer(ALLOW),
        ];
        here.add(0, &by_argument);
        let of_child = child(|| i32::from(here.getppid() != -7));
        let first = here.getppid() == -7 && of_child == 0;
        let second = call(nr::CLOSE, [77]) == -55 && call(nr::CLOSE, [78]) == -9;
        i32::from(!first) + 2 * i32::from(!second)
    });
    must!(both == 0, "several filters, and those of a child");
    must!(here.getppid() >= 0, "filters of children are their own");
    0
}

fn rules(here: &Here) -> i32 {
    let fits = |steps: &[Step]| child(|| (here.add(0, steps) == 0).into()) == 0x100;
    let refused = |steps: &[Step]| child(|| (here.add(0, steps) == EINVAL).into()) == 0x100;
    let end = answer(ALLOW);
    must!(fits(&[end]), "the shortest filter");
    must!(refused(&[load(0)]), "one without an end");
    must!(refused(&[load(2), end]), "a word that is none");
    must!(refused(&[load(64), end]), "a word beyond");
    must!(fits(&[load(60), end]), "the last word");
    must!(refused(&[step(5, 0, 0, 1), end]), "a jump beyond the end");
    must!(fits(&[step(5, 0, 0, 0), end]), "a jump to the end");
    must!(refused(&[unless(0, 1), end]), "a branch beyond the end");
    must!(refused(&[step(0x34, 0, 0, 0), end]), "a division by 0");
    must!(refused(&[step(0x64, 0, 0, 32), end]), "a shift of all");
    must!(refused(&[step(0x94, 0, 0, 1), end]), "a remainder");
    must!(refused(&[step(0x60, 0, 0, 3), end]), "a word that was never written");
    must!(fits(&[step(2, 0, 0, 3), step(0x60, 0, 0, 3), end]), "one that was");
    must!(refused(&[step(2, 0, 0, 16), end]), "a word that there is not");
    let one_way = [unless(0, 1), step(2, 0, 0, 1), step(0x60, 0, 0, 1), end];
    must!(refused(&one_way), "a word that one way does not write");
    must!(refused(&[step(0x28, 0, 0, 0), end]), "half a word");
    // Sums: the call is made only if each is right.
    let sums = [
        step(0, 0, 0, 7),
        step(0x04, 0, 0, 5),
        step(0x14, 0, 0, 2),
        step(0x24, 0, 0, 3),
        step(0x34, 0, 0, 2),
        step(0x44, 0, 0, 0x30),
        step(0x54, 0, 0, 0x3f),
        step(0x64, 0, 0, 2),
        step(0x74, 0, 0, 1),
        step(0xa4, 0, 0, 0x61),
        step(7, 0, 0, 0),
        step(0, 0, 0, 0),
        step(0x87, 0, 0, 0),
        unless(31, 1),
        end,
        answer(KILL_PROCESS),
    ];
    // 7 + 5 - 2 = 10, * 3 = 30, / 2 = 15, | 0x30 = 63, << 2 = 252, >> 1 = 126, ^ 0x61 = 31.
    must!(child(|| (here.add(0, &sums) == 0 && here.getppid() > 0).into()) == 0x100, "sums");
    let by_nothing = [step(1, 0, 0, 0), step(0x3c, 0, 0, 0), end];
    let ends = child(|| {
        here.add(0, &by_nothing);
        here.getppid();
        0
    });
    must!(ends & 0x7f == SIGSYS, "a division by X, which is 0");
    must!(here.add(0x40, &[end]) == EINVAL, "a flag that there is not");
    must!(call(here.seccomp, [1, 0, 8]) == EFAULT, "a program that is nowhere");
    must!(call(here.seccomp, [9, 0, 0]) == EINVAL, "an operation that there is not");
    let available = |action: u32| call(here.seccomp, [2, 0, (&raw const action).addr()]);
    must!(available(TRAP) == 0 && available(5) == EOPNOTSUPP, "which actions there are");
    must!(call(here.prctl, [21, 0, 0, 0, 0]) == 0, "the mode");
    let mine = child(|| {
        call(nr_setresuid(), [1000, 1000, 1000]);
        if here.add(0, &[end]) != EACCES {
            return 1;
        }
        if here.give_up_privileges() != 0 || here.add(0, &[end]) != 0 {
            return 2;
        }
        if call(here.seccomp, [0, 0, 0]) != EINVAL || call(here.prctl, [21, 0, 0, 0, 0]) != 2 {
            return 3;
        }
        here.add(0, &[end]);
        let mut text = [0; 2048];
        let length = read_file(c"/proc/self/status", &mut text).unwrap_or(0);
        let has = |line: &[u8]| text[..length].windows(line.len()).any(|here| here == line);
        i32::from(!has(b"Seccomp:\t2\nSeccomp_filters:\t2\n")) * 4
    });
    must!(mine == 0, "a filter of one without privileges");
    let many = child(|| {
        let long = [end; 4096];
        let added = (0..9).take_while(|_| here.add(0, &long) == 0).count();
        i32::from(added != 7 || here.add(0, &long) != ENOMEM)
    });
    must!(many == 0, "more than there may be of all");
    threads(here)
}

fn nr_setresuid() -> usize {
    Calls::read().map_or(usize::MAX, |calls| calls.number("setresuid"))
}

static STAGE: AtomicUsize = AtomicUsize::new(0);
static GETPPID: AtomicUsize = AtomicUsize::new(0);

extern "C" fn other() -> ! {
    STAGE.store(1, Ordering::SeqCst);
    while STAGE.load(Ordering::SeqCst) != 2 {
        call(nr::SCHED_YIELD, [0; 0]);
    }
    let result = call(GETPPID.load(Ordering::Relaxed), [0; 0]);
    STAGE.store(100_usize.wrapping_add_signed(result), Ordering::SeqCst);
    loop {
        call(nr::SCHED_YIELD, [0; 0]);
    }
}

/// A filter for all threads.
fn threads(here: &Here) -> i32 {
    const THREAD: usize = 0x100 | 0x200 | 0x400 | 0x800 | 0x1_0000;
    GETPPID.store(here.getppid, Ordering::Relaxed);
    let all = child(|| {
        let stack = user::memory::map(0, 4 * 4096, 3, 0) as usize;
        user::arch::clone_and_call(THREAD, stack + 4 * 4096, [0; 3], other);
        while STAGE.load(Ordering::SeqCst) != 1 {
            call(nr::SCHED_YIELD, [0; 0]);
        }
        if here.add(1, &here.for_getppid(ERROR | 9)) != 0 {
            return 1;
        }
        STAGE.store(2, Ordering::SeqCst);
        while STAGE.load(Ordering::SeqCst) == 2 {
            call(nr::SCHED_YIELD, [0; 0]);
        }
        i32::from(STAGE.load(Ordering::SeqCst) != 91) * 2
    });
    must!(all == 0, "a filter for all threads");
    0
}

/// Another process answers calls that a filter leaves to it.
fn listener(here: &Here, calls: &Calls) -> i32 {
    const ASK: u32 = 0x7fc0_0000;
    const LISTENS: usize = 8;
    const RECEIVE: usize = 0xc050_2100;
    const SEND: usize = 0xc018_2101;
    const IS_WAITING: usize = 0x4008_2102;
    const ADD_FILE: usize = 0x4018_2103;
    const ENOENT: isize = -2;
    const EBUSY: isize = -16;
    const EBADF: isize = -9;
    let steps = here.for_getppid(ASK);
    must!(child(|| i32::from(here.add(0, &steps) != 0 || here.getppid() != ENOSYS)) == 0, "nobody");
    must!(here.add(LISTENS | 1, &steps) == EINVAL, "a number that means two things");
    must!(here.add(0x20, &steps) == EINVAL, "nobody to wait for");
    let ear = here.add(LISTENS, &steps);
    must!(ear >= 0 && here.add(LISTENS, &steps) == EBUSY, "one listener");
    let ear = ear as usize;
    let mut sizes = [0_u16; 4];
    must!(call(here.seccomp, [3, 0, sizes.as_mut_ptr().addr()]) == 0, "sizes");
    must!(core::hint::black_box(&sizes)[..3] == [80, 24, 64], "of structures");
    let ioctl = calls.number("ioctl");
    let ask = |request: usize, words: &mut [u64; 10]| {
        call(ioctl, [ear, request, core::hint::black_box(words).as_mut_ptr().addr()])
    };
    let events = || {
        let mut watched = [ear as u32, 0x15];
        call(calls.number("ppoll"), [watched.as_mut_ptr().addr(), 1, [0_u64; 2].as_ptr().addr()]);
        core::hint::black_box(&watched)[1] >> 16
    };
    let close = calls.number("close");
    let one = user::fork();
    if one == 0 {
        // Who keeps the file itself waits for itself.
        call(close, [ear]);
        let told = here.getppid() == 77;
        let made = here.getppid() > 0;
        let refused = here.getppid() == EPERM;
        let file = here.getppid();
        let given = file > 2 && call(close, [file as usize]) == 0;
        let late = here.getppid() == ENOSYS;
        return if told && made && refused && given && late { 0 } else { 1 };
    }
    let receive = |words: &mut [u64; 10]| {
        *words = [0; 10];
        let received = ask(RECEIVE, words);
        let number = words[2] as u32 as usize;
        received == 0 && words[1] == one as u64 && number == here.getppid
    };
    let mut told = [1; 10];
    must!(ask(RECEIVE, &mut told) == EINVAL, "what is not empty");
    must!(receive(&mut told), "a call is told, and whose it is");
    must!(events() == 4, "it is to be answered");
    let id = told[0];
    must!(ask(IS_WAITING, &mut [id; 10]) == 0, "its thread waits");
    must!(ask(IS_WAITING, &mut [id + 99; 10]) == ENOENT, "another does not");
    let answer = |id: u64, value: u64, error: i32, flags: u32| {
        let last = u64::from(error as u32) | u64::from(flags) << 32;
        ask(SEND, &mut [id, value, last, 0, 0, 0, 0, 0, 0, 0])
    };
    must!(answer(id, 1, 0, 1) == EINVAL && answer(id, 0, 0, 2) == EINVAL, "no answers");
    must!(answer(id + 99, 1, 0, 0) == ENOENT, "an answer to nobody");
    must!(answer(id, 77, 0, 0) == 0, "it returns something else");
    must!(receive(&mut told) && answer(told[0], 0, 0, 1) == 0, "it is made");
    must!(receive(&mut told) && answer(told[0], 0, -1, 0) == 0, "it is an error");
    must!(receive(&mut told), "it is told once more");
    let file = |id: u64, how: u64, source: u64, number: u64| {
        ask(ADD_FILE, &mut [id, how | source << 32, number, 0, 0, 0, 0, 0, 0, 0])
    };
    must!(file(told[0], 2, 99, 0) == EBADF, "a file that is none");
    must!(file(told[0], 2, 1, 5) == EINVAL, "a number that was not asked for");
    must!(file(told[0], 2, 1, 0) > 2, "it returns a file");
    must!(receive(&mut told), "the last one");
    call(close, [ear]);
    must!(user::calls::status_of(one) == 0, "each call returned what it was to");
    0
}

fn main() -> i32 {
    let Some(named) = user::only_argument() else { return 2 };
    let Ok(calls) = Calls::read() else { return 2 };
    let here = Here {
        seccomp: calls.number("seccomp"),
        prctl: calls.number("prctl"),
        getppid: calls.number("getppid"),
    };
    match named {
        b"answers" => answers(&here),
        b"rules" => rules(&here),
        b"listener" => {
            must!(child(|| listener(&here, &calls)) == 0, "who supervises another process");
            0
        }
        _ => 2,
    }
}
