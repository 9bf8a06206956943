//! Stacks of programs: what `/kstack/bin/answers` says of its own, and others of the image's
//! programs.

use super::answer::Answer;
use crate::tests::support::shadow_evidence;
use alloc::format;
use alloc::string::String;
use kstack::addr::PAGE_BYTES;
use linux::run_captured;
use machine::arch::extras;

/// What a program said: lines `NAME HEXADECIMAL`, and others.
struct Said(String);

impl Said {
    /// Runs a program to its end, which must be a good one.
    fn of(program: &str, arguments: &[&str]) -> Result<Self, String> {
        let path = format!("/kstack/bin/{program}");
        let mut argv = alloc::vec![program.as_bytes()];
        argv.extend(arguments.iter().map(|argument| argument.as_bytes()));
        let (status, output) =
            run_captured(&path, &argv).map_err(|error| format!("{path}: {error}"))?;
        let output = String::from_utf8_lossy(&output).into_owned();
        if status == 0 {
            Ok(Self(output))
        } else {
            Err(format!("{path}: status {status}: {output}"))
        }
    }

    fn part(part: &str) -> Result<Self, String> {
        Self::of("answers", &[part, "two", "three"])
    }

    /// Every number with this name, in the order in which they were said.
    fn all(&self, name: &str) -> impl Iterator<Item = usize> {
        self.0.lines().filter_map(move |line| {
            let (said, number) = line.split_once(' ')?;
            if said != name {
                return None;
            }
            let number = number.trim_matches(|c: char| !c.is_ascii_hexdigit());
            usize::from_str_radix(number, 16).ok()
        })
    }

    fn get(&self, name: &str) -> Result<usize, String> {
        self.all(name).next().ok_or_else(|| format!("the program does not say {name}: {}", self.0))
    }

    /// Lines of maps between two words, or from the beginning or to the end.
    fn maps(&self, from: Option<&str>, to: Option<&str>) -> impl Iterator<Item = &str> {
        let rest = from.and_then(|from| self.0.split_once(from)).map_or(&*self.0, |(_, rest)| rest);
        let part = to.and_then(|to| rest.split_once(to)).map_or(rest, |(part, _)| part);
        part.lines().filter_map(|line| line.trim_start_matches('\0').strip_prefix("maps: "))
    }
}

/// The bounds of an area, from its line of maps.
fn bounds(line: &str) -> Option<(usize, usize)> {
    let (lowest, rest) = line.split_once('-')?;
    let (end, _) = rest.split_once(' ')?;
    Some((usize::from_str_radix(lowest, 16).ok()?, usize::from_str_radix(end, 16).ok()?))
}

pub(super) fn argv(answer: &mut Answer) -> Result<(), String> {
    let said = Said::part("argv")?;
    let (lowest, end) = (said.get("lowest")?, said.get("end")?);
    answer.memory("the program's stack, as execve left it", lowest, end);
    let places = [
        ("argc-at", "SP at the program's first instruction: argc"),
        ("argv-at", "the pointers of argv"),
        ("envp-at", "the pointers of the environment"),
        ("auxv-at", "the auxiliary vector"),
        ("random", "sixteen random bytes"),
        ("first-argument", "the string argv[0]"),
        ("last-argument", "the last argument's string"),
        ("first-variable", "the environment's first string"),
        ("last-variable", "its last one"),
        ("path", "the path of the program"),
    ];
    let argc_at = said.get("argc-at")?;
    answer.enlarged("from SP to the last string, enlarged", argc_at, said.get("path")? + 16);
    let mut last = 0;
    for (name, what) in places {
        let at = said.get(name)?;
        answer.mark(at, what);
        answer.must((lowest..end).contains(&at), format!("{what} is at {at:#x}, not on the stack"));
        if !["random", "path"].contains(&name) {
            answer.must(at > last, format!("{what}, at {at:#x}, is not above what comes before"));
            last = at;
        }
    }
    let argc = said.get("argc")?;
    answer.fact("argc", argc);
    answer.must(argc == 4, format!("argc is {argc}, not 4"));
    answer.must(argc_at % 16 == 0, format!("SP is {argc_at:#x}, not a multiple of 16"));
    answer.answer(format!(
        "at the top of the program's stack, {} bytes of it: SP points to argc; above it lie the \
         pointers of argv and of the environment, the auxiliary vector, and then the strings.",
        end - argc_at
    ));
    Ok(())
}

pub(super) fn user_stack(answer: &mut Answer) -> Result<(), String> {
    let said = Said::part("grow")?;
    let (before, after) = (said.get("lowest-before")?, said.get("lowest-after")?);
    let end = said.get("end")?;
    let (sp, deepest) = (said.get("sp-before")?, said.get("sp-deepest")?);
    let faults = said.get("faults-after")? - said.get("faults-before")?;
    let (mapped, mapped_end) = (said.get("mapped")?, said.get("mapped-end")?);
    answer.memory("the stack in the end", after, end);
    answer.memory("what mmap gave, as for a thread", mapped, mapped_end);
    answer.mark(before, "its low end when the program began");
    answer.step(sp, "SP before the recursion");
    answer.step(deepest, "SP at its deepest");
    answer.bar("size at the beginning", ((end - before) / 1024) as u64, "KiB");
    answer.bar("size after the recursion", ((end - after) / 1024) as u64, "KiB");
    // What was there from the beginning needs no fault.
    let pages = (before - after) / PAGE_BYTES;
    answer.fact("pages that the stack has more", pages);
    answer.fact("page faults meanwhile", faults);
    answer.fact("system calls meanwhile", "none: the recursion makes none");
    answer.must((before..end).contains(&sp), "the program was not on its stack");
    answer.must(after <= deepest && after < before, "the stack did not grow");
    answer.must(faults >= pages, format!("{faults} page faults for {pages} pages"));
    answer.must(mapped_end <= after || mapped >= end, "what mmap gave is on the stack");
    answer.answer(format!(
        "execve made it, with {} KiB, before the program's first instruction; the kernel's handler \
         of page faults grew it to {} KiB, in {faults} faults. brk and mmap have no part in it.",
        (end - before) / 1024,
        (end - after) / 1024
    ));
    Ok(())
}

pub(super) fn user_pages(answer: &mut Answer) -> Result<(), String> {
    let said = Said::of("mappings", &["growth"])?;
    let [before, after, given] = [said.get("before")?, said.get("after")?, said.get("given-back")?];
    answer.bar("in memory when the program began", before as u64, "kB");
    answer.bar("after a recursion of 1000 pages, and its return", after as u64, "kB");
    answer.bar("after madvise(MADV_DONTNEED) of 800 of them", given as u64, "kB");
    answer.must(after >= before + 4000, format!("{before} kB before, {after} after"));
    answer.must(given + 3200 <= after + 16, format!("{after} kB before madvise, {given} after"));
    answer.answer(format!(
        "not by returning: {after} kB stay where {before} were. The program can give pages back \
         with madvise ({given} kB are left); otherwise they stay until it ends."
    ));
    Ok(())
}

pub(super) fn maps(answer: &mut Answer) -> Result<(), String> {
    let said = Said::part("maps")?;
    let start = said.get("start")?;
    answer.say("The stack, as the program finds it in its maps:");
    let whole: alloc::vec::Vec<&str> = said.maps(None, Some("split")).collect();
    let split: alloc::vec::Vec<&str> = said.maps(Some("split"), Some("others")).collect();
    let others: alloc::vec::Vec<&str> = said.maps(Some("others"), None).collect();
    whole.iter().for_each(|line| answer.say(line));
    answer.say("After mprotect made a page in it read-only, so that it is three areas:");
    split.iter().for_each(|line| answer.say(line));
    answer.say("What mmap gave, and what brk gave:");
    others.iter().for_each(|line| answer.say(line));
    let mut named = 0;
    for line in &split {
        let (lowest, end) = bounds(line).ok_or("a line without bounds")?;
        let is_stack = line.ends_with("[stack]");
        let name =
            if is_stack { "the area that is called [stack]" } else { "an area without a name" };
        answer.memory(name, lowest, end);
        named += usize::from(is_stack);
        // Linux's rule: the start may be right at the end, too.
        let has_start = (lowest..=end).contains(&start);
        answer.must(is_stack == has_start, format!("{line}, and the start is {start:#x}"));
    }
    answer.mark(start, "where SP was when the program started");
    answer.must(whole.len() == 1 && split.len() == 3, format!("{whole:?}, then {split:?}"));
    answer.must(named == 1, format!("{named} areas are called [stack]"));
    let ends = |at: usize, end: &str| others.get(at).is_some_and(|line| line.ends_with(end));
    answer.must(ends(1, "[heap]") && !ends(0, "]"), format!("{others:?}"));
    answer.answer(format!(
        "areas have no names: the one that has {start:#x} in it, where SP was when the program \
         started, is called [stack]. Of {} areas that were the stack, {named} is.",
        split.len()
    ));
    Ok(())
}

pub(super) fn signal_stack(answer: &mut Answer) -> Result<(), String> {
    let said = Said::part("signals")?;
    let (lowest, end) = (said.get("lowest")?, said.get("end")?);
    let (other, other_end) = (said.get("other")?, said.get("other-end")?);
    answer.memory("the program's stack", lowest, end);
    answer.memory("the alternate stack", other, other_end);
    answer.mark(said.get("main")?, "the program, when signals come");
    let cases = [
        ("plain", "a handler", false),
        ("none-set", "a handler with SA_ONSTACK, and no alternate stack set", false),
        ("not-asked", "a handler without SA_ONSTACK, with an alternate stack set", false),
        ("asked", "a handler with SA_ONSTACK, with an alternate stack set", true),
    ];
    let mut on_other = 0;
    for (name, what, is_other) in cases {
        let at = said.get(name)?;
        answer.mark(at, what);
        let is_there = (other..other_end).contains(&at);
        on_other += usize::from(is_there);
        answer.must(is_there == is_other, format!("{what} ran at {at:#x}"));
        answer.must(is_there || (lowest..end).contains(&at), format!("{what} ran at {at:#x}"));
    }
    answer.answer(format!(
        "on the thread's own stack, below what it interrupted. On the alternate one only if both \
         sigaltstack has set it and the handler has SA_ONSTACK: {on_other} of {} here.",
        cases.len()
    ));
    Ok(())
}

pub(super) fn smash(answer: &mut Answer) -> Result<(), String> {
    const SEGV_MAPERR: usize = 1;
    const SEGV_ACCERR: usize = 2;
    let said = Said::part("smash")?;
    let again = Said::part("smash")?;
    let (lowest, end) = (said.get("lowest")?, said.get("end")?);
    answer.memory("the program's stack", lowest, end);
    let line = said.maps(None, None).next().ok_or("no line of maps")?;
    answer.fact("its line of maps", line);
    answer.must(line.contains(" rw-p "), "the stack can be executed");
    let (target, nowhere) = (said.get("to-stack")?, said.get("to-nowhere")?);
    let expected = [(target, SEGV_ACCERR), (nowhere, SEGV_MAPERR)];
    let seen = said.all("code").zip(said.all("address")).zip(said.all("pc"));
    let mut count = 0;
    for ((target, wanted), ((code, address), pc)) in expected.into_iter().zip(seen) {
        count += 1;
        answer.mark(target, "what the return address was overwritten with");
        answer.fact(
            &format!("the return to {target:#x}"),
            format!("SIGSEGV, code {code}, address {address:#x}, at instruction {pc:#x}"),
        );
        answer.must(code == wanted, format!("the code is {code}, not {wanted}"));
        answer.must(address == target && pc == target, "the fault is elsewhere");
    }
    answer.must(count == expected.len(), format!("{count} faults: {}", said.0));
    let other_end = again.get("end")?;
    answer.fact("the end of the stack in two runs", format!("{end:#x}, {other_end:#x}"));
    answer.must(end != other_end, "the stack lies where it lay before");
    answer.answer(format!(
        "a stack that cannot be executed (code {SEGV_ACCERR}) at a place that is drawn anew in each \
         run; a return to nowhere is a SIGSEGV, too (code {SEGV_MAPERR}). Only a shadow stack would \
         notice the wrong address itself, before the jump: this CPU {}.",
        if extras::shadow_form().is_some() { "has them" } else { "has none" }
    ));
    Ok(())
}

pub(super) fn shadow_stacks(answer: &mut Answer) -> Result<(), String> {
    let form = extras::shadow_form();
    answer.fact("the CPU", shadow_evidence());
    let offered = form.map_or_else(|| "none".into(), |form| format!("those of {form:?}"));
    answer.fact("shadow stacks that programs can have", offered);
    // It succeeds only if it has one where there are any, or is refused where there are none.
    let _ended_well = Said::of("shadow-stacks", &["calls"])?;
    let text = if form.is_some() {
        "has one: calls push, returns compare, a store to it and a return elsewhere are refused"
    } else {
        "is refused, by each call that could give it one"
    };
    answer.fact("a program that asks for one", text);
    answer.answer(match form {
        Some(form) => format!("yes, and programs have them ({form:?})."),
        None => "no: the CPU does not say that it has them, and programs are refused.".into(),
    });
    Ok(())
}
