//! `cargo xtask run`: the kernel's console on this terminal, or a program of this machine in the
//! kernel.
//!
//! With a program, standard output carries the program's bytes and nothing else, and the status is
//! the program's: 128 and the signal's number if it was killed, as in a shell. A failure of ours,
//! from a path that does not exist to a machine that was lost, has a status of its own ([`OURS`]).

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::arch::Arch;
use crate::boot::control::{self, Message};
use crate::boot::input;
use crate::boot::qemu::{Boot, Console, End, Finished};
use crate::boot::terminal::{Size, Terminal};
use crate::build::initramfs::{self, Program};
use crate::proof::examples::{self, Example};
use crate::setup::{self, System};

/// The status when it was not the program that failed.
const OURS: u8 = 125;
/// Lines of the log shown when the machine was lost.
const SHOWN_LINES: usize = 40;

/// What to run.
#[derive(Args)]
pub(crate) struct Options {
    /// The architecture to emulate.
    #[arg(long, value_name = "NAME", value_parser = Arch::parse, default_value = Arch::USUAL.name())]
    arch: Arch,
    /// The number of CPUs.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=255))]
    cpus: u32,
    /// The memory of the machine, such as 512M or 2G [default: 512M, and more for large packages].
    #[arg(long, value_name = "SIZE")]
    mem: Option<String>,
    /// Words for the kernel's command line: `threadirqs` gives interrupts of devices, and softirqs,
    /// threads of their own; `stacks=contiguous` gives threads physically contiguous stacks, which
    /// have no guards; `stack_erasing=on` erases what a call from user mode left on
    /// stacks; `randomize_kstack_offset=on` begins each at another place of its stack.
    #[arg(long, value_name = "WORDS", value_parser = words, conflicts_with = "example")]
    append: Option<String>,
    /// Packages of the distribution, with all that they need: fetched once, and put into the image.
    /// Then PROGRAM may be one of theirs: `run --with python3-minimal -- python3 -c 'print(1)'`.
    #[arg(long, value_name = "PACKAGE,...", value_delimiter = ',', conflicts_with = "example")]
    with: Vec<String>,
    /// Run an example instead: a kernel or a program of others that adopts the library.
    #[arg(long, value_name = "NAME", value_parser = Example::parse, conflicts_with_all = ["arch", "program"])]
    example: Option<&'static Example>,
    /// A Linux program for the architecture and its arguments: a file of this machine, or a bare
    /// name for one of the image (such as busybox) or of the packages; without any, a console. A
    /// program that is linked dynamically takes `--with libc6` at least. On a terminal every key,
    /// Ctrl-C too, goes to the program; Ctrl-] three times ends the machine.
    #[arg(last = true, value_name = "PROGRAM ARGS")]
    program: Vec<String>,
}

/// Words for the kernel: of those that it knows, without what the tools themselves say there.
fn words(words: &str) -> Result<String, String> {
    const KNOWN: [&str; 4] =
        ["threadirqs", "stacks=contiguous", "stack_erasing=on", "randomize_kstack_offset=on"];
    match words.split_ascii_whitespace().find(|word| !KNOWN.contains(word)) {
        None => Ok(words.to_owned()),
        Some(word) => {
            Err(format!("the kernel does not know `{word}`; it knows {}", KNOWN.join(", ")))
        }
    }
}

/// `cargo xtask run`
pub(crate) fn command(options: &Options) -> Result<ExitCode> {
    if let Some(example) = options.example {
        return examples::run(example);
    }
    if options.program.is_empty() {
        return console(options);
    }
    Ok(ExitCode::from(program(options).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        OURS
    })))
}

fn console(options: &Options) -> Result<ExitCode> {
    // Kept, since an emulator that is killed leaves it raw.
    let terminal = Terminal::kept()?;
    let console = if terminal.is_some() { Console::Terminal } else { Console::Pipe };
    let system = system(options)?;
    let to = (console, None);
    let finished = boot(options, None, system.as_ref(), "mode=console", to, &mut |_| {})?;
    drop(terminal);
    match finished.end {
        End::Orderly => Ok(ExitCode::SUCCESS),
        // Ctrl-A x ends the emulator with the same status as a reset does.
        End::Reset if console == Console::Terminal => {
            eprintln!("\nThe machine was ended with Ctrl-A x, or was reset.");
            Ok(ExitCode::SUCCESS)
        }
        end => bail!("{end}\n{}", finished.tail(SHOWN_LINES)),
    }
}

/// Runs a program and gives its status.
fn program(options: &Options) -> Result<u8> {
    let system = system(options)?;
    let program = Program::read(&options.program, system.as_ref())?;
    let mut status = None;
    let mut wrong = None;
    let terminal = Terminal::kept()?;
    let mode = match &terminal {
        Some(Terminal { size: Size { rows, columns }, .. }) => {
            eprintln!("Every key goes to the program; Ctrl-] three times ends the machine.");
            format!("mode=run input=terminal size={rows}x{columns}")
        }
        // What is no terminal has an end, which the program is to see.
        None => "mode=run input=stream".to_owned(),
    };
    let to = (Console::Pipe, terminal.as_ref());
    let finished = boot(options, Some(&program), system.as_ref(), &mode, to, &mut |line| {
        match control::parse(line) {
            Ok(Some(Message::Exit(exit))) => status = Some(exit),
            Ok(Some(Message::Took(bytes))) => input::taken(bytes),
            Ok(Some(_)) => {}
            // What the kernel itself says: the console is the program's.
            Ok(None) => eprintln!("{line}"),
            // Words of a program, quoted in the middle of a line: its name may be anything.
            Err(_) if !line.starts_with('@') => eprintln!("{line}"),
            Err(error) => wrong = Some(error),
        }
    })?;
    let has_terminal = terminal.is_some();
    drop(terminal);
    if let Some(error) = wrong {
        return Err(error).context("the kernel said something strange");
    }
    match (status, finished.end) {
        (Some(status), End::Orderly) => Ok(status),
        (Some(_), end) => {
            bail!("the program ended, but not the machine: {end}\n{}", finished.tail(SHOWN_LINES))
        }
        (None, End::Reset) if has_terminal => {
            bail!("the machine was ended by Ctrl-] three times, or was reset")
        }
        (None, end) => {
            bail!("the machine ended before the program: {end}\n{}", finished.tail(SHOWN_LINES))
        }
    }
}

/// The packages that were asked for.
fn system(options: &Options) -> Result<Option<System>> {
    if options.with.is_empty() {
        return Ok(None);
    }
    setup::system(options.arch, &options.with).map(Some)
}

/// The memory of a machine with an image of so many bytes: files stay where they came, and programs
/// have copies of them.
fn usual_memory(image: u64) -> String {
    const LARGE: u64 = 96 << 20;
    if image > LARGE { "1G" } else { "512M" }.to_owned()
}

fn boot(
    options: &Options,
    program: Option<&Program>,
    system: Option<&System>,
    mode: &str,
    (console, terminal): (Console, Option<&Terminal>),
    on_line: &mut dyn FnMut(&str),
) -> Result<Finished> {
    let ready = setup::ensure(options.arch)?;
    // Several may run at the same time: each has an image and logs of its own.
    let name = format!("run-{}", std::process::id());
    let board = options.arch.board();
    let prepared = initramfs::prepare(options.arch, board, &ready, program, system, &name)?;
    let image = Removed(prepared.image);
    let memory = match &options.mem {
        Some(memory) => memory.clone(),
        None => usual_memory(std::fs::metadata(&image.0)?.len()),
    };
    if console == Console::Terminal {
        eprintln!("Booting; leave with `poweroff` in the console, or Ctrl-A x at any time.");
    }
    Boot {
        arch: options.arch,
        board,
        kernel: &prepared.kernel,
        initramfs: &image.0,
        command_line: format!("{} {mode}", options.append.as_deref().unwrap_or_default()),
        cpus: options.cpus,
        memory: &memory,
        counting: None,
        console,
        terminal,
        name,
        timeout: None,
    }
    .run(on_line)
}

/// A file that goes away again.
struct Removed(std::path::PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        // It is only clutter if this fails.
        let _ = std::fs::remove_file(&self.0);
    }
}
