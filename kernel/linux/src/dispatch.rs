//! System calls: the way in, and which call is which.

use crate::abi::signals::{Fields, Info, Signal, code};
use crate::abi::{self, OldCalls, USUAL, Way};
use crate::calls::table::{self, Handler, NUMBERS, Row, by_number};
use crate::calls::{
    adjust, credentials, files, futex, identity, ipc, limits, memory, message_queues, namespaces,
    pidfd, prctl, process, ptrace, scheduling, seccomp as seccomp_calls, segments, signals, system,
    time, timerfd, timers, tls, wait,
};
use crate::error::{Errno, SysResult};
use crate::proc::kstack;
use crate::process::filters::seccomp::{self, Verdict};
use crate::process::filters::user_dispatch;
use crate::process::tracing::halt;
use crate::signals::deliver;
use crate::signals::restart;
use core::sync::atomic::{AtomicU64, Ordering};
use machine::arch::regs::SavedRegs;
use threads::sched;

/// The tables of all subjects.
const TABLES: &[&[Row]] = &[
    files::CALLS,
    credentials::CALLS,
    memory::CALLS,
    ipc::messages::CALLS,
    ipc::multiplexed::CALLS,
    ipc::semaphores::CALLS,
    ipc::shared::CALLS,
    message_queues::CALLS,
    process::CALLS,
    ptrace::CALLS,
    prctl::CALLS,
    namespaces::CALLS,
    pidfd::CALLS,
    futex::CALLS,
    identity::CALLS,
    limits::CALLS,
    scheduling::CALLS,
    signals::CALLS,
    time::CALLS,
    adjust::CALLS,
    timers::CALLS,
    timerfd::CALLS,
    system::CALLS,
    tls::CALLS,
    segments::CALLS,
    seccomp_calls::CALLS,
    wait::CALLS,
];

static HANDLERS: [Handler; NUMBERS] = by_number(TABLES, unknown);

/// A system call.
pub fn dispatch(regs: &mut SavedRegs) {
    if user_dispatch::are_there() {
        looked_at(regs, &USUAL, make);
    } else {
        make(regs);
    }
}

/// A system call the older way, where there is one.
pub fn old_call(regs: &mut SavedRegs) {
    let Some(calls) = abi::OLD_CALLS else { return };
    (calls.begin)(regs);
    if user_dispatch::are_there() {
        looked_at(regs, &calls.way, make_old);
    } else {
        make_old(regs);
    }
}

/// A call while there are some that are looked at: by the program itself, by its filters, by a
/// tracer.
#[cold]
#[inline(never)]
fn looked_at(regs: &mut SavedRegs, way: &Way, make: fn(&mut SavedRegs)) {
    if halt::before_call(regs) && !is_kept_away(regs, way) {
        make(regs);
    }
    if halt::after_call(regs) {
        let at = abi::program_counter(regs);
        deliver::force(Info::fault(Signal::TRAP, code::TRAP_BREAKPOINT, at));
    }
}

/// Makes a call.
#[inline(always)]
fn make(regs: &mut SavedRegs) {
    let number = usize::try_from(abi::number(regs)).unwrap_or(usize::MAX);
    let result = match HANDLERS.get(abi::table_index(number as u64)) {
        Some(handler) => handler(regs),
        None => unknown(regs),
    };
    end(regs, result);
}

/// What a call has come to.
#[inline(always)]
fn end(regs: &mut SavedRegs, result: SysResult) {
    match result {
        Ok(value) => abi::set_result(regs, value),
        Err(error) if error.is_restart() => restart::note(regs, error),
        Err(error) => abi::set_result(regs, error.as_result()),
    }
    sched::current().unpin_all();
}

/// Makes a call the older way. It is found by its name, at every call: programs that make more than
/// a few do it the usual way.
#[cold]
#[inline(never)]
fn make_old(regs: &mut SavedRegs) {
    let Some(calls) = abi::OLD_CALLS else { return };
    let result = old_result(regs, &calls);
    end(regs, result);
}

fn old_result(regs: &mut SavedRegs, calls: &OldCalls) -> SysResult {
    let number = abi::number(regs) & u64::from(u32::MAX);
    let name = abi::name_in(calls.way.names, number).unwrap_or("no such call");
    let is_in = |list: &str| list.split(' ').any(|listed| listed == name);
    match table::handler(TABLES, name) {
        Some(handler) if is_in(calls.alike) => handler(&mut (calls.way.moved)(regs)),
        Some(handler) if is_in(calls.with_registers) => handler(regs),
        _ => {
            if is_new(&OLD_LOGGED, number) {
                log!("system call {number} of 32 bits ({name}) is not there: ENOSYS");
            }
            Err(Errno::ENOSYS)
        }
    }
}

/// Whether this call is not for the kernel: the program carries it out itself, or its filters have
/// answered it.
#[cold]
#[inline(never)]
fn is_kept_away(regs: &mut SavedRegs, way: &Way) -> bool {
    if is_programs(regs, way.machine) {
        return true;
    }
    let mut is_told = false;
    loop {
        match seccomp::judge(regs, way, &files::take_given) {
            Verdict::Allowed => return false,
            Verdict::Traced(_) if is_told => return false,
            Verdict::Traced(data) if halt::at_filter(regs, data) => {
                if sched::current().killed() || (abi::number(regs) as i32) < 0 {
                    return true;
                }
                // The tracer may have made another call of it.
                is_told = true;
            }
            Verdict::Traced(_) => {
                abi::set_result(regs, Errno::ENOSYS.as_result());
                return true;
            }
            Verdict::Refused(result) => {
                abi::set_result(regs, result);
                return true;
            }
            Verdict::Cut(error) => {
                restart::note(regs, error);
                return true;
            }
            Verdict::Trapped(info) => {
                as_before_the_call(regs);
                deliver::force(info);
                return true;
            }
        }
    }
}

/// The registers as they were.
fn as_before_the_call(regs: &mut SavedRegs) {
    if abi::RESULT_REPLACES_NUMBER {
        abi::set_result(regs, abi::number(regs));
    }
}

/// Whether the program carries this call out itself: it is sent SIGSYS then, and its registers are
/// as before the call.
fn is_programs(regs: &mut SavedRegs, machine: u32) -> bool {
    /// `SYS_USER_DISPATCH`.
    const USER_DISPATCH: i32 = 2;
    let address = regs.pc().get() as u64;
    if !user_dispatch::is_programs(address) {
        return false;
    }
    let number = abi::number(regs);
    as_before_the_call(regs);
    let fields = Fields::Call { address, number: number as i32, machine, reason: 0 };
    deliver::force(Info { signal: Signal::SYS, code: USER_DISPATCH, fields });
    true
}

/// Tells /proc which calls there are. Once, at boot.
pub fn set_up() {
    let is_known = |number: &u64| {
        abi::name(*number).is_some_and(|name| table::handler(TABLES, name).is_some())
    };
    kstack::numbers().filter(is_known).for_each(kstack::tell_known);
}

/// Numbers already logged, as bits.
type Logged = [AtomicU64; 8];

static LOGGED: Logged = [const { AtomicU64::new(0) }; 8];
static OLD_LOGGED: Logged = [const { AtomicU64::new(0) }; 8];

/// Whether a number is to be logged: it was not before. Those beyond all calls there are share the
/// last bit: a program must not be able to fill the log.
fn is_new(logged: &Logged, number: u64) -> bool {
    let number = number.min(64 * logged.len() as u64 - 1);
    let bit = 1 << (number % 64);
    logged[(number / 64) as usize].fetch_or(bit, Ordering::Relaxed) & bit == 0
}

/// All numbers are logged again. For tests.
pub fn forget_logged() {
    let all = LOGGED.iter().chain(&OLD_LOGGED);
    all.for_each(|bits| bits.store(0, Ordering::Relaxed));
}

/// ENOSYS, logged once per number. Not inlined: what it needs to write a line is more than most
/// calls need.
#[cold]
#[inline(never)]
fn unknown(regs: &mut SavedRegs) -> SysResult {
    let number = abi::number(regs);
    if is_new(&LOGGED, number) {
        let name = abi::name(number).unwrap_or("no such call");
        log!("system call {number} ({name}) is not there: ENOSYS");
    }
    Err(Errno::ENOSYS)
}
