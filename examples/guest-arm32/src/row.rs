//! The row of threads: the idle thread first. Who gives way hands on to the next; who has left is
//! dropped by the next one that runs. One CPU; interrupts do not come here.

use crate::{Member, switch};
use core::cell::UnsafeCell;

const PLACES: usize = 4;

struct Row {
    idle: Option<&'static Member>,
    members: [Option<Member>; PLACES],
    /// Who runs: 0 is the idle thread, the others are places plus one.
    running: usize,
    left: [bool; PLACES],
}

struct Shared(UnsafeCell<Row>);
// SAFETY: one CPU, and no interrupt handler asks for it.
unsafe impl Sync for Shared {}
static ROW: Shared = Shared(UnsafeCell::new(Row {
    idle: None,
    members: [const { None }; PLACES],
    running: 0,
    left: [false; PLACES],
}));

pub fn begin(idle: &'static Member) {
    // SAFETY: only one thread runs, and the reference does not outlive a switch.
    unsafe { (*ROW.0.get()).idle = Some(idle) };
}

pub fn join(member: Member) {
    // SAFETY: as above.
    let row = unsafe { &mut *ROW.0.get() };
    let free = row.members.iter().position(Option::is_none).expect("the row is full");
    row.members[free] = Some(member);
}

pub fn has_others() -> bool {
    bury();
    // SAFETY: as above.
    unsafe { (*ROW.0.get()).members.iter().any(Option::is_some) }
}

/// Drops those who have left, but the one that runs.
fn bury() {
    // SAFETY: as above.
    let row = unsafe { &mut *ROW.0.get() };
    for place in 0..PLACES {
        if row.left[place] && row.running != place + 1 {
            row.left[place] = false;
            row.members[place] = None;
        }
    }
}

fn at(number: usize) -> Option<*const Member> {
    // SAFETY: as above.
    let row = unsafe { &*ROW.0.get() };
    match number {
        0 => row.idle.map(core::ptr::from_ref),
        place if row.left[place - 1] => None,
        place => row.members[place - 1].as_ref().map(core::ptr::from_ref),
    }
}

pub fn give_way() {
    // SAFETY: as above.
    let running = unsafe { (*ROW.0.get()).running };
    let next =
        (1..=PLACES).map(|step| (running + step) % (PLACES + 1)).find(|&one| at(one).is_some());
    let Some(next) = next else { return };
    let from = match running {
        0 => at(0).expect("the idle thread stays"),
        // SAFETY: it runs, so it is in the row, even if it has left.
        place => unsafe {
            core::ptr::from_ref((*ROW.0.get()).members[place - 1].as_ref().expect("it runs"))
        },
    };
    let to = at(next).expect("found above");
    // SAFETY: as above; both stay where they are until they have left and another one runs.
    unsafe {
        (*ROW.0.get()).running = next;
        switch(&*from, &*to);
    }
}

/// The running thread leaves the row, and does not come back.
pub fn leave() -> ! {
    // SAFETY: as above.
    unsafe {
        let row = &mut *ROW.0.get();
        row.left[row.running - 1] = true;
    }
    give_way();
    unreachable!("a thread that has left runs again")
}
