//! One boot of the kernel in the emulator, from its start to the way it ended.
//!
//! ```text
//!   first serial line   console          -> a log file, or this terminal (cargo xtask run)
//!   a second one, or    control channel  -> a log file that is read while it grows, line by line
//!      semihosting
//!   a device, or        end of machine   -> the emulator's exit status, the same on all of them
//!      semihosting
//! ```
//!
//! A boot always ends: the watchdog ends it when the control channel has been silent for too long,
//! or when it runs for five times that. What the kernel said stays in the logs.

use std::fmt;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::arch::{Arch, Board, Control, START_OF_TEXT};
use crate::boot::terminal::Terminal;
use crate::boot::{first_hart, input};
use crate::{progress, setup, workspace};

/// How often the control log is looked at.
const POLL: Duration = Duration::from_millis(20);

/// How a board says that it has a disk: the archive is on it.
const DISK: &str = "drive=disk";

/// Where the console goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Console {
    /// To the log.
    Log,
    /// To the log, where each line that a program writes is a sign of life, as one of the control
    /// channel's is.
    Watched,
    /// To this terminal, every key going to the kernel; Ctrl-A x ends the machine.
    Terminal,
    /// To standard output and from standard input.
    Pipe,
}

/// A boot to be made.
pub(crate) struct Boot<'a> {
    /// The architecture.
    pub(crate) arch: Arch,
    /// The machine.
    pub(crate) board: &'static Board,
    /// The kernel, in the form that the machine wants.
    pub(crate) kernel: &'a Path,
    /// The cpio archive.
    pub(crate) initramfs: &'a Path,
    /// The kernel's command line.
    pub(crate) command_line: String,
    /// The number of CPUs.
    pub(crate) cpus: u32,
    /// The memory, as the emulator writes it.
    pub(crate) memory: &'a str,
    /// Whether time is counted in executed instructions, one CPU at a time: then each takes two to
    /// this power of nanoseconds.
    pub(crate) counting: Option<u32>,
    /// Where the console goes.
    pub(crate) console: Console,
    /// The terminal whose keys go to the program, for [`Console::Pipe`].
    pub(crate) terminal: Option<&'a Terminal>,
    /// The name of the logs.
    pub(crate) name: String,
    /// How long the control channel may be silent; nothing for as long as it likes.
    pub(crate) timeout: Option<Duration>,
}

/// How a machine ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum End {
    /// The kernel did what was asked and ended the machine: status 17.
    Orderly,
    /// The kernel stopped the machine with a report: status 33.
    Report,
    /// The kernel panicked: status 49.
    Panic,
    /// The machine was reset: on a PC by a triple fault, most likely.
    Reset,
    /// The watchdog ended it.
    Timeout,
    /// The emulator ended with another status.
    Status(i32),
    /// The emulator was ended by a signal.
    Signal(i32),
}

impl End {
    pub(crate) fn of(status: ExitStatus) -> End {
        match (status.code(), status.signal()) {
            (Some(17), _) => End::Orderly,
            (Some(33), _) => End::Report,
            (Some(49), _) => End::Panic,
            (Some(0), _) => End::Reset,
            (Some(code), _) => End::Status(code),
            (None, signal) => End::Signal(signal.unwrap_or_default()),
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Orderly => f.write_str("orderly end"),
            End::Report => f.write_str("the kernel stopped the machine with a report"),
            End::Panic => f.write_str("kernel panic"),
            End::Reset => f.write_str("the machine was reset without a word (triple fault?)"),
            End::Timeout => f.write_str("the machine fell silent and was ended by the watchdog"),
            End::Status(status) => write!(f, "the emulator ended with status {status}"),
            End::Signal(signal) => write!(f, "the emulator was ended by signal {signal}"),
        }
    }
}

/// A boot that has ended.
pub(crate) struct Finished {
    /// How.
    pub(crate) end: End,
    /// The log of the console, empty if it went to the terminal.
    pub(crate) console: PathBuf,
    /// The log of the control channel.
    pub(crate) control: PathBuf,
    /// What the emulator itself said.
    pub(crate) complaint: String,
}

impl Finished {
    /// The last lines of the console, and where the rest is.
    pub(crate) fn tail(&self, lines: usize) -> String {
        let text = |path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
        let mut shown = text(&self.console);
        if shown.trim().is_empty() {
            shown = text(&self.control);
        }
        if !self.complaint.trim().is_empty() {
            shown.push_str(&format!("\n[emulator] {}", self.complaint.trim()));
        }
        let mut tail: String = progress::tail(&shown, lines)
            .lines()
            .map(|line| format!("    | {}\n", line.trim_end_matches('\r')))
            .collect();
        tail.push_str(&format!(
            "    logs: {} and {}",
            workspace::shown(&self.console),
            workspace::shown(&self.control)
        ));
        tail
    }
}

impl Boot<'_> {
    /// Runs the machine to its end, giving each line of the control channel to the caller as it
    /// comes.
    pub(crate) fn run(&self, on_line: &mut dyn FnMut(&str)) -> Result<Finished> {
        self.run_in(&setup::emulator(self.arch)?, on_line)
    }

    /// The same in an emulator of the caller's.
    pub(crate) fn run_in(
        &self,
        emulator: &Path,
        on_line: &mut dyn FnMut(&str),
    ) -> Result<Finished> {
        let begun = Instant::now();
        let folder = workspace::logs()?;
        let log = |kind: &str| folder.join(format!("{}-{}.{kind}.log", self.arch, self.name));
        let (console, control, errors) = (log("console"), log("control"), log("emulator"));
        for path in [&console, &control] {
            File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        }
        let mut command = self.command(emulator, &console, &control)?;
        command.stderr(File::create(&errors)?);
        let mut child =
            Guard(command.spawn().with_context(|| format!("cannot start {}", emulator.display()))?);
        let (output, mut input) = (child.0.stdout.take(), child.0.stdin.take());
        let also = (self.console == Console::Watched).then_some(console.as_path());
        let (status, mut lines) = thread::scope(|scope| {
            let forwarder = output.map(|from| {
                scope.spawn(move || {
                    let listens = || match (input.take(), self.terminal) {
                        (Some(to), Some(terminal)) => {
                            // An error is a terminal that has gone away.
                            let _ = terminal.pass_on(to);
                        }
                        (Some(mut to), None) => {
                            // It ends with our input, with the machine, or with us.
                            thread::spawn(move || {
                                input::pass_on(std::io::stdin().lock(), &mut to, &input::ROOM)
                            });
                        }
                        (None, _) => {}
                    };
                    forward_after_firmware(from, &mut std::io::stdout().lock(), listens)
                })
            });
            let watched = watched(&mut child.0, &control, also, self.timeout, on_line);
            if watched.is_err() {
                // Its output has no end otherwise.
                let _ = child.0.kill();
            }
            if let Some(forwarder) = forwarder {
                // An error is a reader of ours that has gone away, which is not the machine's
                // fault.
                let _ = forwarder.join();
            }
            watched
        })?;
        lines.read(on_line)?;
        lines.finish(on_line);
        let end = status.map_or(End::Timeout, End::of);
        progress::took(begun.elapsed(), || format!("boot {}-{}", self.arch, self.name));
        let complaint = fs::read_to_string(&errors).unwrap_or_default();
        fs::remove_file(&errors)?;
        Ok(Finished { end, console, control, complaint })
    }

    fn command(&self, emulator: &Path, console: &Path, control: &Path) -> Result<Command> {
        let mut command = tied(emulator);
        let mut command_line = self.command_line.clone();
        // The kernel compares it with what it finds.
        let mib = memory_mib(self.memory);
        command_line.push_str(&format!(" has-cpus={} has-mib={mib}", self.cpus));
        // A machine with fewer CPUs starts on what it has.
        if let Some(first) = self.board.first_cpu.filter(|&first| first < self.cpus) {
            first_hart::choose(&mut command, first, self.cpus);
            command_line.push_str(&format!(" first-cpu={first}"));
        }
        command
            .args(machine(self.board, emulator, self.initramfs, self.counting)?)
            .args(["-display", "none", "-nodefaults", "-no-reboot"])
            .args(["-smp", &self.cpus.to_string(), "-m", self.memory])
            .arg("-kernel")
            .arg(self.kernel)
            .arg("-initrd")
            .arg(self.initramfs)
            .args(["-append", &command_line]);
        // A machine with memory nodes brings the memory of each.
        if mib > 0 && !self.board.arguments.contains(&"-numa") {
            // What the machine does not touch is not taken from this one.
            let ram = format!("memory-backend-ram,id=ram,size={mib}M,reserve=off");
            command.args(["-object", &ram, "-machine", "memory-backend=ram"]);
        }
        let console = match self.console {
            Console::Log | Console::Watched => {
                command.stdin(Stdio::null()).stdout(Stdio::null());
                format!("file,id=console,path={}", escaped(console))
            }
            Console::Terminal => "stdio,id=console,mux=on,signal=off".to_owned(),
            Console::Pipe => {
                command.stdout(Stdio::piped()).stdin(Stdio::piped());
                // With a terminal the emulator has a key of its own for its end.
                let mux = if self.terminal.is_some() { "on" } else { "off" };
                format!("stdio,id=console,signal=off,mux={mux}")
            }
        };
        command
            .args(["-chardev", &console, "-serial", "chardev:console"])
            .args(["-chardev", &format!("file,id=control,path={}", escaped(control))]);
        match self.arch.description().control {
            Control::SecondSerial => command.args(["-serial", "chardev:control"]),
            Control::PciSerial => command.args(["-device", "pci-serial,chardev=control"]),
            Control::Semihosting => {
                command.args(["-semihosting-config", "enable=on,target=native,chardev=control"])
            }
        };
        Ok(command)
    }
}

/// What tells a PC's kernel to move and fill bytes with one string instruction, which counts one
/// for each byte: a kernel that takes it would look slow beside one that does not.
const BY_BYTES: [&str; 5] = ["erms", "fsrm", "fsrs", "fsrc", "fzrm"];

/// The arguments that a board is made of, with the archive on its disk if it has one, and how time
/// is counted there: with `counting`, in executed instructions, each taking two to this power of
/// nanoseconds.
pub(crate) fn machine(
    board: &Board,
    emulator: &Path,
    archive: &Path,
    counting: Option<u32>,
) -> Result<Vec<String>> {
    let mut arguments: Vec<String> =
        board.arguments.iter().map(|&argument| argument.to_owned()).collect();
    if arguments.iter().any(|argument| argument.contains(DISK)) {
        // Read only, so that boots at one time can have the same.
        let drive = format!("if=none,id=disk,format=raw,readonly=on,file={}", escaped(archive));
        arguments.extend(["-drive".to_owned(), drive]);
    }
    let Some(shift) = counting else { return Ok(arguments) };
    let known = progress::quiet(Command::new(emulator).args(["-cpu", "help"]))?;
    if let Some(model) = arguments.iter().position(|argument| argument == "-cpu") {
        hide(&mut arguments[model + 1], &known);
    }
    arguments.extend(["-icount".to_owned(), format!("shift={shift},sleep=off")]);
    Ok(arguments)
}

/// Hides [`BY_BYTES`] in a CPU model, as far as the emulator knows them, by what it says of CPUs.
fn hide(model: &mut String, known: &str) {
    for flag in BY_BYTES {
        let hidden = format!(",-{flag}");
        if known.split_whitespace().any(|word| word == flag) && !model.contains(&hidden) {
            model.push_str(&hidden);
        }
    }
}

/// Waits for an emulator's end, giving each line of the control channel to the caller as it comes.
/// Its status, unless the watchdog ended it, and what is left to read. A second file's growth is a
/// sign of life, too.
pub(crate) fn watched(
    child: &mut Child,
    control: &Path,
    also: Option<&Path>,
    timeout: Option<Duration>,
    on_line: &mut dyn FnMut(&str),
) -> Result<(Option<ExitStatus>, Lines)> {
    let mut lines = Lines::open(control)?;
    let started = Instant::now();
    let mut heard = started;
    let mut size = 0;
    loop {
        let ended = child.try_wait()?;
        // Read after asking, so that what was written just before the end is not missed.
        if lines.read(on_line)? {
            heard = Instant::now();
        }
        if let Some(path) = also {
            let now = fs::metadata(path)?.len();
            if now != size {
                (size, heard) = (now, Instant::now());
            }
        }
        if ended.is_some() {
            return Ok((ended, lines));
        }
        let over = timeout.is_some_and(|limit| {
            heard.elapsed() > limit || started.elapsed() > limit.saturating_mul(5)
        });
        if over {
            child.kill()?;
            child.wait()?;
            return Ok((None, lines));
        }
        thread::sleep(POLL);
    }
}

/// A program's command, tied to our life where the machine has the tool for it: without that, a
/// killed xtask would leave an emulator behind.
pub(crate) fn tied(program: &Path) -> Command {
    let tied = ["--pdeathsig", "KILL"];
    let works = Command::new("setpriv").args(tied).arg("true").stderr(Stdio::null()).status();
    if works.is_ok_and(|status| status.success()) {
        let mut command = Command::new("setpriv");
        command.args(tied).arg(program);
        command
    } else {
        Command::new(program)
    }
}

/// Passes on what the kernel says, without what the firmware has said before. Calls `listens` when
/// the kernel begins: what is typed from then on is not lost.
fn forward_after_firmware(
    mut from: impl Read,
    to: &mut impl Write,
    mut listens: impl FnMut(),
) -> std::io::Result<()> {
    let mut bytes = [0; 4096];
    let mut started = false;
    loop {
        let count = match from.read(&mut bytes) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let mut new = &bytes[..count];
        if !started {
            let Some(at) = new.iter().position(|&byte| byte == START_OF_TEXT) else { continue };
            started = true;
            listens();
            new = &new[at + 1..];
        }
        to.write_all(new)?;
        to.flush()?;
    }
}

/// Memory as the emulator writes it, in MiB: a number with K, M, G or T, or without for MiB. What
/// is no such number is the emulator's to complain about.
pub(crate) fn memory_mib(size: &str) -> u64 {
    let size = size.trim().trim_end_matches(['b', 'B']);
    let digits = size.trim_end_matches(|unit: char| unit.is_ascii_alphabetic());
    let number: u64 = digits.parse().unwrap_or(0);
    match size[digits.len()..].to_ascii_lowercase().as_str() {
        "k" => number >> 10,
        "" | "m" => number,
        "g" => number << 10,
        "t" => number << 20,
        _ => 0,
    }
}

/// A path as the emulator's option syntax wants it: a comma is doubled.
pub(crate) fn escaped(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

/// An emulator that does not outlive us when something else fails.
pub(crate) struct Guard(pub(crate) Child);

impl Drop for Guard {
    fn drop(&mut self) {
        // Both fail if it has ended already, which is what we want.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Lines of a file that is still being written.
pub(crate) struct Lines {
    file: File,
    read: u64,
    partial: Vec<u8>,
}

impl Lines {
    fn open(path: &Path) -> Result<Lines> {
        let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Lines { file, read: 0, partial: Vec::new() })
    }

    /// Gives every complete line that has been added, and whether anything was.
    pub(crate) fn read(&mut self, on_line: &mut dyn FnMut(&str)) -> Result<bool> {
        self.file.seek(SeekFrom::Start(self.read))?;
        let before = self.partial.len();
        let added = self.file.read_to_end(&mut self.partial)?;
        self.read += added as u64;
        let mut from = 0;
        let mut search = before;
        while let Some(at) = self.partial[search..].iter().position(|&byte| byte == b'\n') {
            let end = search + at;
            on_line(String::from_utf8_lossy(&self.partial[from..end]).trim_end_matches('\r'));
            from = end + 1;
            search = from;
        }
        self.partial.drain(..from);
        Ok(added > 0)
    }

    /// Gives what is left when the machine died in the middle of a line.
    pub(crate) fn finish(&mut self, on_line: &mut dyn FnMut(&str)) {
        let rest = std::mem::take(&mut self.partial);
        if !rest.is_empty() {
            on_line(&String::from_utf8_lossy(&rest));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_given_once_and_whole_while_the_file_grows() {
        let path = std::env::temp_dir().join(format!("kstack-lines-{}", std::process::id()));
        let mut file = File::create(&path).unwrap();
        let mut lines = Lines::open(&path).unwrap();
        let mut seen: Vec<String> = Vec::new();
        let mut step = |text: &str| {
            file.write_all(text.as_bytes()).unwrap();
            let grown = lines.read(&mut |line| seen.push(line.to_owned())).unwrap();
            assert_eq!(grown, !text.is_empty());
            std::mem::take(&mut seen)
        };
        assert_eq!(step("@test st"), [""; 0]);
        assert_eq!(step("art a\r\n@test pass a\n@e"), ["@test start a", "@test pass a"]);
        assert_eq!(step(""), [""; 0]);
        assert_eq!(step("nd"), [""; 0]);
        let mut rest = Vec::new();
        lines.finish(&mut |line| rest.push(line.to_owned()));
        assert_eq!(rest, ["@end"]);
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn what_the_firmware_says_is_not_the_program_s_output() {
        let forwarded = |text: &[u8]| {
            // One byte at a time as well as all at once: the mark may be anywhere in what is read.
            let mut whole = Vec::new();
            let mut begun = 0;
            forward_after_firmware(text, &mut whole, || begun += 1).unwrap();
            assert_eq!(begun, usize::from(text.contains(&START_OF_TEXT)));
            let mut single = Vec::new();
            let bytes = text
                .chunks(1)
                .fold(Box::new(std::io::empty()) as Box<dyn Read + '_>, |before, byte| {
                    Box::new(before.chain(byte))
                });
            forward_after_firmware(bytes, &mut single, || {}).unwrap();
            assert_eq!(whole, single);
            whole
        };
        assert_eq!(forwarded(b"OpenSBI v1\r\n\x02a\x02b"), b"a\x02b");
        assert_eq!(forwarded(b"\x02"), b"");
        assert_eq!(forwarded(b"only firmware"), b"");
    }

    #[test]
    fn a_counting_machine_hides_what_the_emulator_knows_of_strings_of_bytes() {
        let mut model = "max,-erms".to_owned();
        hide(&mut model, "Recognized CPUID flags:\n  erms fsgsbase\n  fsrm fzrm\n");
        assert_eq!(model, "max,-erms,-fsrm,-fzrm");
        let mut of_arm = "max".to_owned();
        hide(&mut of_arm, "Available CPUs:\n  cortex-a72\n  max\n");
        assert_eq!(of_arm, "max");
    }

    #[test]
    fn only_the_agreed_statuses_are_ends_of_the_kernel_s_choosing() {
        let end = |code: i32| End::of(ExitStatus::from_raw(code << 8));
        assert_eq!(end(17), End::Orderly);
        assert_eq!(end(33), End::Report);
        assert_eq!(end(49), End::Panic);
        assert_eq!(end(0), End::Reset);
        assert_eq!(end(1), End::Status(1));
        assert_eq!(End::of(ExitStatus::from_raw(9)), End::Signal(9));
    }
}
