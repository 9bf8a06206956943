//! The kinds of stacks a kernel has, and what their end means.
//!
//! One word for one thing: these names are used in the registry, in backtraces, in overflow reports
//! and on the console.

use core::fmt;

/// What a stack is for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
#[repr(u8)]
pub enum StackKind {
    /// The kernel stack of a thread, user or kernel.
    Thread = 1,
    /// The stack of a CPU's idle thread.
    Idle = 2,
    /// What the CPU ran on before it had a stack from the arena.
    Boot = 3,
    /// The hard-interrupt stack of a CPU.
    Irq = 4,
    /// The softirq stack of a CPU, where it is separate from the hard-interrupt stack (i386).
    Softirq = 5,
    /// x86 double fault (IST or task gate).
    DoubleFault = 6,
    /// Where the hardware delivers an NMI (x86 IST).
    Nmi = 7,
    /// Where the body of the NMI handler runs, so that a nested NMI cannot overwrite it.
    NmiBody = 8,
    /// x86 debug exception (IST).
    Debug = 9,
    /// x86 machine check (IST).
    MachineCheck = 10,
    /// Where an architecture without hardware exception stacks handles an overflow.
    Overflow = 11,
    /// The few words on which entry from user mode first lands, where that is not the thread stack.
    EntryTrampoline = 12,
}

impl StackKind {
    /// Every kind, in the order of the discriminants.
    pub const ALL: [Self; 12] = [
        Self::Thread,
        Self::Idle,
        Self::Boot,
        Self::Irq,
        Self::Softirq,
        Self::DoubleFault,
        Self::Nmi,
        Self::NmiBody,
        Self::Debug,
        Self::MachineCheck,
        Self::Overflow,
        Self::EntryTrampoline,
    ];

    /// The kind whose discriminant is `value`.
    pub const fn from_u8(value: u8) -> Option<Self> {
        if value == 0 || value as usize > Self::ALL.len() {
            return None;
        }
        Some(Self::ALL[value as usize - 1])
    }

    /// The name used everywhere a person or a program reads it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Thread => "thread",
            Self::Idle => "idle",
            Self::Boot => "boot",
            Self::Irq => "irq",
            Self::Softirq => "softirq",
            Self::DoubleFault => "double-fault",
            Self::Nmi => "nmi",
            Self::NmiBody => "nmi-body",
            Self::Debug => "debug",
            Self::MachineCheck => "machine-check",
            Self::Overflow => "overflow",
            Self::EntryTrampoline => "entry-trampoline",
        }
    }

    /// Whether such a stack belongs to a CPU, for as long as the CPU runs.
    pub const fn belongs_to_cpu(self) -> bool {
        !matches!(self, Self::Thread)
    }

    /// Whether an overflow of such a stack can be contained by ending its owner. All others belong
    /// to a CPU, which cannot be ended: the system stops.
    pub const fn is_containable(self) -> bool {
        matches!(self, Self::Thread)
    }
}

impl fmt::Display for StackKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b1_every_kind_survives_the_way_through_its_number() {
        for kind in StackKind::ALL {
            assert_eq!(StackKind::from_u8(kind as u8), Some(kind));
        }
        assert_eq!(StackKind::from_u8(0), None);
        assert_eq!(StackKind::from_u8(StackKind::ALL.len() as u8 + 1), None);
    }

    /// A thread's stack taken for a CPU's would be believed to stay mapped, and read while it goes;
    /// a CPU's taken for a thread's would end no walk reliably.
    #[test]
    fn n10_o5_a_thread_s_stack_belongs_to_no_cpu_and_it_alone_is_contained() {
        for kind in StackKind::ALL {
            assert_eq!(kind.belongs_to_cpu(), kind != StackKind::Thread, "{kind}");
            assert_eq!(kind.is_containable(), kind == StackKind::Thread, "{kind}");
        }
    }
}
