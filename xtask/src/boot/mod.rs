//! One machine from its start to its end: an emulator's command line, the two serial lines, and the
//! way it ended.
//!
//! | file | about |
//! |---|---|
//! | [`qemu`] | a boot in QEMU |
//! | [`linux`] | a boot of the distribution's kernel in QEMU, with the image that ours is given |
//! | [`bochs`] | a boot in Bochs, through an option ROM of ours |
//! | [`control`] | the lines that the kernel sends to the host |
//! | [`input`] | a program's input that is no terminal, to its end |
//! | [`terminal`] | a program's keys and screen: this terminal, raw while the kernel runs |
//! | [`first_hart`] | which hart of a riscv64 machine starts |
//!
//! May import `build`, `setup`; what the lines amount to is `proof`'s.

pub(crate) mod bochs;
pub(crate) mod control;
pub(crate) mod first_hart;
pub(crate) mod input;
pub(crate) mod linux;
pub(crate) mod qemu;
pub(crate) mod terminal;
