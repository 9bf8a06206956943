//! POSIX message queues: `message-queues NAME`. `rules`: names, attributes, errors, order. `waits`:
//! who sleeps for room or a message, and until when. `told`: the signal of a message.

#![no_std]
#![no_main]

use core::ffi::CStr;
use user::arch::nr;
use user::calls::{Calls, call, path, sleep_milliseconds, status_of};
use user::must;
use user::signals::{EAGAIN, EINVAL, INFO_BYTES, Numbers, SIGRTMIN, bit};

user::entry!(main);

const CREATE: usize = 0o100;
const EXCLUSIVE: usize = 0o200;
const NONBLOCK: usize = 0o4000;
const READ_WRITE: usize = 2;
const ENOENT: isize = -2;
const EBADF: isize = -9;
const EACCES: isize = -13;
const EBUSY: isize = -16;
const EEXIST: isize = -17;
const EMFILE: isize = -24;
const EMSGSIZE: isize = -90;
const ETIMEDOUT: isize = -110;
const NAME: &CStr = c"of-kstack";
const SIGNAL: usize = SIGRTMIN + 2;

struct Queues<'c> {
    calls: &'c Calls,
}

impl Queues<'_> {
    fn open(&self, name: &CStr, flags: usize, attributes: Option<[usize; 4]>) -> isize {
        let mut words = [0_usize; 8];
        let mut at = 0;
        if let Some(given) = attributes {
            words[..4].copy_from_slice(&given);
            at = words.as_ptr().addr();
        }
        call(self.calls.number("mq_open"), [path(name), flags, 0o600, at])
    }

    fn unlink(&self, name: &CStr) -> isize {
        call(self.calls.number("mq_unlink"), [path(name)])
    }

    fn send(&self, queue: usize, text: &[u8], priority: usize, time: usize) -> isize {
        let words = [queue, text.as_ptr().addr(), text.len(), priority, time];
        call(self.calls.number("mq_timedsend"), words)
    }

    /// What was read into the buffer, and its priority.
    fn receive(&self, queue: usize, to: &mut [u8], time: usize) -> (isize, u32) {
        let mut priority = u32::MAX;
        let at = (&raw mut priority).addr();
        let words = [queue, to.as_mut_ptr().addr(), to.len(), at, time];
        (call(self.calls.number("mq_timedreceive"), words), priority)
    }

    /// Flags, messages at most, bytes of a message, messages.
    fn attributes(&self, queue: usize) -> [usize; 4] {
        let mut words = [usize::MAX; 8];
        call(self.calls.number("mq_getsetattr"), [queue, 0, words.as_mut_ptr().addr()]);
        [words[0], words[1], words[2], words[3]]
    }

    fn notify(&self, queue: usize, what: Option<(u32, u32)>) -> isize {
        // The value of a word, the signal, what to do.
        let mut event = [0_u32; 16];
        let word = size_of::<usize>() / 4;
        let mut at = 0;
        if let Some((signal, what)) = what {
            (event[0], event[word], event[word + 1]) = (0x1234, signal, what);
            at = event.as_ptr().addr();
        }
        call(self.calls.number("mq_notify"), [queue, at])
    }

    /// The time of day in so many milliseconds.
    fn later(&self, milliseconds: usize) -> [usize; 2] {
        let mut time = [0_usize; 2];
        call(self.calls.number("clock_gettime"), [0, time.as_mut_ptr().addr()]);
        let nanoseconds = time[1] + milliseconds * 1_000_000;
        [time[0] + nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000]
    }
}

fn rules(queues: &Queues<'_>) -> i32 {
    let open = |flags: usize, attributes| queues.open(NAME, flags, attributes);
    must!(open(READ_WRITE, None) == ENOENT, "a queue that is not there");
    must!(queues.open(c"a/b", READ_WRITE | CREATE, None) == EACCES, "a name in a directory");
    must!(queues.open(c"", READ_WRITE | CREATE, None) == ENOENT, "no name");
    for none in [[0, 0, 8, 0], [0, 1, 0, 0], [0, 65_537, 8, 0], [0, 1, (16 << 20) + 1, 0]] {
        must!(open(READ_WRITE | CREATE, Some(none)) == EINVAL, "attributes that are none");
    }
    let all = open(READ_WRITE | CREATE, Some([0, 60_000, 8192, 0]));
    must!(all == EMFILE, "more than the limit of all queues");
    let queue = open(READ_WRITE | CREATE | EXCLUSIVE | NONBLOCK, Some([0, 3, 16, 0]));
    must!(queue >= 0, "no queue");
    let queue = queue as usize;
    must!(open(READ_WRITE | CREATE | EXCLUSIVE, None) == EEXIST, "made twice");
    must!(open(3 | CREATE, None) == EINVAL, "opened for nothing");
    must!(queues.attributes(queue) == [NONBLOCK, 3, 16, 0], "its attributes");
    let fcntl = if size_of::<usize>() == 4 { "fcntl64" } else { "fcntl" };
    must!(call(queues.calls.number(fcntl), [queue, 1, 0]) == 1, "it is not closed by execve");
    must!(queues.send(queue, b"x", 32_768, 0) == EINVAL, "a priority that is none");
    must!(queues.send(queue, &[b'x'; 17], 0, 0) == EMSGSIZE, "a message that is too long");
    must!(queues.send(0, b"x", 0, 0) == EBADF, "what is no queue");
    for (text, priority) in [(b"low1", 1), (b"high", 9), (b"low2", 1)] {
        must!(queues.send(queue, text, priority, 0) == 0, "a message");
    }
    must!(queues.send(queue, b"full", 0, 0) == EAGAIN, "one more than fits");
    must!(queues.attributes(queue)[3] == 3, "how many there are");
    let mut bytes = [0; 16];
    must!(queues.receive(queue, &mut bytes[..15], 0).0 == EMSGSIZE, "a buffer that is too short");
    for (text, priority) in [(b"high", 9), (b"low1", 1), (b"low2", 1)] {
        must!(queues.receive(queue, &mut bytes, 0) == (4, priority), "the wrong one comes first");
        must!(&bytes[..4] == text, "equals have changed places");
    }
    must!(queues.receive(queue, &mut bytes, 0).0 == EAGAIN, "a message that nobody sent");
    let reader = open(0, None);
    must!(reader >= 0 && queues.send(reader as usize, b"x", 0, 0) == EBADF, "only for reading");
    // Without its name it is there for who has it open, and a new one is another one.
    must!(queues.unlink(NAME) == 0 && queues.unlink(NAME) == ENOENT, "its name");
    must!(queues.send(queue, b"still", 0, 0) == 0, "a queue without a name");
    must!(queues.receive(reader as usize, &mut bytes, 0).0 == 5, "the same queue");
    must!(open(READ_WRITE, None) == ENOENT, "found without a name");
    call(nr::CLOSE, [queue]);
    call(nr::CLOSE, [reader as usize]);
    // What was counted of it was taken back: this does not fit twice.
    for _ in 0..3 {
        let large = open(READ_WRITE | CREATE, Some([0, 60, 8192, 0]));
        must!(large >= 0, "what has gone is still counted");
        must!(queues.unlink(NAME) == 0, "its name");
        call(nr::CLOSE, [large as usize]);
    }
    0
}

fn waits(queues: &Queues<'_>) -> i32 {
    let queue = queues.open(NAME, READ_WRITE | CREATE, Some([0, 1, 8, 0]));
    must!(queue >= 0, "no queue");
    let queue = queue as usize;
    let mut bytes = [0; 8];
    let time = [0, 1_000_000_000_usize];
    let bad = time.as_ptr().addr();
    must!(queues.receive(queue, &mut bytes, bad).0 == EINVAL, "a time that is none");
    let time = queues.later(50);
    must!(queues.receive(queue, &mut bytes, time.as_ptr().addr()).0 == ETIMEDOUT, "no end");
    let now = queues.later(0);
    must!(now[0] > time[0] || now[0] == time[0] && now[1] >= time[1], "too early");
    must!(queues.send(queue, b"1", 0, 0) == 0, "a message");
    let time = queues.later(50);
    must!(queues.send(queue, b"2", 0, time.as_ptr().addr()) == ETIMEDOUT, "room for two");
    // A child that waits for room gets it; what it sends is the receiver's that waits, though it
    // receives itself right after.
    let child = user::fork();
    if child == 0 {
        return i32::from(queues.send(queue, b"3", 0, 0) != 0);
    }
    must!(queues.receive(queue, &mut bytes, 0).0 == 1 && bytes[0] == b'1', "the first");
    must!(queues.receive(queue, &mut bytes, 0).0 == 1 && bytes[0] == b'3', "the second");
    must!(status_of(child) == 0, "the child that sends");
    let child = user::fork();
    if child == 0 {
        must!(queues.receive(queue, &mut bytes, 0).0 == 1 && bytes[0] == b'4', "an answer");
        return 0;
    }
    sleep_milliseconds(100);
    must!(queues.send(queue, b"4", 0, 0) == 0, "an answer");
    let time = queues.later(0);
    let own = queues.receive(queue, &mut bytes, time.as_ptr().addr()).0;
    must!(own == ETIMEDOUT, "a message was taken from a receiver that waited for it");
    must!(status_of(child) == 0, "the child");
    must!(queues.unlink(NAME) == 0, "its name");
    0
}

fn told(queues: &Queues<'_>) -> i32 {
    const MESSAGE: i32 = -3;
    const NOTHING: u32 = 1;
    let queue = queues.open(NAME, READ_WRITE | CREATE, Some([0, 4, 8, 0])) as usize;
    let mut bytes = [0; 8];
    // What the signal says: its number, its code, the sender and the value.
    let take = || {
        #[repr(align(8))]
        struct Bytes([u8; INFO_BYTES]);
        let set = bit(SIGNAL);
        let mut info = Bytes([0; INFO_BYTES]);
        let time = [0_usize; 2];
        let at = info.0.as_mut_ptr().addr();
        let asked = [(&raw const set).addr(), at, time.as_ptr().addr(), 8];
        let signal = call(queues.calls.number("rt_sigtimedwait"), asked);
        let bytes = core::hint::black_box(&info.0);
        let word = |at: usize| {
            i32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let fields = 12_usize.next_multiple_of(size_of::<usize>());
        (signal, [word(8), word(fields), word(fields + 8)])
    };
    let me = call(queues.calls.number("getpid"), []) as i32;
    must!(queues.notify(queue, Some((65, 0))) == EINVAL, "a signal that is none");
    must!(queues.notify(queue, Some((SIGNAL as u32, 9))) == EINVAL, "a way that is none");
    must!(queues.notify(0, None) == EBADF, "what is no queue");
    must!(queues.notify(queue, Some((SIGNAL as u32, 0))) == 0, "to be told");
    must!(queues.notify(queue, Some((0, NOTHING))) == EBUSY, "told twice");
    must!(queues.send(queue, b"a", 0, 0) == 0, "a message");
    must!(take() == (SIGNAL as isize, [MESSAGE, me, 0x1234]), "not told, or not as it is");
    // Once; and not while there are messages already.
    must!(queues.notify(queue, Some((SIGNAL as u32, 0))) == 0, "to be told again");
    must!(queues.send(queue, b"b", 0, 0) == 0 && take().0 == EAGAIN, "told of a second message");
    must!(queues.notify(queue, None) == 0, "not any more");
    must!(queues.receive(queue, &mut bytes, 0).0 == 1, "a message");
    must!(queues.receive(queue, &mut bytes, 0).0 == 1, "the other message");
    must!(queues.send(queue, b"c", 0, 0) == 0 && take().0 == EAGAIN, "told after all");
    must!(queues.receive(queue, &mut bytes, 0).0 == 1, "the third");
    // The place of one that has ended, or has closed the queue, is free.
    let child = user::fork();
    if child == 0 {
        return i32::from(queues.notify(queue, Some((0, NOTHING))) != 0);
    }
    must!(status_of(child) == 0, "the child");
    must!(queues.notify(queue, Some((SIGNAL as u32, 0))) == 0, "its place is taken");
    let copy = call(queues.calls.number("dup"), [queue]) as usize;
    call(nr::CLOSE, [copy]);
    must!(queues.send(queue, b"d", 0, 0) == 0 && take().0 == EAGAIN, "told, though it was closed");
    // A receiver that waits gets the message, and no one is told.
    must!(queues.receive(queue, &mut bytes, 0).0 == 1, "the fourth");
    let child = user::fork();
    if child == 0 {
        return i32::from(queues.receive(queue, &mut bytes, 0).0 != 1);
    }
    must!(queues.notify(queue, Some((SIGNAL as u32, 0))) == 0, "to be told");
    sleep_milliseconds(100);
    must!(queues.send(queue, b"e", 0, 0) == 0, "a message");
    must!(status_of(child) == 0 && take().0 == EAGAIN, "told, though one waited");
    must!(queues.unlink(NAME) == 0, "its name");
    0
}

fn main() -> i32 {
    let Some(name) = user::only_argument() else { return 2 };
    let Ok(calls) = Calls::read() else { return 3 };
    let Some(n) = Numbers::read() else { return 3 };
    n.set_mask(bit(SIGNAL));
    let queues = Queues { calls: &calls };
    match name {
        b"rules" => rules(&queues),
        b"waits" => waits(&queues),
        b"told" => told(&queues),
        _ => 2,
    }
}
