//! The list of programs: one after another, each with its packages, its commands and what Linux
//! answered.
//!
//! ```text
//!   # a remark
//!   == p2_dash_starts_many_children   the test's name, which begins with the rows that it shows
//!   on: x86_64 arm64                  the architectures
//!   with: dash                        packages that it is of
//!   seconds: 30                       how long it may take
//!   $ dash -c 'echo "$((6 * 7))"'     a line of the script; several make one script
//!   = 0                               the status that Linux gave
//!   > 42                              and a line of output that it wrote
//! ```
//!
//! What Linux answered is not written by hand: `cargo xtask programs --linux --record` runs the
//! same scripts in the distribution's kernel, in the same emulator, and writes it.
//!
//! A program of `host-rust:` is built by this machine's compiler for this machine, and runs where
//! that is the architecture.

use std::fmt::Write;

use anyhow::{Context, Result, bail, ensure};

use crate::arch::Arch;

/// One program.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Entry {
    /// Remarks before it, as they stand there.
    pub(super) remarks: Vec<String>,
    /// The test's name.
    pub(crate) name: String,
    /// Where it runs.
    pub(crate) archs: Vec<Arch>,
    /// The packages it is of.
    pub(crate) packages: Vec<String>,
    /// A source that this machine's Rust compiler builds.
    pub(crate) host_rust: Option<String>,
    /// How long it may take on an architecture that is emulated quickly.
    pub(crate) seconds: u64,
    /// The script.
    pub(crate) script: String,
    /// What Linux answered, unless it was not asked yet.
    pub(crate) linux: Option<Answer>,
}

/// What a program did.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Answer {
    /// Its status, as a shell has it.
    pub(crate) status: u8,
    /// What it wrote.
    pub(crate) output: Vec<u8>,
}

impl Answer {
    /// What is different from what Linux answered, as a line to print.
    pub(crate) fn differs_from(&self, linux: &Answer) -> Option<String> {
        if self.status != linux.status {
            let wrote = String::from_utf8_lossy(&self.output);
            let last = wrote.lines().next_back().unwrap_or("nothing");
            return Some(format!(
                "status {} and not {}; it wrote last: {last}",
                self.status, linux.status
            ));
        }
        if self.output == linux.output {
            return None;
        }
        let (here, there) =
            (String::from_utf8_lossy(&self.output), String::from_utf8_lossy(&linux.output));
        let (mut here, mut there) = (here.lines(), there.lines());
        let mut line = 1;
        loop {
            match (here.next(), there.next()) {
                (None, None) => return Some("an output that does not end as Linux's".to_owned()),
                (here, there) if here == there => line += 1,
                (here, there) => {
                    let shown = |line: Option<&str>| match line {
                        Some(line) => format!("\"{line}\""),
                        None => "nothing more".to_owned(),
                    };
                    return Some(format!(
                        "line {line} of the output is {} and not {}",
                        shown(here),
                        shown(there)
                    ));
                }
            }
        }
    }
}

/// Reads a list.
pub(crate) fn parse(text: &str) -> Result<Vec<Entry>> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut remarks = Vec::new();
    for (number, line) in text.lines().enumerate() {
        read_line(line, &mut remarks, &mut entries)
            .with_context(|| format!("line {} of the list of programs: {line}", number + 1))?;
    }
    for entry in &entries {
        ensure!(!entry.archs.is_empty(), "{} runs nowhere", entry.name);
        ensure!(!entry.script.is_empty(), "{} has no script", entry.name);
        ensure!(entry.seconds > 0, "{} has no time", entry.name);
        let same = entries.iter().filter(|other| other.name == entry.name).count();
        ensure!(same == 1, "{} is there twice", entry.name);
    }
    Ok(entries)
}

fn read_line(line: &str, remarks: &mut Vec<String>, entries: &mut Vec<Entry>) -> Result<()> {
    if line.is_empty() || line.starts_with('#') {
        remarks.push(line.to_owned());
        return Ok(());
    }
    if let Some(name) = line.strip_prefix("== ") {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        ensure!(name.bytes().all(fits), "small letters, digits and _");
        let (name, remarks) = (name.to_owned(), std::mem::take(remarks));
        entries.push(Entry { name, remarks, ..Entry::default() });
        return Ok(());
    }
    let entry = entries.last_mut().context("no == before it")?;
    if let Some(names) = line.strip_prefix("on: ") {
        for name in names.split_ascii_whitespace() {
            entry.archs.push(Arch::parse(name).map_err(anyhow::Error::msg)?);
        }
    } else if let Some(packages) = line.strip_prefix("with: ") {
        entry.packages.extend(packages.split_ascii_whitespace().map(str::to_owned));
    } else if let Some(source) = line.strip_prefix("host-rust: ") {
        entry.host_rust = Some(source.to_owned());
    } else if let Some(seconds) = line.strip_prefix("seconds: ") {
        entry.seconds = seconds.parse()?;
    } else if let Some(command) = line.strip_prefix("$ ") {
        ensure!(entry.linux.is_none(), "a command behind what Linux answered");
        entry.script.push_str(command);
        entry.script.push('\n');
    } else if let Some(status) = line.strip_prefix("= ") {
        ensure!(entry.linux.is_none(), "a second status");
        entry.linux = Some(Answer { status: status.parse()?, output: Vec::new() });
    } else if let Some(output) = line.strip_prefix('>') {
        let output = output.strip_prefix(' ').unwrap_or(output);
        let answer = entry.linux.as_mut().context("output without a status before it")?;
        answer.output.extend_from_slice(output.as_bytes());
        answer.output.push(b'\n');
    } else {
        bail!("begins with none of == on: with: host-rust: seconds: $ = > #");
    }
    Ok(())
}

/// Writes a list as [`parse`] reads it.
pub(crate) fn text(entries: &[Entry]) -> Result<String> {
    let mut text = String::new();
    for entry in entries {
        for remark in &entry.remarks {
            let _ = writeln!(text, "{remark}");
        }
        let _ = writeln!(text, "== {}", entry.name);
        let names: Vec<&str> = entry.archs.iter().map(|arch| arch.name()).collect();
        let _ = writeln!(text, "on: {}", names.join(" "));
        if !entry.packages.is_empty() {
            let _ = writeln!(text, "with: {}", entry.packages.join(" "));
        }
        if let Some(source) = &entry.host_rust {
            let _ = writeln!(text, "host-rust: {source}");
        }
        let _ = writeln!(text, "seconds: {}", entry.seconds);
        for line in entry.script.lines() {
            let _ = writeln!(text, "$ {line}");
        }
        let Some(Answer { status, output }) = &entry.linux else { continue };
        let _ = writeln!(text, "= {status}");
        let output = std::str::from_utf8(output)
            .with_context(|| format!("{} writes what is no text", entry.name))?;
        ensure!(
            output.is_empty() || output.ends_with('\n'),
            "{} ends its output in the middle of a line: add an echo",
            entry.name
        );
        for line in output.lines() {
            let _ = writeln!(text, ">{}{line}", if line.is_empty() { "" } else { " " });
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "\
# First remark

== p1_one
on: x86_64 arm64
with: dash coreutils
seconds: 30
$ echo a
$ echo
= 0
> a
>

== p2_two
on: riscv64
host-rust: overflow.rs
seconds: 5
$ false
";

    #[test]
    fn a_list_is_read_and_written_as_it_was() {
        let entries = parse(LIST).unwrap();
        assert_eq!(text(&entries).unwrap(), LIST);
        assert_eq!(entries[0].archs, [Arch::X86_64, Arch::Arm64]);
        assert_eq!(entries[0].packages, ["dash", "coreutils"]);
        assert_eq!(entries[0].script, "echo a\necho\n");
        assert_eq!(entries[0].linux, Some(Answer { status: 0, output: b"a\n\n".to_vec() }));
        assert_eq!(entries[1].linux, None);
        assert_eq!(entries[1].host_rust.as_deref(), Some("overflow.rs"));
    }

    #[test]
    fn a_wrong_list_is_told_by_its_line() {
        for (text, told) in [
            ("on: x86_64\n", "no == before it"),
            ("== p1\n? x\n", "begins with none of"),
            ("== p1\non: vax\n", "no such architecture"),
            ("== P1\n", "small letters"),
            ("== p1\n> x\n", "without a status"),
            ("== p1\n= 0\n$ x\n", "behind what Linux answered"),
            ("== p1\nseconds: 1\n$ x\n", "runs nowhere"),
            ("== p1\non: x86_64\nseconds: 1\n", "no script"),
            ("== p1\non: x86_64\n$ x\n", "no time"),
        ] {
            let error = format!("{:#}", parse(text).unwrap_err());
            assert!(error.contains(told), "{text:?}: {error}");
        }
        let twice = LIST.replace("p2_two", "p1_one");
        assert!(parse(&twice).unwrap_err().to_string().contains("twice"));
    }

    #[test]
    fn an_answer_counts_by_its_status_and_by_every_byte() {
        let linux = Answer { status: 1, output: b"a\nb\n".to_vec() };
        let differs = |status, output: &[u8]| {
            Answer { status, output: output.to_vec() }.differs_from(&linux).unwrap_or_default()
        };
        assert_eq!(differs(1, b"a\nb\n"), "");
        assert_eq!(differs(139, b"a\n"), "status 139 and not 1; it wrote last: a");
        assert_eq!(differs(1, b"a\nc\n"), "line 2 of the output is \"c\" and not \"b\"");
        assert_eq!(differs(1, b"a\n"), "line 2 of the output is nothing more and not \"b\"");
        assert_eq!(differs(1, b"a\nb\nc"), "line 3 of the output is \"c\" and not nothing more");
        assert_eq!(differs(1, b"a\nb"), "an output that does not end as Linux's");
    }
}
