//! The end of threads and processes, and who waits for it.
//!
//! A thread leaves its crew; the last one ends the process. Every way out of a program comes here:
//! exit, a fatal signal, a kernel stack that overflowed.

use crate::abi::action::{self, Action};
use crate::abi::signals::{CORE_WRITTEN, Fields, Info, Signal, SignalSet, code, how_ended};
use crate::error::Errno;
use crate::files::{console, pty};
use crate::ipc::semaphores;
use crate::process::crew::Left;
use crate::process::hardware::shadow;
use crate::process::names::{ipc, pidfd};
use crate::process::sending::send::{self, of_child, to_process};
use crate::process::table::{self, OfEnd, Which};
use crate::process::table::{News, Wanted};
use crate::process::task::Task;
use crate::process::time::{cpu_time, timers};
use crate::process::tracing::{halt, tracer};
use crate::process::{Process, current, current_task, futex};
use crate::spaces::pid::Space;
use alloc::sync::Arc;
use core::fmt;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use threads::sched::{self, Owner};
use threads::time;

pub(crate) fn stop_borrowing(process: &Process) {
    if process.borrows_memory.swap(false, Ordering::AcqRel) {
        process.changed.wake_all();
    }
}

/// Ends the calling thread; the last one ends the process, with this wait status if no other was
/// decided.
pub(crate) fn exit_thread(status: i32) -> ! {
    halt::at_exit(status);
    {
        let process = current();
        let thread = sched::current();
        // An overflow inside a clone leaves it half done.
        current_task().birth.abandon(&process.membership);
        // Its filters go before others can know of its end.
        let filters = core::mem::take(&mut *current_task().seccomp.lock());
        drop(filters);
        let robust = current_task().robust_list.load(Ordering::Relaxed);
        if robust != 0 {
            futex::release_all(robust, current_task().number());
        }
        let clear = current_task().clear_on_exit.load(Ordering::Relaxed);
        if clear != 0
            && let Some(memory) = process.memory()
        {
            let _bad_pointer_is_ignored = memory.lock().write(clear, &0_u32.to_le_bytes());
            let _nor_woken = futex::wake(clear, false, futex::ANY_BIT, 1);
        }
        current_task().drop_parts();
        shadow::give_back(current_task());
        futex::forget(current_task());
        thread.unpin_all();
        // Off the process's tables before they can go.
        thread.set_tables_root(0);
        cpu_time::keep(process, thread);
        match process.crew.leave(thread) {
            Left::None(decided) => {
                tracer::thread_ends(decided.unwrap_or(status));
                current_task().set_numbers_free();
                end(process, decided.unwrap_or(status));
            }
            left => {
                // What it would have taken is for the others.
                send::hand_over(process, SignalSet::ALL);
                send::note_stopped(process);
                tracer::thread_ends(process.crew.ending().unwrap_or(status));
                current_task().set_numbers_free();
                process.membership.thread_ends();
                if left == Left::OneThatWaits {
                    process.changed.wake_all();
                }
                pidfd::tell(process);
            }
        }
    }
    sched::exit_current()
}

fn end(process: &Process, mut status: i32) {
    timers::delete_all(process);
    semaphores::process_ends(process.id);
    ipc::leave(process);
    tracer::ends(process);
    drop(process.set_files(None));
    if process.session.load(Ordering::Relaxed) == process.id {
        pty::leader_ends(process.id);
        console::leader_ends(process.id);
    }
    drop(process.set_memory(None));
    let program = process.executable.lock().take();
    drop(program);
    stop_borrowing(process);
    while let Some((child, signal)) = table::next_to_tell_of_death(process.id) {
        if let Some(signal) = Signal::new(signal.into()) {
            let user = current_task().credentials().user.real;
            let number = process.number_in(&child.space) as u32;
            let fields = Fields::Sender { process: number, user };
            let _told = to_process(&child, Info { signal, code: code::USER, fields });
        }
    }
    if let Some(space) = process.space.as_ref().filter(|_| process.is_init()) {
        end_space(process, space);
        status = space.reboot().unwrap_or(status);
    }
    let signal = process.exit_signal.load(Ordering::Relaxed);
    let told = Signal::new(signal.into()).map(|signal| {
        let (code, status) = how_ended(status);
        of_child(process, signal, code, status)
    });
    let tell = |other: &Process, what| match what {
        OfEnd::ToParent => {
            if let Some(told) = &told {
                send::in_table(other, send::told_to(other, process, told.clone()));
            }
        }
        OfEnd::HangUp(signal) => send::in_table(other, Info::kernel(signal)),
    };
    tracer::process_ends(process, status);
    // Before it can be waited for: its group may be removed then.
    process.membership.process_ends();
    let [parent, reaper] = table::end(process, status, &tell);
    send::tell_parents();
    process.changed.wake_all();
    pidfd::tell(process);
    // Children of the reaper that had ended are its now.
    for other in [reaper, parent].into_iter().flatten() {
        other.changed.wake_all();
    }
}

/// The first process of a namespace ends: so do all others in it, and it waits for them
/// (`zap_pid_ns_processes`).
fn end_space(process: &Process, space: &Arc<Space>) {
    // No process enters behind this: see `table::enter`.
    space.close();
    // From now on its children leave by themselves when they end.
    let ignored = Action { handler: action::IGNORE, ..Action::default() };
    process.signals.lock().actions.set(Signal::CHLD, ignored);
    table::end_all_in(&process.space, process);
    let wanted = Wanted {
        ended: true,
        stopped: false,
        continued: false,
        keep: false,
        no_hang: false,
        kind: table::Kind::Both,
    };
    // All of its children, and those that become its own meanwhile: also such as tell of their end
    // by no signal or by another one, which stay until they are waited for.
    loop {
        let mut found = Ok(None);
        process.changed.wait_uninterruptibly(|| {
            found = table::news(process.id, Which::Any, wanted);
            !matches!(found, Ok(None))
        });
        let Ok(Some((_, child))) = found else { break };
        if let Some(child) = &child {
            cpu_time::add_child(process, child);
            child.forget_numbers();
            pidfd::tell(child);
        }
        drop(child);
    }
    let groups = process.leave_groups();
    drop(groups);
    // What is left besides its own number is a process that ends, or that one outside waits for.
    space.changed.wait_uninterruptibly(|| space.count() <= 1);
}

/// Ends the calling process with an exit code, unless it is ending already.
pub(crate) fn exit_group(code: i32) -> ! {
    let status = (code & 0xff) << 8;
    halt::at_exit(status);
    current().crew.end(status);
    exit_thread(status)
}

/// Ends the calling process as by a fatal signal.
pub fn kill_current(signal: Signal) -> ! {
    end_by(signal, signal.status())
}

/// The same, and a core file was written.
pub(crate) fn kill_current_with_core(signal: Signal) -> ! {
    end_by(signal, signal.status() | CORE_WRITTEN)
}

fn end_by(signal: Signal, status: i32) -> ! {
    halt::at_exit(status);
    {
        let process = current();
        process.crew.end(status);
        let (id, name) = (process.id, process.name());
        tell(format_args!("process {id} ({name}) is killed by signal {}", signal.number()));
    }
    exit_thread(status)
}

/// Logs what became of a process: as often as is of use, since programs can have this as often as
/// they like.
pub(crate) fn tell(what: fmt::Arguments<'_>) {
    /// So many in one period are told.
    const MOST: u32 = 16;
    const PERIOD_NANOSECONDS: u64 = 5_000_000_000;
    static PERIOD: AtomicU64 = AtomicU64::new(0);
    static TOLD: AtomicU32 = AtomicU32::new(0);
    let period = time::nanoseconds() / PERIOD_NANOSECONDS;
    if PERIOD.swap(period, Ordering::Relaxed) != period {
        let told = TOLD.swap(0, Ordering::Relaxed);
        if told > MOST {
            log!("{} more lines about processes were left out", told - MOST);
        }
    }
    if TOLD.fetch_add(1, Ordering::Relaxed) < MOST {
        log!("{what}");
    }
}

/// Waits for a child that has ended, stopped or continued. `Ok(None)`: there are children, and no
/// news.
pub(crate) fn wait(which: Which, wanted: Wanted) -> Result<Option<News>, Errno> {
    let me = current();
    let mut found = Ok(None);
    // What is dropped may own a lot: not while the condition is looked at.
    let mut traced = None;
    me.changed.wait_until(|| {
        found = match tracer::news(me, which, wanted) {
            Some((news, thread)) => {
                traced = Some(thread);
                Ok(Some((news, None)))
            }
            None => table::news(me.id, which, wanted),
        };
        if matches!(found, Err(Errno::ECHILD)) && tracer::has(me, which) {
            found = Ok(None);
        }
        wanted.no_hang || !matches!(found, Ok(None))
    })?;
    drop(traced);
    let (news, gone) = match found? {
        Some(found) => found,
        None => return Ok(None),
    };
    if let Some(child) = &gone {
        cpu_time::add_child(me, child);
        child.forget_numbers();
        pidfd::tell(child);
    }
    // The last reference may own a whole address space: dropped here, without the table's lock.
    drop(gone);
    Ok(Some(news))
}

impl Owner for Task {
    fn tables_root(&self) -> u64 {
        self.process.memory().map_or(0, |memory| memory.lock().tables_root())
    }

    fn end_after_overflow(&self) -> ! {
        kill_current(Signal::SEGV)
    }
}
