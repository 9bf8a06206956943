//! Every buffer around every kind of stack, against a naive model: byte by byte.

use super::*;
use crate::addr::CpuId;
use crate::dma::list::tests::Random;
use crate::geometry::Geometry;
use crate::kind::StackKind;
use crate::stacks::ThreadId;
use std::collections::BTreeMap;
use std::format;
use std::vec::Vec;

const ARENA: usize = 0xffff_c900_0000_1000_u64 as usize;
const SLOTS: u32 = 24;

fn arena() -> Arena {
    Arena::new(Addr::new(ARENA), SLOTS, Geometry::X86_64).unwrap()
}

/// Stacks of every kind, some mapped in part, with empty slots between them.
fn stacks(arena: &Arena) -> BTreeMap<u32, StackId> {
    let kinds = StackKind::ALL.into_iter().zip(0..);
    kinds
        .map(|(kind, number)| {
            let slot = 2 * number + u32::from(number > 5);
            let mut range = arena.body(SlotIndex::new(slot));
            if number % 3 == 1 {
                range.lowest = range.top.wrapping_sub(ByteSize::PAGE);
            }
            let of_cpu = kind.belongs_to_cpu();
            let stack = StackId {
                kind,
                cpu: of_cpu.then(|| CpuId::new(number)),
                owner: if of_cpu { ThreadId::NONE } else { ThreadId::new(7) },
                range,
            };
            (slot, stack)
        })
        .filter(|(slot, _)| *slot < SLOTS)
        .collect()
}

/// Red where an edge is off by one, where a stack that begins inside the buffer is missed, where a
/// kind of stack is left out, and where a free slot is taken for ordinary memory.
#[test]
fn d2_any_buffer_that_has_a_byte_of_any_stack_is_refused_with_that_stacks_name() {
    let (arena, mut random) = (arena(), Random(11));
    let stacks = stacks(&arena);
    assert!(stacks.len() >= 11, "kinds are missing");
    let mut met: BTreeMap<&str, usize> = BTreeMap::new();
    for _ in 0..60_000 {
        let edges: Vec<usize> =
            stacks.values().flat_map(|s| [s.range.lowest.get(), s.range.top.get()]).collect();
        let edge = edges[random.below(edges.len() as u64) as usize];
        let lowest = edge.wrapping_add(random.below(40) as usize).wrapping_sub(20);
        let bytes = [1, 2, 19, 20, 21, 4096, 16384, 40960][random.below(8) as usize];
        let found =
            meets_arena(Addr::new(lowest), bytes, &arena, |slot| stacks.get(&slot.get()).copied());
        let in_arena = (lowest..lowest + bytes).any(|at| arena.range().contains(Addr::new(at)));
        assert_eq!(found.is_some(), in_arena);
        let Some(found) = found else { continue };
        assert_eq!(found.buffer, AddrRange::sized(Addr::new(lowest), ByteSize::new(bytes)));
        let expected = stacks.values().find(|stack| {
            stack.range.lowest.get() < lowest + bytes && lowest < stack.range.top.get()
        });
        let Some(expected) = expected else {
            assert!(!matches!(found.stack, Some((part, _)) if part != Part::Guard));
            continue;
        };
        let (part, stack) = found.stack.unwrap();
        assert_eq!(stack, *expected, "{lowest:#x}, {bytes} bytes");
        let below = lowest < stack.range.lowest.get();
        let above = lowest + bytes > stack.range.top.get();
        let right = match part {
            Part::Inside => !below && !above,
            Part::CrossesLowest => below && !above,
            Part::CrossesTop => !below && above,
            Part::Around => below && above,
            Part::Guard | Part::Alias => false,
        };
        assert!(right, "{found}");
        *met.entry(stack.kind.name()).or_default() += 1;
    }
    assert_eq!(met.len(), stacks.len(), "kinds that no buffer met: {met:?}");
}

#[test]
fn d2_what_is_beside_the_arena_is_not_on_it_and_what_wraps_is() {
    let arena = arena();
    let asked = |lowest: usize, bytes: usize| {
        meets_arena(Addr::new(lowest), bytes, &arena, |_| None).map(|found| found.stack)
    };
    let top = arena.range().top.get();
    assert_eq!(asked(ARENA - 16, 16), None);
    assert_eq!(asked(ARENA - 16, 17), Some(None));
    assert_eq!(asked(top, 4096), None);
    assert_eq!(asked(top - 1, 4096), Some(None));
    // An empty buffer is where it says, and one that does not end is everywhere behind it.
    assert_eq!(asked(ARENA, 0), Some(None));
    assert_eq!(asked(ARENA - 1, usize::MAX), Some(None));
    assert_eq!(asked(top, usize::MAX), None);
}

#[test]
fn d2_a_stack_outside_of_the_arena_is_met_by_its_bounds() {
    let range = AddrRange::sized(Addr::new(0x8_0000), ByteSize::kib(32));
    let boot =
        StackId { kind: StackKind::Boot, cpu: Some(CpuId::new(0)), owner: ThreadId::NONE, range };
    let asked = |lowest, bytes| meets(Addr::new(lowest), bytes, &boot).and_then(|met| met.stack);
    assert_eq!(asked(0x8_0000 - 8, 8), None);
    assert_eq!(asked(0x8_0000 - 8, 9), Some((Part::CrossesLowest, boot)));
    assert_eq!(asked(0x8_7fff, 1), Some((Part::Inside, boot)));
    assert_eq!(asked(0x8_7fff, 2), Some((Part::CrossesTop, boot)));
    assert_eq!(asked(0x8_8000, 2), None);
    assert_eq!(asked(0x7_0000, 0x10_0000), Some((Part::Around, boot)));
    let nothing = StackId { range: AddrRange::EMPTY, ..boot };
    assert_eq!(meets(Addr::new(0), 1, &nothing), None);
}

#[test]
fn d2_a_refusal_says_which_buffer_and_whose_stack() {
    let arena = arena();
    let stacks = stacks(&arena);
    let said = |lowest: usize, bytes: usize| {
        let found = meets_arena(Addr::new(ARENA + lowest), bytes, &arena, |slot| {
            stacks.get(&slot.get()).copied()
        });
        format!("{}", found.unwrap())
    };
    assert_eq!(
        said(0x3f00, 0x200),
        "the buffer [0xffffc90000004f00..0xffffc90000005100) is on the thread stack \
         [0xffffc90000004000..0xffffc90000008000) of thread 7"
    );
    assert_eq!(
        said(0x6ff0, 0x20),
        "the buffer [0xffffc90000007ff0..0xffffc90000008010) crosses the top of the thread stack \
         [0xffffc90000004000..0xffffc90000008000) of thread 7"
    );
    // An idle stack of which only the highest page is mapped.
    assert_eq!(
        said(0x1_5ff0, 0x20),
        "the buffer [0xffffc90000016ff0..0xffffc90000017010) crosses the lowest edge of the idle \
         stack [0xffffc90000017000..0xffffc90000018000) of CPU 1"
    );
    assert!(said(0x100, 8).contains("touches a guard of the thread stack"));
    assert!(said(0x8100, 8).ends_with("lies where stacks are mapped"));
}

/// Red where the arena of contiguous stacks, which has all memory in it, is taken for stacks only:
/// then no device gets any buffer. Red too where a stack in it is missed.
#[test]
fn t3_d2_memory_between_contiguous_stacks_is_for_devices_and_a_stack_there_is_not() {
    let shape = Geometry::without_guards(ByteSize::kib(16), ByteSize::kib(32)).unwrap();
    let arena = Arena::new(Addr::new(0x4000_0000), 8, shape).unwrap();
    let range = arena.body(SlotIndex::new(3));
    let stack = StackId { kind: StackKind::Thread, cpu: None, owner: ThreadId::new(7), range };
    let check = |at: usize, bytes| {
        let stack_of = |slot: SlotIndex| (slot.get() == 3).then_some(stack);
        meets_arena(Addr::new(at), bytes, &arena, stack_of).and_then(|met| met.stack)
    };
    let (lowest, top) = (range.lowest.get(), range.top.get());
    for (at, bytes) in [(0x4000_0000, 64), (lowest - 64, 64), (top, 64), (top + 0x4000, 0x4000)] {
        assert_eq!(check(at, bytes), None, "{at:#x}");
    }
    for (at, bytes, part) in [
        (lowest, 64, Part::Inside),
        (lowest - 64, 65, Part::CrossesLowest),
        (top - 1, 2, Part::CrossesTop),
        (0x4000_0000, 0x4_0000, Part::Around),
    ] {
        assert_eq!(check(at, bytes), Some((part, stack)), "{at:#x}");
    }
}
