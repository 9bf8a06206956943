//! Each kind of row, as compilers and the library's assembly write it.

use kstack_core::addr::Addr;
use kstack_core::unwind::frames::Frames;
use object::Architecture;

use super::*;

/// Bytes of the saved registers in these examples.
const SIZE: i64 = 168;

fn frame_of(
    machine: Architecture,
    return_address: u16,
    cfa: (u16, i64),
    rules: &[(u16, Rule)],
) -> Option<Frame> {
    let row = Row { start: 0, end: 1, cfa, rules: rules.iter().copied().collect() };
    frame(machines::of(machine).unwrap(), SIZE, return_address, &row)
}

/// Red if a return address is looked for a word off, if a saved frame pointer is taken from its
/// register (another thread's, in the middle of a switch), or if what the CPU pushed is taken for a
/// call.
#[test]
fn b3_rows_of_pcs_become_frames() {
    let of = |cfa, rules: &[(u16, Rule)]| frame_of(Architecture::X86_64, 16, cfa, rules);
    let called = |pc, fp| Some(Frame::Called { pc, fp });
    assert_eq!(of((7, 8), &[(16, Rule::At(-8))]), called(0, None));
    let pushed = [(16, Rule::At(-8)), (6, Rule::At(-16))];
    assert_eq!(of((7, 16), &pushed), called(1, Some(0)));
    assert_eq!(of((7, 56), &pushed), called(6, Some(5)));
    assert_eq!(of((6, 16), &pushed), Some(Frame::Record));
    // The frame pointer has been popped, for a tail call.
    assert_eq!(of((7, 8), &pushed), called(0, None));
    // A frame pointer that leads elsewhere than to its record.
    assert_eq!(of((6, 24), &pushed), None);
    assert_eq!(of((6, 16), &pushed[..1]), None);
    // The mark.
    assert_eq!(of((6, SIZE - 1), &[(16, Rule::At(-40))]), Some(Frame::Record));
    assert_eq!(of((6, SIZE), &[(16, Rule::At(-40))]), None);
    // An entry: the CPU's five words, then more pushed.
    let entered =
        |pc, sp, fp| Some(Frame::Entered(Entered { pc, sp: Pointer::At(sp), fp, link: None }));
    let by_cpu = [(16, Rule::At(-40)), (7, Rule::At(-16))];
    assert_eq!(of((7, 40), &by_cpu), entered(0, 3, None));
    assert_eq!(of((7, 56), &by_cpu), entered(2, 5, None));
    let all = [(16, Rule::At(-40)), (7, Rule::At(-16)), (6, Rule::At(-136))];
    assert_eq!(of((7, 168), &all), entered(16, 19, Some(4)));
    assert_eq!(of((7, 0), &[(16, Rule::Other)]), Some(Frame::Program));
    // Not at all, or above what a byte counts.
    assert_eq!(of((7, 8), &[(16, Rule::Undefined)]), None);
    assert_eq!(of((7, 8), &[]), None);
    assert_eq!(of((2, 8), &[(16, Rule::At(-8))]), None);
    assert_eq!(of((7, 8 * 300), &by_cpu), None);

    // From the kernel, i386 pushes no SP: it was where the frame ends.
    let of = |cfa, rules: &[(u16, Rule)]| frame_of(Architecture::I386, 8, cfa, rules);
    let was =
        |pc, sp| Some(Frame::Entered(Entered { pc, sp: Pointer::Was(sp), fp: None, link: None }));
    assert_eq!(of((4, 12), &[(8, Rule::At(-12))]), was(0, 3));
    assert_eq!(of((4, 20), &[(8, Rule::At(-12))]), was(2, 5));
    assert_eq!(of((4, 4), &[(8, Rule::At(-4))]), called(0, None));
    // `sysenter` keeps no address; SP is in a register.
    assert_eq!(of((4, 4), &[(8, Rule::Undefined), (4, Rule::Other)]), Some(Frame::Program));
    assert_eq!(of((4, 4), &[(8, Rule::Undefined)]), None);
}

/// Red if a link register that was saved, and used for another call since, is believed.
#[test]
fn b3_rows_of_machines_with_a_link_register_become_frames() {
    let of = |cfa, rules: &[(u16, Rule)]| frame_of(Architecture::Aarch64, 30, cfa, rules);
    assert_eq!(of((31, 0), &[]), Some(Frame::Link));
    assert_eq!(of((31, 96), &[(30, Rule::Same)]), Some(Frame::Link));
    let saved = [(29, Rule::At(-48)), (30, Rule::At(-40))];
    assert_eq!(of((29, 48), &saved), Some(Frame::Record));
    assert_eq!(of((31, 128), &saved), Some(Frame::Called { pc: 11, fp: Some(10) }));
    assert_eq!(of((29, 16), &saved), None);
    assert_eq!(of((31, 0), &[(30, Rule::Undefined)]), None);
    // An entry that has saved everything, the link register among it.
    let rules = [(32, Rule::At(-8)), (31, Rule::At(-16)), (30, Rule::At(-24)), (29, Rule::At(-32))];
    let expected = Entered { pc: 20, sp: Pointer::At(19), fp: Some(17), link: Some(18) };
    assert_eq!(of((31, SIZE), &rules), Some(Frame::Entered(expected)));

    let of = |cfa, rules: &[(u16, Rule)]| frame_of(Architecture::Riscv64, 1, cfa, rules);
    let saved = [(8, Rule::At(-16)), (1, Rule::At(-8))];
    assert_eq!(of((8, 0), &saved), Some(Frame::Record));
    assert_eq!(of((2, 32), &saved), Some(Frame::Called { pc: 3, fp: Some(2) }));
    assert_eq!(of((2, 32), &[]), Some(Frame::Link));
    let saved = [(1, Rule::At(-160)), (2, Rule::At(-152))];
    let expected = Entered { pc: 1, sp: Pointer::At(2), fp: None, link: None };
    assert_eq!(of((2, SIZE), &saved), Some(Frame::Entered(expected)));
}

/// What is written is what the kernel reads: red if a gap between functions is covered.
#[test]
fn b3_the_table_that_is_written_is_read_back() {
    let called = Frame::Called { pc: 3, fp: None };
    let rows = [
        (0x100, (0x104, Some(called))),
        (0x104, (0x108, Some(Frame::Record))),
        (0x108, (0x110, Some(Frame::Record))),
        (0x120, (0x128, None)),
        (0x128, (0x130, Some(Frame::Link))),
    ];
    let bytes = written(0x100, &rows.into_iter().collect()).unwrap();
    let frames = Frames::new(&bytes).unwrap();
    for (from, to, expected) in [
        (0, 0x100, None),
        (0x100, 0x104, Some(called)),
        (0x104, 0x110, Some(Frame::Record)),
        (0x110, 0x128, None),
        (0x128, 0x130, Some(Frame::Link)),
        (0x130, 0x200, None),
    ] {
        for pc in from..to {
            assert_eq!(frames.at(Addr::new(pc)), expected, "{pc:#x}");
        }
    }
    assert!(written(0x100, &BTreeMap::new()).is_err());
}
