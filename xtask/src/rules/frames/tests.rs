//! Frames read from instructions that are planted, and the judgement on an image's.

use super::*;

fn bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

#[test]
fn o2_frames_of_every_architecture_are_read_from_their_code() {
    // push rbp; mov rbp, rsp; sub rsp, 0x1230; ...; add rsp, 0x1230; pop rbp; ret
    let x86_64 = [
        0x55, 0x48, 0x89, 0xe5, 0x48, 0x81, 0xec, 0x30, 0x12, 0, 0, 0x48, 0x81, 0xc4, 0x30, 0x12,
        0, 0, 0x5d, 0xc3,
    ];
    assert_eq!(frame(Architecture::X86_64, &x86_64), Some(0x1238));
    // lea r11, [rsp - 0x9000]; 2: sub rsp, 0x1000; mov qword ptr [rsp], 0; cmp rsp, r11; jne
    // 2b; sub rsp, 0x3c0
    let probes = [
        0x4c, 0x8d, 0x9c, 0x24, 0, 0x70, 0xff, 0xff, 0x48, 0x81, 0xec, 0, 0x10, 0, 0, 0x48, 0xc7,
        0x04, 0x24, 0, 0, 0, 0, 0x4c, 0x39, 0xdc, 0x75, 0xef, 0x48, 0x81, 0xec, 0xc0, 3, 0, 0,
    ];
    // A page more than it is: the loop's body counts once more. Too wide is the safe side.
    assert_eq!(frame(Architecture::X86_64, &probes), Some(0xa3c0));
    // mov rbp, rsp; mov r11, rsp; sub r11, 0x9000; 2: sub rsp, 0x1000; ...; sub rsp, 0x3c0: the
    // loop's end in two instructions
    let probes = [
        0x48, 0x89, 0xe5, 0x49, 0x89, 0xe3, 0x49, 0x81, 0xeb, 0, 0x90, 0, 0, 0x48, 0x81, 0xec, 0,
        0x10, 0, 0, 0x48, 0x81, 0xec, 0xc0, 3, 0, 0,
    ];
    assert_eq!(frame(Architecture::X86_64, &probes), Some(0xa3c0));
    // mov eax, esp; sub eax, 0x9000; 2: sub esp, 0x1000
    let probes = [0x89, 0xe0, 0x2d, 0, 0x90, 0, 0, 0x81, 0xec, 0, 0x10, 0, 0];
    assert_eq!(frame(Architecture::I386, &probes), Some(0xa000));
    // and esp, -64; sub esp, 0x18
    assert_eq!(frame(Architecture::I386, &[0x83, 0xe4, 0xc0, 0x83, 0xec, 0x18]), Some(63 + 24));
    // push ebp; sub esp, 0x18
    assert_eq!(frame(Architecture::I386, &[0x55, 0x83, 0xec, 0x18]), Some(0x1c));
    // stp x29, x30, [sp, #-32]!; sub sp, sp, #0x3, lsl #12; sub sp, sp, #0x10; ...; ldp x29,
    // x30, [sp], #32
    let arm64 = bytes(&[0xa9be_7bfd, 0xd140_0fff, 0xd100_43ff, 0xa8c2_7bfd]);
    assert_eq!(frame(Architecture::Aarch64, &arm64), Some(32 + 0x3000 + 16));
    // mov x9, #0x9c40; sub sp, sp, x9
    let arm64 = bytes(&[0xd293_8809, 0xcb29_63ff]);
    assert_eq!(frame(Architecture::Aarch64, &arm64), Some(0x9c40));
    // sub x9, sp, #0x9, lsl #12; 2: sub sp, sp, #0x1, lsl #12; cmp sp, x9; str xzr, [sp]; b.ne
    // 2b; sub sp, sp, #0x3c0
    let probes = [0xd140_27e9, 0xd140_07ff, 0xeb29_63ff, 0xf900_03ff, 0x54ff_ffa1, 0xd10f_03ff];
    // As on x86_64, a page more than it is.
    assert_eq!(frame(Architecture::Aarch64, &bytes(&probes)), Some(0xa3c0));
    // sub x10, sp, #0x400: a look at SP
    assert_eq!(frame(Architecture::Aarch64, &bytes(&[0xd110_03ea])), Some(0));
    // sub sp, sp, x9 with nothing known of x9
    assert_eq!(frame(Architecture::Aarch64, &bytes(&[0xcb29_63ff])), None);
    // push {r4, r11, lr}; sub sp, sp, #0x1000; sub sp, sp, #12
    let arm32 = bytes(&[0xe92d_4810, 0xe24d_da01, 0xe24d_d00c]);
    assert_eq!(frame(Architecture::Arm, &arm32), Some(12 + 0x1000 + 12));
    // sub sp, sp, #0xff0; sub sp, sp, #0x1000; bfc sp, #0, #12
    let arm32 = bytes(&[0xe24d_deff, 0xe24d_da01, 0xe7cb_d01f]);
    assert_eq!(frame(Architecture::Arm, &arm32), Some(0xff0 + 0x1000 + 0xfff));
    // bic sp, sp, #63; sub sp, sp, r0, lsl #2
    assert_eq!(frame(Architecture::Arm, &bytes(&[0xe3cd_d03f])), Some(63));
    assert_eq!(frame(Architecture::Arm, &bytes(&[0xe04d_d100])), None);
    // movw r12, #0x9c40; sub sp, sp, r12
    let arm32 = bytes(&[0xe309_cc40, 0xe04d_d00c]);
    assert_eq!(frame(Architecture::Arm, &arm32), Some(0x9c40));
    // addi sp, sp, -2032; lui t0, 0x2; sub sp, sp, t0
    let riscv = bytes(&[0x8101_0113, 0x0000_22b7, 0x4051_0133]);
    assert_eq!(frame(Architecture::Riscv64, &riscv), Some(2032 + 0x2000));
    // c.addi16sp sp, -64
    assert_eq!(frame(Architecture::Riscv64, &0x7139_u16.to_le_bytes()), Some(64));
}

/// A size that is known only when it runs is no frame of known size, however SP gets there; a bound
/// is one.
#[test]
fn o3_an_array_of_variable_size_is_refused_on_every_architecture() {
    let refused: &[(Architecture, Vec<u8>)] = &[
        // mov rcx, rsp; sub rcx, rax; mov rsp, rcx
        (Architecture::X86_64, vec![0x48, 0x89, 0xe1, 0x48, 0x29, 0xc1, 0x48, 0x89, 0xcc]),
        // sub rsp, rax
        (Architecture::X86_64, vec![0x48, 0x29, 0xc4]),
        // lea rcx, [rsp + rax]; and rcx, -16; mov rsp, rcx
        (
            Architecture::X86_64,
            vec![0x48, 0x8d, 0x0c, 0x04, 0x48, 0x83, 0xe1, 0xf0, 0x48, 0x89, 0xcc],
        ),
        // mov eax, 0x2000; mov eax, [rcx]; sub rsp, rax: no constant any more
        (Architecture::X86_64, vec![0xb8, 0, 0x20, 0, 0, 0x8b, 0x01, 0x48, 0x29, 0xc4]),
        // mov ecx, esp; sub ecx, eax; mov esp, ecx
        (Architecture::I386, vec![0x89, 0xe1, 0x29, 0xc1, 0x89, 0xcc]),
        // mov x9, sp; sub x8, x9, x8; mov sp, x8
        (Architecture::Aarch64, bytes(&[0x9100_03e9, 0xcb08_0128, 0x9100_011f])),
        // sub x8, sp, x8; and sp, x8, #-16
        (Architecture::Aarch64, bytes(&[0xcb28_63e8, 0x927c_ed1f])),
        // sub r0, sp, r0; bic r0, r0, #7; mov sp, r0
        (Architecture::Arm, bytes(&[0xe04d_0000, 0xe3c0_0007, 0xe1a0_d000])),
        // sub a0, sp, a0; mv sp, a0
        (Architecture::Riscv64, vec![0x33, 0x05, 0xa1, 0x40, 0x2a, 0x81]),
        // c.mv a0, sp; c.sub a0, a1; c.mv sp, a0
        (Architecture::Riscv64, vec![0x0a, 0x85, 0x0d, 0x8d, 0x2a, 0x81]),
    ];
    for (number, (architecture, code)) in refused.iter().enumerate() {
        assert_eq!(frame(*architecture, code), None, "{architecture:?}, number {number}");
    }
    // lea edx, [esp + eax]; call; mov esp, edx: what the call returns is another stack's
    let returned = [0x8d, 0x14, 0x04, 0xe8, 0, 0, 0, 0, 0x89, 0xd4];
    assert_eq!(frame(Architecture::I386, &returned), Some(0));
    // lea ebx, [esp + eax]; call; mov esp, ebx: that is kept across it
    let kept = [0x8d, 0x1c, 0x04, 0xe8, 0, 0, 0, 0, 0x89, 0xdc];
    assert_eq!(frame(Architecture::I386, &kept), None);
    // mov eax, 0x2000; sub rsp, rax
    let constant = [0xb8, 0, 0x20, 0, 0, 0x48, 0x29, 0xc4];
    assert_eq!(frame(Architecture::X86_64, &constant), Some(0x2000));
    // and eax, 0x3f0; sub rsp, rax
    let bound = [0x25, 0xf0, 0x03, 0, 0, 0x48, 0x29, 0xc4];
    assert_eq!(frame(Architecture::X86_64, &bound), Some(0x3f0));
    // and x8, x8, #0x3ff; sub sp, sp, x8
    let bound = bytes(&[0x9240_2508, 0xcb28_63ff]);
    assert_eq!(frame(Architecture::Aarch64, &bound), Some(0x3ff));
    // andi a0, a0, 1008; sub sp, sp, a0
    let bound = bytes(&[0x3f05_7513, 0x40a1_0133]);
    assert_eq!(frame(Architecture::Riscv64, &bound), Some(1008));
}

/// What is in the frame may want more alignment than SP has: it counts with what aligning may cost;
/// going back by the frame pointer counts for nothing.
#[test]
fn o3_aligned_frames_count_with_what_aligning_may_cost() {
    // push rbp; mov rbp, rsp; and rsp, -64; sub rsp, 0x40; mov rsp, rbp; pop rbp
    let x86_64 = [
        0x55, 0x48, 0x89, 0xe5, 0x48, 0x83, 0xe4, 0xc0, 0x48, 0x83, 0xec, 0x40, 0x48, 0x89, 0xec,
        0x5d,
    ];
    assert_eq!(frame(Architecture::X86_64, &x86_64), Some(8 + 63 + 64));
    // sub x9, sp, #0x50; and sp, x9, #-64; mov sp, x29
    let arm64 = bytes(&[0xd101_43e9, 0x927a_e53f, 0x9100_03bf]);
    assert_eq!(frame(Architecture::Aarch64, &arm64), Some(0x50 + 63));
    // sub sp, sp, #32; andi sp, sp, -64; addi sp, s0, -64
    let riscv = bytes(&[0xfe01_0113, 0xfc01_7113, 0xfc04_0113]);
    assert_eq!(frame(Architecture::Riscv64, &riscv), Some(32 + 63));
    // sub sp, sp, #32 (0xe24dd020); bic sp, sp, #63; sub sp, r11, #8
    let arm32 = bytes(&[0xe24d_d020, 0xe3cd_d03f, 0xe24b_d008]);
    assert_eq!(frame(Architecture::Arm, &arm32), Some(32 + 63));
}

/// Another stack's top is no frame: mov rsp, rcx; mov sp, x0; mov sp, r5; c.mv sp, a0. A copy of SP
/// that comes back is none either: mov r4, sp; bic sp, sp, #63; mov sp, r4.
#[test]
fn o3_going_to_another_stack_and_back_is_no_frame() {
    assert_eq!(frame(Architecture::X86_64, &[0x48, 0x89, 0xcc]), Some(0));
    assert_eq!(frame(Architecture::Aarch64, &bytes(&[0x9100_001f])), Some(0));
    assert_eq!(frame(Architecture::Arm, &bytes(&[0xe1a0_d005])), Some(0));
    assert_eq!(frame(Architecture::Riscv64, &[0x2a, 0x81]), Some(0));
    let back = bytes(&[0xe1a0_400d, 0xe3cd_d03f, 0xe1a0_d004]);
    assert_eq!(frame(Architecture::Arm, &back), Some(63));
}

/// Red if one that is wider than a page is not named, or one that cannot be known or is wider than
/// the guard is let through.
#[test]
fn o3_every_frame_wider_than_a_page_is_named_and_none_passes_the_guard() {
    let image = |planted: Option<u64>| {
        let one = |name: &str, bytes| (name.to_owned(), bytes);
        vec![
            one("small", Some(4096)),
            one("wide", Some(4104)),
            one("wider", Some(8192)),
            one("planted", planted),
        ]
    };
    let checked = judge(image(Some(12_288)), 12_288).expect("none is wider than the guard");
    let names: Vec<&str> = checked.wide.iter().map(|frame| &*frame.function).collect();
    assert_eq!(names, ["planted", "wider", "wide"]);
    assert_eq!(checked.widest, Frame { function: "planted".to_owned(), bytes: 12_288 });
    let shown = checked.to_string();
    assert!(
        shown.contains("12288 bytes: planted") && shown.contains("4104 bytes: wide"),
        "{shown}"
    );
    assert!(!shown.contains("small"), "{shown}");
    for (planted, why) in [(Some(12_296), "wider than the guard"), (None, "cannot be known")] {
        let refused = judge(image(planted), 12_288).expect_err("planted").to_string();
        assert!(refused.contains("planted") && refused.contains(why), "{refused}");
    }
    // What overflows on purpose is named, and allowed.
    let on_purpose = vec![(ON_PURPOSE[0].to_owned(), Some(1 << 20))];
    assert_eq!(judge(on_purpose, 4096).expect("allowed").wide.len(), 1);
}
