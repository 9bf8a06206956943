//! The stack of a handler: what of it is alike on every machine. The layouts are in `abi`.
//!
//! ```text
//!   higher   the interrupted stack (or the alternate one's top)
//!            red zone, where the ABI has one
//!            floating point
//!            siginfo_t, ucontext_t: registers, mask, the alternate stack as it was
//!   SP  ──▶  return address, where the ABI wants it there
//! ```

use crate::abi;
use crate::abi::action::{Action, flag};
use crate::abi::frame::{Request, StackBytes};
use crate::abi::signals::{Info, SignalSet};
use crate::error::Errno;
use crate::process::hardware::shadow;
use crate::process::task::AlternateStack;
use crate::process::{current, current_task};
use machine::arch::regs::SavedRegs;
use threads::sched;

/// Puts a handler's frame on its stack and makes the registers the handler's. On machines where the
/// frame is put together here first, a kilobyte of stack is on this way and on no other.
#[inline(never)]
pub(super) fn push(
    regs: &mut SavedRegs,
    info: &Info,
    action: &Action,
    mask: SignalSet,
    stack: &AlternateStack,
) -> Result<(), Errno> {
    let sp = abi::stack_pointer(regs);
    let is_on = stack.holds(sp);
    let enters = action.flags & flag::ON_STACK != 0 && stack.bytes > 0 && !is_on;
    // Both are the program's: they may lead anywhere.
    let end = stack.lowest.checked_add(stack.bytes);
    let top = if enters { end } else { sp.checked_sub(abi::frame::RED_ZONE) };
    let top = top.ok_or(Errno::EFAULT)?;
    let fpu = sched::current().fpu().ok_or(Errno::EFAULT)?;
    let request = Request {
        info,
        handler: action.handler,
        restorer: (action.flags & flag::RESTORER != 0).then_some(action.restorer),
        wants_info: action.flags & flag::SIGINFO != 0,
        mask,
        stack: StackBytes { lowest: stack.lowest, bytes: stack.bytes, flags: flags(stack, sp) },
        trampoline: current().trampoline(),
        fpu,
        trap: *current_task().trap.lock(),
        shadow: shadow::for_frame(),
    };
    let place = abi::frame::place(top, &request)?;
    // A frame that leaves the alternate stack overflows it.
    if (is_on || enters) && !(stack.lowest..end.unwrap_or(u64::MAX)).contains(&place.at) {
        return Err(Errno::EFAULT);
    }
    {
        let memory = current().memory().ok_or(Errno::EFAULT)?;
        abi::frame::build(regs, place, &request, &mut *memory.lock())?;
    }
    shadow::push(request.restorer.unwrap_or(request.trampoline))?;
    abi::frame::enter_handler(fpu);
    abi::frame::enter(regs, place, &request);
    Ok(())
}

/// Goes back from a handler: the registers that its frame has. Gives out the mask and the alternate
/// stack.
pub(super) fn pop(regs: &mut SavedRegs) -> Result<(SignalSet, Option<StackBytes>), Errno> {
    let floats = sched::current().fpu().ok_or(Errno::EFAULT)?;
    let popped = {
        let memory = current().memory().ok_or(Errno::EFAULT)?;
        abi::frame::parse(regs, floats, &mut *memory.lock())?
    };
    shadow::pop(popped.shadow)?;
    *regs = popped.regs;
    Ok((popped.mask, popped.stack))
}

/// `SS_…` flags of the alternate stack, as a query gives them.
pub(crate) fn flags(stack: &AlternateStack, sp: u64) -> u32 {
    use abi::frame::stack_flag::{AUTO_DISARM, DISABLE, ON_STACK};
    let disarm = if stack.auto_disarm { AUTO_DISARM } else { 0 };
    disarm
        | if stack.bytes == 0 {
            DISABLE
        } else if stack.holds(sp) {
            ON_STACK
        } else {
            0
        }
}

/// The end of a handler: the alternate stack that its frame has, which most often is the one that
/// there is. Errors are ignored, as on Linux.
pub(super) fn restore_stack(new: StackBytes, sp: u64) {
    let now = current_task().signals.lock().stack;
    let told = StackBytes { lowest: now.lowest, bytes: now.bytes, flags: flags(&now, sp) };
    if new != told {
        let _not_set = set_stack(new, sp);
    }
}

/// sigaltstack: checks and sets the alternate stack of the calling thread.
pub(crate) fn set_stack(new: StackBytes, sp: u64) -> Result<(), Errno> {
    use abi::frame::stack_flag::{AUTO_DISARM, DISABLE, ON_STACK};
    let mut signals = current_task().signals.lock();
    if signals.stack.holds(sp) {
        return Err(Errno::EPERM);
    }
    let mode = new.flags & !AUTO_DISARM;
    if ![0, ON_STACK, DISABLE].contains(&mode) {
        return Err(Errno::EINVAL);
    }
    signals.stack = if mode == DISABLE {
        AlternateStack::default()
    } else {
        let auto_disarm = new.flags & AUTO_DISARM != 0;
        let stack = AlternateStack { lowest: new.lowest, bytes: new.bytes, auto_disarm };
        if stack != signals.stack && new.bytes < abi::frame::MIN_STACK {
            return Err(Errno::ENOMEM);
        }
        stack
    };
    Ok(())
}
