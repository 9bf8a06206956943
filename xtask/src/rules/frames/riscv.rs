//! How instructions of RV64 move the stack pointer.

use super::{Known, Move};

/// RV64 with compressed instructions: addi, c.addi16sp, c.addi of sp; add and sub of sp with a
/// register that `lui` and `addi` have just set. The RISC-V unprivileged manual, chapters 2, 27 and
/// 35.
pub(super) fn riscv(code: &[u8]) -> impl Iterator<Item = Move> {
    let mut known = Known::default();
    let mut at = 0;
    std::iter::from_fn(move || {
        let half =
            |at: usize| code.get(at..at + 2).map(|b| u32::from(u16::from_le_bytes([b[0], b[1]])));
        let low = half(at)?;
        if low & 3 != 3 {
            at += 2;
            return Some(compressed(low, &mut known));
        }
        let word = low | half(at + 2)? << 16;
        at += 4;
        Some(of_word(word, &mut known))
    })
}

const SP: u32 = 2;
const FP: u32 = 8;

fn of_word(word: u32, known: &mut Known) -> Move {
    let (rd, rs1, rs2) = (word >> 7 & 31, word >> 15 & 31, word >> 20 & 31);
    let immediate = i64::from(word as i32 >> 20);
    let is_of_sp = |known: &Known, register| register == SP || known.is_of_sp(register);
    match (word & 0x7f, word >> 12 & 7) {
        // lui
        (0x37, _) => known.constant(rd, i64::from((word & 0xffff_f000) as i32)),
        // addi, addiw
        (0x13 | 0x1b, 0) if rd == SP => match rs1 {
            SP => known.moved(Move::Down(-immediate)),
            // Back to where the frame begins.
            FP => Move::None,
            _ => known.set_from(rs1, -immediate),
        },
        // andi: aligned down, at most by so much.
        (0x13, 7) if rd == SP && rs1 == SP => known.moved(Move::Down(-immediate - 1)),
        (0x13 | 0x1b, 0) if rs1 == SP => {
            known.copy(rd, -immediate);
            Move::None
        }
        (0x13 | 0x1b, 0) if !known.is_of_sp(rs1) => {
            let base = if rs1 == 0 { Some(0) } else { known.constants.get(&rs1).copied() };
            match base {
                Some(base) => known.constant(rd, base + immediate),
                None => known.computed(rd, false),
            }
        }
        // andi: a bound.
        (0x13, 7) if rd != SP && immediate >= 0 => known.constant(rd, immediate),
        // add, sub
        (0x33, 0) if rd == SP && (rs1 == SP || rs2 == SP) => {
            let sign = if word >> 25 == 0 { -1 } else { 1 };
            known.moved_by(if rs1 == SP { rs2 } else { rs1 }, sign)
        }
        (0x13 | 0x1b | 0x33 | 0x3b, _) => {
            let of_sp =
                is_of_sp(known, rs1) || matches!(word & 0x7f, 0x33 | 0x3b) && is_of_sp(known, rs2);
            if rd == SP { Move::Unknown } else { known.computed(rd, of_sp) }
        }
        // A load, a register of the CPU's.
        (0x03 | 0x73, _) if rd == SP => Move::Away,
        // Stores and branches have no rd.
        (0x23 | 0x63, _) => Move::None,
        _ => known.computed(rd, false),
    }
}

fn compressed(half: u32, known: &mut Known) -> Move {
    let rd = half >> 7 & 31;
    let rs2 = half >> 2 & 31;
    // The registers with three bits.
    let (short_rd, short_to) = ((half >> 7 & 7) + 8, rs2 % 8 + 8);
    let is_second = half >> 12 & 1 == 1;
    // A six-bit immediate with its sign in bit 12.
    let six = i64::from(rs2 as i32 | -((half >> 12 & 1) as i32) << 5);
    let is_of_sp = |known: &Known, register| register == SP || known.is_of_sp(register);
    match (half & 3, half >> 13) {
        // c.addi16sp: bits 9|4|6|8:7|5.
        (1, 3) if rd == SP => {
            let bits =
                half >> 6 & 1 | (half >> 2 & 1) << 1 | (half >> 5 & 1) << 2 | (half >> 3 & 3) << 3;
            let value = i64::from(bits as i32 | -((half >> 12 & 1) as i32) << 5) * 16;
            known.moved(Move::Down(-value))
        }
        // c.addi
        (1, 0) if rd == SP => known.moved(Move::Down(-six)),
        // c.lui
        (1, 3) => known.constant(rd, six << 12),
        // c.li
        (1, 2) => known.constant(rd, six),
        // c.addi and c.addiw of another register
        (1, 0 | 1) => {
            if let Some(value) = known.constants.get_mut(&rd) {
                *value += six;
            }
            if let Some(below) = known.copies.get_mut(&rd) {
                *below -= six;
            }
            Move::None
        }
        // c.andi: a bound, or an alignment; c.sub and its like
        (1, 4) => {
            if half >> 10 & 3 == 2 && six >= 0 {
                return known.constant(short_rd, six);
            }
            let of_sp = known.is_of_sp(short_rd) || half >> 10 & 3 == 3 && known.is_of_sp(short_to);
            known.computed(short_rd, of_sp)
        }
        // c.addi4spn
        (0, 0) => known.computed(short_to, true),
        // Loads: the register they load to.
        (0, 1..=3) => known.computed(short_to, false),
        (2, 1..=3) if rd == SP => Move::Away,
        (2, 1..=3) => known.computed(rd, false),
        // c.add, c.mv
        (2, 4) if rs2 != 0 && rd == SP => match (is_second, rs2) {
            (true, _) => known.moved_by(rs2, -1),
            (false, FP) => Move::None,
            (false, _) => known.set_from(rs2, 0),
        },
        (2, 4) if rs2 != 0 => {
            let of_sp = is_of_sp(known, rs2) || is_second && known.is_of_sp(rd);
            match (is_second, rs2) {
                (false, SP) => {
                    known.copy(rd, 0);
                    Move::None
                }
                _ => known.computed(rd, of_sp),
            }
        }
        _ => Move::None,
    }
}
