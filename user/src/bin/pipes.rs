//! Pipes: what those who sleep on one are told when its other end goes (`ends`), and that the
//! pieces of a vector go through it, and through a socket, at once (`vectors`). Status 0 if all is
//! as on Linux.

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

/// Writers of one pipe, and what each writes to it.
const WRITERS: usize = 3;
const LINES: usize = 300;
/// Pieces of a line, which are of one byte each but the first.
const PIECES: usize = 40;

/// A vector of pieces that lie one after the other.
fn vector(lowest: usize) -> [[usize; 2]; PIECES] {
    core::array::from_fn(|i| match i {
        0 => [lowest, 3],
        i => [lowest + 2 + i, 1],
    })
}

const LINE: usize = PIECES + 2;

/// What several write at a time comes line by line, whatever pieces it was in.
fn lines(calls: &Calls) -> i32 {
    let Some([read, write]) = pipe() else { return 1 };
    let (writev, readv) = (calls.number("writev"), calls.number("readv"));
    let mut children = [0; WRITERS];
    for (child, letter) in children.iter_mut().zip(b'a'..) {
        *child = user::fork();
        if *child == 0 {
            let line = [letter; LINE];
            let pieces = vector(line.as_ptr().addr());
            let whole =
                |_: &usize| call(writev, [write, pieces.as_ptr().addr(), PIECES]) == LINE as isize;
            user::exit(i32::from(!(0..LINES).all(|number| whole(&number))));
        }
        must!(*child > 0, "no child");
    }
    must!(call(nr::CLOSE, [write]) == 0, "close");
    let mut line = [0_u8; LINE];
    let pieces = vector(line.as_mut_ptr().expose_provenance());
    for _ in 0..WRITERS * LINES {
        let mut length = 0;
        // A read may find less than a line, but only at the end of what is in the pipe.
        while length < LINE {
            let got = match length {
                0 => call(readv, [read, pieces.as_ptr().addr(), PIECES]),
                _ => call(nr::READ, [read, line.as_mut_ptr().addr() + length, LINE - length]),
            };
            must!(got > 0, "an end in a line");
            length += got as usize;
        }
        let line = core::hint::black_box(&line);
        must!(line.iter().all(|byte| *byte == line[0]), "a line of two writers");
    }
    must!(call(nr::READ, [read, line.as_mut_ptr().addr(), 1]) == 0, "more than was written");
    for child in children {
        must!(user::calls::status_of(child) == 0, "a line that was not written whole");
    }
    0
}

/// A vector is one message.
fn messages(calls: &Calls) -> i32 {
    const LOCAL: usize = 1;
    const DATAGRAM: usize = 2;
    let mut pair = [0_u32; 2];
    let place = pair.as_mut_ptr().expose_provenance();
    must!(call(calls.number("socketpair"), [LOCAL, DATAGRAM, 0, place]) == 0, "sockets");
    let [one, other] = core::hint::black_box(pair).map(|end| end as usize);
    let line: [u8; LINE] = core::array::from_fn(|i| i as u8);
    let pieces = vector(line.as_ptr().addr());
    let (writev, readv) = (calls.number("writev"), calls.number("readv"));
    must!(call(writev, [one, pieces.as_ptr().addr(), PIECES]) == LINE as isize, "a message");
    must!(call(writev, [one, pieces.as_ptr().addr(), 2]) == 4, "a short one");
    must!(call(writev, [one, [[8_usize, 0]; 2].as_ptr().addr(), 2]) == 0, "none");
    let mut got = [0_u8; LINE];
    let room = vector(got.as_mut_ptr().expose_provenance());
    must!(call(readv, [other, room.as_ptr().addr(), PIECES]) == LINE as isize, "it comes whole");
    must!(*core::hint::black_box(&got) == line, "and in its order");
    must!(call(readv, [other, room.as_ptr().addr(), PIECES]) == 4, "the short one");
    must!(call(readv, [other, [[8_usize, 0]; 2].as_ptr().addr(), 2]) == 0, "no room");
    let bad = [[line.as_ptr().addr(), 4], [8, 4]];
    must!(call(writev, [one, bad.as_ptr().addr(), 2]) == -14, "a piece that is nowhere");
    must!(call(writev, [one, pieces.as_ptr().addr(), 2]) == 4, "the next message");
    must!(call(readv, [other, room.as_ptr().addr(), PIECES]) == 4, "nothing of it was sent");
    0
}

fn main() -> i32 {
    let Ok(calls) = Calls::read() else { return 3 };
    match user::only_argument() {
        Some(b"ends") => {}
        Some(b"vectors") => {
            let wrong = lines(&calls);
            return if wrong == 0 { messages(&calls) } else { wrong };
        }
        _ => return 2,
    }
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
