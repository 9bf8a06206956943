//! /proc and /sys: text made when it is read.
//!
//! How `maps` knows its names: `[stack]` is the area that contains the SP with which the program started, as Linux has it;
//! `[heap]` is what lies where brk made the heap. Neither brk nor mmap makes the stack: execve does.

use super::error::Errno;
use super::files::Target;
use super::{Process, abi, table, tree};
use alloc::sync::Arc;
use core::fmt::{self, Write};
use core::sync::atomic::Ordering;
use machine::memory::fallible::Text;
use machine::memory::frames;
use threads::sched::TASKS;
use threads::stacks::pages;

/// What a path below /proc or /sys is made of: its parts, as many as any path there has.
struct Parts<'p> {
    parts: [&'p str; 6],
    count: usize,
}

impl<'p> Parts<'p> {
    /// `None`: there are more.
    fn of(path: &'p str) -> Option<Self> {
        let (mut parts, mut count) = ([""; 6], 0);
        for part in tree::parts(path) {
            *parts.get_mut(count)? = part;
            count += 1;
        }
        Some(Self { parts, count })
    }

    fn as_slice(&self) -> &[&'p str] {
        &self.parts[..self.count]
    }
}

/// Text made by `write`; an error if the heap has no room for it.
fn made(write: impl FnOnce(&mut Text) -> fmt::Result) -> Result<Text, Errno> {
    let mut text = Text::new();
    // A text refuses only what there is no memory for.
    write(&mut text).map_err(|_| Errno::ENOMEM)?;
    Ok(text)
}

/// The names of a directory, a line each.
fn names(names: &[&str]) -> Result<Target, Errno> {
    let text = made(|text| names.iter().try_for_each(|name| writeln!(text, "{name}")))?;
    Ok(Target::Names(text.into_string()))
}

fn text(write: impl FnOnce(&mut Text) -> fmt::Result) -> Result<Target, Errno> {
    made(write).map(|text| Target::Text(text.into_bytes()))
}

/// What a path below /proc opens as.
fn open(parts: &[&str]) -> Result<Target, Errno> {
    match parts {
        [] => {
            let text = made(|text| {
                table::write_numbers(text)?;
                ["self", "meminfo", "uptime", "stat", "loadavg", "kstack"]
                    .iter()
                    .try_for_each(|name| writeln!(text, "{name}"))
            })?;
            Ok(Target::Names(text.into_string()))
        }
        ["kstack"] => names(&["calls", "provoke", "stacks"]),
        ["kstack", "calls"] => text(calls),
        ["kstack", "provoke"] => Ok(Target::Provoke),
        ["kstack", "stacks"] => text(|text| threads::report::stacks::write_all(text)),
        ["meminfo"] => text(meminfo),
        ["uptime"] => text(|text| {
            let hundredths = threads::time::nanoseconds() / 10_000_000;
            writeln!(text, "{}.{:02} 0.00", hundredths / 100, hundredths % 100)
        }),
        ["loadavg"] => {
            text(|text| writeln!(text, "0.00 0.00 0.00 1/{} 1", threads::sched::thread_count()))
        }
        ["stat"] => text(|text| writeln!(text, "btime 0\nprocesses {}", table::count())),
        [process] => {
            find(process)?;
            names(&["cmdline", "comm", "maps", "stack", "stat", "status"])
        }
        [process, file] => {
            let process = find(process)?;
            match *file {
                "cmdline" => {
                    let line = process.command_line.lock().clone();
                    Ok(Target::Text(machine::memory::fallible::bytes(&line)?))
                }
                "comm" => text(|text| writeln!(text, "{}", process.name())),
                "maps" => text(|text| maps(&process, text)),
                "status" => text(|text| status(&process, text)),
                "stat" => text(|text| stat(&process, text)),
                "stack" => text(|text| stack(&process, text)),
                _ => Err(Errno::ENOENT),
            }
        }
        _ => Err(Errno::ENOENT),
    }
}

/// Every system call there is: its number on this machine, its name.
fn calls(text: &mut Text) -> fmt::Result {
    /// Beyond all numbers of Linux, and where the 32-bit ARM has some of its own.
    const NUMBERS: u64 = 1024;
    const PRIVATE: core::ops::Range<u64> = 0xf_0000..0xf_0010;
    (0..NUMBERS)
        .chain(PRIVATE)
        .filter_map(|number| Some((number, abi::call(number)?)))
        .try_for_each(|(number, call)| writeln!(text, "{number} {call:?}"))
}

fn find(name: &str) -> Result<Arc<Process>, Errno> {
    if name == "self" {
        return threads::sched::current().shared_owner(&super::KIND).ok_or(Errno::ENOENT);
    }
    let number = name.parse().map_err(|_| Errno::ENOENT)?;
    table::find(number).ok_or(Errno::ENOENT)
}

/// A number in decimal.
pub(super) fn decimal(mut number: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[at..];
        }
    }
}

fn meminfo(text: &mut Text) -> fmt::Result {
    let kib = |frames: usize| frames * 4;
    writeln!(text, "MemTotal:       {:8} kB", kib(frames::total_count()))?;
    writeln!(text, "MemFree:        {:8} kB", kib(frames::free_count()))?;
    writeln!(text, "MemAvailable:   {:8} kB", kib(frames::free_count()))?;
    writeln!(text, "Buffers:        {:8} kB", 0)?;
    writeln!(text, "Cached:         {:8} kB", 0)?;
    writeln!(text, "SwapTotal:      {:8} kB", 0)?;
    writeln!(text, "SwapFree:       {:8} kB", 0)?;
    writeln!(text, "KernelStack:    {:8} kB", pages::charged_bytes() / 1024)
}

fn maps(process: &Process, text: &mut Text) -> fmt::Result {
    let Some(memory) = process.memory() else { return Ok(()) };
    let memory = memory.lock();
    for area in memory.areas().iter() {
        let flag = |set: bool, letter: char| if set { letter } else { '-' };
        let name = if (area.lowest..area.top).contains(&memory.start_stack) {
            "[stack]"
        } else if memory.is_heap(area) {
            "[heap]"
        } else {
            ""
        };
        write!(
            text,
            "{:08x}-{:08x} {}{}{}p 00000000 00:00 0 ",
            area.lowest,
            area.top,
            flag(area.read, 'r'),
            flag(area.access.write, 'w'),
            flag(area.access.exec, 'x'),
        )?;
        match name {
            "" => writeln!(text)?,
            name => writeln!(text, "                         {name}")?,
        }
    }
    Ok(())
}

fn state(process: &Process) -> char {
    if process.status().is_some() {
        return 'Z';
    }
    if process.crew.is_on_a_cpu() { 'R' } else { 'S' }
}

fn status(process: &Process, text: &mut Text) -> fmt::Result {
    writeln!(text, "Name:\t{}", process.name())?;
    writeln!(text, "State:\t{}", state(process))?;
    writeln!(text, "Pid:\t{}", process.id)?;
    writeln!(text, "PPid:\t{}", process.parent.load(Ordering::Relaxed))?;
    writeln!(text, "Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0")?;
    writeln!(text, "Threads:\t{}", process.crew.count())
}

fn stat(process: &Process, text: &mut Text) -> fmt::Result {
    write!(text, "{} ({}) {} ", process.id, process.name(), state(process))?;
    let number = |number: &core::sync::atomic::AtomicU64| number.load(Ordering::Relaxed);
    write!(text, "{} ", number(&process.parent))?;
    write!(text, "{} {}", number(&process.group), number(&process.session))?;
    // The other 46 fields.
    for _ in 0..46 {
        write!(text, " 0")?;
    }
    writeln!(text)
}

/// Where the process's threads are in the kernel.
fn stack(process: &Process, text: &mut Text) -> fmt::Result {
    let me = threads::sched::current();
    for thread in process.crew.threads().map_err(|_| fmt::Error)? {
        if core::ptr::eq(&*thread, me) {
            threads::report::backtrace::print_here(text);
        } else if !threads::report::backtrace::print_thread(&thread, text) {
            text.write_str("running\n")?;
        }
    }
    Ok(())
}

/// What a path below /sys opens as.
fn open_sys(parts: &[&str]) -> Result<Target, Errno> {
    let counts = TASKS.counts();
    let files: [(&str, u64); 6] = [
        ("object_size", counts.object_size as u64),
        ("objs_per_slab", counts.objects_per_slab as u64),
        ("slabs", counts.slabs as u64),
        ("objects", counts.objects as u64),
        ("alloc_calls", counts.allocated),
        ("free_calls", counts.freed),
    ];
    match parts {
        [] => names(&["kernel"]),
        ["kernel"] => names(&["slab"]),
        ["kernel", "slab"] => names(&["task_struct"]),
        ["kernel", "slab", "task_struct"] => names(&files.map(|file| file.0)),
        ["kernel", "slab", "task_struct", name] => {
            let file = files.iter().find(|file| file.0 == *name);
            let (_, value) = file.ok_or(Errno::ENOENT)?;
            text(|text| writeln!(text, "{value}"))
        }
        _ => Err(Errno::ENOENT),
    }
}

/// What an absolute path of /proc or /sys opens as; `None`: it is of neither. An error: it is, but nothing is there.
pub(super) fn open_path(path: &str) -> Option<Result<Target, Errno>> {
    let opens: fn(&[&str]) -> Result<Target, Errno> = match tree::parts(path).next()? {
        "proc" => open,
        "sys" => open_sys,
        _ => return None,
    };
    let parts = Parts::of(path).ok_or(Errno::ENOENT);
    Some(parts.and_then(|parts| opens(&parts.as_slice()[1..])))
}
