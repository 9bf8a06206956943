//! What a test is, and how tests are said: a table of them, and what they check.

use alloc::string::String;

/// What a test says: nothing, or what was wrong.
pub type Outcome = Result<(), String>;

/// Whether a test needs a machine of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tests) enum Boot {
    /// The machine that it shares with most.
    Shared,
    /// One of its own.
    Own,
    /// Of its own, with one CPU, whose time counts instructions.
    Counted,
}

pub(in crate::tests) struct Test {
    pub(in crate::tests) name: &'static str,
    pub(in crate::tests) boot: Boot,
    pub(in crate::tests) run: fn() -> Outcome,
}

/// Makes a table of tests under a name.
macro_rules! table {
    ($table:ident, shared: [$($shared_in:ident :: $shared:ident),* $(,)?], own: [$($own_in:ident :: $own:ident),* $(,)?]
     $(, counted: [$($counted_in:ident :: $counted:ident),* $(,)?])?) => {
        pub(in crate::tests) const $table: &[$crate::tests::test::Test] = &[
            $($crate::tests::test::Test { name: stringify!($shared), boot: $crate::tests::test::Boot::Shared, run: $shared_in::$shared },)*
            $($crate::tests::test::Test { name: stringify!($own), boot: $crate::tests::test::Boot::Own, run: $own_in::$own },)*
            $($($crate::tests::test::Test { name: stringify!($counted), boot: $crate::tests::test::Boot::Counted, run: $counted_in::$counted },)*)?
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
pub(crate) use table;
