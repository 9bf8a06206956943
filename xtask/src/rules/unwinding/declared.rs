//! What the library declares of saved registers, read from its source.

use std::fs;

use anyhow::{Context, Result};

use super::layout::Layout;
use super::machines::Machine;
use crate::workspace;

/// A file of the machine's tree in the library.
pub(super) fn source(machine: &Machine, name: &str) -> Result<String> {
    let path = workspace::root().join("kstack/src/arch").join(machine.name).join(name);
    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// The registers that an entry saves.
pub(super) fn saved_regs(machine: &Machine) -> Result<Layout> {
    Layout::read(&source(machine, "regs.rs")?, "SavedRegs")
}
