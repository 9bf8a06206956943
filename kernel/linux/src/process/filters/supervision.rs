//! Calls that another process answers (seccomp's user notification).
//!
//! A filter may have a listener: a file that a supervisor reads such calls from, and where it says
//! what they return, or that they are to be made. The thread that makes one sleeps meanwhile.
//!
//! | request | what it does |
//! | --- | --- |
//! | `RECV` | the next call that no supervisor was told of |
//! | `SEND` | what a call returns, or that it is made |
//! | `ID_VALID` | whether its thread still waits |
//! | `ADDFD` | gives its thread a descriptor, which may be what it returns |

use super::listener::{Answer, At, Call, DATA_BYTES, Listener};
use crate::error::{Errno, SysResult};
use crate::files::object::{Caller, Object};
use crate::files::open::{self, Descriptor, OpenFile, flag};
use crate::files::readiness::{Readiness, event};
use crate::process::names::numbers;
use crate::process::user_memory::{get, put};
use crate::process::{current_task, task};
use alloc::sync::Arc;
use machine::memory::fallible;
use threads::sched;

/// Bytes of what a supervisor is told, and of its answer.
pub(crate) const TOLD_BYTES: usize = 80;
pub(crate) const ANSWER_BYTES: usize = 24;

impl Listener {
    /// The file of it, which the caller gets.
    pub(crate) fn give(self: &Arc<Self>) -> SysResult {
        let file = OpenFile::of_object(fallible::shared(Ear(self.clone()))?, flag::READ_WRITE)?;
        current_task().give(Descriptor { file, close_on_exec: true }, 0)
    }

    /// Has the calling thread wait for what becomes of its call. `None`: a signal came first.
    pub(super) fn ask(&self, data: [u8; DATA_BYTES]) -> Option<Answer> {
        let id = match self.enter(data) {
            Ok(id) => id,
            Err(error) => return Some(Answer::Returns(error.as_result())),
        };
        self.readiness.wake();
        self.sleep(id);
        let taken = {
            let mut state = self.state.lock();
            let place = state.calls.iter().position(|call| call.id == id);
            place.map(|place| state.calls.remove(place))
        };
        match taken?.at {
            At::Answered(answer) => Some(answer),
            At::Waiting | At::Told => None,
        }
    }

    fn enter(&self, data: [u8; DATA_BYTES]) -> Result<u64, Errno> {
        let (thread, files) = (sched::current_arc(), current_task().files());
        let mut state = self.state.lock();
        if state.is_closed {
            return Err(Errno::ENOSYS);
        }
        let id = state.next;
        fallible::push(&mut state.calls, Call { id, thread, files, data, at: At::Waiting })?;
        state.next += 1;
        Ok(id)
    }

    fn sleep(&self, id: u64) {
        let is = |wanted: fn(At) -> bool| {
            self.state.lock().calls.iter().any(|call| call.id == id && wanted(call.at))
        };
        let is_answered = || is(|at| matches!(at, At::Answered(_)));
        let is_told = || self.sleeps_on && is(|at| matches!(at, At::Told));
        while !is_answered() {
            let is_lasting = is_told();
            let waited = if is_lasting {
                self.readiness.wait_unless_killed(is_answered)
            } else {
                self.readiness.wait(false, || is_answered() || is_told())
            };
            if waited.is_err() && (is_lasting || !is_told()) {
                return;
            }
        }
    }

    /// `struct seccomp_notif`: the call's number here 0, the thread's 8, flags 12, data 16.
    fn receive(&self, at: u64) -> SysResult {
        if get::<TOLD_BYTES>(at)?.iter().any(|&byte| byte != 0) {
            return Err(Errno::EINVAL);
        }
        let mut found = None;
        self.readiness.wait(false, || {
            let mut state = self.state.lock();
            let next = state.calls.iter_mut().find(|call| matches!(call.at, At::Waiting));
            let Some(call) = next else { return state.is_unused };
            call.at = At::Told;
            found = Some((call.id, call.thread.number(), call.data));
            true
        })?;
        let (id, thread, data) = found.ok_or(Errno::ENOENT)?;
        let mut bytes = [0; TOLD_BYTES];
        bytes[..8].copy_from_slice(&id.to_le_bytes());
        bytes[8..12].copy_from_slice(&(numbers::told(thread) as u32).to_le_bytes());
        bytes[16..].copy_from_slice(&data);
        let put = put(at, &bytes);
        if put.is_err()
            && let Ok(call) = self.state.lock().told(id)
        {
            // Another request is told of it.
            call.at = At::Waiting;
        }
        self.readiness.wake();
        put.map(|()| 0)
    }

    /// `struct seccomp_notif_resp`: the call 0, its result 8, its error 16, flags 20.
    fn send(&self, at: u64) -> SysResult {
        const IS_MADE: u32 = 1;
        let bytes: [u8; ANSWER_BYTES] = get(at)?;
        let [id, value, _] = words(&bytes);
        let [error, flags] = halves(&bytes, 16);
        if flags & !IS_MADE != 0 || flags & IS_MADE != 0 && (error != 0 || value != 0) {
            return Err(Errno::EINVAL);
        }
        let answer = match (flags, error) {
            (IS_MADE, _) => Answer::Made,
            (_, 0) => Answer::Returns(value),
            _ => Answer::Returns(i64::from(error as i32) as u64),
        };
        self.state.lock().told(id)?.at = At::Answered(answer);
        self.readiness.wake();
        Ok(0)
    }

    fn is_waiting(&self, at: u64) -> SysResult {
        let id = u64::from_le_bytes(get(at)?);
        self.state.lock().told(id).map(|_| 0).map_err(|_| Errno::ENOENT)
    }

    /// `struct seccomp_notif_addfd`: the call 0, flags 8, the supervisor's descriptor 12, the
    /// number it is to have 16, its flags 20; what is behind it is not known here.
    fn add_file(&self, at: u64, bytes: u64) -> SysResult {
        const AT_NUMBER: u32 = 1;
        const IS_ANSWER: u32 = 2;
        const CLOSE_ON_EXEC: u32 = 0o2000000;
        const OWN: u64 = 24;
        const MAX_BYTES: u64 = 4096;
        if !(OWN..=MAX_BYTES).contains(&bytes) {
            return Err(Errno::EINVAL);
        }
        let asked: [u8; OWN as usize] = get(at)?;
        for more in OWN..bytes {
            if get::<1>(at.checked_add(more).ok_or(Errno::EFAULT)?)? != [0] {
                return Err(Errno::E2BIG);
            }
        }
        let [id, ..] = words(&asked);
        let ([how, source], [number, flags]) = (halves(&asked, 8), halves(&asked, 16));
        if flags & !CLOSE_ON_EXEC != 0
            || how & !(AT_NUMBER | IS_ANSWER) != 0
            || number != 0 && how & AT_NUMBER == 0
        {
            return Err(Errno::EINVAL);
        }
        let file = current_task().files().lock().get(source.into())?.file;
        if file.is_path() {
            return Err(Errno::EBADF);
        }
        let (thread, files) = {
            let mut state = self.state.lock();
            let call = state.told(id)?;
            (call.thread.clone(), call.files.clone())
        };
        if let Some(task) = task::of(&thread) {
            task.limit_files(&files);
        }
        let descriptor = Descriptor { file, close_on_exec: flags != 0 };
        let number = if how & AT_NUMBER == 0 {
            open::add(&files, descriptor, 0)?
        } else {
            let before = files.lock().set(number.into(), Some(descriptor))?;
            drop(before);
            number.into()
        };
        if how & IS_ANSWER != 0 {
            self.state.lock().told(id)?.at = At::Answered(Answer::Returns(number));
            self.readiness.wake();
        }
        Ok(number)
    }
}

/// The words of a structure.
fn words(bytes: &[u8; 24]) -> [u64; 3] {
    let (words, _) = bytes.as_chunks::<8>();
    [words[0], words[1], words[2]].map(u64::from_le_bytes)
}

/// Two numbers of 32 bits in it.
fn halves(bytes: &[u8; 24], at: usize) -> [u32; 2] {
    let (words, _) = bytes[at..].as_chunks::<4>();
    [words[0], words[1]].map(u32::from_le_bytes)
}

/// The supervisor's file.
#[derive(Debug)]
struct Ear(Arc<Listener>);

impl Drop for Ear {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Object for Ear {
    fn events(&self) -> u32 {
        let state = self.0.state.lock();
        let any = |wanted: fn(At) -> bool| state.calls.iter().any(|call| wanted(call.at));
        let mut events = if state.is_unused { event::HUP } else { 0 };
        if any(|at| matches!(at, At::Waiting)) {
            events |= event::READABLE;
        }
        if any(|at| matches!(at, At::Told)) {
            events |= event::WRITABLE;
        }
        events
    }

    fn readiness(&self) -> Option<&Readiness> {
        Some(&self.0.readiness)
    }

    fn ioctl(&self, request: u32, at: u64, _caller: &dyn Caller) -> SysResult {
        const RECEIVE: u32 = 0xc050_2100;
        const SEND: u32 = 0xc018_2101;
        const IS_WAITING: u32 = 0x4008_2102;
        /// With the wrong direction, as it was at first.
        const IS_WAITING_ONCE: u32 = 0x8008_2102;
        const SET_FLAGS: u32 = 0x4008_2104;
        /// The number of the request, whatever the size of its structure and its direction.
        const ADD_FILE: u32 = 0x2103;
        const MAX_SIZE: u32 = 0x3fff;
        /// The supervisor is to run where its thread did.
        const STAYS: u64 = 1;
        match request {
            RECEIVE => self.0.receive(at),
            SEND => self.0.send(at),
            IS_WAITING | IS_WAITING_ONCE => self.0.is_waiting(at),
            SET_FLAGS if at & !STAYS != 0 => Err(Errno::EINVAL),
            SET_FLAGS => Ok(0),
            _ if request & 0xffff == ADD_FILE => {
                self.0.add_file(at, (request >> 16 & MAX_SIZE).into())
            }
            _ => Err(Errno::EINVAL),
        }
    }

    fn label(&self) -> &'static str {
        "anon_inode:seccomp notify"
    }
}
