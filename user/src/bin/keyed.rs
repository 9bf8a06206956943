//! Semaphores and messages by number and key (semop, msgop and their kin). Status 0 if all is as on
//! Linux.

#![no_std]
#![no_main]

use user::calls::{Calls, call, ended_within, sleep_milliseconds, status_of};
use user::memory::child;
use user::must;

user::entry!(main);

const ENOENT: isize = -2;
const EINTR: isize = -4;
const E2BIG: isize = -7;
const EAGAIN: isize = -11;
const EACCES: isize = -13;
const EINVAL: isize = -22;
const EFBIG: isize = -27;
const ERANGE: isize = -34;
const ENOMSG: isize = -42;
const EIDRM: isize = -43;
const EEXIST: isize = -17;

const PRIVATE: usize = 0;
const KEY: usize = 0x0bad_cafe;
const CREATE: usize = 0o1000;
const EXCLUSIVE: usize = 0o2000;
const NEW_FORM: usize = 0x100;
const NO_WAIT: usize = 0o4000;
const UNDO: usize = 0x1000;
const WORD: usize = size_of::<usize>();

struct Numbers(Calls);

/// Which of the calls that i386 has one number for.
const SEMOP: usize = 1;
const SEMGET: usize = 2;
const SEMCTL: usize = 3;
const SEMTIMEDOP: usize = 4;
const MSGSND: usize = 11;
const MSGRCV: usize = 12;
const MSGGET: usize = 13;
const MSGCTL: usize = 14;

/// Of `semctl`.
const PROCESS: usize = 11;
const VALUE: usize = 12;
const VALUES: usize = 13;
const WAITING: usize = 14;
const WAITING_FOR_ZERO: usize = 15;
const SET_VALUE: usize = 16;
const SET_VALUES: usize = 17;

impl Numbers {
    fn call<const N: usize>(&self, name: &str, arguments: [usize; N]) -> isize {
        call(self.0.number(name), arguments)
    }

    /// Whether this machine has one call for all of them; then it is tried.
    fn has_one_for_all(&self) -> bool {
        self.0.number("ipc") != usize::MAX
    }

    /// As i386's C library asks.
    fn multiplexed(&self, which: usize, arguments: [usize; 5]) -> isize {
        let [first, second, third, pointer, fifth] = arguments;
        self.call("ipc", [which, first, second, third, pointer, fifth])
    }

    fn semget(&self, key: usize, count: usize, flags: usize) -> isize {
        match self.has_one_for_all() {
            true => self.multiplexed(SEMGET, [key, count, flags, 0, 0]),
            false => self.call("semget", [key, count, flags]),
        }
    }

    /// `operations`: number, change, flags.
    fn semop(&self, set: isize, operations: &[[i16; 3]]) -> isize {
        let (set, at, count) = (set as usize, operations.as_ptr().addr(), operations.len());
        match self.has_one_for_all() {
            true => self.multiplexed(SEMOP, [set, count, 0, at, 0]),
            false => self.call("semop", [set, at, count]),
        }
    }

    fn semop_within(&self, set: isize, operations: &[[i16; 3]], milliseconds: usize) -> isize {
        let time = [milliseconds / 1000, milliseconds % 1000 * 1_000_000];
        let (set, at, count) = (set as usize, operations.as_ptr().addr(), operations.len());
        match self.has_one_for_all() {
            true => self.multiplexed(SEMTIMEDOP, [set, count, 0, at, time.as_ptr().addr()]),
            false => self.call("semtimedop", [set, at, count, time.as_ptr().addr()]),
        }
    }

    fn semctl(&self, set: isize, number: usize, command: usize, argument: usize) -> isize {
        let set = set as usize;
        match self.has_one_for_all() {
            true => {
                let argument = [argument];
                self.multiplexed(SEMCTL, [set, number, command, argument.as_ptr().addr(), 0])
            }
            false => self.call("semctl", [set, number, command, argument]),
        }
    }

    fn msgget(&self, key: usize, flags: usize) -> isize {
        match self.has_one_for_all() {
            true => self.multiplexed(MSGGET, [key, flags, 0, 0, 0]),
            false => self.call("msgget", [key, flags]),
        }
    }

    /// A message of this type and length, all of one byte.
    fn msgsnd(&self, queue: isize, kind: isize, length: usize, flags: usize) -> isize {
        let mut message = [0x5555_5555_5555_5555_u64 as usize; 9000 / WORD];
        message[0] = kind as usize;
        let at = message.as_ptr().addr();
        match self.has_one_for_all() {
            true => self.multiplexed(MSGSND, [queue as usize, length, flags, at, 0]),
            false => self.call("msgsnd", [queue as usize, at, length, flags]),
        }
    }

    /// The length and the type of what is received.
    fn msgrcv(&self, queue: isize, room: usize, kind: isize, flags: usize) -> (isize, isize) {
        let mut message = [0_usize; 9000 / WORD];
        let (at, kind) = (message.as_mut_ptr().addr(), kind as usize);
        let length = match self.has_one_for_all() {
            true => {
                let pair = [at, kind];
                self.multiplexed(MSGRCV, [queue as usize, room, flags, pair.as_ptr().addr(), 0])
            }
            false => self.call("msgrcv", [queue as usize, at, room, kind, flags]),
        };
        (length, core::hint::black_box(message)[0] as isize)
    }

    fn msgctl(&self, queue: isize, command: usize, to: usize) -> isize {
        match self.has_one_for_all() {
            true => self.multiplexed(MSGCTL, [queue as usize, command, 0, to, 0]),
            false => self.call("msgctl", [queue as usize, command, to]),
        }
    }
}

fn become_another_user(n: &Numbers) {
    n.call("setresgid", [1000, 1000, 1000]);
    n.call("setresuid", [1000, 1000, 1000]);
}

/// Waits until so many calls wait for a semaphore.
fn until_waiting(n: &Numbers, set: isize, what: usize, count: isize) -> bool {
    (0..2000).any(|_| {
        sleep_milliseconds(5);
        n.semctl(set, 0, what, 0) == count
    })
}

fn semaphores(n: &Numbers) -> i32 {
    must!(n.semget(KEY, 3, 0o600) == ENOENT, "no set has this key");
    must!(n.semget(KEY, 0, CREATE | 0o600) == EINVAL, "a set of nothing");
    must!(n.semget(KEY, 32_001, CREATE | 0o600) == EINVAL, "of more than there may be");
    let set = n.semget(KEY, 3, CREATE | EXCLUSIVE | 0o600);
    must!(set >= 0 && n.semget(KEY, 3, CREATE | EXCLUSIVE) == EEXIST, "a set");
    must!(n.semget(KEY, 2, 0) == set && n.semget(KEY, 4, 0) == EINVAL, "the same one");
    must!(n.semop(set, &[[0, 2, 0], [1, 1, 0]]) == 0, "two are raised");
    must!(n.semctl(set, 0, VALUE, 0) == 2 && n.semctl(set, 1, VALUE, 0) == 1, "by as much");
    let me = n.call("getpid", []);
    must!(n.semctl(set, 0, PROCESS, 0) == me && n.semctl(set, 2, PROCESS, 0) == 0, "by whom");
    // All or none: the second cannot be.
    let both = [[0, -1, 0], [1, -2, NO_WAIT as i16]];
    must!(n.semop(set, &both) == EAGAIN && n.semctl(set, 0, VALUE, 0) == 2, "none of two");
    must!(n.semop_within(set, &[[1, -2, 0]], 20) == EAGAIN, "none comes in time");
    must!(n.semop(set, &[[3, 1, 0]]) == EFBIG, "one that the set does not have");
    must!(n.semop(set, &[]) == EINVAL && n.semop(set, &[[0; 3]; 501]) == E2BIG, "operations");
    must!(n.semop(set, &[[0, 32_766, 0]]) == ERANGE, "above what one can be");
    must!(n.semctl(set, 0, SET_VALUE, 32_768) == ERANGE, "nor be set to");
    let values = [5_u16, 6, 7];
    must!(n.semctl(set, 0, SET_VALUES, values.as_ptr().addr()) == 0, "all are set");
    let mut seen = [0_u16; 3];
    must!(n.semctl(set, 0, VALUES, seen.as_mut_ptr().addr()) == 0, "and read");
    must!(core::hint::black_box(seen) == values, "as they were set");
    let mut words = [0_usize; 32];
    must!(n.semctl(set, 0, NEW_FORM | 2, words.as_mut_ptr().addr()) == 0, "what is told of it");
    let words = core::hint::black_box(words);
    // Behind two times, which have room behind them on one of the machines.
    let head = if WORD == 8 { 48 } else { 36 };
    let counts = [words[(head + 16) / WORD], words[(head + 32) / WORD]];
    must!(counts.contains(&3), "is how many there are");
    let stranger = child(|| {
        become_another_user(n);
        i32::from(n.semget(KEY, 1, 0o600) != EACCES)
            + 2 * i32::from(n.semop(set, &[[0, 1, 0]]) != EACCES)
            + 4 * i32::from(n.semctl(set, 0, 0, 0) != -1)
            + 8 * i32::from(n.semctl(set, 0, VALUE, 0) != EACCES)
    });
    must!(stranger == 0, "another user may not");
    must!(n.semctl(set, 0, 0, 0) == 0, "it is removed");
    must!(n.semop(set, &[[0, 1, 0]]) == EINVAL && n.semget(KEY, 1, 0) == ENOENT, "and gone");
    0
}

fn waiting(n: &Numbers) -> i32 {
    let set = n.semget(PRIVATE, 2, 0o600);
    let waits = |change: i16| match user::fork() {
        0 => user::exit(match n.semop(set, &[[0, change, 0]]) {
            0 => 0,
            EIDRM => 1,
            EINTR => 2,
            _ => 3,
        }),
        born => born,
    };
    let lower = waits(-2);
    must!(until_waiting(n, set, WAITING, 1), "one waits for more");
    must!(n.semop(set, &[[0, 1, 0]]) == 0, "one is not enough");
    must!(ended_within(lower, 10).is_none(), "for two");
    let zero = waits(0);
    must!(until_waiting(n, set, WAITING_FOR_ZERO, 1), "one waits for zero");
    must!(n.semop(set, &[[0, 1, 0]]) == 0, "two are");
    must!(status_of(lower) == 0 && status_of(zero) == 0, "both have what they waited for");
    must!(n.semctl(set, 0, VALUE, 0) == 0 && n.semctl(set, 0, WAITING, 0) == 0, "none waits");
    // What is undone at the end.
    must!(n.semctl(set, 0, SET_VALUE, 3) == 0, "three");
    let undone = child(|| {
        let undo = UNDO as i16;
        i32::from(n.semop(set, &[[0, -2, undo], [1, 1, undo]]) != 0)
            + i32::from(n.semctl(set, 0, VALUE, 0) != 1)
    });
    must!(undone == 0 && n.semctl(set, 0, VALUE, 0) == 3, "they are given back");
    must!(n.semctl(set, 1, VALUE, 0) == 0, "and taken back");
    let forgotten = child(|| {
        let undo = UNDO as i16;
        n.semop(set, &[[0, -2, undo]]);
        n.semctl(set, 0, SET_VALUE, 9);
        0
    });
    must!(forgotten == 0 && n.semctl(set, 0, VALUE, 0) == 9, "not of one that was set");
    let alone = waits(-100);
    must!(until_waiting(n, set, WAITING, 1), "one more waits");
    must!(n.semctl(set, 0, 0, 0) == 0, "the set is removed");
    must!(status_of(alone) == 1 << 8, "which it is told");
    0
}

fn messages(n: &Numbers) -> i32 {
    const EXCEPT: usize = 0o20000;
    const CUT: usize = 0o10000;
    const COPY: usize = 0o40000;
    must!(n.msgget(KEY, 0o600) == ENOENT, "no queue has this key");
    let queue = n.msgget(KEY, CREATE | EXCLUSIVE | 0o600);
    must!(queue >= 0 && n.msgget(KEY, CREATE | EXCLUSIVE) == EEXIST, "a queue");
    must!(n.msgsnd(queue, 0, 1, 0) == EINVAL, "a message without a type");
    must!(n.msgsnd(queue, 1, 8193, 0) == EINVAL, "a long one");
    must!(n.msgrcv(queue, 100, 0, NO_WAIT).0 == ENOMSG, "none is there");
    for (kind, length) in [(3, 30), (2, 20), (3, 33), (5, 50), (1, 0)] {
        must!(n.msgsnd(queue, kind, length, 0) == 0, "five are sent");
    }
    must!(n.msgrcv(queue, 100, 1, COPY | NO_WAIT) == (20, 2), "a copy of the second");
    must!(n.msgrcv(queue, 100, 9, COPY | NO_WAIT).0 == ENOMSG, "there is no tenth");
    must!(n.msgrcv(queue, 29, 0, 0).0 == E2BIG, "too long, and it stays");
    must!(n.msgrcv(queue, 29, 0, CUT) == (29, 3), "cut");
    must!(n.msgrcv(queue, 100, 3, 0) == (33, 3), "of a type");
    must!(n.msgrcv(queue, 100, 2, EXCEPT) == (50, 5), "of another");
    must!(n.msgrcv(queue, 100, -2, 0) == (0, 1), "the lowest");
    must!(n.msgrcv(queue, 100, -1, NO_WAIT).0 == ENOMSG, "none so low");
    must!(n.msgrcv(queue, 100, 0, 0) == (20, 2), "the last");
    // Full: two of half a queue.
    must!(n.msgsnd(queue, 7, 8192, 0) == 0 && n.msgsnd(queue, 7, 8192, 0) == 0, "it is full");
    must!(n.msgsnd(queue, 8, 1, NO_WAIT) == EAGAIN, "no room");
    let sender = match user::fork() {
        0 => user::exit(i32::from(n.msgsnd(queue, 8, 1, 0) != 0)),
        born => born,
    };
    must!(ended_within(sender, 10).is_none(), "one waits for room");
    must!(n.msgrcv(queue, 8192, 7, 0) == (8192, 7) && status_of(sender) == 0, "and has it");
    let receiver = match user::fork() {
        0 => user::exit(i32::from(n.msgrcv(queue, 10, 9, 0) != (4, 9))),
        born => born,
    };
    must!(ended_within(receiver, 10).is_none(), "one waits for a message");
    must!(n.msgsnd(queue, 9, 4, 0) == 0 && status_of(receiver) == 0, "and has it");
    let mut words = [0_usize; 32];
    must!(n.msgctl(queue, NEW_FORM | 2, words.as_mut_ptr().addr()) == 0, "what is told of it");
    let bytes = if WORD == 8 { 72 } else { 60 };
    let words = core::hint::black_box(words);
    let told = [words[bytes / WORD], words[bytes / WORD + 1], words[bytes / WORD + 2]];
    must!(told == [8193, 2, 16_384], "bytes, messages, and room");
    let stranger = child(|| {
        become_another_user(n);
        i32::from(n.msgsnd(queue, 1, 1, NO_WAIT) != EACCES)
            + 2 * i32::from(n.msgrcv(queue, 1, 0, NO_WAIT).0 != EACCES)
            + 4 * i32::from(n.msgctl(queue, 0, 0) != -1)
    });
    must!(stranger == 0, "another user may not");
    let waiting = match user::fork() {
        0 => user::exit(i32::from(n.msgrcv(queue, 10, 9, 0).0 != EIDRM)),
        born => born,
    };
    must!(ended_within(waiting, 10).is_none(), "one waits");
    must!(n.msgctl(queue, 0, 0) == 0 && status_of(waiting) == 0, "until it is removed");
    must!(n.msgget(KEY, 0) == ENOENT && n.msgsnd(queue, 1, 1, 0) == EINVAL, "and gone");
    0
}

fn main() -> i32 {
    let Some(named) = user::only_argument() else { return 2 };
    let Ok(calls_there) = Calls::read() else { return 2 };
    let n = Numbers(calls_there);
    match named {
        b"semaphores" => semaphores(&n),
        b"waiting" => waiting(&n),
        b"messages" => messages(&n),
        _ => 2,
    }
}
