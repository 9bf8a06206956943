//! Prologues and epilogues as compilers write them, and code that keeps no frames; every
//! instruction of each.

use super::FrameState::{self, InLink, OnStack, There, Unknown};
use super::{arm32, arm64, riscv64, x86};
use std::vec::Vec;

mod meanings;

type State = fn(&[u8], usize) -> FrameState;

/// Instructions with the state before each.
fn check(what: &str, state: State, instructions: &[(&[u8], FrameState)]) -> Vec<u8> {
    let code: Vec<u8> = instructions.iter().flat_map(|(bytes, _)| bytes.iter().copied()).collect();
    let mut offset = 0;
    for (number, (bytes, expected)) in instructions.iter().enumerate() {
        assert_eq!(state(&code, offset), *expected, "{what}: instruction {number}");
        offset += bytes.len();
    }
    assert_eq!(state(&code, code.len()), Unknown, "{what}: after the end");
    assert_eq!(state(&code, code.len() + 64), Unknown);
    code
}

#[test]
fn b2_code_of_pcs_tells_where_the_return_address_is() {
    let code = check(
        "a function that saves a register",
        x86::state,
        &[
            (&[0x55], OnStack(0)),              // push rbp
            (&[0x48, 0x89, 0xe5], OnStack(1)),  // mov rbp, rsp
            (&[0x53], There),                   // push rbx
            (&[0x50], There),                   // push rax
            (&[0xe8, 0, 0, 0, 0], There),       // call
            (&[0xeb, 0x00], There),             // jmp
            (&[0x48, 0x83, 0xc4, 0x08], There), // add rsp, 8
            (&[0x5b], There),                   // pop rbx
            (&[0x5d], There),                   // pop rbp
            (&[0xc3], OnStack(0)),              // ret
            (&[0x5d], There),                   // another way out
            (&[0xe9, 0, 0, 0, 0], Unknown),     // jmp, a call in the last place
            (&[0x5d], There),
            (&[0xff, 0xe0], Unknown), // jmp rax
            (&[0x5d], There),
            (&[0x0f, 0x05], Unknown),    // syscall: a false alarm
            (&[0xf3, 0xc3], OnStack(0)), // rep ret
        ],
    );
    assert!(x86::keeps_frames(&code));
    // In the middle of an instruction.
    assert_eq!(x86::state(&code, 2), Unknown);
    assert_eq!(x86::state(&code, 3), Unknown);
    check(
        "with a mark for indirect calls, 32 bits",
        x86::state,
        &[
            (&[0xf3, 0x0f, 0x1e, 0xfb], OnStack(0)),
            (&[0x55], OnStack(0)),
            (&[0x89, 0xe5], OnStack(1)),
            (&[0x90], There),
            (&[0x5d], There),
            (&[0xc2, 4, 0], OnStack(0)),
        ],
    );
    let naked = check(
        "without frames",
        x86::state,
        &[
            (&[0x48, 0x83, 0xec, 0x08], OnStack(0)), // sub rsp, 8
            (&[0xcd, 0x40], Unknown),                // int
            (&[0x48, 0x83, 0xc4, 0x08], Unknown),    // add rsp, 8
            (&[0xc3], OnStack(0)),
        ],
    );
    assert!(!x86::keeps_frames(&naked));
    let late = check(
        "a frame that is made only where it is needed",
        x86::state,
        &[
            (&[0x85, 0xff], OnStack(0)),       // test edi, edi
            (&[0x74, 0x05], OnStack(0)),       // je
            (&[0xc6, 0x07, 0x01], OnStack(0)), // mov byte ptr [rdi], 1
            (&[0xc3], OnStack(0)),             // ret
            (&[0x55], OnStack(0)),             // push rbp
            (&[0x48, 0x89, 0xe5], OnStack(1)), // mov rbp, rsp
            (&[0x50], There),                  // push rax
            (&[0x58], There),                  // pop rax
            (&[0x5d], There),                  // pop rbp
            (&[0xf0, 0xff, 0x07], Unknown),    // lock inc dword ptr [rdi], moved down
            (&[0xc3], OnStack(0)),             // ret
            (&[0x90], Unknown),                // a way without a frame
            (&[0xc3], OnStack(0)),
        ],
    );
    assert!(x86::keeps_frames(&late));
    assert!(!x86::keeps_frames(&[]) && x86::state(&[], 0) == Unknown);
}

/// Red if an instruction that leaves the function is not known, or if the byte of a pop somewhere
/// far off makes all of a body doubtful.
#[test]
fn b2_code_of_pcs_behind_a_pop_is_doubted_where_it_may_be_on_its_way_out() {
    const BODY: usize = 4;
    let state = |tail: &[u8], at: usize| {
        let mut code = std::vec![0x55, 0x48, 0x89, 0xe5];
        code.extend(tail);
        x86::state(&code, BODY + at)
    };
    let nops = [0x90; 40];
    // Jumps as calls in the last place: short, through a register, through one of the upper
    // registers, conditional.
    for jump in [
        &[0xeb, 0x10][..],
        &[0xff, 0xe0],
        &[0x41, 0xff, 0xe3],
        &[0x75, 0x10],
        &[0x0f, 0x85, 1, 0, 0, 0],
    ] {
        let right_behind = [&[0x5d], jump, &nops[..]].concat();
        assert_eq!(state(&right_behind, 1), Unknown, "{jump:x?}");
        assert_eq!(state(&right_behind, 0), There, "{jump:x?}");
        // Of the body.
        let later = [&[0x5d, 0x90], jump, &nops[..]].concat();
        assert_eq!(state(&later, 2), There, "{jump:x?}");
        let without = [jump, &nops[..]].concat();
        assert_eq!(state(&without, 0), There, "{jump:x?}");
    }
    assert_eq!(state(&[&[0x5d], &nops[..]].concat(), 1), There);
    // A return up to 23 bytes behind the pop, or a long jump.
    for over in [0xc3, 0xe9] {
        let way_out = |between: usize| [&[0x5d], &nops[..between], &[over, 0, 0, 0, 0]].concat();
        assert_eq!(state(&way_out(22), 1), Unknown);
        assert_eq!(state(&way_out(22), 22), Unknown);
        assert_eq!(state(&way_out(23), 1), There);
        assert_eq!(state(&way_out(30), 25), There);
    }
}

/// A pop that is about to be executed finds the record, whatever the bytes before it look like:
/// here each is one of a pop and belongs to another instruction. Red if only the bytes before it
/// are asked.
#[test]
fn b2_code_of_pcs_still_has_its_record_at_the_pop_itself() {
    for before in [
        &[0x48, 0x8b, 0x5d, 0xf0, 0xcd, 0x41][..], // mov rbx, [rbp - 16]; int 0x41
        &[0xcd, 0x5d],                             // int 0x5d
        &[0xe8, 0x10, 0x5d, 0x00, 0x00, 0xcd, 0x41], // call; int 0x41
        &[0x5b, 0x41, 0x5d],                       // pop rbx; pop r13
    ] {
        for over in [&[0xc3][..], &[0xe9, 0, 0, 0, 0], &[0xeb, 0x10], &[0xff, 0xe0]] {
            let whole = [&[0x55, 0x48, 0x89, 0xe5], before, &[0x5d], over].concat();
            let pop = 4 + before.len();
            assert_eq!(x86::state(&whole, pop), There, "{before:x?} {over:x?}");
            assert_ne!(x86::state(&whole, pop + 1), There, "{before:x?} {over:x?}");
            let short = [&[0x55, 0x89, 0xe5], before, &[0x5d], over].concat();
            assert_eq!(x86::state(&short, pop - 1), There, "{before:x?} {over:x?}");
        }
    }
}

/// Red if a frame that is made behind a branch is taken for one that is made first: behind a return
/// nothing is known of it.
#[test]
fn b2_code_of_pcs_makes_its_frame_at_the_start_or_behind_the_mark_for_indirect_calls() {
    let behind_a_return = |before: &[u8]| {
        let code =
            [before, &[0x55, 0x48, 0x89, 0xe5, 0x90, 0xc3, 0x90, 0x90], &[0x90; 40]].concat();
        x86::state(&code, before.len() + 6)
    };
    assert_eq!(behind_a_return(&[]), There);
    assert_eq!(behind_a_return(&[0xf3, 0x0f, 0x1e, 0xfa]), There);
    assert_eq!(behind_a_return(&[0x85, 0xff, 0x74, 0x05]), Unknown);
    assert_eq!(behind_a_return(&[0xf3, 0x0f, 0x1e, 0xfa, 0x85, 0xff, 0x74, 0x05]), Unknown);
}

/// Red if only what stands close to a return is taken for the end of a frame: a function that had
/// one for a single load wrote a structure afterwards, and backtraces from there left out its
/// caller.
#[test]
fn b3_code_of_pcs_that_gives_its_frame_up_long_before_it_returns_is_doubted() {
    let store = [0xc7, 0x40, 0x08, 0, 0, 0, 0]; // mov dword ptr [rax + 8], 0
    let with = |before: &[u8]| {
        let frame = [0x55, 0x48, 0x89, 0xe5, 0x48, 0x8b, 0x0c, 0x11, 0x5d];
        [before, &frame, &store.repeat(8), &[0xc3]].concat()
    };
    // test rdi, rdi; je
    let late = with(&[0x48, 0x85, 0xff, 0x74, 0x09]);
    let behind = 5 + 9;
    assert_eq!(x86::state(&late, behind - 1), There, "the pop");
    for number in 0..8 {
        assert_eq!(x86::state(&late, behind + number * store.len()), Unknown, "store {number}");
    }
    assert_eq!(x86::state(&late, late.len() - 1), OnStack(0));
}

/// A way without a frame that stands behind one with a frame, with no return in between: what leads
/// away from there is a jump, or a call that does not return. Red if only returns are looked for:
/// the walk was called reliable, without the caller of such a leaf.
#[test]
fn b3_a_way_without_a_frame_behind_one_that_ends_in_no_return_is_not_taken_for_a_body() {
    let pc = |between: &[u8], offset: usize| {
        // test edi, edi; je; the frame; ...; mov eax, edi; nop; ret
        let code =
            [&[0x85, 0xff, 0x74, 0x09, 0x55, 0x48, 0x89, 0xe5][..], between, &[0x89, 0xf8, 0x90]]
                .concat();
        x86::state(&[&code[..], &[0xc3]].concat(), 8 + offset)
    };
    for between in [
        &[0x5d, 0xe9, 1, 2, 3, 4][..], // pop rbp; jmp
        &[0x5d, 0xeb, 0x04],           // pop rbp; jmp short
        &[0x5d, 0xff, 0xe0],           // pop rbp; jmp rax
        &[0xe8, 1, 2, 3, 4],           // call
        &[0x90, 0x0f, 0x0b],           // ud2
    ] {
        assert_eq!(pc(between, 0), There, "{between:x?}: still on the way of the frame");
        assert_eq!(pc(between, between.len()), Unknown, "{between:x?}");
        assert_eq!(pc(between, between.len() + 2), Unknown, "{between:x?}");
    }
    let words = |state: State, all: &[u32], at: usize| {
        let code: Vec<u8> = all.iter().flat_map(|&one| word(one)).collect();
        state(&code, at * 4)
    };
    // cbz; stp, mov; bl; ldp; b; the way without: nop, nop, ret
    let (nop, ret) = (0xd503_201f, 0xd65f_03c0);
    let arm64 = [
        0xb400_0040,
        0xa9bf_7bfd,
        0x9100_03fd,
        nop,
        0x9400_0001,
        0xa8c1_7bfd,
        0x1400_0010,
        nop,
        nop,
        ret,
    ];
    let arm32 = [
        0x0a00_0002,
        0xe92d_4800,
        0xe1a0_b00d,
        0xe1a0_0000,
        0xeb00_0000,
        0xe8bd_4800,
        0xea00_0010,
        0xe1a0_0000,
        0xe1a0_0000,
        0xe12f_ff1e,
    ];
    let riscv = [
        0x0005_0463,
        0xff01_0113,
        0x0101_0413,
        0x0000_0513,
        0x0000_00ef,
        0x0001_3403,
        0x0000_006f,
        0x0000_0513,
        0x0000_0513,
        0x0000_8067,
    ];
    let all: [(State, &[u32]); 3] =
        [(arm64::state, &arm64), (arm32::state, &arm32), (riscv64::state, &riscv)];
    for (machine, (state, code)) in all.into_iter().enumerate() {
        assert_eq!(words(state, code, 3), There, "{machine}: the straight way");
        assert_eq!(words(state, code, 5), There, "{machine}: what restores the frame pointer");
        assert_ne!(words(state, code, 6), There, "{machine}: the jump out");
        for at in 7..9 {
            assert_ne!(words(state, code, at), There, "{machine}: instruction {at}");
        }
        assert_eq!(words(state, code, 9), InLink, "{machine}: the return");
    }
}

fn word(word: u32) -> [u8; 4] {
    word.to_le_bytes()
}

fn check_words(what: &str, state: State, instructions: &[(u32, FrameState)]) -> Vec<u8> {
    let words: Vec<([u8; 4], FrameState)> =
        instructions.iter().map(|&(instruction, state)| (word(instruction), state)).collect();
    let all: Vec<(&[u8], FrameState)> =
        words.iter().map(|(bytes, state)| (bytes.as_slice(), *state)).collect();
    let code = check(what, state, &all);
    assert_eq!(state(&code, 2), Unknown);
    code
}

#[test]
fn b2_arm64_code_tells_where_the_return_address_is() {
    let code = check_words(
        "a function that saves registers",
        arm64::state,
        &[
            (0xd503_233f, InLink), // paciasp
            (0xa9bd_7bfd, InLink), // stp x29, x30, [sp, #-48]!
            (0xa901_57f6, InLink), // stp x22, x21, [sp, #16]
            (0x9100_03fd, InLink), // mov x29, sp
            (0x9400_0001, There),  // bl
            (0x1400_0001, There),  // b
            (0xb400_0040, There),  // cbz
            (0xa941_57f6, There),  // ldp x22, x21, [sp, #16]
            (0xa8c3_7bfd, There),  // ldp x29, x30, [sp], #48
            (0xd65f_03c0, InLink), // ret
        ],
    );
    assert!(arm64::keeps_frames(&code));
    check_words(
        "a large frame and a call in the last place",
        arm64::state,
        &[
            (0xd101_03ff, InLink), // sub sp, sp, #64
            (0xa902_7bfd, InLink), // stp x29, x30, [sp, #32]
            (0x9100_83fd, InLink), // add x29, sp, #32
            (0xf940_0000, There),  // ldr x0, [x0]
            (0xa942_7bfd, There),  // ldp x29, x30, [sp, #32]
            (0xf940_1bf3, InLink), // ldr x19, [sp, #48]
            (0x9101_03ff, InLink), // add sp, sp, #64
            (0xd65f_03c0, InLink),
            (0xa942_7bfd, There),
            (0x9101_03ff, InLink), // add sp, sp, #64
            (0x1400_0010, InLink), // b elsewhere
        ],
    );
    check_words(
        "what the compiler moves between the last instructions",
        arm64::state,
        &[
            (0xa9bf_7bfd, InLink), // stp x29, x30, [sp, #-16]!
            (0x9100_03fd, InLink),
            (0xa8c1_7bfd, There),  // ldp x29, x30, [sp], #16
            (0x1200_0000, InLink), // and w0, w0, #1
            (0xd503_23bf, InLink), // autiasp
            (0xd65f_03c0, InLink),
        ],
    );
    let naked = check_words(
        "without frames",
        arm64::state,
        &[
            (0xf81f_0ffe, InLink),  // str x30, [sp, #-16]!
            (0x9400_0001, Unknown), // bl
            (0xf841_07fe, Unknown), // ldr x30, [sp], #16
            (0xd65f_03c0, InLink),
        ],
    );
    assert!(!arm64::keeps_frames(&naked));
    let late = check_words(
        "a frame that is made only where it is needed",
        arm64::state,
        &[
            (0xb400_0040, InLink), // cbz
            (0xa9bf_7bfd, InLink),
            (0x9100_03fd, InLink),
            (0x9400_0001, There), // bl
            (0xa8c1_7bfd, There),
            (0xd65f_03c0, InLink),
            (0xd503_201f, Unknown), // a way without a frame
            (0xd65f_03c0, InLink),
        ],
    );
    assert!(arm64::keeps_frames(&late));
}

#[test]
fn b2_arm32_code_tells_where_the_return_address_is() {
    let code = check_words(
        "a function that saves registers",
        arm32::state,
        &[
            (0xe92d_4870, InLink), // push {r4, r5, r6, r11, lr}
            (0xe28d_b00c, InLink), // add r11, sp, #12
            (0xeb00_0000, There),  // bl
            (0x0a00_0000, There),  // beq
            (0xea00_0000, There),  // b
            (0xe590_0000, There),  // ldr r0, [r0]
            (0xe24b_d00c, There),  // sub sp, r11, #12
            (0xe8bd_8870, There),  // pop {r4, r5, r6, r11, pc}
            (0xe8bd_4870, There),  // pop {r4, r5, r6, r11, lr}
            (0xe12f_ff1e, InLink), // bx lr
            (0xe8bd_4870, There),
            (0xea00_0010, InLink), // b elsewhere
        ],
    );
    assert!(arm32::keeps_frames(&code));
    check_words(
        "the smallest frame",
        arm32::state,
        &[
            (0xe92d_4800, InLink), // push {r11, lr}
            (0xe1a0_b00d, InLink), // mov r11, sp
            (0xe3a0_0000, There),  // mov r0, #0
            (0xe8bd_8800, There),  // pop {r11, pc}
        ],
    );
    let naked = check_words(
        "without frames",
        arm32::state,
        &[
            (0xe92d_4010, InLink),  // push {r4, lr}
            (0xe1a0_0000, Unknown), // nop
            (0xe8bd_8010, Unknown), // pop {r4, pc}
        ],
    );
    assert!(!arm32::keeps_frames(&naked));
    let late = check_words(
        "a frame that is made only where it is needed",
        arm32::state,
        &[
            (0xe350_0000, InLink), // cmp r0, #0
            (0x012f_ff1e, InLink), // bxeq lr
            (0xe92d_4800, InLink),
            (0xe1a0_b00d, InLink),
            (0xe8bd_8800, There),
            (0xe1a0_0000, Unknown), // a way without a frame
        ],
    );
    assert!(arm32::keeps_frames(&late));
}

#[test]
fn b2_riscv64_code_tells_where_the_return_address_is() {
    let (long, short) = (word, |half: u16| half.to_le_bytes());
    let code = check(
        "compressed",
        riscv64::state,
        &[
            (&short(0x1101), InLink),    // c.addi sp, -32
            (&short(0xec06), InLink),    // c.sdsp ra, 24
            (&short(0xe822), InLink),    // c.sdsp s0, 16
            (&short(0xe426), InLink),    // c.sdsp s1, 8
            (&short(0x1000), InLink),    // c.addi4spn s0, 32
            (&long(0x0000_00ef), There), // jal ra
            (&short(0xa001), There),     // c.j
            (&long(0x0005_0463), There), // beqz a0
            (&short(0x60e2), There),     // c.ldsp ra, 24
            (&short(0x6442), There),     // c.ldsp s0, 16
            (&short(0x64a2), InLink),    // c.ldsp s1, 8
            (&short(0x6105), InLink),    // c.addi16sp 32
            (&short(0x8082), InLink),    // ret
            (&short(0x6442), There),     // another way out
            (&short(0x6105), InLink),    // c.addi16sp 32
            (&short(0x8302), InLink),    // c.jr t1, a call in the last place
        ],
    );
    assert!(riscv64::keeps_frames(&code));
    // In the middle of an instruction.
    assert_eq!(riscv64::state(&code, 1), Unknown);
    assert_eq!(riscv64::state(&code, 12), Unknown);
    check(
        "the smallest frame",
        riscv64::state,
        &[
            (&short(0x1141), InLink), // c.addi sp, -16
            (&short(0xe406), InLink), // c.sdsp ra, 8
            (&short(0xe022), InLink), // c.sdsp s0, 0
            (&short(0x0800), InLink), // c.addi4spn s0, 16
            (&short(0x4501), There),  // c.li a0, 0
            (&short(0x60a2), There),  // c.ldsp ra, 8
            (&short(0x6402), There),  // c.ldsp s0, 0
            (&short(0x4501), InLink), // c.li a0, 0, moved down
            (&short(0x0141), InLink), // c.addi sp, 16
            (&short(0x8082), InLink),
        ],
    );
    check(
        "of four bytes each",
        riscv64::state,
        &[
            (&long(0xfe01_0113), InLink), // addi sp, sp, -32
            (&long(0x0011_3c23), InLink), // sd ra, 24(sp)
            (&long(0x0081_3823), InLink), // sd s0, 16(sp)
            (&long(0x0201_0413), InLink), // addi s0, sp, 32
            (&long(0x0000_0513), There),  // li a0, 0
            (&long(0x0181_3083), There),  // ld ra, 24(sp)
            (&long(0x0101_3403), There),  // ld s0, 16(sp)
            (&long(0x0201_0113), InLink), // addi sp, sp, 32
            (&long(0x0000_8067), InLink), // ret
        ],
    );
    let naked = check(
        "without frames",
        riscv64::state,
        &[
            (&short(0x1141), InLink),  // c.addi sp, -16
            (&short(0xe406), Unknown), // c.sdsp ra, 8
            (&long(0x0000_00ef), Unknown),
            (&short(0x60a2), Unknown), // c.ldsp ra, 8
            (&short(0x0141), Unknown), // c.addi sp, 16
            (&short(0x8082), InLink),
        ],
    );
    assert!(!riscv64::keeps_frames(&naked));
    // Half an instruction at the end.
    assert_eq!(riscv64::state(&[0x13, 0x01], 0), Unknown);
}
