//! What a run shows: from what machines and host tests say to verdicts, the conformance matrix and
//! figures.
//!
//! | file | about |
//! |---|---|
//! | [`emulated`] | tests inside emulated machines, and [`expectation`]: deaths that must report what the test expects |
//! | [`boards`] | boards, CPU models, memory sizes: each boots, or says what it lacks |
//! | [`examples`] | the library's adopters: each builds from the packages, and does what it says |
//! | [`programs`] | programs of the distribution: each does what it does in Linux |
//! | [`terminals`] | a person at a terminal of this machine, with a shell in the kernel |
//! | [`tour`] | the kernel's questions about stacks, answered, as pages with pictures |
//! | [`host_tests`] | tests and models on this machine |
//! | [`matrix`] | all verdicts as the catalogue's rows by columns |
//! | [`figures`] | what benches count, for tables |
//! | [`pages`] | the pages below `docs` that hold matrix and figures |
//! | [`baseline`] | which figures must be reached, and the work of Linux beside each |
//! | [`against`] | that work measured in both kernels, as a table and a chart |
//!
//! May import `boot`, `build`, `rules`, `setup`; a file here knows verdicts, but not which command
//! asks for them.

pub(crate) mod against;
pub(crate) mod baseline;
pub(crate) mod boards;
pub(crate) mod emulated;
pub(crate) mod examples;
pub(crate) mod expectation;
pub(crate) mod figures;
pub(crate) mod host_tests;
pub(crate) mod matrix;
pub(crate) mod pages;
pub(crate) mod programs;
pub(crate) mod terminals;
pub(crate) mod tour;
