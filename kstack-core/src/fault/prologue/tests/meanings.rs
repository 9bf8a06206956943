//! Each instruction that means something, and what follows from what a function's instructions
//! mean.
//!
//! A wrong word here is a caller that a backtrace leaves out and calls itself reliable.

use super::super::Means::{
    self, Branches, Leaves, RestoresAndReturns, RestoresFrame, Returns, SetsFrame, Works,
};
use super::super::{FrameState, arm32, arm64, riscv64, state_of};
use super::{InLink, There, Unknown};

fn check(arch: &str, means: fn(u32) -> Means, table: &[(Means, &[u32])]) {
    for (expected, words) in table {
        for &word in *words {
            assert_eq!(means(word), *expected, "{arch}: {word:#010x}");
        }
    }
}

#[test]
fn b2_every_instruction_of_arm64_that_moves_a_frame_is_known() {
    let table: [(Means, &[u32]); 6] = [
        // mov x29, sp; add x29, sp, #32; the same with #1, lsl #12
        (SetsFrame, &[0x9100_03fd, 0x9100_83fd, 0x9140_07fd]),
        // ret, retaa, retab
        (Returns, &[0xd65f_03c0, 0xd65f_0bff, 0xd65f_0fff]),
        // ldp x29, x30, [sp, #32]; ldp x29, x30, [sp], #48
        (RestoresFrame, &[0xa942_7bfd, 0xa8c3_7bfd]),
        // ldp x22, x21, [sp, #16]; ldp x20, x19, [sp], #32; ldr x19, [sp, #48]; ldr x30, [sp], #16;
        // add sp, sp, #64; autiasp; autibsp
        (
            Leaves,
            &[
                0xa941_57f6,
                0xa8c2_4ff4,
                0xf940_1bf3,
                0xf841_07fe,
                0x9101_03ff,
                0xd503_23bf,
                0xd503_23ff,
            ],
        ),
        // b; bl; b.eq; cbz x0; cbnz w0; tbz; tbnz; svc; brk; br x16; blr x8; eret
        (
            Branches,
            &[
                0x1400_0001,
                0x9400_0001,
                0x5400_0040,
                0xb400_0040,
                0x3500_0040,
                0x3600_0040,
                0x3707_0040,
                0xd400_0001,
                0xd420_0000,
                0xd61f_0200,
                0xd63f_0100,
                0xd69f_03e0,
            ],
        ),
        // nop; dsb sy; paciasp; mov x0, x1; ldr x0, [x0]; stp x29, x30, [sp, #32]; sub sp, sp, #64;
        // str x30, [sp, #-16]!; ldp x0, x1, [x2]; add x0, x1, #1; add x29, x29, #16; ldp d8, d9,
        // [sp]; udf
        (
            Works,
            &[
                0xd503_201f,
                0xd503_3f9f,
                0xd503_233f,
                0xaa01_03e0,
                0xf940_0000,
                0xa902_7bfd,
                0xd101_03ff,
                0xf81f_0ffe,
                0xa940_0440,
                0x9100_0420,
                0x9100_43bd,
                0x6d40_27e8,
                0,
            ],
        ),
    ];
    check("arm64", arm64::means, &table);
}

#[test]
fn b2_every_instruction_of_arm32_that_moves_a_frame_is_known() {
    let table: [(Means, &[u32]); 7] = [
        // mov r11, sp; add r11, sp, #12
        (SetsFrame, &[0xe1a0_b00d, 0xe28d_b00c]),
        (Returns, &[0xe12f_ff1e]),
        // pop {r4, r5, r6, r11, pc}; pop {r11, pc}
        (RestoresAndReturns, &[0xe8bd_8870, 0xe8bd_8800]),
        // pop {r4, r5, r6, r11, lr}; pop {r11}
        (RestoresFrame, &[0xe8bd_4870, 0xe8bd_0800]),
        // pop {r4, r5}; add sp, sp, #8; sub sp, r11, #12
        (Leaves, &[0xe8bd_0030, 0xe28d_d008, 0xe24b_d00c]),
        // pop {r4, pc}; b; bl; beq; blx; bx r1; blx r3; bxeq lr; mov pc, r0; add pc, pc, r0; ldr
        // pc, [sp], #4; ldm r0, {r1, pc}; svc
        (
            Branches,
            &[
                0xe8bd_8010,
                0xea00_0000,
                0xeb00_0001,
                0x0a00_0000,
                0xfa00_0000,
                0xe12f_ff11,
                0xe12f_ff33,
                0x012f_ff1e,
                0xe1a0_f000,
                0xe08f_f000,
                0xe49d_f004,
                0xe890_8002,
                0xef00_0000,
            ],
        ),
        // nop; cmp r0, #0; the same with what would be its result in the place of pc; teq likewise;
        // ldr r0, [r0]; str pc, [sp]; stm r0, {r1, pc}; push {r4, r5, r6, r11, lr}; sub sp, sp, #8;
        // mov r0, #0; ldm r0, {r1, r2}; clz r0, r1; add r11, r11, #4
        (
            Works,
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
                0xe3a0_0000,
                0xe890_0006,
                0xe16f_0f11,
                0xe28b_b004,
            ],
        ),
    ];
    check("arm32", arm32::means, &table);
}

#[test]
fn b2_every_instruction_of_riscv64_that_moves_a_frame_is_known() {
    let long: [(Means, &[u32]); 6] = [
        // addi s0, sp, 32; addi s0, sp, -16
        (SetsFrame, &[0x0201_0413, 0xff01_0413]),
        (Returns, &[0x0000_8067]),
        // ld s0, 16(sp)
        (RestoresFrame, &[0x0101_3403]),
        // ld ra, 24(sp); ld s1, 8(sp); addi sp, sp, 32; addi sp, s0, -32
        (Leaves, &[0x0181_3083, 0x0081_3483, 0x0201_0113, 0xfe04_0113]),
        // beqz a0; jalr ra, a0; jalr zero, t1; jal ra; ecall; ebreak; sret
        (
            Branches,
            &[
                0x0005_0463,
                0x0005_00e7,
                0x0003_0067,
                0x0000_00ef,
                0x0000_0073,
                0x0010_0073,
                0x1020_0073,
            ],
        ),
        // li a0, 0; ld a0, 0(a1); sd ra, 24(sp); csrw sscratch, zero; addi s0, s0, 16; lui a0, 1
        (Works, &[0x0000_0513, 0x0005_b503, 0x0011_3c23, 0x1400_1073, 0x0104_0413, 0x0000_1537]),
    ];
    let compressed: [(Means, &[u32]); 6] = [
        // addi4spn s0, 32; addi4spn s0, 16
        (SetsFrame, &[0x1000, 0x0800]),
        (Returns, &[0x8082]),
        // ldsp s0, 16; ldsp s0, 0; ldsp s0, 32
        (RestoresFrame, &[0x6442, 0x6402, 0x7402]),
        // ldsp ra, 24; ldsp s1, 8; addi16sp 32; addi sp, 16
        (Leaves, &[0x60e2, 0x64a2, 0x6105, 0x0141]),
        // j; beqz a0; bnez a0; jr t1; jalr t1; ebreak
        (Branches, &[0xa001, 0xc101, 0xe101, 0x8302, 0x9302, 0x9002]),
        // no instruction; addi4spn a0, 32; li a0, 0; sdsp ra, 24; mv a0, a1; lui a0, 1; ld a0,
        // 0(a0); addi a0, 1
        (Works, &[0, 0x1008, 0x4501, 0xec06, 0x852e, 0x6505, 0x6108, 0x0505]),
    ];
    check("riscv64", riscv64::means, &long);
    check("riscv64", riscv64::means, &compressed);
}

/// Each instruction of a function with the state before it.
fn check_states(what: &str, function: &[(Means, FrameState)]) {
    let meanings = function.iter().map(|(means, _)| *means);
    for (at, (_, expected)) in function.iter().enumerate() {
        assert_eq!(state_of(meanings.clone(), at), *expected, "{what}: instruction {at}");
    }
}

#[test]
fn b2_what_the_instructions_of_a_function_mean_says_where_the_return_address_is() {
    check_states(
        "a way out that two ways share, behind a branch",
        &[
            (SetsFrame, InLink),
            (Works, There),
            (RestoresFrame, There),
            (Branches, Unknown),
            (Leaves, InLink),
            (Returns, InLink),
        ],
    );
    check_states(
        "a call in the last place, by a way that restored nothing",
        &[(SetsFrame, InLink), (Branches, There), (Leaves, Unknown), (Branches, Unknown)],
    );
    check_states(
        "a saved register that is loaded early",
        &[
            (SetsFrame, InLink),
            (Leaves, There),
            (Works, There),
            (Branches, There),
            (Leaves, There),
            (RestoresFrame, There),
            (Leaves, InLink),
            (Works, InLink),
            (Leaves, InLink),
            (Returns, InLink),
        ],
    );
    check_states(
        "code that ends with neither a return nor a branch",
        &[(SetsFrame, InLink), (RestoresFrame, There), (Works, Unknown), (Leaves, Unknown)],
    );
    check_states(
        "no frame",
        &[(Works, InLink), (Works, Unknown), (Returns, InLink), (Leaves, Unknown)],
    );
}

/// Red if a way without a frame, behind a return, is taken for one with a frame: only a frame that
/// is made first is there on every way.
#[test]
fn b2_behind_a_return_there_is_a_frame_only_if_it_was_made_at_the_start() {
    for returns in [Returns, RestoresAndReturns] {
        let expected = if returns == Returns { InLink } else { There };
        check_states(
            "made at the start",
            &[
                (Works, InLink),
                (SetsFrame, InLink),
                (returns, expected),
                (Works, There),
                (returns, expected),
            ],
        );
        check_states(
            "made behind a branch",
            &[
                (Branches, InLink),
                (SetsFrame, InLink),
                (Works, There),
                (returns, expected),
                (Works, Unknown),
            ],
        );
        // A return before the frame is made is of a way that makes none; the one that makes it is
        // there all the same.
        check_states(
            "made behind a return",
            &[
                (returns, InLink),
                (SetsFrame, InLink),
                (Works, There),
                (returns, expected),
                (Works, Unknown),
            ],
        );
    }
}
