//! Where descriptions of stack frames begin: call frame information, by which a debugger unwinds.
//!
//! The assembly of the trees says after each instruction that matters where the interrupted or
//! calling frame is: the CFA, and the registers that are saved by it (DWARF 5, 6.4). An entry's CFA
//! is the byte past its SavedRegs on every architecture. Where the frame is not known yet, or no
//! longer, the return address is undefined, and a debugger stops there instead of guessing.
//!
//! None of it is loaded: kernels have it in `.debug_frame`. Programs that are built for a system
//! have it in `.eh_frame` too, as all their functions.

/// Begins the description of a function that is called.
#[cfg(all(target_os = "none", panic = "abort"))]
macro_rules! called {
    () => {
        "
        .cfi_sections .debug_frame
        .cfi_startproc
        "
    };
}
#[cfg(not(all(target_os = "none", panic = "abort")))]
macro_rules! called {
    () => {
        "
        .cfi_sections .eh_frame, .debug_frame
        .cfi_startproc
        "
    };
}

/// Begins the description of code that the CPU enters by itself, as a signal handler: the address
/// that it interrupted is that of the next instruction, not of one past a call. LLVM's assembler
/// writes that into `.eh_frame` only; from `.debug_frame`, debuggers look for the interrupted line
/// a byte before it.
#[cfg(feature = "entry")]
macro_rules! interrupted {
    () => {
        concat!($crate::arch::cfi::called!(), ".cfi_signal_frame\n")
    };
}

/// Begins the description of a function that calls on another stack. Debuggers take a caller's
/// stack that lies below its callee's for a broken one, unless a signal's frame is between them;
/// the same holds as for `interrupted!`.
#[cfg(panic = "abort")]
macro_rules! seam {
    () => {
        concat!($crate::arch::cfi::called!(), ".cfi_signal_frame\n")
    };
}
#[cfg(not(panic = "abort"))]
macro_rules! seam {
    () => {
        $crate::arch::cfi::called!()
    };
}

#[cfg(feature = "entry")]
pub(super) use interrupted;
pub(super) use {called, seam};
