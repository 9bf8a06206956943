//! The names of what the assembly of both trees defines.

/// The name of the word that says which coroutine runs; other versions of this crate in the same
/// program have their own.
macro_rules! word {
    () => {
        concat!("kstack_hosted_current_", env!("CARGO_PKG_VERSION"))
    };
}

/// The name of the return address in `first`.
macro_rules! called {
    () => {
        concat!("kstack_hosted_first_called_", env!("CARGO_PKG_VERSION"))
    };
}

/// Defines the word: zero in a new thread.
macro_rules! thread_local_word {
    () => {
        core::arch::global_asm!(
            ".pushsection .tbss,\"awT\",%nobits",
            concat!(".globl ", $crate::arch::words::word!()),
            concat!(".type ", $crate::arch::words::word!(), ",%object"),
            concat!(".size ", $crate::arch::words::word!(), ",8"),
            ".balign 8",
            concat!($crate::arch::words::word!(), ":"),
            ".zero 8",
            ".popsection",
        );
    };
}

pub(crate) use {called, thread_local_word, word};
