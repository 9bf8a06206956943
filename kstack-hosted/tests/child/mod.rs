//! Tests that must die run in a child process: the same test program, asked for the same test.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};

/// The variable that makes a test the child.
const CHILD: &str = "KSTACK_HOSTED_CHILD";

/// What became of the child, both times.
pub(crate) struct Child {
    ends: Vec<(ExitStatus, String)>,
}

/// Runs `body` in a child process, twice. `test` is the test that calls this.
pub(crate) fn in_child(test: &str, body: impl FnOnce()) -> Child {
    if std::env::var_os(CHILD).is_some_and(|name| name == test) {
        body();
        std::process::exit(99);
    }
    let ends = (0..2).map(|_| {
        let program = std::env::current_exe().expect("a program");
        let mut command = match std::env::var("KSTACK_HOSTED_RUNNER") {
            // An emulator of another architecture does not start programs in itself by itself.
            Ok(runner) => {
                let mut words = runner.split(' ');
                let mut command = Command::new(words.next().unwrap_or_default());
                command.args(words).arg(program);
                command
            }
            Err(_) => Command::new(program),
        };
        let output = command
            .args(["--exact", test, "--nocapture", "--test-threads=1"])
            .env(CHILD, test)
            .output()
            .expect("it starts");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status, text)
    });
    Child { ends: ends.collect() }
}

impl Child {
    /// A child that ended like this.
    pub(crate) fn of_status(status: ExitStatus, text: &str) -> Self {
        Self { ends: vec![(status, text.to_owned())] }
    }

    /// What the last one wrote to standard error.
    pub(crate) fn text(&self) -> &str {
        self.ends.last().map_or("", |(_, text)| text)
    }

    /// Each died of this signal and wrote this.
    pub(crate) fn dies_of(&self, signal: i32, text: &str) {
        for (status, written) in &self.ends {
            assert_eq!(status.signal(), Some(signal), "{status}:\n{written}");
            assert!(written.contains(text), "{written}");
        }
    }

    /// Each ended with this code and wrote this.
    pub(crate) fn exits_with(&self, code: i32, text: &str) {
        for (status, written) in &self.ends {
            assert_eq!(status.code(), Some(code), "{status}:\n{written}");
            assert!(written.contains(text), "{written}");
        }
    }
}

/// Reads a byte at an address that nothing is at.
#[inline(never)]
pub(crate) fn read(address: usize) -> u8 {
    // SAFETY: (1) it faults, which is what is tested.
    unsafe { (std::hint::black_box(address) as *const u8).read_volatile() }
}
