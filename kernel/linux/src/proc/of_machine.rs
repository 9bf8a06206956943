//! Files of /proc about the machine and all of its processes.

use crate::abi::MACHINE;
use crate::process::table;
use core::fmt::{self, Write};
use machine::cpus;
use machine::memory::fallible::Text;
use machine::memory::frames;
use threads::sched;
use threads::stacks::pages;

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

pub(super) fn uptime(text: &mut Text) -> fmt::Result {
    let hundredths = threads::time::nanoseconds() / 10_000_000;
    writeln!(text, "{}.{:02} 0.00", hundredths / 100, hundredths % 100)
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
    writeln!(text, "0.00 0.00 0.00 {running}/{all} {}", sched::created_count())
}

pub(super) fn stat(text: &mut Text) -> fmt::Result {
    writeln!(text, "cpu  0 0 0 0 0 0 0 0 0 0")?;
    for cpu in 0..cpus::online_count() {
        writeln!(text, "cpu{cpu} 0 0 0 0 0 0 0 0 0 0")?;
    }
    let (running, _) = running_and_all()?;
    writeln!(text, "intr 0\nctxt 0\nbtime 0\nprocesses {}", sched::created_count())?;
    writeln!(text, "procs_running {running}\nprocs_blocked 0\nsoftirq 0")
}

pub(super) fn version(text: &mut Text) -> fmt::Result {
    writeln!(text, "Linux version {RELEASE} (kstack) {VERSION}")
}

/// `uname -r`: a release that programs accept as new enough, and `uname -v`.
pub(crate) const RELEASE: &str = "6.12.0-kstack";
pub(crate) const VERSION: &str = "kstack reference kernel";

pub(super) fn cpuinfo(text: &mut Text) -> fmt::Result {
    for cpu in 0..cpus::online_count() {
        writeln!(text, "processor\t: {cpu}\nmodel name\t: {MACHINE}\n")?;
    }
    Ok(())
}

pub(super) fn filesystems(text: &mut Text) -> fmt::Result {
    text.write_str("nodev\tsysfs\nnodev\tproc\nnodev\trootfs\nnodev\tpipefs\nnodev\tanon_inodefs\n")
}

pub(super) fn mounts(text: &mut Text) -> fmt::Result {
    text.write_str("rootfs / rootfs rw 0 0\nproc /proc proc rw,relatime 0 0\nsysfs /sys sysfs rw,relatime 0 0\n")
}

pub(super) fn mountinfo(text: &mut Text) -> fmt::Result {
    text.write_str(
        "1 1 0:2 / / rw - rootfs rootfs rw\n\
         2 1 0:3 / /proc rw,relatime - proc proc rw\n\
         3 1 0:4 / /sys rw,relatime - sysfs sysfs rw\n",
    )
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
    )
}

/// The numbers of all processes, and of the kernel's threads: a line each.
pub(super) fn numbers(text: &mut Text) -> fmt::Result {
    table::write_numbers(text)?;
    let threads = sched::try_all().map_err(|_| fmt::Error)?;
    threads
        .iter()
        .filter(|thread| super::subject::is_of_kernel(thread))
        .try_for_each(|thread| writeln!(text, "{}", thread.id()))
}

/// A file of /proc/sys; `None`: it is not there.
pub(super) fn sysctl(parts: &[&str], text: &mut Text) -> Option<fmt::Result> {
    Some(match parts {
        ["kernel", "pid_max"] => writeln!(text, "4194304"),
        ["kernel", "threads-max"] => writeln!(text, "32768"),
        ["kernel", "cap_last_cap"] => writeln!(text, "40"),
        ["kernel", "ngroups_max"] => writeln!(text, "65536"),
        ["kernel", "ostype"] => writeln!(text, "Linux"),
        ["kernel", "osrelease"] => writeln!(text, "{RELEASE}"),
        ["kernel", "version"] => writeln!(text, "{VERSION}"),
        ["kernel", "core_pattern"] => writeln!(text, "core"),
        ["kernel", "overflowuid" | "overflowgid"] => writeln!(text, "65534"),
        ["kernel", "hostname"] => {
            crate::process::host::with(|names| writeln!(text, "{}", names.host()))
        }
        ["kernel", "domainname"] => {
            crate::process::host::with(|names| writeln!(text, "{}", names.domain()))
        }
        ["fs", "nr_open"] => writeln!(text, "{}", crate::limits::MAX_FILES),
        ["fs", "file-max"] => writeln!(text, "9223372036854775807"),
        ["fs", "pipe-max-size"] => writeln!(text, "1048576"),
        ["vm", "overcommit_memory"] => writeln!(text, "0"),
        ["vm", "max_map_count"] => writeln!(text, "65530"),
        ["vm", "mmap_min_addr"] => writeln!(text, "{}", crate::abi::USER_LOWEST),
        _ => return None,
    })
}

/// The names in a folder of /proc/sys.
pub(super) fn sysctl_names(parts: &[&str]) -> Option<&'static [&'static str]> {
    Some(match parts {
        [] => &["fs", "kernel", "vm"],
        ["kernel"] => &[
            "cap_last_cap",
            "core_pattern",
            "domainname",
            "hostname",
            "ngroups_max",
            "osrelease",
            "ostype",
            "overflowgid",
            "overflowuid",
            "pid_max",
            "randomize_va_space",
            "threads-max",
            "version",
        ],
        ["fs"] => &["file-max", "nr_open", "pipe-max-size"],
        ["vm"] => &["max_map_count", "mmap_min_addr", "overcommit_memory"],
        _ => return None,
    })
}
