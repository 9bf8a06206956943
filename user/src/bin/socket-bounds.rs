//! How much of a local socket's data may be on its way, how long its calls wait, and calls for many
//! messages: `bounds`, `times`, `whole`, `many`. `places`: a descriptor that is only a place does
//! not end locks. Status 0 if all is as on Linux.

#![no_std]
#![no_main]

use user::arch::nr;
use user::calls::{Calls, HERE, call, ended_within, path};
use user::memory::{PAGE, WRITE, map};
use user::{fork, must};

user::entry!(main);

const UNIX: usize = 1;
const STREAM: usize = 1;
const DATAGRAM: usize = 2;
const NONBLOCK: usize = 0o4000;
const SOCKET: usize = 1;
const SEND_BYTES: usize = 7;
const RECEIVE_BYTES: usize = 8;
const RECEIVE_TIME: usize = 20;
const SEND_TIME: usize = 21;
const RECEIVE_TIME_LONG: usize = 66;
const DONT_WAIT: usize = 0x40;
const WAIT_FOR_ONE: usize = 0x1_0000;
const EBADF: isize = -9;
const EAGAIN: isize = -11;
const EDOM: isize = -33;
const EMSGSIZE: isize = -90;
const WORD: usize = size_of::<usize>();

struct Numbers(Calls);

impl Numbers {
    fn call<const N: usize>(&self, name: &str, arguments: [usize; N]) -> isize {
        call(self.0.number(name), arguments)
    }

    fn pair(&self, kind: usize) -> [usize; 2] {
        let mut ends = [0_u32; 2];
        self.call("socketpair", [UNIX, kind, 0, ends.as_mut_ptr().addr()]);
        ends.map(|end| end as usize)
    }

    fn set(&self, socket: usize, option: usize, value: &[usize]) -> isize {
        let (at, bytes) = (value.as_ptr().addr(), size_of_val(value));
        self.call("setsockopt", [socket, SOCKET, option, at, bytes])
    }

    fn get(&self, socket: usize, option: usize) -> u32 {
        let (mut value, mut length) = (0_u32, 4_u32);
        let at = [(&raw mut value).addr(), (&raw mut length).addr()];
        self.call("getsockopt", [socket, SOCKET, option, at[0], at[1]]);
        value
    }

    fn send(&self, socket: usize, at: usize, bytes: usize, flags: usize) -> isize {
        self.call("sendto", [socket, at, bytes, flags, 0, 0])
    }

    fn receive(&self, socket: usize, at: usize, bytes: usize, flags: usize) -> isize {
        self.call("recvfrom", [socket, at, bytes, flags, 0, 0])
    }

    fn milliseconds(&self) -> usize {
        let mut now = [0_usize; 2];
        call(nr::CLOCK_GETTIME, [1, now.as_mut_ptr().addr()]);
        now[0] * 1000 + now[1] / 1_000_000
    }
}

fn bounds(n: &Numbers) -> i32 {
    const ROOM: usize = 1 << 20;
    let at = map(0, ROOM, WRITE, 0) as usize;
    let [one, other] = n.pair(STREAM | NONBLOCK);
    must!(n.get(one, SEND_BYTES) == 212_992, "what a socket may send, at first");
    must!(n.get(one, RECEIVE_BYTES) == 212_992, "what a socket may get, at first");
    must!(n.set(one, SEND_BYTES, &[10_000]) == 0, "SO_SNDBUF");
    must!(n.get(one, SEND_BYTES) == 20_000, "twice what was asked for");
    must!(n.set(one, SEND_BYTES, &[1]) == 0, "the least");
    must!(n.get(one, SEND_BYTES) == 4608, "what Linux has as the least");
    must!(n.set(one, RECEIVE_BYTES, &[1]) == 0, "SO_RCVBUF");
    must!(n.get(one, RECEIVE_BYTES) == 2304, "the least to receive");
    must!(n.set(one, SEND_BYTES, &[0x7fff_ffff]) == 0, "the most");
    must!(n.get(one, SEND_BYTES) == 2 * 212_992, "what Linux has as the most");
    n.set(one, SEND_BYTES, &[1]);
    let sent = n.send(one, at, ROOM, 0);
    must!(sent > 0 && sent < 16_384, "more is on its way than there may be");
    must!(n.send(one, at, 4096, 0) == EAGAIN, "there is still room");
    // The other end has a bound of its own.
    must!(n.send(other, at, 100_000, 0) == 100_000, "the other direction");
    n.set(one, SEND_BYTES, &[100_000]);
    must!(n.send(one, at, 100_000, 0) == 100_000, "a bound that was raised");
    let [one, other] = n.pair(DATAGRAM | NONBLOCK);
    must!(n.send(one, at, 212_992, 0) == EMSGSIZE, "the longest message has no room for itself");
    must!(n.send(one, at, 212_992 - 32, 0) == 212_992 - 32, "the longest message");
    n.set(other, SEND_BYTES, &[0x7fff_ffff]);
    must!(n.send(other, at, 400_000, 0) == 400_000, "a longer one");
    must!(n.receive(one, at, ROOM, 0) == 400_000, "it comes whole");
    0
}

fn times(n: &Numbers) -> i32 {
    let mut byte = [0_u8; 1];
    let at = byte.as_mut_ptr().addr();
    let [one, other] = n.pair(STREAM);
    must!(n.set(one, RECEIVE_TIME, &[0, 1_000_000]) == EDOM, "a second of microseconds");
    must!(n.set(one, RECEIVE_TIME, &[0, 60_000]) == 0, "SO_RCVTIMEO");
    let before = n.milliseconds();
    must!(n.receive(one, at, 1, 0) == EAGAIN, "a time that is over");
    let took = n.milliseconds() - before;
    must!((50..3000).contains(&took), "another time than was asked for");
    let (mut told, mut length) = ([0_usize; 2], 2 * WORD as u32);
    let to = [told.as_mut_ptr().addr(), (&raw mut length).addr()];
    n.call("getsockopt", [one, SOCKET, RECEIVE_TIME, to[0], to[1]]);
    must!(told == [0, 60_000] && length as usize == 2 * WORD, "the time that is told");
    let (mut long, mut length) = ([0_u64; 2], 16_u32);
    let to = [long.as_mut_ptr().addr(), (&raw mut length).addr()];
    n.call("getsockopt", [one, SOCKET, RECEIVE_TIME_LONG, to[0], to[1]]);
    must!(long == [0, 60_000] && length == 16, "the same in long numbers");
    must!(n.send(other, at, 1, 0) == 1, "sendto");
    must!(n.receive(one, at, 1, 0) == 1, "what is there is there");
    // To send: until there is room.
    n.set(one, SEND_BYTES, &[1]);
    must!(n.set(one, SEND_TIME, &[0, 60_000]) == 0, "SO_SNDTIMEO");
    let much = map(0, 16 * PAGE, WRITE, 0) as usize;
    let sent = n.send(one, much, 16 * PAGE, 0);
    must!(sent > 0 && sent < 16 * PAGE as isize, "no end of a send that nobody reads");
    must!(n.send(one, much, PAGE, 0) == EAGAIN, "a send without room");
    0
}

/// A send that may wait takes all of it.
fn whole(n: &Numbers) -> i32 {
    const BYTES: usize = 1 << 20;
    let at = map(0, BYTES, WRITE, 0) as usize;
    for vectored in [false, true] {
        let [one, other] = n.pair(STREAM);
        let child = fork();
        if child == 0 {
            call(nr::CLOSE, [one]);
            let mut done = 0;
            while let more @ 1.. = n.receive(other, at, BYTES, 0) {
                done += more as usize;
            }
            user::exit(i32::from(done != BYTES));
        }
        call(nr::CLOSE, [other]);
        let pieces = [at, BYTES / 2 + 5, at, BYTES / 2 - 5];
        let header = [0, 0, pieces.as_ptr().addr(), 2, 0, 0, 0];
        let sent = match vectored {
            false => n.send(one, at, BYTES, 0),
            true => n.call("sendmsg", [one, header.as_ptr().addr(), 0]),
        };
        call(nr::CLOSE, [one]);
        must!(sent == BYTES as isize, "a send that waits ends early");
        must!(ended_within(child, 3000) == Some(0), "what comes is not what was sent");
    }
    0
}

fn many(n: &Numbers) -> i32 {
    const MESSAGES: usize = 3;
    let receive = if WORD == 8 { "recvmmsg" } else { "recvmmsg_time64" };
    let texts = [&b"a"[..], b"bc", b"def"];
    let [one, other] = n.pair(DATAGRAM);
    let pieces = texts.map(|text| [text.as_ptr().addr(), text.len()]);
    let mut headers = [[0_usize; 8]; MESSAGES];
    for (header, piece) in headers.iter_mut().zip(&pieces) {
        (header[2], header[3]) = (piece.as_ptr().addr(), 1);
    }
    let at = headers.as_mut_ptr().addr();
    must!(n.call("sendmmsg", [one, at, MESSAGES, 0]) == 3, "sendmmsg");
    let lengths = |headers: &[[usize; 8]; MESSAGES]| headers.map(|header| header[7]);
    must!(lengths(&headers) == [1, 2, 3], "how much of each was sent");
    let mut rooms = [[0_u8; 8]; MESSAGES];
    let pieces = rooms.each_mut().map(|room| [room.as_mut_ptr().addr(), room.len()]);
    let mut headers = [[0_usize; 8]; MESSAGES];
    for (header, piece) in headers.iter_mut().zip(&pieces) {
        (header[2], header[3]) = (piece.as_ptr().addr(), 1);
    }
    let at = headers.as_mut_ptr().addr();
    must!(n.call(receive, [other, at, 2, 0, 0]) == 2, "as many as were asked for");
    must!(lengths(&headers) == [1, 2, 0], "how long each was");
    must!(rooms[0][0] == b'a' && rooms[1][..2] == *b"bc", "what came");
    must!(n.call(receive, [other, at, MESSAGES, WAIT_FOR_ONE, 0]) == 1, "as many as there are");
    must!(rooms[0][..3] == *b"def", "the last one");
    must!(n.call(receive, [other, at, MESSAGES, DONT_WAIT, 0]) == EAGAIN, "none");
    // A time that is over ends the call behind the next message.
    n.call("sendmmsg", [one, at, 2, 0]);
    let mut time = [0_u64; 2];
    let time = time.as_mut_ptr().addr();
    must!(n.call(receive, [other, at, 2, 0, time]) == 1, "a time of nothing");
    must!(n.call("sendmmsg", [usize::MAX, at, 1, 0]) == EBADF, "no descriptor");
    0
}

fn places(n: &Numbers) -> i32 {
    const PLACE: usize = 0o10_000_000;
    const SET: usize = 6;
    const ASK: usize = 5;
    const TO_WRITE: u16 = 1;
    let name = path(c"/tmp/places");
    let file = call(nr::OPENAT, [HERE, name, 0o102, 0o600]) as usize;
    // `struct flock`: kinds, then where; all zeros is the whole file.
    let mut lock = [0_u16; 16];
    lock[0] = TO_WRITE;
    let lock_at = lock.as_mut_ptr().addr();
    let is_locked = || {
        let status = user::memory::child(|| {
            let mut lock = [0_u16; 16];
            lock[0] = TO_WRITE;
            n.call("fcntl", [file, ASK, lock.as_mut_ptr().addr()]);
            i32::from(lock[0] == TO_WRITE)
        });
        status == 1 << 8
    };
    must!(n.call("fcntl", [file, SET, lock_at]) == 0, "F_SETLK");
    must!(is_locked(), "a lock that is not seen");
    let place = call(nr::OPENAT, [HERE, name, PLACE, 0]) as usize;
    call(nr::CLOSE, [place]);
    must!(is_locked(), "closing a mere place ends a lock");
    let again = call(nr::OPENAT, [HERE, name, 0, 0]) as usize;
    call(nr::CLOSE, [again]);
    must!(!is_locked(), "closing a descriptor of the file ends no lock");
    0
}

fn main() -> i32 {
    let Ok(calls) = Calls::read() else { return 1 };
    let n = Numbers(calls);
    match user::only_argument() {
        Some(b"bounds") => bounds(&n),
        Some(b"times") => times(&n),
        Some(b"whole") => whole(&n),
        Some(b"many") => many(&n),
        Some(b"places") => places(&n),
        _ => 2,
    }
}
