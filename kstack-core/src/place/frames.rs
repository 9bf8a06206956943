//! Where the caller of an interrupted instruction is, by a table made from the kernel's image.
//!
//! Reading a function's first and last instructions ([`crate::prologue`]) leaves doubts: a leaf
//! without a frame, a frame that is made on one way only, assembly. What made the code knows: the
//! call frame information of the image says for each instruction where the return address is. A
//! tool reads it when the image is built, and writes a table; this reads the table, without
//! allocation, in any context.
//!
//! ```text
//!   bytes     0  "kstfrm1\n"
//!             8  base: the address that offsets are counted from            u64
//!            16  number of rows, n                                          u32
//!            20  number of kinds, k: at most 256                            u32
//!            24  the kinds, see [`Frame::encode`]                           k × u64
//!            ..  where each row begins, ascending                           n × u32
//!            ..  which kind it is of                                        n × u8
//! ```
//!
//! All numbers are little-endian. A row holds up to the next one; the last one is of kind 0, the
//! end. What lies outside of all rows is not known.

use crate::addr::Addr;

/// The first bytes of a table.
pub const MAGIC: [u8; 8] = *b"kstfrm1\n";
const HEAD: usize = 24;

/// Where the caller of an instruction is, before the instruction is executed. Words are counted
/// upwards from the stack pointer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[expect(clippy::exhaustive_enums, reason = "the unwinder's rules depend on each of them")]
pub enum Frame {
    /// In the frame record, or the saved registers, that the frame pointer leads to.
    Record,
    /// On the stack.
    Called {
        /// Where the return address is.
        pc: u16,
        /// Where the caller's frame pointer is; `None`: in its register.
        fp: Option<u8>,
    },
    /// In the link register; the frame pointer is the caller's.
    Link,
    /// A program: it is an entry's before it has moved the stack pointer to the kernel's, or a
    /// return path's after it has moved it back.
    Program,
    /// It is an entry's, and the CPU or the entry has put what was interrupted on the stack.
    Entered(Entered),
}

/// What was interrupted, where an entry has only begun to save it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[expect(clippy::exhaustive_structs, reason = "the unwinder's rules depend on each of them")]
pub struct Entered {
    /// Where the address of the interrupted instruction is.
    pub pc: u8,
    /// The interrupted stack pointer.
    pub sp: Pointer,
    /// Where the interrupted frame pointer is; `None`: in its register.
    pub fp: Option<u8>,
    /// Where the interrupted link register is; `None`: in its register, if the CPU has one.
    pub link: Option<u8>,
}

/// A stack pointer that was interrupted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[expect(clippy::exhaustive_enums, reason = "the unwinder's rules depend on each of them")]
pub enum Pointer {
    /// It is saved there.
    At(u8),
    /// It led there: the entry is on the stack that it interrupted.
    Was(u8),
}

const RECORD: u64 = 1;
const CALLED: u64 = 2;
const LINK: u64 = 3;
const ENTERED: u64 = 4;
const PROGRAM: u64 = 5;
/// Of what is behind it, each place has its words, and a bit that says whether there is one.
const KIND_BITS: u32 = 8;

const fn optional(place: Option<u8>) -> u64 {
    match place {
        Some(words) => 0x100 | words as u64,
        None => 0,
    }
}

const fn place(bits: u64) -> Option<u8> {
    if bits & 0x100 == 0 { None } else { Some(bits as u8) }
}

impl Frame {
    /// As a kind of a table; never 0, which is "not known".
    #[must_use]
    pub const fn encode(self) -> u64 {
        match self {
            Self::Record => RECORD,
            Self::Called { pc, fp } => CALLED | (pc as u64) << KIND_BITS | optional(fp) << 24,
            Self::Link => LINK,
            Self::Program => PROGRAM,
            Self::Entered(Entered { pc, sp, fp, link }) => {
                let sp = match sp {
                    Pointer::At(words) => optional(Some(words)),
                    Pointer::Was(words) => words as u64,
                };
                let saved = optional(fp) << 28 | optional(link) << 40;
                ENTERED | (pc as u64) << KIND_BITS | sp << 16 | saved
            }
        }
    }

    /// The reverse.
    #[must_use]
    pub const fn decode(kind: u64) -> Option<Self> {
        Some(match kind & ((1 << KIND_BITS) - 1) {
            RECORD => Self::Record,
            CALLED => Self::Called { pc: (kind >> KIND_BITS) as u16, fp: place(kind >> 24) },
            LINK => Self::Link,
            PROGRAM => Self::Program,
            ENTERED => {
                let sp = match place(kind >> 16) {
                    Some(words) => Pointer::At(words),
                    None => Pointer::Was((kind >> 16) as u8),
                };
                let (fp, link) = (place(kind >> 28), place(kind >> 40));
                Self::Entered(Entered { pc: (kind >> KIND_BITS) as u8, sp, fp, link })
            }
            _ => return None,
        })
    }
}

/// A table, where it lies.
#[derive(Clone, Copy, Debug)]
pub struct Frames<'t> {
    base: u64,
    kinds: &'t [u8],
    starts: &'t [u8],
    rows: &'t [u8],
}

fn u32_at(bytes: &[u8], number: usize) -> u32 {
    let at = number * size_of::<u32>();
    bytes.get(at..at + 4).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}

fn u64_at(bytes: &[u8], number: usize) -> u64 {
    u64::from(u32_at(bytes, 2 * number)) | u64::from(u32_at(bytes, 2 * number + 1)) << 32
}

impl<'t> Frames<'t> {
    /// Reads the head of a table; `None` if these bytes are none.
    #[must_use]
    pub fn new(bytes: &'t [u8]) -> Option<Self> {
        let (head, rest) = bytes.split_at_checked(HEAD)?;
        if head[..8] != MAGIC {
            return None;
        }
        let base = u64_at(head, 1);
        let (count, kinds) = (u32_at(head, 4) as usize, u32_at(head, 5) as usize);
        let (kinds, rest) = rest.split_at_checked(kinds.checked_mul(8)?)?;
        let (starts, rows) = rest.split_at_checked(count.checked_mul(4)?)?;
        (rows.len() == count).then_some(Self { base, kinds, starts, rows })
    }

    /// Where the caller of this instruction is. About 10 instructions for each doubling of the
    /// table.
    #[must_use]
    pub fn at(&self, pc: Addr) -> Option<Frame> {
        let offset = u32::try_from((pc.get() as u64).checked_sub(self.base)?).ok()?;
        // Invariant: rows below `low` begin at or below the offset, those from `high` on above.
        let (mut low, mut high) = (0, self.rows.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if u32_at(self.starts, middle) <= offset {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let kind = *self.rows.get(low.checked_sub(1)?)?;
        Frame::decode(u64_at(self.kinds, usize::from(kind)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn every() -> [Frame; 11] {
        let entered = |sp, fp| Frame::Entered(Entered { pc: 255, sp, fp, link: None });
        [
            Frame::Record,
            Frame::Called { pc: 0, fp: None },
            Frame::Called { pc: 0xffff, fp: Some(0) },
            Frame::Called { pc: 6, fp: Some(255) },
            Frame::Link,
            Frame::Program,
            entered(Pointer::At(255), None),
            entered(Pointer::Was(255), Some(255)),
            entered(Pointer::Was(0), Some(0)),
            Frame::Entered(Entered { pc: 0, sp: Pointer::At(0), fp: Some(17), link: Some(255) }),
            Frame::Entered(Entered { pc: 1, sp: Pointer::Was(2), fp: None, link: Some(0) }),
        ]
    }

    fn table(base: u64, kinds: &[u64], rows: &[(u32, u8)]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(base.to_le_bytes());
        bytes.extend((rows.len() as u32).to_le_bytes());
        bytes.extend((kinds.len() as u32).to_le_bytes());
        kinds.iter().for_each(|kind| bytes.extend(kind.to_le_bytes()));
        rows.iter().for_each(|(start, _)| bytes.extend(start.to_le_bytes()));
        bytes.extend(rows.iter().map(|(_, kind)| kind));
        bytes
    }

    #[test]
    fn b3_each_kind_of_frame_is_read_as_it_was_written() {
        for frame in every() {
            assert_eq!(Frame::decode(frame.encode()), Some(frame));
            assert_ne!(frame.encode(), 0);
        }
        assert_eq!(Frame::decode(0), None);
        assert_eq!(Frame::decode(7), None);
    }

    /// Red if a row is said to hold at its end, or before the first.
    #[test]
    fn b3_a_row_of_a_table_of_frames_holds_up_to_the_next() {
        let called = Frame::Called { pc: 1, fp: None };
        let kinds = [0, Frame::Record.encode(), called.encode()];
        let rows = [(0x10, 2), (0x11, 1), (0x20, 0), (0x40, 1), (0x48, 0)];
        let bytes = table(0x4000, &kinds, &rows);
        let frames = Frames::new(&bytes).unwrap();
        for (pc, expected) in [
            (0x3fff, None),
            (0x400f, None),
            (0x4010, Some(called)),
            (0x4011, Some(Frame::Record)),
            (0x401f, Some(Frame::Record)),
            (0x4020, None),
            (0x403f, None),
            (0x4040, Some(Frame::Record)),
            (0x4047, Some(Frame::Record)),
            (0x4048, None),
            (usize::MAX, None),
        ] {
            assert_eq!(frames.at(Addr::new(pc)), expected, "{pc:#x}");
        }
        let empty = table(0, &[], &[]);
        assert_eq!(Frames::new(&empty).unwrap().at(Addr::new(0)), None);
    }

    #[test]
    fn b3_what_is_no_table_of_frames_is_refused() {
        let bytes = table(0x4000, &[0, 1], &[(0, 1), (8, 0)]);
        assert!(Frames::new(&bytes).is_some());
        for short in 0..bytes.len() {
            assert!(Frames::new(&bytes[..short]).is_none(), "{short}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(Frames::new(&longer).is_none());
        let mut other = bytes;
        other[0] ^= 1;
        assert!(Frames::new(&other).is_none());
    }
}
