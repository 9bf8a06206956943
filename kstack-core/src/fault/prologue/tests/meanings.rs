//! Each instruction that means something for frames, and what follows from a function's.
//!
//! A wrong word here is a caller that a backtrace leaves out and calls itself reliable.

use super::super::code::Does::{self, Nothing, RestoresFrame, SetsFrame};
use super::super::code::Instruction;
use super::super::code::Next::{self, Branch, Call, Ends, Falls, Jump, Leads, MayLead, Returns};
use super::super::{FrameState, arm32, arm64, followed, riscv64};
use super::{InLink, There, Unknown};
use std::vec::Vec;

type Decode = fn(u32, usize) -> (Does, Next);

/// Where the instructions stand.
const AT: usize = 0x1000;

fn check(arch: &str, decode: Decode, table: &[(Does, Next, &[u32])]) {
    for (does, next, words) in table {
        for &word in *words {
            assert_eq!(decode(word, AT), (*does, *next), "{arch}: {word:#010x}");
        }
    }
}

#[test]
fn b2_every_instruction_of_arm64_that_moves_a_frame_is_known() {
    let table: [(Does, Next, &[u32]); 11] = [
        // mov x29, sp; add x29, sp, #32; the same with #1, lsl #12
        (SetsFrame, Falls, &[0x9100_03fd, 0x9100_83fd, 0x9140_07fd]),
        // ldp x29, x30, [sp, #32]; ldp x29, x30, [sp], #48
        (RestoresFrame, Falls, &[0xa942_7bfd, 0xa8c3_7bfd]),
        // ret, retaa, retab
        (Nothing, Returns, &[0xd65f_03c0, 0xd65f_0bff, 0xd65f_0fff]),
        // bl; blr x8; blraaz x8; blraa x8, x9
        (Nothing, Call, &[0x9400_0001, 0xd63f_0100, 0xd63f_091f, 0xd73f_0909]),
        // b, forwards and backwards
        (Nothing, Jump(AT + 4), &[0x1400_0001]),
        (Nothing, Jump(AT - 8), &[0x17ff_fffe]),
        // b.eq; bc.eq; cbz x0; cbnz w0; tbz; tbnz
        (
            Nothing,
            Branch(AT + 8),
            &[0x5400_0040, 0x5400_0050, 0xb400_0040, 0x3500_0040, 0x3600_0040, 0x3738_0040],
        ),
        // cbnz x3, tbnz x3, #33
        (Nothing, Branch(AT - 4), &[0xb5ff_ffe3, 0xb70f_ffe3]),
        // br x16; braaz x16; braa x16, x17; ret x5
        (Nothing, Leads, &[0xd61f_0200, 0xd61f_0a1f, 0xd71f_0a11, 0xd65f_00a0]),
        // brk; eret; eretaa; udf
        (Nothing, Ends, &[0xd420_0000, 0xd43e_0000, 0xd69f_03e0, 0xd69f_0bff, 0]),
        // svc; hvc; nop; dsb sy; paciasp; mov x0, x1; ldr x0, [x0]; stp x29, x30, [sp, #32]; sub
        // sp, sp, #64; add sp, sp, #64; ldp x20, x19, [sp], #32; str x30, [sp, #-16]!; ldp x0, x1,
        // [x2]; add x29, x29, #16; ldp d8, d9, [sp]
        (
            Nothing,
            Falls,
            &[
                0xd400_0001,
                0xd400_0002,
                0xd503_201f,
                0xd503_3f9f,
                0xd503_233f,
                0xaa01_03e0,
                0xf940_0000,
                0xa902_7bfd,
                0xd101_03ff,
                0x9101_03ff,
                0xa8c2_4ff4,
                0xf81f_0ffe,
                0xa940_0440,
                0x9100_43bd,
                0x6d40_27e8,
            ],
        ),
    ];
    check("arm64", arm64::decode, &table);
}

#[test]
fn b2_every_instruction_of_arm32_that_moves_a_frame_is_known() {
    let table: [(Does, Next, &[u32]); 13] = [
        // mov r11, sp; add r11, sp, #12
        (SetsFrame, Falls, &[0xe1a0_b00d, 0xe28d_b00c]),
        // pop {r4, r5, r6, r11, lr}; pop {r11}
        (RestoresFrame, Falls, &[0xe8bd_4870, 0xe8bd_0800]),
        // pop {r4, r5, r6, r11, pc}; pop {r11, pc}
        (RestoresFrame, Ends, &[0xe8bd_8870, 0xe8bd_8800]),
        // popeq {r11, pc}; popne {r4, pc}
        (Nothing, Falls, &[0x08bd_8800, 0x18bd_8010]),
        (Nothing, Returns, &[0xe12f_ff1e]),
        // bl; bleq; blx; blx r3
        (Nothing, Call, &[0xeb00_0001, 0x0b00_0001, 0xfa00_0000, 0xe12f_ff33]),
        // b, forwards and backwards
        (Nothing, Jump(AT + 8), &[0xea00_0000]),
        (Nothing, Jump(AT - 4), &[0xeaff_fffd]),
        (Nothing, Branch(AT + 12), &[0x0a00_0001]),
        // bx r1; mov pc, r0; add pc, pc, r0; ldr pc, [sp], #4; ldm r0, {r1, pc}
        (Nothing, Leads, &[0xe12f_ff11, 0xe1a0_f000, 0xe08f_f000, 0xe49d_f004, 0xe890_8002]),
        // bxeq lr; addls pc, pc, r0, lsl #2; ldrls pc, [r1, r0, lsl #2]
        (Nothing, MayLead, &[0x012f_ff1e, 0x908f_f100, 0x9791_f100]),
        // udf; pop {r4, pc}
        (Nothing, Ends, &[0xe7f0_00f0, 0xe7ff_defe, 0xe8bd_8010]),
        // nop; cmp r0, #0; the same with what would be its result in the place of pc; teq
        // likewise; ldr r0, [r0]; str pc, [sp]; stm r0, {r1, pc}; push {r4, r5, r6, r11, lr}; sub
        // sp, sp, #8; pop {r4, r5}; sub sp, r11, #12; ldm r0, {r1, r2}; clz r0, r1; add r11, r11,
        // #4; svc; dmb
        (
            Nothing,
            Falls,
            &[
                0xe1a0_0000,
                0xe350_0000,
                0xe350_f000,
                0xe330_f000,
                0xe590_0000,
                0xe58d_f000,
                0xe880_8002,
                0xe92d_4870,
                0xe24d_d008,
                0xe8bd_0030,
                0xe24b_d00c,
                0xe890_0006,
                0xe16f_0f11,
                0xe28b_b004,
                0xef00_0000,
                0xf57f_f05b,
            ],
        ),
    ];
    check("arm32", arm32::decode, &table);
}

#[test]
fn b2_every_instruction_of_riscv64_that_moves_a_frame_is_known() {
    let long: [(Does, Next, &[u32]); 10] = [
        // addi s0, sp, 32; addi s0, sp, -16
        (SetsFrame, Falls, &[0x0201_0413, 0xff01_0413]),
        // ld s0, 16(sp)
        (RestoresFrame, Falls, &[0x0101_3403]),
        (Nothing, Returns, &[0x0000_8067]),
        // beqz a0, 8; bne backwards
        (Nothing, Branch(AT + 8), &[0x0005_0463]),
        (Nothing, Branch(AT - 4), &[0xfeb5_1ee3]),
        // j to itself; j 0x800
        (Nothing, Jump(AT), &[0x0000_006f]),
        (Nothing, Jump(AT + 0x800), &[0x0010_006f]),
        // jal ra; jalr ra, a0
        (Nothing, Call, &[0x0000_00ef, 0x0005_00e7]),
        // jalr zero, t1
        (Nothing, Leads, &[0x0003_0067]),
        // ebreak; sret; unimp
        (Nothing, Ends, &[0x0010_0073, 0x1020_0073, 0xc000_1073]),
    ];
    // ecall; li a0, 0; ld a0, 0(a1); ld ra, 24(sp); sd ra, 24(sp); addi sp, sp, 32; csrw sscratch,
    // zero; addi s0, s0, 16; lui a0, 1
    let falls: [(Does, Next, &[u32]); 1] = [(
        Nothing,
        Falls,
        &[
            0x0000_0073,
            0x0000_0513,
            0x0005_b503,
            0x0181_3083,
            0x0011_3c23,
            0x0201_0113,
            0x1400_1073,
            0x0104_0413,
            0x0000_1537,
        ],
    )];
    let compressed: [(Does, Next, &[u32]); 9] = [
        // addi4spn s0, 32; addi4spn s0, 16
        (SetsFrame, Falls, &[0x1000, 0x0800]),
        // ldsp s0, 16; ldsp s0, 0; ldsp s0, 32
        (RestoresFrame, Falls, &[0x6442, 0x6402, 0x7402]),
        (Nothing, Returns, &[0x8082]),
        // j to itself; j 4
        (Nothing, Jump(AT), &[0xa001]),
        // beqz a0, 12; bnez a0, 12
        (Nothing, Branch(AT + 12), &[0xc511, 0xe511]),
        // jr t1; jalr t1
        (Nothing, Leads, &[0x8302]),
        (Nothing, Call, &[0x9302]),
        // ebreak; no instruction
        (Nothing, Ends, &[0x9002, 0]),
        // addi4spn a0, 32; li a0, 0; sdsp ra, 24; ldsp ra, 24; addi16sp 32; mv a0, a1; lui a0, 1;
        // ld a0, 0(a0); addi a0, 1
        (Nothing, Falls, &[0x1008, 0x4501, 0xec06, 0x60e2, 0x6105, 0x852e, 0x6505, 0x6108, 0x0505]),
    ];
    check("riscv64", riscv64::decode, &long);
    check("riscv64", riscv64::decode, &falls);
    check("riscv64, compressed", riscv64::decode, &compressed);
}

/// Each instruction of a function with the state before it. Targets are numbers of instructions.
fn check_states(what: &str, function: &[(Does, Next, FrameState)]) {
    const BYTES: usize = 4;
    let all: Vec<Instruction> = function
        .iter()
        .enumerate()
        .map(|(number, &(does, next, _))| {
            let next = match next {
                Jump(to) => Jump(to * BYTES),
                Branch(to) => Branch(to * BYTES),
                other => other,
            };
            Instruction { at: number * BYTES, bytes: BYTES, does, next }
        })
        .collect();
    for (number, &(.., expected)) in function.iter().enumerate() {
        let found = followed::state(all.iter().copied(), number * BYTES);
        assert_eq!(found, expected, "{what}: instruction {number}");
    }
}

/// Outside of every function here.
const OUT: usize = 1000;

/// Red if a jump out of the function, or a trap, is taken for a way behind it.
#[test]
fn b2_a_frame_that_is_made_at_the_start_is_there_but_between_what_restores_it_and_the_way_out() {
    check_states(
        "ways out of each kind",
        &[
            (Nothing, Falls, InLink),
            (SetsFrame, Falls, InLink),
            (Nothing, Branch(8), There),
            (RestoresFrame, Falls, There),
            (Nothing, Falls, InLink),
            (Nothing, Returns, InLink),
            (Nothing, Call, There),
            (Nothing, Ends, There),
            (RestoresFrame, Falls, There),
            (Nothing, Jump(OUT), InLink),
            (Nothing, MayLead, There),
            (RestoresFrame, Falls, There),
            (Nothing, Leads, InLink),
            (RestoresFrame, Falls, There),
            // It calls itself.
            (Nothing, Jump(0), InLink),
            (RestoresFrame, Ends, There),
            (Nothing, Falls, There),
        ],
    );
    check_states(
        "a table, and what only it leads to, behind returns",
        &[
            (SetsFrame, Falls, InLink),
            (Nothing, Leads, There),
            (RestoresFrame, Falls, There),
            (Nothing, Returns, InLink),
            (Nothing, Falls, There),
            (RestoresFrame, Falls, There),
            (Nothing, Returns, InLink),
        ],
    );
    check_states(
        "no frame",
        &[(Nothing, Falls, InLink), (Nothing, Falls, Unknown), (Nothing, Returns, InLink)],
    );
    check_states(
        "what looks like the end of a frame, without one",
        &[(Nothing, Falls, InLink), (RestoresFrame, Falls, Unknown), (Nothing, Returns, InLink)],
    );
}

/// Red if a branch, or a jump in the function, behind what restores the frame leads to a place that
/// is taken for one with a frame.
#[test]
fn b3_ways_behind_what_restores_a_frame_are_followed() {
    check_states(
        "a branch",
        &[
            (SetsFrame, Falls, InLink),
            (Nothing, Call, There),
            (RestoresFrame, Falls, There),
            (Nothing, Branch(6), InLink),
            (Nothing, Falls, InLink),
            (Nothing, Jump(OUT), InLink),
            (Nothing, Falls, InLink),
            (Nothing, Jump(OUT), InLink),
        ],
    );
    check_states(
        "a return that two ways share",
        &[
            (SetsFrame, Falls, InLink),
            (Nothing, Branch(5), There),
            (RestoresFrame, Falls, There),
            (Nothing, Jump(8), InLink),
            (Nothing, Ends, Unknown),
            (Nothing, Call, There),
            (RestoresFrame, Falls, There),
            (Nothing, Branch(9), InLink),
            (Nothing, Falls, InLink),
            (Nothing, Returns, InLink),
        ],
    );
}

/// Red if the first instructions in the order of addresses are taken for the first that are
/// executed, if a call that does not return is taken for one that does, or if the ways of a loop
/// are followed without an end.
#[test]
fn b3_a_frame_that_is_made_where_it_is_needed_is_there_only_on_ways_that_make_it() {
    check_states(
        "behind a branch",
        &[
            (Nothing, Branch(6), InLink),
            (SetsFrame, Falls, InLink),
            (Nothing, Call, There),
            (Nothing, Falls, There),
            (RestoresFrame, Falls, There),
            (Nothing, Returns, InLink),
            (Nothing, Falls, InLink),
            (Nothing, Returns, InLink),
        ],
    );
    check_states(
        "behind a call that does not return, a way without",
        &[
            (Nothing, Branch(4), InLink),
            (SetsFrame, Falls, InLink),
            (Nothing, Branch(6), There),
            (Nothing, Call, There),
            (Nothing, Falls, InLink),
            (Nothing, Returns, InLink),
            (Nothing, Call, There),
            (RestoresFrame, Ends, There),
        ],
    );
    check_states(
        "a loop whose first instruction stands last",
        &[
            (Nothing, Branch(8), InLink),
            (SetsFrame, Falls, InLink),
            (Nothing, Jump(5), There),
            (Nothing, Falls, There),
            (Nothing, Falls, There),
            (Nothing, Branch(3), There),
            (RestoresFrame, Falls, There),
            (Nothing, Returns, InLink),
            (Nothing, Falls, InLink),
            (Nothing, Returns, InLink),
        ],
    );
    check_states(
        "two loops that lead to each other, and nothing to them",
        &[
            (Nothing, Branch(7), InLink),
            (SetsFrame, Falls, InLink),
            (RestoresFrame, Ends, There),
            (Nothing, Falls, Unknown),
            (Nothing, Jump(5), Unknown),
            (Nothing, Falls, Unknown),
            (Nothing, Jump(3), Unknown),
            (Nothing, Returns, InLink),
        ],
    );
    check_states(
        "where a table may lead to what stands behind a call",
        &[
            (Nothing, MayLead, InLink),
            (SetsFrame, Falls, InLink),
            (Nothing, Falls, There),
            (Nothing, Call, There),
            (Nothing, Falls, Unknown),
            (RestoresFrame, Ends, There),
        ],
    );
    check_states(
        "two places that make a frame",
        &[
            (Nothing, Branch(4), InLink),
            (SetsFrame, Falls, InLink),
            (Nothing, Falls, There),
            (RestoresFrame, Ends, There),
            (SetsFrame, Falls, InLink),
            (Nothing, Falls, There),
            (RestoresFrame, Ends, There),
        ],
    );
}

/// Red if what does not fit into the places that are kept is forgotten.
#[test]
fn b3_a_search_that_loses_places_says_that_it_does_not_know() {
    // More branches to the place behind a call than are kept, from places that nothing leads to.
    const BRANCHES: usize = 40;
    let mut function = std::vec![
        (Nothing, Branch(3), InLink),
        (SetsFrame, Falls, InLink),
        (RestoresFrame, Ends, There),
        (Nothing, Returns, InLink),
    ];
    let behind = function.len() + 2 * BRANCHES + 2;
    for _ in 0..BRANCHES {
        function.push((Nothing, Branch(behind), Unknown));
        function.push((Nothing, Ends, Unknown));
    }
    function.push((SetsFrame, Falls, Unknown));
    function.push((Nothing, Call, There));
    function.push((Nothing, Falls, Unknown));
    check_states("too many", &function);
}
