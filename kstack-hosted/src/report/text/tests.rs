//! Text for a handler of signals, and what a report says of its end.

use super::*;
use kstack_core::addr::Addr;
use std::cell::{Cell, RefCell};

#[test]
fn n5_a_report_says_at_its_end_whether_calls_may_be_missing() {
    let at = Addr::new(0x1000);
    assert_eq!(reason(End::Reliable), "the outermost frame");
    for end in [End::InnermostMayBeMissing(at), End::FrameMayBeMissing(at)] {
        let text = reason(end);
        assert!(text.starts_with("the outermost frame; functions built without"), "{text}");
    }
    assert_eq!(reason(End::TooLong), "more frames or stacks than a report has room for");
    for end in [End::Misaligned(at), End::UnknownStack(at), End::NotOutwards(at)] {
        let text = reason(end);
        assert!(text.starts_with("a function built without frame pointers, or"), "{text}");
    }
}

#[test]
fn n5_text_goes_out_in_order_and_in_full_portions() {
    let text: String = (0..400).map(|number| format!("{number} ")).collect();
    for piece in [1, 7, 256, 511, 512, 513, text.len()] {
        let mut portions = Vec::new();
        let mut lines = Lines::to(|portion| portions.push(portion.to_vec()));
        for piece in text.as_bytes().chunks(piece) {
            lines.write_str(str::from_utf8(piece).expect("digits")).expect("it does not fail");
        }
        lines.flush();
        assert_eq!(portions.concat(), text.as_bytes(), "{piece}");
        let (last, full) = portions.split_last().expect("some");
        assert!(full.iter().all(|portion| portion.len() == PORTION), "{piece}");
        assert_eq!(last.len(), text.len() % PORTION);
    }
}

#[test]
fn n5_text_of_which_a_part_is_taken_is_written_again_from_there() {
    for least in [1, 3, 5] {
        let taken = RefCell::new(Vec::new());
        write_all(b"taken bit by bit", |rest| {
            let now = rest.len().min(least);
            taken.borrow_mut().extend_from_slice(&rest[..now]);
            now as isize
        });
        assert_eq!(*taken.borrow(), b"taken bit by bit");
    }
    // What takes nothing is not asked again.
    for none in [0, -1] {
        let asked = Cell::new(0);
        write_all(b"taken by nothing", |_| {
            asked.set(asked.get() + 1);
            none
        });
        assert_eq!(asked.get(), 1);
    }
}
