//! Where the caller is in code of CPUs with a link register, by following it: compilers describe
//! there how a function makes its frame, if at all, and not how it gives it up.
//!
//! Every way through a function is followed from its first instruction, with one fact: has the
//! frame pointer been set to the record, or not, or not any more? Until it is, and after it has
//! been restored, the return address is in the link register. Behind a call without a frame the
//! link register is another's: nothing is said of it.
//!
//! Two kinds of places are followed only where nothing else leads: what is behind a call or a
//! breakpoint, which may not return, and what only a table leads to. A call has the frame, so what
//! is behind it has it, and a table's jump has what its targets have. Where there are jumps through
//! registers with a frame and without, that which the code contradicts is ruled out: it would
//! return with a frame, or restore one that is not there. Where neither is, nothing is said.

use kstack_core::prologue::code::{Does, Instruction, Next};
use kstack_core::prologue::{arm32, arm64, riscv64};
use kstack_core::unwind::frames::Frame;
use object::Architecture;

fn instructions(architecture: Architecture, code: &[u8]) -> Vec<Instruction> {
    match architecture {
        Architecture::Arm => arm32::instructions(code).collect(),
        Architecture::Aarch64 => arm64::instructions(code).collect(),
        _ => riscv64::instructions(code).collect(),
    }
}

/// Whether a function sets up a frame record somewhere.
pub(super) fn keeps_frames(architecture: Architecture, code: &[u8]) -> bool {
    instructions(architecture, code).iter().any(|one| one.does == Does::SetsFrame)
}

/// What is known before an instruction.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// No frame yet.
    Before,
    Framed,
    /// No frame any more.
    Restored,
}

impl State {
    fn is_framed(self) -> bool {
        self == Self::Framed
    }

    /// Whether no compiler makes this instruction so.
    fn contradicts(self, one: &Instruction) -> bool {
        if self.is_framed() {
            one.does == Does::SetsFrame || one.next == Next::Returns
        } else {
            one.does == Does::RestoresFrame || one.next == Next::Call
        }
    }

    fn after(self, one: &Instruction) -> Self {
        match one.does {
            Does::Nothing => self,
            Does::SetsFrame => Self::Framed,
            Does::RestoresFrame => Self::Restored,
        }
    }
}

/// A function with what is known of it.
struct Followed {
    all: Vec<Instruction>,
    states: Vec<Option<State>>,
    /// Jumps through registers and tables.
    leads: Vec<usize>,
}

impl Followed {
    fn new(all: Vec<Instruction>) -> Self {
        let leads = |one: &Instruction| matches!(one.next, Next::Leads | Next::MayLead);
        let leads = (0..all.len()).filter(|&place| leads(&all[place])).collect();
        Self { states: vec![None; all.len()], leads, all }
    }

    /// Follows all certain ways from a place; which places these are, and whether anything on them
    /// contradicts the state.
    fn follow(&mut self, place: usize, state: State) -> (Vec<usize>, bool) {
        let (mut touched, mut contradicts) = (Vec::new(), false);
        let mut ways = vec![(self.all[place].at, state)];
        while let Some((at, state)) = ways.pop() {
            let place = self.all.binary_search_by_key(&at, |one| one.at);
            let known = match place {
                Ok(place) => self.states[place],
                // Out of the function, which has given up its frame.
                Err(_) => Some(State::Restored),
            };
            if let Some(known) = known {
                contradicts |= known.is_framed() != state.is_framed();
                continue;
            }
            let Ok(place) = place else { continue };
            self.states[place] = Some(state);
            touched.push(place);
            let one = self.all[place];
            contradicts |= state.contradicts(&one);
            let after = state.after(&one);
            if one.is_followed() {
                ways.push((one.end(), after));
            }
            ways.extend(one.target().map(|to| (to, after)));
        }
        (touched, contradicts)
    }

    fn fits(&mut self, place: usize, state: State) -> bool {
        let (touched, contradicts) = self.follow(place, state);
        touched.into_iter().for_each(|place| self.states[place] = None);
        !contradicts
    }

    /// The state of a place that no certain way leads to: what is behind a call or a breakpoint
    /// with a frame, or what a table leads to.
    fn guess(&mut self, place: usize) -> Option<State> {
        let before = place - 1;
        if self.all[before].is_followed() {
            return None;
        }
        let Instruction { does, next, .. } = self.all[before];
        let is_framed = self.states[before].is_some_and(State::is_framed);
        if next == Next::Call && !is_framed {
            // The link register is another's.
            return None;
        }
        // Code continues behind a breakpoint, not behind a trap.
        let may_continue = next == Next::Call || next == Next::Ends && does == Does::Nothing;
        let after_frame = is_framed && may_continue;
        // A jump through a register behind what restores the frame leaves the function.
        let used = self.leads.iter().filter_map(|&one| self.states[one]);
        let (mut framed, mut frameless) = (after_frame, false);
        for state in used.filter(|&state| state != State::Restored) {
            framed |= state.is_framed();
            frameless |= !state.is_framed();
        }
        match (
            framed && self.fits(place, State::Framed),
            frameless && self.fits(place, State::Before),
        ) {
            (true, false) => Some(State::Framed),
            (false, true) => Some(State::Before),
            _ => None,
        }
    }

    fn follow_all(&mut self) {
        if self.all.is_empty() {
            return;
        }
        self.follow(0, State::Before);
        let mut is_more = true;
        while is_more {
            is_more = false;
            for place in 1..self.all.len() {
                if self.states[place].is_none()
                    && let Some(state) = self.guess(place)
                {
                    self.follow(place, state);
                    is_more = true;
                }
            }
        }
    }
}

/// The frame before each instruction of a function, with where it begins and ends; `None`: no way
/// leads there, or nothing can be said.
pub(super) fn frames(architecture: Architecture, code: &[u8]) -> Vec<(u64, u64, Option<Frame>)> {
    let mut followed = Followed::new(instructions(architecture, code));
    followed.follow_all();
    let frame = |state: State| if state.is_framed() { Frame::Record } else { Frame::Link };
    let with_state = followed.all.iter().zip(&followed.states);
    with_state.map(|(one, state)| (one.at as u64, one.end() as u64, state.map(frame))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_on(architecture: Architecture, words: &[(u32, Option<Frame>)]) {
        let bytes = |word: u32| match architecture {
            Architecture::Riscv64 if word & 3 != 3 => word.to_le_bytes()[..2].to_vec(),
            _ => word.to_le_bytes().to_vec(),
        };
        let code: Vec<u8> = words.iter().flat_map(|&(word, _)| bytes(word)).collect();
        let expected: Vec<_> = words.iter().map(|&(_, frame)| frame).collect();
        let found: Vec<_> = frames(architecture, &code).iter().map(|&(.., frame)| frame).collect();
        assert_eq!(found, expected);
    }

    fn check(words: &[(u32, Option<Frame>)]) {
        check_on(Architecture::Arm, words);
    }

    /// The same on arm64 and on riscv64, and calls without a frame.
    #[test]
    fn b3_code_of_arm64_and_riscv64_is_followed_to_where_its_frame_is() {
        check_on(
            Architecture::Aarch64,
            &[
                (0xb400_00e0, LINK),   // cbz x0, 7 on
                (0xa9bf_7bfd, LINK),   // stp x29, x30, [sp, #-16]!
                (0x9100_03fd, LINK),   // mov x29, sp
                (0x3600_0040, RECORD), // tbz w0, #0, 2 on
                (0x9400_0100, RECORD), // bl
                (0xa8c1_7bfd, RECORD), // ldp x29, x30, [sp], #16
                (0xd65f_03c0, LINK),   // ret
                (0xd503_201f, LINK),   // the way without: nop
            ],
        );
        check_on(
            Architecture::Aarch64,
            &[
                (0xf81f_0ffe, LINK), // str x30, [sp, #-16]!
                (0x9400_0100, LINK), // bl, without a frame
                (0xf841_07fe, None), // ldr x30, [sp], #16
                (0xd65f_03c0, None),
            ],
        );
        check_on(
            Architecture::Riscv64,
            &[
                (0xc511, LINK),   // c.beqz a0, 12 bytes on
                (0x1141, LINK),   // c.addi sp, -16
                (0xe406, LINK),   // c.sdsp ra, 8
                (0xe022, LINK),   // c.sdsp s0, 0
                (0x0800, LINK),   // c.addi4spn s0, 16
                (0x9002, RECORD), // c.ebreak
                (0x4501, LINK),   // c.li a0, 0
                (0x8082, LINK),   // ret
            ],
        );
        check_on(
            Architecture::Riscv64,
            &[
                (0x0000_0463 | 10 << 15, LINK), // beqz a0, 8 bytes on
                (0x0000_006f, LINK),            // j to itself
                (0xfe01_0113, LINK),            // addi sp, sp, -32
                (0x0201_0413, LINK),            // addi s0, sp, 32
                (0x0000_00ef, RECORD),          // jal ra
                (0x0181_3083, RECORD),          // ld ra, 24(sp)
                (0x0101_3403, RECORD),          // ld s0, 16(sp)
                (0x0201_0113, LINK),            // addi sp, sp, 32
                (0x0000_8067, LINK),            // ret
            ],
        );
    }

    const RECORD: Option<Frame> = Some(Frame::Record);
    const LINK: Option<Frame> = Some(Frame::Link);

    /// Red if a call in the last place, or a way without a frame behind one that has one, is taken
    /// for the body.
    #[test]
    fn b3_code_of_arm32_is_followed_to_where_its_frame_is() {
        check(&[
            (0xe350_0000, LINK),   // cmp r0, #0
            (0x0a00_0005, LINK),   // beq the way without
            (0xe92d_4800, LINK),   // push {r11, lr}
            (0xe1a0_b00d, LINK),   // mov r11, sp
            (0xeb00_0100, RECORD), // bl
            (0x08bd_8800, RECORD), // popeq {r11, pc}
            (0xe8bd_4800, RECORD), // pop {r11, lr}
            (0xea00_0100, LINK),   // b elsewhere
            (0xe3a0_0001, LINK),   // the way without: mov r0, #1
            (0xe12f_ff1e, LINK),   // bx lr
        ]);
        // A call that does not return, and behind it what another way leads to.
        check(&[
            (0xe350_0000, LINK),
            (0x0a00_0002, LINK), // beq the last but one
            (0xe92d_4800, LINK),
            (0xe28d_b000, LINK),   // add r11, sp, #0
            (0xeb00_0100, RECORD), // bl
            (0xe3a0_0001, LINK),
            (0xe12f_ff1e, LINK),
        ]);
        // Behind a jump through a table, where nothing else leads.
        check(&[
            (0xe92d_4800, LINK),
            (0xe1a0_b00d, LINK),
            (0xe79f_f100, RECORD), // ldr pc, [pc, r0, lsl #2]
            (0xe3a0_0001, RECORD),
            (0xe8bd_8800, RECORD),
        ]);
    }

    /// Red if what only a table leads to, behind a return, is taken for a continuation of what
    /// returns: the caller was looked for in the link register, and samples were wrong.
    #[test]
    fn b3_what_only_a_table_leads_to_has_the_frame_that_the_jump_has() {
        check_on(
            Architecture::Aarch64,
            &[
                (0xa9bf_7bfd, LINK),   // stp x29, x30, [sp, #-16]!
                (0x9100_03fd, LINK),   // mov x29, sp
                (0xd61f_0160, RECORD), // br x11
                (0xa8c1_7bfd, RECORD), // ldp x29, x30, [sp], #16
                (0xd65f_03c0, LINK),   // ret
                (0x5280_0060, RECORD), // mov w0, #3
                (0xa8c1_7bfd, RECORD),
                (0xd61f_0060, LINK), // br x3, a call in the last place
                (0x5280_0060, RECORD),
                (0xa8c1_7bfd, RECORD),
                (0xd65f_03c0, LINK),
            ],
        );
        // A jump without a frame, be it a call in the last place: what is behind the call is where
        // it leads to, or where the call returns to; what is done there tells.
        let with = |behind: &[(u32, Option<Frame>)]| {
            let before = [
                (0xb400_0040, LINK), // cbz x0, 2 on
                (0xd61f_0160, LINK), // br x11
                (0xa9bf_7bfd, LINK),
                (0x9100_03fd, LINK),
                (0x9400_0100, RECORD), // bl
            ];
            check_on(Architecture::Aarch64, &[&before[..], behind].concat());
        };
        with(&[(0x5280_0060, LINK), (0xd65f_03c0, LINK)]);
        with(&[(0x5280_0060, RECORD), (0xa8c1_7bfd, RECORD), (0xd65f_03c0, LINK)]);
        // A trap says nothing.
        with(&[(0x5280_0060, None), (0xd420_0020, None)]);
    }
}
