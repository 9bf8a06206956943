//! The examples: kernels and programs that are not ours in style and adopt the library. Each is a
//! workspace of its own, built from the packages as they would be published.
//!
//! ```text
//!   target/kstack/packages/{kstack,kstack-core}   packed and unpacked by set-up (`setup::library`)
//!         ↑ [patch.crates-io] of each example
//!   examples/NAME/    its own flags (.cargo/config.toml), lock file, linker script
//!       expected/     what each of its programs says, in this order; other lines may stand between; `*` is anything
//! ```
//!
//! What an example needs of the library stands between marks, which are counted here: a limit that
//! only a reviewer knows is passed one line at a time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::arch::{Arch, Control};
use crate::boot::qemu;
use crate::progress::{self, Activity};
use crate::proof::emulated::Verdict;
use crate::setup::{self, Ready, library};
use crate::workspace;

/// Where an example runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Place {
    /// As a process of this machine.
    Host,
    /// As the kernel of an emulated machine.
    Emulated(Arch),
}

/// One example.
#[derive(Debug)]
pub(crate) struct Example {
    /// Its folder below `examples`.
    pub(crate) name: &'static str,
    /// Where it runs.
    pub(crate) place: Place,
    /// The ids of the catalogue's rows that it shows, as a test's name begins.
    ids: &'static str,
    /// Lines of glue at most.
    max_glue: usize,
    /// Its programs; the first is the one with the whole library, named like the example.
    programs: &'static [&'static str],
}

const EXAMPLES: &[Example] = &[
    Example {
        name: "guest-x86_64",
        place: Place::Emulated(Arch::X86_64),
        ids: "l1_n6",
        max_glue: 60,
        programs: &[
            "guest-x86_64",
            "before",
            "step1_guarded",
            "step2_named",
            "step3_survived",
            "step4_irq_stack",
            "breaches",
            "own_tables",
        ],
    },
    Example {
        name: "guest-riscv64",
        place: Place::Emulated(Arch::Riscv64),
        ids: "",
        max_glue: 60,
        programs: &["guest-riscv64", "before"],
    },
    Example {
        name: "guest-arm64",
        place: Place::Emulated(Arch::Arm64),
        ids: "",
        max_glue: 60,
        programs: &["guest-arm64"],
    },
    Example {
        name: "guest-i386",
        place: Place::Emulated(Arch::I386),
        ids: "",
        max_glue: 60,
        programs: &["guest-i386"],
    },
    Example {
        name: "guest-arm32",
        place: Place::Emulated(Arch::Arm32),
        ids: "l1_n6",
        max_glue: 60,
        programs: &["guest-arm32"],
    },
    Example {
        name: "pool-only",
        place: Place::Host,
        ids: "l1",
        max_glue: 29,
        programs: &["pool-only"],
    },
    Example {
        name: "switch-only",
        place: Place::Host,
        ids: "l1",
        max_glue: 29,
        programs: &["switch-only"],
    },
    Example {
        name: "unwinder-only",
        place: Place::Host,
        ids: "l1",
        max_glue: 29,
        programs: &["unwinder-only"],
    },
];

const BEGIN: &str = "// kstack glue: begin";
const END: &str = "// kstack glue: end";
/// At the end of a single line of glue among others.
const ONE_LINE: &str = "; // kstack glue";
/// How long an example may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a kernel that found everything as it should be ends the emulator with.
const SUCCESS: i32 = 33;

impl Example {
    /// The example with this name.
    pub(crate) fn parse(name: &str) -> Result<&'static Example, String> {
        EXAMPLES.iter().find(|example| example.name == name).ok_or_else(|| {
            let names: Vec<&str> = EXAMPLES.iter().map(|example| example.name).collect();
            format!("there is no such example; there is {}", names.join(", "))
        })
    }

    fn folder(&self) -> PathBuf {
        workspace::root().join("examples").join(self.name)
    }

    /// Where it is built.
    fn output(&self) -> Result<PathBuf> {
        let output = match self.place {
            Place::Host => workspace::output()?,
            Place::Emulated(arch) => workspace::output_for(arch.name())?,
        };
        Ok(output.join("examples"))
    }

    /// What a program of it says.
    fn expected(&self, program: &str) -> PathBuf {
        self.folder().join("expected").join(format!("{program}.txt"))
    }

    /// The name of a test of it.
    fn test(&self, what: &str) -> String {
        let name = self.name.replace('-', "_");
        let ids = if self.ids.is_empty() { String::new() } else { format!("{}_", self.ids) };
        format!("{ids}{name}_{what}")
    }

    /// A cargo that works on it for where it runs.
    fn cargo(&self, subcommand: &str, ready: Option<&Ready>) -> Result<Command> {
        let mut cargo = match self.place {
            Place::Host => workspace::cargo(subcommand),
            Place::Emulated(arch) => {
                let ready = ready.context("an emulated example needs a target's compiler")?;
                let mut cargo = if subcommand == "clippy" {
                    ready.toolchain.tool(&setup::clippy(&ready.toolchain)?)
                } else {
                    ready.toolchain.cargo()
                };
                // Beside its own flags: which compiler, core and linker there are is this
                // machine's.
                let sysroot = ready.toolchain.sysroot.iter();
                let flags: Vec<String> = sysroot
                    .map(|path| format!("--sysroot={}", path.display()))
                    .chain(ready.linker.flags())
                    .collect();
                let target = arch.target();
                cargo.args([subcommand, "--target", target]).arg("--config");
                cargo.arg(format!("target.{target}.rustflags={flags:?}"));
                cargo
            }
        };
        cargo
            .args(["--release", "--quiet", "--target-dir"])
            .arg(self.output()?)
            .current_dir(self.folder())
            .stdin(Stdio::null());
        Ok(cargo)
    }

    /// Builds one of its programs.
    fn build(&self, program: &str, ready: Option<&Ready>) -> Result<PathBuf> {
        let mut cargo = self.cargo("build", ready)?;
        cargo.args(["--bin", program]);
        let mut path = self.output()?;
        if let Place::Emulated(arch) = self.place {
            path.push(arch.target());
        }
        progress::command(&format!("Building {program} of examples/{}", self.name), &mut cargo)?;
        Ok(path.join("release").join(program))
    }

    /// The command that runs a built program.
    fn command(&self, program: &Path) -> Result<Command> {
        let Place::Emulated(arch) = self.place else { return Ok(Command::new(program)) };
        let emulator = setup::emulator(arch)?;
        let mut command = qemu::tied(&emulator);
        if arch.description().control == Control::Semihosting {
            // How such a machine ends with a status.
            command.args(["-semihosting-config", "enable=on,target=native"]);
        }
        command
            // On the board's disk there has to be something: these kernels do not look at it.
            .args(qemu::machine(arch.board(), &emulator, program, None)?)
            .args(["-display", "none", "-nodefaults", "-no-reboot", "-m", "256M"])
            .args(["-serial", "stdio", "-kernel"])
            .arg(program);
        Ok(command)
    }

    const fn success(&self) -> i32 {
        match self.place {
            Place::Host => 0,
            Place::Emulated(_) => SUCCESS,
        }
    }
}

/// `cargo xtask run --example NAME`
pub(crate) fn run(example: &'static Example) -> Result<ExitCode> {
    library::pack()?;
    let ready = match example.place {
        Place::Host => None,
        Place::Emulated(arch) => Some(setup::ensure(arch)?),
    };
    let program = example.build(example.name, ready.as_ref())?;
    let glue = glue_of(example)?;
    eprintln!("examples/{}: {glue} lines of glue, {} at most", example.name, example.max_glue);
    let status = example.command(&program)?.status().context("it does not start")?;
    ensure!(status.code() == Some(example.success()), "the example ended with {status}");
    Ok(ExitCode::SUCCESS)
}

/// Clippy over the examples that run at `place`, each with its name.
pub(crate) fn clippy(place: Place, ready: Option<&Ready>) -> Result<Vec<(String, Command)>> {
    let here = EXAMPLES.iter().filter(|example| example.place == place);
    here.map(|example| {
        let mut clippy = example.cargo("clippy", ready)?;
        clippy.args(["--bins", "--", "-D", "warnings"]);
        Ok((format!("clippy on examples/{}", example.name), clippy))
    })
    .collect()
}

/// What a test does.
type Check<'a> = Box<dyn FnOnce() -> Result<()> + 'a>;

/// Tests of the examples that run at `place`: each builds from the packages, says what is expected,
/// and has no more glue than it may.
pub(crate) fn test(place: Place, ready: Option<&Ready>, filter: Option<&str>) -> Vec<Verdict> {
    let chosen =
        |name: &str| filter.is_none_or(|filter| filter.split(',').any(|part| name.contains(part)));
    let mut tests: Vec<(String, Check<'_>)> = Vec::new();
    for example in EXAMPLES.iter().filter(|example| example.place == place) {
        let limit = example.max_glue;
        let name = example.test(&format!("has_at_most_{limit}_lines_of_glue"));
        tests.push((name, Box::new(move || check_glue(example))));
        for &program in example.programs {
            let what = if program == example.name { "works" } else { program };
            tests.push((example.test(what), Box::new(move || check_run(example, program, ready))));
        }
    }
    tests.retain(|(name, _)| chosen(name));
    if tests.is_empty() {
        return Vec::new();
    }
    eprintln!("Examples");
    let packed = library::pack();
    let verdict = |(name, test): (String, Check<'_>)| {
        let result = match &packed {
            Ok(()) => test(),
            Err(error) => Err(anyhow::anyhow!("the library cannot be packed: {error:#}")),
        };
        match result {
            Ok(()) => Verdict { name, failure: None },
            Err(error) => {
                println!("FAILED  {name}: {error:#}");
                Verdict::failed(name, format!("{error:#}"))
            }
        }
    };
    tests.into_iter().map(verdict).collect()
}

fn check_glue(example: &Example) -> Result<()> {
    let lines = glue_of(example)?;
    println!("examples/{}: {lines} lines of glue", example.name);
    ensure!(lines <= example.max_glue, "{lines} lines of glue, {} at most", example.max_glue);
    Ok(())
}

fn check_run(example: &Example, program: &str, ready: Option<&Ready>) -> Result<()> {
    let built = example.build(program, ready)?;
    let log = workspace::logs()?.join(format!("example-{}-{program}.log", example.name));
    let mut command = example.command(&built)?;
    let said = fs::File::create(&log)?;
    command.stdin(Stdio::null()).stderr(said.try_clone()?).stdout(said);
    let activity = Activity::start(format!("Running {program} of examples/{}", example.name));
    let mut child = command.spawn().context("it does not start")?;
    let began = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if began.elapsed() > PATIENCE {
            child.kill()?;
            child.wait()?;
            break None;
        }
        thread::sleep(Duration::from_millis(10));
    };
    activity.done();
    let said = String::from_utf8_lossy(&fs::read(&log)?).replace('\r', "");
    let shown = progress::tail(&said, 60);
    let Some(status) = status else { bail!("it did not end in {PATIENCE:?}:\n{shown}") };
    ensure!(status.code() == Some(example.success()), "it ended with {status}:\n{shown}");
    let expected = fs::read_to_string(example.expected(program))?;
    if let Some(missing) = first_missing(&expected, &said) {
        bail!("it did not say {missing:?} where it should:\n{shown}");
    }
    Ok(())
}

/// The first expected line that is not there after those before it.
fn first_missing<'e>(expected: &'e str, said: &str) -> Option<&'e str> {
    let mut said = said.lines();
    expected.lines().find(|wanted| !said.any(|line| matches(wanted, line)))
}

/// Whether a line is as the pattern says, in which `*` is anything.
fn matches(pattern: &str, line: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else { return pattern == line };
    line.strip_prefix(before).is_some_and(|rest| {
        rest.char_indices()
            .map(|(at, _)| at)
            .chain([rest.len()])
            .any(|at| matches(after, &rest[at..]))
    })
}

/// Lines of glue in the main program of an example: in its own folder's sources, but not in its
/// other programs.
fn glue_of(example: &Example) -> Result<usize> {
    let mut lines = 0;
    let mut folders = vec![example.folder().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in
            fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?
        {
            let path = entry?.path();
            if path.is_dir() {
                // Programs of `bin` are other stages of the same kernel.
                if !path.ends_with("bin") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path)?;
                lines += glue(&text).with_context(|| workspace::shown(&path))?;
            }
        }
    }
    ensure!(lines > 0, "examples/{} has no marks around its glue", example.name);
    Ok(lines)
}

/// Lines between the marks of a source that are neither empty nor comments.
fn glue(text: &str) -> Result<usize> {
    let mut lines = 0;
    let mut inside = false;
    for (number, line) in text.lines().enumerate() {
        match line.trim() {
            BEGIN if !inside => inside = true,
            END if inside => inside = false,
            mark @ (BEGIN | END) => bail!("line {}: {mark:?} without its other half", number + 1),
            code => {
                let counts = inside && !code.is_empty() && !code.starts_with("//");
                lines += usize::from(counts || code.ends_with(ONE_LINE));
            }
        }
    }
    ensure!(!inside, "the glue has no end");
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn glue_is_what_is_code_between_the_marks() {
        let text = "a\n// kstack glue: begin\nb\n\n  // c\n    d // e\n// kstack glue: end\nf\n";
        assert_eq!(glue(text).unwrap(), 2);
        assert_eq!(glue("a\nb; // kstack glue\n").unwrap(), 1);
        assert_eq!(glue("a\n").unwrap(), 0);
        assert!(glue("// kstack glue: begin\na\n").is_err());
        assert!(glue("// kstack glue: end\n").is_err());
        assert!(glue("// kstack glue: begin\n// kstack glue: begin\n").is_err());
    }

    #[test]
    fn every_example_is_in_the_table_and_in_its_folder() {
        let folders = library::examples().unwrap();
        let folders: Vec<_> =
            folders.iter().filter_map(|folder| folder.file_name()?.to_str()).collect();
        let mut known: Vec<&str> = EXAMPLES.iter().map(|example| example.name).collect();
        known.sort_unstable();
        assert_eq!(folders, known);
        for example in EXAMPLES {
            assert_eq!(example.programs[0], example.name);
            for program in example.programs {
                let path = example.expected(program);
                let expected = fs::read_to_string(&path).unwrap_or_default();
                assert!(!expected.trim().is_empty(), "{}", path.display());
            }
            // No program is left out.
            let bin = example.folder().join("src/bin");
            for entry in fs::read_dir(bin).into_iter().flatten().filter_map(Result::ok) {
                let name = entry.file_name().to_string_lossy().into_owned();
                let program = name.strip_suffix(".rs");
                assert!(program.is_none_or(|name| example.programs.contains(&name)), "{name}");
            }
        }
    }

    /// Code in a document is the examples' own: each block of code names a file and stands in it,
    /// line by line. How many there are.
    fn blocks_that_run(text: &str) -> usize {
        let mut blocks = 0;
        for block in text.split("<!-- from ").skip(1) {
            let (file, rest) =
                block.split_once(" -->\n```rust\n").expect("a block follows its file");
            let (code, _) = rest.split_once("\n```").expect("a block ends");
            let source = fs::read_to_string(workspace::root().join(file)).expect(file);
            let trimmed = |text: &str| -> Vec<String> {
                let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
                lines.map(str::to_owned).collect()
            };
            let (code, source) = (trimmed(code), trimmed(&source));
            let is_there = source.windows(code.len()).any(|window| window == code);
            assert!(is_there, "{file} has no such lines:\n{}", code.join("\n"));
            blocks += 1;
        }
        assert_eq!(blocks, text.matches("```rust").count(), "code that names no file");
        blocks
    }

    #[test]
    fn n6_the_front_page_s_code_is_the_code_that_runs() {
        let text = fs::read_to_string(workspace::root().join("README.md")).unwrap();
        assert!(blocks_that_run(&text) >= 2);
        let lines = text.split("```rust\n").skip(1).filter_map(|rest| rest.split("```").next());
        let lines: usize = lines.map(|code| code.lines().count()).sum();
        assert!(lines <= 24, "an integration that is seen at a glance, not {lines} lines");
    }

    #[test]
    fn n6_the_walk_s_code_is_the_code_that_runs() {
        let text = fs::read_to_string(workspace::root().join("docs/adopting.md")).unwrap();
        let blocks = blocks_that_run(&text);
        assert!(blocks >= 5, "{blocks}");
        for program in EXAMPLES[0].programs {
            assert!(text.contains(&format!("`{program}`")), "{program} is not in the walk");
        }
    }

    #[test]
    fn what_is_expected_stands_in_this_order() {
        let said = "one\nand two of 3\nfour\n";
        assert_eq!(first_missing("one\nand * of *\nfour\n", said), None);
        assert_eq!(first_missing("four\none\n", said), Some("one"));
        assert_eq!(first_missing("and two", said), Some("and two"));
        assert_eq!(first_missing("* of 3\n*four", said), None);
        assert_eq!(first_missing("*one*\n*one*", said), Some("*one*"));
    }
}
