//! The handler of faults: whether one is an overflow, and what follows.

use super::former::Former;
use super::walk::{self, Chain, Table};
use crate::pool::{StackPool, all};
use crate::report::{NO_STEPS, Place, text};
use crate::{arch, thread};
use core::ptr::copy_nonoverlapping;
use kstack_core::addr::{Addr, ByteSize, CpuId};
use kstack_core::arena::Place as At;
use kstack_core::unwind::SavedRegs;
use kstack_core::verdict::{
    Cause, Consequence, Context, Delivery, Fault, OverflowReport, Side, Verdict, judge,
};
use libc::{c_int, c_void, siginfo_t};
use std::sync::Once;

static SEGMENTATION: Former = Former::new(libc::SIGSEGV);
static BUS: Former = Former::new(libc::SIGBUS);

/// How far below SP an access may be that grows the stack: the red zone of x86_64, and the largest
/// pre-indexed store of arm64, with room to spare.
const GROWS_WITHIN: ByteSize = ByteSize::new(1024);

/// Puts the handler in place, once.
pub(crate) fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        for former in [&SEGMENTATION, &BUS] {
            // SAFETY: (1) `Once`; (2) `on_fault` looks at a fault before it acts.
            unsafe { former.replace(on_fault) };
        }
    });
}

extern "C" fn on_fault(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: (1) these are what the system passed to this handler.
    unsafe {
        // An access that failed has an address; what was sent by `kill` has none.
        if (*info).si_code > 0 && !matches!((*info).si_code, libc::SI_KERNEL) {
            // What comes later may change it, and the code that was interrupted reads it.
            let errno = *libc::__errno_location();
            let handled = overflow((*info).si_addr() as usize, context.cast());
            *libc::__errno_location() = errno;
            if handled {
                return;
            }
        }
        let former = if signal == BUS.signal() { &BUS } else { &SEGMENTATION };
        former.pass_on(info, context);
    }
}

/// Judges a fault; whether the coroutine was cut off.
///
/// # Safety
///
/// 1. `context` is what the system passed to the handler under way.
unsafe fn overflow(address: usize, context: *mut libc::ucontext_t) -> bool {
    let innermost = arch::current();
    let place = thread::place();
    if innermost.is_null() || place.is_null() {
        return false;
    }
    // SAFETY: (1) it is this thread's innermost, which the handler has interrupted.
    let chain = unsafe { Chain::new(innermost) };
    // SAFETY: (1) the caller's promise.
    let regs = unsafe { arch::saved_regs(context) };
    let address = Addr::new(address);
    let Some(pool) = pool_of(&chain, address, regs.sp) else { return false };
    let table = Table { pool, chain: &chain, sp: regs.sp };
    let fault = Fault {
        delivery: delivery(&chain, pool, address, regs.sp),
        address,
        sp: regs.sp,
        pc: regs.pc,
        // SAFETY: (1) asks only.
        cpu: CpuId::new(unsafe { libc::gettid() } as u32),
    };
    let state = Context { thread: chain.innermost().id.into(), ..Context::default() };
    let Some(verdict) = judge(pool.arena(), &table, &fault, &state) else { return false };
    // SAFETY: (1) this thread's own, see `Place`.
    let report = unsafe { write_report(place, verdict, fault, state, &chain, regs) };
    if may_be_cut(&verdict, pool) {
        // SAFETY: (1) the caller's promise; (2) the verdict says that the innermost coroutine
        // overflowed, its `link` is the P of the `resume` that waits for it, and its `parent` the
        // innermost from then on.
        unsafe {
            (*place).is_there = true;
            arch::set_current(chain.innermost().parent);
            arch::cut(context, chain.innermost().link);
        }
        return true;
    }
    text::tell(report);
    false
}

/// The pool that a fault is about: the running coroutine's if it has left its stack, else the one
/// that has the address.
fn pool_of(chain: &Chain, address: Addr, sp: Addr) -> Option<StackPool> {
    let of_address = all().find(|pool| pool.arena().place(address) != At::Outside);
    let Some(own) = chain.innermost().pool else { return of_address };
    match own.arena().place(sp) {
        // It is sound there: what it accessed may be another pool's.
        At::Body { .. } => of_address,
        At::Outside => of_address.and(Some(own)),
        _ => Some(own),
    }
}

/// Whether the stack that SP is on could take no more, or something else touched a guard: the
/// system delivers both alike.
fn delivery(chain: &Chain, pool: StackPool, address: Addr, sp: Addr) -> Delivery {
    let grows = sp.bytes_above(address) <= GROWS_WITHIN;
    let own = chain.innermost().pool;
    let is_on_its_stack = match own.unwrap_or(pool).arena().place(sp) {
        At::Body { .. } => true,
        // The thread's own stack. A coroutine has none out there.
        At::Outside => own.is_none(),
        _ => false,
    };
    if is_on_its_stack && !grows { Delivery::OwnStack } else { Delivery::AnotherStack }
}

/// Only what grew into its own guard, and nothing else, is sound but for itself.
fn may_be_cut(verdict: &Verdict, pool: StackPool) -> bool {
    verdict.cause == Cause::GuardHit
        && verdict.side == Side::Below
        && verdict.consequence == Consequence::EndThread
        && pool.survives()
}

/// Writes the report, each part where it stays: it is larger than some stacks.
///
/// # Safety
///
/// 1. `place` is this thread's.
unsafe fn write_report<'p>(
    place: *mut Place,
    verdict: Verdict,
    fault: Fault,
    context: Context,
    chain: &Chain,
    regs: SavedRegs,
) -> &'p OverflowReport {
    // SAFETY: (1) the caller's promise; (2) every field is written.
    unsafe {
        let report: *mut OverflowReport = (*place).report.as_mut_ptr();
        (&raw mut (*report).verdict).write(verdict);
        (&raw mut (*report).fault).write(fault);
        (&raw mut (*report).context).write(context);
        (&raw mut (*report).frame).write(Addr::new(0));
        copy_nonoverlapping(&raw const NO_STEPS, &raw mut (*report).backtrace, 1);
        walk::collect(chain, regs, &mut (*report).backtrace);
        &*report
    }
}
