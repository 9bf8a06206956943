//! What a supervisor asks of the listener of a filter (seccomp_unotify(2)).

use super::descriptors::CLOEXEC;
use super::locks::closed;
use crate::error::{Errno, SysResult};
use crate::files::open::{Descriptor, OpenFile};
use crate::process::current_task;
use crate::process::filters::listener::{
    ANSWER_BYTES, Answer, Given, Listener, NOTICE_BYTES, Supervisor,
};
use crate::process::names::numbers;
use crate::process::user_memory::{get, put};

/// Puts a descriptor that a supervisor gives among the caller's.
pub(crate) fn take(given: &Given) -> Result<u64, Errno> {
    let task = current_task();
    let (file, close_on_exec) = (given.file.clone(), given.close_on_exec);
    let Some(number) = given.number else {
        return task.give(Descriptor { file, close_on_exec }, 0);
    };
    let files = task.files();
    task.limit_files(&files);
    let replaced = files.lock().set(number, Some(Descriptor { file, close_on_exec }));
    if let Some(replaced) = replaced? {
        closed(&replaced.file);
    }
    Ok(number)
}

/// Bytes of `struct seccomp_notif_addfd`: number 0, flags 8, source 12, target 16, its flags 20.
const GIVEN_BYTES: usize = 24;

/// A request of the magic `!`, with the size of what it points to.
const fn request_of(direction: u32, number: u32, bytes: usize) -> u32 {
    direction << 30 | (bytes as u32) << 16 | 0x2100 | number
}

const RECEIVE: u32 = request_of(3, 0, NOTICE_BYTES);
const ANSWER: u32 = request_of(3, 1, ANSWER_BYTES);
const IS_TOLD: u32 = request_of(1, 2, 8);
/// The same, as it was once.
const IS_TOLD_FORMER: u32 = request_of(2, 2, 8);
const SET_FLAGS: u32 = request_of(1, 4, 8);
/// Of any size, whichever way it goes.
const GIVE: u32 = request_of(0, 3, 0);

/// A supervisor's request of its listener. `None`: the file is none.
pub(crate) fn request(file: &OpenFile, request: u32, at: u64) -> Option<SysResult> {
    let supervisor = file.object()?.of_kind::<Supervisor>()?;
    let listener = &supervisor.listener;
    Some(match request {
        RECEIVE => receive(listener, at).map(|()| 0),
        ANSWER => answer(listener, at).map(|()| 0),
        IS_TOLD | IS_TOLD_FORMER => get(at).and_then(|id| {
            let is_told = listener.is_told(u64::from_le_bytes(id));
            if is_told { Ok(0) } else { Err(Errno::ENOENT) }
        }),
        SET_FLAGS if at <= 1 => {
            supervisor.set_wakes_here(at != 0);
            Ok(0)
        }
        request if request & 0xffff == GIVE => {
            give(listener, (request >> 16 & 0x3fff) as usize, at)
        }
        _ => Err(Errno::EINVAL),
    })
}

fn receive(listener: &Listener, at: u64) -> Result<(), Errno> {
    let room: [u8; NOTICE_BYTES] = get(at)?;
    if room != [0; NOTICE_BYTES] {
        return Err(Errno::EINVAL);
    }
    let call = listener.receive()?;
    let mut bytes = room;
    bytes[..8].copy_from_slice(&call.id.to_le_bytes());
    bytes[8..12].copy_from_slice(&(numbers::told(call.thread) as u32).to_le_bytes());
    bytes[16..].copy_from_slice(&call.data);
    put(at, &bytes).inspect_err(|_| listener.not_received(call.id))
}

fn answer(listener: &Listener, at: u64) -> Result<(), Errno> {
    const IS_MADE: u32 = 1;
    let bytes: [u8; ANSWER_BYTES] = get(at)?;
    let [id, value] = [0, 8].map(|place| long(&bytes, place));
    let [error, flags] = [16, 20].map(|place| word(&bytes, place));
    let answer = match flags {
        0 if error != 0 => Answer::Returns(i64::from(error as i32) as u64),
        0 => Answer::Returns(value),
        IS_MADE if error == 0 && value == 0 => Answer::Made,
        _ => return Err(Errno::EINVAL),
    };
    listener.answer(id, answer)
}

/// A descriptor of the caller's for the thread that waits.
fn give(listener: &Listener, size: usize, at: u64) -> SysResult {
    const TO_NUMBER: u32 = 1;
    const IS_ANSWER: u32 = 2;
    /// What is behind the part that is known, at most.
    const MAX_BYTES: usize = 4096;
    if !(GIVEN_BYTES..MAX_BYTES).contains(&size) {
        return Err(Errno::EINVAL);
    }
    let bytes: [u8; GIVEN_BYTES] = get(at)?;
    for place in GIVEN_BYTES..size {
        if get::<1>(at.checked_add(place as u64).ok_or(Errno::EFAULT)?)? != [0] {
            return Err(Errno::E2BIG);
        }
    }
    let id = long(&bytes, 0);
    let [flags, source, number, its_flags] = [8, 12, 16, 20].map(|place| word(&bytes, place));
    if its_flags & !CLOEXEC != 0
        || flags & !(TO_NUMBER | IS_ANSWER) != 0
        || number != 0 && flags & TO_NUMBER == 0
    {
        return Err(Errno::EINVAL);
    }
    let file = current_task().files().lock().get(source.into())?.file;
    let number = (flags & TO_NUMBER != 0).then_some(number.into());
    let is_answer = flags & IS_ANSWER != 0;
    let given = Given::new(file, number, its_flags & CLOEXEC != 0, is_answer)?;
    listener.give(id, &given)
}

fn word(bytes: &[u8], place: usize) -> u32 {
    bytes[place..].first_chunk().map_or(0, |word| u32::from_le_bytes(*word))
}

fn long(bytes: &[u8], place: usize) -> u64 {
    bytes[place..].first_chunk().map_or(0, |long| u64::from_le_bytes(*long))
}
