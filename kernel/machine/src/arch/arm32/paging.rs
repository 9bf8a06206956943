//! Page tables: three levels of long descriptors, a kernel half that all CPUs share and a user half
//! per process.
//!
//! ```text
//!   TTBR1  0x8000_0000  level 1, 2 entries   [0] 1 GiB of devices   [1] -> level 2 of everything else in the kernel
//!   TTBR0  0x0000_0000  level 1, 2 entries   -> level 2 -> level 3: one process
//!   level 2: 512 entries of 2 MiB     level 3: 512 entries of 4 KiB
//! ```
//!
//! Source: ARMv7-A manual, B3.6 (long-descriptor format), B4.1 (registers). The CPU keeps no dirty
//! bits: every page counts as dirty.

use crate::arch::cpu;
use crate::arch::layout::{ARENA, DIRECT_MAP, EARLY_TOP, IMAGE, RAM};
use crate::boot_info::MemoryRegion;
use crate::memory::direct;
use crate::memory::frames::{self, Frame};
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::arch::any::paging::in_pieces;
pub use crate::arch::any::paging::{Access, NoMemory};
use crate::arch::any::paging::{for_each_present, new_table, next_mapped};
use kstack::interrupts::InterruptsOff;

/// Whether a CPU may remember that a page was absent. Not in its TLB. But it may have walked the
/// tables for an access before it saw what tells it that the page is there now, and take the fault
/// then; only a DSB and an ISB of its own order the two (B3.10.1). On a new stack that fault would
/// be taken for an overflow. The flush that a CPU makes before it first uses a stack has both
/// barriers.
pub const ABSENT_IS_REMEMBERED: bool = true;
/// Whether a CPU may keep dirty bits, and cache them with translations. This one keeps none.
#[inline(always)]
pub const fn dirty_is_cached() -> bool {
    false
}

/// A descriptor of levels 1 and 2 that leads to a table; also a page, at level 3.
pub(super) const TABLE: u64 = 0b11;
/// A descriptor of levels 1 and 2 that maps.
pub(super) const BLOCK: u64 = 0b01;
pub(super) const PRESENT: u64 = 1;
pub(super) const NOT_BLOCK: u64 = 1 << 1;
/// Accessible, inner shareable, attributes 1: cached.
pub(super) const NORMAL: u64 = ACCESSED | 0b11 << 8 | 1 << 2;
/// Accessible, attributes 0: a device.
pub(super) const DEVICE: u64 = ACCESSED;
pub(super) const USER: u64 = 1 << 6;
pub(super) const READ_ONLY: u64 = 1 << 7;
const ACCESSED: u64 = 1 << 10;
const NOT_GLOBAL: u64 = 1 << 11;
pub(super) const NO_EXEC_PRIVILEGED: u64 = 1 << 53;
/// No instruction fetches, in any mode.
pub(super) const NO_EXEC: u64 = 1 << 54;
pub(super) const ADDRESS: u64 = 0x0000_00ff_ffff_f000;
const LARGE_BYTES: u64 = 2 << 20;

/// Memory attributes: 0 a device, 1 cached with write back.
pub(super) const MAIR: u32 = 0xff04;
/// Long descriptors; both bases walk cached, inner shareable; each covers half of the address
/// space.
pub(super) const TTBCR: u32 =
    1 << 31 | (1 | 1 << 8 | 1 << 10 | 0b11 << 12) | (1 | 1 << 8 | 1 << 10 | 0b11 << 12) << 16;

const _: () = assert!(DIRECT_MAP == 1 << 31 && EARLY_TOP + DIRECT_MAP == ARENA);

static KERNEL_HALF: AtomicU64 = AtomicU64::new(0);
static KERNEL_ROOT: AtomicUsize = AtomicUsize::new(0);

/// The physical address of the user half that threads without a process have: nothing in it.
#[inline(always)]
pub fn kernel_root() -> u64 {
    KERNEL_ROOT.load(Ordering::Relaxed) as u64
}

/// The physical address of the kernel half.
pub(super) fn kernel_half() -> u64 {
    KERNEL_HALF.load(Ordering::Relaxed)
}

/// How far an address is shifted for its index, from level 1 on, and how many bits the index has.
const LEVELS: [(u32, u64); 3] = [(30, 1), (21, 511), (12, 511)];

/// The entry for an address in the table of this level at physical address `table`.
#[inline(always)]
fn entry(table: u64, level: usize, address: u64) -> &'static AtomicU64 {
    let (shift, mask) = LEVELS[level];
    // SAFETY: (1) tables are frames in the direct map; (2) an index has nine bits; (3) the CPU may
    // read at any time, hence atomics.
    unsafe { &*direct::<AtomicU64>(table).add((address >> shift & mask) as usize) }
}

/// The table below an entry, made if it is missing.
fn next_table(entry: &AtomicU64) -> Result<u64, NoMemory> {
    let value = entry.load(Ordering::Acquire);
    if value & PRESENT != 0 {
        return Ok(value & ADDRESS);
    }
    Ok(new_table(entry, value, |table| table | TABLE)? & ADDRESS)
}

/// The leaf entry for an address, with the tables above it made if they are missing.
fn leaf(root: u64, address: u64) -> Result<&'static AtomicU64, NoMemory> {
    let level2 = next_table(entry(root, 0, address))?;
    let level3 = next_table(entry(level2, 1, address))?;
    Ok(entry(level3, 2, address))
}

/// The leaf entry for an address, if the tables above it are there.
fn find(root: u64, address: u64) -> Option<&'static AtomicU64> {
    let mut table = root;
    for level in 0..2 {
        let value = entry(table, level, address).load(Ordering::Acquire);
        if value & (PRESENT | NOT_BLOCK) != TABLE {
            return None;
        }
        table = value & ADDRESS;
    }
    Some(entry(table, 2, address))
}

/// Bytes of the aligned stretch around an address of which the tables have nothing; 0: the page is
/// mapped.
fn absent_bytes(root: u64, address: u64) -> u64 {
    let mut table = root;
    for (level, (shift, _)) in LEVELS.into_iter().enumerate() {
        let value = entry(table, level, address).load(Ordering::Acquire);
        if value & PRESENT == 0 {
            return 1 << shift;
        }
        table = value & ADDRESS;
    }
    0
}

/// Builds the kernel's final tables. Called once, on the boot tables, with the frame allocator up.
pub fn set_up_kernel(
    regions: impl Iterator<Item = MemoryRegion>,
    image: &[(u64, u64, Access)],
) -> Result<(), NoMemory> {
    let root = frames::alloc_zeroed().ok_or(NoMemory)?.addr();
    KERNEL_ROOT.store(frames::alloc_zeroed().ok_or(NoMemory)?.addr() as usize, Ordering::Relaxed);
    KERNEL_HALF.store(root, Ordering::Relaxed);
    // Both entries of level 1: none is added later.
    entry(root, 0, DIRECT_MAP).store(BLOCK | DEVICE | NO_EXEC, Ordering::Relaxed);
    let level2 = next_table(entry(root, 0, DIRECT_MAP + RAM))?;
    // Memory, and nothing next to it: what is reserved is another owner's, and what is neither may
    // not be touched at all.
    for region in regions.filter(|region| region.is_ram) {
        in_pieces(
            region.lowest,
            region.top().min(EARLY_TOP),
            LARGE_BYTES,
            image,
            |physical, is_large, write| {
                let address = DIRECT_MAP + physical;
                if is_large {
                    entry(level2, 1, address)
                        .store(physical | BLOCK | NORMAL | NO_EXEC, Ordering::Relaxed);
                } else {
                    let flags = TABLE | NORMAL | bits(Access { write, exec: false });
                    leaf(root, address)?.store(physical | flags, Ordering::Relaxed);
                }
                Ok(())
            },
        )?;
    }
    for &(lowest, top, access) in image {
        for address in (lowest..top).step_by(4096) {
            leaf(root, address)?
                .store((address - IMAGE) | TABLE | NORMAL | bits(access), Ordering::Relaxed);
        }
    }
    // SAFETY: (1) the boot tables are loaded; (2) the new ones map the image where it runs, and the
    // direct map; (3) nothing uses the boot tables' identity map after that; (4) this CPU has not
    // turned interrupts on yet.
    unsafe {
        replace_kernel_half(root, kernel_root());
        cpu::load_tables(kernel_root(), &InterruptsOff::assume());
    }
    cpu::flush_all();
    Ok(())
}

const fn bits(access: Access) -> u64 {
    (if access.write { 0 } else { READ_ONLY }) | (if access.exec { 0 } else { NO_EXEC })
}

/// Maps a page of the kernel half, writable, not executable, for all address spaces. It must not be
/// mapped yet.
pub(super) fn map_kernel(address: u64, frame: Frame) -> Result<(), NoMemory> {
    set_kernel_leaf(kernel_leaf_or_new(address)?, frame);
    Ok(())
}

/// The leaf entry of a kernel page, with the tables above it made if they are missing.
pub fn kernel_leaf_or_new(address: u64) -> Result<&'static AtomicU64, NoMemory> {
    leaf(kernel_half(), address)
}

/// Makes an absent leaf entry map a frame: writable, not executable, in all address spaces.
#[inline(always)]
pub fn set_kernel_leaf(leaf: &AtomicU64, frame: Frame) {
    // Absent to present needs no flush: no CPU may cache a translation that faults (B3.9.1). But it
    // must be there for the table walk of the next access.
    leaf.store(frame.addr() | TABLE | NORMAL | NO_EXEC, Ordering::Release);
    // SAFETY: (1) barriers.
    unsafe { core::arch::asm!("dsb ishst", "isb", options(nostack, preserves_flags)) };
}

/// Behind writes to a stack that another CPU may erase, so that it sees which pages are dirty.
/// Nothing to do: there are none.
#[inline(always)]
pub const fn settle_dirty() {}

/// Whether a page of a stack may have been written to since this was last asked: the CPU does not
/// say, so yes.
#[inline(always)]
pub fn take_dirty(_leaf: &AtomicU64) -> bool {
    true
}

/// Whether a page of a stack may have been written to since that was last taken: likewise.
#[inline(always)]
pub fn is_dirty(_leaf: &AtomicU64) -> bool {
    true
}

/// The value of a leaf without the bits that the CPU changes by itself: it changes none.
pub const fn without_dirty(value: u64) -> u64 {
    value
}

/// The frame that a present leaf entry maps.
#[inline(always)]
pub const fn leaf_frame(value: u64) -> Option<Frame> {
    if value & PRESENT != 0 { Some(Frame::at(value & ADDRESS)) } else { None }
}

/// Whether a kernel address is mapped, as a query: walks the tables, touches nothing.
pub fn kernel_is_mapped(address: u64) -> bool {
    walk(kernel_half(), address).is_some()
}

/// The frame behind a page of the kernel's that is mapped as one, as a query.
pub fn kernel_frame(address: u64) -> Option<Frame> {
    leaf_frame(find(kernel_half(), address)?.load(Ordering::Acquire))
}

/// Whether user mode could read a kernel address. Always false, unless something is wrong.
pub fn user_can_reach(address: u64) -> bool {
    walk(kernel_half(), address).is_some_and(|value| value & USER != 0)
}

/// The descriptor that maps an address.
fn walk(root: u64, address: u64) -> Option<u64> {
    let mut table = root;
    for level in 0..LEVELS.len() {
        let value = entry(table, level, address).load(Ordering::Acquire);
        if value & PRESENT == 0 {
            return None;
        }
        if value & NOT_BLOCK == 0 || level == LEVELS.len() - 1 {
            return Some(value);
        }
        table = value & ADDRESS;
    }
    None
}

/// One process's tables: the user half. It is freed with its table pages only: the frames that
/// leaves map are freed by the code that mapped them.
#[derive(Debug)]
pub struct UserTables {
    root: u64,
}

impl UserTables {
    /// Tables with nothing in them.
    pub fn new() -> Option<Self> {
        Some(Self { root: frames::alloc_zeroed()?.addr() })
    }

    /// The physical address to load.
    pub fn root(&self) -> u64 {
        self.root
    }

    /// Maps a page of the user half; replaces what was there.
    pub fn map(&mut self, address: u64, frame: Frame, access: Access) -> Result<(), NoMemory> {
        let leaf = leaf(self.root, address)?;
        let old = leaf.load(Ordering::Acquire);
        if old & PRESENT != 0 && old & ADDRESS != frame.addr() {
            // Another frame: the old translation must be gone everywhere before the new one is
            // there, or a CPU may use both, or see its stores out of order (B3.10.1, "Using
            // break-before-make when updating translation tables").
            leaf.store(0, Ordering::Release);
            flush_user_pages(core::iter::once(address));
        }
        if access.exec {
            cpu::sync_instructions(frame.bytes_ptr());
        }
        let value = TABLE | NORMAL | USER | NOT_GLOBAL | NO_EXEC_PRIVILEGED | bits(access);
        leaf.store(frame.addr() | value, Ordering::Release);
        // SAFETY: (1) barriers: the entry is there for the table walk of the next access.
        unsafe { core::arch::asm!("dsb ishst", "isb", options(nostack, preserves_flags)) };
        Ok(())
    }

    /// Takes a page out; the caller flushes and then owns the frame again.
    pub fn unmap(&mut self, address: u64) -> Option<Frame> {
        leaf_frame(find(self.root, address)?.swap(0, Ordering::AcqRel))
    }

    /// What is mapped at an address.
    pub fn lookup(&self, address: u64) -> Option<(Frame, Access)> {
        let value = find(self.root, address)?.load(Ordering::Acquire);
        let access = Access { write: value & READ_ONLY == 0, exec: value & NO_EXEC == 0 };
        leaf_frame(value).map(|frame| (frame, access))
    }

    /// The frame of a page that is there for this use: a program's own access would not fault.
    #[inline]
    pub fn usable(&self, address: u64, write: bool) -> Option<Frame> {
        let value = find(self.root, address)?.load(Ordering::Acquire);
        let looked_at = PRESENT | USER | if write { READ_ONLY } else { 0 };
        if value & looked_at == PRESENT | USER { leaf_frame(value) } else { None }
    }

    /// Changes what a mapped page may be used for, after [`UserTables::forbid`] too; the caller
    /// flushes.
    pub fn protect(&mut self, address: u64, access: Access) {
        if let Some(leaf) = find(self.root, address) {
            let value = leaf.load(Ordering::Acquire);
            if let Some(frame) = leaf_frame(value) {
                if access.exec {
                    cpu::sync_instructions(frame.bytes_ptr());
                }
                let kept = value & !(READ_ONLY | NO_EXEC);
                leaf.store(kept | USER | bits(access), Ordering::Release);
            }
        }
    }

    /// Maps a page of a shadow stack. There are none: it is read-only. The caller flushes.
    pub fn map_shadow(&mut self, address: u64, frame: Frame) -> Result<(), NoMemory> {
        self.map(address, frame, Access { write: false, exec: false })
    }

    /// Makes the tables for a page, so that mapping it cannot fail.
    pub fn prepare(&mut self, address: u64) -> Result<(), NoMemory> {
        leaf(self.root, address).map(|_| ())
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
                leaf.store(value & !USER | READ_ONLY | NO_EXEC, Ordering::Release);
            }
        }
    }
}

impl Drop for UserTables {
    fn drop(&mut self) {
        for gib in 0..2 {
            let level2 = entry(self.root, 0, gib << 30).load(Ordering::Relaxed);
            if level2 & PRESENT == 0 {
                continue;
            }
            let level3 =
                |large: u64| entry(level2 & ADDRESS, 1, large << 21).load(Ordering::Relaxed);
            for_each_present(512, PRESENT, level3, |level3| {
                frames::release(Frame::at(level3 & ADDRESS));
            });
            frames::release(Frame::at(level2 & ADDRESS));
        }
        frames::release(Frame::at(self.root));
    }
}

/// Drops every CPU's cached translations of user pages that may have been used.
pub fn flush_user_pages(pages: impl Iterator<Item = u64>) {
    cpu::flush_pages(pages);
    super::flush::flush_others();
}

/// Makes the tables with this root the kernel half. `empty` is the root of tables with nothing in
/// them.
///
/// # Safety
///
/// 1. The boot tables are the user half: the code runs in their identity map.
/// 2. The new tables map the kernel as the old ones do.
unsafe fn replace_kernel_half(root: u64, empty: u64) {
    unsafe extern "C" {
        static boot_replace_kernel_half: u8;
    }
    // SAFETY: (1) the function above, which keeps to the procedure call standard, at the address it
    // is linked at; (2) both by the caller's promise; (3) tables lie below 4 GiB.
    unsafe {
        let replace: extern "C" fn(u32, u32) =
            core::mem::transmute(&raw const boot_replace_kernel_half);
        replace(root as u32, empty as u32);
    }
}
