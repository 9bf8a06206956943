//! /proc and /sys: text made when it is read.
//!
//! How `maps` knows its names: `[stack]` is the area that contains the SP with which the program started, as Linux has it;
//! `[heap]` is what lies where brk made the heap. Neither brk nor mmap makes the stack: execve does.

use super::error::Errno;
use super::files::Target;
use super::{Process, current};
use crate::memory::{frames, heap, stack_pages};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::Write;
use core::sync::atomic::Ordering;

/// What a path below /proc opens as; its parts, without `proc`.
fn open(parts: &[String]) -> Option<Target> {
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let names = |names: &[&str]| Target::Names(names.iter().map(|&name| name.into()).collect());
    match parts.as_slice() {
        [] => {
            let mut all: Vec<String> =
                super::all().iter().map(|process| alloc::format!("{}", process.id)).collect();
            all.extend(["self", "meminfo", "uptime", "stat", "loadavg", "kstack"].map(Into::into));
            Some(Target::Names(all))
        }
        ["kstack"] => Some(names(&["provoke", "stacks"])),
        ["kstack", "provoke"] => Some(Target::Provoke),
        [process] if find(process).is_some() => {
            Some(names(&["cmdline", "comm", "maps", "stack", "stat", "status"]))
        }
        _ => text_of(&parts).map(Target::Text),
    }
}

fn text_of(parts: &[&str]) -> Option<Vec<u8>> {
    let mut text = String::new();
    // A string takes everything; the results of the writes say nothing.
    let done = match parts {
        ["meminfo"] => meminfo(&mut text),
        ["uptime"] => {
            let hundredths = crate::time::nanoseconds() / 10_000_000;
            writeln!(text, "{}.{:02} 0.00", hundredths / 100, hundredths % 100)
        }
        ["loadavg"] => writeln!(text, "0.00 0.00 0.00 1/{} 1", crate::sched::all().len()),
        ["stat"] => writeln!(text, "btime 0\nprocesses {}", super::all().len()),
        ["kstack", "stacks"] => crate::stacks::all().iter().try_for_each(|info| {
            let cpu = info.cpu.map_or(-1, |cpu| i64::from(cpu.get()));
            writeln!(text, "{} {cpu} {:?} {}", info.kind, info.range, info.owner)
        }),
        [process, "cmdline"] => return Some(find(process)?.command_line.lock().clone()),
        [process, "comm"] => writeln!(text, "{}", find(process)?.name()),
        [process, "maps"] => maps(&*find(process)?, &mut text),
        [process, "status"] => status(&*find(process)?, &mut text),
        [process, "stat"] => stat(&*find(process)?, &mut text),
        [process, "stack"] => stack(&*find(process)?, &mut text),
        _ => return None,
    };
    done.is_ok().then(|| text.into_bytes())
}

fn find(name: &str) -> Option<Arc<Process>> {
    if name == "self" {
        return crate::sched::current().process.clone();
    }
    super::find(name.parse().ok()?)
}

fn meminfo(text: &mut String) -> core::fmt::Result {
    let kib = |frames: usize| frames * 4;
    writeln!(text, "MemTotal:       {:8} kB", kib(frames::total_count()))?;
    writeln!(text, "MemFree:        {:8} kB", kib(frames::free_count()))?;
    writeln!(text, "MemAvailable:   {:8} kB", kib(frames::free_count()))?;
    writeln!(text, "Buffers:        {:8} kB", 0)?;
    writeln!(text, "Cached:         {:8} kB", 0)?;
    writeln!(text, "SwapTotal:      {:8} kB", 0)?;
    writeln!(text, "SwapFree:       {:8} kB", 0)?;
    writeln!(text, "KernelStack:    {:8} kB", stack_pages::charged_bytes() / 1024)
}

fn maps(process: &Process, text: &mut String) -> core::fmt::Result {
    let Some(memory) = process.memory() else { return Ok(()) };
    let memory = memory.lock();
    // A line has at most 83 bytes. Without memory for all of them there is no text.
    text.try_reserve(memory.areas().len() * 83).map_err(|_| core::fmt::Error)?;
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
    if process.ended.lock().is_some() {
        return 'Z';
    }
    let running = process.live_threads().iter().any(|thread| thread.is_on_cpu());
    if running { 'R' } else { 'S' }
}

fn status(process: &Process, text: &mut String) -> core::fmt::Result {
    writeln!(text, "Name:\t{}", process.name())?;
    writeln!(text, "State:\t{}", state(process))?;
    writeln!(text, "Pid:\t{}", process.id)?;
    writeln!(text, "PPid:\t{}", process.parent.load(Ordering::Relaxed))?;
    writeln!(text, "Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0")?;
    writeln!(text, "Threads:\t{}", process.live_threads().len())
}

fn stat(process: &Process, text: &mut String) -> core::fmt::Result {
    write!(text, "{} ({}) {} ", process.id, process.name(), state(process))?;
    write!(text, "{}", process.parent.load(Ordering::Relaxed))?;
    // The other 48 fields.
    for _ in 0..48 {
        write!(text, " 0")?;
    }
    writeln!(text)
}

/// Where the process's threads are in the kernel.
fn stack(process: &Process, text: &mut String) -> core::fmt::Result {
    let me = crate::sched::current();
    for thread in process.live_threads() {
        if core::ptr::eq(&*thread, me) {
            text.push_str(&crate::backtrace::here());
        } else {
            text.push_str(
                &crate::backtrace::of_thread(&thread).unwrap_or_else(|| "running\n".into()),
            );
        }
    }
    Ok(())
}

/// What a path below /sys opens as; its parts, without `sys`.
fn open_sys(parts: &[String]) -> Option<Target> {
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let counts = heap::TASKS.counts();
    let files: [(&str, u64); 6] = [
        ("object_size", counts.object_size as u64),
        ("objs_per_slab", counts.objects_per_slab as u64),
        ("slabs", counts.slabs as u64),
        ("objects", counts.objects as u64),
        ("alloc_calls", counts.allocated),
        ("free_calls", counts.freed),
    ];
    let names =
        |names: &[&str]| Some(Target::Names(names.iter().map(|&name| name.into()).collect()));
    match parts.as_slice() {
        [] => names(&["kernel"]),
        ["kernel"] => names(&["slab"]),
        ["kernel", "slab"] => names(&["task_struct"]),
        ["kernel", "slab", "task_struct"] => names(&files.map(|file| file.0)),
        ["kernel", "slab", "task_struct", name] => {
            let (_, value) = files.iter().find(|file| file.0 == *name)?;
            Some(Target::Text(alloc::format!("{value}\n").into_bytes()))
        }
        _ => None,
    }
}

/// What a path of /proc or /sys opens as; `None`: it is of neither. An error: it is, but nothing is there.
pub(super) fn open_path(parts: &[String]) -> Option<Result<Target, Errno>> {
    let (first, rest) = parts.split_first()?;
    match first.as_str() {
        "proc" => Some(open(rest).ok_or(Errno::ENOENT)),
        "sys" => Some(open_sys(rest).ok_or(Errno::ENOENT)),
        _ => None,
    }
}

/// The process that asks, as `/proc/self` names it.
pub(super) fn self_id() -> u64 {
    current().id
}
