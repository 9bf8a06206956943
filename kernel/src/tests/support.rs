//! What several tests share: classifying addresses, waiting for a condition, running something on a
//! given CPU.

use super::arch::expectations::EXPECTED;
use super::{Outcome, check};
use alloc::format;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};
use kstack::addr::{Addr, AddrRange, PAGE_BYTES};
use kstack::end_word;
use kstack::hooks::Hooks;
use kstack::kind::StackKind;
use kstack::registry;
use kstack::stacks::{StackId, StackLookup};
use machine::arch::irqchip::{self, vector};
use machine::arch::paging;
use machine::arch::regs::SavedRegs;
use machine::cpus::{self, Cpu};
use machine::memory::{frames, image};
use machine::spin::SpinLock;
use threads::entry::probes;
use threads::sched::TASKS;
use threads::{sched, time};

/// Looks at a condition before it is given up: a tick each, at least.
const MAX_LOOKS: u32 = 5000;

/// Waits until the condition holds, a tick between looks. Fails, naming `what`, if it never does.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) -> Outcome {
    for _ in 0..MAX_LOOKS {
        if condition() {
            return Ok(());
        }
        time::sleep(time::TICK).map_err(|_| format!("killed while waiting until {what}"))?;
    }
    Err(format!("waited in vain until {what}"))
}

/// The lowest byte of a stack that is its owner's to write: above the end word.
pub fn above_end(stack: AddrRange) -> usize {
    end_word::at(stack.lowest).get() + size_of::<u64>()
}

/// Frames that are free, or that only the slab cache of threads has, once every dead thread's
/// structure is back there and no program's thread is on its way out any more.
pub fn free_frames() -> Result<usize, alloc::string::String> {
    until("the structures of dead threads are back", || {
        // One that has ended is on its way out, on another CPU.
        let threads = sched::all();
        let alive = threads.iter().filter(|thread| thread.state() != sched::State::Dead).count();
        let of_programs = threads.iter().any(|thread| thread.owner().is_some());
        drop(threads);
        !of_programs && TASKS.counts().objects == alive
    })?;
    Ok(frames::free_count() + TASKS.counts().slabs)
}

/// Frames that are free once every parked stack has been given back.
pub fn settled_frames() -> Result<usize, alloc::string::String> {
    until("nothing is on its way out", || {
        linux::all().is_empty() && threads::stacks::census().ending == 0
    })?;
    threads::stacks::drain_this_cpu();
    threads::stacks::reclaim(u32::MAX);
    Ok(free_frames()? + EXPECTED.stack_kib / 4 * threads::stacks::census().parked as usize)
}

/// Makes the arena's page tables for more stacks than any test has at a time. They are kept once
/// made, so that a later count of frames finds none that are new, whichever tests ran before.
pub fn make_arena_tables() -> Outcome {
    make_arena_tables_for(96)
}

/// The same for so many stacks.
pub fn make_arena_tables_for(stacks: usize) -> Outcome {
    let one = |_| threads::stacks::acquire_thread(sched::current().id());
    let stacks: Result<Vec<_>, _> = (0..stacks).map(one).collect();
    stacks.map(drop).map_err(|error| alloc::format!("{error:?}"))
}

/// The live stack an address lies on.
pub fn stack_at(address: usize) -> Option<StackId> {
    registry::get()?.stack_at(Addr::new(address))
}

/// The kind of the live stack an address lies on.
pub fn kind_at(address: usize) -> Option<StackKind> {
    stack_at(address).map(|stack| stack.kind)
}

/// The one stack of this kind that belongs to this CPU; an error if there is none, or more than
/// one.
pub fn stack_of_cpu(kind: StackKind, cpu: &Cpu) -> Result<StackId, alloc::string::String> {
    let registry = registry::get().ok_or("no registry")?;
    let mut found =
        registry.live().map(|(_, s)| s).filter(|s| s.kind == kind && s.cpu == Some(cpu.id()));
    let stack = found.next().ok_or_else(|| format!("CPU {} has no {kind} stack", cpu.id()))?;
    match found.next() {
        None => Ok(stack),
        Some(_) => Err(format!("CPU {} has two {kind} stacks", cpu.id())),
    }
}

/// Checks that every page of the stack is mapped and every page of both its guards, as wide as the
/// geometry says, is not.
pub fn check_mapping(range: AddrRange) -> Outcome {
    let geometry = threads::stacks::arena().geometry();
    let pages = |from: usize, bytes: usize| (from..from + bytes).step_by(PAGE_BYTES);
    let is_mapped = |page: usize| paging::kernel_is_mapped(page as u64);
    let (lowest, top) = (range.lowest.get(), range.top.get());
    for page in pages(lowest, top - lowest) {
        super::check!(is_mapped(page), "page {page:#x} of the stack {range:?} is not mapped");
    }
    // A stack may be mapped in part: the unmapped rest of its body widens the guard below.
    let below = geometry.guard_below().get() + geometry.body().get() - (top - lowest);
    for page in pages(lowest - below, below) {
        super::check!(!is_mapped(page), "page {page:#x} of the guard below {range:?} is mapped");
    }
    for page in pages(top, geometry.guard_above().get()) {
        super::check!(!is_mapped(page), "page {page:#x} of the guard above {range:?} is mapped");
    }
    Ok(())
}

/// Puts another table of hooks in the place of the kernel's, which is read-only.
pub fn install_hooks(hooks: &'static Hooks) {
    // SAFETY: (1) the place is in the read-only data; (2) it is an atomic, and this is a table of
    // hooks.
    unsafe {
        image::change_read_only(kstack::hooks::place() as *mut usize, &raw const *hooks as usize)
    };
}

type Errand = fn(&mut SavedRegs) -> Outcome;

static ERRAND: SpinLock<Option<Errand>> = SpinLock::new(None);
static ANSWER: SpinLock<Option<Outcome>> = SpinLock::new(None);
static ANSWERED: AtomicBool = AtomicBool::new(false);

fn do_errand(regs: &mut SavedRegs) {
    let errand = *ERRAND.lock();
    if let Some(errand) = errand {
        let answer = errand(regs);
        *ANSWER.lock() = Some(answer);
        ANSWERED.store(true, Ordering::Release);
    }
}

/// Runs `errand` in an interrupt on this CPU, and waits for its answer.
pub fn on_cpu(cpu: &Cpu, errand: fn(&mut SavedRegs) -> Outcome) -> Outcome {
    *ERRAND.lock() = Some(errand);
    ANSWERED.store(false, Ordering::Release);
    probes::set_call(do_errand);
    irqchip::send_interrupt(cpu.hardware_id.load(Ordering::Relaxed), vector::CALL);
    until("a CPU has answered an interrupt", || ANSWERED.load(Ordering::Acquire))?;
    *ERRAND.lock() = None;
    let answer = ANSWER.lock().take();
    answer.unwrap_or(Ok(())).map_err(|message| format!("on CPU {}: {message}", cpu.id()))
}

/// The same on every CPU, one after the other.
pub fn on_every_cpu(errand: fn(&mut SavedRegs) -> Outcome) -> Outcome {
    cpus::online().try_for_each(|cpu| on_cpu(cpu, errand))
}

/// Runs a program in more processes at once than there are CPUs; each must end with status 0.
pub fn runs_beside_itself(program: &'static str) -> Outcome {
    const PROCESSES: usize = 6;
    static PROGRAM: SpinLock<&str> = SpinLock::new("");
    static STATUSES: SpinLock<Vec<i32>> = SpinLock::new(Vec::new());
    *PROGRAM.lock() = program;
    STATUSES.lock().clear();
    fn run(_: usize) {
        let program = *PROGRAM.lock();
        let status = linux::run(program, &[program.as_bytes()]).unwrap_or(-1);
        STATUSES.lock().push(status);
    }
    let threads: Result<Vec<_>, _> =
        (0..PROCESSES).map(|_| sched::spawn_kernel("running", run, 0)).collect();
    for thread in threads.map_err(|error| format!("{error:?}"))? {
        thread.join();
    }
    let statuses = STATUSES.lock().clone();
    check!(statuses == [0; PROCESSES], "statuses {statuses:?}");
    Ok(())
}

/// Where the CPU takes the stack from at an entry from user mode, and what is there now, where it
/// takes it from memory. Interrupts off.
pub(crate) fn stack_for_user_entries() -> Option<(&'static str, usize)> {
    super::arch::evidence::stack_for_user_entries()
}

/// What this CPU itself says of shadow stacks.
pub(crate) fn shadow_evidence() -> alloc::string::String {
    super::arch::evidence::shadow_evidence()
}
