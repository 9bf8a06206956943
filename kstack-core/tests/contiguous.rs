//! Verdicts on faults of a thread whose stack is physically contiguous: outside of the arena, and
//! without guards.

use kstack_core::addr::{Addr, AddrRange, CpuId};
use kstack_core::arena::{Arena, SlotIndex};
use kstack_core::geometry::Geometry;
use kstack_core::kind::StackKind;
use kstack_core::stacks::{StackId, ThreadId};
use kstack_core::verdict::{Cause, Consequence, Context, Delivery, Fault, Side, StackTable, judge};

const HINT: Addr = Addr::new(0xffff_c900_0000_0000);
const CPU: CpuId = CpuId::new(2);
const ELSEWHERE: AddrRange =
    AddrRange { lowest: Addr::new(0xffff_8880_0100_0000), top: Addr::new(0xffff_8880_0100_4000) };

/// No stack of the arena is live; the running thread's is elsewhere.
struct Table;

impl StackTable for Table {
    fn stack_in(&self, _: SlotIndex) -> Option<StackId> {
        None
    }

    fn running_on(&self, cpu: CpuId) -> Option<StackId> {
        let owner = ThreadId::new(7);
        let stack = StackId { kind: StackKind::Thread, cpu: None, owner, range: ELSEWHERE };
        (cpu == CPU).then_some(stack)
    }
}

/// Red if the thread is ended although memory of others is written over, or if an entry that found
/// no room on such a stack is called none of a stack's business.
#[test]
fn t3_o5_a_thread_on_a_stack_without_guards_is_ended_only_while_it_is_on_it() {
    let lowest = Arena::lowest_from(HINT, Geometry::X86_64).expect("room");
    let arena = Arena::new(lowest, 4, Geometry::X86_64).expect("valid");
    let context = Context {
        thread: ThreadId::new(7),
        kernel_lowest: Addr::new(0xffff_8000_0000_0000),
        ..Context::default()
    };
    let (lowest, top) = (ELSEWHERE.lowest.get(), ELSEWHERE.top.get());
    let judged = |delivery, address: usize, sp: usize| {
        let (address, sp, pc) = (Addr::new(address), Addr::new(sp), Addr::new(0x1000));
        let fault = Fault { delivery, address, sp, pc, cpu: CPU };
        let verdict = judge(&arena, &Table, &fault, &context)?;
        assert_eq!(verdict.stack.range, ELSEWHERE);
        Some((verdict.side, verdict.distance.get(), verdict.cause, verdict.consequence))
    };
    // An entry wanted 600 bytes, and 200 are left.
    let found = judged(Delivery::AnotherStack, lowest - 400, lowest + 200);
    let ended = Some((Side::Below, 400, Cause::GuardHit, Consequence::EndThread));
    assert_eq!(found, ended);
    assert_eq!(
        judged(Delivery::AnotherStack, lowest - 1, lowest + 1),
        Some((Side::Below, 1, Cause::GuardHit, Consequence::EndThread))
    );
    // SP is below it already.
    for sp in [lowest, lowest - 8, lowest - 0x3000] {
        let (side, _, cause, consequence) =
            judged(Delivery::AnotherStack, sp - 8, sp).expect("it left its stack");
        assert_eq!((side, cause), (Side::Below, Cause::FrameBeyondGuard));
        assert_eq!(consequence, Consequence::StopSystem, "{sp:#x}");
    }
    // Not about room: an address on it, above it, or far below.
    for address in [lowest, top + 8, lowest - 0x4001] {
        assert_eq!(judged(Delivery::AnotherStack, address, lowest + 200), None, "{address:#x}");
    }
    assert_eq!(judged(Delivery::OwnStack, lowest - 400, lowest + 200), None);
}
