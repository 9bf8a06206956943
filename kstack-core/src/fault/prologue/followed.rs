//! The state before an instruction, where a link register has the return address: code is followed
//! back to what decides it.
//!
//! What a compiler makes has one state before each instruction, whichever way leads there: without
//! that it could not describe the function. So any one way to the instruction tells:
//!
//! ```text
//!   from the start, and no frame is set on it            the link register
//!   from what sets the frame                             the record
//!   from what restores it                                the link register
//!   a return by the link register                        the link register
//! ```
//!
//! Most functions set their frame on the only way from their start, and what restores it leads out
//! of them in a straight line: there everything else is in the frame. In others, whose frame is
//! made where it is needed, ways are looked for, backwards: along the instructions before, from
//! each jump that leads there. A call in between may not have returned: the way behind it counts
//! only where no other leads there, and nothing jumps by a table. Nothing is allocated, and the
//! search is bounded: it runs in NMIs.

use super::FrameState::{self, InLink, There, Unknown};
use super::code::{Does, Instruction, Next};

/// The state before the instruction at `offset`.
pub(super) fn state(all: impl Iterator<Item = Instruction> + Clone, offset: usize) -> FrameState {
    let Some(here) = all.clone().find(|one| one.at >= offset).filter(|one| one.at == offset) else {
        return Unknown;
    };
    // Where a function begins, and where it returns, that is what the two mean.
    if offset == 0 || here.next == Next::Returns {
        return InLink;
    }
    let Some(sets) = all.clone().find(|one| one.does == Does::SetsFrame) else { return Unknown };
    if here.does == Does::RestoresFrame {
        return There;
    }
    match of_plain(all.clone(), sets.at, offset) {
        Some(state) => state,
        None => Search::new(all).state(offset),
    }
}

/// In a function that makes its frame at its start, and gives it up only to leave; `None` in
/// another.
fn of_plain(
    all: impl Iterator<Item = Instruction>,
    sets: usize,
    offset: usize,
) -> Option<FrameState> {
    let (mut state, mut found) = (InLink, Unknown);
    // Where the function ends, and the lowest place that a jump without a frame leads to.
    let (mut end, mut lowest_target) = (0, usize::MAX);
    for one in all {
        if one.at == offset {
            found = state;
        }
        match one.does {
            Does::SetsFrame if one.at != sets => return None,
            Does::SetsFrame => state = There,
            Does::RestoresFrame => state = InLink,
            Does::Nothing => {}
        }
        if state == InLink {
            match one.next {
                Next::Falls => {}
                Next::Returns | Next::Leads | Next::Ends if one.at > sets => state = There,
                Next::Jump(to) if one.at > sets => {
                    // To where no frame is made yet: it calls itself.
                    lowest_target = lowest_target.min(if to > sets { to } else { usize::MAX });
                    state = There;
                }
                _ => return None,
            }
        }
        end = one.end();
    }
    (lowest_target >= end).then_some(found)
}

/// Places that are kept; one more is lost, and then ways behind calls are not believed.
const MAX_PLACES: usize = 32;

/// A few offsets, in the order in which they came.
struct Places {
    all: [u32; MAX_PLACES],
    count: usize,
}

impl Places {
    const fn new() -> Self {
        Self { all: [0; MAX_PLACES], count: 0 }
    }

    /// Whether there was room.
    fn add(&mut self, offset: usize) -> bool {
        let (Some(place), Ok(offset)) = (self.all.get_mut(self.count), u32::try_from(offset))
        else {
            return false;
        };
        *place = offset;
        self.count += 1;
        true
    }

    fn take(&mut self) -> Option<usize> {
        self.count = self.count.checked_sub(1)?;
        Some(self.all[self.count] as usize)
    }

    fn has(&self, offset: usize) -> bool {
        self.all[..self.count].iter().any(|&one| one as usize == offset)
    }
}

/// The instructions that stand before a place, seen backwards from it.
struct Straight {
    /// What decides the place.
    state: Option<FrameState>,
    /// Where it ends, or what decides.
    lowest: usize,
    /// The call that it ends at.
    call: Option<usize>,
}

/// The search in a function that makes its frame where it is needed.
struct Search<I> {
    all: I,
    /// What was looked at.
    seen: Places,
    /// Still to be looked at.
    open: Places,
    /// Calls that have what was looked at behind them.
    calls: Places,
    /// Whether a place was lost.
    is_partial: bool,
}

impl<I: Iterator<Item = Instruction> + Clone> Search<I> {
    fn new(all: I) -> Self {
        let (seen, open, calls) = (Places::new(), Places::new(), Places::new());
        Self { all, seen, open, calls, is_partial: false }
    }

    fn state(mut self, offset: usize) -> FrameState {
        self.open.add(offset);
        // Ways without a call. Those that make no frame have none.
        while let Some(place) = self.open.take() {
            if let Some(state) = self.look(place) {
                return state;
            }
        }
        let by_table = |one: Instruction| matches!(one.next, Next::Leads | Next::MayLead);
        if self.is_partial || self.all.clone().any(by_table) {
            return Unknown;
        }
        // Ways with calls lead from a frame, or the code is none of a compiler's.
        while let Some(call) = self.calls.take() {
            self.open.add(call);
            while let Some(place) = self.open.take() {
                match self.look(place) {
                    Some(There) => return There,
                    Some(_) => return Unknown,
                    None => {}
                }
            }
        }
        Unknown
    }

    /// The state before the instruction at `place`, if the instructions before it decide; the
    /// places that lead there are open then.
    fn look(&mut self, place: usize) -> Option<FrameState> {
        let straight = self.straight(place);
        if straight.state.is_some() {
            return straight.state;
        }
        if self.seen.has(place) {
            return None;
        }
        let mut fits = self.seen.add(place);
        if let Some(call) = straight.call {
            fits &= self.calls.add(call);
        }
        let stretch = straight.lowest..=place;
        for one in self.all.clone() {
            let leads_there = one.target().is_some_and(|to| stretch.contains(&to));
            if leads_there && !stretch.contains(&one.at) && !self.seen.has(one.at) {
                fits &= self.open.add(one.at);
            }
        }
        self.is_partial |= !fits;
        None
    }

    fn straight(&self, place: usize) -> Straight {
        let mut straight = Straight { state: Some(InLink), lowest: 0, call: None };
        for one in self.all.clone().take_while(|one| one.at < place) {
            let lowest = one.end();
            if !one.is_followed() {
                let call = (one.next == Next::Call).then_some(one.at);
                straight = Straight { state: None, lowest, call };
                continue;
            }
            match one.does {
                Does::SetsFrame => straight.state = Some(There),
                Does::RestoresFrame => straight.state = Some(InLink),
                Does::Nothing => {}
            }
        }
        straight
    }
}
