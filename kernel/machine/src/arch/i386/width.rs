//! Names of registers and instructions where addresses have 32 bits, for assembly that both PCs
//! share.

/// The stack pointer.
macro_rules! sp {
    () => {
        "esp"
    };
}

/// The frame pointer.
macro_rules! fp {
    () => {
        "ebp"
    };
}

/// What is added to the name of an instruction that keeps addresses of the floating-point unit.
macro_rules! wide {
    () => {
        ""
    };
}

pub(in crate::arch) use {fp, sp, wide};
