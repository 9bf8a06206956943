//! The analysis on planted code.

use std::collections::{BTreeMap, HashMap};

use object::Architecture;

use super::graph::Graph;
use super::image::{Image, Part};
use super::listed::{CELL, HOOKS};
use super::step::{Known, Next, read};
use super::*;

const CODE: u64 = 0x1000;
const DATA: u64 = 0x8000;
/// Where the address of the table of hooks is kept.
const AT: u64 = 0x9000;

/// An image for x86_64: functions, each at a multiple of 64 bytes, and the words of the data.
fn image(functions: &[(&str, &[u8])], data: &[u64]) -> Image {
    let (mut bytes, mut symbols) = (Vec::new(), BTreeMap::new());
    for (number, (name, code)) in functions.iter().enumerate() {
        bytes.resize(64 * number, 0xcc);
        bytes.extend_from_slice(code);
        let at = CODE + 64 * number as u64;
        symbols.insert(at, (code.len() as u64, (*name).to_owned()));
    }
    let data = data.iter().flat_map(|word| word.to_le_bytes()).collect();
    let parts = vec![
        Part { at: CODE, bytes, is_code: true },
        Part { at: DATA, bytes: data, is_code: false },
    ];
    let statics = HashMap::from([(CELL.to_owned(), (AT, 8)), (HOOKS.to_owned(), (DATA, 16))]);
    Image::of(Architecture::X86_64, parts, statics, symbols, &BTreeMap::new()).unwrap()
}

/// `call` from a place to a function, both by number.
fn call(from: u64, behind: u64, to: u64) -> Vec<u8> {
    let distance = 64 * to as i64 - (64 * from + behind + 5) as i64;
    [&[0xe8][..], &(distance as i32).to_le_bytes()].concat()
}

/// push rbp; sub rsp, `bytes`; the rest; add rsp; pop rbp; ret
fn function(bytes: u8, rest: &[u8]) -> Vec<u8> {
    [&[0x55, 0x48, 0x83, 0xec, bytes][..], rest, &[0x48, 0x83, 0xc4, bytes, 0x5d, 0xc3]].concat()
}

fn deepest(image: &Image, name: &str) -> Result<(u64, Vec<String>)> {
    let mut graph = Graph::new(image);
    let (bytes, way) = graph.deepest(image.named(name)?)?;
    graph.hold()?;
    Ok((bytes, way.into_iter().map(|(_, f)| image.functions[f].name.clone()).collect()))
}

/// Each frame counts as far as it reaches at the call, each call with its return address; of two
/// calls the deeper one counts.
#[test]
fn o4_the_deepest_way_is_found_with_every_frame_on_it() {
    let first = function(16, &[call(0, 5, 1), call(0, 10, 2)].concat());
    let image = image(
        &[("a", &first), ("shallow", &function(32, &[])), ("deep", &function(96, &[]))],
        &[0, 0],
    );
    let (bytes, way) = deepest(&image, "a").unwrap();
    assert_eq!((bytes, way.join(" ")), (8 + 16 + 8 + 8 + 96, "a deep".to_owned()));
}

/// A jump out of a function is a call that leaves no frame.
#[test]
fn o4_a_tail_call_counts_from_where_its_frame_was_given_up() {
    // push rbp; sub rsp, 96; add rsp, 96; pop rbp; jmp b
    let mut code = vec![0x55, 0x48, 0x83, 0xec, 96, 0x48, 0x83, 0xc4, 96, 0x5d, 0xe9];
    code.extend((64_i32 - code.len() as i32 - 4).to_le_bytes());
    let image = image(&[("a", &code), ("b", &function(120, &[]))], &[0, 0]);
    assert_eq!(deepest(&image, "a").unwrap().0, 8 + 8 + 120);
}

#[test]
fn o4_a_way_that_leads_back_to_itself_is_refused() {
    let image = image(
        &[("a", &function(16, &call(0, 5, 1))), ("b", &function(16, &call(1, 5, 0)))],
        &[0, 0],
    );
    let refused = deepest(&image, "a").unwrap_err().to_string();
    assert!(refused.contains("without a bound: a > b"), "{refused}");
}

#[test]
fn o4_a_pointer_that_is_not_listed_is_refused() {
    // call rax
    let image = image(&[("a", &function(16, &[0xff, 0xd0]))], &[0, 0]);
    let refused = deepest(&image, "a").unwrap_err().to_string();
    assert!(refused.contains("a calls through a pointer that is not listed"), "{refused}");
}

/// mov rax, [AT]; call [rax + 8]: the second word of the table.
#[test]
fn o4_a_hook_leads_where_the_kernels_table_says() {
    let hook = [0x48, 0x8b, 0x04, 0x25, 0, 0x90, 0, 0, 0xff, 0x50, 8];
    let code = function(16, &hook);
    let (small, large) = (function(32, &[]), function(96, &[]));
    let functions: [(&str, &[u8]); 3] =
        [("kstack::a", &code), ("first", &small), ("second", &large)];
    let image = image(&functions, &[CODE + 64, CODE + 128]);
    let (bytes, way) = deepest(&image, "kstack::a").unwrap();
    assert_eq!((bytes, &*way[1]), (8 + 16 + 8 + 8 + 96, "second"));
    // Another pointer in the library is none of the kernel's.
    let code = function(16, &[0xff, 0xd0]);
    let image = self::image(&[("kstack::a", &code)], &[0, 0]);
    let refused = deepest(&image, "kstack::a").unwrap_err().to_string();
    assert!(refused.contains("no hook's"), "{refused}");
}

/// Only functions that the caller names are called for its text, directly or by a table that it
/// names; and one that formats does not format itself.
#[test]
fn o4_text_is_made_by_what_the_caller_names() {
    // mov edi, address
    let names = |at: u64| [&[0xbf][..], &(at as u32).to_le_bytes()].concat();
    let caller = function(16, &[names(DATA + 16), call(0, 10, 1)].concat());
    let other = function(16, &[names(CODE + 4 * 64), call(2, 10, 1)].concat());
    let write = function(32, &[0xff, 0xd0]);
    let (small, large) = (function(32, &[]), function(96, &call(4, 5, 1)));
    let functions: [(&str, &[u8]); 5] = [
        ("a", &caller),
        ("core::fmt::write", &write),
        ("b", &other),
        ("<u8 as core::fmt::Display>::fmt", &small),
        ("<Wide as core::fmt::Display>::fmt", &large),
    ];
    let image = image(&functions, &[0, 0, CODE + 3 * 64]);
    let (bytes, way) = deepest(&image, "a").unwrap();
    assert_eq!((bytes, way.len()), (24 + 8 + 40 + 8 + 40, 3));
    let (bytes, way) = deepest(&image, "b").unwrap();
    assert_eq!((bytes, way.len()), (24 + 8 + 40 + 8 + 104 + 8 + 40, 4));
}

/// What a panic leads to is counted as a failure, not on the way.
#[test]
fn o4_a_panic_ends_a_way() {
    let image = image(
        &[("a", &function(16, &call(0, 5, 1))), ("core::panicking::panic_fmt", &function(96, &[]))],
        &[0, 0],
    );
    assert_eq!(deepest(&image, "a").unwrap().0, 8 + 16 + 8);
}

/// Calls, jumps and branches of each architecture, with where they lead.
#[test]
fn o4_calls_and_jumps_of_every_architecture_are_read() {
    let relocated = BTreeMap::new();
    let next = |architecture, code: &[u8]| {
        let known = Known { architecture, cell: AT, relocated: &relocated };
        read(&known, CODE, code).steps.iter().map(|step| step.next).collect::<Vec<_>>()
    };
    let words = |words: &[u32]| words.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<u8>>();
    // call +5; call rax; jmp [rax * 8 + 0x8000]; jne -2; ret
    let x86 = [0xe8, 5, 0, 0, 0, 0xff, 0xd0, 0xff, 0x24, 0xc5, 0, 0x80, 0, 0, 0x75, 0xfe, 0xc3];
    assert_eq!(
        next(Architecture::X86_64, &x86),
        [Next::Call(CODE + 10), Next::CallBy, Next::Table, Next::Branch(CODE + 14), Next::Ends]
    );
    // bl +8; blr x8; ldr x1, [x0, #24]; br x1; cbz x0, +8; ret
    let arm64 =
        words(&[0x9400_0002, 0xd63f_0100, 0xf940_0c01, 0xd61f_0020, 0xb400_0040, 0xd65f_03c0]);
    assert_eq!(
        next(Architecture::Aarch64, &arm64),
        [
            Next::Call(CODE + 8),
            Next::CallBy,
            Next::Falls,
            Next::JumpBy,
            Next::Branch(CODE + 24),
            Next::Ends
        ]
    );
    // bl +8; blx r3; beq +8; bx lr; ldr r1, [r0, #12]; bx r1
    let arm32 =
        words(&[0xeb00_0000, 0xe12f_ff33, 0x0a00_0000, 0xe12f_ff1e, 0xe590_100c, 0xe12f_ff11]);
    assert_eq!(
        next(Architecture::Arm, &arm32),
        [
            Next::Call(CODE + 8),
            Next::CallBy,
            Next::Branch(CODE + 16),
            Next::Ends,
            Next::Falls,
            Next::JumpBy
        ]
    );
    // auipc ra, 1; jalr ra, 16(ra); jal ra, +8; c.jalr a5; c.beqz a0, +4; ret
    let mut riscv = words(&[0x0000_1097, 0x0100_80e7, 0x0080_00ef]);
    riscv.extend([0x82, 0x97, 0x11, 0xc1, 0x82, 0x80]);
    assert_eq!(
        next(Architecture::Riscv64, &riscv),
        [
            Next::Falls,
            Next::Call(CODE + 0x1010),
            Next::Call(CODE + 16),
            Next::CallBy,
            Next::Branch(CODE + 18),
            Next::Ends
        ]
    );
}

/// Red if a bound without room, or with less than a part of the stack, is let through.
#[test]
fn o4_a_bound_that_does_not_fit_is_refused() {
    let bound = |handler, failure| Bound {
        entry: "entry".to_owned(),
        stack: "double-fault".to_owned(),
        size: 8192,
        handler,
        failure,
        way: vec![(168, "a".to_owned())],
    };
    assert!(bound(5000, 2680).hold().is_ok());
    for (handler, failure) in [(5000, 2681), (8192, 0), (9000, 0)] {
        let refused = bound(handler, failure).hold().unwrap_err().to_string();
        assert!(refused.contains("less than 512 are left") && refused.contains("a"), "{refused}");
    }
}
