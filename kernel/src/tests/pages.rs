//! What the kernel has mapped: nothing that can be both written and executed, by whichever address;
//! no stack that can be executed; and what the CPU says to attempts.

use super::arch::attempts::{self, Touch};
use super::support::{install_hooks, on_every_cpu, stack_at};
use super::{Outcome, check};
use crate::hooks;
use alloc::format;
use alloc::string::String;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use kstack::addr::Addr;
use kstack::hooks::Hooks;
use kstack::kind::StackKind;
use machine::arch::cpu;
use machine::arch::mappings::{self, Mapping};
use machine::arch::paging::{Access, UserTables};
use machine::arch::regs::SavedRegs;
use machine::memory::{DIRECT_MAP, IMAGE, frames, image};
use threads::sched;

/// What the tables of the CPU it runs on have, in bytes; an error says what should not be there.
#[derive(Default)]
struct Seen {
    executable: u64,
    /// Read-only parts of the image at another address than the image's.
    aliases: u64,
    writable: u64,
}

fn look(mapping: &Mapping, seen: &mut Seen) -> Outcome {
    let image = image::parts();
    let Mapping { lowest, bytes, physical, rights } = *mapping;
    let Access { write, exec } = rights.access;
    check!(!rights.user, "user mode may use {mapping:x?}");
    check!(!(write && exec), "writable and executable: {mapping:x?}");
    if exec {
        let text = image[0];
        let is_text = text.lowest <= lowest && lowest + bytes <= text.top;
        check!(is_text && physical == lowest - IMAGE, "executable, and no text: {mapping:x?}");
        seen.executable += bytes;
    }
    if write {
        seen.writable += bytes;
        for part in image.iter().filter(|part| !part.access.write) {
            let (from, to) = (part.lowest - IMAGE, part.top - IMAGE);
            let overlaps = physical < to && from < physical + bytes;
            check!(!overlaps, "{} can be written by {mapping:x?}", part.name);
        }
    } else if physical != lowest.wrapping_sub(IMAGE) {
        seen.aliases += bytes;
    }
    Ok(())
}

fn walk() -> Outcome {
    let mut seen = Seen::default();
    let mut outcome: Outcome = Ok(());
    mappings::for_each(&mut |mapping| {
        if outcome.is_ok() {
            outcome = look(&mapping, &mut seen);
        }
    });
    outcome?;
    let image = image::parts();
    let size = |part: image::Part| part.top - part.lowest;
    let read_only: u64 =
        image.iter().filter(|part| !part.access.write).map(|&part| size(part)).sum();
    check!(seen.executable == size(image[0]), "{} bytes of text are executable", seen.executable);
    check!(seen.aliases >= read_only, "the direct map has {} bytes of it only", seen.aliases);
    check!(seen.writable > size(image[2]), "{} bytes can be written", seen.writable);
    Ok(())
}

/// By the tables that each CPU has loaded. The hooks are replaced once before, which opens the
/// window to the read-only data: red if it stays open, as if the direct map of the image's text is
/// writable, or a page of it executable.
pub fn h5_no_page_of_the_kernel_is_writable_and_executable_by_any_address_on_any_cpu() -> Outcome {
    static HOOKS: Hooks = hooks::HOOKS;
    install_hooks(&HOOKS);
    install_hooks(&hooks::HOOKS);
    on_every_cpu(|_| walk())
}

/// What the last attempt was told, as a number of [`Touch`], and about which address.
static TOLD: AtomicU32 = AtomicU32::new(0);
static ABOUT: AtomicUsize = AtomicUsize::new(0);

/// Notes what the CPU says, and goes back as if the attempt were over.
fn note(vector: u8, fault: Addr, regs: &mut SavedRegs) {
    match attempts::refused(vector, regs) {
        Some(touch) => {
            TOLD.store(1 + touch as u32, Ordering::Relaxed);
            ABOUT.store(fault.get(), Ordering::Relaxed);
            attempts::give_up(regs);
        }
        None => (hooks::HOOKS.kernel_exception)(vector, fault, regs),
    }
}

/// Makes an attempt; whether the CPU refused it, and as what it was meant.
fn is_refused(touch: Touch, address: usize) -> Result<bool, String> {
    TOLD.store(0, Ordering::Relaxed);
    attempts::make(touch, address);
    let (told, about) = (TOLD.load(Ordering::Relaxed), ABOUT.load(Ordering::Relaxed));
    if told == 0 {
        return Ok(false);
    }
    check!(told == 1 + touch as u32, "{touch:?} of {address:#x} was told as number {told}");
    check!(about == address, "{touch:?} of {address:#x} was told of {about:#x}");
    Ok(true)
}

/// Does it with the hooks that note what the CPU refuses.
fn with_attempts(what: impl FnOnce() -> Outcome) -> Outcome {
    static HOOKS: Hooks = hooks::HOOKS.kernel_exception(note);
    install_hooks(&HOOKS);
    let outcome = what();
    install_hooks(&hooks::HOOKS);
    outcome
}

/// Of every kind that the registry has, and of the direct map's alias of one. Red if the page of a
/// stack may be executed: the jump then runs what is on it.
pub fn h5_a_jump_to_a_stack_of_any_kind_is_refused() -> Outcome {
    let registry = kstack::registry::get().ok_or("no registry")?;
    with_attempts(|| {
        for kind in StackKind::ALL {
            let Some((_, stack)) = registry.live().find(|(_, stack)| stack.kind == kind) else {
                continue;
            };
            let lowest = stack.range.lowest.get();
            check!(is_refused(Touch::Fetch, lowest)?, "the {kind} stack at {lowest:#x} executes");
            if let Some(frame) = machine::arch::paging::kernel_frame(lowest as u64) {
                let alias = (DIRECT_MAP + frame.addr()) as usize;
                check!(is_refused(Touch::Fetch, alias)?, "its frame at {alias:#x} executes");
            }
        }
        Ok(())
    })
}

/// By the image's address and by the direct map's. Red if the store goes through.
pub fn h5_a_store_to_text_or_read_only_data_is_refused_by_either_address() -> Outcome {
    with_attempts(|| {
        for part in image::parts().iter().filter(|part| !part.access.write) {
            for address in [part.lowest, DIRECT_MAP + (part.lowest - IMAGE)] {
                let is_refused = is_refused(Touch::Store, address as usize)?;
                check!(is_refused, "{} at {address:#x} is writable", part.name);
            }
        }
        Ok(())
    })
}

/// A page of a program's that the program may read, write and execute, under the tables that are
/// loaded. Red if the kernel may execute it, or touch it on a CPU that can refuse that.
pub fn h5_user_memory_is_neither_executed_nor_touched_by_accident() -> Outcome {
    const PAGE: u64 = 0x40_0000;
    let frame = frames::alloc_zeroed().ok_or("no frame")?;
    let mut tables = UserTables::new().ok_or("no tables")?;
    let mapped = tables.map(PAGE, frame, Access { write: true, exec: true });
    mapped.map_err(|_| "no table")?;
    let use_tables = |root| {
        cpu::without_interrupts(|| {
            sched::current().set_tables_root(root);
            sched::load_tables_of(sched::current());
        });
    };
    use_tables(tables.root());
    let outcome = with_attempts(|| {
        let (fetch, data) = attempts::cpu_refuses_user_memory();
        for (touch, wanted) in [(Touch::Fetch, fetch), (Touch::Load, data), (Touch::Store, data)] {
            // What is not refused would be executed.
            if touch == Touch::Fetch && !wanted {
                continue;
            }
            let refused = is_refused(touch, PAGE as usize)?;
            check!(refused == wanted, "{touch:?}: refused: {refused}, by the CPU's word: {wanted}");
        }
        Ok(())
    });
    use_tables(0);
    frames::release(frame);
    outcome
}

/// As programs read it. Red if a row is left out, or says that text can be written.
pub fn h5_proc_tells_what_the_kernel_has_mapped_and_how() -> Outcome {
    let path: &[u8] = b"/proc/kstack/pages";
    let ran = linux::run_captured("/bin/busybox", &[b"cat", path]);
    let (status, output) = ran.map_err(|error| format!("{error}"))?;
    let output = String::from_utf8_lossy(&output).into_owned();
    check!(status == 0, "status {status}: {output}");
    let is_there = |lowest: u64, rights: &str, what: &str| {
        let begin = format!("{lowest:#018x} ");
        let end = format!(" {rights} {what}");
        output.lines().any(|line| line.starts_with(&begin) && line.ends_with(&end))
    };
    for part in image::parts() {
        let rights = match part.name {
            "text" => "r-x",
            "data" => "rw-",
            _ => "r--",
        };
        check!(is_there(part.lowest, rights, part.name), "{} is not told: {output}", part.name);
        if part.access.write {
            continue;
        }
        let alias = DIRECT_MAP + (part.lowest - IMAGE);
        let what = format!("direct map of {}", part.name);
        check!(is_there(alias, "r--", &what), "no {what}: {output}");
    }
    let here = stack_at(cpu::stack_pointer());
    let lowest = here.ok_or("no stack")?.range.lowest.get() as u64;
    check!(is_there(lowest, "rw-", "stacks"), "this stack is not told: {output}");
    Ok(())
}
