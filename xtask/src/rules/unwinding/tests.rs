//! Each kind of breach, seen red on a small description of its own.

use frames::Row;
use object::Architecture;

use super::*;

const SOURCE: &str = "#[repr(C)]\npub struct SwitchFrame {\n    /// One.\n    pub eflags: u32,\n    pub esi: u32,\n    \
     pub edi: u32,\n    pub ebx: u32,\n    pub ebp: u32,\n    pub return_address: u32,\n}\n";

fn layout() -> Layout {
    Layout::read(SOURCE, "SwitchFrame").unwrap()
}

fn machine() -> &'static Machine {
    machines::of(Architecture::I386).unwrap()
}

fn described(return_address: u16, cfa: (u16, i64), rules: &[(u16, Rule)]) -> Description {
    let row = Row { start: 16, end: 32, cfa, rules: rules.iter().copied().collect() };
    Description { return_address, rows: vec![row] }
}

/// What is right of every register of a layout.
fn right(layout: &Layout, registers: &[(u16, &'static str, usize)]) -> Vec<(u16, Rule)> {
    let rule = |&(register, field, number): &(u16, &'static str, usize)| {
        (register, Rule::At(layout.offset(field, number).unwrap() - layout.size))
    };
    registers.iter().map(rule).collect()
}

#[test]
fn a_layout_is_the_order_of_the_fields() {
    let found = layout();
    assert_eq!((found.size, found.offset("ebx", 0).unwrap()), (24, 12));
    let array = "#[repr(C, align(16))]\npub struct S {\n    pub a: u64,\n    pub x: [u64; 31],\n    pub b: u64,\n}\n";
    let array = Layout::read(array, "S").unwrap();
    assert_eq!(
        (array.size, array.offset("x", 2).unwrap(), array.offset("b", 0).unwrap()),
        (272, 24, 256)
    );
    for wrong in [
        SOURCE.replace("#[repr(C)]", ""),
        SOURCE.replace("esi: u32", "esi: u64"),
        SOURCE.replace("esi: u32", "esi: bool"),
        SOURCE.replace("pub esi", "esi"),
    ] {
        assert!(Layout::read(&wrong, "SwitchFrame").is_err(), "{wrong}");
    }
}

#[test]
fn a_switched_out_thread_is_described_by_its_frame() {
    let (layout, machine) = (layout(), machine());
    let rules = right(&layout, machine.switched);
    let hold = |description: &Description, at| hold_switch(machine, &layout, description, at);
    hold(&described(8, (4, 24), &rules), 16).unwrap();
    assert!(hold(&described(8, (4, 20), &rules), 16).is_err(), "the CFA");
    assert!(hold(&described(8, (5, 24), &rules), 16).is_err(), "the CFA's register");
    assert!(hold(&described(7, (4, 24), &rules), 16).is_err(), "the column");
    assert!(hold(&described(8, (4, 24), &rules), 32).is_err(), "past the description");
    for number in 0..rules.len() {
        let mut wrong = rules.clone();
        wrong[number].1 = Rule::At(-64);
        assert!(hold(&described(8, (4, 24), &wrong), 16).is_err(), "{:?}", rules[number]);
        wrong.remove(number);
        assert!(hold(&described(8, (4, 24), &wrong), 16).is_err(), "{:?}", rules[number]);
    }
}

#[test]
fn an_entry_is_described_by_the_saved_registers() {
    let fields = ["ebx", "ecx", "edx", "esi", "edi", "ebp", "eax", "eip", "esp"];
    let body: String = fields.iter().map(|field| format!("    pub {field}: u32,\n")).collect();
    let source = format!("#[repr(C)]\npub struct SavedRegs {{\n{body}}}\n");
    let (layout, machine) = (Layout::read(&source, "SavedRegs").unwrap(), machine());
    let rules = right(&layout, machine.saved);
    let hold = |description: &Description| hold_entry(machine, &layout, description, 20);
    hold(&described(8, (5, 35), &rules)).unwrap();
    hold(&described(8, (4, 36), &rules)).unwrap();
    assert!(hold(&described(8, (5, 36), &rules)).is_err(), "the frame pointer is marked");
    assert!(hold(&described(8, (4, 35), &rules)).is_err(), "SP is not");
    for number in 0..rules.len() {
        let mut wrong = rules.clone();
        wrong[number].1 = Rule::Undefined;
        assert!(hold(&described(8, (5, 35), &wrong)).is_err(), "{:?}", rules[number]);
    }
}

#[test]
fn the_seam_and_the_starts_of_stacks_are_described() {
    let record = [(5, Rule::At(-8)), (8, Rule::At(-4))];
    let hold = |description: &Description| hold_call_on_stack(machine(), description, 20);
    hold(&described(8, (5, 8), &record)).unwrap();
    assert!(hold(&described(8, (4, 8), &record)).is_err(), "SP is on the other stack");
    assert!(hold(&described(8, (5, 8), &record[1..])).is_err(), "the frame pointer");
    assert!(hold(&described(8, (5, 8), &record[..1])).is_err(), "the return address");

    hold_start(&described(8, (4, 4), &[(8, Rule::Undefined)])).unwrap();
    assert!(hold_start(&described(8, (4, 4), &[(8, Rule::At(-4))])).is_err());
    assert!(hold_start(&described(8, (4, 4), &[])).is_err());
}

#[test]
fn calls_are_found_by_their_last_bytes() {
    let calls = |architecture, code: &[u8]| {
        Function { name: String::new(), address: 0x100, code: code.to_vec() }.calls(architecture)
    };
    // nop; call; nop
    assert_eq!(calls(Architecture::X86_64, &[0x90, 0xe8, 0, 0, 0, 0, 0x90]), [0x105]);
    // nop; bl; blr x2; b
    let arm64 = [0xd503_201f_u32, 0x9400_0001, 0xd63f_0040, 0x1400_0000];
    let arm64: Vec<u8> = arm64.iter().flat_map(|word| word.to_le_bytes()).collect();
    assert_eq!(calls(Architecture::Aarch64, &arm64), [0x107, 0x10b]);
    // bl; blx r5; b
    let arm32 = [0xeb00_0001_u32, 0xe12f_ff35, 0xea00_0000];
    let arm32: Vec<u8> = arm32.iter().flat_map(|word| word.to_le_bytes()).collect();
    assert_eq!(calls(Architecture::Arm, &arm32), [0x103, 0x107]);
    // c.nop; jal ra; jalr ra, ra; c.jalr s1; j
    let riscv = [1, 0, 0xef, 0, 0, 0, 0xe7, 0x80, 0, 0, 0x82, 0x94, 0x6f, 0, 0, 0];
    assert_eq!(calls(Architecture::Riscv64, &riscv), [0x105, 0x109, 0x10b]);
}
