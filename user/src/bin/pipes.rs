//! What those who sleep on a pipe are told when its other end goes: `pipes`. Status 0 if it is what
//! Linux tells them.

#![no_std]
#![no_main]

use user::arch::nr;
use user::calls::{Calls, call, ended_within, read_file, sleep_milliseconds};
use user::must;

user::entry!(main);

const EPIPE: isize = -32;
const SIGPIPE: usize = 13;
const IGNORE: usize = 1;
/// Bytes of a set of signals.
const SET: usize = 8;
/// What a pipe takes without a reader (Linux).
const PIPE_BYTES: usize = 64 << 10;
const ROUNDS: usize = 10;
/// Looks, of a tick or more, until something that must come is given up.
const MAX_LOOKS: u32 = 3000;

static FULL: [u8; PIPE_BYTES] = [0; PIPE_BYTES];

/// Which end the child uses; the parent closes the other one.
#[derive(Clone, Copy)]
enum Sleeper {
    Reader,
    Writer,
}

fn pipe() -> Option<[usize; 2]> {
    let mut ends = [0_u32; 2];
    (call(nr::PIPE2, [ends.as_mut_ptr().addr(), 0]) == 0).then(|| ends.map(|end| end as usize))
}

/// The path of a process's `stat`.
fn path_of_stat(process: isize) -> [u8; 32] {
    let mut path = [0; 32];
    let mut digits = [0; 20];
    let (mut rest, mut count) = (process as usize, 0);
    while rest > 0 {
        digits[count] = b'0' + (rest % 10) as u8;
        rest /= 10;
        count += 1;
    }
    let digits = digits[..count].iter().rev();
    let text = b"/proc/".iter().chain(digits).chain(b"/stat");
    path.iter_mut().zip(text).for_each(|(to, from)| *to = *from);
    path
}

/// Whether a process sleeps: the letter behind its name.
fn sleeps(process: isize) -> bool {
    let path = path_of_stat(process);
    let Ok(path) = core::ffi::CStr::from_bytes_until_nul(&path) else { return false };
    let mut text = [0; 64];
    let Ok(length) = read_file(path, &mut text) else { return false };
    text[..length].windows(3).any(|part| part == b") S")
}

/// In the child: sleeps on its end, and says whether it was told what it should.
fn child(sleeper: Sleeper, [read, write]: [usize; 2]) -> i32 {
    let byte = [0_u8; 1];
    let arguments = |end: usize| [end, byte.as_ptr().addr(), byte.len()];
    match sleeper {
        Sleeper::Reader => {
            must!(call(nr::CLOSE, [write]) == 0, "close");
            must!(call(nr::READ, arguments(read)) == 0, "a reader is not told of the end");
        }
        Sleeper::Writer => {
            must!(call(nr::CLOSE, [read]) == 0, "close");
            let all = [write, FULL.as_ptr().addr(), FULL.len()];
            must!(call(nr::WRITE, all) == PIPE_BYTES as isize, "what a pipe takes");
            must!(call(nr::WRITE, arguments(write)) == EPIPE, "a writer is not told of the end");
        }
    }
    0
}

/// A child falls asleep on one end, then the last user of the other one goes.
fn round(sleeper: Sleeper) -> i32 {
    let Some(ends) = pipe() else { return 1 };
    let process = user::fork();
    if process == 0 {
        user::exit(child(sleeper, ends));
    }
    must!(process > 0, "no child");
    let [read, write] = ends;
    let (kept, other) = match sleeper {
        Sleeper::Reader => (write, read),
        Sleeper::Writer => (read, write),
    };
    must!(call(nr::CLOSE, [other]) == 0, "close");
    // Three looks: it may have been off its CPU for another reason.
    let mut asleep = 0;
    for _ in 0..MAX_LOOKS {
        asleep = if sleeps(process) { asleep + 1 } else { 0 };
        if asleep == 3 {
            break;
        }
        sleep_milliseconds(5);
    }
    must!(asleep == 3, "the child does not sleep");
    must!(call(nr::CLOSE, [kept]) == 0, "close");
    let status = ended_within(process, MAX_LOOKS);
    match sleeper {
        Sleeper::Reader => {
            must!(status.is_some(), "a reader is not woken by the last writer's end")
        }
        Sleeper::Writer => {
            must!(status.is_some(), "a writer is not woken by the last reader's end")
        }
    }
    must!(status == Some(0), "the child ended otherwise");
    0
}

fn main() -> i32 {
    let Ok(calls) = Calls::read() else { return 3 };
    // A `struct sigaction`, or more: the handler comes first.
    let action = [IGNORE, 0, 0, 0, 0, 0, 0, 0];
    let ignored = call(calls.number("rt_sigaction"), [SIGPIPE, action.as_ptr().addr(), 0, SET]);
    must!(ignored == 0, "sigaction");
    for number in 0..2 * ROUNDS {
        let sleeper = if number % 2 == 0 { Sleeper::Reader } else { Sleeper::Writer };
        if round(sleeper) != 0 {
            return 1;
        }
    }
    0
}
