//! What set-up hands to the commands.

use std::path::PathBuf;

use super::linker::Linker;
use super::toolchain::Toolchain;

/// What is there once set-up has succeeded.
pub(crate) struct Ready {
    /// The compiler for the kernel.
    pub(crate) toolchain: Toolchain,
    /// The linker for the kernel.
    pub(crate) linker: Linker,
    /// The static busybox for the image.
    pub(crate) busybox: PathBuf,
}
