//! Where a CPU may go from an instruction: direct branches of the arms.

/// A field of so many bits, with its sign.
fn signed(field: u32, bits: u32) -> i64 {
    i64::from((field << (32 - bits)) as i32 >> (32 - bits))
}

/// Whether the next instruction may follow, and where else the CPU may go, in instructions from here. Arm ARM, C4.1.66.
pub(super) fn arm64_ways(word: u32) -> (bool, Option<i64>) {
    match word {
        _ if word & 0xfc00_0000 == 0x1400_0000 => (false, Some(signed(word & 0x3ff_ffff, 26))),
        // b.cond, cbz, cbnz.
        _ if word & 0xff00_0000 == 0x5400_0000 || word & 0x7e00_0000 == 0x3400_0000 => {
            (true, Some(signed(word >> 5 & 0x7_ffff, 19)))
        }
        // tbz, tbnz.
        _ if word & 0x7e00_0000 == 0x3600_0000 => (true, Some(signed(word >> 5 & 0x3fff, 14))),
        // br, ret, eret, but not blr; brk, udf.
        _ if word & 0xfe00_0000 == 0xd600_0000 => (word & 0xffff_fc1f == 0xd63f_0000, None),
        _ if word & 0xffe0_001f == 0xd420_0000 || word >> 16 == 0 => (false, None),
        _ => (true, None),
    }
}

/// The same for A32. ARMv7-A manual, A5.
pub(super) fn arm32_ways(word: u32) -> (bool, Option<i64>) {
    let always = word >> 28 == 0xe;
    match word {
        // b: the offset counts from the instruction after the next.
        _ if word & 0x0f00_0000 == 0x0a00_0000 && word >> 28 != 0xf => {
            (!always, Some(signed(word & 0xff_ffff, 24) + 2))
        }
        // bx; ldm and ldr of pc; rfe; operations into pc.
        _ if word & 0x0fff_fff0 == 0x012f_ff10
            || word & 0x0e10_8000 == 0x0810_8000
            || word & 0x0c50_f000 == 0x0410_f000
            || word & 0x0c00_f000 == 0x0000_f000 && word & 0x0000_0090 != 0x90 =>
        {
            (!always, None)
        }
        // udf.
        _ if word & 0xfff0_00f0 == 0xe7f0_00f0 => (false, None),
        _ => (true, None),
    }
}

/// The instructions of 32 bits; those of 16 are left out.
pub(super) fn riscv_words(code: &[u8]) -> impl Iterator<Item = u32> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let low = code.get(at..at + 2)?;
            if low[0] & 3 != 3 {
                at += 2;
                continue;
            }
            let word = code.get(at..at + 4)?;
            at += 4;
            return Some(u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
        }
    })
}
