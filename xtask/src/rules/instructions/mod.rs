//! Instructions that a kernel image must have and that no emulator misses: barriers, fences, and
//! what ends a reservation.
//!
//! The emulator executes one instruction after the other, forgets translations at once and keeps no
//! branch predictions, so every test passes without them; on hardware the kernel would fail once in
//! a while. What can be shown without hardware is that they are in the image, at the place and in
//! the order that the manual wants. So every build reads its own machine code:
//!
//! | rule | red if |
//! | --- | --- |
//! | [`Rule::In`] | the function is not there, or does not have these instructions in this order of addresses |
//! | [`Rule::Follows`] | some way out of a function from the first one does not meet the others in their order; or none has it |
//! | [`Rule::Leads`] | some way into a function meets the second one before the first; or none has it |
//!
//! Ways are followed through direct branches on the arms, whose compiled code has these
//! instructions in loops; on the others they go from one address to the next, which is right within
//! one `asm!`. A call comes back. Why each instruction is there stands where it is written, with
//! the manual's section; the table here says it in short.

mod table;
mod ways;

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use iced_x86::{Decoder, DecoderOptions, Mnemonic};
use object::{Architecture, Object, ObjectSection, ObjectSymbol, SymbolKind};
use table::Rule::{self, Follows, In, Leads};
use table::{Word, table};
use ways::{arm32_ways, arm64_ways, riscv_words};

/// Looks at a kernel's ELF image. An error names the function, what it lacks, and what would
/// happen.
pub(crate) fn check(kernel: &Path) -> Result<()> {
    let bytes = fs::read(kernel).with_context(|| format!("cannot read {}", kernel.display()))?;
    let file = object::File::parse(&*bytes)
        .with_context(|| format!("cannot read {} as ELF", kernel.display()))?;
    let (words, rules) = table(file.architecture())?;
    let functions = functions(&file, words)?;
    rules.iter().try_for_each(|rule| hold(rule, &functions))
}

/// An instruction: its name, if the table has one, and which others may be next, by their places in
/// the function; none: it leaves.
#[derive(Clone, Debug, Default)]
struct Step {
    name: Option<&'static str>,
    next: Vec<usize>,
}

/// A function's name and its instructions.
type Function = (String, Vec<Step>);

/// All functions, and pieces of assembly that begin with a label.
fn functions(file: &object::File<'_>, words: &[Word]) -> Result<Vec<Function>> {
    let mut symbols = Vec::new();
    for symbol in file.symbols() {
        let Some(section) = symbol.section_index() else { continue };
        let section = file.section_by_index(section)?;
        let is_code = section.kind() == object::SectionKind::Text;
        let is_place = matches!(symbol.kind(), SymbolKind::Text | SymbolKind::Label)
            || symbol.kind() == SymbolKind::Unknown;
        let name = symbol.name().unwrap_or_default();
        // Mapping symbols (`$a`, `$d`, `$x`) and the assembler's own labels are no places that
        // anything goes to.
        if is_code && is_place && !name.is_empty() && !name.starts_with(['$', '.']) {
            let address = super::code_address(file, &symbol);
            symbols.push((address, symbol.size(), name.to_owned(), section));
        }
    }
    symbols.sort_by_key(|&(address, ..)| address);
    let mut functions = Vec::new();
    for (number, (address, size, name, section)) in symbols.iter().enumerate() {
        // A label has no size: its piece ends where the next one begins.
        let next = symbols[number + 1..].iter().map(|&(next, ..)| next).find(|next| next > address);
        let end = section.address() + section.size();
        let size = if *size > 0 { *size } else { next.unwrap_or(end).min(end) - address };
        let Some(code) = section.data_range(*address, size)? else { continue };
        let function = format!("{:#}", rustc_demangle::demangle(name));
        functions.push((function, instructions(file.architecture(), words, code)));
    }
    Ok(functions)
}

/// A function's code, step by step.
fn instructions(architecture: Architecture, words: &[Word], code: &[u8]) -> Vec<Step> {
    let named = |word: u32| {
        let found = words.iter().filter(|(_, mask, value)| word & mask == *value);
        found.map(|&(name, ..)| name).next()
    };
    let straight = |names: Vec<Option<&'static str>>| {
        let last = names.len().saturating_sub(1);
        let next = |place: usize| if place < last { vec![place + 1] } else { Vec::new() };
        names
            .into_iter()
            .enumerate()
            .map(|(place, name)| Step { name, next: next(place) })
            .collect::<Vec<_>>()
    };
    let bits = match architecture {
        Architecture::X86_64 => 64,
        Architecture::I386 => 32,
        Architecture::Riscv64 => return straight(riscv_words(code).map(named).collect()),
        _ => {
            let ways = if architecture == Architecture::Arm { arm32_ways } else { arm64_ways };
            let words = code.chunks_exact(4);
            let words = words.map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
            let number = code.len() / 4;
            let step = |(place, word): (usize, u32)| {
                let inside =
                    |to: i64| usize::try_from(place as i64 + to).ok().filter(|&to| to < number);
                let (goes_on, branch) = ways(word);
                let next = goes_on.then_some(1).into_iter().chain(branch);
                Step { name: named(word), next: next.filter_map(inside).collect() }
            };
            return words.enumerate().map(step).collect();
        }
    };
    let name = |mnemonic| match mnemonic {
        Mnemonic::Cld => Some("cld"),
        Mnemonic::Popf | Mnemonic::Popfd | Mnemonic::Popfq => Some("popf"),
        Mnemonic::Call => Some("call"),
        _ => None,
    };
    let decoder = Decoder::new(bits, code, DecoderOptions::NONE);
    straight(decoder.into_iter().map(|instruction| name(instruction.mnemonic())).collect())
}

/// The names among these steps, by address.
fn names(steps: &[Step]) -> Vec<&'static str> {
    steps.iter().filter_map(|step| step.name).collect()
}

/// Whether every way from the step at `from` meets these names in this order before it leaves.
fn every_way_meets(steps: &[Step], from: usize, wanted: &[&'static str]) -> bool {
    let mut seen = HashSet::new();
    let mut left = vec![(from, 0)];
    while let Some((place, mut met)) = left.pop() {
        if !seen.insert((place, met)) {
            continue;
        }
        met += usize::from(steps[place].name == Some(wanted[met]) && place != from);
        if met == wanted.len() {
            continue;
        }
        if steps[place].next.is_empty() {
            return false;
        }
        left.extend(steps[place].next.iter().map(|&next| (next, met)));
    }
    true
}

/// Whether some way from the first step meets `then` without having met one of `first`.
fn some_way_misses(steps: &[Step], first: &[&str], then: &str) -> bool {
    let mut seen = HashSet::new();
    let mut left = vec![0];
    while let Some(place) = left.pop() {
        if steps[place].name == Some(then) {
            return true;
        }
        let is_first = steps[place].name.is_some_and(|name| first.contains(&name));
        if !is_first && seen.insert(place) {
            left.extend(&steps[place].next);
        }
    }
    false
}

/// Whether the image keeps a rule.
fn hold(rule: &Rule, functions: &[Function]) -> Result<()> {
    let has = |steps: &[Step], name| steps.iter().any(|step| step.name == Some(name));
    match *rule {
        In(name, wanted, why) => {
            let mut found = functions.iter().filter(|(function, _)| function == name).peekable();
            ensure!(
                found.peek().is_some(),
                "the kernel has no {name}, which is to have {wanted:?}, {why}"
            );
            for (_, steps) in found {
                let has = names(steps);
                let mut rest = has.iter();
                let all = wanted.iter().all(|wanted| rest.any(|found| found == wanted));
                ensure!(all, "{name} has {has:?}, not {wanted:?} in this order: {why}");
            }
        }
        Follows(first, then, why) => {
            let having: Vec<_> = functions.iter().filter(|(_, steps)| has(steps, first)).collect();
            ensure!(
                !having.is_empty(),
                "the kernel has no {first}, which {then:?} would follow, {why}"
            );
            for (function, steps) in having {
                let mut places = (0..steps.len()).filter(|&place| steps[place].name == Some(first));
                ensure!(
                    places.all(|place| every_way_meets(steps, place, then)),
                    "{function} has {:?}: not on every way {then:?} behind {first}, {why}",
                    names(steps)
                );
            }
        }
        Leads(first, then, why) => {
            let having: Vec<_> = functions.iter().filter(|(_, steps)| has(steps, then)).collect();
            ensure!(
                !having.is_empty(),
                "the kernel has no {then}, which {first:?} would lead to, {why}"
            );
            for (function, steps) in having {
                ensure!(
                    !some_way_misses(steps, first, then),
                    "{function} has {:?}: not on every way {first:?} before {then}, {why}",
                    names(steps)
                );
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::table::{ARM32_WORDS, ARM64_WORDS};
    use super::*;
    use std::collections::HashMap;

    fn bytes(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    fn named(architecture: Architecture, words: &[u32]) -> Vec<&'static str> {
        let (table, _) = table(architecture).unwrap();
        names(&instructions(architecture, table, &bytes(words)))
    }

    #[test]
    fn s1_barriers_of_every_architecture_are_known_by_their_bits() {
        // dsb ishst; msr ttbr0_el1, x8; isb; tlbi aside1, xzr; tlbi vmalle1is; tlbi vaae1is, x9;
        // dsb nsh; dsb ish; nop
        let arm64 = [
            0xd503_3a9f,
            0xd518_2008,
            0xd503_3fdf,
            0xd508_875f,
            0xd508_831f,
            0xd508_8369,
            0xd503_379f,
            0xd503_3b9f,
            0xd503_201f,
        ];
        let expected =
            ["dsb ishst", "msr ttbr0_el1", "isb", "tlbi", "tlbi", "tlbi", "dsb nsh", "dsb ish"];
        assert_eq!(named(Architecture::Aarch64, &arm64), expected);
        // dsb ishst; mcrr p15, 0, r1, r2, c2; isb sy; mcr p15, 0, r2, c8, c7, 2; mcr p15, 0, r2,
        // c7, c5, 6; clrex
        let arm32 = [0xf57f_f04a, 0xec42_1f02, 0xf57f_f06f, 0xee08_2f57, 0xee07_2fd5, 0xf57f_f01f];
        assert_eq!(
            named(Architecture::Arm, &arm32),
            ["dsb", "mcrr ttbr0", "isb", "tlbi", "bpiall", "clrex"]
        );
        // c.nop; sc.d zero, t1, (sp); c.nop (twice in a word); csrc sip, a0; fence iorw, iorw;
        // fence rw, rw; sret
        let mut riscv = vec![1, 0];
        riscv.extend(bytes(&[
            0x1861_302f,
            0x0001_0001,
            0x1445_3073,
            0x0ff0_000f,
            0x0330_000f,
            0x1020_0073,
        ]));
        let (words, _) = table(Architecture::Riscv64).unwrap();
        assert_eq!(
            names(&instructions(Architecture::Riscv64, words, &riscv)),
            ["sc.d", "csrc sip", "fence iorw, iorw", "sret"]
        );
        // cld; popfq; mov rdi, rsp; call +0
        let x86 = [0xfc, 0x9d, 0x48, 0x89, 0xe7, 0xe8, 0, 0, 0, 0];
        assert_eq!(names(&instructions(Architecture::X86_64, &[], &x86)), ["cld", "popf", "call"]);
    }

    fn steps(has: &[&'static str]) -> Vec<Step> {
        let next = |place: usize| (place + 1..has.len()).take(1).collect();
        let step = |(place, &name)| Step { name: Some(name), next: next(place) };
        has.iter().enumerate().map(step).collect()
    }

    fn kernel(functions: &[(&str, &[&'static str])]) -> Vec<Function> {
        functions.iter().map(|&(name, has)| (name.to_owned(), steps(has))).collect()
    }

    #[test]
    fn s1_ways_go_through_loops_and_branches() {
        let rule = Follows("tlbi", &["dsb ish", "isb"], "why");
        let held = |code: &[u32]| {
            let steps = instructions(Architecture::Aarch64, ARM64_WORDS, &bytes(code));
            hold(&rule, &[("f".to_owned(), steps)]).is_ok()
        };
        const TLBI: u32 = 0xd508_8369;
        const DSB: u32 = 0xd503_3b9f;
        const ISB: u32 = 0xd503_3fdf;
        const RET: u32 = 0xd65f_03c0;
        // 0: cbz x0, 5; 1: b 6; 2: dsb ish; 3: isb; 4: ret; 5: b 2; 6: tlbi; 7: cbnz x1, 6; 8: b 2:
        // the loop behind its end.
        let behind =
            [0xb400_00a0, 0x1400_0005, DSB, ISB, RET, 0x17ff_fffd, TLBI, 0xb5ff_ffe1, 0x17ff_fffa];
        assert!(held(&behind));
        // tlbi; cbz x0, +3; dsb ish; isb; ret: one way misses the barriers.
        assert!(!held(&[TLBI, 0xb400_0060, DSB, ISB, RET]));
        // tlbi; tbz x0, #0, +2; nop; dsb ish; isb; ret
        assert!(held(&[TLBI, 0x3600_0040, 0xd503_201f, DSB, ISB, RET]));
        // tlbi; bl +5; blr x1; b.ne -3; dsb ish; isb; ret: calls come back.
        assert!(held(&[TLBI, 0x9400_0005, 0xd63f_0020, 0x54ff_ffa1, DSB, ISB, RET]));
        // A32. tlbi; bne +1; bx lr; dsb; isb; bx lr, and without the first return.
        let rule = Follows("tlbi", &["dsb", "isb"], "why");
        let held = |code: &[u32]| {
            let steps = instructions(Architecture::Arm, ARM32_WORDS, &bytes(code));
            hold(&rule, &[("f".to_owned(), steps)]).is_ok()
        };
        let (tlbi, bne, leave) = (0xee08_2f57, 0x1a00_0000, 0xe12f_ff1e);
        assert!(!held(&[tlbi, bne, leave, 0xf57f_f04b, 0xf57f_f06f, leave]));
        assert!(held(&[tlbi, bne, 0xe1a0_0000, 0xf57f_f04b, 0xf57f_f06f, leave]));
        assert!(!held(&[tlbi, bne, 0xe8bd_8010, 0xf57f_f04b, 0xf57f_f06f, leave]));
    }

    #[test]
    fn s1_a_rule_about_a_function_wants_all_of_it_in_order() {
        let rule = In("f", &["sc.d", "sret"], "why");
        assert!(hold(&rule, &kernel(&[("f", &["ecall", "sc.d", "ecall", "sret"])])).is_ok());
        for wrong in [&["sret"][..], &["sc.d"], &["sret", "sc.d"], &[]] {
            let error = hold(&rule, &kernel(&[("f", wrong)])).unwrap_err().to_string();
            assert!(error.starts_with("f has") && error.ends_with("why"), "{error}");
        }
        // One of another name does not count, and of two with the name both do.
        assert!(hold(&rule, &kernel(&[("g", &["sc.d", "sret"])])).is_err());
        assert!(hold(&rule, &kernel(&[("f", &["sc.d", "sret"]), ("f", &["sret"])])).is_err());
    }

    #[test]
    fn s1_a_rule_about_an_instruction_is_about_every_place_that_has_it() {
        let rule = Follows("tlbi", &["dsb", "isb"], "why");
        assert!(
            hold(&rule, &kernel(&[("f", &["tlbi", "tlbi", "dsb", "isb"]), ("g", &[])])).is_ok()
        );
        assert!(hold(&rule, &kernel(&[("f", &["tlbi", "dsb", "isb", "tlbi"])])).is_err());
        assert!(hold(&rule, &kernel(&[("f", &["tlbi", "dsb", "isb"]), ("g", &["tlbi"])])).is_err());
        // A rule that applies nowhere guards nothing.
        assert!(hold(&rule, &kernel(&[("f", &["dsb", "isb"])])).is_err());
        let rule = Leads(&["dsb"], "tlbi", "why");
        assert!(hold(&rule, &kernel(&[("f", &["dsb", "tlbi", "isb", "tlbi"])])).is_ok());
        assert!(hold(&rule, &kernel(&[("f", &["tlbi", "dsb"])])).is_err());
        assert!(hold(&rule, &kernel(&[("f", &["dsb"])])).is_err());
    }

    #[test]
    fn s1_every_name_in_a_rule_is_an_instruction_of_the_table() {
        for architecture in [Architecture::Aarch64, Architecture::Arm, Architecture::Riscv64] {
            let (words, rules) = table(architecture).unwrap();
            let known: HashMap<&str, u32> =
                words.iter().map(|&(name, _, value)| (name, value)).collect();
            assert_eq!(known.len(), words.len(), "a name twice");
            for rule in rules {
                let names = match *rule {
                    In(_, wanted, _) => wanted.to_vec(),
                    Follows(first, then, _) => [&[first], then].concat(),
                    Leads(first, then, _) => [first, &[then]].concat(),
                };
                assert!(names.iter().all(|name| known.contains_key(name)), "{rule:?}");
            }
            assert!(
                words.iter().all(|(_, mask, value)| value & !mask == 0),
                "bits that never match"
            );
        }
    }
}
