//! What of the library needs no privilege: first frames, saved registers, the registry. On a host
//! with the architecture's own registers.
//!
//! Everything else runs in the kernel, and the tests in the emulated machine judge it.

#![cfg(target_arch = "x86_64")]

use core::arch::asm;
use std::sync::Mutex;

use kstack::arch::current::regs::{INTERRUPTS_ON, Rules, SavedRegs};
use kstack::arch::current::switch::SwitchFrame;
use kstack::arch::current::tables::{
    CpuTables, Ist, KERNEL_CODE, KERNEL_DATA, POISON, USER_CODE, USER_DATA, Unfit,
};
use kstack::first_frame::{Start, build, user_regs_at};
use kstack::local::CpuLocal;
use kstack::registry::{self, Registry};
use kstack_core::addr::{Addr, AddrRange, ByteSize, CpuId};
use kstack_core::arena::{Arena, SlotIndex};
use kstack_core::cache::CpuCache;
use kstack_core::erase::{DirtyPages, ErasePolicy};
use kstack_core::geometry::Geometry;
use kstack_core::meter::Watermark;
use kstack_core::pool::{Exhausted, Lock, OverLimit, Pages, Pool, PoolShared, Request};
use kstack_core::prologue::FrameState;
use kstack_core::record::{AccountId, SlotRecord};
use kstack_core::stacks::StackLookup;
use kstack_core::stacks::ThreadId;
use kstack_core::unwind::FrameRules;
use kstack_core::verdict::StackTable;

/// A page that can be a stack.
#[repr(C, align(4096))]
struct Page([u64; 512]);

impl Page {
    fn range(&mut self) -> AddrRange {
        AddrRange::sized(Addr::new(self.0.as_mut_ptr() as usize), ByteSize::new(4096))
    }
}

extern "C" fn work(_: usize) {}

/// Red if a register of the first frame is not where the switch and the first return look for it.
#[test]
fn s2_s3_a_new_stack_has_its_registers_at_the_top_and_the_switch_s_frame_below() {
    let mut page = Page([0xaa; 512]);
    let stack = page.range();
    assert_eq!(user_regs_at(stack), Addr::new(stack.top.get() - 168));
    // SAFETY: (1) the page is the test's own.
    let sp = unsafe { build(stack, Start::Kernel { function: work, argument: 77 }) };
    assert_eq!(sp, stack.top.get() - 168 - 56);
    let read = |page: &Page| {
        let words = &page.0[512 - 28..];
        // SAFETY: (1) both are plain words, and lie in the page.
        unsafe {
            (
                words.as_ptr().cast::<SwitchFrame>().read(),
                words[7..].as_ptr().cast::<SavedRegs>().read(),
            )
        }
    };
    let (frame, regs) = read(&page);
    assert_eq!(regs, SavedRegs::default());
    assert_eq!((frame.function(), frame.argument()), (work as *const () as usize, 77));
    // The mark of saved registers: where a backtrace ends.
    assert_eq!(frame.fp().get(), stack.top.get() - 168 + 1);
    let first_return = frame.return_address();
    assert!(first_return.get() > 0x1000, "{first_return}");
    assert_eq!([frame.r13, frame.r14, frame.r15], [0; 3]);
    assert_eq!(page.0[512 - 29], 0xaa, "nothing is written below");

    let program = SavedRegs {
        rip: 0x40_1000,
        rsp: 0x7fff_0000,
        cs: USER_CODE.into(),
        ..SavedRegs::default()
    };
    // SAFETY: (1) as above.
    let sp = unsafe { build(stack, Start::User(&program)) };
    assert!(stack.contains(Addr::new(sp)));
    let (frame, regs) = read(&page);
    assert_eq!(regs, program);
    assert_eq!((frame.function(), frame.argument(), frame.return_address()), (0, 0, first_return));
}

#[test]
fn i7_saved_registers_say_what_was_interrupted() {
    assert_eq!(INTERRUPTS_ON, 0x200, "the flag IF");
    let regs =
        SavedRegs { rip: 0x10, rsp: 0x20, rbp: 0x30, orig_rax: 0x40, ..SavedRegs::default() };
    assert_eq!(
        (regs.pc(), regs.sp(), regs.fp()),
        (Addr::new(0x10), Addr::new(0x20), Addr::new(0x30))
    );
    assert_eq!(regs.error_code(), 0x40);
    for (cs, user) in [(KERNEL_CODE, false), (USER_CODE, true), (1, true), (2, true), (0, false)] {
        assert_eq!(SavedRegs { cs: cs.into(), ..regs }.from_user(), user, "{cs:#x}");
    }
    for (rflags, on) in [(0, false), (0x200, true), (0x202, true), (0x102, false), (!0x200, false)]
    {
        assert_eq!(SavedRegs { rflags, ..regs }.interrupts_are_on(), on, "{rflags:#x}");
    }
}

/// Red if the unwinder takes an ordinary frame pointer for the mark, or reads another register.
#[test]
fn b2_b3_a_marked_frame_pointer_leads_to_saved_registers() {
    assert_eq!(Rules::saved_regs_at(Addr::new(0x1001)), Some(Addr::new(0x1000)));
    for fp in [0x1000, 0x1002, 0x1003, 0x1005, 0x1007, 0] {
        assert_eq!(Rules::saved_regs_at(Addr::new(fp)), None, "{fp:#x}");
    }
    let mut regs = SavedRegs { rip: 0x10, rsp: 0x20, rbp: 0x30, ..SavedRegs::default() };
    for (cs, user) in [(KERNEL_CODE, false), (USER_CODE, true), (1, true), (0, false)] {
        regs.cs = cs.into();
        let at = Addr::new(&raw const regs as usize);
        let mut read = |addr: Addr| {
            assert!(addr.bytes_above(at).get() < size_of::<SavedRegs>());
            // SAFETY: (1) a word of the registers.
            Some(unsafe { (addr.get() as *const usize).read() })
        };
        let found = Rules::read_saved_regs(at, &mut read).expect("all can be read");
        assert_eq!((found.pc, found.sp, found.fp), (regs.pc(), regs.sp(), regs.fp()));
        assert_eq!((found.link, found.from_user), (None, user), "{cs:#x}");
    }
    assert!(Rules::read_saved_regs(Addr::new(0x1000), &mut |_| None).is_none());
    let code = [0x55, 0x48, 0x89, 0xe5, 0x90, 0xc3];
    assert!(Rules::keeps_frames(&code) && !Rules::keeps_frames(&code[4..]));
    assert_eq!(Rules::frame_state(&code, 1), FrameState::OnStack(1));
    assert_eq!(Rules::frame_state(&code, 4), FrameState::There);
}

/// Intel SDM vol. 3, 6.15: which exceptions can come where no stack is sound. Red if one of them
/// has no stack of its own.
#[test]
fn i8_x1_each_exception_that_can_come_anywhere_has_its_own_stack() {
    for vector in 0..=255 {
        let expected = match vector {
            1 => Some(Ist::Debug),
            2 => Some(Ist::Nmi),
            8 => Some(Ist::DoubleFault),
            18 => Some(Ist::MachineCheck),
            _ => None,
        };
        assert_eq!(Ist::of_vector(vector), expected, "{vector}");
    }
    // The privilege level of user mode in the lowest bits; sysret wants the two beside each other.
    assert_eq!([KERNEL_CODE, KERNEL_DATA, USER_DATA, USER_CODE], [0x10, 0x18, 0x2b, 0x33]);
    let tops = [0x1000, 0x2000, 0x3000, 0x4000].map(Addr::new);
    let mut tables = CpuTables::new(Addr::new(0x10_0000), tops);
    // SAFETY: (1) the tables are the test's own, and loaded nowhere.
    let tss = unsafe {
        CpuTables::set_user_entry_stack(&raw mut tables, Addr::new(0x5000));
        CpuTables::read_tss(&raw const tables)
    };
    assert_eq!((tss.user_entry_stack(), tss.unused_stacks()), (0x5000, [POISON; 2]));
    for (ist, top) in [
        (Ist::DoubleFault, 0x1000),
        (Ist::Nmi, 0x2000),
        (Ist::Debug, 0x3000),
        (Ist::MachineCheck, 0x4000),
    ] {
        assert_eq!(tss.exception_stack(ist), top, "{ist:?}");
    }
    assert_eq!(tss.io_bitmap_offset(), 104, "past the limit: no port for user mode");
}

/// A kernel that meets one of them shows the words to the person who ports it.
#[test]
fn i8_what_the_entries_cannot_work_with_is_said_in_a_sentence_of_its_own() {
    let all = [
        Unfit::InterruptsAreOn,
        Unfit::ProgramsSetGsBase,
        Unfit::WritesIgnoreProtection,
        Unfit::BlockInLowerHalf,
        Unfit::ExceptionStack(Ist::Nmi),
        Unfit::GatesAreEmpty,
    ];
    let said: std::collections::BTreeSet<String> = all.iter().map(Unfit::to_string).collect();
    assert_eq!(said.len(), all.len());
    assert!(said.iter().all(|text| text.split(' ').count() > 5), "{said:?}");
}

/// A backing over address space that nothing reads.
struct Nothing;

impl Pages for Nothing {
    fn charge(&mut self, _: AccountId, _: ByteSize) -> Result<(), OverLimit> {
        Ok(())
    }
    fn uncharge(&mut self, _: AccountId, _: ByteSize) {}
    fn map_page(&mut self, _: Addr) -> Result<(), Exhausted> {
        Ok(())
    }
    fn unmap_pages(&mut self, _: AddrRange) {}
    fn erase(&mut self, _: AddrRange, plan: impl FnOnce(DirtyPages) -> DirtyPages) -> u32 {
        plan(DirtyPages::NONE).count()
    }
    fn flush_local(&mut self, _: AddrRange) {}
}

struct Shared(Mutex<PoolShared>);

impl Lock for Shared {
    fn with<R>(&self, f: impl FnOnce(&mut PoolShared) -> R) -> R {
        f(&mut self.0.lock().expect("no test panics inside"))
    }
}

/// Makes a block this thread's, as `load` makes it a CPU's.
fn become_cpu(local: &'static CpuLocal) {
    const SYS_ARCH_PRCTL: usize = 158;
    const ARCH_SET_GS: usize = 0x1001;
    let block = core::ptr::from_ref(local).cast_mut().cast::<u8>();
    let result: usize;
    // SAFETY: (1) a program for Linux on x86_64 uses no GS base; it is this thread's alone.
    unsafe {
        asm!("syscall", inlateout("rax") SYS_ARCH_PRCTL => result, in("rdi") ARCH_SET_GS, in("rsi") block,
            out("rcx") _, out("r11") _, options(nostack));
    }
    assert_eq!(result, 0);
    // SAFETY: (1) just done; (2) the block stays, and this process is the CPU.
    unsafe { local.is_loaded() };
}

/// Red if an address of a guard, of a stack that is gone, or beyond what is mapped names a stack,
/// or one of a stack does not.
#[test]
fn n9_b1_the_registry_names_every_live_stack_and_nothing_else() {
    let lowest = Arena::lowest_from(Addr::new(0x1000_0000), Geometry::X86_64).expect("room");
    let arena = Arena::new(lowest, 4, Geometry::X86_64).expect("the arena is valid");
    let records: Vec<SlotRecord> = (0..4).map(|_| SlotRecord::new()).collect();
    let (pool, shared) =
        Pool::new(arena, records.leak(), ErasePolicy::default()).expect("a record each");
    let (shared, mut cache) = (Shared(Mutex::new(shared)), CpuCache::new(CpuId::new(0)));
    let request = |owner: u64, pages| {
        let mut request = Request::thread(ThreadId::new(owner));
        request.pages = pages;
        request
    };
    let mut acquire = |owner, pages| {
        pool.acquire(&request(owner, pages), &mut cache, &shared, &mut Nothing)
            .expect("there is room")
    };
    let (whole, part, gone) = (acquire(7, None), acquire(8, Some(1)), acquire(9, None));
    pool.release(gone, &mut cache, &shared, &mut Nothing);

    assert!(registry::get().is_none());
    // SAFETY: (1) to (4) nothing reads the memory of these stacks.
    let installed: &'static Registry = Box::leak(Box::new(unsafe { Registry::new(pool) }));
    registry::install(installed);
    let found = registry::get().expect("it was installed");
    assert!(core::ptr::eq(found, installed));
    assert_eq!(found.arena().slots(), 4);
    assert_eq!(found.record(whole.slot()).owner(), ThreadId::new(7));
    let live: Vec<(SlotIndex, u64)> =
        found.live().map(|(slot, stack)| (slot, stack.owner.get())).collect();
    assert_eq!(live, [(whole.slot(), 7), (part.slot(), 8)]);

    let body = arena.body(whole.slot());
    let owner_at = |addr: usize| found.stack_at(Addr::new(addr)).map(|stack| stack.owner.get());
    assert_eq!(owner_at(body.lowest.get()), Some(7));
    assert_eq!(owner_at(body.top.get() - 1), Some(7));
    assert_eq!(owner_at(body.top.get()), None);
    assert_eq!(owner_at(body.lowest.get() - 1), None);
    let top = arena.body(part.slot()).top.get();
    assert_eq!(
        (owner_at(top - 1), owner_at(top - 4096), owner_at(top - 4097)),
        (Some(8), Some(8), None)
    );
    assert_eq!(owner_at(arena.body(SlotIndex::new(2)).lowest.get()), None);
    assert_eq!(owner_at(0), None);
    assert_eq!(found.stack_in(whole.slot()).map(|stack| stack.owner.get()), Some(7));
    assert_eq!(found.stack_in(SlotIndex::new(2)), None);

    // The stack that the running thread has, by the block of its CPU.
    let local: &'static CpuLocal = Box::leak(Box::new(CpuLocal::new(CpuId::new(0))));
    let watermark: &'static Watermark = Box::leak(Box::new(Watermark::new()));
    become_cpu(local);
    assert_eq!(found.running_on(CpuId::new(0)), None);
    // SAFETY: (1) the block is this thread's; (2) (3) nothing is entered, and nothing made of the
    // number.
    unsafe { local.set_thread(7, body, watermark, 0x5a5a) };
    assert_eq!(found.running_on(CpuId::new(0)).map(|stack| stack.owner.get()), Some(7));
    // SAFETY: (1) the block is this thread's.
    assert_eq!(unsafe { CpuLocal::current_thread() }, 7);
}
