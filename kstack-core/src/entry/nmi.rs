//! NMIs that nest: what an arriving one does, and at which steps of the handler another can arrive.
//!
//! The CPU holds NMIs back from the delivery of one until the next `iretq`, *any* `iretq`: that of
//! a breakpoint or page fault inside the handler too. The next NMI then lands at the same top of
//! the NMI stack. So the handler's body runs elsewhere, on the NMI body stack, with two words above
//! it, `latched` and `active`; here they are [`NmiState`].
//!
//! | arriving NMI finds | state after | answer | does |
//! | --- | --- | --- | --- |
//! | CS of user mode | | [`Arrival::FromUser`] | runs the body on the (empty) thread stack |
//! | RIP in the exit window | active = 1 | [`Arrival::InWindow`] | sends the one that is ending to `repeat` |
//! | active = 1 | latched = 1 | [`Arrival::Latch`] | returns; the one under way runs once more |
//! | otherwise | active = 1 | [`Arrival::Handle`] | moves its frame to the body stack, runs the body there |
//!
//! And the steps, from top to bottom, with what an NMI that arrives *before* the step's
//! instructions finds:
//!
//! ```text
//!   step           frame on           NMIs        an NMI here is
//!   TestUser       NMI stack          held back   -
//!   TestWindow     NMI stack          held back   -
//!     Redirect     NMI stack          held back   -               ends the arriving one; the one that was ending: ClearLatched
//!   TestActive     NMI stack          held back   -
//!     Latch        NMI stack          held back   -               ends the arriving one
//!   Move           NMI -> body stack  held back   -
//!   Body           body stack         perhaps     latched
//!   TestLatched    body stack         perhaps     in the window
//!   ClearActive    body stack         perhaps     in the window
//!   Return         body stack         perhaps     in the window   lets NMIs in
//!   ClearLatched   body stack         perhaps     latched         on to Body
//!   MoveToThread   NMI -> thread      held back   -               the way of one from user mode
//!   BodyOnThread   thread stack       perhaps     handled         nests, on the body stack
//!   Kernel         -                  come        handled
//!   User           -                  come        from user mode
//! ```
//!
//! Invariants: while the NMI stack holds a frame, NMIs are held back (nothing in these steps may
//! cause an exception); the body stack has one user, `active` says so at every step at which an NMI
//! can arrive and is not in the window; whatever the window might have done to the two words when
//! it is interrupted, the arriving NMI sets right before its own `iretq`.
//!
//! A body on the body stack is never interrupted by another body. One on the thread stack is, by
//! one at a time, if an exception inside it has let NMIs in: the words belong to the body stack
//! alone.
//!
//! A handler may clear both words and continue elsewhere, never to return, only while NMIs are
//! still held back, that is if no exception happened in it: otherwise the next NMI takes the body
//! stack before it has been left.
//!
//! The assembly is in the crate `kstack`, `arch/x86_64/nmi.rs`. The tests here run a copy of it,
//! instruction by instruction, with NMIs and exceptions at every point where they can happen.
//! A change to one is made to the other.

/// What an NMI that arrives is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(clippy::exhaustive_enums, reason = "entry code carries out each of them")]
pub enum Arrival {
    /// It interrupted user mode: handled on the thread stack, which is empty.
    FromUser,
    /// It interrupted the exit window of one that is ending, which continues at
    /// [`Step::ClearLatched`] instead.
    InWindow,
    /// Another is being handled on the body stack, and runs once more.
    Latch,
    /// The body stack is free: handled there.
    Handle,
}

/// What an NMI is that finds this. `in_window`: whether the interrupted RIP lies in the exit
/// window.
///
/// User mode is looked at first: a program's RIP can have any value.
#[inline(always)]
pub const fn arrival(from_user: bool, in_window: bool, active: bool) -> Arrival {
    if from_user {
        Arrival::FromUser
    } else if in_window {
        Arrival::InWindow
    } else if active {
        Arrival::Latch
    } else {
        Arrival::Handle
    }
}

/// The words above one CPU's NMI body stack.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "words that entry code reads and writes")]
pub struct NmiState {
    /// Another NMI came while the body stack was in use.
    pub latched: bool,
    /// The body stack is in use.
    pub active: bool,
}

impl NmiState {
    /// Nothing active, nothing latched.
    pub const fn new() -> Self {
        Self { latched: false, active: false }
    }

    /// An NMI arrived. Decides and marks, all while NMIs are held back.
    #[inline(always)]
    pub const fn on_nmi(&mut self, from_user: bool, in_window: bool) -> Arrival {
        let arrival = arrival(from_user, in_window, self.active);
        match arrival {
            Arrival::FromUser => {}
            Arrival::InWindow | Arrival::Handle => self.active = true,
            Arrival::Latch => self.latched = true,
        }
        arrival
    }
}

/// Where a CPU is in the handling of NMIs; see the drawing of the module.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(clippy::exhaustive_enums, reason = "entry code carries out each of them")]
pub enum Step {
    /// Did it interrupt user mode?
    TestUser,
    /// Did it interrupt the exit window?
    TestWindow,
    /// It did: `active` is set, the frame's RIP becomes that of [`Step::ClearLatched`], `iretq`.
    Redirect,
    /// Is the body stack in use?
    TestActive,
    /// It is: `latched` is set, `iretq`.
    Latch,
    /// It is not: `active` is set, the frame copied to the body stack, SP moved there.
    Move,
    /// Registers saved, handler, registers restored, on the body stack.
    Body,
    /// The exit window's first: is there a latched one?
    TestLatched,
    /// There is not: `active` is cleared.
    ClearActive,
    /// The `iretq` from the body stack; the exit window's last.
    Return,
    /// There is: `latched` is cleared, and on to the body.
    ClearLatched,
    /// From user mode: the frame copied to the thread stack, SP moved there.
    MoveToThread,
    /// Registers saved, handler, registers restored, `iretq`, on the thread stack.
    BodyOnThread,
    /// Kernel code outside the handling of NMIs.
    Kernel,
    /// User mode.
    User,
}

impl Step {
    /// All of them, in the order of the drawing.
    pub const ALL: [Self; 15] = [
        Self::TestUser,
        Self::TestWindow,
        Self::Redirect,
        Self::TestActive,
        Self::Latch,
        Self::Move,
        Self::Body,
        Self::TestLatched,
        Self::ClearActive,
        Self::Return,
        Self::ClearLatched,
        Self::MoveToThread,
        Self::BodyOnThread,
        Self::Kernel,
        Self::User,
    ];

    /// Whether the instruction lies in the exit window.
    pub const fn in_window(self) -> bool {
        matches!(self, Self::TestLatched | Self::ClearActive | Self::Return)
    }

    /// Whether the NMI stack holds a frame that is needed. Nothing in such a step may cause an
    /// exception.
    pub const fn uses_nmi_stack(self) -> bool {
        matches!(
            self,
            Self::TestUser
                | Self::TestWindow
                | Self::Redirect
                | Self::TestActive
                | Self::Latch
                | Self::Move
                | Self::MoveToThread
        )
    }

    /// What an NMI is that arrives before an instruction of this step; `None`: none can.
    pub const fn arrival(self) -> Option<Arrival> {
        if self.uses_nmi_stack() {
            return None;
        }
        let active = matches!(self, Self::Body | Self::ClearLatched);
        Some(arrival(matches!(self, Self::User), self.in_window(), active))
    }
}

#[cfg(test)]
mod tests;
