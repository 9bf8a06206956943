//! What a machine is given: the kernel, in the form its machine starts, and the files that it
//! finds.
//!
//! | file | about |
//! |---|---|
//! | [`kernel`] | the reference kernel, built and checked by [`crate::rules`] |
//! | [`image`] | its form for a machine |
//! | [`user`] | our own user programs |
//! | [`symbols`] | functions by address |
//! | [`initramfs`] | all of it as a cpio archive |
//! | [`module`] | a module for the distribution's kernel |
//!
//! May import `rules`, `setup`; nothing here starts a machine.

mod applets;
pub(crate) mod image;
pub(crate) mod initramfs;
pub(crate) mod kernel;
pub(crate) mod module;
pub(crate) mod symbols;
pub(crate) mod user;
