//! The life of one slot, in every order of its atomic steps, and once more with real threads.
//!
//! The model runs one owner, two borrowers that mean the first life, one that means the second, and
//! a second owner that re-uses the slot as soon as it is parked. A step is one atomic access. Every
//! reachable state is visited once; the rules below are checked in each.

extern crate std;

use std::collections::HashSet;
use std::string::String;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::vec::Vec;
use std::{format, thread, vec};

use super::*;

/// How the model deviates from the code, to show that the check notices.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Variant {
    AsWritten,
    /// The owner's release is a load and a store instead of one subtraction.
    OwnerReleaseInTwoSteps,
    /// A borrow does not ask for the generation.
    BorrowOfAnyGeneration,
    /// A borrow does not ask for the owner.
    BorrowWithoutOwner,
    /// The last borrower does not look whether the owner is still there.
    LastBorrowerIgnoresOwner,
    /// The re-use begins when the owner is gone, without waiting for borrowers.
    ReuseWithoutWaiting,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Step {
    /// Owner: about to release; in two steps with the word it has read.
    Release,
    ReleaseStore(Word),
    /// Borrower: about to read the word, about to exchange it, reading the stack.
    Load,
    Exchange(Word),
    Reading,
    /// The last holder: about to read the word for parking, about to store it.
    ParkLoad,
    ParkStore(Word),
    /// Second owner: waits for the parked slot, then stores.
    Take,
    TakeStore(Word),
    Done,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Model {
    word: Word,
    /// Owner, three borrowers, second owner.
    at: [Step; 5],
    /// Times that lives 1 and 2 were taken back.
    taken_back: [u8; 2],
}

/// Which life each process means.
const MEANT: [Generation; 5] =
    [Generation(1), Generation(1), Generation(1), Generation(2), Generation(2)];

impl Model {
    fn new() -> Self {
        let word = Word(PHASE_FREE).begun();
        assert_eq!(word.generation(), MEANT[0]);
        let at = [Step::Release, Step::Load, Step::Load, Step::Load, Step::Take];
        Self { word, at, taken_back: [0, 0] }
    }

    fn borrowed(who: usize, word: Word, variant: Variant) -> Option<Word> {
        match variant {
            Variant::BorrowOfAnyGeneration => word.borrowed(word.generation()),
            Variant::BorrowWithoutOwner if word.generation() == MEANT[who] => {
                Some(Word(word.0 + BORROW_ONE))
            }
            _ => word.borrowed(MEANT[who]),
        }
    }

    fn after_release(&mut self, released: Released) -> Step {
        match released {
            Released::StillBorrowed => Step::Done,
            Released::Last => {
                let life = self.word.generation().0 - 1;
                self.taken_back[life] += 1;
                Step::ParkLoad
            }
        }
    }

    /// Lets process `who` do one step; `None` if it cannot, an error if a rule broke.
    fn step(&self, who: usize, variant: Variant) -> Option<Result<Self, String>> {
        let mut next = self.clone();
        let word = self.word;
        next.at[who] = match self.at[who] {
            Step::Release if variant == Variant::OwnerReleaseInTwoSteps => Step::ReleaseStore(word),
            Step::Release => {
                next.word = Word(word.0 - OWNER);
                next.after_release(word.owner_released())
            }
            Step::ReleaseStore(seen) => {
                next.word = Word(seen.0 - OWNER);
                next.after_release(seen.owner_released())
            }
            Step::Load => match Self::borrowed(who, word, variant) {
                Some(_) => Step::Exchange(word),
                None => Step::Done,
            },
            Step::Exchange(seen) if seen == word => {
                next.word = Self::borrowed(who, seen, variant)?;
                Step::Reading
            }
            Step::Exchange(_) => match Self::borrowed(who, word, variant) {
                Some(_) => Step::Exchange(word),
                None => Step::Done,
            },
            Step::Reading => {
                next.word = Word(word.0.wrapping_sub(BORROW_ONE));
                let released = match variant {
                    Variant::LastBorrowerIgnoresOwner if word.0 & BORROW_MASK == BORROW_ONE => {
                        Released::Last
                    }
                    _ => word.borrow_released(),
                };
                next.after_release(released)
            }
            Step::ParkLoad => Step::ParkStore(word),
            Step::ParkStore(seen) => {
                if seen != word {
                    return Some(Err("somebody wrote the word while it was being parked".into()));
                }
                next.word = word.resting(PHASE_PARKED);
                Step::Done
            }
            Step::Take => {
                let ready = match variant {
                    Variant::ReuseWithoutWaiting => word.0 & OWNER == 0,
                    _ => word.state() == LifeState::Parked,
                };
                if !ready {
                    return None;
                }
                Step::TakeStore(word)
            }
            Step::TakeStore(seen) => {
                if seen != word {
                    return Some(Err("somebody wrote the word while it was being taken".into()));
                }
                next.word = word.begun();
                Step::Release
            }
            Step::Done => return None,
        };
        Some(next.check().map(|()| next))
    }

    fn check(&self) -> Result<(), String> {
        let in_use = matches!(self.word.state(), LifeState::Live | LifeState::Ending);
        let mut reading = 0;
        for (at, meant) in self.at.iter().zip(MEANT) {
            if *at == Step::Reading {
                reading += 1;
                if !in_use || self.word.generation() != meant {
                    return Err("a borrower reads a stack that is not the one it meant".into());
                }
            }
        }
        if reading > 0 && self.word.0 & BORROW_MASK != reading {
            return Err("a borrow is not counted".into());
        }
        if self.taken_back.iter().any(|times| *times > 1) {
            return Err("one life was taken back twice".into());
        }
        let recycling = self.at.iter().any(|at| matches!(at, Step::ParkLoad | Step::ParkStore(_)));
        if recycling && self.word.state() != LifeState::Recycling {
            return Err("a stack is taken back while somebody holds it".into());
        }
        Ok(())
    }

    fn check_end(&self) -> Result<(), String> {
        if self.taken_back != [1, 1] || self.word.0 & (BORROW_MASK | OWNER) != 0 {
            return Err(format!("the end is not clean: {self:?}"));
        }
        Ok(())
    }
}

/// Visits all states; answers how many there are, or what broke first.
fn explore(variant: Variant) -> Result<usize, String> {
    let mut seen = HashSet::new();
    let mut open = vec![Model::new()];
    while let Some(model) = open.pop() {
        if !seen.insert(model.clone()) {
            continue;
        }
        let mut stuck = true;
        for who in 0..model.at.len() {
            if let Some(next) = model.step(who, variant) {
                open.push(next?);
                stuck = false;
            }
        }
        if stuck {
            model.check_end()?;
        }
    }
    Ok(seen.len())
}

#[test]
fn t8_every_interleaving_of_owners_borrowers_and_a_re_use_takes_each_life_back_once() {
    let states = explore(Variant::AsWritten).expect("no rule breaks in any interleaving");
    assert!(states > 300, "the model is too small to mean anything: {states} states");
}

#[test]
fn t8_the_interleaving_check_notices_each_way_of_getting_it_wrong() {
    for variant in [
        Variant::OwnerReleaseInTwoSteps,
        Variant::BorrowOfAnyGeneration,
        Variant::BorrowWithoutOwner,
        Variant::LastBorrowerIgnoresOwner,
        Variant::ReuseWithoutWaiting,
    ] {
        explore(variant).expect_err("a broken variant must be noticed");
    }
}

#[test]
fn t8_a_borrow_keeps_the_stack_and_the_last_one_takes_it_back() {
    let life = Life::new();
    let generation = life.make_live();
    let first = life.try_borrow(generation).expect("the stack is live");
    let second = life.try_borrow(generation).expect("the stack is live");
    assert_eq!(life.release_owner(), Released::StillBorrowed);
    assert_eq!(life.state(), LifeState::Ending);
    assert_eq!(life.release_borrow(first), Released::StillBorrowed);
    assert_eq!(life.release_borrow(second), Released::Last);
    assert_eq!(life.state(), LifeState::Recycling);
    life.park();
    assert_eq!(life.state(), LifeState::Parked);
}

#[test]
fn t8_a_borrow_fails_in_every_state_but_live() {
    let life = Life::new();
    assert_eq!(life.try_borrow(life.generation()), None, "free");
    let generation = life.make_live();
    let borrow = life.try_borrow(generation).expect("the stack is live");
    assert_eq!(life.release_owner(), Released::StillBorrowed);
    assert_eq!(life.try_borrow(generation), None, "ending");
    assert_eq!(life.release_borrow(borrow), Released::Last);
    assert_eq!(life.try_borrow(generation), None, "recycling");
    life.park();
    assert_eq!(life.try_borrow(generation), None, "parked");
    life.set_free();
    assert_eq!(life.try_borrow(generation), None, "free again");
}

#[test]
fn t8_a_borrow_that_means_an_earlier_life_is_refused() {
    let life = Life::new();
    let earlier = life.make_live();
    assert_eq!(life.release_owner(), Released::Last);
    life.park();
    let later = life.make_live();
    assert_ne!(earlier, later);
    assert_eq!(life.try_borrow(earlier), None);
    assert!(life.try_borrow(later).is_some());
}

#[test]
fn t8_one_borrow_too_many_is_refused_instead_of_overflowing_into_the_owner() {
    let life = Life::new();
    let generation = life.make_live();
    let borrows: Vec<Borrow> =
        (0..BORROW_MASK).map(|_| life.try_borrow(generation).expect("there is room")).collect();
    assert_eq!(life.try_borrow(generation), None);
    assert_eq!(life.state(), LifeState::Live);
    for borrow in borrows {
        assert_eq!(life.release_borrow(borrow), Released::StillBorrowed);
    }
    assert_eq!(life.release_owner(), Released::Last);
}

/// A message that shows the wrong life sends its reader to the wrong owner.
#[test]
fn t8_a_generation_shows_its_number() {
    let life = Life::new();
    assert_eq!(life.generation().get(), 0);
    for number in 1..4 {
        assert_eq!(life.make_live().get(), number);
        assert_eq!(life.release_owner(), Released::Last);
        life.park();
    }
}

#[test]
fn t8_the_generation_wraps_without_touching_the_other_fields() {
    let life = Life(AtomicUsize::new(usize::MAX >> GENERATION_SHIFT << GENERATION_SHIFT));
    let generation = life.make_live();
    assert_eq!(generation, Generation(0));
    assert_eq!(life.state(), LifeState::Live);
    let borrow = life.try_borrow(generation).expect("the stack is live");
    assert_eq!(life.release_owner(), Released::StillBorrowed);
    assert_eq!(life.release_borrow(borrow), Released::Last);
}

/// What the threads of the test below share.
#[derive(Default)]
struct Slot {
    life: Life,
    /// The number of the life while in use, zero once cleaned.
    contents: AtomicU32,
    taken_back: AtomicU32,
    borrowed: AtomicU32,
    announced: AtomicUsize,
    broken: AtomicBool,
}

impl Slot {
    /// Lets others run until `condition` holds; gives up when a rule broke, or when it never does.
    fn wait_until(&self, condition: impl Fn() -> bool) -> bool {
        let since = Instant::now();
        while !condition() {
            if self.broken.load(Ordering::Relaxed) || since.elapsed() > Duration::from_secs(20) {
                self.broken.store(true, Ordering::Relaxed);
                return false;
            }
            thread::yield_now();
        }
        true
    }

    fn after(&self, released: Released) {
        if released == Released::Last {
            self.contents.store(0, Ordering::Relaxed);
            self.taken_back.fetch_add(1, Ordering::Relaxed);
            self.life.park();
        }
    }

    /// Borrows the announced life once, if it is still there.
    fn borrow_once(&self) {
        let generation = Generation(self.announced.load(Ordering::Relaxed));
        let Some(borrow) = self.life.try_borrow(generation) else {
            thread::yield_now();
            return;
        };
        if self.contents.load(Ordering::Relaxed) as usize != generation.get() {
            self.broken.store(true, Ordering::Relaxed);
        }
        self.borrowed.fetch_add(1, Ordering::Relaxed);
        self.after(self.life.release_borrow(borrow));
    }

    /// One life with its end; false if it could not begin.
    fn live_once(&self, number: u32) -> bool {
        let at_rest = || matches!(self.life.state(), LifeState::Free | LifeState::Parked);
        if !self.wait_until(at_rest) {
            return false;
        }
        self.contents.store(number, Ordering::Relaxed);
        let generation = self.life.make_live();
        self.announced.store(generation.get(), Ordering::Relaxed);
        // Every eighth life waits until it has been borrowed once more, so that borrows really
        // happen.
        let before = self.borrowed.load(Ordering::Relaxed);
        let lent = || self.borrowed.load(Ordering::Relaxed) != before;
        let ready = number % 8 != 0 || self.wait_until(lent);
        self.after(self.life.release_owner());
        ready
    }
}

#[test]
fn t8_real_threads_that_borrow_at_random_never_see_another_life() {
    const LIVES: u32 = 2_000;
    const READERS: usize = 2;
    let slot = Slot::default();
    let start = Barrier::new(READERS + 1);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..READERS {
            scope.spawn(|| {
                start.wait();
                while !over.load(Ordering::Relaxed) {
                    slot.borrow_once();
                }
            });
        }
        start.wait();
        let lived = (1..=LIVES).all(|number| slot.live_once(number));
        let ended = slot.wait_until(|| slot.life.state() == LifeState::Parked);
        over.store(true, Ordering::Relaxed);
        assert!(lived && ended, "a rule broke, or a life never ended");
    });
    assert!(!slot.broken.into_inner(), "a borrower read another life");
    assert_eq!(slot.taken_back.into_inner(), LIVES);
    assert!(slot.borrowed.into_inner() >= LIVES / 8);
}
