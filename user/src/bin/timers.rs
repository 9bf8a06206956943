//! Clocks, sleeps and timers: status 0 if each is as Linux has it. No handlers: signals are blocked
//! and taken. Nothing here says how fast anything is; waits end with what they wait for.

#![no_std]
#![no_main]

use user::calls::{Calls, call, sleep_milliseconds};
use user::must;
use user::signals::{INFO_BYTES, Numbers, VALUE, u32_at};

user::entry!(main);

const EAGAIN: isize = -11;
const EINVAL: isize = -22;
const EFAULT: isize = -14;
const EOPNOTSUPP: isize = -95;

const BLOCK: usize = 0;
const ALARM: usize = 14;
const REAL_TIME: usize = 40;
const OF_TIMER: i32 = -2;
const OF_KERNEL: i32 = 0x80;

const OF_DAY: usize = 0;
const SINCE_BOOT: usize = 1;
const OF_PROCESS: usize = 2;
const OF_THREAD: usize = 3;
const RAW: usize = 4;
const SINCE_BOOT_COARSE: usize = 6;
const ABSOLUTE: usize = 1;

const MILLISECOND: u64 = 1_000_000;
const WORD: usize = size_of::<usize>();
/// Looks, a few milliseconds each, until something that must come is given up.
const MAX_LOOKS: usize = 5000;

/// What `siginfo_t` says of a timer's signal.
struct Told {
    signal: isize,
    code: i32,
    overruns: i32,
    value: usize,
}

struct Timers {
    calls: Calls,
}

impl Timers {
    fn make(&self, name: &str, arguments: [usize; 4]) -> isize {
        call(self.calls.number(name), arguments)
    }

    fn now(&self, clock: usize) -> u64 {
        let mut time = [0_usize; 2];
        self.make("clock_gettime", [clock, time.as_mut_ptr().addr(), 0, 0]);
        time[0] as u64 * 1_000_000_000 + time[1] as u64
    }

    /// Takes a blocked signal, or gives up after a while.
    fn take(&self, signal: usize) -> Told {
        let set = 1_u64 << (signal - 1);
        let mut info = [0_u8; 128];
        let wait = [0_usize, 5 * MILLISECOND as usize];
        let arguments =
            [(&raw const set).addr(), info.as_mut_ptr().addr(), wait.as_ptr().addr(), 8];
        let taken = (0..MAX_LOOKS)
            .map(|_| self.make("rt_sigtimedwait", arguments))
            .find(|&taken| taken != EAGAIN);
        let half =
            |at: usize| i32::from_le_bytes([info[at], info[at + 1], info[at + 2], info[at + 3]]);
        // Behind three numbers, aligned to a word.
        let fields = 12_usize.next_multiple_of(WORD);
        let mut value = [0; WORD];
        value.copy_from_slice(&info[fields + 8..fields + 8 + WORD]);
        Told {
            signal: taken.unwrap_or(EAGAIN),
            code: half(8),
            overruns: half(fields + 4),
            value: usize::from_le_bytes(value),
        }
    }

    /// A timer that sends a signal with a value; below 0: the error.
    fn create(&self, clock: usize, signal: usize, value: usize) -> isize {
        let mut event = [0_u8; 64];
        event[..WORD].copy_from_slice(&value.to_le_bytes());
        event[WORD] = signal as u8;
        let mut number = -1_i32;
        let to = (&raw mut number).addr();
        match self.make("timer_create", [clock, event.as_ptr().addr(), to, 0]) {
            0 => number as isize,
            error => error,
        }
    }

    /// Sets it: milliseconds until it expires, or the time, and to each time after.
    fn set(&self, timer: isize, flags: usize, value: u64, interval: u64) -> isize {
        let split = |time: u64| [(time / 1_000_000_000) as usize, (time % 1_000_000_000) as usize];
        let setting = [split(interval), split(value)];
        self.make("timer_settime", [timer as usize, flags, setting.as_ptr().addr(), 0])
    }

    /// What is left until it expires.
    fn left(&self, timer: isize) -> u64 {
        let mut setting = [[0_usize; 2]; 2];
        self.make("timer_gettime", [timer as usize, setting.as_mut_ptr().addr(), 0, 0]);
        setting[1][0] as u64 * 1_000_000_000 + setting[1][1] as u64
    }

    fn clocks(&self) -> i32 {
        let began = self.now(SINCE_BOOT);
        let mut last = began;
        // Less than a second of steps of a tick: a clock that stands is given up.
        let moved = (0..10_000_000_u32).any(|_| {
            let now = self.now(SINCE_BOOT);
            if now < last {
                return true;
            }
            last = now;
            now > began
        });
        must!(moved && last > began, "the clock stands, or goes back");
        let (coarse, now) = (self.now(SINCE_BOOT_COARSE), self.now(SINCE_BOOT));
        must!(coarse <= now, "the coarse clock is ahead");
        must!(self.now(OF_DAY) > self.now(SINCE_BOOT), "the time of day is the time since boot");
        let mut step = [0_usize; 2];
        let to = step.as_mut_ptr().addr();
        must!(self.make("clock_getres", [SINCE_BOOT_COARSE, to, 0, 0]) == 0, "no resolution");
        must!(step[0] == 0 && step[1] >= 1_000_000, "the coarse clock's resolution");
        must!(self.make("clock_gettime", [99, to, 0, 0]) == EINVAL, "clock 99");
        must!(self.make("clock_gettime", [SINCE_BOOT, 8, 0, 0]) == EFAULT, "a bad pointer");
        must!(self.create(RAW, ALARM, 0) == EOPNOTSUPP, "a timer by the raw clock");
        must!(self.create(SINCE_BOOT, 65, 0) == EINVAL, "a timer of signal 65");
        0
    }

    fn cpu_time(&self) -> i32 {
        let (began, of_thread) = (self.now(OF_PROCESS), self.now(OF_THREAD));
        sleep_milliseconds(100);
        let slept = self.now(OF_THREAD) - of_thread;
        must!(slept < 100 * MILLISECOND, "sleep counts as CPU time");
        let timer = self.create(OF_PROCESS, REAL_TIME, 5);
        must!(timer >= 0, "a timer by CPU time");
        must!(self.set(timer, 0, 30 * MILLISECOND, 0) == 0, "it cannot be set");
        let before = self.now(OF_PROCESS);
        while self.now(OF_PROCESS) < before + 30 * MILLISECOND {}
        must!(self.take(REAL_TIME).signal == REAL_TIME as isize, "no signal by CPU time");
        must!(self.now(OF_PROCESS) >= began + 30 * MILLISECOND, "the clock of the process");
        must!(self.make("timer_delete", [timer as usize, 0, 0, 0]) == 0, "it cannot be deleted");
        0
    }

    fn sleeps(&self) -> i32 {
        let began = self.now(SINCE_BOOT);
        sleep_milliseconds(7);
        must!(self.now(SINCE_BOOT) >= began + 7 * MILLISECOND, "a sleep was too short");
        let until = self.now(SINCE_BOOT) + 9 * MILLISECOND;
        let time = [(until / 1_000_000_000) as usize, (until % 1_000_000_000) as usize];
        let at = time.as_ptr().addr();
        must!(self.make("clock_nanosleep", [SINCE_BOOT, ABSOLUTE, at, 0]) == 0, "sleep until");
        must!(self.now(SINCE_BOOT) >= until, "a sleep until a time was too short");
        must!(self.make("clock_nanosleep", [OF_DAY, ABSOLUTE, at, 0]) == 0, "sleep until long ago");
        must!(
            self.make("clock_nanosleep", [OF_THREAD, 0, at, 0]) == EOPNOTSUPP,
            "sleep by oneself"
        );
        let wrong = [0, 1_000_000_000_usize];
        let at = wrong.as_ptr().addr();
        must!(self.make("nanosleep", [at, 0, 0, 0]) == EINVAL, "a billion nanoseconds");
        0
    }

    fn interval(&self) -> i32 {
        let began = self.now(SINCE_BOOT);
        let microseconds = [[0, 0], [0, 20_000_usize]];
        let at = microseconds.as_ptr().addr();
        must!(self.make("setitimer", [0, at, 0, 0]) == 0, "setitimer");
        let told = self.take(ALARM);
        must!(told.signal == ALARM as isize && told.code == OF_KERNEL, "no SIGALRM");
        must!(self.now(SINCE_BOOT) >= began + 20 * MILLISECOND, "SIGALRM came too early");
        let mut left = [[1_usize; 2]; 2];
        must!(self.make("getitimer", [0, left.as_mut_ptr().addr(), 0, 0]) == 0, "getitimer");
        must!(left == [[0; 2]; 2], "it is still set");
        must!(self.make("setitimer", [3, at, 0, 0]) == EINVAL, "a fourth timer");
        0
    }

    /// Takes the signal of a timer that is pending; what it is, or `EAGAIN`, and its overruns.
    fn take_now(&self) -> (isize, u64) {
        let (set, none) = (1_u64 << (REAL_TIME - 1), [0_usize; 2]);
        let mut info = [0_u8; INFO_BYTES];
        let at = info.as_mut_ptr().addr();
        let arguments = [(&raw const set).addr(), at, none.as_ptr().addr(), 8];
        let signal = self.make("rt_sigtimedwait", arguments);
        // Behind the timer's number, where kill(2) has the user.
        (signal, u64::from(u32_at(info.as_ptr().addr() + VALUE - 4)))
    }

    /// Sleeps until the signal of a timer is pending, which takes as long as its CPU needs for it;
    /// false: it was not within ten seconds.
    fn wait_until_pending(&self, numbers: &Numbers) -> bool {
        let until = self.now(SINCE_BOOT) + 10_000 * MILLISECOND;
        while numbers.pending_now() & 1 << (REAL_TIME - 1) == 0 {
            if self.now(SINCE_BOOT) > until {
                return false;
            }
            sleep_milliseconds(5);
        }
        true
    }

    /// The signal of a timer that is set anew or deleted is gone; what a blocked one missed is
    /// counted when it is taken; one that is ignored comes back.
    fn pending(&self) -> i32 {
        const PERIOD: u64 = 10 * MILLISECOND;
        const LATER: u64 = 1000 * 1000 * MILLISECOND;
        let Some(numbers) = Numbers::read() else { return 4 };
        let timer = self.create(SINCE_BOOT, REAL_TIME, 77);
        must!(self.set(timer, 0, PERIOD, PERIOD) == 0, "timer_settime");
        must!(self.wait_until_pending(&numbers), "nothing is pending");
        must!(self.set(timer, 0, LATER, 0) == 0, "timer_settime");
        must!(self.take_now().0 == EAGAIN, "the signal of an earlier setting");
        for ignored in [false, true] {
            let began = self.now(SINCE_BOOT);
            must!(self.set(timer, 0, PERIOD, PERIOD) == 0, "timer_settime");
            must!(self.wait_until_pending(&numbers), "nothing is pending");
            sleep_milliseconds(50);
            if ignored {
                must!(numbers.let_be(REAL_TIME, 1), "it cannot be ignored");
                must!(self.take_now().0 == EAGAIN, "pending though it is ignored");
                sleep_milliseconds(50);
                must!(numbers.let_be(REAL_TIME, 0), "it cannot be let be");
            }
            let before = (self.now(SINCE_BOOT) - began) / PERIOD;
            let (signal, overruns) = self.take_now();
            let after = (self.now(SINCE_BOOT) - began) / PERIOD;
            must!(signal == REAL_TIME as isize, "the signal did not come back");
            must!(
                (before.saturating_sub(1)..=after).contains(&(overruns + 1)),
                "not what it had missed"
            );
        }
        sleep_milliseconds(50);
        must!(self.make("timer_delete", [timer as usize, 0, 0, 0]) == 0, "timer_delete");
        must!(self.take_now().0 == EAGAIN, "the signal of a timer that is gone");
        0
    }

    fn made(&self) -> i32 {
        const PERIOD: u64 = 10 * MILLISECOND;
        let timer = self.create(SINCE_BOOT, REAL_TIME, 77);
        must!(timer >= 0, "timer_create");
        let began = self.now(SINCE_BOOT);
        must!(self.set(timer, 0, PERIOD, PERIOD) == 0, "timer_settime");
        must!(self.left(timer) <= PERIOD && self.left(timer) > 0, "timer_gettime");
        // Each signal stands for itself and its overruns: none is lost, none comes too early.
        let mut expirations = 0;
        while expirations < 20 {
            sleep_milliseconds(35);
            let told = self.take(REAL_TIME);
            must!(told.signal == REAL_TIME as isize, "no signal of the timer");
            must!(told.code == OF_TIMER && told.value == 77, "what is told with it");
            let overruns = self.make("timer_getoverrun", [timer as usize, 0, 0, 0]);
            must!(overruns == told.overruns as isize, "timer_getoverrun");
            expirations += 1 + u64::from(told.overruns as u32);
            let passed = self.now(SINCE_BOOT) - began;
            must!(expirations <= passed / PERIOD, "more expirations than periods");
        }
        must!(self.set(timer, 0, 0, 0) == 0 && self.left(timer) == 0, "it cannot be stopped");
        let (set, at_once) = (1_u64 << (REAL_TIME - 1), [0_usize; 2]);
        let arguments = [(&raw const set).addr(), 0, at_once.as_ptr().addr(), 8];
        let _last = self.make("rt_sigtimedwait", arguments);
        must!(self.set(timer, ABSOLUTE, 1, 0) == 0, "a time long ago");
        must!(self.take(REAL_TIME).signal == REAL_TIME as isize, "it did not expire at once");
        must!(self.make("timer_settime", [timer as usize, 0, 0, 0]) == EINVAL, "no setting");
        must!(self.make("timer_delete", [timer as usize, 0, 0, 0]) == 0, "timer_delete");
        must!(self.left(timer) == 0 && self.set(timer, 0, 1, 0) == EINVAL, "it is still there");
        0
    }

    /// A timer that is a file counts its periods, and makes a reader wait for the first.
    fn file(&self) -> i32 {
        const NONBLOCK: usize = 0o4000;
        const PERIOD: u64 = 10 * MILLISECOND;
        must!(self.make("timerfd_create", [OF_PROCESS, 0, 0, 0]) == EINVAL, "a file by CPU time");
        must!(self.make("timerfd_create", [SINCE_BOOT, 1, 0, 0]) == EINVAL, "an unknown flag");
        let file = self.make("timerfd_create", [SINCE_BOOT, 0, 0, 0]);
        must!(file >= 0, "timerfd_create");
        let file = file as usize;
        let period = [0, PERIOD as usize];
        let setting = [period, period];
        let began = self.now(SINCE_BOOT);
        let set = [file, 0, setting.as_ptr().addr(), 0];
        must!(self.make("timerfd_settime", set) == 0, "timerfd_settime");
        let (mut expirations, mut count) = (0, 0_u64);
        let to = (&raw mut count).addr();
        while expirations < 10 {
            must!(self.make("read", [file, to, 8, 0]) == 8, "a read of the timer");
            // SAFETY: (1) the word is ours; the kernel has written it.
            let read = unsafe { (&raw const count).read_volatile() };
            expirations += read;
            let passed = self.now(SINCE_BOOT) - began;
            must!(read > 0 && expirations <= passed / PERIOD, "expirations that were not");
        }
        must!(self.make("read", [file, to, 7, 0]) == EINVAL, "a read of seven bytes");
        let setting = [[0_usize; 2]; 2];
        let set = [file, 0, setting.as_ptr().addr(), 0];
        must!(self.make("timerfd_settime", set) == 0, "it cannot be stopped");
        must!(self.make("close", [file, 0, 0, 0]) == 0, "close");
        let file = self.make("timerfd_create", [SINCE_BOOT, NONBLOCK, 0, 0]) as usize;
        must!(self.make("read", [file, to, 8, 0]) == EAGAIN, "a read that does not wait");
        must!(self.make("timerfd_gettime", [0, to, 0, 0]) == EINVAL, "the input is a timer");
        0
    }

    /// As many as there may be, all set, and left to the kernel.
    fn many(&self) -> i32 {
        let made = (0..100_000)
            .map(|_| self.create(SINCE_BOOT, REAL_TIME, 0))
            .take_while(|&timer| timer >= 0)
            .filter(|&timer| self.set(timer, 0, 3600 * 1000 * MILLISECOND, 0) == 0)
            .count();
        must!((1000..100_000).contains(&made), "timers without a bound, or hardly any");
        must!(self.create(SINCE_BOOT, REAL_TIME, 0) == EAGAIN, "one too many");
        0
    }
}

fn main() -> i32 {
    let Ok(calls) = Calls::read() else { return 3 };
    let timers = Timers { calls };
    let set = 1_u64 << (ALARM - 1) | 1 << (REAL_TIME - 1);
    let blocked = timers.make("rt_sigprocmask", [BLOCK, (&raw const set).addr(), 0, 8]);
    must!(blocked == 0, "rt_sigprocmask");
    let parts = [
        Timers::clocks,
        Timers::sleeps,
        Timers::interval,
        Timers::made,
        Timers::pending,
        Timers::cpu_time,
        Timers::file,
        Timers::many,
    ];
    parts.iter().map(|part| part(&timers)).find(|&status| status != 0).unwrap_or(0)
}
