//! Memory for devices: lists of what lies apart, and buffers on stacks, which are refused.

use super::support::{on_every_cpu, stack_at};
use super::{Outcome, check};
use crate::across_pages::{self, BYTES, Crossing, HALF};
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::hint::black_box;
use kstack::addr::{Addr, AddrRange, ByteSize, CpuId, PAGE_BYTES};
use kstack::dma::entry::{AsEntry, Entry};
use kstack::dma::limits::Limits;
use kstack::dma::list::List;
use kstack::dma::on_stack::{OnStack, Part};
use kstack::dma::pieces::pieces;
use kstack::dma::{Memory, Proven, Refused, check as check_address, judge};
use kstack::kind::StackKind;
use kstack::stacks::{StackId, ThreadId};
use kstack::{elsewhere, registry};
use machine::arch::boot::boot_stack;
use machine::dma::{Device, DmaError, HeapBytes, MappedList, Physical};
use machine::memory::{direct, frames};

/// What a refusal says, if it is about a stack.
pub(super) fn on_stack(why: &Refused) -> Option<OnStack> {
    if let Refused::OnStack(met) = why { Some(*met) } else { None }
}

/// A stack's pages as they lie in physical memory: what the page tables say of each, and what
/// becomes of them cut to a device. Red where a page is taken to follow the one before.
pub fn d1_the_pages_of_a_stack_are_as_many_pieces_as_lie_apart() -> Outcome {
    across_pages::with_crossing(pieces_of)?
}

fn pieces_of(found: &Crossing) -> Outcome {
    let stack = stack_at(found.at).ok_or("the buffer is on no stack")?.range;
    let buffer = AddrRange::sized(Addr::new(found.at), ByteSize::new(BYTES));
    let entries: Result<Vec<Entry>, _> = pieces(buffer, Physical::physical).collect();
    let entries = entries.map_err(|why| format!("{why}"))?;
    let halves = [found.first, found.second].map(|at| Entry::at(at, HALF as u32));
    let halves: Result<Vec<Entry>, _> = halves.into_iter().collect();
    let halves = halves.map_err(|why| format!("{why}"))?;
    check!(entries == halves, "{entries:?} for a buffer with halves {halves:?}");
    let all: Result<Vec<Entry>, _> = pieces(stack, Physical::physical).collect();
    let all = all.map_err(|why| format!("{why}"))?;
    let list = List::of(&all).map_err(|why| format!("{why}"))?;
    check!(list.bytes() == stack.size().get() as u64, "{list} for the stack {stack:?}");
    log!("d1: the stack {stack:?} is {list}");
    // Every byte of it, through the list and by its own address.
    let mut walked = list.walk().flat_map(|entry| entry.lowest()..=entry.last());
    for page in (stack.lowest.get()..stack.top.get()).step_by(PAGE_BYTES) {
        let expected = Physical::physical(Addr::new(page));
        check!(walked.next() == expected, "page {page:#x} is not where the list has it");
        check!(walked.nth(PAGE_BYTES - 2).is_some(), "the list is too short");
    }
    let limits = Limits::NONE.segments_of(1536).within(11);
    for segment in limits.segments(list.walk()) {
        let last = segment.lowest + u64::from(segment.length) - 1;
        check!(segment.length <= 1536 && segment.lowest >> 11 == last >> 11, "{segment}");
    }
    Ok(())
}

/// Blocks of the heap lent as one list, in tables that are chained, cut to what a device takes: it
/// finds their bytes in order, and what it writes is there afterwards. Red where a segment is left
/// out or a cut loses a byte.
pub fn d1_a_list_of_blocks_is_what_a_device_finds_and_what_it_leaves() -> Outcome {
    static NARROW: Device = Device {
        name: "narrow",
        limits: Limits::NONE.segments_of(700).within(10),
        sees_caches: || true,
    };
    let block = |number: usize| {
        let mut block = HeapBytes::zeroed(300 + 911 * number).map_err(|why| format!("{why}"))?;
        block.iter_mut().zip(number..).for_each(|(byte, at)| *byte = (at * 7) as u8);
        Ok(block)
    };
    let blocks: Result<Vec<HeapBytes>, String> = (0..6).map(block).collect();
    let blocks = blocks?;
    let bytes: Vec<u8> = blocks.iter().flat_map(|block| block.iter().copied()).collect();
    // The chain of what its tables have, as a driver has it.
    let tables: Result<Vec<Vec<Proven<'_>>>, _> =
        blocks.iter().map(|block| Proven::of::<Physical>(block).collect()).collect();
    let tables = tables.map_err(|why| format!("{why}"))?;
    let last = List::of(&tables[5]).map_err(|why| format!("{why}"))?;
    let middle = List::chained(&tables[4], &last).map_err(|why| format!("{why}"))?;
    let whole = List::chained(&tables[3], &middle).map_err(|why| format!("{why}"))?;
    let of_three: usize = blocks[3..].iter().map(|block| block.len()).sum();
    check!(whole.bytes() == of_three as u64 && whole.tables() == 3, "{whole}");
    let list = MappedList::from_device(&NARROW, blocks).map_err(|(why, _)| format!("{why}"))?;
    check!(list.bytes() == bytes.len() as u64, "{} bytes", list.bytes());
    check!(list.segments().len() > 6, "{:?}", list.segments());
    let mut found = Vec::new();
    for segment in list.segments() {
        let at = direct::<u8>(segment.lowest);
        for offset in 0..segment.length as usize {
            // SAFETY: (1) memory on loan to a device, which is this test.
            unsafe {
                found.push(at.add(offset).read_volatile());
                at.add(offset).write_volatile(!at.add(offset).read_volatile());
            }
        }
    }
    check!(found == bytes, "the device found other bytes");
    let blocks = list.end();
    let left: Vec<u8> = blocks.iter().flat_map(|block| block.iter().copied()).collect();
    check!(left.iter().zip(&bytes).all(|(left, byte)| *left == !byte), "not what it left");
    static FEW: Device =
        Device { name: "few", limits: Limits::NONE.at_most(1), sees_caches: || true };
    let two = vec![HeapBytes::zeroed(64), HeapBytes::zeroed(64), HeapBytes::zeroed(64)];
    let two: Result<Vec<HeapBytes>, _> = two.into_iter().collect();
    let two = two.map_err(|why| format!("{why}"))?;
    let refused = MappedList::to_device(&FEW, two);
    check!(matches!(refused, Err((DmaError::Limit(_), ref back)) if back.len() == 3), "taken");
    Ok(())
}

/// Checks that buffers on a stack, across its edges and beside them are refused with its name.
fn check_stack(stack: &StackId) -> Outcome {
    let (lowest, top) = (stack.range.lowest.get(), stack.range.top.get());
    let cases = [
        (lowest, 64, Part::Inside),
        (top - 64, 64, Part::Inside),
        (lowest - 8, 9, Part::CrossesLowest),
        (top - 1, 16, Part::CrossesTop),
        (lowest - 8, top - lowest + 16, Part::Around),
    ];
    for (at, bytes, part) in cases {
        let range = AddrRange::sized(Addr::new(at), ByteSize::new(bytes));
        let refused = judge::<Physical>(range).err().as_ref().and_then(on_stack);
        let refused = refused.ok_or_else(|| format!("{range:?}, {part:?} of {stack:?}, passed"))?;
        check!(refused.stack == Some((part, *stack)), "{part:?} of {stack:?}: {refused}");
        check!(refused.buffer == range, "{refused} for {range:?}");
    }
    // The same memory by its other address.
    for page in (lowest..top).step_by(PAGE_BYTES) {
        let Some(physical) = Physical::physical(Addr::new(page)) else { continue };
        if !frames::is_memory(physical) {
            continue;
        }
        let alias = Addr::new(direct::<u8>(physical) as usize + 100);
        check!(check_address(alias, 16).is_ok(), "the direct map counts as a stack");
        let range = AddrRange::sized(alias, ByteSize::new(16));
        let refused = judge::<Physical>(range).err().as_ref().and_then(on_stack);
        let named = refused.and_then(|refused| refused.stack);
        check!(named == Some((Part::Alias, *stack)), "{range:?} of {stack:?}: {named:?}");
    }
    Ok(())
}

/// Every stack of this machine: threads', idle threads', those of interrupts and exceptions of each
/// CPU, the boot stack, and one in a block of the heap while it is declared. Red where a kind is
/// left out, where an edge is off by one, and where the direct map's address passes.
pub fn d2_a_buffer_on_any_stack_is_refused_by_its_name_and_by_any_address() -> Outcome {
    let registry = registry::get().ok_or("no registry")?;
    let mut kinds = BTreeSet::new();
    let mut count = 0;
    for (_, stack) in registry.live() {
        // A thread of another test may be on its way out.
        let is_there = || registry.live().any(|(_, now)| now == stack);
        match check_stack(&stack) {
            Err(why) if is_there() => return Err(why),
            _ => {}
        }
        kinds.insert(stack.kind.name());
        count += 1;
    }
    let boot = StackId {
        kind: StackKind::Boot,
        cpu: Some(CpuId::new(0)),
        owner: ThreadId::NONE,
        range: boot_stack(),
    };
    check_stack(&boot)?;
    kinds.insert(boot.kind.name());
    for kind in ["thread", "idle", "irq", "boot"] {
        check!(kinds.contains(kind), "no {kind} stack among {kinds:?}");
    }
    let block = vec![0_u8; 3 * 8192].leak();
    let of_heap = Box::leak(Box::new(StackId {
        kind: StackKind::Thread,
        cpu: None,
        owner: ThreadId::new(4711),
        range: AddrRange::sized(Addr::new(block.as_ptr() as usize + 8192), ByteSize::new(8192)),
    }));
    check!(judge::<Physical>(of_heap.range).is_ok(), "a block of the heap is refused");
    let declared = elsewhere::declare(of_heap).map_err(|_| "no place")?;
    let on_heap = judge::<Physical>(of_heap.range).err().as_ref().and_then(on_stack);
    check!(on_heap.and_then(|met| met.stack) == Some((Part::Inside, *of_heap)), "{on_heap:?}");
    drop(declared);
    log!("d2: {count} stacks of {kinds:?}, and one of the heap");
    Ok(())
}

/// What runs on a stack has its buffers refused by that stack's name: a thread here, an interrupt
/// on each CPU. What is no stack's passes. Red where the running stack is not looked at.
pub fn d2_a_local_buffer_is_refused_where_it_is_and_other_memory_is_not() -> Outcome {
    fn local_is_refused_as(kind: StackKind) -> Outcome {
        let local = [0_u8; 64];
        let local: &[u8] = black_box(&local);
        let refused = Proven::checked::<Physical>(local).map(Iterator::count);
        let met = refused.as_ref().err().and_then(on_stack).and_then(|met| met.stack);
        let found = stack_at(local.as_ptr() as usize).map(|stack| (Part::Inside, stack));
        check!(met == found && met.is_some_and(|(_, stack)| stack.kind == kind), "{refused:?}");
        Ok(())
    }
    local_is_refused_as(StackKind::Thread)?;
    on_every_cpu(|_| local_is_refused_as(StackKind::Irq))?;
    static OF_THE_IMAGE: [u8; 64] = [3; 64];
    let heap = HeapBytes::zeroed(3 * PAGE_BYTES).map_err(|why| format!("{why}"))?;
    for memory in [&OF_THE_IMAGE[..], &heap[..]] {
        let entries = Proven::checked::<Physical>(memory).map_err(|why| format!("{why}"))?;
        let entries: Result<Vec<Proven<'_>>, _> = entries.collect();
        let entries = entries.map_err(|why| format!("{why}"))?;
        check!(entries.len() == 1, "{} entries for one piece", entries.len());
        let length = entries[0].entry().length() as usize;
        check!(length == memory.len(), "{length} bytes of {}", memory.len());
    }
    let frame = frames::alloc().ok_or("no frame")?;
    let page = AddrRange::sized(Addr::new(frame.bytes_ptr() as usize), ByteSize::PAGE);
    let passed = judge::<Physical>(page);
    frames::release(frame);
    check!(passed.is_ok(), "a frame that is no stack's: {passed:?}");
    let nothing = AddrRange::sized(Addr::new(0x1000), ByteSize::new(8));
    check!(matches!(judge::<Physical>(nothing), Err(Refused::NotMapped(_))), "there is nothing");
    Ok(())
}
