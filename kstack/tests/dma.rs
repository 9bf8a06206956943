//! Entries of buffers on the host: what is a stack's is refused with its name, by address and by
//! another address of the same memory; everything else becomes the pieces that it is.

use kstack::addr::{Addr, AddrRange, ByteSize, CpuId, PAGE_BYTES};
use kstack::dma::entry::AsEntry;
use kstack::dma::list::List;
use kstack::dma::on_stack::Part;
use kstack::dma::{Memory, Proven, Refused, check, judge};
use kstack::elsewhere;
use kstack::kind::StackKind;
use kstack::stacks::{StackId, ThreadId};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Physical memory of this test: a page lies where its address says, in reverse order, so that no
/// two follow each other.
struct Reversed;

/// The table of declared stacks is one for all tests.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A page that a stack is mapped to, besides.
static OF_A_STACK: AtomicU64 = AtomicU64::new(u64::MAX);

fn page_of(addr: Addr) -> u64 {
    u64::MAX / PAGE_BYTES as u64 - (addr.get() / PAGE_BYTES) as u64 - 1
}

// SAFETY: (1) an address that nothing is read by; (2) the one page that stands for one.
unsafe impl Memory for Reversed {
    fn physical(addr: Addr) -> Option<u64> {
        Some(page_of(addr) * PAGE_BYTES as u64 + (addr.get() % PAGE_BYTES) as u64)
    }

    fn is_of_a_stack(physical: u64) -> bool {
        physical / PAGE_BYTES as u64 == OF_A_STACK.load(Ordering::SeqCst)
    }
}

fn leaked(pages: usize) -> &'static mut [u8] {
    vec![0_u8; pages * PAGE_BYTES].leak()
}

fn declared(range: &[u8]) -> &'static StackId {
    let lowest = Addr::new(range.as_ptr() as usize);
    Box::leak(Box::new(StackId {
        kind: StackKind::Boot,
        cpu: Some(CpuId::new(3)),
        owner: ThreadId::NONE,
        range: AddrRange::sized(lowest, ByteSize::new(range.len())),
    }))
}

/// Red where a page is not asked for, and where pages count as one piece because their addresses
/// follow each other.
#[test]
fn d1_d2_a_buffer_of_pages_that_lie_apart_has_an_entry_for_each() {
    let buffer: &'static [u8] = &leaked(4)[100..3 * PAGE_BYTES];
    let entries: Result<Vec<Proven<'_>>, _> = Proven::of::<Reversed>(&buffer).collect();
    let entries = entries.unwrap();
    let list = List::of(&entries).unwrap();
    assert_eq!(list.bytes(), buffer.len() as u64);
    let first = Addr::new(buffer.as_ptr() as usize);
    assert_eq!(entries[0].entry().page(), page_of(first));
    let touched = (first.get() % PAGE_BYTES + buffer.len()).div_ceil(PAGE_BYTES);
    assert_eq!(list.count(), touched);
    assert!(format!("{list}").contains(&format!("{}", entries[1])));
    let mut writable = leaked(1);
    assert!(Proven::of::<Reversed>(&writable).count() >= 1);
    writable = &mut writable[1..];
    assert!(Proven::checked::<Reversed>(writable).is_ok());
}

/// Red where a declaration is not looked at, where a withdrawn one still is, and where an edge
/// counts as outside.
#[test]
fn d2_a_stack_outside_of_the_arena_is_refused_for_as_long_as_it_is_declared() {
    let _alone = ONE_AT_A_TIME.lock();
    let memory = leaked(3);
    let stack = declared(&memory[PAGE_BYTES..2 * PAGE_BYTES]);
    let (lowest, page) = (stack.range.lowest, ByteSize::PAGE);
    assert_eq!(check(lowest, 1), Ok(()));
    let declaration = elsewhere::declare(stack).unwrap();
    let part = |at: Addr, bytes: usize| check(at, bytes).map_err(|met| met.stack);
    assert_eq!(part(lowest, 16), Err(Some((Part::Inside, *stack))));
    let below = lowest.wrapping_sub(page);
    assert_eq!(part(below, PAGE_BYTES), Ok(()));
    assert_eq!(part(below, PAGE_BYTES + 1), Err(Some((Part::CrossesLowest, *stack))));
    let last = stack.range.top.wrapping_sub(ByteSize::new(1));
    assert_eq!(part(last, 2), Err(Some((Part::CrossesTop, *stack))));
    assert_eq!(part(stack.range.top, 2), Ok(()));
    drop(declaration);
    assert_eq!(check(lowest, PAGE_BYTES), Ok(()));
}

/// Red where the memory behind a buffer is not asked about, and where the last page of a piece is
/// left out.
#[test]
fn d2_another_address_of_a_stacks_memory_is_refused_by_the_stacks_name() {
    let _alone = ONE_AT_A_TIME.lock();
    let memory = leaked(4);
    let lowest = Addr::new(memory.as_ptr() as usize);
    // A stack's page, as a kernel with a direct map has it at another address.
    let stack = declared(&memory[2 * PAGE_BYTES..3 * PAGE_BYTES]);
    OF_A_STACK.store(page_of(stack.range.lowest), Ordering::SeqCst);
    let buffer = AddrRange { lowest, top: stack.range.lowest.wrapping_add(ByteSize::new(1)) };
    let on_stack = |buffer| match judge::<Reversed>(buffer) {
        Err(Refused::OnStack(met)) => met.stack,
        other => panic!("not refused: {other:?}"),
    };
    assert_eq!(on_stack(buffer), None, "no stack that is known has it");
    let before = AddrRange { top: stack.range.lowest.align_down(ByteSize::PAGE), ..buffer };
    assert_eq!(judge::<Reversed>(before), Ok(()));
    OF_A_STACK.store(u64::MAX, Ordering::SeqCst);
}

/// In a debug build the code that passes a stack's buffer stops; in others it is told.
#[test]
fn d2_a_refused_buffer_stops_a_debug_build_and_is_an_error_elsewhere() {
    let _alone = ONE_AT_A_TIME.lock();
    let memory: &'static [u8] = leaked(1);
    let _declaration = elsewhere::declare(declared(memory)).unwrap();
    let tried = std::panic::catch_unwind(|| {
        Proven::checked::<Reversed>(memory).map(|entries| entries.count())
    });
    let text = match tried {
        Err(stopped) if cfg!(debug_assertions) => *stopped.downcast::<String>().unwrap(),
        Ok(Err(refused)) if !cfg!(debug_assertions) => format!("{refused}"),
        other => panic!("not refused: {:?}", other.map_err(|_| "stopped")),
    };
    assert!(text.contains("is on the boot stack") && text.contains("of CPU 3"), "{text}");
    assert!(text.contains("not for devices"), "{text}");
}

#[test]
fn d2_only_so_many_stacks_outside_of_the_arena_can_be_declared() {
    let _alone = ONE_AT_A_TIME.lock();
    let memory: &'static [u8] = leaked(1);
    let mut declarations = Vec::new();
    while let Ok(declaration) = elsewhere::declare(declared(&memory[..8])) {
        declarations.push(declaration);
        assert!(declarations.len() <= elsewhere::MOST);
    }
    assert_eq!(elsewhere::declare(declared(&memory[..8])).unwrap_err(), elsewhere::Full);
    declarations.pop();
    elsewhere::declare(declared(&memory[..8])).unwrap().keep();
    assert!(elsewhere::all().any(|stack| stack.range.size() == ByteSize::new(8)));
}
