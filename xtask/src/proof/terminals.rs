//! A person at a terminal: `cargo xtask run -- busybox sh` on a pseudo-terminal of this machine,
//! with what is typed there and what is to be seen.
//!
//! The pseudo-terminal is `script`'s, a tool of every Debian and Ubuntu: it types what it reads and
//! writes what is to be seen. Each step waits for what it expects on the screen, and fails when the
//! machine has been silent for too long.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::arch::Arch;
use crate::proof::emulated::Verdict;
use crate::workspace;

/// How long the screen may stay as it is while something is expected.
const SILENCE: Duration = Duration::from_secs(120);

/// A test.
type Test = (&'static str, fn(&mut Screen) -> Result<()>);

/// What is shown. Each has a terminal and a machine of its own.
const TESTS: [Test; 2] = [
    ("p6_u1_a_terminal_s_keys_size_and_jobs_are_the_program_s", keys_size_and_jobs),
    ("u1_a_terminal_is_as_before_after_an_emulator_that_was_killed", killed),
];

/// Runs those whose name contains the filter.
pub(crate) fn test(archs: &[Arch], filter: Option<&str>) -> Vec<(Arch, Verdict)> {
    let chosen =
        |name: &str| filter.is_none_or(|filter| filter.split(',').any(|part| name.contains(part)));
    let mut verdicts = Vec::new();
    // The terminal is the same on all of them.
    for &arch in archs.iter().filter(|&&arch| arch == Arch::USUAL) {
        for (name, steps) in TESTS.iter().filter(|(name, _)| chosen(name)) {
            let failure = Screen::open(arch).and_then(|mut screen| {
                steps(&mut screen).with_context(|| format!("the screen:\n{}", screen.tail()))
            });
            let failure = failure.err().map(|error| format!("{error:#}"));
            match &failure {
                None => println!("ok      {:<8} {name}", arch.name()),
                Some(why) => println!("FAILED  {:<8} {name}\n    {why}", arch.name()),
            }
            verdicts.push((arch, Verdict { name: (*name).to_owned(), failure }));
        }
    }
    verdicts
}

fn keys_size_and_jobs(screen: &mut Screen) -> Result<()> {
    screen.wait("~ # ")?;
    // Ctrl-C reaches the program, and the shell lives.
    screen.types("sh -c 'echo be\"\"gun; exec sleep 1000'\r")?;
    screen.wait("begun\r\n")?;
    screen.types("\x03")?;
    screen.wait("^C")?;
    screen.types("echo after $?\r")?;
    screen.wait("after 130\r\n")?;
    // The size, and its change.
    screen.types("stty size\r")?;
    screen.wait("40 100\r\n")?;
    screen
        .types("sh -c 'trap \"stty size\" WINCH; echo re\"\"ady; while :; do sleep 1; done'\r")?;
    screen.wait("ready\r\n")?;
    screen.resize(50, 120)?;
    screen.wait("50 120\r\n")?;
    screen.types("\x03")?;
    screen.wait("^C")?;
    // Job control.
    screen.types("sh -c 'echo ag\"\"ain; exec sleep 1000'\r")?;
    screen.wait("again\r\n")?;
    screen.types("\x1a")?;
    screen.wait("Stopped")?;
    screen.types("jobs; bg; kill %1; wait; echo jobs $?\r")?;
    screen.wait("Terminated")?;
    screen.wait("jobs ")?;
    // A program that has the whole screen, and every key: Ctrl-A and Ctrl-P among them.
    screen.types("vi /tmp/text\r")?;
    screen.wait("vi /tmp/text\r\n")?;
    screen.wait(";1H")?;
    screen.types("ihello there\x1b:wq\r")?;
    screen.wait("1L, 12C")?;
    screen.types("cat /tmp/text; echo e''nd\r")?;
    screen.wait("hello there\r\nend\r\n")?;
    screen.types("stty -icanon -echo; dd bs=1 count=2 2>/dev/null | od -An -tx1; stty sane\r")?;
    screen.wait("sane\r\n")?;
    screen.types("\x01\x10")?;
    screen.wait("01 10\r\n")?;
    screen.types("exit 7\r")?;
    screen.wait("ended with 7\r\n")?;
    screen.ends_as_it_began()
}

fn killed(screen: &mut Screen) -> Result<()> {
    screen.wait("~ # ")?;
    screen.kill_emulator()?;
    screen.wait("ended with 125\r\n")?;
    screen.ends_as_it_began()
}

/// A pseudo-terminal with the command on it.
struct Screen {
    script: Child,
    keys: ChildStdin,
    from: Receiver<Vec<u8>>,
    /// What was to be seen, and how much of it was waited for.
    seen: String,
    done: usize,
    /// The terminal's name here.
    name: String,
    /// A folder for the settings before and after.
    folder: PathBuf,
}

impl Screen {
    fn open(arch: Arch) -> Result<Screen> {
        let folder = std::env::temp_dir().join(format!("kstack-terminal-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let xtask = std::env::current_exe()?;
        let at = |name: &str| quoted(&folder.join(name));
        let commands = format!(
            "stty rows 40 cols 100; tty; stty -g >{}; {} run --arch {arch} --cpus 2 -- busybox sh; \
             echo ended with $?; stty -g >{}; echo all",
            at("before"),
            quoted(&xtask),
            at("after")
        );
        let mut script = Command::new("script")
            .args(["-q", "-f", "-c", &commands, "/dev/null"])
            .current_dir(workspace::root())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .context("cannot start `script` (of the package bsdutils)")?;
        let keys = script.stdin.take().context("its input")?;
        let mut output = script.stdout.take().context("its output")?;
        let (to, from) = mpsc::channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                if to.send(bytes[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        let (seen, name) = (String::new(), String::new());
        let mut screen = Screen { script, keys, from, seen, done: 0, name, folder };
        screen.wait("\n")?;
        screen.name = screen.seen.trim().to_owned();
        ensure!(screen.name.starts_with("/dev/"), "no terminal: {}", screen.name);
        Ok(screen)
    }

    fn types(&mut self, keys: &str) -> Result<()> {
        self.keys.write_all(keys.as_bytes())?;
        Ok(self.keys.flush()?)
    }

    /// Waits until a text is to be seen behind the last one.
    fn wait(&mut self, text: &str) -> Result<()> {
        loop {
            if let Some(at) = self.seen[self.done..].find(text) {
                self.done += at + text.len();
                return Ok(());
            }
            match self.from.recv_timeout(SILENCE) {
                Ok(more) => self.seen.push_str(&String::from_utf8_lossy(&more)),
                Err(_) => bail!("{text:?} was not to be seen"),
            }
        }
    }

    fn tail(&self) -> String {
        let from = self.seen.len().saturating_sub(1500);
        self.seen.get(from..).unwrap_or(&self.seen).escape_debug().to_string()
    }

    /// Gives the terminal another size, as a window does.
    fn resize(&self, rows: u16, columns: u16) -> Result<()> {
        let mut command = Command::new("stty");
        command.args(["-F", &self.name]);
        command.args(["rows", &rows.to_string(), "cols", &columns.to_string()]);
        ensure!(command.status()?.success(), "stty");
        Ok(())
    }

    /// Kills the emulator of the machine on the terminal.
    fn kill_emulator(&self) -> Result<()> {
        let mut parents = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let place = entry?.path();
            let Ok(stat) = fs::read_to_string(place.join("stat")) else { continue };
            // The fields behind the name, which may hold anything.
            let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
            let parent: Option<u32> =
                fields.split_whitespace().nth(1).and_then(|field| field.parse().ok());
            let id: Option<u32> = place.file_name().and_then(|name| name.to_str()?.parse().ok());
            if let (Some(id), Some(parent)) = (id, parent) {
                let line = fs::read(place.join("cmdline")).unwrap_or_default();
                parents.push((id, parent, String::from_utf8_lossy(&line).into_owned()));
            }
        }
        let mut family: Vec<u32> = vec![self.script.id()];
        let mut at = 0;
        while at < family.len() {
            let children = parents.iter().filter(|(_, parent, _)| *parent == family[at]);
            family.extend(children.map(|(id, ..)| *id).collect::<Vec<u32>>());
            at += 1;
        }
        let emulator = parents
            .iter()
            .find(|(id, _, line)| {
                family.contains(id) && line.contains("qemu-system") && line.contains("-initrd")
            })
            .context("no emulator runs below this terminal")?;
        ensure!(Command::new("kill").args(["-KILL", &emulator.0.to_string()]).status()?.success());
        Ok(())
    }

    /// The terminal's settings are those from before, and the command has come to its end.
    fn ends_as_it_began(&mut self) -> Result<()> {
        self.wait("all\r\n")?;
        let read = |name: &str| fs::read_to_string(self.folder.join(name));
        let (before, after) = (read("before")?, read("after")?);
        ensure!(before == after, "the settings were {before} and are {after}");
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // All that is on the terminal ends with it.
        let _ = self.script.kill();
        let _ = self.script.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', "'\\''"))
}
