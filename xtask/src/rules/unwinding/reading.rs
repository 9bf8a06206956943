//! What the library reads of a function's code must not contradict the table: kernels without a
//! table have nothing else, and an answer that is wrong leaves a caller out without a word.

use anyhow::{Result, ensure};
use iced_x86::{Decoder, DecoderOptions, FlowControl, Mnemonic};
use kstack_core::addr::Addr;
use kstack_core::prologue::code::{Does, Instruction, Next};
use kstack_core::prologue::{FrameState, arm32, arm64, riscv64, x86};
use kstack_core::unwind::frames::{Frame, Frames};
use object::Architecture;

use super::frames::Function;

/// Places that an error names.
const NAMED: usize = 8;
/// Instructions that are looked at in one function.
const MAX_OF_ONE: usize = 64;

/// Compares them in these functions.
pub(super) fn hold<'f>(
    architecture: Architecture,
    functions: impl Iterator<Item = &'f Function>,
    table: &Frames<'_>,
) -> Result<()> {
    let mut wrong = Vec::new();
    for function in functions {
        for offset in instructions(architecture, &function.code) {
            let state = state(architecture, &function.code, offset);
            let pc = function.address.wrapping_add(offset as u64);
            let Some(frame) = table.at(Addr::new(pc as usize)) else { continue };
            // What interrupts: an entry's first instruction. Its word at SP is the interrupted
            // address, or no address of code, which the walk refuses.
            let is_first = offset == 0 && matches!(frame, Frame::Entered(_) | Frame::Program);
            if !is_first && !agree(frame, state) {
                wrong.push(format!("{}+{offset:#x}: {state:?}, but {frame:?}", function.name));
            }
        }
    }
    ensure!(
        wrong.is_empty(),
        "of {} instructions the library reads another frame than is described: {:#?}",
        wrong.len(),
        &wrong[..wrong.len().min(NAMED)],
    );
    Ok(())
}

/// Where they begin. To look at one takes as long as its function is: of long functions with a
/// link register these are the ones at and behind what changes the frame or leads elsewhere, and of
/// these [`MAX_OF_ONE`], evenly.
fn instructions(architecture: Architecture, code: &[u8]) -> Vec<usize> {
    let all: Vec<Instruction> = match architecture {
        Architecture::X86_64 => return instructions_of_pcs(64, code),
        Architecture::I386 => return instructions_of_pcs(32, code),
        Architecture::Riscv64 => riscv64::instructions(code).collect(),
        Architecture::Aarch64 => arm64::instructions(code).collect(),
        _ => arm32::instructions(code).collect(),
    };
    if all.len() <= MAX_OF_ONE {
        return all.iter().map(|one| one.at).collect();
    }
    let changes = |one: &Instruction| one.does != Does::Nothing || one.next != Next::Falls;
    let behind = all.windows(2).filter(|two| changes(&two[0])).map(|two| two[1].at);
    let mut places: Vec<usize> = all.iter().filter(|one| changes(one)).map(|one| one.at).collect();
    places.extend(behind);
    places.sort_unstable();
    places.dedup();
    let step = places.len().div_ceil(MAX_OF_ONE).max(1);
    places.into_iter().step_by(step).collect()
}

/// All but what fills the space up to where a jump leads.
fn instructions_of_pcs(bits: u32, code: &[u8]) -> Vec<usize> {
    let (mut is_behind_end, mut places) = (false, Vec::new());
    for one in Decoder::new(bits, code, DecoderOptions::NONE) {
        is_behind_end &= matches!(one.mnemonic(), Mnemonic::Nop | Mnemonic::Int3);
        if !is_behind_end {
            places.push(one.ip() as usize);
        }
        is_behind_end |= matches!(
            one.flow_control(),
            FlowControl::Return | FlowControl::UnconditionalBranch | FlowControl::IndirectBranch
        );
    }
    places
}

fn state(architecture: Architecture, code: &[u8], offset: usize) -> FrameState {
    match architecture {
        Architecture::X86_64 | Architecture::I386 => x86::state(code, offset),
        Architecture::Riscv64 => riscv64::state(code, offset),
        Architecture::Aarch64 => arm64::state(code, offset),
        _ => arm32::state(code, offset),
    }
}

/// Whether a frame is what the code tells, or the code tells nothing.
fn agree(frame: Frame, state: FrameState) -> bool {
    match (frame, state) {
        (_, FrameState::Unknown) => true,
        (Frame::Record, FrameState::There) | (Frame::Link, FrameState::InLink) => true,
        (Frame::Called { pc, .. }, FrameState::OnStack(words)) => usize::from(pc) == words,
        // Saved already, or saved still, and in the register as well.
        (Frame::Called { .. }, FrameState::InLink | FrameState::There) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kstack_core::unwind::frames::MAGIC;

    /// A table of a function of this length at 0x1000, all of which has one frame.
    fn table(frame: Frame, size: u32) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(0x1000_u64.to_le_bytes());
        bytes.extend(2_u32.to_le_bytes());
        bytes.extend(2_u32.to_le_bytes());
        bytes.extend(0_u64.to_le_bytes());
        bytes.extend(frame.encode().to_le_bytes());
        bytes.extend(0_u32.to_le_bytes());
        bytes.extend(size.to_le_bytes());
        bytes.extend([1, 0]);
        bytes
    }

    /// Red if an instruction is left out, or if a doubt is taken for a contradiction.
    #[test]
    fn b3_a_table_that_contradicts_the_code_is_refused_and_a_doubt_is_not() {
        let of = |architecture, code: &[u8], frame| {
            let name = "f".to_owned();
            let function = Function { name, address: 0x1000, code: code.to_vec() };
            let bytes = table(frame, code.len() as u32);
            hold(architecture, [&function].into_iter(), &Frames::new(&bytes).unwrap())
        };
        // push rbp; mov rbp, rsp; nop; pop rbp; ret: no one frame fits.
        let code = [0x55, 0x48, 0x89, 0xe5, 0x90, 0x5d, 0xc3];
        let found = of(Architecture::X86_64, &code, Frame::Record).unwrap_err().to_string();
        assert!(found.contains("of 3 instructions"), "{found}");
        assert!(found.contains("f+0x6: OnStack(0), but Record"), "{found}");
        // nop; ret, on arm64.
        let code = [0x1f, 0x20, 0x03, 0xd5, 0xc0, 0x03, 0x5f, 0xd6];
        assert!(of(Architecture::Aarch64, &code, Frame::Link).is_ok());
        let found = of(Architecture::Aarch64, &code, Frame::Record).unwrap_err().to_string();
        assert!(found.contains("of 2 instructions"), "{found}");
        // nop; nop, which tells nothing but at its start.
        let code = [code[0], code[1], code[2], code[3], 0x1f, 0x20, 0x03, 0xd5];
        let found = of(Architecture::Aarch64, &code, Frame::Record).unwrap_err().to_string();
        assert!(found.contains("of 1 instructions"), "{found}");
    }
}
