//! Which hart of a riscv64 machine the kernel starts on.
//!
//! OpenSBI lets the harts draw lots, and the first one wins nearly always. A kernel that believes its first CPU to be hart 0 would be
//! found out once in many boots. So on one machine of the tests the winner is fixed: all harts but one begin here,
//! and wait until somebody sends them an interrupt, which is how the kernel starts them through the firmware; then
//! they go where the machine would have sent them in the first place.
//!
//! ```text
//!   0x8010_0000  wait   until the machine software interrupt is pending      harts that have not been chosen
//!   0x8010_0018  start  registers as the machine's own reset code sets them  the chosen hart; the others, later
//!   0x8010_0038  what the firmware is told: version 1, which names no preferred hart (version 2 names hart 0)
//! ```
//!
//! Neighbours: [`crate::boot::qemu`], which adds these arguments; `riscv64`'s test of the firmware's choice, in the kernel.

use std::process::Command;

/// Where it is put: the firmware's own memory, behind the firmware.
const AT: u64 = 0x8010_0000;
/// Bytes of the first part.
const WAIT: u64 = 6 * 4;

/// Instructions, RISC-V unprivileged and privileged architecture. The machine's own reset code starts at 0x1000, with the firmware's
/// entry at 24 and the device tree's address at 32.
const CODE: [u32; 14] = [
    0x0080_0293, // li t0, 8: the machine software interrupt
    0x3042_9073, // csrw mie, t0
    0x1050_0073, // wait: wfi
    0x3440_2373, // csrr t1, mip
    0x0083_7313, // andi t1, t1, 8
    0xfe03_0ae3, // beqz t1, wait
    0x0000_12b7, // start: lui t0, 1
    0xf140_2573, // csrr a0, mhartid
    0x0202_b583, // ld a1, 32(t0)
    0x0000_0617, // auipc a2, 0
    0x0146_0613, // addi a2, a2, 20: what the firmware is told
    0x0182_b283, // ld t0, 24(t0)
    0x0002_8067, // jr t0
    0x0000_0013, // nop
];

/// OpenSBI's `struct fw_dynamic_info`: magic, version, where to go on, in which mode (supervisor), options.
const TOLD: [u64; 5] = [0x4942_534f, 1, 0x8020_0000, 1, 0];

/// Where a late hart begins: as the others, but that it waits for eight seconds more.
const LATE_AT: u64 = AT + 0x80;
/// Time is counted at 10 MHz on this machine. The kernel looks 2000 times, a millisecond between two, or more on a busy host.
const LATE: [u32; 12] = [
    0x0080_0293, // li t0, 8
    0x3042_9073, // csrw mie, t0
    0x1050_0073, // wait: wfi
    0x3440_2373, // csrr t1, mip
    0x0083_7313, // andi t1, t1, 8
    0xfe03_0ae3, // beqz t1, wait
    0xc010_23f3, // csrr t2, time
    0x0500_02b7, // lui t0, 0x5000: 8.4 s
    0x0053_83b3, // add t2, t2, t0
    0xc010_2373, // later: csrr t1, time
    0xfe73_6ee3, // bltu t1, t2, later
    0xf6df_f06f, // j start: back to LATE_AT + 44 - 148
];

/// Makes one hart of a machine come to its firmware, and so to the kernel, too late.
pub(crate) fn hold_back(late: u32) -> Vec<String> {
    let mut arguments = Vec::new();
    let mut load =
        |what: String| arguments.extend(["-device".to_owned(), format!("loader,{what}")]);
    for (place, words) in [(AT, &CODE[..]), (LATE_AT, &LATE)] {
        for (at, two) in (place..).step_by(8).zip(words.chunks_exact(2)) {
            let word = u64::from(two[0]) | u64::from(two[1]) << 32;
            load(format!("addr={at:#x},data={word:#x},data-len=8"));
        }
    }
    for (at, word) in (AT + 4 * CODE.len() as u64..).step_by(8).zip(TOLD) {
        load(format!("addr={at:#x},data={word:#x},data-len=8"));
    }
    load(format!("addr={LATE_AT:#x},cpu-num={late}"));
    arguments
}

/// Makes the machine start its kernel on this hart.
pub(crate) fn choose(command: &mut Command, chosen: u32, harts: u32) {
    let code = CODE.chunks_exact(2).map(|two| u64::from(two[0]) | u64::from(two[1]) << 32);
    for (at, word) in (AT..).step_by(8).zip(code.chain(TOLD)) {
        command.args(["-device", &format!("loader,addr={at:#x},data={word:#x},data-len=8")]);
    }
    for hart in 0..harts {
        let at = if hart == chosen { AT + WAIT } else { AT };
        command.args(["-device", &format!("loader,addr={at:#x},cpu-num={hart}")]);
    }
}
