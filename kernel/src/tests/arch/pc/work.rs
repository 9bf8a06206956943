//! What can be done that executes the entry code, by name.

use core::sync::atomic::Ordering;
use machine::arch::irqchip;
use machine::cpus;

/// Sends an NMI to the CPU this runs on.
pub(in crate::tests) fn send_nmi_to_this_cpu() {
    irqchip::send_nmi(cpus::this().hardware_id.load(Ordering::Relaxed));
}

/// Things to do that execute the entry code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tests) enum Work {
    /// An interrupt in a thread, with a softirq behind it.
    Interrupt,
    /// A thread is made, runs, sleeps, ends.
    Switch,
    /// A system call, a breakpoint and a page fault of a program.
    User,
    /// A system call of a program by `sysenter`.
    #[cfg(target_arch = "x86")]
    Sysenter,
    /// A breakpoint of a thread that has no room for what follows, and is ended.
    NoRoom,
    /// A handler of NMIs where GS is still, or again, a program's.
    #[cfg(target_arch = "x86_64")]
    NmiWithUserGs,
    /// An NMI in the kernel.
    Nmi,
    /// An NMI during which another one comes.
    NmiTwice,
    /// An NMI in user mode.
    UserNmi,
}

impl Work {
    /// NMIs that are handled for the work alone.
    pub(in crate::tests) const fn own_nmis(self) -> u32 {
        match self {
            Self::Nmi | Self::UserNmi => 1,
            #[cfg(target_arch = "x86_64")]
            Self::NmiWithUserGs => 1,
            Self::NmiTwice => 2,
            _ => 0,
        }
    }
}
