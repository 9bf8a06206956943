//! Calls about POSIX message queues (mq_overview(7)).

use super::table::calls;
use crate::abi;
use crate::abi::signals::{Fields, Info, Signal, code};
use crate::abi::stack_image::WordSize;
use crate::error::{Errno, SysResult};
use crate::files::message_queue::{
    self, BYTES_RANGE, DEFAULT_BYTES, DEFAULT_MESSAGES, MAX_BYTES, MAX_MESSAGES, MESSAGES_RANGE,
    MessageQueue, Notified, Queue, Terms,
};
use crate::files::open::{Descriptor, OpenFile, flag};
use crate::limits::Resource;
use crate::process::identity::credentials::capability;
use crate::process::identity::permissions;
use crate::process::names::ipc::here;
use crate::process::sending::send;
use crate::process::user_memory::{get_numbers, put, string_of, timespec};
use crate::process::{current, current_task, table};
use crate::time::wall;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};
use machine::memory::fallible;

calls! {
    "mq_open" (name, flags, mode, attributes) => open(name, flags as u32, mode as u32, attributes);
    "mq_unlink" (name) => unlink(name);
    "mq_timedsend" (queue, from, length, priority, time) => send_message(queue, from, length, priority as u32, until(time, abi::WORD));
    "mq_timedsend_time64" (queue, from, length, priority, time) => send_message(queue, from, length, priority as u32, until(time, WordSize::Eight));
    "mq_timedreceive" (queue, to, length, priority, time) => receive(queue, to, length, priority, until(time, abi::WORD));
    "mq_timedreceive_time64" (queue, to, length, priority, time) => receive(queue, to, length, priority, until(time, WordSize::Eight));
    "mq_notify" (queue, event) => notify(queue, event);
    "mq_getsetattr" (queue, new, old) => change(queue, new, old);
}

const CREATE: u32 = 0o100;
const EXCLUSIVE: u32 = 0o200;
/// One more than the highest priority.
const PRIORITIES: u32 = 32_768;
/// One more byte of a name than it may have, and its end.
const NAME_BYTES: usize = 257;

/// A time of day, as the time since boot; `None`: none was given.
fn until(at: u64, size: WordSize) -> Result<Option<u64>, Errno> {
    if at == 0 { Ok(None) } else { timespec(at, size).map(wall::since_boot).map(Some) }
}

fn name(at: u64) -> Result<alloc::string::String, Errno> {
    let bytes = string_of::<NAME_BYTES>(at)?;
    let name = core::str::from_utf8(bytes.as_slice()).map_err(|_| Errno::EINVAL)?;
    match name {
        "" => Err(Errno::ENOENT),
        "." | ".." => Err(Errno::EACCES),
        name if name.len() == NAME_BYTES - 1 => Err(Errno::ENAMETOOLONG),
        name if name.contains('/') => Err(Errno::EACCES),
        name => Ok(fallible::text(name)?),
    }
}

fn open(at: u64, flags: u32, mode: u32, attributes: u64) -> SysResult {
    let asked = match attributes {
        0 => None,
        at => Some(get_numbers::<4>(at, abi::WORD)?),
    };
    let name = name(at)?;
    if flags & flag::ACCESS == flag::ACCESS {
        return Err(Errno::EINVAL);
    }
    let queue = loop {
        match message_queue::find(here(), &name) {
            Ok(_) if flags & (CREATE | EXCLUSIVE) == CREATE | EXCLUSIVE => {
                return Err(Errno::EEXIST);
            }
            Ok(queue) => {
                let wanted = match flags & flag::ACCESS {
                    0 => permissions::READ,
                    flag::WRITE_ONLY => permissions::WRITE,
                    _ => permissions::READ | permissions::WRITE,
                };
                permissions::check(&queue.attributes(), wanted)?;
                break queue;
            }
            Err(_) if flags & CREATE != 0 => {
                match message_queue::make(here(), &name, terms(mode, asked)?) {
                    // Another thread was faster: its queue is the one.
                    Err(Errno::EEXIST) if flags & EXCLUSIVE == 0 => {}
                    made => break made?,
                }
            }
            Err(error) => return Err(error),
        }
    };
    let object = fallible::shared(MessageQueue(queue))?;
    let file = OpenFile::of_object(object, flags & (flag::ACCESS | flag::NONBLOCK))?;
    current_task().give(Descriptor { file, close_on_exec: true }, 0)
}

/// What a new queue is made with. `asked`: flags, messages, bytes of a message, as words.
fn terms(mode: u32, asked: Option<[u64; 4]>) -> Result<Terms, Errno> {
    let all = current_task().credentials();
    let is_privileged = all.can(capability::SYS_RESOURCE);
    let kept = |number: &AtomicU64| number.load(Ordering::Relaxed);
    let (max_messages, message_bytes) = match asked {
        None => (
            kept(&DEFAULT_MESSAGES).min(kept(&MAX_MESSAGES)),
            kept(&DEFAULT_BYTES).min(kept(&MAX_BYTES)),
        ),
        Some([_, messages, bytes, _]) => {
            let (most_messages, most_bytes) = match is_privileged {
                true => (*MESSAGES_RANGE.end(), *BYTES_RANGE.end()),
                false => (kept(&MAX_MESSAGES), kept(&MAX_BYTES)),
            };
            let fits = |number: u64, most: u64| (1..=most).contains(&number);
            if !fits(messages, most_messages) || !fits(bytes, most_bytes) {
                return Err(Errno::EINVAL);
            }
            (messages, bytes)
        }
    };
    let umask = current_task().place().umask.load(Ordering::Relaxed);
    Ok(Terms {
        max_messages,
        message_bytes,
        mode: mode & 0o7777 & !umask,
        owner: [all.user.file, all.group.file],
        most_bytes: current().limits.soft(Resource::MessageQueues),
        is_privileged,
    })
}

fn unlink(at: u64) -> SysResult {
    let name = name(at)?;
    let all = current_task().credentials();
    let may = |queue: &Queue| queue.user() == all.user.file || all.can(capability::FOWNER);
    message_queue::unlink(here(), &name, may)?;
    Ok(0)
}

/// The queue of a descriptor, and its flags.
fn queue(number: u64) -> Result<(Arc<Queue>, u32), Errno> {
    let file = current_task().files().lock().get(number)?.file;
    let object = file.object().and_then(|object| object.of_kind::<MessageQueue>());
    let queue = object.ok_or(Errno::EBADF)?.0.clone();
    Ok((queue, file.flags()))
}

fn send_message(
    number: u64,
    from: u64,
    length: u64,
    priority: u32,
    until: Result<Option<u64>, Errno>,
) -> SysResult {
    let deadline = until?;
    if priority >= PRIORITIES {
        return Err(Errno::EINVAL);
    }
    let (queue, flags) = queue(number)?;
    if flags & flag::ACCESS == 0 {
        return Err(Errno::EBADF);
    }
    if length > queue.message_bytes {
        return Err(Errno::EMSGSIZE);
    }
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(length as usize).map_err(|_| Errno::ENOMEM)?;
    bytes.resize(length as usize, 0);
    let memory = current().memory().ok_or(Errno::EFAULT)?;
    memory.lock().read(from, &mut bytes)?;
    let told = queue.send(bytes, priority, flags & flag::NONBLOCK != 0, deadline)?;
    if let Some(told) = told {
        tell(told);
    }
    Ok(0)
}

/// Tells a process that there is a message.
fn tell(told: Notified) {
    let Some(signal) = Signal::new(told.signal.into()) else { return };
    let user = current_task().credentials().user.real;
    if let Some(process) = table::find(told.process) {
        let number = current().number_in(&process.space) as u32;
        let fields = Fields::Value { process: number, user, value: told.value };
        // One that ends has no use for it.
        let _ended = send::to_process(&process, Info { signal, code: code::MESSAGE, fields });
    }
}

fn receive(
    number: u64,
    to: u64,
    length: u64,
    priority: u64,
    until: Result<Option<u64>, Errno>,
) -> SysResult {
    let deadline = until?;
    let (queue, flags) = queue(number)?;
    if flags & flag::ACCESS == flag::WRITE_ONLY {
        return Err(Errno::EBADF);
    }
    if length < queue.message_bytes {
        return Err(Errno::EMSGSIZE);
    }
    let message = queue.receive(flags & flag::NONBLOCK != 0, deadline)?;
    if priority != 0 {
        put(priority, &message.priority.to_le_bytes())?;
    }
    put(to, &message.bytes)?;
    Ok(message.bytes.len() as u64)
}

fn notify(number: u64, event: u64) -> SysResult {
    const SIGNAL: u64 = 0;
    const NOTHING: u64 = 1;
    let wanted = match event {
        0 => None,
        event => {
            let [value] = get_numbers(event, abi::WORD)?;
            let rest = event.checked_add(abi::WORD.bytes() as u64).ok_or(Errno::EFAULT)?;
            let [signal, what] = get_numbers::<2>(rest, WordSize::Four)?;
            match what {
                SIGNAL if Signal::new(signal).is_some() => Some((signal as u32, value)),
                NOTHING => Some((0, value)),
                // A thread is told over a socket of the kernel's, of which there are none.
                _ => return Err(Errno::EINVAL),
            }
        }
    };
    let (queue, _) = queue(number)?;
    let me = current().id;
    match wanted {
        None => queue.forget(me),
        Some((signal, value)) => {
            let is_there = |other: u64| table::find(other).is_some_and(|p| p.status().is_none());
            queue.notify(Notified { process: me, signal, value }, is_there)?;
        }
    }
    Ok(0)
}

fn change(number: u64, new: u64, old: u64) -> SysResult {
    let flags = match new {
        0 => None,
        at => Some(get_numbers::<1>(at, abi::WORD)?[0]),
    };
    if flags.is_some_and(|flags| flags & !u64::from(flag::NONBLOCK) != 0) {
        return Err(Errno::EINVAL);
    }
    let (queue, before) = queue(number)?;
    if let Some(flags) = flags {
        let file = current_task().files().lock().get(number)?.file;
        file.set_flags(before & !flag::NONBLOCK | flags as u32);
    }
    if old != 0 {
        let kept = u64::from(before & flag::NONBLOCK);
        let numbers = [kept, queue.max_messages, queue.message_bytes, queue.waiting()];
        let word = abi::WORD.bytes();
        let mut bytes = [0; 64];
        for (place, number) in bytes.chunks_exact_mut(word).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes()[..word]);
        }
        put(old, &bytes[..8 * word])?;
    }
    Ok(0)
}
