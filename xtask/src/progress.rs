//! Telling the user what happens: a spinner on a terminal, plain lines otherwise.
//!
//! Everything here is printed on standard error, so that `cargo xtask run -- PROGRAM` leaves
//! standard output to the program. An activity that ends within a second prints nothing; anything
//! that takes more than two seconds has a line from here. With `-v` ([`set_verbose`]) every
//! activity has its line.

use std::io::{IsTerminal, Read};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// Lines of a failed command's output that are shown.
const SHOWN_LINES: usize = 200;
/// How long an activity stays silent: one that ends sooner is not worth a line.
const SILENT: Duration = Duration::from_secs(1);
/// How often an activity without a terminal prints what it is at.
const BETWEEN_LINES: Duration = Duration::from_secs(10);
/// How often a watched command is looked at.
const POLL: Duration = Duration::from_millis(100);

static VERBOSE: AtomicBool = AtomicBool::new(false);

/// Those of activities at one time, each on its line.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// From now on, every activity and every check prints a line.
pub(crate) fn set_verbose() {
    VERBOSE.store(true, Ordering::Relaxed);
}

/// Prints a line on standard error, if the user asked for all of them.
pub(crate) fn detail(text: impl FnOnce() -> String) {
    if VERBOSE.load(Ordering::Relaxed) {
        eprintln!("{}", text());
    }
}

/// Prints how long something took, if the user asked for every line.
pub(crate) fn took(time: Duration, what: impl FnOnce() -> String) {
    detail(|| format!("{:7.1} s  {}", time.as_secs_f32(), what()));
}

/// A running activity with a name.
pub(crate) struct Activity {
    shown: Shown,
    message: String,
    since: Instant,
}

/// How an activity shows itself.
enum Shown {
    /// A spinner on the terminal.
    Bar(ProgressBar),
    /// Lines, printed by a thread: the name once the activity has lasted, then now and then what it
    /// is at.
    Lines { at: Sender<String>, printer: JoinHandle<bool> },
}

impl Activity {
    /// Begins an activity.
    pub(crate) fn start(message: impl Into<String>) -> Self {
        let message = message.into();
        let shown = if std::io::stderr().is_terminal() {
            let bar = ProgressBar::new_spinner().with_message(message.clone());
            let bar = BARS.add(bar);
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(120));
            Shown::Bar(bar)
        } else {
            let (at, details) = mpsc::channel::<String>();
            let name = message.clone();
            let silent = if VERBOSE.load(Ordering::Relaxed) { Duration::ZERO } else { SILENT };
            let printer = thread::spawn(move || {
                let mut next = Instant::now() + silent;
                let (mut said, mut latest) = (false, None);
                loop {
                    match details.recv_timeout(next.saturating_duration_since(Instant::now())) {
                        Ok(detail) => latest = Some(detail),
                        Err(RecvTimeoutError::Timeout) => {
                            match latest.take() {
                                None if !said => eprintln!("{name} ..."),
                                None => {}
                                Some(detail) => eprintln!("{name}: {detail}"),
                            }
                            said = true;
                            next = Instant::now() + BETWEEN_LINES;
                        }
                        Err(RecvTimeoutError::Disconnected) => return said,
                    }
                }
            });
            Shown::Lines { at, printer }
        };
        Activity { shown, message, since: Instant::now() }
    }

    /// Says what the activity is at now.
    pub(crate) fn at(&self, detail: &str) {
        match &self.shown {
            Shown::Bar(bar) => bar.set_message(format!("{}: {detail}", self.message)),
            // An error is a printer that has gone, and with it the reader.
            Shown::Lines { at, .. } => drop(at.send(detail.to_owned())),
        }
    }

    /// Prints a line of results on standard output without disturbing the spinner.
    pub(crate) fn line(&self, text: &str) {
        match &self.shown {
            Shown::Bar(_) => BARS.suspend(|| println!("{text}")),
            Shown::Lines { .. } => println!("{text}"),
        }
    }

    /// Ends the activity; a line stays behind only if it took long.
    pub(crate) fn done(self) {
        let took = self.since.elapsed();
        match self.shown {
            Shown::Bar(bar) => bar.finish_and_clear(),
            Shown::Lines { at, printer } => {
                drop(at);
                // A printer that panicked has printed why.
                let _ = printer.join();
            }
        }
        if took >= Duration::from_secs(2) {
            eprintln!("{}: done in {:.1} s", self.message, took.as_secs_f64());
        }
    }
}

/// Runs a command under an activity and gives its standard output; its output is shown only if it
/// fails.
pub(crate) fn command(message: &str, command: &mut Command) -> Result<String> {
    watched(message, command, || None)
}

/// Runs a command under an activity that shows what `detail` finds, and gives its standard output.
pub(crate) fn watched(
    message: &str,
    command: &mut Command,
    mut detail: impl FnMut() -> Option<String>,
) -> Result<String> {
    let activity = Activity::start(message);
    let output = output(command, || {
        if let Some(detail) = detail() {
            activity.at(&detail);
        }
    })
    .with_context(|| format!("{message}: cannot start {}", command.get_program().display()))?;
    activity.done();
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    bail!("{message} failed ({}):\n{}", output.status, tail(&text, SHOWN_LINES))
}

/// Runs a command to its end, calling `now_and_then` while it runs.
fn output(command: &mut Command, mut now_and_then: impl FnMut()) -> std::io::Result<Output> {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let (out, err) = (thread::spawn(|| whole(out)), thread::spawn(|| whole(err)));
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        now_and_then();
        thread::sleep(POLL);
    };
    let text = |reader: JoinHandle<Vec<u8>>| reader.join().unwrap_or_default();
    Ok(Output { status, stdout: text(out), stderr: text(err) })
}

fn whole(from: Option<impl Read>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(mut from) = from {
        // What was read before an error is what there is to show.
        let _ = from.read_to_end(&mut bytes);
    }
    bytes
}

/// Runs a short command silently and gives its standard output.
pub(crate) fn quiet(command: &mut Command) -> Result<String> {
    let name = command.get_program().display().to_string();
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {name}"))?;
    if !output.status.success() {
        bail!(
            "{name} failed ({}): {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The last lines of a text.
pub(crate) fn tail(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// A number of bytes as people read it.
pub(crate) fn megabytes(bytes: u64) -> String {
    if bytes < 10_000_000 {
        format!("{:.1} MB", bytes as f64 / 1e6)
    } else {
        format!("{} MB", bytes / 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_keeps_the_last_lines_in_order() {
        assert_eq!(tail("a\nb\nc\n", 2), "b\nc");
        assert_eq!(tail("a\nb", 5), "a\nb");
        assert_eq!(tail("", 3), "");
    }

    #[test]
    fn a_failing_command_shows_what_it_said() {
        let mut failing = Command::new("sh");
        failing.args(["-c", "echo before; echo reason >&2; exit 3"]);
        let error = command("trying", &mut failing).unwrap_err().to_string();
        assert!(error.contains("reason") && error.contains("before"), "{error}");
        assert!(error.contains("exit status: 3"), "{error}");
    }

    #[test]
    fn a_command_that_says_much_does_not_wait_for_its_reader() {
        let mut loud = Command::new("sh");
        loud.args(["-c", "head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2"]);
        assert_eq!(command("reading", &mut loud).unwrap().len(), 300_000);
    }

    #[test]
    fn sizes_are_read_by_people() {
        assert_eq!(megabytes(90_400_000), "90 MB");
        assert_eq!(megabytes(1_240_000), "1.2 MB");
    }
}
