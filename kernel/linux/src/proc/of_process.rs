//! Files of /proc about one process, or one thread of it, as Linux writes them
//! (Documentation/filesystems/proc.rst).

use super::subject::{Subject, short};
use crate::abi;
use crate::files::{console, pty};
use crate::limits::{INFINITE, Limit, Resource};
use crate::memory::figures::Resident;
use crate::memory::layout::Extents;
use crate::memory::totals::Totals;
use crate::process::Process;
use crate::process::identity::permissions::{self, Looks};
use crate::process::identity::users;
use crate::process::sending::shared_signals::Stop;
use crate::process::time::{cpu_time, moved, times};
use crate::spaces::pid::{self, Own};
use crate::spaces::time::Ahead;
use crate::spaces::user::Kind;
use core::fmt::{self, Write};
use core::sync::atomic::Ordering;
use kstack::shadow::{Form, mode};
use machine::memory::fallible::Text;
use threads::sched::{State, Thread};

const PAGE: u64 = 4096;

fn state(subject: &Subject) -> (char, &'static str) {
    const RUNS: (char, &str) = ('R', "running");
    const SLEEPS: (char, &str) = ('S', "sleeping");
    const ZOMBIE: (char, &str) = ('Z', "zombie");
    let of_thread = |thread: &Thread| match thread.state() {
        State::Blocked if thread.sleeps_deeply() => ('D', "disk sleep"),
        State::Blocked => SLEEPS,
        _ => RUNS,
    };
    if subject.tracer().1 {
        return ('t', "tracing stop");
    }
    let state = match subject {
        Subject::Process(process) => {
            if process.status().is_some() {
                return ZOMBIE;
            }
            // Its first thread stands for it: one that has left is there until all have.
            let first = process.crew.with(|threads| {
                let first = threads.iter().find(|thread| thread.number() == process.id);
                first.map(|thread| of_thread(thread)).or(threads.is_empty().then_some(SLEEPS))
            });
            first.unwrap_or(ZOMBIE)
        }
        Subject::Thread(_, thread) | Subject::Kernel(thread) => of_thread(thread),
    };
    let is_stopped = match subject {
        Subject::Process(process) | Subject::Thread(process, _) if state != ZOMBIE => {
            matches!(process.signals.lock().stop, Stop::Stopped { .. })
        }
        _ => false,
    };
    if is_stopped { ('T', "stopped") } else { state }
}

/// How large a process's memory is, and how much of it is there.
struct Sizes {
    areas: Totals,
    resident: Resident,
    start_stack: u64,
    extents: Extents,
    heap: u64,
}

impl Sizes {
    /// Bytes of the program's own instructions, and of all others.
    fn code(&self) -> [u64; 2] {
        let [lowest, end] = self.extents.code;
        let own = end.next_multiple_of(PAGE) - lowest / PAGE * PAGE;
        [own, self.areas.code.saturating_sub(own)]
    }
}

fn sizes(process: &Process) -> Option<Sizes> {
    let memory = process.memory()?;
    let memory = memory.lock();
    let (areas, resident) = (*memory.areas().totals(), memory.resident());
    let (start_stack, extents) = (memory.start_stack, memory.extents);
    Some(Sizes { areas, resident, start_stack, extents, heap: memory.heap_lowest() })
}

pub(super) fn status(subject: &Subject, space: &Own, text: &mut Text) -> fmt::Result {
    let (letter, word) = state(subject);
    writeln!(text, "Name:\t{}", short(subject.name().as_str()))?;
    if let Some(process) = subject.process() {
        let umask = process.place().umask.load(Ordering::Relaxed);
        writeln!(text, "Umask:\t{umask:04o}")?;
    }
    writeln!(text, "State:\t{letter} ({word})")?;
    let [number, leader] =
        [subject.number(), subject.leader()].map(|number| pid::local(space, number));
    writeln!(text, "Tgid:\t{leader}\nNgid:\t0\nPid:\t{number}\nPPid:\t{}", subject.parent(space))?;
    let tracer = pid::local(space, subject.tracer().0);
    writeln!(text, "TracerPid:\t{tracer}")?;
    let Some(process) = subject.process() else {
        writeln!(text, "Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nFDSize:\t64\nGroups:\t")?;
        writeln!(text, "Kthread:\t1\nThreads:\t1\nSigQ:\t0/16384")?;
        return writeln!(text, "Cpus_allowed:\t{:x}", all_cpus());
    };
    let all = process.credentials();
    for (name, ids) in [("Uid", all.user), ("Gid", all.group)] {
        let kind = if name == "Uid" { Kind::Users } else { Kind::Groups };
        let [real, effective, saved, file] =
            [ids.real, ids.effective, ids.saved, ids.file].map(|id| users::told(kind, id));
        writeln!(text, "{name}:\t{real}\t{effective}\t{saved}\t{file}")?;
    }
    let files = process.files_if_alive();
    writeln!(text, "FDSize:\t{}", files.map_or(0, |files| files.lock().places()))?;
    text.write_str("Groups:\t")?;
    let told = |&group: &u32| users::told(Kind::Groups, group);
    all.groups.iter().map(told).try_for_each(|group| write!(text, "{group} "))?;
    let (group, session) =
        (process.group.load(Ordering::Relaxed), process.session.load(Ordering::Relaxed));
    writeln!(text)?;
    let (own, leader) = (subject.number(), subject.leader());
    for (name, number) in [("tgid", leader), ("pid", own), ("pgid", group), ("sid", session)] {
        write!(text, "NS{name}:")?;
        pid::each_within(&process.space, space, &mut |inner| {
            write!(text, "\t{}", pid::local(inner, number))
        })?;
        writeln!(text)?;
    }
    writeln!(text, "Kthread:\t0")?;
    if let Some(sizes) = sizes(process) {
        let [own, others] = sizes.code();
        for (name, bytes) in [
            ("VmPeak", sizes.areas.peak),
            ("VmSize", sizes.areas.all),
            ("VmLck", sizes.areas.locked),
            ("VmPin", 0),
            ("VmHWM", sizes.resident.peak),
            ("VmRSS", sizes.resident.now),
            ("RssAnon", sizes.resident.anonymous),
            ("RssFile", sizes.resident.file),
            ("RssShmem", sizes.resident.shared),
            ("VmData", sizes.areas.data),
            ("VmStk", sizes.areas.stack),
            ("VmExe", own.min(sizes.areas.code)),
            ("VmLib", others),
            ("VmSwap", 0),
            ("HugetlbPages", 0),
        ] {
            writeln!(text, "{name}:\t{:8} kB", bytes / 1024)?;
        }
    }
    writeln!(text, "CoreDumping:\t0\nTHP_enabled:\t0\nThreads:\t{}", process.crew.count().max(1))?;
    signals(subject, process, text)?;
    for (name, set) in [
        ("CapInh", all.inheritable),
        ("CapPrm", all.permitted),
        ("CapEff", all.effective),
        ("CapBnd", all.bounding),
        ("CapAmb", all.ambient),
    ] {
        writeln!(text, "{name}:\t{set:016x}")?;
    }
    let no_new = process.attributes.no_new_privileges.load(Ordering::Relaxed);
    let (mode, filters) = subject.seccomp();
    let no_new = u8::from(no_new);
    writeln!(text, "NoNewPrivs:\t{no_new}\nSeccomp:\t{mode}\nSeccomp_filters:\t{filters}")?;
    let last = machine::cpus::online_count() - 1;
    writeln!(text, "Cpus_allowed:\t{:x}", all_cpus())?;
    match last {
        0 => writeln!(text, "Cpus_allowed_list:\t0")?,
        last => writeln!(text, "Cpus_allowed_list:\t0-{last}")?,
    }
    writeln!(text, "Mems_allowed:\t1\nMems_allowed_list:\t0")?;
    let [with_nothing, with_more] = subject.switches();
    writeln!(text, "voluntary_ctxt_switches:\t{with_nothing}")?;
    writeln!(text, "nonvoluntary_ctxt_switches:\t{with_more}")?;
    if abi::SHADOW_FORM == Some(Form::X86_64) {
        thread_features(subject, text)?;
    }
    Ok(())
}

/// What x86_64 says of shadow stacks.
fn thread_features(subject: &Subject, text: &mut Text) -> fmt::Result {
    let names = ["x86_Thread_features", "x86_Thread_features_locked"];
    for (name, bits) in names.into_iter().zip(subject.shadow()) {
        write!(text, "{name}:\t")?;
        for (bit, word) in [(mode::ENABLED, "shstk "), (mode::STORES, "wrss ")] {
            if bits & bit != 0 {
                text.write_str(word)?;
            }
        }
        writeln!(text)?;
    }
    Ok(())
}

fn all_cpus() -> u64 {
    u64::MAX >> (64 - machine::cpus::online_count().clamp(1, 64))
}

fn signals(subject: &Subject, process: &Process, text: &mut Text) -> fmt::Result {
    let (ignored, caught, shared) = {
        let signals = process.signals.lock();
        let (ignored, caught) = signals.actions.sets();
        (ignored, caught, signals.pending.set())
    };
    let (pending, blocked) = subject.signals();
    let limit = process.limits.soft(Resource::PendingSignals);
    let queued = process.allowance().used();
    writeln!(text, "SigQ:\t{queued}/{limit}")?;
    for (name, set) in [
        ("SigPnd", pending),
        ("ShdPnd", shared),
        ("SigBlk", blocked),
        ("SigIgn", ignored),
        ("SigCgt", caught),
    ] {
        writeln!(text, "{name}:\t{:016x}", set.0)?;
    }
    Ok(())
}

/// The 52 fields of proc_pid_stat(5), in order; what there is nothing to say of is 0.
pub(super) fn stat(subject: &Subject, space: &Own, text: &mut Text) -> fmt::Result {
    const FIELDS: usize = 52;
    const KERNEL_THREAD: u64 = 0x20_0000;
    let mut fields = [0_u64; FIELDS + 1];
    fields[4] = subject.parent(space);
    fields[18] = 20;
    fields[20] = 1;
    fields[38] = 17;
    fields[25] = u64::MAX;
    fields[39] = subject.last_cpu();
    fields[8] = u64::MAX;
    match subject.process() {
        None => fields[9] = KERNEL_THREAD,
        Some(process) => {
            let may_look = permissions::may_look_into(process, Looks::AsFile);
            let load = |number: &core::sync::atomic::AtomicU64| number.load(Ordering::Relaxed);
            let seen = |number: u64| pid::local(space, number);
            let session = load(&process.session);
            fields[5] = seen(load(&process.group));
            fields[6] = seen(session);
            let holder = console::holder();
            if let Some((number, foreground)) = pty::with_foreground(session) {
                (fields[7], fields[8]) = (136 << 8 | u64::from(number), seen(foreground));
            } else if holder.session == session {
                (fields[7], fields[8]) = (5 << 8 | 1, seen(holder.foreground));
            }
            let scheduled = subject.scheduled();
            let nice = i64::from(scheduled.nice);
            let priority = match scheduled.rank {
                0 => 20 + nice,
                rank => -1 - i64::from(rank),
            };
            (fields[18], fields[19]) = (priority as u64, nice as u64);
            (fields[40], fields[41]) = (scheduled.rank.into(), scheduled.policy.into());
            fields[20] = process.crew.count().max(1) as u64;
            let (own, children) = match subject {
                Subject::Thread(_, thread) => (cpu_time::of_thread(thread), Default::default()),
                _ => (cpu_time::of_process(process), cpu_time::of_children(process).times),
            };
            let times = [own.user, own.system, children.user, children.system];
            for (field, time) in fields[14..18].iter_mut().zip(times) {
                *field = time / 10_000_000;
            }
            fields[22] = times::told(Ahead::SinceBoot, process.born) / 10_000_000;
            fields[25] = process.limits.soft(Resource::Resident);
            fields[38] = process.exit_signal.load(Ordering::Relaxed).into();
            if let Some(sizes) = sizes(process) {
                fields[23] = sizes.areas.all;
                fields[24] = sizes.resident.now / PAGE;
                // Where all that lies is told to those alone who may look there.
                [fields[26], fields[27]] = [1, 1];
                if may_look {
                    let Extents { code, data, arguments, environment } = sizes.extents;
                    [fields[26], fields[27]] = code;
                    fields[28] = sizes.start_stack;
                    [fields[45], fields[46]] = data;
                    fields[47] = sizes.heap;
                    [fields[48], fields[49]] = arguments;
                    [fields[50], fields[51]] = environment;
                }
            }
            fields[10] = process.faults.load(Ordering::Relaxed);
            fields[11] = cpu_time::of_children(process).faults;
            let (ignored, caught) = process.signals.lock().actions.sets();
            let (pending, blocked) = subject.signals();
            let sets = [pending, blocked, ignored, caught];
            for (field, set) in fields[31..35].iter_mut().zip(sets) {
                *field = set.0 & 0x7fff_ffff;
            }
            fields[52] = process.status().filter(|_| may_look).unwrap_or(0) as u64;
        }
    }
    let (letter, _) = state(subject);
    let number = pid::local(space, subject.number());
    write!(text, "{number} ({}) {letter}", short(subject.name().as_str()))?;
    for (number, field) in fields.iter().enumerate().skip(4) {
        match number {
            // A terminal's group, a priority and a nice value are signed; limits and addresses are
            // not.
            8 | 18 | 19 => write!(text, " {}", *field as i64)?,
            _ => write!(text, " {field}")?,
        }
    }
    writeln!(text)
}

pub(super) fn statm(subject: &Subject, text: &mut Text) -> fmt::Result {
    match subject.process().and_then(sizes) {
        Some(sizes) => {
            let pages = |bytes: u64| bytes / PAGE;
            let (areas, resident) = (sizes.areas, sizes.resident);
            let (all, [code, _]) = (pages(areas.all), sizes.code().map(pages));
            let (now, shared) = (pages(resident.now), pages(resident.file + resident.shared));
            let data = pages(areas.data + areas.stack);
            writeln!(text, "{all} {now} {shared} {code} 0 {data} 0")
        }
        None => writeln!(text, "0 0 0 0 0 0 0"),
    }
}

pub(super) fn limits(process: &Process, text: &mut Text) -> fmt::Result {
    const NAMES: [(&str, &str); crate::limits::COUNT] = [
        ("Max cpu time", "seconds"),
        ("Max file size", "bytes"),
        ("Max data size", "bytes"),
        ("Max stack size", "bytes"),
        ("Max core file size", "bytes"),
        ("Max resident set", "bytes"),
        ("Max processes", "processes"),
        ("Max open files", "files"),
        ("Max locked memory", "bytes"),
        ("Max address space", "bytes"),
        ("Max file locks", "locks"),
        ("Max pending signals", "signals"),
        ("Max msgqueue size", "bytes"),
        ("Max nice priority", ""),
        ("Max realtime priority", ""),
        ("Max realtime timeout", "us"),
    ];
    writeln!(text, "{:<25} {:<20} {:<20} {:<10}", "Limit", "Soft Limit", "Hard Limit", "Units")?;
    for (resource, (name, unit)) in Resource::ALL.into_iter().zip(NAMES) {
        let Limit { soft, hard } = process.limits.get(resource);
        write!(text, "{name:<25}")?;
        for number in [soft, hard] {
            match number {
                INFINITE => write!(text, " {:<20}", "unlimited")?,
                number => write!(text, " {number:<20}")?,
            }
        }
        match unit {
            "" => writeln!(text)?,
            unit => writeln!(text, " {unit:<10}")?,
        }
    }
    Ok(())
}

/// What was read and written. No block device is there to read from or to write to.
pub(super) fn io(subject: &Subject, text: &mut Text) -> fmt::Result {
    let moved = match subject {
        Subject::Process(process) => moved::of_process(process),
        Subject::Thread(_, thread) => moved::of_thread(thread),
        Subject::Kernel(_) => [0; 4],
    };
    let names = ["rchar", "wchar", "syscr", "syscw"];
    for (name, number) in names.into_iter().zip(moved) {
        writeln!(text, "{name}: {number}")?;
    }
    writeln!(text, "read_bytes: 0\nwrite_bytes: 0\ncancelled_write_bytes: 0")
}

/// Where the threads are in the kernel.
pub(super) fn stack(subject: &Subject, text: &mut Text) -> fmt::Result {
    let mut of_thread = |thread: &Thread| threads::report::running::print_any(thread, text);
    match subject {
        Subject::Process(process) => {
            let threads = process.crew.threads().map_err(|_| fmt::Error)?;
            threads.iter().try_for_each(|thread| of_thread(thread))
        }
        Subject::Thread(_, thread) | Subject::Kernel(thread) => of_thread(thread),
    }
}
