//! Mappings: of files, shared, locked, advised; where they lie and what they cost.

use super::support::{make_arena_tables, settled_frames, until};
use super::{Outcome, check};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use linux::run_captured;
use machine::arch::cpu;

/// Runs one part of the program that tries mappings; afterwards every frame is free again. What it
/// printed.
fn part(name: &str) -> Result<String, String> {
    part_of("/kstack/bin/mappings", name)
}

/// The same with a part of another program.
fn part_of(program: &str, name: &str) -> Result<String, String> {
    make_arena_tables()?;
    let before = settled_frames()?;
    let ran = run_captured(program, &[program.as_bytes(), name.as_bytes()]);
    let (status, output) = ran.map_err(|error| format!("{error}"))?;
    let output = String::from_utf8_lossy(&output).into_owned();
    check!(status == 0, "status {status}: {output}");
    // The last thread of a child may still be on its way out on another CPU.
    let mut after = settled_frames()?;
    let back = until("every frame is free", || {
        after = settled_frames().unwrap_or(0);
        after >= before
    });
    check!(back.is_ok(), "{before} frames free before, {after} after");
    Ok(output)
}

pub fn p2_u1_a_file_is_one_for_all_who_map_read_and_write_it() -> Outcome {
    part("shared").map(drop)
}

pub fn p2_u1_what_a_file_lost_is_in_no_mapping_of_it() -> Outcome {
    part("truncated").map(drop)
}

pub fn u1_a_sealed_file_stays_as_it_is() -> Outcome {
    part("seals").map(drop)
}

pub fn u1_what_a_program_says_of_its_pages_is_done_or_refused() -> Outcome {
    part("advice").map(drop)
}

/// Red when memory that the kernel may drop is inherited, locked or kept, or other memory is
/// dropped.
pub fn u1_what_may_be_dropped_is_dropped_and_nothing_else() -> Outcome {
    part("droppable").map(drop)
}

pub fn p3_a_mapping_that_grows_keeps_its_gap() -> Outcome {
    part("grows").map(drop)
}

/// What recursion took stays until the program gives it back; the figures are those of smaps.
pub fn p3_p4_deep_recursion_leaves_pages_that_the_program_can_give_back() -> Outcome {
    let output = part("growth")?;
    log!("    stack, kB resident (hexadecimal): {}", output.trim().replace('\n', ", "));
    Ok(())
}

pub fn u1_p3_a_mapping_costs_no_more_with_many_areas() -> Outcome {
    let output = part("areas")?;
    log!("    nanoseconds with so many areas (hexadecimal): {}", output.trim().replace('\n', ", "));
    Ok(())
}

const RULES: &str = "/kstack/bin/memory-rules";

/// Red when mprotect changes nothing of a range that has a hole, or what lies behind it.
pub fn u1_mprotect_changes_what_lies_below_a_hole() -> Outcome {
    part_of(RULES, "halves").map(drop)
}

/// Red when a hole stays in a mapping, or a seal does not hold for fallocate and fchmod.
pub fn u1_holes_in_files_are_in_their_mappings_too() -> Outcome {
    part_of(RULES, "holes").map(drop)
}

/// Red when a limit counts something else than Linux does, or a new one is not in force at once.
pub fn u1_p3_limits_of_memory_hold_as_soon_as_they_are_set() -> Outcome {
    part_of(RULES, "limits").map(drop)
}

/// Root may map the page at 0 where the CPU keeps the kernel off programs' pages, and nowhere else.
pub fn u1_p2_the_page_at_0_is_mapped_by_root_where_no_null_pointer_reaches_it() -> Outcome {
    const REFUSED: i32 = 3;
    let (status, output) =
        run_captured(RULES, &[RULES.as_bytes(), b"lowest"]).map_err(|error| format!("{error}"))?;
    let wanted = if cpu::keeps_off_programs() { 0 } else { REFUSED };
    check!(status == wanted, "status {status}: {}", String::from_utf8_lossy(&output));
    Ok(())
}

/// Red when a word in shared memory is a word of each process, or one at an address is one for all.
pub fn p2_a_word_in_shared_memory_is_one_for_all_who_share_it() -> Outcome {
    part_of(RULES, "words").map(drop)
}

/// Red when maps does not name the stack, the heap or the vDSO, or status tells other figures.
pub fn p4_what_proc_tells_of_memory_is_what_is_there() -> Outcome {
    part_of(RULES, "told").map(drop)
}

/// Bits that change from one run to the next, of each place.
pub fn p5_stack_mappings_and_heap_lie_where_nobody_knows() -> Outcome {
    const RUNS: usize = 48;
    let mut first: Option<Vec<u64>> = None;
    let mut changing = [0_u64; 3];
    for _ in 0..RUNS {
        let output = part("places")?;
        let numbers: Result<Vec<_>, _> = output
            .lines()
            .map(|line| u64::from_str_radix(line.rsplit(' ').next().unwrap_or(""), 16))
            .collect();
        let numbers = numbers.map_err(|_| format!("no numbers: {output}"))?;
        check!(numbers.len() == 3, "not three places: {output}");
        let first = first.get_or_insert_with(|| numbers.clone());
        for (bits, (now, before)) in changing.iter_mut().zip(numbers.iter().zip(&*first)) {
            *bits |= now ^ before;
        }
    }
    let bits = changing.map(u64::count_ones);
    // Linux: pages of the stack and 9 bits below a page; pages of mappings; pages of the heap.
    let least = match linux::abi::MACHINE {
        "x86_64" => [22 + 8, 28, 18],
        "aarch64" | "riscv64" => [18 + 8, 18, 18],
        _ => [11 + 8, 8, 13],
    };
    log!("    bits at random: stack {}, mmap {}, heap {}", bits[0], bits[1], bits[2]);
    check!(bits.iter().zip(least).all(|(bits, least)| *bits >= least), "{bits:?}, not {least:?}");
    Ok(())
}

/// Red when a segment is given to one who may not use it, or found where it is not.
pub fn p2_u1_segments_have_keys_and_owners() -> Outcome {
    part_of("/kstack/bin/segments", "keys").map(drop)
}

/// Red when two attachments are not of the same memory, or a segment goes too early or never.
pub fn p2_u1_segments_are_shared_and_go_with_their_last_attachment() -> Outcome {
    part_of("/kstack/bin/segments", "attachments").map(drop)
}

/// Red when a part of a call's operations is carried out and not the rest, or a stranger may.
pub fn p2_u1_semaphores_are_changed_all_together_or_not_at_all() -> Outcome {
    part_of("/kstack/bin/keyed", "semaphores").map(drop)
}

/// Red when one that waits is not woken by what it waits for, or nothing is undone at an end.
pub fn p2_u1_semaphores_are_waited_for_and_given_back_at_the_end() -> Outcome {
    part_of("/kstack/bin/keyed", "waiting").map(drop)
}

/// Red when /proc/sysvipc does not tell what there is, or an identifier is of no boot.
pub fn u1_p4_what_has_a_number_and_a_key_is_told_in_proc() -> Outcome {
    part_of("/kstack/bin/later-rules", "numbered").map(drop)
}

/// Red when a shared mapping shows no other part of its file, or one moves where it was not to be.
pub fn u1_p3_a_shared_mapping_shows_the_part_that_is_asked_for() -> Outcome {
    part_of("/kstack/bin/later-rules", "shown").map(drop)
}

/// Red when a message is given to one who asked for another, or lost when it is too long.
pub fn p2_u1_messages_are_received_by_type() -> Outcome {
    part_of("/kstack/bin/keyed", "messages").map(drop)
}
