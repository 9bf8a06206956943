//! What debuggers unwind kernels by: the call frame information of the library's assembly.
//!
//! Nothing the kernel does needs it, so no other test fails where it is wrong; a debugger shows
//! frames that are none. Compilers write it for functions; for assembly a person does, away from
//! where the layout is declared. So every build reads `.debug_frame` back and compares it with the
//! fields of `SavedRegs` and `SwitchFrame` in their order:
//!
//! | at | red unless |
//! | --- | --- |
//! | the resumption of a switched-out thread | the CFA is the end of its `SwitchFrame`, and each register is where the field is |
//! | each call of an entry | the CFA is the end of `SavedRegs`, and each register is where the field is |
//! | the call on another stack | the frame record of the old stack is found, through the frame pointer |
//! | the starts of stacks | the return address is undefined: a backtrace ends there |
//! | the image | it has no `.eh_frame`, which would be loaded |
//!
//! What the library reads of a function's code is held against the table of frames where kernels
//! are tested ([`check_reading`]).

mod declared;
mod frames;
mod layout;
mod machines;
mod reading;
mod table;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use declared::{saved_regs, source};
use frames::{Description, Function, Rule};
use kstack_core::unwind::frames::Frames;
use layout::Layout;
use machines::Machine;
use object::{Architecture, Object, ObjectSection};
pub(crate) use table::table;

/// Bytes of the registers that an entry saves.
pub(super) fn saved_bytes(architecture: Architecture) -> Result<u64> {
    let machine = machines::of(architecture).context("an unknown machine")?;
    Ok(u64::try_from(saved_regs(machine)?.size)?)
}

/// A file of the architecture's tree in the library.
pub(super) fn source_of(architecture: Architecture, file: &str) -> Result<String> {
    source(machines::of(architecture).context("an unknown machine")?, file)
}

/// Where a thread that was switched out continues, in every tree.
const RESUME: &str = "kstack_switch_resume";

/// Looks at a kernel's ELF image. An error names the place, what is described there, and what
/// should be.
pub(crate) fn check(kernel: &Path) -> Result<()> {
    let bytes = fs::read(kernel).with_context(|| format!("cannot read {}", kernel.display()))?;
    let file = object::File::parse(&*bytes)
        .with_context(|| format!("cannot read {} as ELF", kernel.display()))?;
    ensure!(file.section_by_name(".eh_frame").is_none(), "the kernel loads an .eh_frame");
    let machine = machines::of(file.architecture()).context("a kernel for an unknown machine")?;
    let saved_regs = saved_regs(machine)?;
    let switch_frame = Layout::read(&source(machine, "switch.rs")?, "SwitchFrame")?;
    let section = file.section_by_name(".debug_frame").context("the kernel has no .debug_frame")?;
    let descriptions = frames::read(section.data()?, machine.word)?;
    let functions = frames::functions(&file)?;
    let described =
        |address: u64| descriptions.iter().find(|description| description.contains(address));

    let resume = functions.iter().find(|function| function.name == RESUME);
    let resume = resume.with_context(|| format!("the kernel has no {RESUME}"))?.address;
    let switch = described(resume).with_context(|| format!("{RESUME} is not described"))?;
    hold_switch(machine, &switch_frame, switch, resume)?;

    let named = |path: &str| {
        let name = format!("kstack::arch::{}::{path}", machine.name);
        let found: Vec<&Function> =
            functions.iter().filter(move |function| function.name == name).collect();
        ensure!(!found.is_empty(), "the kernel has no {path}");
        Ok(found)
    };
    for path in machine.entries {
        let mut calls = 0;
        for function in named(path)? {
            let description = described(function.address);
            let description = description.with_context(|| format!("{path} is not described"))?;
            for call in function.calls(file.architecture()) {
                hold_entry(machine, &saved_regs, description, call)
                    .with_context(|| path.to_string())?;
                calls += 1;
            }
        }
        ensure!(calls > 0, "{path} calls nothing: its call was not recognised");
    }
    for function in named("call::call_on_stack")? {
        let description = described(function.address);
        let description = description.context("call_on_stack is not described")?;
        let call = *function.calls(file.architecture()).first().context("it calls nothing")?;
        hold_call_on_stack(machine, description, call)?;
    }
    for path in ["return_path::first_return", "switch::bare_start"] {
        let Ok(found) = named(path) else { continue };
        for function in found {
            let description = described(function.address);
            let description = description.with_context(|| format!("{path} is not described"))?;
            hold_start(description).with_context(|| path.to_owned())?;
        }
    }
    named("return_path::first_return")?;
    Ok(())
}

/// Looks at the instructions of a kernel's ELF image: what the library reads of a function's code
/// must be what the table says. An error names instructions where it is not. Takes seconds.
pub(crate) fn check_reading(kernel: &Path) -> Result<()> {
    let bytes = fs::read(kernel).with_context(|| format!("cannot read {}", kernel.display()))?;
    let file = object::File::parse(&*bytes)
        .with_context(|| format!("cannot read {} as ELF", kernel.display()))?;
    let table = table(kernel)?;
    let table = Frames::new(&table).context("the table of frames is none")?;
    let functions = frames::functions(&file)?;
    // There the library reads nothing: it looks for a mark.
    let entry = table::entry_code(&file)?;
    let outside = functions.iter().filter(|function| !entry.contains(&function.address));
    reading::hold(file.architecture(), outside, &table)
}

/// Whether each register is where the field is, counted from the end of the structure.
fn hold_fields(
    layout: &Layout,
    registers: &[(u16, &'static str, usize)],
    rules: &BTreeMap<u16, Rule>,
) -> Result<()> {
    for &(register, field, number) in registers {
        let expected = layout.offset(field, number)? - layout.size;
        let found = rules.get(&register).copied();
        ensure!(
            found == Some(Rule::At(expected)),
            "register {register} ({field}) is {found:?}, but saved at CFA {expected:+}",
        );
    }
    Ok(())
}

fn hold_switch(
    machine: &Machine,
    layout: &Layout,
    description: &Description,
    resume: u64,
) -> Result<()> {
    let row = description.row(resume).context("the resumption is not described")?;
    ensure!(
        row.cfa == (machine.sp, layout.size),
        "the CFA of a switched-out thread is {:?}, but its frame ends {} bytes above SP",
        row.cfa,
        layout.size,
    );
    let (return_address, ..) = machine.switched[0];
    ensure!(description.return_address == return_address, "the return address has another column");
    hold_fields(layout, machine.switched, &row.rules).context("of a switched-out thread")
}

fn hold_entry(
    machine: &Machine,
    layout: &Layout,
    description: &Description,
    call: u64,
) -> Result<()> {
    let row = description.row(call).context("the call is not described")?;
    let (base, offset) = row.cfa;
    // The frame pointer is marked by one; others hold the address itself.
    let is_marked = base == machine.fp && offset == layout.size - 1;
    ensure!(
        is_marked || (base != machine.fp && offset == layout.size),
        "the CFA is {:?}, but the saved registers end {} bytes above where they begin",
        row.cfa,
        layout.size,
    );
    hold_fields(layout, machine.saved, &row.rules)
}

fn hold_call_on_stack(machine: &Machine, description: &Description, call: u64) -> Result<()> {
    let row = description.row(call).context("call_on_stack's call is not described")?;
    let word = i64::from(machine.word);
    let above = if machine.fp_is_cfa { 0 } else { 2 * word };
    ensure!(
        row.cfa == (machine.fp, above)
            && row.rules.get(&machine.fp) == Some(&Rule::At(-2 * word))
            && row.rules.get(&description.return_address) == Some(&Rule::At(-word)),
        "call_on_stack's record is not where it is described: {row:?}",
    );
    Ok(())
}

fn hold_start(description: &Description) -> Result<()> {
    let ends = |rules: &BTreeMap<u16, Rule>| {
        rules.get(&description.return_address) == Some(&Rule::Undefined)
    };
    ensure!(
        !description.rows.is_empty() && description.rows.iter().all(|row| ends(&row.rules)),
        "a stack starts here, and a backtrace does not end",
    );
    Ok(())
}

#[cfg(test)]
mod tests;
