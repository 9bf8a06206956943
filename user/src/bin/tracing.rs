//! Tracing (ptrace), as a debugger uses it. The first argument names a part: `signals`, `calls`,
//! `births`, `seized`, `ends`, `filtered`, `waiting`, `dispatch`,
//! `emptied`. Status 0 if all is as on Linux.

#![no_std]
#![no_main]

use user::arch::nr;
use user::calls::{Calls, call, path, read_file, sleep_milliseconds, status_of};
use user::memory::{PAGE, READ, SIGSEGV, WRITE, child, map, read, write};
use user::must;

user::entry!(main);

const ESRCH: isize = -3;
const EPERM: isize = -1;
const EIO: isize = -5;
const EINVAL: isize = -22;
const EFAULT: isize = -14;
const ENOSYS: isize = -38;
const ECHILD: isize = -10;

const SIGTRAP: i32 = 5;
const SIGKILL: i32 = 9;
const SIGUSR1: i32 = 10;
const SIGUSR2: i32 = 12;
const SIGCHLD: i32 = 17;
const SIGCONT: i32 = 18;
const SIGSTOP: i32 = 19;

const TRACE_ME: usize = 0;
const PEEK: usize = 2;
const POKE: usize = 5;
const CONTINUE: usize = 7;
const STEP: usize = 9;
const ATTACH: usize = 16;
const DETACH: usize = 17;
const TO_CALL: usize = 24;
const INSTEAD_OF_CALL: usize = 31;
const SET_OPTIONS: usize = 0x4200;
const GET_MESSAGE: usize = 0x4201;
const GET_INFO: usize = 0x4202;
const GET_SET: usize = 0x4204;
const SET_SET: usize = 0x4205;
const SEIZE: usize = 0x4206;
const INTERRUPT: usize = 0x4207;
const LISTEN: usize = 0x4208;
const PEEK_INFO: usize = 0x4209;
const GET_CALL: usize = 0x420e;
const SET_DISPATCH: usize = 0x4210;
const GET_DISPATCH: usize = 0x4211;

const MARK_CALLS: usize = 1;
const TELL_FORK: usize = 2;
const TELL_EXEC: usize = 16;
const TELL_EXIT: usize = 64;
const TELL_FILTER: usize = 128;
const KILL_WITH_ME: usize = 1 << 20;

/// `__WALL`.
const ALL: usize = 0x4000_0000;
const NO_HANG: usize = 1;
const UNTRACED: usize = 2;

struct Numbers(Calls);

impl Numbers {
    fn call<const N: usize>(&self, name: &str, arguments: [usize; N]) -> isize {
        call(self.0.number(name), arguments)
    }

    fn trace(&self, request: usize, one: isize, address: usize, data: usize) -> isize {
        self.call("ptrace", [request, one as usize, address, data])
    }

    fn kill(&self, one: isize, signal: i32) {
        self.call("kill", [one as usize, signal as usize]);
    }

    fn own(&self) -> isize {
        self.call("getpid", [])
    }

    fn raise(&self, signal: i32) {
        self.kill(self.own(), signal);
    }

    fn peek(&self, one: isize, at: usize) -> usize {
        let mut word = usize::MAX;
        let done = self.trace(PEEK, one, at, (&raw mut word).addr());
        if done == 0 { word } else { usize::MAX }
    }

    /// A child that is traced by the caller from its beginning, and halted by SIGSTOP there.
    fn traced(&self, body: impl FnOnce() -> i32) -> isize {
        let one = user::fork();
        if one == 0 {
            self.trace(TRACE_ME, 0, 0, 0);
            self.raise(SIGSTOP);
            user::exit(body());
        }
        one
    }
}

/// A wait status of any child or traced thread; the error.
fn wait(one: isize, options: usize) -> Result<(isize, i32), isize> {
    let mut status = -1_i32;
    let found = call(nr::WAIT4, [one as usize, (&raw mut status).addr(), options, 0]);
    if found < 0 { Err(found) } else { Ok((found, status)) }
}

fn halt_of(one: isize) -> i32 {
    wait(one, ALL).map_or(-1, |(_, status)| status)
}

/// The wait status of a halt with a signal, and with an event.
const fn halted(signal: i32, event: i32) -> i32 {
    event << 16 | signal << 8 | 0x7f
}

/// Signals are told before they are taken: the tracer chooses.
fn signals(n: &Numbers) -> i32 {
    let shared = map(0, PAGE, WRITE, 0) as usize;
    let readable = map(0, PAGE, READ, 0) as usize;
    write(shared, 1);
    let one = n.traced(|| {
        n.raise(SIGUSR1);
        n.raise(SIGUSR2);
        // Ignored by default, and told all the same.
        n.raise(SIGCHLD);
        if read(shared) == 5 && read(readable) == 6 { 3 } else { 4 }
    });
    must!(wait(one, UNTRACED) == Ok((one, halted(SIGSTOP, 0))), "the first halt");
    must!(wait(one, NO_HANG | UNTRACED) == Ok((0, -1)), "it is told once");
    must!(n.peek(one, shared) == 1, "its memory");
    must!(n.trace(POKE, one, shared, 5) == 0, "its memory is written");
    must!(n.trace(POKE, one, readable, 6) == 0, "a page that may only be read is written");
    must!(read(shared) == 1, "its memory is its own");
    let mut word = 0_usize;
    must!(n.trace(PEEK, one, 64, (&raw mut word).addr()) == EIO, "where nothing is");
    must!(n.trace(CONTINUE, one, 0, 0) == 0, "it continues without SIGSTOP");
    must!(halt_of(one) == halted(SIGUSR1, 0), "a signal is told");
    let mut info = [0_i32; 32];
    must!(n.trace(GET_INFO, one, 0, info.as_mut_ptr().addr()) == 0, "what it says");
    must!(info[0] == SIGUSR1 && info[2] == 0, "that it was sent by kill");
    n.trace(CONTINUE, one, 0, 0);
    must!(halt_of(one) == halted(SIGUSR2, 0), "the first one was not taken");
    n.trace(CONTINUE, one, 0, 0);
    must!(halt_of(one) == halted(SIGCHLD, 0), "one that would be ignored");
    must!(n.trace(CONTINUE, one, 0, 999) == EIO, "no signal has this number");
    n.trace(CONTINUE, one, 0, 0);
    must!(halt_of(one) == 3 << 8, "it has seen what was written, and has ended");
    must!(n.trace(CONTINUE, one, 0, 0) == ESRCH, "nothing is traced any more");

    let one = n.traced(|| 5);
    halt_of(one);
    must!(n.trace(CONTINUE, one, 0, SIGUSR1 as usize) == 0, "another signal than was told");
    must!(halt_of(one) == SIGUSR1, "it dies of that one");

    let one = n.traced(|| {
        write(64, 1);
        5
    });
    halt_of(one);
    n.trace(CONTINUE, one, 0, 0);
    must!(halt_of(one) == halted(SIGSEGV, 0), "a fault is told");
    n.kill(one, SIGKILL);
    must!(halt_of(one) == SIGKILL, "SIGKILL ends what is halted");
    0
}

/// `struct ptrace_syscall_info`.
#[repr(C)]
struct Info {
    what: u8,
    machine: u32,
    pc: u64,
    sp: u64,
    words: [u64; 8],
}

const NO_INFO: Info = Info { what: 9, machine: 0, pc: 0, sp: 0, words: [0; 8] };

/// Where one is, and how much is told of it.
fn look_at(n: &Numbers, one: isize) -> (Info, isize) {
    let mut info = NO_INFO;
    let bytes = n.trace(GET_CALL, one, size_of::<Info>(), (&raw mut info).addr());
    (info, bytes)
}

/// What is told with a halt.
fn message(n: &Numbers, one: isize) -> usize {
    let mut message = 0_usize;
    n.trace(GET_MESSAGE, one, 0, (&raw mut message).addr());
    core::hint::black_box(message)
}

/// Calls are halted at, their arguments seen, their results changed; a single step.
fn calls(n: &Numbers) -> i32 {
    let number = n.0.number("getpriority");
    let one = n.traced(|| {
        let first = call(number, [0, 0]);
        let second = call(number, [0, 0]);
        i32::from(first != 20) + 2 * i32::from(second != 77)
    });
    halt_of(one);
    must!(n.trace(SET_OPTIONS, one, 0, 1 << 31) == EINVAL, "an option that is not known");
    must!(n.trace(SET_OPTIONS, one, 0, MARK_CALLS) == 0, "calls are marked");
    let look = || look_at(n, one);
    must!(look().0.what == 0 && look().1 == 24, "it is at no call");
    for round in 0..2 {
        // The call that raised the signal may not have returned yet.
        loop {
            n.trace(TO_CALL, one, 0, 0);
            must!(halt_of(one) == halted(SIGTRAP | 0x80, 0), "at the beginning of a call");
            if look().0.words[0] == number as u64 && look().0.what == 1 {
                break;
            }
        }
        let (info, bytes) = look();
        must!(bytes == 80 && info.words[1] == 0, "a call with its arguments");
        must!(message(n, one) == 1, "which side of it");
        n.trace(TO_CALL, one, 0, 0);
        must!(halt_of(one) == halted(SIGTRAP | 0x80, 0), "at its end");
        let (info, bytes) = look();
        must!(message(n, one) == 2, "the other side of it");
        must!(bytes == 33 && info.what == 2 && info.words[0] == 20, "its result");
        must!(info.words[1] & 0xff == 0, "which is no error");
        if round == 1 {
            must!(change_result(n, one, 20, 77), "the result is changed");
        }
    }
    n.trace(CONTINUE, one, 0, 0);
    must!(halt_of(one) == 0, "the program has seen what it was given");

    let one = n.traced(|| i32::from(call(number, [0, 0]) != 77));
    halt_of(one);
    must!(n.trace(INSTEAD_OF_CALL, one, 0, 0) == 0, "a call is the tracer's");
    must!(
        halt_of(one) == halted(SIGTRAP, 0) && look_at(n, one).0.words[0] == number as u64,
        "it is there"
    );
    // What is there before differs.
    change_result(n, one, 0, 77);
    must!(change_result(n, one, 77, 77), "the tracer has carried it out");
    n.trace(CONTINUE, one, 0, 0);
    must!(halt_of(one) == 0, "and the kernel has not");

    let one = n.traced(|| {
        // Instructions enough.
        let sum = (0..100).fold(0, |sum, number| core::hint::black_box(sum + number));
        sum - 4944
    });
    halt_of(one);
    if n.trace(STEP, one, 0, 0) == EIO {
        // This processor has no way to do that.
        n.trace(CONTINUE, one, 0, 0);
        must!(halt_of(one) == 6 << 8, "it continues");
        return 0;
    }
    let mut places = [0; 8];
    for place in &mut places {
        must!(halt_of(one) == halted(SIGTRAP, 0), "behind one instruction");
        *place = look_at(n, one).0.pc;
        n.trace(STEP, one, 0, 0);
    }
    must!(places.windows(2).all(|two| two[0] != two[1]), "each time it is at another one");
    halt_of(one);
    n.trace(CONTINUE, one, 0, 0);
    must!(halt_of(one) == 6 << 8, "the flag does not stay");
    0
}

/// Changes the one register that has a value, in the set of general registers.
fn change_result(n: &Numbers, one: isize, from: usize, to: usize) -> bool {
    const GENERAL: usize = 1;
    let mut words = [0_usize; 64];
    let mut set = [words.as_mut_ptr().addr(), size_of_val(&words)];
    let got = n.trace(GET_SET, one, GENERAL, set.as_mut_ptr().addr());
    let bytes = set[1];
    // Where the result is on this machine: the first argument of a call on most, RAX, EAX.
    let at = match () {
        _ if cfg!(target_pointer_width = "64") && bytes == 27 * 8 => 10,
        _ if bytes == 17 * 4 => 6,
        _ if bytes == 32 * 8 => 10,
        _ => 0,
    };
    let was = words[at];
    words[at] = to;
    core::hint::black_box(&words);
    let put = n.trace(SET_SET, one, GENERAL, set.as_mut_ptr().addr());
    (got, put, was) == (0, 0, from)
}

/// Children, programs and ends are told of, and children are traced too.
fn births(n: &Numbers) -> i32 {
    let one = n.traced(|| {
        let status = child(|| 9);
        let argv = [path(c"busybox"), path(c"true"), 0];
        let envp = [0_usize];
        if status == 9 << 8 {
            call(nr::EXECVE, [path(c"/bin/busybox"), argv.as_ptr().addr(), envp.as_ptr().addr()]);
        }
        5
    });
    halt_of(one);
    n.trace(SET_OPTIONS, one, 0, TELL_FORK | TELL_EXEC | TELL_EXIT);
    n.trace(CONTINUE, one, 0, 0);
    must!(halt_of(one) == halted(SIGTRAP, 1), "a fork is told");
    let mut message = 0_usize;
    n.trace(GET_MESSAGE, one, 0, (&raw mut message).addr());
    let other = message as isize;
    must!(wait(other, ALL) == Ok((other, halted(SIGSTOP, 0))), "the child is halted");
    n.trace(CONTINUE, other, 0, 0);
    n.trace(CONTINUE, one, 0, 0);
    must!(halt_of(other) == halted(SIGTRAP, 6), "its end is told before it comes");
    n.trace(GET_MESSAGE, other, 0, (&raw mut message).addr());
    must!(message == 9 << 8, "with its status");
    n.trace(CONTINUE, other, 0, 0);
    must!(halt_of(other) == 9 << 8, "its tracer waits for it, though it is another's child");
    must!(halt_of(one) == halted(SIGCHLD, 0), "its parent is told, too");
    n.trace(CONTINUE, one, 0, SIGCHLD as usize);
    must!(halt_of(one) == halted(SIGTRAP, 4), "another program is told");
    n.trace(CONTINUE, one, 0, 0);
    must!(halt_of(one) == halted(SIGTRAP, 6), "the end of that");
    n.trace(CONTINUE, one, 0, 0);
    must!(halt_of(one) == 0, "it has run");

    let one = n.traced(|| {
        let argv = [path(c"busybox"), path(c"true"), 0];
        let envp = [0_usize];
        call(nr::EXECVE, [path(c"/bin/busybox"), argv.as_ptr().addr(), envp.as_ptr().addr()]) as i32
    });
    halt_of(one);
    n.trace(CONTINUE, one, 0, 0);
    must!(halt_of(one) == halted(SIGTRAP, 0), "without the option, a signal says it");
    n.trace(CONTINUE, one, 0, 0);
    must!(halt_of(one) == 0, "and the program runs");
    0
}

/// One that is seized is interrupted; its stops are told apart from signals.
fn seized(n: &Numbers) -> i32 {
    const STOP: i32 = 128;
    let shared = n.call("memfd_create", [path(c"seen"), 0]) as usize;
    n.call("ftruncate", [shared, PAGE]);
    let at = call(nr::MMAP, [0, PAGE, WRITE, 1, shared, 0]) as usize;
    let one = user::fork();
    if one == 0 {
        loop {
            write(at, read(at) + 1);
            sleep_milliseconds(1);
        }
    }
    must!(n.trace(ATTACH, n.own(), 0, 0) == EPERM, "no process traces itself");
    must!(n.trace(SEIZE, one, 0, 0) == 0, "a child is seized");
    must!(n.trace(SEIZE, one, 0, 0) == EPERM, "once");
    must!(n.trace(CONTINUE, one, 0, 0) == ESRCH, "it runs");
    must!(n.trace(INTERRUPT, one, 0, 0) == 0, "it is interrupted");
    must!(halt_of(one) == halted(SIGTRAP, STOP), "and halts, without a signal");
    let seen = read(at);
    sleep_milliseconds(20);
    must!(read(at) == seen, "it rests");
    n.trace(CONTINUE, one, 0, 0);
    n.kill(one, SIGSTOP);
    must!(halt_of(one) == halted(SIGSTOP, 0), "a signal that stops");
    n.trace(CONTINUE, one, 0, SIGSTOP as usize);
    must!(halt_of(one) == halted(SIGSTOP, STOP), "the stop is told apart");
    must!(n.trace(LISTEN, one, 0, 0) == 0, "it stays stopped");
    n.kill(one, SIGCONT);
    must!(halt_of(one) == halted(SIGTRAP, STOP), "until it is to continue");
    n.trace(CONTINUE, one, 0, 0);
    must!(halt_of(one) == halted(SIGCONT, 0), "by a signal, which is told");
    must!(n.trace(DETACH, one, 0, 0) == 0, "let go of");
    let seen = read(at);
    let mut looks = 0;
    while read(at) == seen && looks < 1000 {
        sleep_milliseconds(2);
        looks += 1;
    }
    must!(read(at) != seen, "it runs");
    must!(n.trace(ATTACH, one, 0, 0) == 0, "traced again");
    must!(halt_of(one) == halted(SIGSTOP, 0), "which a signal tells");
    n.kill(one, SIGKILL);
    must!(halt_of(one) == SIGKILL, "it dies");
    let root = child(|| {
        n.call("setresuid", [1000, 1000, 1000]);
        i32::from(n.trace(ATTACH, 1, 0, 0) != EPERM)
    });
    must!(root == 0, "a user traces no process of root");
    0
}

/// A tracer that ends lets go of what it traces, or takes it along.
fn ends(n: &Numbers) -> i32 {
    let one = user::fork();
    if one == 0 {
        loop {
            sleep_milliseconds(1);
        }
    }
    for (options, is_to_die) in [(0, false), (KILL_WITH_ME, true)] {
        let tracer = user::fork();
        if tracer == 0 {
            let is_wrong = i32::from(n.trace(SEIZE, one, 0, options) != 0)
                + 2 * i32::from(n.trace(INTERRUPT, one, 0, 0) != 0)
                + 4 * i32::from(halt_of(one) != halted(SIGTRAP, 128));
            user::exit(is_wrong);
        }
        // Of these two, both may have ended.
        must!(status_of(tracer) == 0, "a tracer that is no parent");
        if !is_to_die {
            must!(wait(one, NO_HANG) == Ok((0, -1)), "it lives, and runs");
        }
    }
    must!(status_of(one) == SIGKILL, "it is killed with its tracer");
    must!(wait(-1, ALL) == Err(ECHILD), "nothing is left");
    // A tracer that is killed while both of its halves wait for each other.
    let tracer = user::fork();
    if tracer == 0 {
        let one = n.traced(|| 0);
        halt_of(one);
        loop {
            sleep_milliseconds(1);
        }
    }
    sleep_milliseconds(20);
    n.kill(tracer, SIGKILL);
    must!(status_of(tracer) == SIGKILL, "a tracer is killed");
    0
}

/// A filter leaves a call to the tracer, which is told of it and has it made.
fn filtered(n: &Numbers) -> i32 {
    const FILTERED: i32 = 7;
    let number = n.0.number("getpriority");
    let one = n.traced(|| {
        let answers = [0x7ff0_0000_u32 | 77, 0x7fff_0000];
        // What is the call's number? This one is left to the tracer, others are made.
        let steps = [[0x20, 0], [0x0100_0015, number as u32], [6, answers[0]], [6, answers[1]]];
        let program = [steps.len(), steps.as_ptr().addr()];
        n.call("prctl", [38, 1, 0, 0, 0]);
        if n.call("seccomp", [1, 0, program.as_ptr().addr()]) != 0 {
            return 99;
        }
        let first = call(number, [0, 0]);
        n.raise(SIGUSR1);
        let second = call(number, [0, 0]);
        i32::from(first != ENOSYS) + 2 * i32::from(second != 20)
    });
    halt_of(one);
    n.trace(CONTINUE, one, 0, 0);
    must!(halt_of(one) == halted(SIGUSR1, 0), "a tracer that does not ask is not told");
    must!(n.trace(SET_OPTIONS, one, 0, TELL_FILTER) == 0, "it asks");
    n.trace(CONTINUE, one, 0, 0);
    must!(halt_of(one) == halted(SIGTRAP, FILTERED), "it is told");
    must!(message(n, one) == 77, "what the filter says");
    let mut info = NO_INFO;
    let bytes = n.trace(GET_CALL, one, size_of::<Info>(), (&raw mut info).addr());
    must!(bytes == 84 && info.what == 3 && info.words[0] == number as u64, "which call it is");
    must!(info.words[7] == 77, "and what the filter says of it");
    n.trace(CONTINUE, one, 0, 0);
    must!(halt_of(one) == 0, "the call was made");
    0
}

/// Signals that wait are looked at, those of a thread and those of its process.
fn waiting(n: &Numbers) -> i32 {
    const INFO_WORDS: usize = 32;
    const OF_PROCESS: u32 = 1;
    const REAL_TIME: usize = 40;
    let one = n.traced(|| 0);
    halt_of(one);
    // It cannot be sent to itself by its parent as the kernel's own; as a program's it can.
    let send = |call: &str, value: i32| {
        let mut info = [0_i32; INFO_WORDS];
        info[2] = -1;
        info[if size_of::<usize>() == 8 { 6 } else { 5 }] = value;
        let at = info.as_ptr().addr();
        let one = one as usize;
        match call {
            "rt_sigqueueinfo" => n.call(call, [one, REAL_TIME, at]),
            _ => n.call(call, [one, one, REAL_TIME, at]),
        }
    };
    for value in 0..3 {
        must!(send("rt_sigqueueinfo", value) == 0, "signals for the process");
        must!(send("rt_tgsigqueueinfo", 10 + value) == 0, "signals for the thread");
    }
    let area = map(0, 2 * PAGE, WRITE, 0) as usize;
    let look = |first: u32, flags: u32, count: u32, to: usize| {
        let asked = [first, 0, flags, count];
        n.trace(PEEK_INFO, one, asked.as_ptr().addr(), to)
    };
    let value_at = |place: usize| {
        let byte = if size_of::<usize>() == 8 { 24 } else { 20 };
        read(area + place * 4 * INFO_WORDS + byte) as u32
    };
    must!(look(0, OF_PROCESS, 10, area) == 3, "three wait");
    must!((0..3).all(|place| value_at(place) == place as u32), "in their order");
    must!(look(1, 0, 1, area) == 1 && value_at(0) == 11, "the thread's second one");
    must!(look(3, 0, 1, area) == 0, "there is no fourth");
    must!(look(0, 2, 1, area) == EINVAL, "a flag that is not known");
    must!(look(0, 0, u32::MAX, area) == EINVAL, "fewer than none");
    n.call("mprotect", [area + PAGE, PAGE, READ]);
    must!(look(0, 0, 3, area + PAGE - 8 * INFO_WORDS) == 2, "as many as there is room for");
    must!(look(0, 0, 3, area + PAGE) == EFAULT, "there is no room");
    must!(n.trace(PEEK_INFO, one, 64, area) == EFAULT, "no question");
    n.kill(one, SIGKILL);
    must!(halt_of(one) == SIGKILL, "it dies");
    0
}

/// Which calls a program carries out itself is read and set by its tracer, where there is that.
fn dispatch(n: &Numbers) -> i32 {
    let one = n.traced(|| 0);
    halt_of(one);
    const BYTES: usize = 32;
    let get = |bytes: usize| {
        let mut asked = [9_u64; 4];
        let result = n.trace(GET_DISPATCH, one, bytes, asked.as_mut_ptr().addr());
        (result, core::hint::black_box(asked))
    };
    let set = |asked: [u64; 4]| {
        let asked = core::hint::black_box(&asked);
        n.trace(SET_DISPATCH, one, BYTES, asked.as_ptr().addr())
    };
    // Linux has it where its entry code is not the architecture's own: prctl knows.
    if n.call("prctl", [59, 0, 0, 0, 0]) == 0 {
        must!(get(BYTES) == (0, [0; 4]), "nothing is asked for");
        must!(set([1, 0, 0x40_0000, 0x1000]) == 0, "it is set");
        must!(get(BYTES) == (0, [1, 0, 0x40_0000, 0x1000]), "and read again");
        must!(set([0, 0, 1, 0]) == EINVAL, "a range of nothing");
        must!(n.trace(GET_DISPATCH, one, BYTES, 64) == EFAULT, "no room");
    }
    must!(get(BYTES - 1).0 == EINVAL, "another structure");
    n.kill(one, SIGKILL);
    must!(halt_of(one) == SIGKILL, "it dies");
    0
}

/// A program that has nothing mapped any more: its sum in /proc is of nothing, in its usual place.
fn emptied(n: &Numbers) -> i32 {
    let one = n.traced(|| {
        let mut text = [0; 4096];
        let length = read_file(c"/proc/self/maps", &mut text).unwrap_or(0);
        let hex = |digits: &[u8]| {
            let digit = |byte: &u8| (*byte as char).to_digit(16).unwrap_or(0) as usize;
            digits.iter().fold(0, |number, byte| number << 4 | digit(byte))
        };
        let lines = text[..length].split(|&byte| byte == b'\n');
        let tops = lines.filter_map(|line| line.split(|&byte| byte == b'-' || byte == b' ').nth(1));
        let top = tops.map(hex).max().unwrap_or(0);
        call(nr::MUNMAP, [PAGE, top - PAGE]);
        1
    });
    halt_of(one);
    n.trace(CONTINUE, one, 0, 0);
    must!(halt_of(one) == halted(SIGSEGV, 0), "there is no instruction to be found");
    let mut name = *b"/proc/000000/smaps_rollup\0";
    let mut rest = one as usize;
    for digit in name[6..12].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    // A number has no zeros before it.
    let zeros = name[6..12].iter().take_while(|&&digit| digit == b'0').count();
    name.copy_within(6 + zeros.., 6);
    let mut text = [0; 2048];
    let Ok(name) = core::ffi::CStr::from_bytes_until_nul(&name) else { return 3 };
    let length = read_file(name, &mut text).unwrap_or(0);
    let first = text[..length].split(|&byte| byte == b'\n').next().unwrap_or_default();
    let place = 25 + 6 * size_of::<usize>();
    must!(first.starts_with(b"00000000-00000000 ---p 00000000 00:00 0 "), "a sum of nothing");
    let has_kinds = text[..length].windows(9).filter(|part| part.starts_with(b"Pss_")).count() == 4;
    must!(has_kinds, "what the proportional size is made of");
    must!(first.get(place..) == Some(b"[rollup]"), "and where it is called that");
    n.kill(one, SIGKILL);
    must!(halt_of(one) == SIGKILL, "it dies");
    0
}

fn main() -> i32 {
    let Some(named) = user::only_argument() else { return 2 };
    let Ok(calls_there) = Calls::read() else { return 2 };
    let n = Numbers(calls_there);
    match named {
        b"signals" => signals(&n),
        b"calls" => calls(&n),
        b"births" => births(&n),
        b"seized" => seized(&n),
        b"ends" => ends(&n),
        b"filtered" => filtered(&n),
        b"waiting" => waiting(&n),
        b"dispatch" => dispatch(&n),
        b"emptied" => emptied(&n),
        _ => 2,
    }
}
