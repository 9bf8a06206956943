//! How long instructions are: those that appear in the entry code, for the sweep that lands an
//! interrupt on every one of them.
//!
//! The lengths are checked by what the CPU executes: an address that is no instruction is never
//! reached. Source: Intel SDM vol. 2, chapter 2 and appendix A.

/// Whether this is 64-bit code.
const LONG: bool = cfg!(target_arch = "x86_64");

/// Bytes of the instruction that starts `code`; `None`: not one of those known here.
pub fn instruction_length(code: &[u8]) -> Option<usize> {
    let mut at = 0;
    let (mut narrow, mut wide) = (false, false);
    loop {
        match code.get(at)? {
            0x66 => narrow = true,
            0x2e | 0x36 | 0x3e | 0x26 | 0x64 | 0x65 | 0xf0 | 0xf2 | 0xf3 => {}
            // In 32-bit code these are instructions.
            rex @ 0x40..=0x4f if LONG => wide = rex & 8 != 0,
            _ => break,
        }
        at += 1;
    }
    let immediate = if narrow { 2 } else { 4 };
    let opcode = *code.get(at)?;
    at += 1;
    // Whether operands follow in a ModRM byte, and bytes of the immediate.
    let (operands, immediate) = match opcode {
        0x0f => {
            let second = *code.get(at)?;
            at += 1;
            match second {
                0x05..=0x07
                | 0x0b
                | 0x30
                | 0x31
                | 0x32
                | 0x34
                | 0x35
                | 0xa0..=0xa2
                | 0xa8
                | 0xa9 => (false, 0),
                0x80..=0x8f => (false, 4),
                0x00 | 0x01 | 0x1f | 0x10 | 0x11 | 0x28 | 0x29 | 0x57 => (true, 0),
                0x90..=0x9f | 0xb6 | 0xb7 => (true, 0),
                _ => return None,
            }
        }
        0x00..=0x3f => match opcode & 7 {
            0..=3 => (true, 0),
            4 => (false, 1),
            5 => (false, immediate),
            // Segment registers pushed and popped.
            _ if matches!(opcode, 0x06 | 0x07 | 0x0e | 0x16 | 0x17 | 0x1e | 0x1f) && !LONG => {
                (false, 0)
            }
            _ => return None,
        },
        0x40..=0x4f => (false, 0),
        // To and from eax at an absolute address.
        0xa0..=0xa3 => (false, if LONG { 8 } else { 4 }),
        0x50..=0x5f
        | 0x90..=0x99
        | 0x9b..=0x9f
        | 0xc3
        | 0xc9
        | 0xcc
        | 0xcf
        | 0xf4
        | 0xfa..=0xfd => (false, 0),
        0x63 | 0x84..=0x8f | 0xd0..=0xd3 | 0xfe | 0xff => (true, 0),
        0x6a | 0x70..=0x7f | 0xa8 | 0xb0..=0xb7 | 0xcd | 0xeb => (false, 1),
        0x68 | 0xa9 => (false, immediate),
        0xe8 | 0xe9 => (false, 4),
        0x69 | 0x81 | 0xc7 => (true, immediate),
        0x6b | 0x80 | 0x83 | 0xc0 | 0xc1 | 0xc6 => (true, 1),
        0xb8..=0xbf => (false, if wide { 8 } else { immediate }),
        0xc2 => (false, 2),
        // Only `test`, the first of the group, has an immediate.
        0xf6 => (true, usize::from(code.get(at)? >> 3 & 7 == 0)),
        0xf7 => (true, if code.get(at)? >> 3 & 7 == 0 { immediate } else { 0 }),
        _ => return None,
    };
    let operands = if operands { operand_length(code.get(at..)?)? } else { 0 };
    Some(at + operands + immediate)
}

/// The ModRM byte and what belongs to it.
fn operand_length(code: &[u8]) -> Option<usize> {
    let modrm = *code.first()?;
    let (mode, register) = (modrm >> 6, modrm & 7);
    if mode == 3 {
        return Some(1);
    }
    let mut length = 1;
    let mut base = register;
    if register == 4 {
        base = code.get(1)? & 7;
        length += 1;
    }
    Some(match mode {
        0 if base == 5 => length + 4,
        0 => length,
        1 => length + 1,
        _ => length + 4,
    })
}
