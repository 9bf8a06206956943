//! Options of sockets (socket(7)), of local ones: what is kept of them, and what they do. Status 0
//! if all is as on Linux.

#![no_std]
#![no_main]

use user::arch::nr;
use user::calls::{Calls, call};
use user::must;

user::entry!(main);

const EAGAIN: isize = -11;
const EINVAL: isize = -22;
const EDOM: isize = -33;
const EMSGSIZE: isize = -90;
const ENOPROTOOPT: isize = -92;
const EOPNOTSUPP: isize = -95;

const LOCAL: usize = 1;
const STREAM: usize = 1;
const DATAGRAM: usize = 2;
const NONBLOCK: usize = 0o4000;
const SOCKET: usize = 1;

const DO_NOT_ROUTE: usize = 5;
const SEND_BYTES: usize = 7;
const RECEIVE_BYTES: usize = 8;
const OUT_OF_BAND_INLINE: usize = 10;
const PRIORITY: usize = 12;
const LINGER: usize = 13;
const REUSE_PORT: usize = 15;
const PASS_CREDENTIALS: usize = 16;
const RECEIVE_AT_LEAST: usize = 18;
const RECEIVE_TIME: usize = 20;
const SEND_TIME: usize = 21;
const ACCEPTS: usize = 30;
/// The same as RECEIVE_TIME with numbers of 64 bits, whatever a word is.
const RECEIVE_TIME_WIDE: usize = 66;

/// More than a socket takes that may have few bytes on their way, and less than one may by itself.
const MUCH: usize = 64 << 10;
static BYTES: [u8; MUCH] = [7; MUCH];

struct Sockets<'c>(&'c Calls);

impl Sockets<'_> {
    fn pair(&self, kind: usize) -> Option<[usize; 2]> {
        let mut ends = [0_u32; 2];
        let place = ends.as_mut_ptr().expose_provenance();
        let made = call(self.0.number("socketpair"), [LOCAL, kind, 0, place]) == 0;
        made.then(|| core::hint::black_box(ends).map(|end| end as usize))
    }

    fn set_bytes(&self, socket: usize, option: usize, value: &[u8]) -> isize {
        let arguments = [socket, SOCKET, option, value.as_ptr().addr(), value.len()];
        call(self.0.number("setsockopt"), arguments)
    }

    fn set(&self, socket: usize, option: usize, value: i32) -> isize {
        self.set_bytes(socket, option, &value.to_le_bytes())
    }

    /// The value's bytes, and how many they are.
    fn get_bytes(&self, socket: usize, option: usize, room: u32) -> ([u8; 16], isize) {
        let (mut value, mut length) = ([0_u8; 16], room);
        let at = [value.as_mut_ptr(), (&raw mut length).cast()].map(<*mut u8>::expose_provenance);
        let asked = call(self.0.number("getsockopt"), [socket, SOCKET, option, at[0], at[1]]);
        let length = core::hint::black_box(length) as isize;
        (core::hint::black_box(value), if asked == 0 { length } else { asked })
    }

    fn get(&self, socket: usize, option: usize) -> isize {
        let (value, length) = self.get_bytes(socket, option, 4);
        let [a, b, c, d, ..] = value;
        if length == 4 { i32::from_le_bytes([a, b, c, d]) as isize } else { length.min(-1) }
    }

    /// Sets a time by `struct timeval`.
    fn set_time(&self, socket: usize, option: usize, seconds: isize, microseconds: isize) -> isize {
        let time = [seconds, microseconds];
        let length = size_of_val(&time);
        let at = time.as_ptr().expose_provenance();
        call(self.0.number("setsockopt"), [socket, SOCKET, option, at, length])
    }

    /// Milliseconds since boot.
    fn now(&self) -> usize {
        const MONOTONIC: usize = 1;
        let mut time = [0_usize; 2];
        let at = time.as_mut_ptr().expose_provenance();
        call(self.0.number("clock_gettime"), [MONOTONIC, at]);
        let [seconds, nanoseconds] = core::hint::black_box(time);
        seconds * 1000 + nanoseconds / 1_000_000
    }
}

fn read(from: usize) -> isize {
    let mut byte = [0_u8; 1];
    call(nr::READ, [from, byte.as_mut_ptr().expose_provenance(), 1])
}

fn write(to: usize, count: usize) -> isize {
    call(nr::WRITE, [to, BYTES.as_ptr().addr(), count])
}

/// How many bytes may be on their way.
fn room(sockets: &Sockets) -> i32 {
    const USUAL: isize = 212_992;
    let Some([one, other]) = sockets.pair(STREAM | NONBLOCK) else { return 1 };
    for (option, least) in [(SEND_BYTES, 4608), (RECEIVE_BYTES, 2304)] {
        must!(sockets.get(one, option) == USUAL, "by itself");
        must!(sockets.set(one, option, 1) == 0, "a little");
        must!(sockets.get(one, option) == least, "the least");
        must!(sockets.set(one, option, -1) == 0 && sockets.get(one, option) == 2 * USUAL, "most");
        must!(sockets.set(one, option, 8192) == 0 && sockets.get(one, option) == 16384, "twice");
        must!(sockets.set_bytes(one, option, &[0; 3]) == EINVAL, "no number");
    }
    let taken = write(one, MUCH);
    must!(taken > 0 && taken < MUCH as isize / 2, "as much as ever is on its way");
    must!(write(one, MUCH) == EAGAIN, "more than may be");
    must!(write(other, MUCH) == MUCH as isize, "the other way, where nothing was set");
    let Some([one, _]) = sockets.pair(DATAGRAM | NONBLOCK) else { return 1 };
    must!(sockets.set(one, SEND_BYTES, 2500) == 0 && write(one, 5000) == EMSGSIZE, "a message");
    must!(write(one, 4000) == 4000, "a message that is smaller");
    0
}

/// How long a call waits.
fn times(sockets: &Sockets) -> i32 {
    const WORD: usize = size_of::<usize>();
    let Some([one, other]) = sockets.pair(STREAM) else { return 1 };
    let none = sockets.get_bytes(one, RECEIVE_TIME, 16);
    must!(none == ([0; 16], 2 * WORD as isize), "no end by itself");
    must!(sockets.set_time(one, RECEIVE_TIME, 0, 1_000_000) == EDOM, "too many microseconds");
    must!(sockets.set_time(one, RECEIVE_TIME, 0, -1) == EDOM, "fewer than none");
    must!(sockets.set(one, RECEIVE_TIME, 1) == EINVAL, "half a time");
    must!(sockets.set_time(one, RECEIVE_TIME, 0, 100_000) == 0, "a time");
    let (kept, length) = sockets.get_bytes(one, RECEIVE_TIME, 16);
    let is_it = kept[WORD..WORD + 4] == 100_000_u32.to_le_bytes() && kept[..WORD] == [0; WORD];
    must!(is_it && length == 2 * WORD as isize, "it is kept");
    let (wide, length) = sockets.get_bytes(one, RECEIVE_TIME_WIDE, 16);
    must!(length == 16 && wide[8..12] == 100_000_u32.to_le_bytes(), "the same in 64 bits");
    let before = sockets.now();
    must!(read(one) == EAGAIN, "nothing comes");
    let after = sockets.now() - before;
    must!((95..20_000).contains(&after), "it waits that long");
    must!(write(other, 1) == 1 && read(one) == 1, "what is there is read");
    must!(sockets.set_time(one, RECEIVE_TIME, -1, 0) == 0 && read(one) == EAGAIN, "no time");
    // A writer that finds no room; what fits is taken before.
    must!(sockets.set_time(one, SEND_TIME, 0, 20_000) == 0, "a time to send");
    must!(sockets.set(one, SEND_BYTES, 8192) == 0, "little room");
    must!((1..MUCH as isize / 2).contains(&write(one, MUCH)), "a part");
    must!(write(one, 8192) == EAGAIN, "none");
    0
}

/// What is kept and does nothing to local sockets, and what they pass on.
fn switches(calls: &Calls, sockets: &Sockets) -> i32 {
    let Some([one, _]) = sockets.pair(STREAM) else { return 1 };
    for option in [DO_NOT_ROUTE, OUT_OF_BAND_INLINE] {
        must!(sockets.get(one, option) == 0 && sockets.set(one, option, 5) == 0, "a switch");
        must!(sockets.get(one, option) == 1, "it is on");
    }
    must!(sockets.set(one, PRIORITY, 6) == 0 && sockets.get(one, PRIORITY) == 6, "priority");
    let mut linger = [0_u8; 8];
    (linger[0], linger[4]) = (9, 3);
    must!(sockets.set(one, LINGER, 1) == EINVAL, "half of it");
    must!(sockets.set_bytes(one, LINGER, &linger) == 0, "linger");
    let (kept, length) = sockets.get_bytes(one, LINGER, 16);
    must!(length == 8 && kept[..8] == [1, 0, 0, 0, 3, 0, 0, 0], "it is kept");
    must!(sockets.set(one, REUSE_PORT, 1) == EOPNOTSUPP, "ports");
    must!(sockets.get(one, RECEIVE_AT_LEAST) == 1, "the least that is read");
    must!(sockets.set(one, ACCEPTS, 1) == ENOPROTOOPT, "what cannot be set");
    must!(sockets.get(one, 1000) == ENOPROTOOPT, "what is none");
    // A socket that listens: its time is that of accept, its switch that of what accept gives.
    let make = || call(calls.number("socket"), [LOCAL, STREAM, 0]) as usize;
    let (listens, connects) = (make(), make());
    let mut name = [0_u8; 14];
    name[0] = LOCAL as u8;
    name[3..].copy_from_slice(b"set-options");
    let called = [name.as_ptr().addr(), name.len()];
    must!(call(calls.number("bind"), [listens, called[0], called[1]]) == 0, "bind");
    must!(call(calls.number("listen"), [listens, 1]) == 0, "listen");
    must!(sockets.set(listens, PASS_CREDENTIALS, 1) == 0, "who sends");
    must!(sockets.set_time(listens, RECEIVE_TIME, 0, 20_000) == 0, "a time");
    let accept = || call(calls.number("accept4"), [listens, 0, 0, 0]);
    must!(accept() == EAGAIN, "none connects");
    must!(call(calls.number("connect"), [connects, called[0], called[1]]) == 0, "connect");
    let accepted = accept();
    must!(accepted > 0, "accept");
    must!(sockets.get(accepted as usize, PASS_CREDENTIALS) == 1, "passed on");
    must!(sockets.get(connects, PASS_CREDENTIALS) == 0, "and to no other");
    let time = sockets.get_bytes(accepted as usize, RECEIVE_TIME, 16).0;
    must!(time == [0; 16], "the time is not");
    0
}

fn main() -> i32 {
    let Ok(calls) = Calls::read() else { return 3 };
    let sockets = Sockets(&calls);
    if room(&sockets) != 0 || times(&sockets) != 0 {
        return 1;
    }
    switches(&calls, &sockets)
}
