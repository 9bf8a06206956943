//! What it costs to know that a buffer is on no stack: by its address alone, and with the memory
//! behind it, for what a device is lent.

use super::{median, report, span};
use core::hint::black_box;
use kstack::addr::{Addr, AddrRange, ByteSize};
use kstack::dma::{check, judge};
use machine::dma::{HeapBytes, Physical};

pub(super) fn run(overhead: u64) {
    const BYTES: usize = 512;
    let block = HeapBytes::zeroed(BYTES).expect("half a kibibyte");
    let range = |at: usize| AddrRange::sized(Addr::new(at), ByteSize::new(BYTES));
    let at = block.as_ptr() as usize;
    let mut local = [0_u8; BYTES];
    let on_stack = black_box(local.as_mut_ptr()) as usize;
    assert!(judge::<Physical>(range(at)).is_ok() && judge::<Physical>(range(on_stack)).is_err());
    let by_address = |at: usize| {
        let passed = check(black_box(Addr::new(at)), BYTES).is_ok();
        assert!(black_box(passed) == (at != on_stack));
    };
    let figure = |work: &dyn Fn()| median((0..101).map(|_| span(work, overhead)).collect());
    report("dma_check_address", figure(&|| by_address(at)), "instructions");
    report("dma_check_refusal", figure(&|| by_address(on_stack)), "instructions");
    let by_memory = figure(&|| assert!(judge::<Physical>(black_box(range(at))).is_ok()));
    report("dma_check_memory", by_memory, "instructions");
}
