//! System calls that a program carries out itself (syscall user dispatch): a call from outside a
//! range of addresses becomes SIGSYS while a byte of the program says so.

use super::asked_dispatch::{self, UserDispatch};
use crate::abi;
use crate::abi::signals::Signal;
use crate::error::{Errno, SysResult};
use crate::process::current_task;
use crate::process::life::exit::kill_current;
use crate::process::task::Task;
use crate::process::user_memory::get;

/// Whether a thread has asked.
#[inline(always)]
pub(crate) fn are_there() -> bool {
    asked_dispatch::are_there()
}

/// Another program runs: it has asked for nothing.
pub(crate) fn forget_own() {
    current_task().user_dispatch.set(None);
}

const OFF: u64 = 0;
const ON: u64 = 1;

/// What a thread has asked for, as a tracer reads it: the mode, the selector's place, and the
/// range.
pub(crate) fn asked_by(task: &Task) -> [u64; 4] {
    match task.user_dispatch.get() {
        None => [OFF, 0, 0, 0],
        Some(UserDispatch { first, length, selector }) => [ON, selector, first, length],
    }
}

/// prctl's request, and a tracer's for the thread that it traces.
pub(crate) fn ask(task: &Task, mode: u64, first: u64, length: u64, selector: u64) -> SysResult {
    let set = |to| task.user_dispatch.set(to);
    match mode {
        OFF if (first, length, selector) == (0, 0, 0) => set(None),
        ON => {
            if first != 0 && first.wrapping_add(length) <= first {
                return Err(Errno::EINVAL);
            }
            if selector >= abi::USER_TOP {
                return Err(Errno::EFAULT);
            }
            set(Some(UserDispatch { first, length, selector }));
        }
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

/// Whether a call of the calling thread, from an address, is the program's to carry out.
pub(crate) fn is_programs(address: u64) -> bool {
    const ALLOW: u8 = 0;
    const BLOCK: u8 = 1;
    let Some(asked) = current_task().user_dispatch.get() else { return false };
    if address.wrapping_sub(asked.first) < asked.length {
        return false;
    }
    if asked.selector == 0 {
        return true;
    }
    match get::<1>(asked.selector) {
        Ok([ALLOW]) => false,
        Ok([BLOCK]) => true,
        // Not to be caught: the handler's own calls would come here again.
        Ok(_) => kill_current(Signal::SYS),
        Err(_) => kill_current(Signal::SEGV),
    }
}
