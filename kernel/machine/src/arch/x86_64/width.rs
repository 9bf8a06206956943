//! Names of registers and instructions where addresses have 64 bits, for assembly that both PCs
//! share.

/// The stack pointer.
macro_rules! sp {
    () => {
        "rsp"
    };
}

/// The frame pointer.
macro_rules! fp {
    () => {
        "rbp"
    };
}

/// What is added to the name of an instruction that keeps addresses of the floating-point unit.
macro_rules! wide {
    () => {
        "64"
    };
}

pub(in crate::arch) use {fp, sp, wide};
