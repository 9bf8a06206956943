//! Page tables: four levels (Sv48), one kernel half shared by all address spaces.
//!
//! The CPU may remember that a page or a table was absent (privileged architecture, 12.2.1), so the
//! code that makes one present drops what this CPU remembers. Other CPUs may fault on a user page
//! that is there by now, and look again (`exceptions`). Accessed and dirty bits are set here for
//! everything but the dirty bits of stacks, which the CPU keeps itself where it can.

use crate::arch::any::flush;
use crate::arch::{cpu, sbi};
use crate::boot_info::MemoryRegion;
use crate::cpus;
use crate::memory::frames::{self, Frame};
use crate::memory::{self, direct};
use crate::spin::SpinLock;
use core::arch::asm;
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use crate::arch::any::paging::in_pieces;
pub use crate::arch::any::paging::{Access, NoMemory};
use crate::arch::any::paging::{for_each_present, new_table, next_mapped};
use kstack::interrupts::InterruptsOff;

/// Whether a CPU may remember that a page was absent.
pub const ABSENT_IS_REMEMBERED: bool = true;
/// Whether a CPU may keep dirty bits, and cache them with translations.
#[inline(always)]
pub const fn dirty_is_cached() -> bool {
    true
}

pub(super) const PRESENT: u64 = 1;
const READ: u64 = 1 << 1;
pub(super) const WRITE: u64 = 1 << 2;
pub(super) const EXEC: u64 = 1 << 3;
pub(super) const USER: u64 = 1 << 4;
const GLOBAL: u64 = 1 << 5;
const ACCESSED: u64 = 1 << 6;
/// Set by the CPU on the first write through a translation.
const DIRTY: u64 = 1 << 7;
/// A leaf has one of these; an entry without is a pointer to the next table.
pub(super) const LEAF: u64 = READ | WRITE | EXEC;
/// Bits of an entry that hold the physical address, shifted down by two.
const ADDRESS: u64 = 0x003f_ffff_ffff_fc00;
const GIB: u64 = 1 << 30;
const LARGE_BYTES: u64 = 2 << 20;

const fn entry_of(physical: u64) -> u64 {
    physical >> 2
}

pub(super) const fn address_in(entry: u64) -> u64 {
    (entry & ADDRESS) << 2
}

/// What [`take_dirty`] clears: the bit, where the CPU sets it again at the next write; nothing
/// where that is left to software (Svade). There it is set from the start, and every page of a
/// stack counts as dirty: no page fault is ever taken on a kernel stack.
static CLEARED_WHEN_TAKEN: AtomicU64 = AtomicU64::new(DIRTY);

static KERNEL_ROOT: AtomicU64 = AtomicU64::new(0);

/// The physical address of the kernel's own tables: for threads without a process.
#[inline(always)]
pub fn kernel_root() -> u64 {
    KERNEL_ROOT.load(Ordering::Relaxed)
}

/// The entry number `index` of the table at physical address `table`.
#[inline(always)]
fn entry(table: u64, index: u64) -> &'static AtomicU64 {
    // SAFETY: (1) tables are frames in the direct map; (2) an index has nine bits; (3) the CPU may
    // change accessed and dirty bits at any time, hence atomics.
    unsafe { &*direct::<AtomicU64>(table).add(index as usize & 511) }
}

/// The table below an entry, made if it is missing.
fn next_table(entry: &AtomicU64) -> Result<u64, NoMemory> {
    let value = entry.load(Ordering::Acquire);
    if value & PRESENT != 0 {
        return Ok(address_in(value));
    }
    Ok(address_in(new_table(entry, value, |table| entry_of(table) | PRESENT)?))
}

/// The leaf entry for an address, with the tables above it made if they are missing.
fn leaf(root: u64, address: u64) -> Result<&'static AtomicU64, NoMemory> {
    let level3 = next_table(entry(root, address >> 39))?;
    let level2 = next_table(entry(level3, address >> 30))?;
    let level1 = next_table(entry(level2, address >> 21))?;
    Ok(entry(level1, address >> 12))
}

/// The leaf entry for an address, if the tables above it are there.
fn find(root: u64, address: u64) -> Option<&'static AtomicU64> {
    let mut table = root;
    for shift in [39, 30, 21] {
        let value = entry(table, address >> shift).load(Ordering::Acquire);
        if value & PRESENT == 0 || value & LEAF != 0 {
            return None;
        }
        table = address_in(value);
    }
    Some(entry(table, address >> 12))
}

/// Bytes of the aligned stretch around an address of which the tables have nothing; 0: the page is
/// mapped.
fn absent_bytes(root: u64, address: u64) -> u64 {
    let mut table = root;
    for shift in [39, 30, 21] {
        let value = entry(table, address >> shift).load(Ordering::Acquire);
        if value & PRESENT == 0 {
            return 1 << shift;
        }
        table = address_in(value);
    }
    let value = entry(table, address >> 12).load(Ordering::Acquire);
    if value & PRESENT == 0 { 4096 } else { 0 }
}

/// Builds the kernel's final tables. Called once, on the boot tables, with the frame allocator up.
pub fn set_up_kernel(
    regions: impl Iterator<Item = MemoryRegion>,
    image: &[(u64, u64, Access)],
) -> Result<(), NoMemory> {
    let root = frames::alloc_zeroed().ok_or(NoMemory)?.addr();
    KERNEL_ROOT.store(root, Ordering::Relaxed);
    // Every level-4 entry that the kernel half will ever use: none is added later (see memory's
    // head).
    for lowest in [memory::DIRECT_MAP, memory::ARENA, memory::IMAGE] {
        next_table(entry(root, lowest >> 39))?;
    }
    #[cfg(feature = "address-sanitizer")]
    {
        let shadow =
            kstack::sanitizer::shadow_page(kstack::addr::Addr::new(memory::ARENA as usize));
        next_table(entry(root, shadow.get() as u64 >> 39))?;
    }
    const EVERYTHING: u64 = PRESENT | READ | WRITE | GLOBAL | ACCESSED | DIRTY;
    // Devices: the first 2 GiB. What may be cached is fixed by the address.
    for physical in [0, GIB] {
        let address = memory::DIRECT_MAP + physical;
        let level3 = next_table(entry(root, address >> 39))?;
        entry(level3, address >> 30).store(entry_of(physical) | EVERYTHING, Ordering::Relaxed);
    }
    // Memory, and nothing next to it: what is reserved is another owner's. The firmware's own
    // memory lies below the image.
    for region in regions.filter(|region| region.is_ram) {
        let lowest = region.lowest.max(super::layout::IMAGE_LOWEST);
        in_pieces(lowest, region.top(), LARGE_BYTES, image, |physical, is_large, write| {
            let address = memory::DIRECT_MAP + physical;
            let at = if is_large {
                let level3 = next_table(entry(root, address >> 39))?;
                entry(next_table(entry(level3, address >> 30))?, address >> 21)
            } else {
                leaf(root, address)?
            };
            let flags = if write { EVERYTHING } else { EVERYTHING & !WRITE };
            at.store(entry_of(physical) | flags, Ordering::Relaxed);
            Ok(())
        })?;
    }
    for &(lowest, top, access) in image {
        for address in (lowest..top).step_by(4096) {
            leaf(root, address)?.store(
                entry_of(address - memory::IMAGE) | PRESENT | GLOBAL | bits(access),
                Ordering::Relaxed,
            );
        }
    }
    // SAFETY: (1) the tables map the image where it runs, and the direct map; (2) this CPU has not
    // turned interrupts on yet.
    unsafe { cpu::load_tables(root, &InterruptsOff::assume()) };
    cpu::flush_all();
    if !this_cpu_keeps_dirty() {
        CLEARED_WHEN_TAKEN.store(0, Ordering::Relaxed);
    }
    Ok(())
}

/// Whether dirty bits are kept on the CPU this runs on as the first one decided: one that leaves
/// them to software must not run on stacks whose bits neither would set.
pub(super) fn this_cpu_will_do() -> bool {
    CLEARED_WHEN_TAKEN.load(Ordering::Relaxed) == 0 || this_cpu_keeps_dirty()
}

/// Whether the CPU this runs on sets dirty bits by itself: found out by a write, since what the
/// device tree says of Svade and Svadu leaves open what the firmware has chosen. Interrupts off,
/// the kernel's tables loaded.
fn this_cpu_keeps_dirty() -> bool {
    #[repr(C, align(4096))]
    struct Page([AtomicU8; 4096]);
    static PROBE: Page = Page([const { AtomicU8::new(0) }; 4096]);
    static ONE_AT_A_TIME: SpinLock<()> = SpinLock::new(());
    let _alone = ONE_AT_A_TIME.lock();
    // Firmware that can, does; one that cannot refuses.
    let _refused = sbi::let_cpu_keep_dirty_bits();
    let address = PROBE.0.as_ptr() as u64;
    let Some(leaf) = find(kernel_root(), address) else { return false };
    leaf.fetch_and(!DIRTY, Ordering::SeqCst);
    cpu::flush_page(address);
    let faulted: u64;
    // SAFETY: (1) the write goes to a page that nothing is in; (2) if it faults, the trap ends at
    // the label, with interrupts off as before, and what it wrote to `sepc`, `scause` and `stval`
    // is of no use at this moment; (3) `stvec` is as it was afterwards.
    unsafe {
        asm!(
            "lla {old}, 2f",
            "csrrw {old}, stvec, {old}",
            "li {faulted}, 1",
            "sb zero, 0({page})",
            "li {faulted}, 0",
            ".balign 4",
            "2:",
            "csrw stvec, {old}",
            old = out(reg) _,
            faulted = out(reg) faulted,
            page = in(reg) address,
            options(nostack),
        );
    }
    let was_set = leaf.fetch_or(DIRTY, Ordering::SeqCst) & DIRTY != 0;
    cpu::flush_page(address);
    faulted == 0 && was_set
}

const fn bits(access: Access) -> u64 {
    let mut bits = READ | ACCESSED | DIRTY;
    if access.write {
        bits |= WRITE;
    }
    if access.exec {
        bits |= EXEC;
    }
    bits
}

/// The leaf entry of a kernel page, with the tables above it made if they are missing. Another CPU
/// may remember that a table was absent, and the flush of a page, which is what it does before it
/// uses a new stack, promises nothing about tables: so it is made to forget now. One time in 32
/// slots, and once more where two CPUs want the same table at once: the one that finds it made must
/// not use it before every CPU has forgotten, and cannot tell whether the other one's flush is
/// done.
pub fn kernel_leaf_or_new(address: u64) -> Result<&'static AtomicU64, NoMemory> {
    let leaf = leaf(kernel_root(), address)?;
    cpu::flush_all();
    flush::flush_others(cpu::relax);
    Ok(leaf)
}

/// Makes an absent leaf entry map a frame: writable, not executable, in all address spaces.
#[inline(always)]
pub fn set_kernel_leaf(leaf: &AtomicU64, frame: Frame) {
    let dirty = DIRTY & !CLEARED_WHEN_TAKEN.load(Ordering::Relaxed);
    let value = entry_of(frame.addr()) | PRESENT | READ | WRITE | GLOBAL | ACCESSED | dirty;
    leaf.store(value, Ordering::Release);
    cpu::flush_all();
}

/// Behind writes to a stack that another CPU may erase, so that it sees which pages are dirty.
/// Nothing to do: the CPU orders the bit before the store it is about, for all harts (privileged
/// architecture, 12.3.1).
#[inline(always)]
pub const fn settle_dirty() {}

/// Whether a page of a stack was written to since this was last asked; the caller then drops the
/// cached translation. The writer has handed the stack over since, so the bit is seen.
#[inline(always)]
pub fn take_dirty(leaf: &AtomicU64) -> bool {
    let dirty = leaf.load(Ordering::Relaxed) & DIRTY != 0;
    if dirty {
        leaf.fetch_and(!CLEARED_WHEN_TAKEN.load(Ordering::Relaxed), Ordering::AcqRel);
    }
    dirty
}

/// Whether a page of a stack may have been written to since that was last taken, as a query.
#[inline(always)]
pub fn is_dirty(leaf: &AtomicU64) -> bool {
    leaf.load(Ordering::Relaxed) & DIRTY != 0
}

/// The value of a leaf without the bits that the CPU changes by itself.
pub const fn without_dirty(value: u64) -> u64 {
    value & !(ACCESSED | DIRTY)
}

/// The frame that a present leaf entry maps.
#[inline(always)]
pub const fn leaf_frame(value: u64) -> Option<Frame> {
    if value & PRESENT != 0 { Some(Frame::at(address_in(value))) } else { None }
}

/// Whether a kernel address is mapped, as a query: walks the tables, touches nothing.
pub fn kernel_is_mapped(address: u64) -> bool {
    let mut table = kernel_root();
    for shift in [39, 30, 21] {
        let value = entry(table, address >> shift).load(Ordering::Acquire);
        if value & PRESENT == 0 {
            return false;
        }
        if value & LEAF != 0 {
            return true;
        }
        table = address_in(value);
    }
    entry(table, address >> 12).load(Ordering::Acquire) & PRESENT != 0
}

/// The frame behind a page of the kernel's that is mapped as one, as a query.
pub fn kernel_frame(address: u64) -> Option<Frame> {
    leaf_frame(find(kernel_root(), address)?.load(Ordering::Acquire))
}

/// Whether user mode could read a kernel address. Always false, unless something is wrong.
pub fn user_can_reach(address: u64) -> bool {
    let mut table = kernel_root();
    for shift in [39, 30, 21, 12] {
        let value = entry(table, address >> shift).load(Ordering::Acquire);
        if value & PRESENT == 0 {
            return false;
        }
        if value & LEAF != 0 {
            return value & USER != 0;
        }
        table = address_in(value);
    }
    false
}

/// One process's tables. The kernel half is that of all address spaces; the user half is freed with
/// it, table pages only: the frames that leaves map are freed by the code that mapped them.
#[derive(Debug)]
pub struct UserTables {
    root: u64,
}

impl UserTables {
    /// Tables with an empty user half.
    pub fn new() -> Option<Self> {
        let root = frames::alloc_zeroed()?.addr();
        for index in 256..512 {
            entry(root, index)
                .store(entry(kernel_root(), index).load(Ordering::Relaxed), Ordering::Relaxed);
        }
        Some(Self { root })
    }

    /// The physical address to load.
    pub fn root(&self) -> u64 {
        self.root
    }

    /// Maps a page of the user half; replaces what was there.
    pub fn map(&mut self, address: u64, frame: Frame, access: Access) -> Result<(), NoMemory> {
        let value = entry_of(frame.addr()) | PRESENT | USER | bits(access);
        let had_tables = find(self.root, address).is_some();
        leaf(self.root, address)?.store(value, Ordering::Release);
        if had_tables {
            cpu::flush_page(address);
        } else {
            cpu::flush_user_half();
        }
        if access.exec {
            self.fence_instructions();
        }
        Ok(())
    }

    /// What was written to a page as data is to be executed: here, and where other threads run
    /// under these tables now. A CPU that loads them later fences by itself (`cpu::load_tables`).
    fn fence_instructions(&self) {
        // SAFETY: (1) both only order what comes before and after.
        unsafe { asm!("fence", "fence.i", options(nostack, preserves_flags)) };
        cpu::without_interrupts(|| {
            let me = cpus::this().id();
            for other in cpus::online().filter(|cpu| cpu.id() != me) {
                if other.tables_root.load(Ordering::SeqCst) as u64 == self.root {
                    sbi::fence_instructions(other.hardware_id.load(Ordering::Relaxed) as usize);
                }
            }
        });
    }

    /// Takes a page out; the caller flushes and then owns the frame again.
    pub fn unmap(&mut self, address: u64) -> Option<Frame> {
        leaf_frame(find(self.root, address)?.swap(0, Ordering::AcqRel))
    }

    /// What is mapped at an address.
    pub fn lookup(&self, address: u64) -> Option<(Frame, Access)> {
        let value = find(self.root, address)?.load(Ordering::Acquire);
        let access = Access { write: value & WRITE != 0, exec: value & EXEC != 0 };
        leaf_frame(value).map(|frame| (frame, access))
    }

    /// The frame of a page that is there for this use: a program's own access would not fault.
    #[inline]
    pub fn usable(&self, address: u64, write: bool) -> Option<Frame> {
        let value = find(self.root, address)?.load(Ordering::Acquire);
        let wanted = PRESENT | USER | READ | if write { WRITE } else { 0 };
        if value & wanted == wanted { leaf_frame(value) } else { None }
    }

    /// Changes what a mapped page may be used for, after [`UserTables::forbid`] too; the caller
    /// flushes.
    pub fn protect(&mut self, address: u64, access: Access) {
        if let Some(leaf) = find(self.root, address) {
            let value = leaf.load(Ordering::Acquire);
            if value & PRESENT != 0 {
                let kept = value & !(WRITE | EXEC);
                leaf.store(kept | USER | bits(access), Ordering::Release);
                if access.exec {
                    self.fence_instructions();
                }
            }
        }
    }

    /// Maps a page of a shadow stack. There are none: it is read-only. The caller flushes.
    pub fn map_shadow(&mut self, address: u64, frame: Frame) -> Result<(), NoMemory> {
        self.map(address, frame, Access { write: false, exec: false })
    }

    /// Makes the tables for a page, so that mapping it cannot fail.
    pub fn prepare(&mut self, address: u64) -> Result<(), NoMemory> {
        if find(self.root, address).is_none() {
            leaf(self.root, address)?;
            // As in `map`: the tables above may be remembered as absent.
            cpu::flush_user_half();
        }
        Ok(())
    }

    /// The first mapped page at or above `from` and below `top`.
    pub fn next_mapped(&self, from: u64, top: u64) -> Option<u64> {
        next_mapped(from, top, |address| absent_bytes(self.root, address))
    }

    /// Keeps a mapped page's frame and refuses every access of user mode, until
    /// [`UserTables::protect`]; the caller flushes.
    pub fn forbid(&mut self, address: u64) {
        if let Some(leaf) = find(self.root, address) {
            let value = leaf.load(Ordering::Acquire);
            if value & PRESENT != 0 {
                leaf.store(value & !(USER | WRITE | EXEC), Ordering::Release);
            }
        }
    }
}

impl Drop for UserTables {
    fn drop(&mut self) {
        fn free_below(table: u64, entries: u64, level: u32) {
            if level > 1 {
                let value = |index| entry(table, index).load(Ordering::Relaxed);
                for_each_present(entries, PRESENT, value, |value| {
                    free_below(address_in(value), 512, level - 1);
                });
            }
            frames::release(Frame::at(table));
        }
        free_below(self.root, 256, 4);
    }
}

/// Drops every CPU's cached translations of user pages that may have been used.
pub fn flush_user_pages(pages: impl Iterator<Item = u64>) {
    cpu::flush_pages(pages);
    flush::flush_others(cpu::relax);
}
