//! Files of /proc about the machine and all of its processes.

use super::subject;
use crate::abi::MACHINE;
use crate::files::made::Seen;
use crate::files::mounts::{self, Namespace};
use crate::process::names::numbers as processes;
use crate::process::time::times;
use crate::process::{table, walk};
use crate::spaces::time::Ahead;
use crate::time::wall;
use core::fmt::{self, Write};
use core::sync::atomic::Ordering;
use kstack::addr::CpuId;
use kstack::depths::Depths;
use machine::cpus;
use machine::memory::fallible::Text;
use machine::memory::frames;
use threads::sched;
use threads::stacks::{depths, pages};

pub(super) fn meminfo(text: &mut Text) -> fmt::Result {
    let kib = |frames: usize| frames * 4;
    let (total, free) = (kib(frames::total_count()), kib(frames::free_count()));
    let stacks = pages::charged_bytes() / 1024;
    let heap = machine::memory::heap::allocated_bytes() / 1024;
    for (name, value) in [
        ("MemTotal", total),
        ("MemFree", free),
        ("MemAvailable", free),
        ("Buffers", 0),
        ("Cached", 0),
        ("SwapCached", 0),
        ("Active", 0),
        ("Inactive", 0),
        ("SwapTotal", 0),
        ("SwapFree", 0),
        ("Dirty", 0),
        ("Writeback", 0),
        ("AnonPages", 0),
        ("Mapped", 0),
        ("Shmem", 0),
        ("Slab", heap),
        ("SReclaimable", 0),
        ("SUnreclaim", heap),
        ("KernelStack", stacks),
        ("CommitLimit", total / 2),
        ("Committed_AS", total - free),
    ] {
        let name = Named(name);
        writeln!(text, "{name:<15} {value:8} kB")?;
    }
    Ok(())
}

/// A name with its colon, which can be padded.
struct Named(&'static str);

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = f.width().unwrap_or(0).saturating_sub(self.0.len() + 1);
        write!(f, "{}:{:width$}", self.0, "")
    }
}

/// Time since boot, and what CPUs were idle of it, together.
pub(super) fn uptime(text: &mut Text) -> fmt::Result {
    let idle: u64 = (0..cpus::online_count()).map(|cpu| sched::cpu_use(cpu as usize).idle).sum();
    let up = times::told(Ahead::SinceBoot, threads::time::nanoseconds());
    let [up, idle] = [up, idle].map(|time| time / 10_000_000);
    writeln!(text, "{}.{:02} {}.{:02}", up / 100, up % 100, idle / 100, idle % 100)
}

/// Threads that run or want to, and all of them.
fn running_and_all() -> Result<(usize, usize), fmt::Error> {
    let threads = sched::try_all().map_err(|_| fmt::Error)?;
    let runs = |thread: &sched::Thread| {
        matches!(thread.state(), sched::State::Running | sched::State::Ready)
            && thread.name() != "idle"
    };
    Ok((threads.iter().filter(|thread| runs(thread)).count(), threads.len()))
}

pub(super) fn loadavg(text: &mut Text) -> fmt::Result {
    let (running, all) = running_and_all()?;
    for average in sched::averages() {
        write!(text, "{}.{:02} ", average / 100, average % 100)?;
    }
    // In the caller's namespace.
    let in_space = processes::here().as_ref().map(|space| space.last());
    let last = in_space.unwrap_or(sched::created_count() as u64);
    writeln!(text, "{running}/{all} {last}")
}

pub(super) fn stat(text: &mut Text) -> fmt::Result {
    /// Nanoseconds of what programs count CPU time in.
    const CLOCK_TICK: u64 = 10_000_000;
    let each = || (0..cpus::online_count()).map(|cpu| (cpu, sched::cpu_use(cpu as usize)));
    let mut line = |name: fmt::Arguments<'_>, used: sched::CpuUse| {
        let [user, system, idle] =
            [used.user, used.system, used.idle].map(|time| time / CLOCK_TICK);
        writeln!(text, "cpu{name} {user} 0 {system} {idle} 0 0 0 0 0 0")
    };
    let all = each().fold(sched::CpuUse::default(), |sum, (_, used)| sched::CpuUse {
        user: sum.user + used.user,
        system: sum.system + used.system,
        idle: sum.idle + used.idle,
    });
    // Two spaces behind the first name, as Linux has it.
    line(format_args!(" "), all)?;
    each().try_for_each(|(cpu, used)| line(format_args!("{cpu}"), used))?;
    let (running, _) = running_and_all()?;
    let interrupts: u64 = (0..cpus::online_count())
        .map(|number| cpus::by_id(CpuId::new(number)))
        .map(|cpu| cpu.ticks.load(Ordering::Relaxed) + cpu.ipis.load(Ordering::Relaxed))
        .sum();
    let up = times::told(Ahead::SinceBoot, threads::time::nanoseconds());
    let born = wall::nanoseconds().saturating_sub(up) / 1_000_000_000;
    writeln!(text, "intr {interrupts}\nctxt 0\nbtime {born}")?;
    writeln!(text, "processes {}", sched::created_count())?;
    writeln!(text, "procs_running {running}\nprocs_blocked 0\nsoftirq 0")
}

pub(super) fn version(text: &mut Text) -> fmt::Result {
    writeln!(text, "Linux version {RELEASE} (kstack) {VERSION}")
}

/// `uname -r`: a release that programs accept as new enough, and `uname -v`.
pub(crate) const RELEASE: &str = "6.12.0-kstack";
/// The same for a program that believes in no higher one than 2.6: 60 is 3.0.
pub(crate) const OLD_RELEASE: &str = "2.6.72-kstack";
pub(crate) const VERSION: &str = "kstack reference kernel";

pub(super) fn cpuinfo(text: &mut Text) -> fmt::Result {
    for cpu in 0..cpus::online_count() {
        writeln!(text, "processor\t: {cpu}\nmodel name\t: {MACHINE}\n")?;
    }
    Ok(())
}

/// The kinds of file systems, by their numbers. None of them is of a device.
pub(crate) const FILE_SYSTEMS: [&str; 9] =
    ["sysfs", "proc", "rootfs", "tmpfs", "cgroup2", "ramfs", "devpts", "pipefs", "anon_inodefs"];

pub(super) fn filesystems(text: &mut Text) -> fmt::Result {
    FILE_SYSTEMS.iter().try_for_each(|name| writeln!(text, "nodev\t{name}"))
}

pub(super) fn mounts(of: Option<&Namespace>, text: &mut Text) -> fmt::Result {
    text.write_str("rootfs / rootfs rw 0 0\nproc /proc proc rw,relatime 0 0\nsysfs /sys sysfs rw,relatime 0 0\n")?;
    mounts::write_all(of, text)
}

pub(super) fn mountinfo(of: Option<&Namespace>, text: &mut Text) -> fmt::Result {
    text.write_str(
        "1 1 0:2 / / rw - rootfs rootfs rw\n\
         2 1 0:3 / /proc rw,relatime - proc proc rw\n\
         3 1 0:4 / /sys rw,relatime - sysfs sysfs rw\n",
    )?;
    mounts::write_info(of, text)
}

pub(super) fn mountstats(text: &mut Text) -> fmt::Result {
    text.write_str(
        "device rootfs mounted on / with fstype rootfs\n\
         device proc mounted on /proc with fstype proc\n\
         device sysfs mounted on /sys with fstype sysfs\n",
    )
}

/// What was booted, and with which options: a line that programs find something in.
pub(super) fn command_line(text: &mut Text) -> fmt::Result {
    text.write_str("BOOT_IMAGE=kstack ")?;
    machine::options::write(text)?;
    writeln!(text)
}

/// The devices that there are, by their numbers' higher halves.
pub(super) fn devices(text: &mut Text) -> fmt::Result {
    text.write_str(
        "Character devices:\n  1 mem\n  5 /dev/tty\n  5 /dev/console\n\nBlock devices:\n",
    )
}

/// Ticks of each CPU, and what CPUs have told each other.
pub(super) fn interrupts(text: &mut Text) -> fmt::Result {
    let each = || (0..cpus::online_count()).map(|number| cpus::by_id(CpuId::new(number)));
    text.write_str("    ")?;
    each().enumerate().try_for_each(|(cpu, _)| write!(text, "       CPU{cpu}"))?;
    text.write_str("\nLOC:")?;
    each().try_for_each(|cpu| write!(text, " {:10}", cpu.ticks.load(Ordering::Relaxed)))?;
    text.write_str("   Local timer interrupts\nIPI:")?;
    each().try_for_each(|cpu| write!(text, " {:10}", cpu.ipis.load(Ordering::Relaxed)))?;
    text.write_str("   Interrupts of other CPUs\n")
}

pub(super) fn vmstat(text: &mut Text) -> fmt::Result {
    writeln!(
        text,
        "nr_free_pages {}\nnr_kernel_stack {}",
        frames::free_count(),
        pages::charged_bytes() / 1024
    )?;
    text.write_str(
        "pgpgin 0\npgpgout 0\npswpin 0\npswpout 0\npgfault 0\npgmajfault 0\noom_kill 0\n",
    )?;
    // By depth, the threads that have ended.
    let size = kstack::GEOMETRY.body();
    let names = Depths::NAMES.iter().enumerate().take(Depths::classes(size));
    names
        .map(|(class, name)| (name, depths::of_ended().count(class)))
        .try_for_each(|(name, count)| writeln!(text, "{name} {count}"))
}

/// The numbers of all processes, and of the kernel's threads: a line each.
pub(super) fn numbers(view: &Seen, text: &mut Text) -> fmt::Result {
    let processes = table::all().map_err(|_| fmt::Error)?;
    for process in &processes {
        match process.number_in(walk::space_of(view)) {
            0 => {}
            number if subject::is_listed(process, view) => writeln!(text, "{number}")?,
            _ => {}
        }
    }
    if view.as_ref().is_some_and(|view| view.space.is_some()) {
        return Ok(());
    }
    let threads = sched::try_all().map_err(|_| fmt::Error)?;
    threads
        .iter()
        .filter(|thread| subject::is_of_kernel(thread))
        .try_for_each(|thread| writeln!(text, "{}", thread.id()))
}
