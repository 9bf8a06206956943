//! Telling the user what is going on: a spinner on a terminal, plain lines otherwise.
//!
//! Everything here goes to standard error, so that `cargo xtask run -- PROGRAM` leaves standard
//! output to the program. Nothing that takes more than two seconds happens without a line from here.

use std::io::IsTerminal;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

/// Lines of a failed command's output that are shown.
const SHOWN_LINES: usize = 200;

/// A running activity with a name.
pub(crate) struct Activity {
    bar: Option<ProgressBar>,
    message: String,
    since: Instant,
}

impl Activity {
    /// Announces an activity.
    pub(crate) fn start(message: impl Into<String>) -> Self {
        let message = message.into();
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner().with_message(message.clone());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        if bar.is_none() {
            eprintln!("{message} ...");
        }
        Activity { bar, message, since: Instant::now() }
    }

    /// Says what the activity is at now; on a terminal only, since it is not worth a line in a log.
    pub(crate) fn at(&self, detail: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{}: {detail}", self.message));
        }
    }

    /// Prints a line of results on standard output without disturbing the spinner.
    pub(crate) fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| println!("{text}")),
            None => println!("{text}"),
        }
    }

    /// Ends the activity; a line stays behind only if it took long.
    pub(crate) fn done(self) {
        let took = self.since.elapsed();
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        if took >= Duration::from_secs(2) {
            eprintln!("{}: done in {:.1} s", self.message, took.as_secs_f64());
        }
    }
}

/// Runs a command under an activity and gives its standard output; its output is shown only if it
/// fails.
pub(crate) fn command(message: &str, command: &mut Command) -> Result<String> {
    let activity = Activity::start(message);
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{message}: cannot start {}", command.get_program().display()))?;
    activity.done();
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    bail!("{message} failed ({}):\n{}", output.status, tail(&text, SHOWN_LINES))
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
}
