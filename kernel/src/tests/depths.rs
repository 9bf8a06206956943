//! How far stacks were used: their end words, and the meter.

use super::support::{above_end, stack_of_cpu};
use super::{Outcome, check};
use crate::provoke;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use kstack::addr::ByteSize;
use kstack::depths::Depths;
use kstack::end_word;
use kstack::kind::StackKind;
use kstack::stacks::{StackId, StackLookup};
use kstack::verdict::Cause;
use linux::run_captured;
use machine::arch::{boot, paging};
use machine::{cpus, log};
use threads::stacks::depths;
use threads::{clock, sched, stacks};

/// Announces a stop because of an end word, and who is to be named.
fn expect_end_overwritten(test: &str, victim: &str) {
    control!(
        "expect {test} stack={} cause={} side=below consequence=stop-system victim={victim} reliable=yes running=0 backtrace~=leave_cpu",
        StackKind::Thread,
        Cause::EndOverwritten.name(),
    );
}

/// Red if a switch does not look, looks at the thread that comes, or names another than the one
/// that leaves.
pub fn t12_a_thread_whose_end_word_is_overwritten_stops_the_machine_when_it_leaves_its_cpu()
-> Outcome {
    expect_end_overwritten(
        "t12_a_thread_whose_end_word_is_overwritten_stops_the_machine_when_it_leaves_its_cpu",
        "scribbler",
    );
    provoke::overwrite_end(usize::MAX);
    Err("the machine went on".into())
}

/// Zeros are no end word, and the last switch of a thread looks, too.
pub fn t12_a_thread_that_ends_with_its_end_word_cleared_stops_the_machine() -> Outcome {
    expect_end_overwritten(
        "t12_a_thread_that_ends_with_its_end_word_cleared_stops_the_machine",
        "scribbler",
    );
    provoke::overwrite_end(0);
    Err("the machine went on".into())
}

/// Announces a stop because of the end word of a stack of this CPU's, writes over it, and waits for
/// the next tick.
fn overwrite_end_of(test: &str, stack: &StackId) -> Outcome {
    control!(
        "expect {test} stack={} cause={} side=below consequence=stop-system running=0",
        stack.kind,
        Cause::EndOverwritten.name(),
    );
    let end = end_word::at(stack.range.lowest).get() as *mut usize;
    // SAFETY: (1) none: the word is no owner's to write. That is the test.
    unsafe { end.write_volatile(0) };
    // Not asleep: the idle thread would run, and be switched away from.
    let from = clock::ticks();
    while clock::ticks() < from + 50 {
        core::hint::spin_loop();
    }
    Err("the machine went on".into())
}

/// No switch leaves an IRQ stack: the next tick of its CPU looks.
pub fn t12_n10_an_irq_stack_whose_end_word_is_overwritten_stops_the_machine_at_the_next_tick()
-> Outcome {
    let stack = stack_of_cpu(StackKind::Irq, cpus::this())?;
    overwrite_end_of(
        "t12_n10_an_irq_stack_whose_end_word_is_overwritten_stops_the_machine_at_the_next_tick",
        &stack,
    )
}

/// Of the stacks that exceptions, softirqs or overflows have here, the last: red if a tick looks at
/// the IRQ stack alone, or stops looking before the last stack.
pub fn t12_n10_the_tick_looks_at_the_end_words_of_the_stacks_of_exceptions_too() -> Outcome {
    let (kind, _) = *kstack::cpu::CPU_STACKS.last().ok_or("no other stacks")?;
    let stack = stack_of_cpu(kind, cpus::this())?;
    overwrite_end_of(
        "t12_n10_the_tick_looks_at_the_end_words_of_the_stacks_of_exceptions_too",
        &stack,
    )
}

/// An idle thread may not leave its CPU for long: red if only switches look at its stack.
pub fn t12_n10_the_tick_looks_at_the_end_word_of_the_idle_stack_too() -> Outcome {
    let stack = stack_of_cpu(StackKind::Idle, cpus::this())?;
    overwrite_end_of("t12_n10_the_tick_looks_at_the_end_word_of_the_idle_stack_too", &stack)
}

fn declared_boot_stack() -> Result<StackId, String> {
    let mut all = kstack::elsewhere::all().filter(|stack| stack.kind == StackKind::Boot);
    all.next().copied().ok_or_else(|| "no boot stack".into())
}

/// The boot stack is the first CPU's, and its tick looks.
pub fn t12_n10_the_tick_of_the_first_cpu_looks_at_the_end_word_of_the_boot_stack() -> Outcome {
    overwrite_end_of(
        "t12_n10_the_tick_of_the_first_cpu_looks_at_the_end_word_of_the_boot_stack",
        &declared_boot_stack()?,
    )
}

/// Red if what was run at boot is still on its stack, if the guard is mapped, if an address on it
/// is no stack's, or if its record went with what was erased.
pub fn n10_the_boot_stack_has_a_guard_a_record_a_place_in_the_registry_and_is_erased() -> Outcome {
    let stack = declared_boot_stack()?;
    check!(stack.range == boot::boot_stack(), "{stack} is declared");
    let guard = boot::boot_guard();
    check!(guard.top == stack.range.lowest && guard.size().get() >= 4096, "{guard:?}");
    for page in (guard.lowest.get()..guard.top.get()).step_by(4096) {
        check!(!paging::kernel_is_mapped(page as u64), "the guard is mapped at {page:#x}");
    }
    for page in (stack.range.lowest.get()..stack.range.top.get()).step_by(4096) {
        check!(paging::kernel_is_mapped(page as u64), "the stack is not mapped at {page:#x}");
    }
    let registry = stacks::registry();
    let middle = stack.range.lowest.wrapping_add(ByteSize::new(stack.range.size().get() / 2));
    check!(registry.stack_at(middle) == Some(stack), "{middle} is on no stack");
    check!(registry.stack_at(stack.range.top) != Some(stack), "the top is on the stack");
    check!(registry.stack_at(guard.lowest).is_none(), "the guard is on a stack");
    for at in (above_end(stack.range)..stack.range.top.get()).step_by(size_of::<usize>()) {
        // SAFETY: (1) a word of the boot stack, which is mapped, see above.
        let word = unsafe { (at as *const usize).read_volatile() };
        check!(word == 0, "{word:#x} is left at {at:#x}");
    }
    let record = depths::of_cpus().find(|(one, _)| *one == stack).map(|(_, left)| left.get());
    let size = stack.range.size().get();
    check!(record.is_some_and(|left| left > 0 && left + 512 < size), "{record:?} of {size} left");
    Ok(())
}

/// Every stack that is held, of whatever kind, and each that is handed out, new or used.
pub fn t12_n10_every_stack_has_its_end_word_whatever_its_kind() -> Outcome {
    for _ in 0..3 {
        for (_, stack) in stacks::registry().live() {
            // A thread's may go while it is looked at.
            if stack.kind == StackKind::Thread {
                continue;
            }
            // SAFETY: (1) a stack that belongs to a CPU stays mapped.
            let whole = unsafe { end_word::is_whole(stack.range.lowest) };
            check!(whole, "{stack} has no end word");
        }
        let mut saw_own = false;
        for thread in sched::all() {
            let Some(borrowed) = thread.borrow_stack() else { continue };
            // SAFETY: (1) borrowed, so it stays mapped.
            let whole = unsafe { end_word::is_whole(borrowed.range().lowest) };
            check!(whole, "the stack of {} has no end word", thread.name());
            saw_own |= thread.id() == sched::current().id();
        }
        check!(saw_own, "the stack of the thread that looks was not looked at");
        sched::spawn_kernel("brief", |_| {}, 0).map_err(|error| format!("{error:?}"))?.join();
    }
    Ok(())
}

/// Ends a thread that wrote a word so many bytes above the end word, and nothing below it. Returns
/// its number.
fn end_with_left(left: usize) -> Result<u64, String> {
    fn body(left: usize) {
        let at = end_word::at(sched::current().stack_range().lowest).get() + left;
        // SAFETY: (1) a word of its own stack, far below SP.
        unsafe { (at as *mut usize).write_volatile(0x5a) };
    }
    let thread = sched::spawn_kernel("deep", body, left).map_err(|error| format!("{error:?}"))?;
    thread.join();
    Ok(thread.number())
}

/// What the kernel has said since it had said `from` bytes.
fn said_since(from: u64) -> String {
    let mut bytes = vec![0; log::KEPT_BYTES];
    let (_, count) = log::copy_kept(from, &mut bytes);
    String::from_utf8_lossy(&bytes[..count]).into_owned()
}

/// Word by word, in each page but the first frames': red if the depth is that of a page or of a
/// sample, if the end word counts, or if the line names another thread.
pub fn t13_a_thread_that_ends_with_a_new_record_says_exactly_how_much_it_left() -> Outcome {
    const WORD: usize = size_of::<usize>();
    let size = kstack::GEOMETRY.body().get();
    for left in [size - 4096 - WORD, size / 2, 4096, 4096 - WORD, 2000, 3 * WORD, WORD] {
        depths::of_ended().forget_record();
        let said = log::kept();
        let number = end_with_left(left)?;
        let least = depths::of_ended().least_left();
        check!(least.map(|least| least.get()) == Some(left), "{least:?} left, not {left}");
        let line = format!("deep ({number}) used greatest stack depth: {left} bytes left");
        check!(said_since(said).contains(&line), "the kernel did not say: {line}");
    }
    // As deep as the record, and less deep: nothing is said.
    let said = log::kept();
    for left in [WORD, 4096] {
        end_with_left(left)?;
    }
    let text = said_since(said);
    check!(!text.contains("greatest stack depth"), "that was no record: {text}");
    depths::of_ended().forget_record();
    Ok(())
}

/// What a program reads there.
fn kstack_lines() -> Result<String, String> {
    let path = "/proc/vmstat";
    let ran = run_captured("/bin/busybox", &[b"grep", b"^kstack_", path.as_bytes()]);
    let (_, output) = ran.map_err(|error| format!("{error}"))?;
    Ok(String::from_utf8_lossy(&output).into_owned())
}

/// Red if a class is missing or one too many, or an end is counted in another.
pub fn t13_proc_vmstat_counts_ended_threads_by_depth_under_linuxs_names() -> Outcome {
    let size = kstack::GEOMETRY.body();
    let last = Depths::classes(size) - 1;
    let names: vec::Vec<String> = kstack_lines()?
        .lines()
        .filter_map(|line| line.split(' ').next().map(ToString::to_string))
        .collect();
    let wanted = &Depths::NAMES[..=last];
    check!(names == wanted, "{names:?}, not {wanted:?}");
    let count = |class: usize| -> Result<u64, String> {
        let text = kstack_lines()?;
        let line = text.lines().find_map(|line| line.strip_prefix(Depths::NAMES[class]));
        line.and_then(|count| count.trim().parse().ok()).ok_or_else(|| format!("{text:?}"))
    };
    let before = count(last)?;
    for _ in 0..5 {
        end_with_left(16)?;
    }
    let after = count(last)?;
    check!(after == before + 5, "{} {after}, {before} before", Depths::NAMES[last]);
    // A depth of exactly a class's limit is of that class, a word more of the next.
    for (left, class) in [(size.get() / 2, last - 1), (size.get() / 2 - 16, last)] {
        let before = count(class)?;
        end_with_left(left)?;
        let after = count(class)?;
        check!(after > before, "{left} bytes left: {after}, {before} before");
    }
    Ok(())
}

/// Of every kind, on every CPU, the first one's boot stack among them: a word that is written at
/// the far end is found, and with it gone the record is what it was.
pub fn t13_n10_the_record_of_every_stack_of_a_cpu_is_exact() -> Outcome {
    let all: vec::Vec<_> = depths::of_cpus().collect();
    for kind in [StackKind::Idle, StackKind::Irq, StackKind::Boot] {
        check!(all.iter().any(|(stack, _)| stack.kind == kind), "no {kind} stack is metered");
    }
    for (stack, before) in all {
        let size = stack.range.size();
        check!(before.get() > 16 && before <= size, "{stack}: {before:?} left of {size:?}");
        // SAFETY: (1) a stack that belongs to a CPU stays mapped.
        check!(unsafe { end_word::is_whole(stack.range.lowest) }, "{stack} has no end word");
        let word = above_end(stack.range) as *mut usize;
        // SAFETY: (1) the lowest word above the end word of a stack that never was so deep, see
        // above.
        let left = unsafe {
            word.write_volatile(0x5a);
            let left = depths::left(stack.range);
            word.write_volatile(0);
            left
        };
        let at = word as usize - end_word::at(stack.range.lowest).get();
        check!(left.get() == at, "{stack}: {left:?} left, not {at}");
        let after = depths::left(stack.range);
        // The boot stack has been erased: its record is kept, what is on it is zero.
        let erased = stack.kind == StackKind::Boot && after.get() + 16 > size.get();
        let lower = after <= before && after.get() > 16;
        check!(lower || erased, "{stack}: {after:?} left, {before:?} before");
    }
    Ok(())
}
