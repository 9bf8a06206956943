//! What the kernel proves, on the machine it runs on. One table; a test's name starts with the catalogue's ids it shows.
//!
//! Most tests share one boot. A test that stops the machine has a boot of its own: it declares what the report must say
//! (`expect_stop`), and whoever runs the machine compares.

use crate::arch::power::{self, End};
use alloc::string::String;

/// What a test says: nothing, or what was wrong.
pub type Outcome = Result<(), String>;

/// Whether a test needs a machine of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Boot {
    Shared,
    Own,
}

struct Test {
    name: &'static str,
    boot: Boot,
    run: fn() -> Outcome,
}

macro_rules! table {
    (shared: [$($shared_in:ident :: $shared:ident),* $(,)?], own: [$($own_in:ident :: $own:ident),* $(,)?]) => {
        const TESTS: &[Test] = &[
            $(Test { name: stringify!($shared), boot: Boot::Shared, run: $shared_in::$shared },)*
            $(Test { name: stringify!($own), boot: Boot::Own, run: $own_in::$own },)*
        ];
    };
}

/// Fails the test with a message unless the condition holds.
macro_rules! check {
    ($condition:expr, $($message:tt)*) => {
        if !$condition {
            return Err(alloc::format!($($message)*));
        }
    };
}
pub(crate) use check;

table! {
    shared: [
    ],
    own: [
    ]
}

/// Names all tests on the control channel.
pub fn list() {
    for test in TESTS {
        let boot = if test.boot == Boot::Shared { "shared" } else { "own" };
        control!("list {} boot={boot}", test.name);
    }
    control!("end");
}

/// Runs the tests named, separated by commas, or `all` that share a boot.
pub fn run(names: &str) {
    let chosen = |test: &&Test| {
        if names == "all" {
            test.boot == Boot::Shared
        } else {
            names.split(',').any(|name| name == test.name)
        }
    };
    let (mut passed, mut failed) = (0, 0);
    for test in TESTS.iter().filter(chosen) {
        log!("test {}", test.name);
        control!("test start {}", test.name);
        match (test.run)() {
            Ok(()) => {
                passed += 1;
                control!("test pass {}", test.name);
            }
            Err(message) => {
                failed += 1;
                log!("test {} failed: {message}", test.name);
                control!("test fail {}: {message}", test.name);
            }
        }
    }
    log!("{passed} passed, {failed} failed");
    control!("end");
    power::end(End::Orderly)
}
