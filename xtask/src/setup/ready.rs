//! What set-up hands to the commands.

use std::path::{Path, PathBuf};

use super::linker::Linker;
use super::toolchain::Toolchain;
use crate::variant::Variant;

/// What is there once set-up has succeeded.
pub(crate) struct Ready {
    /// The compiler for the kernel.
    pub(crate) toolchain: Toolchain,
    /// The linker for the kernel.
    pub(crate) linker: Linker,
    /// The static busybox for the image.
    pub(crate) busybox: PathBuf,
    /// Core and alloc for variants of the kernel: each in a sysroot, with the target's description.
    pub(crate) variants: Vec<(Variant, PathBuf)>,
}

impl Ready {
    /// Where core and alloc of a variant are.
    pub(crate) fn sysroot_of(&self, variant: Variant) -> Option<&Path> {
        if variant == Variant::Usual {
            return self.toolchain.sysroot.as_deref();
        }
        self.variants.iter().find(|(one, _)| *one == variant).map(|(_, path)| path.as_path())
    }
}
