//! ptrace: what a tracer asks for.

use super::table::calls;
use crate::abi::signals::{INFO_BYTES, Info, Signal, SignalSet};
use crate::abi::stack_image::WordSize;
use crate::abi::{self, AUDIT_MACHINE, registers};
use crate::error::{Errno, SysResult};
use crate::memory::object::AccessError;
use crate::memory::space::Memory;
use crate::process::current_task;
use crate::process::filters::{seccomp, user_dispatch};
use crate::process::identity::credentials::capability;
use crate::process::names::named;
use crate::process::task;
use crate::process::tracing::state::{At, Halted, Resume, Tracing, option};
use crate::process::tracing::tracer::{self, with_halted};
use crate::process::user_memory::{WORD_BYTES, get, get_numbers, put, put_word};
use machine::arch::extras::Breakpoints;
use machine::memory::fallible;
use threads::sched::{self, Mutex, Thread};

calls! {
    "ptrace" (request, number, address, data) => ptrace(request, number, address, data);
}

/// `PTRACE_…`.
mod request {
    pub(super) const TRACE_ME: u64 = 0;
    pub(super) const PEEK_TEXT: u64 = 1;
    pub(super) const PEEK_DATA: u64 = 2;
    pub(super) const PEEK_USER: u64 = 3;
    pub(super) const POKE_TEXT: u64 = 4;
    pub(super) const POKE_DATA: u64 = 5;
    pub(super) const POKE_USER: u64 = 6;
    pub(super) const CONTINUE: u64 = 7;
    pub(super) const KILL: u64 = 8;
    pub(super) const STEP: u64 = 9;
    pub(super) const GET_REGISTERS: u64 = 12;
    pub(super) const SET_REGISTERS: u64 = 13;
    pub(super) const GET_FLOATS: u64 = 14;
    pub(super) const SET_FLOATS: u64 = 15;
    pub(super) const ATTACH: u64 = 16;
    pub(super) const DETACH: u64 = 17;
    pub(super) const TO_CALL: u64 = 24;
    pub(super) const INSTEAD_OF_CALL: u64 = 31;
    pub(super) const STEP_INSTEAD_OF_CALL: u64 = 32;
    pub(super) const SET_OPTIONS: u64 = 0x4200;
    pub(super) const GET_MESSAGE: u64 = 0x4201;
    pub(super) const GET_INFO: u64 = 0x4202;
    pub(super) const SET_INFO: u64 = 0x4203;
    pub(super) const GET_SET: u64 = 0x4204;
    pub(super) const SET_SET: u64 = 0x4205;
    pub(super) const SEIZE: u64 = 0x4206;
    pub(super) const INTERRUPT: u64 = 0x4207;
    pub(super) const LISTEN: u64 = 0x4208;
    pub(super) const PEEK_INFO: u64 = 0x4209;
    pub(super) const GET_MASK: u64 = 0x420a;
    pub(super) const SET_MASK: u64 = 0x420b;
    pub(super) const GET_FILTER_FLAGS: u64 = 0x420d;
    pub(super) const GET_CALL: u64 = 0x420e;
    pub(super) const SET_DISPATCH: u64 = 0x4210;
    pub(super) const GET_DISPATCH: u64 = 0x4211;
}

/// Sets of registers (`NT_…`).
mod set {
    pub(super) const GENERAL: u64 = 1;
    pub(super) const FLOATS: u64 = 2;
    pub(super) const EXTENDED: u64 = 0x202;
}

/// Bytes of the floating point as `fxsave` has it.
const LEGACY_BYTES: usize = 512;
/// Bytes of `struct ptrace_sud_config`.
const DISPATCH_BYTES: u64 = 32;

fn ptrace(request: u64, number: u64, address: u64, data: u64) -> SysResult {
    let number = u64::from(number as u32);
    match request {
        request::TRACE_ME => return tracer::trace_me().map(|()| 0),
        request::ATTACH => return attach(number, None),
        request::SEIZE if address != 0 || data & !u64::from(option::KNOWN) != 0 => {
            return Err(Errno::EIO);
        }
        request::SEIZE => {
            check_options(data)?;
            return attach(number, Some(data as u32));
        }
        _ => {}
    }
    let thread = tracer::find(number)?;
    match request {
        request::INTERRUPT => return tracer::interrupt(&thread).map(|()| 0),
        request::KILL => {
            if let Some(task) = task::of(&thread) {
                task.process.crew.end(Signal::KILL.status());
            }
            return Ok(0);
        }
        _ => with_halted(&thread, |_| Ok(()))?,
    }
    match request {
        request::PEEK_TEXT | request::PEEK_DATA => peek(&thread, address, data),
        request::POKE_TEXT | request::POKE_DATA => poke(&thread, address, data),
        request::PEEK_USER => peek_user(&thread, address, data),
        request::POKE_USER => poke_user(&thread, address, data),
        request::CONTINUE => resume(&thread, Resume::Freely, data),
        request::TO_CALL => resume(&thread, Resume::ToCall, data),
        request::STEP if registers::STEP.is_some() => resume(&thread, Resume::Step, data),
        request::INSTEAD_OF_CALL => resume(&thread, Resume::InsteadOfCall, data),
        request::STEP_INSTEAD_OF_CALL if registers::STEP.is_some() => {
            resume(&thread, Resume::StepInsteadOfCall, data)
        }
        request::DETACH => {
            tracer::detach(&thread, signal(data)?);
            Ok(0)
        }
        request::LISTEN => tracer::listen(&thread).map(|()| 0),
        request::SET_OPTIONS => {
            if data & !u64::from(option::KNOWN) != 0 {
                return Err(Errno::EINVAL);
            }
            check_options(data)?;
            with_halted(&thread, |tracing| {
                tracing.options = data as u32;
                Ok(0)
            })
        }
        request::GET_MESSAGE => {
            put_word(data, with_halted(&thread, |tracing| Ok(tracing.message))?)?;
            Ok(0)
        }
        request::GET_INFO => {
            let info = halted(&thread, |halted| halted.info.clone().ok_or(Errno::EINVAL))?;
            put(data, &info.encode())?;
            Ok(0)
        }
        request::SET_INFO => set_info(&thread, data),
        request::GET_REGISTERS => get_set(&thread, set::GENERAL, data, usize::MAX),
        request::SET_REGISTERS => set_set(&thread, set::GENERAL, data, usize::MAX),
        request::GET_FLOATS => get_set(&thread, set::FLOATS, data, usize::MAX),
        request::SET_FLOATS => set_set(&thread, set::FLOATS, data, usize::MAX),
        request::GET_SET | request::SET_SET => {
            let [at, length] = get_numbers(data, abi::WORD)?;
            let most = usize::try_from(length).unwrap_or(usize::MAX);
            let moved = match request {
                request::GET_SET => get_set(&thread, address, at, most)?,
                _ => set_set(&thread, address, at, most)?,
            };
            put_word(data.checked_add(WORD_BYTES).ok_or(Errno::EFAULT)?, moved)?;
            Ok(0)
        }
        request::GET_MASK | request::SET_MASK if address != 8 => Err(Errno::EINVAL),
        request::GET_MASK => {
            let task = task::of(&thread).ok_or(Errno::ESRCH)?;
            let mask = task.signals.lock().blocked;
            put(data, &mask.0.to_le_bytes())?;
            Ok(0)
        }
        request::SET_MASK => {
            let mask = SignalSet(u64::from_le_bytes(get(data)?));
            let task = task::of(&thread).ok_or(Errno::ESRCH)?;
            task.signals.lock().blocked = mask.without(SignalSet::UNBLOCKABLE);
            Ok(0)
        }
        request::GET_CALL => get_call(&thread, address, data),
        request::GET_FILTER_FLAGS => filter_flags(&thread, address, data),
        request::PEEK_INFO => peek_info(&thread, address, data),
        request::SET_DISPATCH | request::GET_DISPATCH
            if !abi::HAS_USER_DISPATCH || address != DISPATCH_BYTES =>
        {
            Err(Errno::EINVAL)
        }
        request::SET_DISPATCH => {
            let [mode, selector, first, length] = get_numbers(data, WordSize::Eight)?;
            let task = task::of(&thread).ok_or(Errno::ESRCH)?;
            user_dispatch::ask(task, mode, first, length, selector)
        }
        request::GET_DISPATCH => {
            let task = task::of(&thread).ok_or(Errno::ESRCH)?;
            let mut bytes = [0; DISPATCH_BYTES as usize];
            for (to, word) in bytes.chunks_exact_mut(8).zip(user_dispatch::asked_by(task)) {
                to.copy_from_slice(&word.to_le_bytes());
            }
            put(data, &bytes)?;
            Ok(0)
        }
        _ => Err(Errno::EIO),
    }
    .map(|moved| match request {
        request::GET_REGISTERS..=request::SET_FLOATS => 0,
        _ => moved,
    })
}

/// Whether the caller may ask for what frees others from their filters.
fn check_options(options: u64) -> Result<(), Errno> {
    let is_free = seccomp::mode() == 0 && current_task().credentials().can(capability::SYS_ADMIN);
    let frees = options & u64::from(option::NO_FILTERS) != 0;
    if frees && !is_free { Err(Errno::EPERM) } else { Ok(()) }
}

fn attach(number: u64, seize: Option<u32>) -> SysResult {
    let (process, thread) = named::find_thread(None, number).ok_or(Errno::ESRCH)?;
    tracer::attach(&process, &thread, seize)?;
    Ok(0)
}

/// A signal as a tracer gives it; 0: none.
fn signal(data: u64) -> Result<u32, Errno> {
    let is_one = data == 0 || Signal::new(data).is_some();
    if is_one { Ok(data as u32) } else { Err(Errno::EIO) }
}

fn resume(thread: &Thread, how: Resume, data: u64) -> SysResult {
    let signal = signal(data)?;
    if Signal::new(signal.into()) == Some(Signal::KILL)
        && let Some(task) = task::of(thread)
    {
        task.process.crew.end(Signal::KILL.status());
        return Ok(0);
    }
    tracer::resume(thread, how, signal)?;
    Ok(0)
}

fn halted<R>(
    thread: &Thread,
    body: impl FnOnce(&mut Halted) -> Result<R, Errno>,
) -> Result<R, Errno> {
    with_halted(thread, |tracing| body(tracing.halted().ok_or(Errno::ESRCH)?))
}

/// Has `step` move bytes of the thread's memory, whatever its rights, until all are.
fn moved(
    thread: &Thread,
    at: u64,
    length: usize,
    mut step: impl FnMut(&mut Memory, u64, usize) -> Result<usize, AccessError>,
) -> Result<(), Errno> {
    let task = task::of(thread).ok_or(Errno::ESRCH)?;
    let memory = task.process.memory().ok_or(Errno::EIO)?;
    let memory: &Mutex<Memory> = &memory;
    let mut done = 0;
    while done < length {
        let at = at.checked_add(done as u64).ok_or(Errno::EIO)?;
        done += step(&mut memory.lock(), at, done).map_err(|_| Errno::EIO)?;
    }
    Ok(())
}

const WORD: usize = abi::WORD.bytes();

fn peek(thread: &Thread, address: u64, to: u64) -> SysResult {
    let mut word = [0; WORD];
    moved(thread, address, WORD, |memory, at, done| memory.read_forced(at, &mut word[done..]))?;
    put(to, &word)?;
    Ok(0)
}

fn poke(thread: &Thread, address: u64, data: u64) -> SysResult {
    let word = &data.to_le_bytes()[..WORD];
    moved(thread, address, WORD, |memory, at, done| memory.write_forced(at, &word[done..]))?;
    Ok(0)
}

/// What a word of `struct user` is.
enum Place {
    /// Of the registers, from this byte on.
    Register(usize),
    /// A debug register.
    Debug(usize),
    Nothing,
}

fn place(address: u64) -> Result<Place, Errno> {
    /// Debug registers.
    const COUNT: u64 = 8;
    if !address.is_multiple_of(WORD_BYTES) || registers::USER_BYTES.saturating_sub(address) == 0 {
        return Err(Errno::EIO);
    }
    if address < registers::BYTES as u64 {
        return Ok(Place::Register(address as usize));
    }
    let debug = registers::DEBUG.and_then(|first| address.checked_sub(first));
    let number = debug.map(|bytes| bytes / WORD_BYTES).filter(|&number| number < COUNT);
    Ok(number.map_or(Place::Nothing, |number| Place::Debug(number as usize)))
}

/// The debug register that tells what has happened.
const EVENTS: usize = 6;

fn peek_user(thread: &Thread, address: u64, to: u64) -> SysResult {
    let mut word = [0; WORD];
    match place(address)? {
        Place::Register(at) => {
            let bytes = halted(thread, |halted| Ok(registers::read(&halted.regs, &halted.bases)))?;
            word.copy_from_slice(&bytes[at..at + WORD]);
        }
        Place::Debug(number) => {
            let value = halted(thread, |halted| {
                Ok(match (&halted.breakpoints, number) {
                    (_, EVENTS) => thread.extras().events(),
                    (Some(breakpoints), _) => breakpoints.get(number),
                    (None, _) => 0,
                })
            })?;
            word.copy_from_slice(&value.to_le_bytes()[..WORD]);
        }
        Place::Nothing => {}
    }
    put(to, &word)?;
    Ok(0)
}

fn poke_user(thread: &Thread, address: u64, data: u64) -> SysResult {
    let place = place(address)?;
    halted(thread, |halted| match place {
        Place::Register(at) => {
            let mut bytes = registers::read(&halted.regs, &halted.bases);
            bytes[at..at + WORD].copy_from_slice(&data.to_le_bytes()[..WORD]);
            change(halted, &bytes)
        }
        Place::Debug(EVENTS) => {
            thread.extras().set_events(data);
            Ok(0)
        }
        // There are none of these numbers.
        Place::Debug(4 | 5) | Place::Nothing => Err(Errno::EIO),
        Place::Debug(number) => set_breakpoint(halted, number, data),
    })
}

/// A debug register of a halted thread. None of them is anything until one is set.
fn set_breakpoint(halted: &mut Halted, number: usize, data: u64) -> SysResult {
    let mut breakpoints = match halted.breakpoints.take() {
        Some(breakpoints) => breakpoints,
        None => Breakpoints::new()?,
    };
    let set = breakpoints.set(number, data, abi::USER_TOP);
    halted.breakpoints = Some(breakpoints);
    set.map(|()| 0).map_err(|_| Errno::EINVAL)
}

fn change(halted: &mut Halted, bytes: &[u8; registers::BYTES]) -> SysResult {
    registers::write(bytes, &mut halted.regs, &mut halted.bases)?;
    halted.is_changed = true;
    Ok(0)
}

/// How many bytes of the floating point registers a set has. `EINVAL`: there is no such set.
fn float_bytes(tracing: &Tracing, set: u64) -> Result<usize, Errno> {
    match (tracing.floats.len(), set) {
        (LEGACY_BYTES.., set::FLOATS) => Ok(LEGACY_BYTES),
        (bytes, set::EXTENDED) if bytes > LEGACY_BYTES => Ok(bytes),
        _ => Err(Errno::EINVAL),
    }
}

/// Gives out a set of registers, or its beginning; how many bytes.
fn get_set(thread: &Thread, set: u64, to: u64, most: usize) -> SysResult {
    if set == set::GENERAL {
        let bytes = halted(thread, |halted| Ok(registers::read(&halted.regs, &halted.bases)))?;
        let bytes = &bytes[..bytes.len().min(most)];
        put(to, bytes)?;
        return Ok(bytes.len() as u64);
    }
    let mut bytes = fallible::zeros(registers::float_bytes())?;
    let length = with_halted(thread, |tracing| {
        let length = float_bytes(tracing, set)?;
        bytes[..length].copy_from_slice(&tracing.floats[..length]);
        Ok(length.min(most))
    })?;
    put(to, &bytes[..length])?;
    Ok(length as u64)
}

/// Takes a set of registers, or its beginning; how many bytes.
fn set_set(thread: &Thread, set: u64, from: u64, most: usize) -> SysResult {
    if set == set::GENERAL {
        let mut bytes = halted(thread, |halted| Ok(registers::read(&halted.regs, &halted.bases)))?;
        let length = bytes.len().min(most);
        read_own(from, &mut bytes[..length])?;
        halted(thread, |halted| change(halted, &bytes))?;
        return Ok(length as u64);
    }
    let length = with_halted(thread, |tracing| float_bytes(tracing, set))?.min(most);
    let mut bytes = fallible::zeros(length)?;
    read_own(from, &mut bytes)?;
    with_halted(thread, |tracing| {
        let own = tracing.floats.get_mut(..length).ok_or(Errno::EINVAL)?;
        own.copy_from_slice(&bytes);
        let halted = tracing.halted().ok_or(Errno::ESRCH)?;
        halted.floats_are_changed = true;
        Ok(())
    })?;
    Ok(length as u64)
}

/// Bytes of the caller's own memory.
fn read_own(from: u64, to: &mut [u8]) -> Result<(), Errno> {
    let memory = crate::process::current().memory().ok_or(Errno::EFAULT)?;
    memory.lock().read(from, to)?;
    Ok(())
}

fn set_info(thread: &Thread, from: u64) -> SysResult {
    let bytes = get::<INFO_BYTES>(from)?;
    let [a, b, c, d, ..] = bytes;
    let number = u64::from(u32::from_le_bytes([a, b, c, d]));
    let signal = Signal::new(number).ok_or(Errno::EINVAL)?;
    let info = Info::decode(signal, &bytes)?;
    halted(thread, |halted| {
        let before = halted.info.as_mut().ok_or(Errno::EINVAL)?;
        *before = info;
        Ok(0)
    })
}

/// `struct seccomp_metadata`: which filter 0, counted from the oldest, and its flags 8.
fn filter_flags(thread: &Thread, bytes: u64, at: u64) -> SysResult {
    const IS_LOGGED: u64 = 2;
    if !current_task().credentials().can(capability::SYS_ADMIN) || seccomp::mode() != 0 {
        return Err(Errno::EACCES);
    }
    let bytes = bytes.min(16);
    if bytes < 8 {
        return Err(Errno::EINVAL);
    }
    let place = u64::from_le_bytes(get(at)?);
    let task = task::of(thread).ok_or(Errno::ESRCH)?;
    let flags = if seccomp::is_logged(task, place)? { IS_LOGGED } else { 0 };
    let told = [place, flags].map(u64::to_le_bytes);
    put(at, &told.as_flattened()[..bytes as usize])?;
    Ok(bytes)
}

/// Signals that wait, with what is told of each: `struct ptrace_peeksiginfo_args` says from which
/// on, of the thread or of its process, and how many. How many there were.
fn peek_info(thread: &Thread, from: u64, to: u64) -> SysResult {
    const OF_PROCESS: u32 = 1;
    let bytes: [u8; 16] = get(from)?;
    let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|byte| bytes[at + byte]));
    let (first, flags, count) =
        (u64::from(word(0)) | u64::from(word(4)) << 32, word(8), word(12) as i32);
    if flags & !OF_PROCESS != 0 {
        return Err(Errno::EINVAL);
    }
    let count = u64::try_from(count).map_err(|_| Errno::EINVAL)?;
    let task = task::of(thread).ok_or(Errno::ESRCH)?;
    for done in 0..count {
        let place = first.checked_add(done).and_then(|place| usize::try_from(place).ok());
        let Some(place) = place else { return Ok(done) };
        let info = match flags {
            OF_PROCESS => task.process.signals.lock().pending.told(place).cloned(),
            _ => task.signals.lock().pending.told(place).cloned(),
        };
        let Some(info) = info else { return Ok(done) };
        let at = to.checked_add(done * INFO_BYTES as u64).ok_or(Errno::EFAULT);
        match at.and_then(|at| put(at, &info.encode())) {
            Err(_) if done > 0 => return Ok(done),
            result => result?,
        }
        if sched::current().killed() {
            return Ok(done + 1);
        }
    }
    Ok(count)
}

/// `struct ptrace_syscall_info`: what 0, machine 4, PC 8, SP 16; then of a call its number 24 and
/// arguments 32, and what a filter says to the tracer 80; of a result that 24, and whether it is an
/// error 32. How many bytes there are.
fn get_call(thread: &Thread, room: u64, to: u64) -> SysResult {
    let mut bytes = [0; 84];
    let length = with_halted(thread, |tracing| {
        let message = tracing.message as u32;
        bytes[80..].copy_from_slice(&message.to_le_bytes());
        let halted = tracing.halted().ok_or(Errno::ESRCH)?;
        let regs = &halted.regs;
        let mut word = |at: usize, value: u64| {
            bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        };
        let (what, length) = match halted.at {
            At::Call | At::Filter => {
                word(24, abi::number(regs));
                let arguments = abi::arguments::<6>(regs, |_| Err(Errno::EFAULT));
                arguments.into_iter().zip((32..).step_by(8)).for_each(|(one, at)| word(at, one));
                if halted.at == At::Filter { (3, 84) } else { (1, 80) }
            }
            At::Return => {
                let result = abi::result(regs);
                let result = match abi::WORD {
                    WordSize::Four => result as i32 as i64,
                    WordSize::Eight => result as i64,
                };
                word(24, result as u64);
                word(32, u64::from((-4095..0).contains(&result)));
                (2, 33)
            }
            _ => (0, 24),
        };
        word(0, what | u64::from(AUDIT_MACHINE) << 32);
        word(8, abi::program_counter(regs));
        word(16, abi::stack_pointer(regs));
        Ok(length)
    })?;
    let given = length.min(usize::try_from(room).unwrap_or(usize::MAX));
    put(to, &bytes[..given])?;
    Ok(length as u64)
}
