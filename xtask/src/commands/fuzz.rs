//! `cargo xtask fuzz`: system calls with arguments drawn from a seed, made by four processes of a
//! program of ours at a time.
//!
//! The tests do the same with a few thousand calls. Afterwards the kernel compares what it has with
//! what it had: free frames, stacks, the charge for stacks, threads and the heap. Status 0: all of
//! it is the same. The same seed draws the same calls; in which order the processes make them is
//! the scheduler's.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::arch::Arch;
use crate::boot::control::{self, Message};
use crate::boot::qemu::{Boot, Console, End};
use crate::build::initramfs;
use crate::setup;

/// Lines of the log shown when the machine was lost.
const SHOWN_LINES: usize = 60;

/// What to try.
#[derive(Args)]
pub(crate) struct Options {
    /// The architecture to emulate.
    #[arg(long, value_name = "NAME", value_parser = Arch::parse, default_value = Arch::USUAL.name())]
    arch: Arch,
    /// How many calls to make, at least; progress is told about every fifty thousand.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    calls: u64,
    /// What the calls and their arguments are drawn from: the one of a run that failed draws the
    /// same ones again.
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u32,
    /// The number of CPUs.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=255))]
    cpus: u32,
    /// The memory of the machine, such as 512M or 2G.
    #[arg(long, value_name = "SIZE", default_value = "512M")]
    mem: String,
    /// End a machine that has been silent for this many seconds: it hangs.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    timeout: u64,
}

/// `cargo xtask fuzz`
pub(crate) fn command(options: &Options) -> Result<ExitCode> {
    let ready = setup::ensure(options.arch)?;
    let name = format!("fuzz-{}", std::process::id());
    let board = options.arch.board();
    let prepared = initramfs::prepare(options.arch, board, &ready, None, None, &name)?;
    let began = Instant::now();
    let mut status = None;
    let mut wrong = None;
    let finished = Boot {
        arch: options.arch,
        board,
        kernel: &prepared.kernel,
        initramfs: &prepared.image,
        command_line: format!("mode=fuzz calls={} seed={}", options.calls, options.seed),
        cpus: options.cpus,
        memory: &options.mem,
        counting: None,
        console: Console::Pipe,
        terminal: None,
        name,
        timeout: Some(Duration::from_secs(options.timeout)),
    }
    .run(&mut |line| match control::parse(line) {
        Ok(Some(Message::Exit(exit))) => status = Some(exit),
        Ok(Some(_)) => {}
        Ok(None) => eprintln!("{line}"),
        Err(error) => wrong = Some(error),
    });
    // It is only clutter if this fails.
    let _ = std::fs::remove_file(&prepared.image);
    let finished = finished?;
    if let Some(error) = wrong {
        return Err(error).context("the kernel said something strange");
    }
    let seconds = began.elapsed().as_secs();
    match (status, finished.end) {
        (Some(0), End::Orderly) => {
            println!("{}: everything is as it was, after {seconds} s", options.arch);
            Ok(ExitCode::SUCCESS)
        }
        (Some(_), End::Orderly) => {
            bail!("seed {}: see above\n{}", options.seed, finished.tail(SHOWN_LINES))
        }
        (_, end) => bail!("seed {}: {end}\n{}", options.seed, finished.tail(SHOWN_LINES)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::fs;
    use std::path::Path;

    use crate::workspace;

    /// The words in quotes that stand first on a line, behind `before`.
    fn names<'t>(text: &'t str, before: &str) -> impl Iterator<Item = &'t str> {
        text.lines().filter_map(move |line| line.trim().strip_prefix(before)?.split('"').next())
    }

    fn calls(folder: &Path, into: &mut HashSet<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                calls(&path, into);
            } else {
                let text = fs::read_to_string(&path).unwrap();
                into.extend(names(&text, "\"").map(str::to_owned));
            }
        }
    }

    /// Names are compared as text, in the machine: one that is spelled otherwise there is a call
    /// whose arguments are noise. Red with `"Openat"` for `"openat"`.
    #[test]
    fn u1_the_fuzzer_has_arguments_for_calls_of_the_kernel_only() {
        let mut known = HashSet::new();
        calls(&workspace::root().join("kernel/linux/src/calls"), &mut known);
        let text = fs::read_to_string(workspace::root().join("user/src/draw.rs")).unwrap();
        let (_, shapes) = text.split_once("const SHAPES").unwrap();
        let (shapes, _) = shapes.split_once("];").unwrap();
        let shaped: Vec<&str> = names(shapes, "(\"").collect();
        assert!(shaped.len() > 100, "{} shapes", shaped.len());
        let strange: Vec<_> = shaped.iter().filter(|name| !known.contains(**name)).collect();
        assert!(strange.is_empty(), "no calls of the kernel: {strange:?}");
    }
}
