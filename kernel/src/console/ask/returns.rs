//! What boot options have done on the way to user mode, tried out whether they are on or not.

use super::answer::Answer;
use crate::tests::returns::{
    Word, calls_that_find_nothing, places_of_calls, word_of_the_call_before,
};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use kstack::offset::{BITS, MOST};
use threads::entry::on_return::{ERASE, OFFSET};

/// Places in a bar of the picture.
const IN_A_BAR: usize = 8;
const CALLS: u32 = 10_000;

pub(super) fn offset(answer: &mut Answer) -> Result<(), String> {
    let without = used(&places_of_calls(0, 500)?);
    let with = used(&places_of_calls(OFFSET, CALLS)?);
    let all: u64 = with.iter().copied().map(u64::from).sum();
    for (group, calls) in with.chunks(IN_A_BAR).enumerate() {
        let before = group * IN_A_BAR;
        let name = format!("places {} to {} from the top", before + 1, before + calls.len());
        answer.bar(&name, calls.iter().copied().map(u64::from).sum(), "calls");
    }
    let most = with.iter().copied().max().unwrap_or(0);
    let (before, now) = (entropy(&without), entropy(&with));
    answer.fact("places of the handler's frame without the option", without.len());
    answer.fact("places with it, each a multiple of 16 bytes", with.len());
    answer.fact("largest offset that is said, in bytes", MOST.get());
    answer.fact("the place used most", format!("{most} of {all} calls"));
    answer.fact("the mean of a place", all / with.len().max(1) as u64);
    answer.fact("entropy of one call without the option", Bits(before));
    answer.fact("entropy with it", Bits(now));
    answer.must(with.len() >= 1 << BITS, format!("{} places", with.len()));
    answer.must(before <= ONE_BIT, format!("without the option {} of entropy", Bits(before)));
    let wanted = u64::from(BITS) * ONE_BIT - ONE_BIT / 16;
    answer.must(now >= wanted, format!("{} of entropy", Bits(now)));
    answer.answer(format!(
        "{} of {BITS} possible, over {} places of which the one used most had {most} of {all} calls; \
         without the option every call of an entry begins at one place.",
        Bits(now),
        with.len(),
    ));
    Ok(())
}

pub(super) fn erasing(answer: &mut Answer) -> Result<(), String> {
    let [threads, irq, all] = calls_that_find_nothing(0)?;
    let [threads_with, irq_with, all_with] = calls_that_find_nothing(ERASE)?;
    let (kept, erased) = (word_of_the_call_before(0)?, word_of_the_call_before(ERASE)?);
    let percent = |some: u32, all: u32| u64::from(some) * 100 / u64::from(all.max(1));
    let (before, now) = (percent(threads, all), percent(threads_with, all_with));
    answer.bar("thread stacks found clean, without the option", before, "% of calls");
    answer.bar("thread stacks found clean, with it", now, "% of calls");
    answer.bar("IRQ stacks found clean, without the option", percent(irq, all), "% of calls");
    answer.bar("IRQ stacks found clean, with it", percent(irq_with, all_with), "% of calls");
    answer.say("A call writes 0x5a far down its stack. The program's next call reads there:");
    let show = |word: &Word| format!("{:#x}; the thread went to {} bytes", word.found, word.left);
    answer.fact("without the option", show(&kept));
    answer.fact("with it", show(&erased));
    answer.must(kept.found == Word::WRITTEN, "the word did not stay without the option");
    answer.must(erased.found == 0, format!("{:#x} stayed", erased.found));
    answer.must(kept.left == erased.left, "the meter of depth has forgotten what was erased");
    answer.must(now > 90 && before < 10, format!("{before} % are clean without, {now} % with"));
    answer.answer(format!(
        "nothing, with erasing: the word reads as {:#x}, where it was {:#x} without. The depth of the \
         thread is known all the same: {} bytes were left of its stack at the deepest.",
        erased.found, kept.found, erased.left,
    ));
    Ok(())
}

/// The counts of places that were used at all.
fn used(places: &[u32]) -> Vec<u32> {
    places.iter().copied().filter(|&calls| calls > 0).collect()
}

/// A bit of entropy, in the unit that is counted in.
const ONE_BIT: u64 = 1 << 16;

/// Shannon's entropy of a distribution, Σ p · log₂(1/p): the yes-or-no questions that it takes to
/// find out where a call has begun.
fn entropy(counts: &[u32]) -> u64 {
    let all: u64 = counts.iter().copied().map(u64::from).sum();
    let weighed = |&count: &u32| u64::from(count) * (log2(all) - log2(count.into()));
    counts.iter().map(weighed).sum::<u64>() / all.max(1)
}

/// The binary logarithm, in 65,536ths; of 0, that of 1. Digits by squaring: what reaches 2 gives
/// the digit 1.
fn log2(number: u64) -> u64 {
    let number = number.clamp(1, u32::MAX.into());
    let whole = number.ilog2();
    let mut rest = number << (31 - whole);
    let mut result = u64::from(whole) * ONE_BIT;
    for digit in (0..16).rev() {
        rest = (rest * rest) >> 31;
        if rest >> 32 != 0 {
            rest >>= 1;
            result |= 1 << digit;
        }
    }
    result
}

/// Entropy, for people.
struct Bits(u64);

impl core::fmt::Display for Bits {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let hundredths = (self.0 * 100 + ONE_BIT / 2) / ONE_BIT;
        write!(f, "{}.{:02} bits", hundredths / 100, hundredths % 100)
    }
}
