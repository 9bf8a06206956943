//! The compiler's stack protector: a canary in each frame that has an array, checked before the
//! function returns. For kernels that are built so, with the feature `stack-protector`.
//!
//! ```text
//!   | return address     |
//!   | saved rbp          |   <- what an overrun array is after
//!   | saved registers    |
//!   | canary             |   compared before the function returns: another value, and it does not
//!   | array [u8; 64]     |   an overrun runs up, over the canary first
//!   | other locals       |
//! ```
//!
//! Each thread has a canary of its own, and so has each stack that a CPU has for interrupts and
//! what may interrupt those: a canary that leaks from one is none of another's. A switch changes
//! what code compares with, in the same stores that change `current`.
//!
//! # Where compiled code looks
//!
//! LLVM decides by the target's name, and `rustc` has no option that says otherwise. The target
//! that Rust has for bare metal reads a global, `__stack_chk_guard`, which all CPUs would share: it
//! can be changed at a switch where there is one CPU, and nowhere else. So the kernel is built for
//! a target that differs in LLVM's name alone:
//!
//! | architecture | LLVM's name | what code reads | whose it is |
//! | --- | --- | --- | --- |
//! | x86_64 | `x86_64-unknown-linux-gnu`, code model `kernel` | `gs:[0x28]` | the CPU's block, word 5 |
//! | i386 | `i586-unknown-linux-gnu` | `gs:[0x14]` | a kernel's GS is the program's here: not supported |
//! | arm64 | `aarch64-linux-android`, `+tpidrro-el0` | TPIDRRO_EL0 + 0x28 | word 5 of what the thread's word is the address of |
//! | riscv64 | `riscv64-linux-android` | tp - 0x18 | the CPU's block, word 5: tp stands 64 bytes above its lowest |
//! | arm32 | whatever its name | `__stack_chk_guard` | all CPUs': not supported |
//!
//! What was weighed, and why not:
//!
//! - *The global, changed at each switch.* With two CPUs each changes it under the other's frames.
//! - *The global, drawn once per boot*, as Linux has it on arm64 with several CPUs and no plugin of
//!   the compiler's. One leak gives every frame of every thread.
//! - *A page with the global in it that each CPU maps for itself.* It takes page tables of each
//!   CPU's own, which no kernel here has.
//! - *The CPU's block through a base register* (arm64, TPIDR_EL1). The compiler takes the base once
//!   and keeps it across calls; a thread that moves to another CPU in between compares with the
//!   canary of whatever runs on the first. On x86_64 base and load are one instruction.
//!
//! # What a kernel does
//!
//! 1. It is built, with `core` and `alloc`, by `-Zstack-protector=strong`, for such a target.
//! 2. Before it calls the first compiled function on a CPU, what code reads is [`BOOT`]'s: on
//!    x86_64 the GS base is its address, on arm64 TPIDRRO_EL0, on riscv64 tp is 64 bytes above.
//! 3. It draws canaries ([`Thread::with_canary`](crate::Thread::with_canary)), and gives each CPU
//!    one with [`CpuLocal::start_canary`].
//!
//! A function that finds its frame smashed calls `__stack_chk_fail`, which is here: a report that
//! names the stack and begins its backtrace in that function
//! ([`Cause::FrameSmashed`]), and then the end of the thread, or of the system where the thread
//! cannot be cut out ([`judge_frame`]).
//!
//! Not seen are a write that steps over the canary, one in a frame without an array, and what was
//! done with the bytes before the function returned.

use crate::arch::current::this_cpu;
use crate::local::CpuLocal;
use core::sync::atomic::Ordering;
use kstack_core::kind::StackKind;
#[cfg(doc)]
use kstack_core::verdict::{Cause, judge_frame};

pub use crate::protected::{BOOT, BootGuard, IS_ON};

/// Where in a thread's structure compiled code looks for its canary, on an architecture where the
/// thread's word ([`CpuLocal::current_thread`]) must be the address of such a structure.
pub const PLACE_IN_THREAD: Option<usize> = this_cpu::GUARD_IN_THREAD;

/// The canary in force outside, to be put back.
#[derive(Debug)]
#[must_use = "the canary of what was left is put back with it"]
pub(crate) struct Outer(usize);

impl CpuLocal {
    /// Gives the CPU what the canaries of its own stacks are made of, and the code that runs now
    /// its canary: that of the CPU's idle thread.
    ///
    /// # Safety
    ///
    /// 1. This is the block of the CPU this runs on; interrupts are off.
    /// 2. No function that has begun returns, this one's caller included: their frames have the
    ///    canary before.
    #[inline(always)]
    pub unsafe fn start_canary(&self, of_stacks: usize, canary: usize) {
        self.stack_canary.store(of_stacks, Ordering::Relaxed);
        if IS_ON {
            this_cpu::guard(self).store(canary, Ordering::Relaxed);
        }
    }

    /// The canary that compiled code compares with now. On the CPU whose block this is, with
    /// interrupts off.
    #[inline(always)]
    pub fn canary_in_force(&self) -> usize {
        if IS_ON { this_cpu::guard(self).load(Ordering::Relaxed) } else { self.canary() }
    }

    /// The canary of this CPU's own stack of a kind.
    pub fn stack_canary(&self, kind: StackKind) -> usize {
        // Another rotation for each. The lowest byte stays zero, so that no string function writes
        // it.
        let turns = 5 * kind as u32;
        self.stack_canary.load(Ordering::Relaxed).rotate_left(turns) & !0xff
    }

    /// The code that is called next runs on a stack of this CPU's own. Interrupts are off.
    #[inline(always)]
    pub(crate) fn enter_own_stack(&self, kind: StackKind) -> Outer {
        if !IS_ON {
            return Outer(0);
        }
        let guard = this_cpu::guard(self);
        let outer = guard.load(Ordering::Relaxed);
        guard.store(self.stack_canary(kind), Ordering::Relaxed);
        Outer(outer)
    }

    /// It has returned. Interrupts are off.
    #[inline(always)]
    pub(crate) fn leave_own_stack(&self, outer: Outer) {
        if IS_ON {
            this_cpu::guard(self).store(outer.0, Ordering::Relaxed);
        }
    }
}

#[cfg(feature = "stack-protector")]
mod fail {
    use crate::arch::current::{interrupts, this_cpu};
    use crate::hooks::hooks;
    use crate::{report, unwind};
    use kstack_core::addr::Addr;
    use kstack_core::verdict::Consequence;

    const _: () = assert!(
        this_cpu::COMPILED_CODE_FINDS_CANARY,
        "the stack protector has no canary per thread on this architecture: see kstack::protector"
    );

    /// What a function calls in place of returning, when its frame's canary is another. It lies on
    /// that function's stack, right below its frame.
    #[unsafe(no_mangle)]
    #[cold]
    extern "C" fn __stack_chk_fail() -> ! {
        // SAFETY: (1) in the kernel; (2) they are turned on again where the thread ends, if ever.
        let were_on = unsafe { interrupts::off() };
        let here = 0_usize;
        let sp = Addr::new(core::ptr::from_ref(core::hint::black_box(&here)) as usize);
        let report = report::frame_is_smashed(unwind::frame_pointer(), sp, !were_on);
        if let Some(report) = report {
            if report.verdict.consequence == Consequence::EndThread {
                report::end_running_thread(report)
            }
            (hooks().stop)(report)
        }
        panic!("a frame is smashed on a stack that is none of the kernel's, at {sp}")
    }
}
