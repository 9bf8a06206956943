//! Tries all system calls with arguments drawn from a seed, in four processes at a time: `fuzz SEED
//! CALLS`. Status 0 when it has made so many calls. What it shows is that the kernel is still
//! there, and has everything back: the test that runs it looks at that.
//!
//! ```text
//!   supervisor ──┬─ worker 0: draws a call, makes it, and again; forks, makes threads, sends signals
//!                ├─ worker 1 …            a worker that dies, or does nothing for long, is replaced
//!                └─ reports through a pipe: how many calls
//!   after each round: every process but this one is killed; what they left in /tmp/fuzz, and what has a key, is removed
//! ```

#![no_std]
#![no_main]

use core::cell::UnsafeCell;
use core::fmt::Write;
use core::sync::atomic::{AtomicU32, Ordering};
use user::arch::{self, FORK_FLAGS, THREAD_FLAGS, VFORK_FLAGS, nr};
use user::calls::{Calls, HERE, call, number};
use user::draw::{ARENA, ARENA_BYTES, Arguments, Draw, Places, shape};

user::entry!(main);

const WORKERS: usize = 4;
/// Calls of a worker in a round.
const ROUND: u32 = 4000;
/// Calls between two reports.
const REPORT: u32 = 50;
/// A worker that has reported nothing for so many looks, of 10 ms or more each, is killed.
const PATIENCE: u32 = 10;
/// One that was killed and has not ended after so many looks more will never end: the kernel holds
/// it.
const HELD: u32 = 6000;
/// Where the pipe is: beyond the descriptors that are drawn.
const REPORT_TO: usize = 900;
const REPORT_FROM: usize = 901;
const SIGKILL: usize = 9;
const ALL: usize = -1_isize as usize;

/// A value of one process's only thread.
struct Only<T>(UnsafeCell<T>);

// SAFETY: (1) each is used by one thread of a process: the one that runs `main`.
unsafe impl<T> Sync for Only<T> {}

static PLACES: Only<Places> = Only(UnsafeCell::new(Places::new()));

const THREADS: usize = 4;

#[repr(C, align(16))]
struct Stack([u8; 8192]);

static STACKS: Only<[Stack; THREADS]> =
    Only(UnsafeCell::new([const { Stack([0; 8192]) }; THREADS]));
/// Not 0 while a thread uses the stack of this number: the kernel clears it.
static BUSY: [AtomicU32; THREADS] = [const { AtomicU32::new(0) }; THREADS];

/// A line of output.
struct Line;

impl Write for Line {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        user::write_all(1, text.as_bytes()).map_err(|_| core::fmt::Error)
    }
}

/// The arguments of the program.
fn argument(index: usize) -> usize {
    let stack = user::first_stack();
    // SAFETY: (1) argc and the pointers behind it are as the kernel laid them out, and never
    // change.
    unsafe {
        if index >= *stack {
            return 0;
        }
        let text = *stack.add(1 + index) as *const core::ffi::c_char;
        number(core::ffi::CStr::from_ptr(text).to_bytes())
    }
}

/// What threads of the fuzzer do: a few calls that touch nothing of the others', then they end.
extern "C" fn thread() -> ! {
    for _ in 0..20 {
        call(nr::SCHED_YIELD, [0]);
        call(nr::GETPPID, [0]);
    }
    loop {
        call(nr::EXIT, [0]);
    }
}

struct Worker<'p> {
    calls: &'p Calls,
    arguments: Arguments<'p>,
    supervisor: usize,
    me: usize,
    number: usize,
    depth: u32,
    done: u32,
}

/// Requests of ptrace.
const TRACES: [usize; 34] = [
    0, 1, 2, 3, 4, 5, 6, 7, 7, 7, 8, 9, 12, 13, 14, 15, 16, 17, 24, 0x4200, 0x4201, 0x4202, 0x4203,
    0x4204, 0x4205, 0x4206, 0x4206, 0x4207, 0x4207, 0x4208, 0x4209, 0x420a, 0x420b, 0x420e,
];

impl Worker<'_> {
    fn once_in(&mut self, times: usize) -> bool {
        self.arguments.draw.once_in(times)
    }

    /// Draws a call and makes it.
    fn step(&mut self) {
        let known = self.arguments.draw.of(self.calls.all());
        let slow: usize = match known.name() {
            b"pause" | b"rt_sigsuspend" | b"exit" | b"exit_group" => 200,
            b"execve"
            | b"nanosleep"
            | b"clock_nanosleep"
            | b"clock_nanosleep_time64"
            | b"poll"
            | b"ppoll"
            | b"sendfile"
            | b"futex"
            | b"unshare"
            | b"setns"
            | b"rt_sigtimedwait"
            | b"epoll_wait"
            | b"select"
            | b"pselect6"
            | b"execveat"
            | b"futex_time64" => 40,
            b"fork" | b"vfork" | b"clone" | b"wait4" | b"waitid" | b"read" | b"readv"
            | b"recvmsg" | b"recvfrom" => 20,
            _ => 1,
        };
        if slow > 1 && !self.once_in(slow) {
            return;
        }
        let result = match known.name() {
            b"fork" | b"vfork" | b"clone" => self.multiply(),
            name => {
                let mut arguments = self.arguments.of_shape(shape(name));
                let target = match name {
                    b"kill" | b"tkill" => Some((arguments[0], &mut arguments[1])),
                    b"tgkill" => Some((arguments[1], &mut arguments[2])),
                    _ => None,
                };
                if let Some((target, signal)) = target {
                    self.spare(target, signal);
                }
                if name == b"ptrace" {
                    arguments[0] = self.arguments.draw.of(&TRACES);
                    // It would wait for its own worker.
                    if arguments[1] == self.supervisor {
                        arguments[1] = 0;
                    }
                }
                // A limit that ends the supervisor is a signal to it.
                if name == b"prlimit64" && arguments[0] == self.supervisor {
                    arguments[0] = 0;
                }
                call(known.number, arguments)
            }
        };
        // Numbers that may be those of processes.
        if (1..1 << 30).contains(&result) && self.once_in(3) {
            let place = self.arguments.draw.below(8);
            self.arguments.processes[place] = result as usize;
        }
        self.done += 1;
        if self.depth == 0 && self.done.is_multiple_of(REPORT) {
            let report = [self.number as u32, REPORT];
            call(nr::WRITE, [REPORT_TO, report.as_ptr().addr(), 8]);
        }
    }

    /// A signal that would end the supervisor becomes none; one that would end this process, or
    /// everybody, does so mostly.
    fn spare(&mut self, target: usize, signal: &mut usize) {
        let target = target as i32;
        let near = [0, -1, self.me as i32, -(self.me as i32)].contains(&target);
        if target.unsigned_abs() as usize == self.supervisor
            || near && !self.arguments.draw.once_in(60)
        {
            *signal = 0;
        }
    }

    /// fork, vfork, clone: children that make a few calls more, children that only borrow memory,
    /// threads.
    fn multiply(&mut self) -> isize {
        if self.depth >= 2 {
            return 0;
        }
        let words = self.arguments.of_shape("bb");
        match self.arguments.draw.below(8) {
            0..3 => {
                let flags =
                    FORK_FLAGS | self.arguments.draw.of(&[0, 0x100_0000, 0x20_0000, 0x10_0000]);
                let child = call(nr::CLONE, [flags, 0, words[0], words[1], words[1]]);
                if child == 0 {
                    self.depth += 1;
                    self.me = call(self.calls.number("getpid"), [0]) as usize;
                    for _ in 0..self.arguments.draw.below(12) {
                        self.step();
                    }
                    user::exit(0);
                }
                child
            }
            3 => {
                let mut seen = 0;
                arch::clone_that_ends(VFORK_FLAGS, 0, &raw mut seen)
            }
            4 => {
                // Anything: the child ends at once.
                let flags = (self.arguments.evil() as u32 & !0x8_0000 | 0x4100) as usize;
                let mut seen = 0;
                arch::clone_that_ends(flags, 0, &raw mut seen)
            }
            _ => {
                let place = self.arguments.draw.below(THREADS);
                if BUSY[place].swap(1, Ordering::Relaxed) != 0 {
                    return 0;
                }
                const CLEAR_WORD: usize = 0x20_0000;
                // SAFETY: (1) only the address is used, of a stack that no thread has.
                let top = unsafe { (&raw const (*STACKS.0.get())[place]).addr() } + 8192;
                let word = BUSY[place].as_ptr().addr();
                let made =
                    arch::clone_and_call(THREAD_FLAGS | CLEAR_WORD, top, [0, word, 0], thread);
                if made < 0 {
                    BUSY[place].store(0, Ordering::Relaxed);
                }
                made
            }
        }
    }

    fn run(mut self) -> ! {
        // Nothing of the console's: input that never comes, output that takes its time.
        let null = call(nr::OPENAT, [HERE, c"/dev/null".as_ptr().addr(), 2, 0]) as usize;
        let dup3 = self.calls.number("dup3");
        for file in 0..3 {
            call(dup3, [null, file, 0]);
        }
        call(nr::CLOSE, [REPORT_FROM]);
        // A session of its own: no call moves it into the group of the supervisor.
        call(self.calls.number("setsid"), [0]);
        let mut directory = *b"/tmp/fuzz/0\0";
        directory[10] += self.number as u8;
        call(self.calls.number("mkdirat"), [HERE, directory.as_ptr().addr(), 0o777]);
        call(self.calls.number("chdir"), [directory.as_ptr().addr()]);
        // Private, anonymous, fixed.
        call(nr::MMAP, [ARENA, ARENA_BYTES / 4, 3, 0x32, ALL, 0]);
        while self.done < ROUND {
            self.step();
        }
        user::exit(0)
    }
}

/// What the supervisor knows of a worker.
#[derive(Clone, Copy, Default)]
struct Seen {
    process: usize,
    quiet: u32,
    calls: u32,
}

struct Supervisor<'c> {
    calls: &'c Calls,
    seed: u64,
    started: u64,
    killed: u64,
    died: u64,
    made: u64,
}

impl Supervisor<'_> {
    fn start(&mut self, number: usize) -> usize {
        self.started += 1;
        let child = user::fork();
        if child == 0 {
            let draw = Draw::new(self.seed ^ self.started << 8);
            // SAFETY: (1) a process of its own, whose only thread this is.
            let places = unsafe { &mut *PLACES.0.get() };
            let me = call(self.calls.number("getpid"), [0]) as usize;
            let arguments = Arguments { draw, places, processes: [me; 8] };
            let supervisor = user::getppid() as usize;
            Worker { calls: self.calls, arguments, supervisor, me, number, depth: 0, done: 0 }
                .run();
        }
        usize::try_from(child).unwrap_or(0)
    }

    /// Takes what the pipe has.
    fn take_reports(&mut self, seen: &mut [Seen; WORKERS]) {
        loop {
            let mut polled = [REPORT_FROM as u64 | 1 << 32];
            let time = [0_u64; 2];
            let ready = call(
                self.calls.number("ppoll"),
                [polled.as_mut_ptr().addr(), 1, time.as_ptr().addr(), 0],
            );
            if ready != 1 {
                return;
            }
            let mut report = [0_u32; 2];
            if call(nr::READ, [REPORT_FROM, report.as_mut_ptr().addr(), 8]) != 8 {
                return;
            }
            self.made += u64::from(REPORT);
            if let Some(worker) = seen.get_mut(report[0] as usize) {
                worker.quiet = 0;
                worker.calls += report[1];
            }
        }
    }

    /// Starts workers, and looks after them until all have ended.
    fn round(&mut self) -> Result<(), &'static str> {
        let kill = self.calls.number("kill");
        let mut seen = [Seen::default(); WORKERS];
        for (number, worker) in seen.iter_mut().enumerate() {
            worker.process = self.start(number);
        }
        while seen.iter().any(|worker| worker.process != 0) {
            user::calls::sleep_milliseconds(10);
            self.take_reports(&mut seen);
            for worker in seen.iter_mut().filter(|worker| worker.process != 0) {
                worker.quiet += 1;
                if worker.quiet == PATIENCE {
                    self.killed += 1;
                    call(kill, [worker.process, SIGKILL]);
                }
                if worker.quiet == PATIENCE + HELD {
                    return Err("a worker that was killed does not end");
                }
            }
            let mut status = 0_i32;
            loop {
                let ended = call(nr::WAIT4, [ALL, (&raw mut status).addr(), 1, 0]);
                if ended <= 0 {
                    break;
                }
                let found = seen.iter().position(|worker| worker.process == ended as usize);
                let Some(number) = found else { continue };
                self.died += u64::from(status != 0);
                // One that died early is replaced.
                let again = seen[number].calls < ROUND / 2 && self.died.is_multiple_of(2);
                seen[number].quiet = 0;
                seen[number].process = if again { self.start(number) } else { 0 };
            }
        }
        self.take_reports(&mut seen);
        // What they left: orphans that sleep, files.
        call(kill, [ALL, SIGKILL]);
        while user::wait().is_ok() {}
        Ok(())
    }

    /// Removes what the workers have made, as another program.
    fn clear(&self) -> Result<(), &'static str> {
        let child = user::fork();
        if child == 0 {
            let [name, how, what] = [c"rm", c"-rf", c"/tmp/fuzz/0"];
            let others = [c"/tmp/fuzz/1", c"/tmp/fuzz/2", c"/tmp/fuzz/3", c"/tmp/fuzz/all"];
            let [one, two, three, four] = others.map(|path| path.as_ptr().addr());
            let of = |text: &core::ffi::CStr| text.as_ptr().addr();
            let argv = [of(name), of(how), of(what), one, two, three, four, 0];
            let path = c"/bin/busybox".as_ptr().addr();
            call(nr::EXECVE, [path, argv.as_ptr().addr(), 0]);
            user::exit(1);
        }
        match user::wait() {
            Ok(0) => Ok(()),
            _ => Err("what the workers made cannot be removed"),
        }
    }
}

impl Supervisor<'_> {
    /// Removes what the workers have made that has a number and a key.
    fn clear_keyed(&self) {
        const REMOVE: usize = 0;
        const INFO: usize = 3;
        let mut told = [0_u64; 32];
        let to = told.as_mut_ptr().addr();
        // Each with what asks for the one at a place of the table.
        for (name, stat) in [("shmctl", 15), ("msgctl", 13), ("semctl", 20)] {
            let control = |number: usize, command: usize| {
                let arguments = match name {
                    "semctl" => [number, 0, command, to],
                    _ => [number, command, to, 0],
                };
                call(self.calls.number(name), arguments)
            };
            for place in 0..=control(0, INFO).max(0) as usize {
                let number = control(place, stat);
                if number >= 0 {
                    control(number as usize, REMOVE);
                }
            }
        }
    }
}

/// A pipe for reports, and a view of the files in which nothing outside of /tmp can be changed:
/// neither programs that it needs, nor what would stay. Those whose parents end become its
/// children.
fn prepare(calls: &Calls) -> Result<(), &'static str> {
    /// MS_RDONLY, MS_REMOUNT, MS_BIND, CLONE_NEWNS, PR_SET_CHILD_SUBREAPER of Linux's headers.
    const READ_ONLY: usize = 1;
    const REMOUNT: usize = 0x20;
    const BIND: usize = 0x1000;
    const OWN_MOUNTS: usize = 0x2_0000;
    const ADOPT: usize = 36;
    let mut pipe = [0_u32; 2];
    call(nr::PIPE2, [pipe.as_mut_ptr().addr(), 0]);
    let dup3 = calls.number("dup3");
    for (from, to) in [(pipe[0], REPORT_FROM), (pipe[1], REPORT_TO)] {
        if call(dup3, [from as usize, to, 0]) < 0 {
            return Err("no pipe for reports");
        }
        call(nr::CLOSE, [from as usize]);
    }
    let [root, tmp, kind] = [c"/", c"/tmp", c"tmpfs"].map(|text| text.as_ptr().addr());
    let mount = calls.number("mount");
    if call(calls.number("prctl"), [ADOPT, 1]) < 0
        || call(calls.number("unshare"), [OWN_MOUNTS]) < 0
        || call(mount, [root, root, 0, BIND]) < 0
        || call(mount, [root, root, 0, REMOUNT | BIND | READ_ONLY]) < 0
        || call(mount, [kind, tmp, kind, 0]) < 0
        || call(calls.number("chdir"), [root]) < 0
    {
        return Err("it cannot have a file system of its own");
    }
    call(calls.number("mkdirat"), [HERE, c"/tmp/fuzz".as_ptr().addr(), 0o777]);
    Ok(())
}

/// Seconds since the boot.
fn seconds(calls: &Calls) -> usize {
    const MONOTONIC: usize = 1;
    let mut time = [0_usize; 2];
    call(calls.number("clock_gettime"), [MONOTONIC, time.as_mut_ptr().addr()]);
    time[0]
}

/// Makes so many calls, in rounds.
fn fuzz(calls: &Calls, seed: u64, wanted: u64) -> Result<(), &'static str> {
    prepare(calls)?;
    let mut supervisor = Supervisor { calls, seed, started: 0, killed: 0, died: 0, made: 0 };
    let (mut told, mut told_at) = (0, seconds(calls));
    while supervisor.made < wanted {
        supervisor.round()?;
        supervisor.clear()?;
        supervisor.clear_keyed();
        // On a busy host fifty thousand take minutes, and who waits takes it for a hang.
        let is_late = seconds(calls).abs_diff(told_at) >= 20;
        if supervisor.made >= told + 50_000 || supervisor.made >= wanted || is_late {
            (told, told_at) = (supervisor.made, seconds(calls));
            let Supervisor { made, started, died, killed, .. } = supervisor;
            let _ = writeln!(
                Line,
                "fuzz: {made} of {wanted} calls of {} kinds; {started} workers, {died} died, {killed} of them killed for sleeping",
                calls.all().len(),
            );
        }
    }
    call(calls.number("unlinkat"), [HERE, c"/tmp/fuzz".as_ptr().addr(), 0x200]);
    Ok(())
}

fn main() -> i32 {
    let Ok(calls) = Calls::read() else {
        let _ = user::write_all(1, b"the kernel does not say which calls it has\n");
        return 2;
    };
    let done = fuzz(&calls, argument(1) as u64, argument(2) as u64);
    if let Err(why) = done {
        let _ = writeln!(Line, "fuzz: {why}");
    }
    i32::from(done.is_err())
}
