//! Calls about signals: what a program says of them, whom one is for, and waiting for them.

mod descriptor;
mod old;

use crate::abi;
use crate::abi::action::{Action, flag};
use crate::abi::frame::StackBytes;
use crate::abi::signals::{Fields, INFO_BYTES, Info, Signal, SignalSet, code};
use crate::abi::stack_image::WordSize;
use crate::calls::table::calls;
use crate::error::{Errno, SysResult};
use crate::process::identity::credentials::Credentials;
use crate::process::names::named;
use crate::process::sending::send::{self, to_process};
use crate::process::table::Which;
use crate::process::time::timers;
use crate::process::user_memory::{get, put, timespec};
use crate::process::{Process, current, current_task};
use crate::signals::{deliver, frame, restart};
use alloc::sync::Arc;
use core::sync::atomic::Ordering;
use threads::sched::{WaitQueue, Waited};
use threads::time;

calls! {
    "rt_sigaction" (signal, new, old, bytes) => sigaction(u64::from(signal as u32), new, old, bytes);
    "rt_sigprocmask" (how, new, old, bytes) => sigprocmask(how as u32, new, old, bytes);
    "rt_sigpending" (to, bytes) => sigpending(to, bytes);
    "rt_sigtimedwait" (set, info, timeout, bytes) => sigtimedwait(set, info, timeout, bytes, abi::WORD);
    "rt_sigtimedwait_time64" (set, info, timeout, bytes) => sigtimedwait(set, info, timeout, bytes, WordSize::Eight);
    "rt_sigqueueinfo" (process, signal, info) => sigqueueinfo(process as i32, None, u64::from(signal as u32), info);
    "rt_tgsigqueueinfo" (process, thread, signal, info) => sigqueueinfo(process as i32, Some(thread as i32), u64::from(signal as u32), info);
    "rt_sigsuspend" (mask, bytes) => sigsuspend(mask, bytes);
    "pause" () => pause();
    "kill" (process, signal) => kill(i64::from(process as i32), u64::from(signal as u32));
    "tkill" (thread, signal) => tkill(None, thread as i32, u64::from(signal as u32));
    "tgkill" (process, thread, signal) => tkill(Some(process as i32), thread as i32, u64::from(signal as u32));
    "signalfd" (fd, mask, bytes) => descriptor::signalfd(fd, mask, bytes, 0);
    "signalfd4" (fd, mask, bytes, flags) => descriptor::signalfd(fd, mask, bytes, flags);
    "restart_syscall" () => restart::restart_syscall();
    "sigaction" (signal, new, old) => old::sigaction(u64::from(signal as u32), new, old);
    "sigprocmask" (how, new, old) => old::sigprocmask(how as u32, new, old);
    "sigpending" (to) => sigpending(to, old::SET_BYTES);
    "sigsuspend" (_one, _two, mask) => suspend_with(SignalSet(u64::from(mask as u32)));
    "signal" (signal, handler) => old::signal(u64::from(signal as u32), handler);
    "sgetmask" () => Ok(current_task().signals.lock().blocked.0 & old::MASK);
    "ssetmask" (mask) => old::ssetmask(mask);
    with registers:
    "rt_sigreturn" | "sigreturn" => deliver::sigreturn;
    "sigaltstack" => |regs| {
        let [new, old, ..] = abi::arguments::<2>(regs, get);
        sigaltstack(new, old, abi::stack_pointer(regs))
    };
}

/// Bytes of `sigset_t` for the kernel.
const SET_BYTES: u64 = 8;

fn signal(number: u64) -> Result<Signal, Errno> {
    Signal::new(number).ok_or(Errno::EINVAL)
}

fn get_set(at: u64, bytes: u64) -> Result<SignalSet, Errno> {
    if bytes != SET_BYTES {
        return Err(Errno::EINVAL);
    }
    Ok(SignalSet(u64::from_le_bytes(get(at)?)))
}

fn sigaction(number: u64, new: u64, old: u64, bytes: u64) -> SysResult {
    if bytes != SET_BYTES {
        return Err(Errno::EINVAL);
    }
    let action = if new != 0 { Some(abi::frame::decode_action(&get(new)?)) } else { None };
    let before = set_action(number, action)?;
    if old != 0 {
        put(old, &abi::frame::encode_action(&before))?;
    }
    Ok(0)
}

/// Sets what a signal does; what it did.
fn set_action(number: u64, action: Option<Action>) -> Result<Action, Errno> {
    let signal = signal(number)?;
    if action.is_some() && signal.is_unblockable() {
        return Err(Errno::EINVAL);
    }
    let process = current();
    let before = {
        let mut signals = process.signals.lock();
        let before = signals.actions.get(signal);
        if let Some(mut action) = action {
            action.mask = action.mask.without(SignalSet::UNBLOCKABLE);
            // A flag that is not there is not kept: so a program finds out what there is.
            action.flags &= flag::ALL;
            signals.actions.set(signal, action);
            if action.ignores(signal) {
                // What is pending is dropped, as POSIX has it.
                signals.pending.discard(SignalSet::of(&[signal]));
            }
        }
        before
    };
    if let Some(action) = action {
        let is_ignored = action.ignores(signal);
        if is_ignored {
            send::discard_everywhere(process, SignalSet::of(&[signal]));
        }
        if is_ignored != before.ignores(signal) {
            timers::action_has_changed(signal, is_ignored);
        }
    }
    Ok(before)
}

fn sigprocmask(how: u32, new: u64, old: u64, bytes: u64) -> SysResult {
    const BLOCK: u32 = 0;
    const UNBLOCK: u32 = 1;
    const SET: u32 = 2;
    if bytes != SET_BYTES {
        return Err(Errno::EINVAL);
    }
    let before = current_task().signals.lock().blocked;
    if new != 0 {
        let set = get_set(new, bytes)?;
        deliver::set_mask(match how {
            BLOCK => before.union(set),
            UNBLOCK => before.without(set),
            SET => set,
            _ => return Err(Errno::EINVAL),
        });
    }
    if old != 0 {
        put(old, &before.0.to_le_bytes())?;
    }
    Ok(0)
}

fn sigpending(to: u64, bytes: u64) -> SysResult {
    if bytes > SET_BYTES {
        return Err(Errno::EINVAL);
    }
    let of_process = current().signals.lock().pending.set();
    let signals = current_task().signals.lock();
    let pending = of_process.union(signals.pending.set()).intersection(signals.blocked);
    drop(signals);
    put(to, &pending.0.to_le_bytes()[..bytes as usize])?;
    Ok(0)
}

fn sigsuspend(mask: u64, bytes: u64) -> SysResult {
    suspend_with(get_set(mask, bytes)?)
}

fn suspend_with(mask: SignalSet) -> SysResult {
    let before = current_task().signals.lock().blocked;
    current_task().signals.lock().saved_mask = Some(before);
    deliver::set_mask(mask);
    pause()
}

fn pause() -> SysResult {
    static NEVER: WaitQueue = WaitQueue::new();
    // Ends only by a signal.
    NEVER.wait_until(|| false).map_err(|_| Errno::ERESTARTNOHAND)?;
    Ok(0)
}

/// Takes a pending signal of a set, or waits for one.
fn sigtimedwait(set: u64, info: u64, timeout: u64, bytes: u64, size: WordSize) -> SysResult {
    let set = get_set(set, bytes)?.without(SignalSet::UNBLOCKABLE);
    let deadline = match timeout {
        0 => None,
        at => Some(time::later(timespec(at, size)?)),
    };
    let task = current_task();
    let take = || deliver::take_of(set);
    let mut taken = take();
    if taken.is_none() {
        static NEVER: WaitQueue = WaitQueue::new();
        task.signals.lock().awaited = set;
        // What came before it was known to be awaited.
        taken = take();
        let waited = match taken {
            Some(_) => Ok(Waited::Holds),
            None => NEVER.wait_deadline(
                || {
                    taken = take();
                    taken.is_some()
                },
                deadline,
            ),
        };
        task.signals.lock().awaited = SignalSet::EMPTY;
        if taken.is_none() {
            taken = take();
        }
        deliver::notify_if_pending();
        match (&taken, waited) {
            (Some(_), _) => {}
            (None, Ok(_)) => return Err(Errno::EAGAIN),
            (None, Err(_)) => return Err(Errno::EINTR),
        }
    }
    let Some(taken) = taken else { return Err(Errno::EAGAIN) };
    if info != 0 {
        put(info, &taken.encode())?;
    }
    Ok(taken.signal.number().into())
}

fn sigaltstack(new: u64, old: u64, sp: u64) -> SysResult {
    let before = current_task().signals.lock().stack;
    let flags = frame::flags(&before, sp);
    let answer = StackBytes { lowest: before.lowest, bytes: before.bytes, flags };
    if new != 0 {
        frame::set_stack(StackBytes::decode(&get(new)?), sp)?;
    }
    if old != 0 {
        put(old, &answer.encode())?;
    }
    Ok(0)
}

/// Who the calling process is, to those that it sends signals to.
pub(crate) struct Caller {
    process: &'static Process,
    sender: Arc<Credentials>,
    session: u64,
}

impl Caller {
    pub(crate) fn new() -> Self {
        let process = current();
        let sender = current_task().credentials();
        Self { process, sender, session: process.session.load(Ordering::Relaxed) }
    }

    /// What is told with its signal.
    pub(crate) fn info(&self, signal: Signal, code: i32) -> Info {
        let (process, user) = (self.process.local as u32, self.sender.user.real);
        Info { signal, code, fields: Fields::Sender { process, user } }
    }

    /// Whether it may send a process a signal: its own, one of its user's, and SIGCONT in its
    /// session.
    pub(crate) fn check(&self, to: &Process, signal: Option<Signal>) -> Result<(), Errno> {
        let is_in_session = to.session.load(Ordering::Relaxed) == self.session;
        let may = to.id == self.process.id
            || self.sender.may_signal(&to.credentials())
            || signal == Some(Signal::CONT) && is_in_session;
        if may { Ok(()) } else { Err(Errno::EPERM) }
    }
}

/// A signal by number, where 0 only asks. It is looked at when there is a process to get it.
fn signal_or_none(number: u64) -> Result<Option<Signal>, Errno> {
    if number == 0 { Ok(None) } else { signal(number).map(Some) }
}

/// The process that a number means: its own number, or that of one of its threads.
fn find(number: u64) -> Result<Arc<Process>, Errno> {
    named::find_by_any(number).ok_or(Errno::ESRCH)
}

fn kill(which: i64, number: u64) -> SysResult {
    let caller = Caller::new();
    let me = caller.process;
    if which == i64::from(i32::MIN) {
        return Err(Errno::ESRCH);
    }
    let one = |process: &Process| {
        let signal = signal_or_none(number)?;
        caller.check(process, signal)?;
        Ok(signal.map(|signal| caller.info(signal, code::USER)))
    };
    if which > 0 {
        let process = find(which as u64)?;
        if let Some(info) = one(&process)? {
            to_process(&process, info)?;
        }
        return Ok(0);
    }
    let which = Which::of(which, me);
    let (mut met, mut worked, mut error) = (false, false, None);
    let mut refused = None;
    let info = |process: &Process| {
        // "All" is all that the caller sees but itself and the first process.
        if which == Which::Any
            && (process.id == me.id || process.is_first || matches!(process.told(), 0 | 1))
        {
            return None;
        }
        met = true;
        match one(process) {
            Ok(info) => {
                // What only asks has its answer already.
                worked |= info.is_none();
                info
            }
            Err(error) => {
                refused = Some(error);
                None
            }
        }
    };
    let mut sent = false;
    send::to_each(which, info, |result| match result {
        Ok(_) => sent = true,
        Err(one) => error = Some(one),
    });
    match (worked || sent, error.or(refused)) {
        (true, _) => Ok(0),
        // To all: those that it may not send to do not count.
        (false, Some(Errno::EPERM)) if which == Which::Any && met => Ok(0),
        (false, Some(error)) => Err(error),
        (false, None) if met => Ok(0),
        (false, None) => Err(Errno::ESRCH),
    }
}

/// Calls `body` for a living thread with a number, of the process with the number `process` if that
/// is given.
fn with_thread(
    process: Option<i32>,
    thread: i32,
    body: impl FnOnce(&Process, &Arc<threads::sched::Thread>) -> SysResult,
) -> SysResult {
    if thread <= 0 || process.is_some_and(|process| process <= 0) {
        return Err(Errno::EINVAL);
    }
    let (process, thread) =
        named::find_thread(process.map(|process| process as u64), thread as u64)
            .ok_or(Errno::ESRCH)?;
    body(&process, &thread)
}

/// A signal to a thread. Only a living thread has its number, or the first one of a process that
/// was not waited for: what is sent to that is lost.
fn tkill(process: Option<i32>, thread: i32, number: u64) -> SysResult {
    let caller = Caller::new();
    let send_to = |process: &Process, thread: &_| {
        let signal = signal_or_none(number)?;
        caller.check(process, signal)?;
        if let Some(signal) = signal {
            send::to_thread(process, thread, caller.info(signal, code::TKILL))?;
        }
        Ok(0)
    };
    // To itself, most often.
    let is_own = |number: i32, own: u64| number > 0 && number as u64 == own;
    if is_own(thread, current_task_number())
        && process.is_none_or(|process| is_own(process, caller.process.local))
    {
        return send_to(caller.process, &threads::sched::current_arc());
    }
    if thread > 0
        && process.is_none_or(|process| process == thread)
        && let Some(ended) = named::find(thread as u64).filter(|ended| ended.crew.count() == 0)
    {
        let signal = signal_or_none(number)?;
        caller.check(&ended, signal)?;
        return Ok(0);
    }
    with_thread(process, thread, send_to)
}

/// sigqueue(3) and pthread_sigqueue(3): what is told comes from the program.
fn sigqueueinfo(process: i32, thread: Option<i32>, number: u64, info: u64) -> SysResult {
    let bytes: [u8; INFO_BYTES] = get(info)?;
    let caller = Caller::new();
    let code = Info::code_in(&bytes);
    // Only to itself may a program say that the kernel or kill(2) sent it.
    let own = thread.unwrap_or(process) as u64;
    let is_own = own == caller.process.local || current_task_number() == own;
    if (code >= 0 || code == code::TKILL) && !is_own {
        return Err(Errno::EPERM);
    }
    let told = |to: &Process| -> Result<_, Errno> {
        let signal = signal_or_none(number)?;
        // What claims to be the kernel's is for the caller itself.
        if code <= 0 {
            caller.check(to, signal)?;
        }
        Ok(signal.map(|signal| Info::decode(signal, &bytes)).transpose()?)
    };
    match thread {
        Some(thread) => with_thread(Some(process), thread, |process, thread| {
            if let Some(told) = told(process)? {
                send::to_thread(process, thread, told)?;
            }
            Ok(0)
        }),
        None => {
            let process = find(process as u64)?;
            if let Some(told) = told(&process)? {
                to_process(&process, told)?;
            }
            Ok(0)
        }
    }
}

/// The number of the calling thread.
fn current_task_number() -> u64 {
    current_task().number()
}
