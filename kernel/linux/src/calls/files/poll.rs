//! Waiting for files: poll, select.
//!
//! A call looks at each file once. If none is ready it watches all of them, looks again, and sleeps
//! until one of them tells of a change. What it watches is kept by its thread, not in its frame,
//! which may be given up.

use crate::abi;
use crate::abi::signals::SignalSet;
use crate::abi::stack_image::WordSize;
use crate::error::{Errno, SysResult};
use crate::files::open::OpenFile;
use crate::files::readiness::{Poller, event};
use crate::limits::Resource;
use crate::process::task::Continuation;
use crate::process::user_memory::{get, get_numbers, put, timespec};
use crate::process::{current, current_task};
use crate::signals::{deliver, restart};
use alloc::sync::Arc;
use alloc::vec::Vec;
use machine::memory::fallible;
use machine::spin::SpinLock;
use threads::sched::{self, Waited};
use threads::time;

/// What one number of a call leads to, and what the caller wants of it.
#[derive(Debug, Clone)]
struct Watched {
    /// `None`: a number that stands for nothing.
    file: Option<Arc<OpenFile>>,
    wanted: u32,
    found: u32,
}

/// See the module's head.
#[derive(Debug)]
struct Watch {
    poller: Arc<Poller>,
    files: SpinLock<Vec<Watched>>,
    /// How many of them are watched.
    watched: SpinLock<usize>,
}

impl Watch {
    /// A watch, kept by the thread.
    fn new(count: usize) -> Result<&'static Self, Errno> {
        let poller = fallible::shared(Poller::new())?;
        let mut files = Vec::new();
        files.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
        let watch = Self { poller, files: SpinLock::new(files), watched: SpinLock::new(0) };
        sched::current().pin(fallible::shared(watch)?).ok_or(Errno::ENFILE)
    }

    /// One more number. There is room for as many as [`Watch::new`] was told.
    fn add(&self, number: i32, wanted: u32) {
        // Without the lock: the last user of a file may be this look at it.
        let descriptor = current_task().files().lock().get(number as u64);
        let one = match (number, descriptor) {
            (..0, _) => Watched { file: None, wanted, found: 0 },
            (_, Ok(descriptor)) => Watched { file: Some(descriptor.file), wanted, found: 0 },
            (_, Err(_)) => Watched { file: None, wanted, found: event::INVALID },
        };
        // CANNOT FAIL: `new` reserved room for as many as are added.
        self.files.lock().push(one);
    }

    fn file(&self, at: usize) -> Option<Watched> {
        self.files.lock().get(at).cloned()
    }

    fn found(&self, at: usize) -> u32 {
        self.files.lock().get(at).map_or(0, |one| one.found)
    }

    /// Asks all files; how many have something to tell.
    fn look(&self) -> usize {
        let mut ready = 0;
        for at in 0.. {
            let Some(one) = self.file(at) else { break };
            let Some(file) = one.file else {
                ready += usize::from(one.found != 0);
                continue;
            };
            let found = if file.flags() & crate::files::open::flag::PATH != 0 {
                event::INVALID
            } else {
                file.events() & (one.wanted | event::ERR | event::HUP)
            };
            if let Some(one) = self.files.lock().get_mut(at) {
                one.found = found;
            }
            ready += usize::from(found != 0);
        }
        ready
    }

    fn watch_all(&self) -> Result<(), Errno> {
        for at in 0.. {
            let Some(one) = self.file(at) else { break };
            if let Some(readiness) = one.file.as_ref().and_then(|file| file.readiness()) {
                readiness.watch(self.poller.clone())?;
            }
            *self.watched.lock() = at + 1;
        }
        Ok(())
    }

    /// Waits until something is ready; how many are. 0: the time came first.
    fn wait(&self, deadline: Deadline) -> Result<usize, Errno> {
        let ready = self.look();
        let until = match deadline {
            _ if ready > 0 => return Ok(ready),
            Deadline::Now => return Ok(0),
            Deadline::At(time) => Some(time),
            Deadline::Never => None,
        };
        self.watch_all()?;
        loop {
            let ready = self.look();
            if ready > 0 {
                return Ok(ready);
            }
            if self.poller.wait(until)? == Waited::TimedOut {
                return Ok(self.look());
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let watched = *self.watched.lock();
        let poller = Arc::as_ptr(&self.poller).cast();
        let files = core::mem::take(&mut *self.files.lock());
        for one in files.iter().take(watched) {
            if let Some(readiness) = one.file.as_ref().and_then(|file| file.readiness()) {
                readiness.unwatch(poller);
            }
        }
    }
}

/// When a call ends at the latest.
#[derive(Debug, Clone, Copy)]
pub(super) enum Deadline {
    Now,
    At(u64),
    Never,
}

impl Deadline {
    /// So many nanoseconds from now.
    pub(super) fn after(nanoseconds: u64) -> Self {
        if nanoseconds == 0 { Self::Now } else { Self::At(time::later(nanoseconds)) }
    }

    /// So many milliseconds from now; less than none: never.
    pub(super) fn after_milliseconds(timeout: i32) -> Self {
        u64::try_from(timeout).map_or(Self::Never, |timeout| Self::after(timeout * 1_000_000))
    }

    /// What a `timespec` says that may be missing.
    fn of_timespec(at: u64, size: WordSize) -> Result<Self, Errno> {
        if at == 0 { Ok(Self::Never) } else { Ok(Self::after(timespec(at, size)?)) }
    }
}

pub(crate) fn poll(at: u64, count: u64, timeout: i32) -> SysResult {
    poll_until(at, count, Deadline::after_milliseconds(timeout)).map_err(|error| {
        if error != Errno::ERESTARTSYS {
            return error;
        }
        if timeout < 0 {
            return Errno::ERESTARTNOHAND;
        }
        // Made again without a handler, it ends when it was to end.
        let deadline = time::later(timeout as u64 * 1_000_000);
        let arguments = [at, count, 0, 0];
        restart::continue_later(Continuation { run: poll_again, deadline, arguments })
    })
}

fn poll_again(how: Continuation) -> SysResult {
    let [at, count, ..] = how.arguments;
    let deadline = Deadline::At(how.deadline);
    poll_until(at, count, deadline).map_err(|error| {
        if error == Errno::ERESTARTSYS { restart::continue_later(how) } else { error }
    })
}

fn poll_until(at: u64, count: u64, deadline: Deadline) -> SysResult {
    let count = count as u32 as usize;
    if count > current().limits.soft(Resource::Files) as usize {
        return Err(Errno::EINVAL);
    }
    let watch = Watch::new(count)?;
    let place = |i: usize| at.checked_add(8 * i as u64).ok_or(Errno::EFAULT);
    for i in 0..count {
        let entry: [u8; 8] = get(place(i)?)?;
        let [a, b, c, d, low, high, ..] = entry;
        watch.add(i32::from_le_bytes([a, b, c, d]), u16::from_le_bytes([low, high]).into());
    }
    let ready = watch.wait(deadline)?;
    for i in 0..count {
        put(place(i)? + 6, &(watch.found(i) as u16).to_le_bytes())?;
    }
    Ok(ready as u64)
}

/// Calls `body` with another signal mask, if the program names one. A call that a signal ends keeps
/// it until that has been delivered.
pub(super) fn with_mask(mask: u64, bytes: u64, body: impl FnOnce() -> SysResult) -> SysResult {
    if mask == 0 {
        return body();
    }
    if bytes != 8 {
        return Err(Errno::EINVAL);
    }
    let mask = SignalSet(u64::from_le_bytes(get(mask)?)).without(SignalSet::UNBLOCKABLE);
    let before = current_task().signals.lock().blocked;
    current_task().signals.lock().saved_mask = Some(before);
    deliver::set_mask(mask);
    let result = body();
    if !result.is_err_and(Errno::is_restart) && result != Err(Errno::EINTR) {
        let saved = current_task().signals.lock().saved_mask.take();
        deliver::set_mask(saved.unwrap_or(before));
    }
    result
}

/// An interrupted call is made again only if no handler ran.
pub(super) fn no_handler(error: Errno) -> Errno {
    if error == Errno::ERESTARTSYS { Errno::ERESTARTNOHAND } else { error }
}

/// Tells the program what is left of its time, as Linux does: where it cannot be told, nothing is
/// said.
fn put_left(
    at: u64,
    deadline: Deadline,
    put_pair: impl FnOnce(u64, u64, u64) -> Result<(), Errno>,
) {
    let left = match deadline {
        _ if at == 0 || current().attributes.keeps_timeouts() => return,
        Deadline::Never => return,
        Deadline::Now => 0,
        Deadline::At(time) => time.saturating_sub(time::nanoseconds() + time::TICK),
    };
    let _unless_not_writable = put_pair(at, left / 1_000_000_000, left % 1_000_000_000);
}

/// Writes a `timespec`.
fn put_timespec(at: u64, size: WordSize, seconds: u64, rest: u64) -> Result<(), Errno> {
    match size {
        WordSize::Four => put(at, &abi::encode_pair(seconds, rest)),
        WordSize::Eight => put(at, &abi::encode_long_pair(seconds, rest)),
    }
}

pub(crate) fn ppoll([at, count, timeout, mask, bytes]: [u64; 5], size: WordSize) -> SysResult {
    let deadline = Deadline::of_timespec(timeout, size)?;
    let result = with_mask(mask, bytes, || poll_until(at, count, deadline).map_err(no_handler));
    put_left(timeout, deadline, |at, seconds, rest| put_timespec(at, size, seconds, rest));
    result
}

/// What each of the three sets of select asks for, and what counts as an answer.
const SETS: [(u32, u32); 3] = [
    (event::IN | event::READ_NORMAL | event::READ_BAND, event::HUP | event::ERR),
    (event::OUT | event::WRITE_NORMAL | event::WRITE_BAND, event::ERR),
    (event::PRI, 0),
];

fn select_until(count: u64, sets: [u64; 3], deadline: Deadline) -> SysResult {
    let count = count as i32;
    if count < 0 {
        return Err(Errno::EINVAL);
    }
    let count = (count as usize).min(current().limits.soft(Resource::Files) as usize);
    let word = abi::WORD.bytes();
    let bytes = count.div_ceil(8 * word) * word;
    let mut asked = [[0_u8; MAX_SET]; 3];
    if bytes > MAX_SET {
        return Err(Errno::ENOMEM);
    }
    for (set, at) in asked.iter_mut().zip(sets) {
        if at != 0 {
            get_into(at, &mut set[..bytes])?;
        }
    }
    let watch = Watch::new(count)?;
    let holds = |set: &[u8; MAX_SET], number: usize| set[number / 8] & 1 << (number % 8) != 0;
    for number in 0..count {
        let wanted = asked.iter().zip(SETS).filter(|(set, _)| holds(set, number));
        let wanted = wanted.fold(0, |all, (_, (events, also))| all | events | also);
        watch.add(if wanted == 0 { -1 } else { number as i32 }, wanted);
        if watch.found(number) == event::INVALID {
            return Err(Errno::EBADF);
        }
    }
    watch.wait(deadline)?;
    let mut ready = 0;
    for ((set, at), (events, also)) in asked.iter_mut().zip(sets).zip(SETS) {
        if at == 0 {
            continue;
        }
        for number in 0..count {
            let bit = 1 << (number % 8);
            if set[number / 8] & bit == 0 {
                continue;
            }
            if watch.found(number) & (events | also) != 0 {
                ready += 1;
            } else {
                set[number / 8] &= !bit;
            }
        }
        put(at, &set[..bytes])?;
    }
    Ok(ready)
}

/// Bytes of a set: for as many numbers as a process has at most.
const MAX_SET: usize = 1024 / 8;

fn get_into(at: u64, to: &mut [u8]) -> Result<(), Errno> {
    let memory = current().memory().ok_or(Errno::EFAULT)?;
    let read = memory.lock().read(at, to);
    Ok(read?)
}

/// select: the time as a `timeval`.
pub(crate) fn select(count: u64, sets: [u64; 3], timeout: u64) -> SysResult {
    let deadline = match timeout {
        0 => Deadline::Never,
        at => {
            let [seconds, microseconds] = get_numbers(at, abi::WORD)?;
            let signed = |value: u64| match abi::WORD {
                WordSize::Four => i64::from(value as i32),
                WordSize::Eight => value as i64,
            };
            if signed(seconds) < 0 || signed(microseconds) < 0 {
                return Err(Errno::EINVAL);
            }
            let seconds = seconds.saturating_add(microseconds / 1_000_000).min(1 << 32);
            Deadline::after(seconds * 1_000_000_000 + microseconds % 1_000_000 * 1000)
        }
    };
    let result = select_until(count, sets, deadline).map_err(no_handler);
    put_left(timeout, deadline, |at, seconds, rest| {
        put(at, &abi::encode_pair(seconds, rest / 1000))
    });
    result
}

/// pselect6: the time as a `timespec`, and a mask with its size, as two words.
pub(crate) fn pselect(
    count: u64,
    sets: [u64; 3],
    timeout: u64,
    mask: u64,
    size: WordSize,
) -> SysResult {
    let deadline = Deadline::of_timespec(timeout, size)?;
    let [mask, bytes] = if mask == 0 { [0, 0] } else { get_numbers(mask, abi::WORD)? };
    let result = with_mask(mask, bytes, || select_until(count, sets, deadline).map_err(no_handler));
    put_left(timeout, deadline, |at, seconds, rest| put_timespec(at, size, seconds, rest));
    result
}

/// The select of i386's first programs: its arguments lie in memory.
#[cfg(target_pointer_width = "32")]
pub(crate) fn old_select(at: u64) -> SysResult {
    let [count, read, write, except, timeout] = get_numbers(at, abi::WORD)?;
    select(count, [read, write, except], timeout)
}
