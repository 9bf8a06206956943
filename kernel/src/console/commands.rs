//! The commands of the prompt, in one table: what `help` prints is what there is.

use super::{draw, println};
use crate::provoke;
use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use kstack::verdict::Side;
use machine::arch::entries::EntryRow;
use machine::arch::power::{self, End};
use machine::cpus;
use threads::sched;

struct Command {
    name: &'static str,
    arguments: &'static str,
    what: &'static str,
    run: fn(&[&str]) -> Result<(), String>,
}

const COMMANDS: &[Command] = &[
    Command { name: "help", arguments: "", what: "this list", run: help },
    Command {
        name: "stacks",
        arguments: "",
        what: "every stack of the machine, drawn",
        run: stacks,
    },
    Command {
        name: "entries",
        arguments: "",
        what: "which stack each kind of entry lands on, and how it is found",
        run: entries,
    },
    Command { name: "ps", arguments: "", what: "every thread: number, state, CPU, stack", run: ps },
    Command { name: "cpus", arguments: "", what: "every CPU: interrupts so far", run: show_cpus },
    Command { name: "cat", arguments: "FILE", what: "a file, such as /proc/meminfo", run: cat },
    Command {
        name: "backtrace",
        arguments: "[THREAD]",
        what: "where a thread is; without a number, where this one is",
        run: backtrace,
    },
    Command {
        name: "overflow",
        arguments: "thread|syscall|irq|softirq [frame]",
        what: "overflow a stack, by recursion or by one giant frame",
        run: overflow,
    },
    Command {
        name: "guard",
        arguments: "below|above",
        what: "a thread reads its own guard page",
        run: guard,
    },
    Command {
        name: "depth",
        arguments: "BYTES",
        what: "a thread that goes this deep and comes back",
        run: depth,
    },
    Command {
        name: "ask",
        arguments: "[QUESTION|all]",
        what: "an experiment that answers a question about stacks; without a name, the list",
        run: super::ask::command,
    },
    Command {
        name: "run",
        arguments: "PROGRAM ARGS...",
        what: "a program of the initramfs, such as /bin/busybox ls /",
        run: run_program,
    },
    Command {
        name: "poweroff",
        arguments: "",
        what: "end the machine (also: exit)",
        run: poweroff,
    },
];

/// The words of a line. Quotes of either kind keep blanks inside a word.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for letter in line.chars() {
        match (quote, letter) {
            (Some(open), _) if letter == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, _) if letter.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

/// Runs one line.
pub(super) fn run(line: &str) {
    let words = words(line);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let Some((&name, arguments)) = words.split_first() else { return };
    let name = if name == "exit" { "poweroff" } else { name };
    match COMMANDS.iter().find(|command| command.name == name) {
        Some(command) => {
            if let Err(problem) = (command.run)(arguments) {
                println!("{name}: {problem}");
                println!("usage: {name} {}", command.arguments);
            }
        }
        None => println!("{name}: no such command; `help` lists them"),
    }
}

fn help(_: &[&str]) -> Result<(), String> {
    for command in COMMANDS {
        println!("  {:<10} {:<36} {}", command.name, command.arguments, command.what);
    }
    Ok(())
}

fn stacks(_: &[&str]) -> Result<(), String> {
    draw::all_stacks();
    Ok(())
}

fn entries(_: &[&str]) -> Result<(), String> {
    let table = crate::hooks::entry_table();
    let width = |column: fn(&EntryRow) -> &str| table.iter().map(|row| column(row).len()).max();
    let entry = width(|row| row.entry).unwrap_or(0);
    let lands_on = width(|row| row.lands_on).unwrap_or(0);
    println!("{:<entry$}  {:<lands_on$}  found through", "entry", "lands on");
    for row in table {
        println!("{:<entry$}  {:<lands_on$}  {}", row.entry, row.lands_on, row.found_through);
    }
    Ok(())
}

fn ps(_: &[&str]) -> Result<(), String> {
    println!("{:>6} {:<24} {:<8} {:>3}  {}", "thread", "name", "state", "cpu", "stack");
    for thread in sched::all() {
        println!(
            "{:>6} {:<24} {:<8} {:>3}  {:?}{}",
            thread.id(),
            thread.name(),
            alloc::format!("{:?}", thread.state()),
            thread.last_cpu(),
            thread.stack_range(),
            if thread.has_stack() { "" } else { " given back" },
        );
    }
    Ok(())
}

fn show_cpus(_: &[&str]) -> Result<(), String> {
    for cpu in cpus::online() {
        println!(
            "cpu {}: {} ticks, {} IPIs",
            cpu.id(),
            cpu.ticks.load(Ordering::Relaxed),
            cpu.ipis.load(Ordering::Relaxed)
        );
    }
    Ok(())
}

fn cat(arguments: &[&str]) -> Result<(), String> {
    let [path] = arguments else { return Err("which file?".into()) };
    let bytes = linux::fs::read_file(path).ok_or("no such file")?;
    println!("{}", String::from_utf8_lossy(&bytes).trim_end());
    Ok(())
}

fn backtrace(arguments: &[&str]) -> Result<(), String> {
    match arguments {
        [] => println!("{}", threads::report::backtrace::here()),
        [number] => {
            let number: u64 = number.parse().map_err(|_| "a thread's number, as `ps` shows it")?;
            let thread = sched::all().into_iter().find(|thread| thread.id().get() == number);
            let mut text = String::new();
            let thread = thread.ok_or("no such thread")?;
            // A string takes all that is written.
            let _written = threads::report::running::print_any(&thread, &mut text);
            println!("{text}");
        }
        _ => return Err("one thread at most".into()),
    }
    Ok(())
}

fn overflow(arguments: &[&str]) -> Result<(), String> {
    let (place, how) = match arguments {
        [place] => (*place, provoke::How::Recursion),
        [place, "frame"] => (*place, provoke::How::GiantFrame),
        _ => return Err("where?".into()),
    };
    match place {
        "thread" => {
            provoke::in_thread(how);
            println!("the thread has been ended; the machine goes on");
        }
        "syscall" => {
            let status = provoke::in_syscall(how)?;
            println!("the process has been ended with status {status}; the machine goes on");
        }
        "irq" => provoke::in_interrupt(how),
        "softirq" => provoke::in_softirq(how),
        _ => return Err("unknown place".into()),
    }
    Ok(())
}

fn guard(arguments: &[&str]) -> Result<(), String> {
    match arguments {
        ["below"] => provoke::touch_guard(Side::Below),
        ["above"] => provoke::touch_guard(Side::Above),
        _ => return Err("which side?".into()),
    }
    println!("the thread has been ended; the machine goes on");
    Ok(())
}

fn depth(arguments: &[&str]) -> Result<(), String> {
    let bytes = arguments.first().and_then(|bytes| bytes.parse().ok()).ok_or("how many bytes?")?;
    println!("{}", provoke::go_deep(bytes));
    Ok(())
}

fn run_program(arguments: &[&str]) -> Result<(), String> {
    let [path, ..] = arguments else { return Err("which program?".into()) };
    let argv: Vec<&[u8]> = arguments.iter().map(|argument| argument.as_bytes()).collect();
    match linux::run(path, &argv) {
        Ok(0) => {}
        Ok(status) => println!("{path}: status {status}"),
        Err(error) => println!("{path}: {error}"),
    }
    Ok(())
}

fn poweroff(_: &[&str]) -> Result<(), String> {
    control!("end");
    power::end(End::Orderly)
}
