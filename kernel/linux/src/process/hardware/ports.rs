//! I/O ports that a thread may use (ioperm(2), iopl(2)): what Linux gives, on machines whose
//! processors have such a map.
//!
//! | what happens | what becomes of the map |
//! | --- | --- |
//! | ioperm permits the first port | it is made, with a sequence number that no other has |
//! | fork, clone | parent and child share it |
//! | ioperm, while another thread has it too | the caller gets a changed copy, with a number of its own; the other keeps it |
//! | ioperm refuses the last port | it is given up |
//! | execve | it is kept, as on Linux |
//! | the thread ends | it is freed with the last thread that has it |
//!
//! So a map that two threads have never changes, and no other CPU needs to be told of a change: the
//! one that the caller runs on stops showing the old map, and shows the new one at the next access.
//!
//! The level of `iopl` is never in the flags register: level 3 is a map that permits every port, so
//! that a program cannot disable interrupts. `cli` and `sti` do nothing then, as on Linux.

use super::port_map::Map;
use crate::error::{Errno, SysResult};
use crate::process::current_task;
use crate::process::identity::credentials::capability;
use crate::process::task::Task;
use crate::process::user_memory::get;
use alloc::vec::Vec;
use kstack::ports::{self, NONE, Permitted, Ports};
use machine::arch::regs::SavedRegs;
use machine::arch::{cpu, extras};
use machine::memory::fallible;
use threads::sched;

/// The level of `iopl` that permits every port.
const ALL_PORTS: u8 = 3;

fn may_use_hardware() -> bool {
    current_task().credentials().can(capability::SYS_RAWIO)
}

/// ioperm: permits or refuses `count` ports from `first` on to the calling thread.
pub(crate) fn permit(first: u64, count: u64, is_permitted: bool) -> SysResult {
    let top = first.checked_add(count).filter(|&top| top > first && top <= ports::PORTS.into());
    let last = top.ok_or(Errno::EINVAL)? as u16;
    let (first, last) = (first as u16, last.wrapping_sub(1));
    if is_permitted && !may_use_hardware() {
        return Err(Errno::EPERM);
    }
    let task = current_task();
    let before = task.ports.lock().map.clone();
    if before.is_none() && !is_permitted {
        return Ok(0);
    }
    let kept = before.as_ref().map_or(&[][..], |map| &map.words);
    let length = if is_permitted { kept.len().max(ports::words_up_to(last)) } else { kept.len() };
    let mut words = Vec::new();
    words.try_reserve_exact(length).map_err(|_| Errno::ENOMEM)?;
    words.extend_from_slice(kept);
    words.resize(length, NONE);
    ports::set(&mut words, first, last, is_permitted);
    words.truncate(ports::used_words(&words));
    let map = if words.is_empty() {
        None
    } else {
        extras::prepare_ports().map_err(|_| Errno::ENOMEM)?;
        Some(fallible::shared(Map::new(words))?)
    };
    task.ports.lock().map = map;
    hide();
    // With its last thread: freed here, without a lock.
    drop(before);
    Ok(0)
}

/// iopl: sets the level of the calling thread.
pub(crate) fn set_level(level: u64) -> SysResult {
    let level =
        u8::try_from(level).ok().filter(|&level| level <= ALL_PORTS).ok_or(Errno::EINVAL)?;
    let task = current_task();
    let before = task.ports.lock().level;
    if level > before && !may_use_hardware() {
        return Err(Errno::EPERM);
    }
    if level == ALL_PORTS {
        extras::prepare_ports().map_err(|_| Errno::ENOMEM)?;
    }
    task.ports.lock().level = level;
    hide();
    Ok(0)
}

/// The CPU stops showing what the calling thread was permitted.
fn hide() {
    cpu::without_interrupts(|| extras::permit_ports(Ports::None));
}

/// An exception of the calling thread: if an instruction used a port that the thread is permitted
/// and the CPU does not know of yet, the CPU is told, and the instruction is to be tried again.
/// Likewise what does nothing at level 3 is stepped over.
pub(crate) fn try_again(vector: u8, regs: &mut SavedRegs) -> bool {
    if !extras::may_be_about_a_port(vector) {
        return false;
    }
    show(current_task()) || is_stepped_over(regs)
}

/// Shows the CPU what a thread, the calling one, is permitted. Whether that is news to it.
fn show(task: &Task) -> bool {
    let permitted = task.ports.lock().clone();
    let ports = match &permitted.map {
        _ if permitted.level == ALL_PORTS => Ports::All,
        Some(map) => Ports::These(Permitted::new(&map.words, map.sequence)),
        None => return false,
    };
    // From here to the switch away this CPU shows them, and the switch hides them.
    cpu::without_interrupts(|| {
        sched::current().has_extras();
        extras::permit_ports(ports)
    })
}

/// Whether the instruction disables or enables interrupts, and the thread's level lets it: it does
/// nothing.
fn is_stepped_over(regs: &mut SavedRegs) -> bool {
    if current_task().ports.lock().level != ALL_PORTS {
        return false;
    }
    let code = get::<1>(regs.pc().get() as u64);
    code.is_ok_and(|[code]| extras::step_over_interrupt_flag(code, regs))
}
