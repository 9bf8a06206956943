//! Programs: how they start, how they multiply, what they may not do, and that nothing of them
//! stays.

use super::support::{make_arena_tables, settled_frames};
use super::{Outcome, check};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use linux::abi::stack_image::WordSize;
use linux::run_captured;
use machine::memory::frames;

/// What a program says, and its status.
fn run(path: &str, argv: &[&[u8]]) -> Result<(i32, String), String> {
    let (status, output) = run_captured(path, argv).map_err(|error| format!("{path}: {error}"))?;
    Ok((status, String::from_utf8_lossy(&output).into_owned()))
}

fn shell(command: &str) -> Result<(i32, String), String> {
    run("/bin/busybox", &[b"sh", b"-c", command.as_bytes()])
}

/// Our own program looks at everything the ABI says is there.
pub fn p1_a_program_finds_the_stack_that_the_abi_promises() -> Outcome {
    let (status, output) = run("/kstack/bin/first-stack", &[b"first-stack", b"one", b"two"])?;
    check!(status == 0, "status {status}: {output}");
    Ok(())
}

/// An unmodified program, through execve by another: arguments with blanks, an empty one, many, and
/// the environment.
pub fn p1_busybox_passes_arguments_and_environment_on() -> Outcome {
    let (status, output) = shell(
        "A='x y' busybox sh -c 'echo \"$A|$0|$1|$2|$#\"' zero 'one  two' '' three; seq 1 2000 | tr '\\n' ' ' > /tmp/n; set -- $(cat /tmp/n); busybox sh -c 'echo $#' x $@",
    )?;
    check!(status == 0 && output == "x y|zero|one  two||3\n2000\n", "status {status}: {output:?}");
    Ok(())
}

/// A script is run by the program that its first line names, with one argument, and by another
/// script's; what has no such bit is not run, and a script that names itself is refused.
pub fn p1_a_script_is_run_by_the_program_that_its_first_line_names() -> Outcome {
    let (status, output) = shell(
        "cd /tmp; say='echo \"$0|$1|$2|$3\"'
        printf '#! /bin/busybox  sh \n%s\n' \"$say\" > one; printf '#!/tmp/one b  c\n' > two
        printf '#!/tmp/loop\n' > loop; printf '#!/nothing\n' > lost; printf '#!\n' > empty
        busybox chmod 755 one two loop lost
        ./one a 'x y' 2>&1; ./two a 2>&1
        for i in ./loop ./lost /tmp/empty; do $i > /dev/null 2>&1; echo $?; done",
    )?;
    // The shell takes a program of too many scripts (ELOOP) for one that is not there, as POSIX has
    // it.
    let expected = "./one|a|x y|\n/tmp/one|b  c|./two|a\n127\n127\n126\n";
    check!(status == 0 && output == expected, "status {status}: {output:?}");
    Ok(())
}

/// More strings than fit are E2BIG, and the caller lives.
pub fn p1_too_many_arguments_are_refused() -> Outcome {
    let (status, output) = shell(
        "x=$(seq 1 20000); x=\"$x$x$x$x$x$x$x$x\"; y=\"$x$x$x\"; busybox echo \"$y\" > /dev/null; echo $?; echo alive",
    )?;
    check!(output.contains("alive") && !output.starts_with("0\n"), "status {status}: {output:?}");
    Ok(())
}

pub fn p2_fork_copies_vfork_borrows_a_thread_has_the_stack_it_was_given() -> Outcome {
    let (status, output) = run("/kstack/bin/family", &[b"family"])?;
    check!(status == 0, "status {status}: {output}");
    Ok(())
}

/// Red if the return path to user mode, or the first one of a new thread, loses a register: the
/// compiler rarely keeps anything in most of them across a fork.
pub fn p2_s1_a_forked_child_has_its_parents_registers() -> Outcome {
    let (status, output) = run("/kstack/bin/fork-registers", &[b"fork-registers"])?;
    check!(status == 0, "status {status}: {output}");
    Ok(())
}

/// Shells of shells: each child has memory of its own, and a parent gets each one's status.
pub fn p2_children_of_children_keep_to_themselves() -> Outcome {
    let (status, output) = shell(
        "x=1; (x=2; (x=3; echo $x; exit 4); echo $? $x; exit 5); echo $? $x; false | true; echo $?",
    )?;
    check!(status == 0 && output == "3\n4 2\n5 1\n0\n", "status {status}: {output:?}");
    Ok(())
}

/// The names, and what they name: the stack holds SP, the heap starts above the image, neither
/// overlaps another mapping.
pub fn p4_maps_names_stack_and_heap() -> Outcome {
    let (status, output) = run("/bin/busybox", &[b"cat", b"/proc/self/maps"])?;
    check!(status == 0, "status {status}");
    let mut last_top = 0;
    let (mut stack, mut heap) = (None, None);
    for line in output.lines() {
        let (range, rest) = line.split_once(' ').ok_or("no range")?;
        let (lowest, top) = range.split_once('-').ok_or("no range")?;
        let number = |text| u64::from_str_radix(text, 16).map_err(|_| String::from("no number"));
        let (lowest, top) = (number(lowest)?, number(top)?);
        check!(last_top <= lowest && lowest < top, "out of order: {line}");
        last_top = top;
        if rest.ends_with("[stack]") {
            check!(stack.replace((lowest, top)).is_none(), "two stacks");
            check!(rest.starts_with("rw-p"), "the stack is {rest}");
        } else if rest.ends_with("[heap]") {
            check!(heap.replace((lowest, top)).is_none(), "two heaps");
            check!(rest.starts_with("rw-p"), "the heap is {rest}");
        }
    }
    let (stack, heap) = (stack.ok_or("no [stack]")?, heap.ok_or("no [heap]")?);
    check!(heap.1 < stack.0, "the heap is above the stack");
    check!(stack.1 == last_top, "something is above the stack");
    Ok(())
}

pub fn p8_bad_pointers_and_unknown_calls_are_errors_to_the_caller() -> Outcome {
    // The first run makes what is made once: page tables of the arena, the log's line.
    for round in 0..3 {
        let before = settled_frames()?;
        let (status, output) = run("/kstack/bin/bad-pointers", &[b"bad-pointers"])?;
        check!(status == 0, "status {status}: {output}");
        let after = settled_frames()?;
        check!(round == 0 || before == after, "{before} frames free before, {after} after");
    }
    Ok(())
}

/// A program of ours in which each process tries one thing: instructions, flags, selectors,
/// vectors, stack pointers and addresses. Each ends as it may, the others and the machine notice
/// nothing, and what they had comes back.
pub fn u1_p2_what_no_program_may_do_ends_that_program_and_nothing_else() -> Outcome {
    let (status, output) = run("/kstack/bin/hostile", &[b"hostile"])?;
    check!(status == 0, "status {status}: {output}");
    let before = settled_frames()?;
    let (status, output) = run("/kstack/bin/hostile", &[b"hostile"])?;
    check!(status == 0, "the second time, status {status}: {output}");
    let after = settled_frames()?;
    check!(before == after, "{before} frames free before, {after} after");
    Ok(())
}

/// Where things are in an ELF file, by its word size.
struct Elf {
    word: usize,
    /// In the file's header: where the program headers are, how large one is, how many there are.
    headers: usize,
    header_bytes: usize,
    header_count: usize,
    /// Where the first one is, as linkers have it, and how large it is.
    first_header: usize,
    one_header: usize,
    /// In a program header.
    offset: usize,
    address: usize,
    file_bytes: usize,
    memory_bytes: usize,
    alignment: usize,
}

const ELF: Elf = match linux::abi::WORD {
    WordSize::Eight => Elf {
        word: 8,
        headers: 32,
        header_bytes: 54,
        header_count: 56,
        first_header: 64,
        one_header: 56,
        offset: 8,
        address: 16,
        file_bytes: 32,
        memory_bytes: 40,
        alignment: 48,
    },
    WordSize::Four => Elf {
        word: 4,
        headers: 28,
        header_bytes: 42,
        header_count: 44,
        first_header: 52,
        one_header: 32,
        offset: 4,
        address: 8,
        file_bytes: 16,
        memory_bytes: 20,
        alignment: 28,
    },
};

/// Every way a file can be no program: not one frame stays behind, and each is refused by name.
pub fn p1_a_file_that_is_no_program_is_refused_and_nothing_is_lost() -> Outcome {
    let good = linux::fs::read_file("/bin/busybox").ok_or("no busybox")?;
    let argv = [b"x".to_vec()];
    let load = |file: &[u8]| linux::load_for_test(file, &argv);
    check!(load(&good).is_ok(), "the good one does not load");
    let before = settled_frames()?;
    let refused = |what: &str, file: &[u8]| -> Outcome {
        check!(load(file).is_err(), "{what} was loaded");
        let after = settled_frames()?;
        check!(after == before, "{what}: {before} frames free before, {after} after");
        Ok(())
    };
    refused("nothing", b"")?;
    refused("a script", b"#!/bin/sh\necho hello\n")?;
    refused("zeros", &[0; 4096])?;
    let patched = |at: usize, bytes: &[u8]| {
        let mut file = good.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        file
    };
    refused("a program of the other word size", &patched(4, &[3 - good[4]]))?;
    // 22: s390, which this kernel knows nothing of.
    refused("a program of another machine", &patched(18, &22_u16.to_le_bytes()))?;
    refused("an object file", &patched(16, &1_u16.to_le_bytes()))?;
    let word = |value: u64| value.to_le_bytes()[..ELF.word].to_vec();
    // What lies above the user's part of the address space, whatever the word size.
    let kernel = machine::memory::IMAGE;
    refused("an entry in the kernel", &patched(24, &word(kernel)))?;
    refused("headers beyond the file", &patched(ELF.headers, &word(u64::MAX)))?;
    refused("headers of one byte", &patched(ELF.header_bytes, &1_u16.to_le_bytes()))?;
    refused("no headers", &patched(ELF.header_count, &0_u16.to_le_bytes()))?;
    for (what, at, value) in [
        ("a segment beyond the file", ELF.offset, 1 << 30),
        ("a segment whose end wraps", ELF.offset, u64::MAX - 5),
        ("a segment in the kernel", ELF.address, kernel),
        ("a segment at zero", ELF.address, 0),
        ("a segment that wraps", ELF.address, u64::MAX - 5),
        ("more bytes in the file than in memory", ELF.file_bytes, 1 << 30),
        ("a segment larger than memory", ELF.memory_bytes, 3 << 30),
        ("a segment of all address space", ELF.memory_bytes, u64::MAX),
    ] {
        // Every header, so that the first one to load is among them.
        let mut file = good.clone();
        let count = [good[ELF.header_count], good[ELF.header_count + 1]];
        for header in 0..usize::from(u16::from_le_bytes(count)) {
            let place = ELF.first_header + ELF.one_header * header + at;
            file[place..place + ELF.word].copy_from_slice(&word(value));
        }
        refused(what, &file)?;
    }
    for length in (0..2000).step_by(37) {
        refused("a truncated program", &good[..length])?;
    }
    Ok(())
}

/// Headers with bytes drawn at random: refused or loaded, never a panic, and never a frame lost.
pub fn p1_random_headers_never_harm_the_kernel() -> Outcome {
    let good = linux::fs::read_file("/bin/busybox").ok_or("no busybox")?;
    let argv = [b"x".to_vec()];
    let before = frames::free_count();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut file = good.clone();
    let headers = ELF.first_header + ELF.one_header * 12;
    let mut loaded = 0;
    for _ in 0..300 {
        file[..headers].copy_from_slice(&good[..headers]);
        for _ in 0..3 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let at = 16 + random as usize % (headers - 16);
            file[at] = (random >> 32) as u8;
        }
        loaded += usize::from(linux::load_for_test(&file, &argv).is_ok());
        let after = frames::free_count();
        check!(before == after, "{before} frames free before, {after} after");
    }
    check!(loaded < 300, "nothing was refused");
    Ok(())
}

/// Pipes, many processes at a time, on all CPUs, while timers tick and IPIs fly; afterwards every
/// frame is back.
pub fn p2_o5_many_processes_leave_nothing_behind() -> Outcome {
    let work =
        "for i in $(seq 1 5); do seq 1 200 | sort -r | head -1; done | sort | uniq -c | tr -s ' '";
    let once = || -> Outcome {
        let (status, output) = shell(work)?;
        check!(status == 0 && output.trim() == "5 99", "status {status}: {output:?}");
        Ok(())
    };
    once()?;
    make_arena_tables()?;
    let before = settled_frames()?;
    for _ in 0..3 {
        once()?;
    }
    let mut after = settled_frames()?;
    // The last thread of a child may still be on its way out on another CPU.
    for _ in 0..200 {
        if after == before {
            break;
        }
        let _never_killed = threads::time::sleep(4_000_000);
        after = settled_frames()?;
    }
    check!(before == after, "{before} frames free before, {after} after");
    let left: Vec<_> = linux::all().iter().map(|process| process.name()).collect();
    check!(left.is_empty(), "processes left: {left:?}");
    Ok(())
}

/// A position-independent program lies at a multiple of the largest alignment that one of its
/// segments asks for; what is no power of two asks for nothing.
pub fn u1_p1_a_position_independent_program_lies_as_its_segments_are_aligned() -> Outcome {
    const TYPE: usize = 16;
    const ENTRY: usize = 24;
    const SHARED_OBJECT: u8 = 3;
    const LOAD: [u8; 4] = [1, 0, 0, 0];
    let mut file = linux::fs::read_file("/kstack/bin/first-stack").ok_or("no program")?;
    file[TYPE] = SHARED_OBJECT;
    let headers =
        usize::from(u16::from_le_bytes([file[ELF.header_count], file[ELF.header_count + 1]]));
    let places = (0..headers).map(|header| ELF.first_header + ELF.one_header * header);
    let last = places.rev().find(|&at| file[at..at + 4] == LOAD).ok_or("nothing to load")?;
    let word = |file: &[u8], at: usize| {
        let mut bytes = [0; 8];
        bytes[..ELF.word].copy_from_slice(&file[at..at + ELF.word]);
        u64::from_le_bytes(bytes)
    };
    let argv = [b"x".to_vec()];
    for (asked, given) in [
        (1, 4096),
        (4096, 4096),
        (1 << 16, 1 << 16),
        (1 << 21, 1 << 21),
        (1 << 25, 1 << 25),
        (3 << 20, 4096),
    ] {
        let at = last + ELF.alignment;
        file[at..at + ELF.word].copy_from_slice(&u64::to_le_bytes(asked)[..ELF.word]);
        let entry = linux::entry_for_test(&file, &argv);
        let entry = entry.map_err(|error| format!("alignment {asked:#x}: {error:?}"))?;
        let base = entry - word(&file, ENTRY);
        check!(
            base > 0 && base.is_multiple_of(given),
            "alignment {asked:#x}: it lies at {base:#x}"
        );
    }
    Ok(())
}

/// A segment of zeros alone has no bytes in the file, so where they would be there does not matter:
/// GNU's linker names a place beyond the end of a small program. Red if that place must be there.
pub fn u1_p1_a_segment_of_zeros_alone_may_name_a_place_beyond_the_file() -> Outcome {
    const LOAD: [u8; 4] = [1, 0, 0, 0];
    let mut file = linux::fs::read_file("/kstack/bin/first-stack").ok_or("no program")?;
    let headers =
        usize::from(u16::from_le_bytes([file[ELF.header_count], file[ELF.header_count + 1]]));
    let places = (0..headers).map(|header| ELF.first_header + ELF.one_header * header);
    let zeros = |at: &usize| {
        let bytes = &file[at + ELF.file_bytes..][..ELF.word];
        file[*at..at + LOAD.len()] == LOAD && bytes.iter().all(|&byte| byte == 0)
    };
    let at = places.rev().find(zeros).ok_or("no segment of zeros alone")?;
    let argv = [b"x".to_vec()];
    let offset = at + ELF.offset..at + ELF.offset + ELF.word;
    let end = file.len() as u64;
    for place in [0, end, end + 1, 1 << 31, u64::MAX] {
        file[offset.clone()].copy_from_slice(&place.to_le_bytes()[..ELF.word]);
        let loaded = linux::load_for_test(&file, &argv);
        loaded.map_err(|error| format!("zeros at {place:#x} of {end:#x}: {error:?}"))?;
    }
    // One byte of it in the file, and the place matters.
    file[at + ELF.file_bytes] = 1;
    check!(linux::load_for_test(&file, &argv).is_err(), "a byte beyond the file was loaded");
    Ok(())
}
