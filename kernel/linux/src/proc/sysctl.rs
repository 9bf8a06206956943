//! /proc/sys: what the kernel is set to.

use super::of_machine::{RELEASE, VERSION};
use super::real_time;
use super::text::{Content, made, text};
use crate::error::Errno;
use crate::exec::random::random_bytes;
use crate::files::directory_notices;
use crate::files::inotify;
use crate::files::leases;
use crate::files::message_queue as queues;
use crate::files::pipe;
use crate::ipc::{messages, semaphores};
use crate::limits::{MAX_FILES, MAX_FILES_RANGE};
use crate::memory::{areas, layout, limits, segments};
use crate::process::current_task;
use crate::process::identity::credentials::capability;
use crate::process::life::fork;
use crate::process::names::{host, numbers};
use crate::signals::core_name;
use crate::spaces::pid;
use core::fmt::{self, Write};
use core::ops::RangeInclusive;
use core::sync::atomic::{AtomicU64, Ordering};
use machine::memory::fallible::Text;
use machine::spin::SpinLock;

/// What becomes of what is written to a file.
type Set = fn(&[u8]) -> Result<(), Errno>;

/// A file: its folder, its name, its permissions, its text; what becomes of what is written there.
struct Setting {
    folder: &'static str,
    name: &'static str,
    permissions: u32,
    write: fn(&mut Text) -> fmt::Result,
    set: Option<Set>,
}

/// A number that is kept elsewhere, and what it may be.
struct Number {
    folder: &'static str,
    name: &'static str,
    kept: &'static AtomicU64,
    range: RangeInclusive<u64>,
}

/// The folder of message queues.
const QUEUES: &str = "fs/mqueue";
const INOTIFY: &str = "fs/inotify";

/// Numbers that can be set.
const NUMBERS: [Number; 24] = [
    Number::of("fs", "dir-notify-enable", &directory_notices::IS_ALLOWED, 0..=i32::MAX as u64),
    Number::of("fs", "lease-break-time", &leases::BREAK_SECONDS, 0..=i32::MAX as u64),
    Number::of("fs", "nr_open", &MAX_FILES, MAX_FILES_RANGE),
    Number::of("fs", "pipe-user-pages-hard", &pipe::HARD_PAGES, 0..=i64::MAX as u64),
    Number::of("fs", "pipe-user-pages-soft", &pipe::SOFT_PAGES, 0..=i64::MAX as u64),
    Number::of(INOTIFY, "max_queued_events", &inotify::MAX_EVENTS, 0..=i32::MAX as u64),
    Number::of(INOTIFY, "max_user_instances", &inotify::MAX_INSTANCES, 0..=i32::MAX as u64),
    Number::of(INOTIFY, "max_user_watches", &inotify::MAX_WATCHES, 0..=i32::MAX as u64),
    Number::of(QUEUES, "msg_default", &queues::DEFAULT_MESSAGES, queues::MESSAGES_RANGE),
    Number::of(QUEUES, "msg_max", &queues::MAX_MESSAGES, queues::MESSAGES_RANGE),
    Number::of(QUEUES, "msgsize_default", &queues::DEFAULT_BYTES, queues::BYTES_RANGE),
    Number::of(QUEUES, "msgsize_max", &queues::MAX_BYTES, queues::BYTES_RANGE),
    Number::of(QUEUES, "queues_max", &queues::MAX_QUEUES, 0..=i32::MAX as u64),
    Number::of("kernel", "core_uses_pid", &core_name::USES_NUMBER, 0..=i32::MAX as u64),
    Number::of("kernel", "msgmax", &messages::MAX_BYTES, 0..=i32::MAX as u64),
    Number::of("kernel", "msgmnb", &messages::MAX_IN_QUEUE, 0..=i32::MAX as u64),
    Number::of("kernel", "msgmni", &messages::MAX_QUEUES, segments::SEGMENTS_RANGE),
    Number::of("kernel", "pid_max", &fork::MAX_NUMBER, fork::RESERVED + 1..=fork::HIGHEST),
    // The stack, mappings, images and the heap lie at random places.
    Number::of("kernel", "randomize_va_space", &layout::RANDOMIZE, 0..=2),
    Number::of("kernel", "shmall", &segments::MAX_PAGES, segments::BYTES_RANGE),
    Number::of("kernel", "shmmax", &segments::MAX_BYTES, segments::BYTES_RANGE),
    Number::of("kernel", "shmmni", &segments::MAX_SEGMENTS, segments::SEGMENTS_RANGE),
    Number::of("vm", "max_map_count", &areas::MAX_AREAS, 0..=i32::MAX as u64),
    Number::of("vm", "overcommit_memory", &limits::OVERCOMMIT, 0..=1),
];

impl Number {
    const fn of(
        folder: &'static str,
        name: &'static str,
        kept: &'static AtomicU64,
        range: RangeInclusive<u64>,
    ) -> Self {
        Self { folder, name, kept, range }
    }
}

/// Its folders, by their paths.
const FOLDERS: [&str; 6] = ["fs", INOTIFY, QUEUES, "kernel", RANDOM, "vm"];
const RANDOM: &str = "kernel/random";

/// A folder below /proc/sys and what is asked of it: nothing, or a file in it.
fn folder_of<'p>(parts: &[&'p str]) -> Option<(&'static str, Option<&'p str>)> {
    let at =
        |parts: &[&str]| FOLDERS.into_iter().find(|path| path.split('/').eq(parts.iter().copied()));
    at(parts).map(|folder| (folder, None)).or_else(|| {
        let (name, above) = parts.split_last()?;
        Some((at(above)?, Some(*name)))
    })
}

macro_rules! settings {
    ($($folder:literal $name:literal $permissions:literal $write:expr $(, $set:expr)?;)*) => {
        const SETTINGS: &[Setting] = &[$(Setting {
            folder: $folder,
            name: $name,
            permissions: $permissions,
            write: $write,
            set: settings!(@ $($set)?),
        }),*];
    };
    (@) => { None };
    (@ $set:expr) => { Some($set) };
}

settings! {
    "fs" "file-max" 0o444 |text| writeln!(text, "9223372036854775807");
    "fs" "pipe-max-size" 0o644 |text| writeln!(text, "{}", pipe::most()), set_pipe_bytes;
    "fs" "suid_dumpable" 0o444 |text| writeln!(text, "0");
    "kernel/random" "boot_id" 0o444 |text| write_identifier(*BOOT.lock().get_or_insert_with(random_bytes), text);
    "kernel/random" "entropy_avail" 0o444 |text| writeln!(text, "256");
    "kernel/random" "poolsize" 0o444 |text| writeln!(text, "256");
    "kernel/random" "uuid" 0o444 |text| write_identifier(random_bytes(), text);
    "kernel" "cap_last_cap" 0o444 |text| writeln!(text, "40");
    "kernel" "core_pattern" 0o644 core_name::write, core_name::set;
    "kernel" "domainname" 0o644 |text| host::with(|names| writeln!(text, "{}", names.domain()));
    "kernel" "sched_rr_timeslice_ms" 0o644 real_time::write_slice, real_time::set_slice;
    "kernel" "sched_rt_period_us" 0o644 real_time::write_period, real_time::set_period;
    "kernel" "sched_rt_runtime_us" 0o644 real_time::write_share, real_time::set_share;
    "kernel" "sem" 0o444 |text| {
        let (sets, each) = (semaphores::MAX_SETS.load(Ordering::Relaxed), semaphores::MAX_IN_SET);
        writeln!(text, "{each}\t{}\t{}\t{sets}", sets * each, semaphores::MAX_OPERATIONS)
    };
    "kernel" "sem_next_id" 0o644 |text| writeln!(text, "{}", semaphores::next()), |from| next(from).map(semaphores::set_next);
    "kernel" "shm_next_id" 0o644 |text| writeln!(text, "{}", segments::next()), |from| next(from).map(segments::set_next);
    "kernel" "tainted" 0o444 |text| writeln!(text, "0");
    "kernel" "hostname" 0o644 |text| host::with(|names| writeln!(text, "{}", names.host()));
    "kernel" "msg_next_id" 0o644 |text| writeln!(text, "{}", messages::next()), |from| next(from).map(messages::set_next);
    "kernel" "ngroups_max" 0o444 |text| writeln!(text, "65536");
    "kernel" "osrelease" 0o444 |text| writeln!(text, "{RELEASE}");
    "kernel" "ostype" 0o444 |text| writeln!(text, "Linux");
    "kernel" "overflowgid" 0o444 |text| writeln!(text, "65534");
    "kernel" "overflowuid" 0o444 |text| writeln!(text, "65534");
    "kernel" "printk" 0o444 |text| writeln!(text, "7\t4\t1\t7");
    "kernel" "threads-max" 0o444 |text| writeln!(text, "32768");
    "kernel" "version" 0o444 |text| writeln!(text, "{VERSION}");
    // Nothing is cached that could be dropped, and there are no huge pages to be had.
    "vm" "drop_caches" 0o200 |text| writeln!(text, "0"), |from| within(from, 1..=4).map(|_| ());
    "vm" "nr_hugepages" 0o644 |text| writeln!(text, "0"), |from| within(from, 0..=u64::MAX).map(|_| ());
    "vm" "memfd_noexec" 0o644 |text| writeln!(text, "{}", pid::memory_files(numbers::here())), set_memory_files;
    "vm" "mmap_min_addr" 0o444 |text| writeln!(text, "{}", crate::abi::USER_LOWEST);
    "vm" "overcommit_ratio" 0o444 |text| writeln!(text, "50");
    "vm" "swappiness" 0o444 |text| writeln!(text, "60");
}

/// What tells this boot from others: drawn when it is first asked for.
static BOOT: SpinLock<Option<[u8; 16]>> = SpinLock::new(None);

/// An identifier of random numbers as it is written (RFC 9562, version 4).
fn write_identifier(bytes: [u8; 16], text: &mut Text) -> fmt::Result {
    let mut bytes = bytes;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    for (byte, at) in bytes.into_iter().zip(0..) {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.write_char('-')?;
        }
        write!(text, "{byte:02x}")?;
    }
    writeln!(text)
}

/// A number that a program has written, with space around it.
fn within(from: &[u8], range: RangeInclusive<u64>) -> Result<u64, Errno> {
    let text = core::str::from_utf8(from).map_err(|_| Errno::EINVAL)?;
    let number = text.trim_matches(['\0', ' ', '\n', '\t']).parse().map_err(|_| Errno::EINVAL)?;
    if range.contains(&number) { Ok(number) } else { Err(Errno::EINVAL) }
}

/// A number that the next of a kind is to have; -1: any.
fn next(from: &[u8]) -> Result<i32, Errno> {
    if from.trim_ascii() == b"-1" {
        return Ok(-1);
    }
    within(from, 0..=i32::MAX as u64).map(|number| number as i32)
}

/// What the caller's namespace has of memory files, for one who may in it.
fn set_memory_files(from: &[u8]) -> Result<(), Errno> {
    let space = numbers::here();
    let owner = space.as_ref().and_then(|space| space.owner.clone());
    if !current_task().credentials().can_in(&owner, capability::SYS_ADMIN) {
        return Err(Errno::EPERM);
    }
    pid::set_memory_files(space, within(from, pid::MEMORY_FILES_RANGE)?)
}

/// How large programs without privileges may make pipes.
fn set_pipe_bytes(from: &[u8]) -> Result<(), Errno> {
    pipe::set_most(within(from, 0..=u32::MAX.into())?)
}

fn find_number(folder: &str, name: &str) -> Option<&'static Number> {
    NUMBERS.iter().find(|number| number.folder == folder && number.name == name)
}

/// Takes what is written to a setting. `EIO`: there is none that can be set.
pub(super) fn set(parts: &[&str], from: &[u8]) -> Result<usize, Errno> {
    let Some((folder, Some(name))) = folder_of(parts) else { return Err(Errno::EIO) };
    match find_number(folder, name) {
        Some(number) => {
            let to = within(from, number.range.clone())?;
            number.kept.store(to, Ordering::Relaxed);
        }
        None => find(folder, name)?.set.ok_or(Errno::EIO)?(from)?,
    }
    Ok(from.len())
}

fn find(folder: &str, name: &str) -> Result<&'static Setting, Errno> {
    let mut all = SETTINGS.iter();
    all.find(|setting| setting.folder == folder && setting.name == name).ok_or(Errno::ENOENT)
}

/// What is at a path below /proc/sys.
pub(super) fn content(parts: &[&str]) -> Result<Content, Errno> {
    if parts.is_empty() {
        let mut first = FOLDERS.iter().filter(|path| !path.contains('/'));
        let made = made(|text| first.try_for_each(|name| writeln!(text, "{name}")))?;
        return Ok(Content::Names(made.into_string()));
    }
    match folder_of(parts).ok_or(Errno::ENOENT)? {
        (folder, None) => {
            let settings = SETTINGS.iter().map(|setting| (setting.folder, setting.name));
            let numbers = NUMBERS.iter().map(|number| (number.folder, number.name));
            let below = FOLDERS.into_iter().filter_map(|path| path.rsplit_once('/'));
            let all = settings.chain(numbers).chain(below);
            let mut there = all.filter(|(of, _)| *of == folder);
            let made = made(|text| there.try_for_each(|(_, name)| writeln!(text, "{name}")))?;
            Ok(Content::Names(made.into_string()))
        }
        (folder, Some(name)) => match find_number(folder, name) {
            Some(number) => text(|text| writeln!(text, "{}", number.kept.load(Ordering::Relaxed))),
            None => text(find(folder, name)?.write),
        },
    }
}

/// Its kind and permissions.
pub(super) fn mode(parts: &[&str]) -> Result<u32, Errno> {
    if parts.is_empty() {
        return Ok(0o040555);
    }
    match folder_of(parts).ok_or(Errno::ENOENT)? {
        (_, None) => Ok(0o040555),
        (folder, Some(name)) if find_number(folder, name).is_some() => Ok(0o100644),
        (folder, Some(name)) => Ok(0o100000 | find(folder, name)?.permissions),
    }
}
