//! Page tables: four levels of 4 KiB pages, one tree for the kernel half (TTBR1) and one for each
//! user half (TTBR0).
//!
//! Translations are dropped by broadcast: one instruction reaches every CPU, so nothing here waits
//! for another CPU's answer.
//!
//! Dirty bits: where the CPU keeps them (FEAT_HAFDBS), a writable page of the kernel's starts
//! read-only with the bit that lets the CPU make it writable at the first write; writable then
//! means dirty. On other CPUs a page counts as dirty always.
//!
//! Permissions: a CPU with FEAT_S1PIE takes them from a table in two registers, [`BY_INDEX`], of
//! which four bits of a descriptor are the index: those that say the same to a CPU without. That is
//! what gives a page to a shadow stack (FEAT_GCS), for which the older bits have no word. What
//! differs is bit 7: with the table it makes a writable page clean, and a page is read-only by
//! having no [`DIRTY_BY_CPU`]. So every writable page has that bit.

use super::extras;
use super::layout::{ARENA, DEVICES_TOP, DIRECT_MAP, IMAGE};
use crate::arch::cpu;
use crate::boot_info::MemoryRegion;
use crate::memory::direct;
use crate::memory::frames::{self, Frame};
use core::arch::asm;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::arch::any::paging::in_pieces;
pub use crate::arch::any::paging::{Access, NoMemory};
use crate::arch::any::paging::{for_each_present, new_table, next_mapped};

/// Whether a CPU may remember that a page was absent. Not in its TLB. But without FEAT_ETS2 it may
/// have walked the tables for an access before it saw what tells it that the page is there now, and
/// take the fault then; only a DSB and an ISB of its own order the two (Arm ARM, D8.2.6.1). On a
/// new stack that fault would be taken for an overflow. The flush that a CPU makes before it first
/// uses a stack has both barriers.
pub const ABSENT_IS_REMEMBERED: bool = true;
/// Whether a CPU may keep dirty bits, and cache them with translations.
#[inline(always)]
pub fn dirty_is_cached() -> bool {
    cpu_keeps_dirty()
}

// Descriptors (Arm ARM, D8.3).
pub(super) const VALID: u64 = 1;
/// A table, or at the last level a page; without it, a block.
const TABLE_OR_PAGE: u64 = 1 << 1;
/// A descriptor that leads to a table.
pub(super) const TABLE: u64 = VALID | TABLE_OR_PAGE;
const DEVICE_MEMORY: u64 = 1 << 2;
pub(super) const USER: u64 = 1 << 6;
pub(super) const READ_ONLY: u64 = 1 << 7;
const INNER_SHAREABLE: u64 = 3 << 8;
const ACCESSED: u64 = 1 << 10;
const NOT_GLOBAL: u64 = 1 << 11;
/// The CPU may clear [`READ_ONLY`] at the first write.
pub(super) const DIRTY_BY_CPU: u64 = 1 << 51;
pub(super) const NO_KERNEL_EXEC: u64 = 1 << 53;
const NO_USER_EXEC: u64 = 1 << 54;
pub(super) const ADDRESS: u64 = 0x0000_ffff_ffff_f000;
const LARGE_BYTES: u64 = 2 << 20;

/// A block of the boot tables.
pub(super) const BLOCK: u64 = VALID | ACCESSED | NO_USER_EXEC | DIRTY_BY_CPU;

/// What the indexes of permissions mean (Arm ARM, D8.4.2.1): in PIR_EL1, for the kernel, and in
/// PIRE0_EL1, for programs. The index is, from its highest bit: [`NO_USER_EXEC`],
/// [`NO_KERNEL_EXEC`], [`DIRTY_BY_CPU`], [`USER`].
pub(super) const BY_INDEX: [u64; 2] = {
    const READ: u64 = 8;
    const SHADOW_STACK: u64 = 9;
    const EXECUTE: u64 = 10;
    const WRITE: u64 = 12;
    const ALL: u64 = 14;
    let kernel = [
        (0b1000, EXECUTE),
        (0b1010, ALL),
        (0b1100, READ),
        (0b1110, WRITE),
        // Programs' pages, where the kernel may touch them at all (PAN).
        (0b0101, READ),
        (0b0111, WRITE),
        (0b1101, READ),
        (0b1111, WRITE),
        (0b1011, READ),
    ];
    let user =
        [(0b0101, EXECUTE), (0b0111, ALL), (0b1101, READ), (0b1111, WRITE), (0b1011, SHADOW_STACK)];
    let (mut registers, mut i) = ([0; 2], 0);
    while i < kernel.len() {
        registers[0] |= kernel[i].1 << (4 * kernel[i].0);
        i += 1;
    }
    i = 0;
    while i < user.len() {
        registers[1] |= user[i].1 << (4 * user[i].0);
        i += 1;
    }
    registers
};
/// In TCR2_EL1: permissions come from there.
pub(super) const PERMISSIONS_BY_INDEX: u64 = 1 << 1;
/// Of ordinary memory.
pub(super) const NORMAL: u64 = INNER_SHAREABLE;
/// Of devices.
pub(super) const DEVICE: u64 = DEVICE_MEMORY | NO_KERNEL_EXEC;

/// Attribute 0: ordinary memory, write-back; attribute 1: devices, in order, one access for each.
pub(super) const MAIR: u64 = 0x00ff;
/// 48-bit halves, 4 KiB pages, tables in cached shareable memory. The size of physical addresses is
/// the CPU's.
pub(super) const TCR: u64 =
    16 | 1 << 8 | 1 << 10 | 3 << 12 | 16 << 16 | 1 << 24 | 1 << 26 | 3 << 28 | 2 << 30;
/// In ID_AA64MMFR1_EL1, lowest field: from this value on the CPU keeps dirty bits.
pub(super) const KEEPS_DIRTY: u64 = 2;
/// In TCR_EL1: it keeps accessed bits, and dirty bits. Set by the boot code where the CPU can.
pub(super) const HARDWARE_ACCESSED_AND_DIRTY: u64 = 1 << 39 | 1 << DIRTY_BIT;
/// The number of the second of them.
pub(super) const DIRTY_BIT: u32 = 40;
/// SCTLR_EL1's bits that are always one.
pub(super) const SCTLR_OFF: u64 = 1 << 11 | 1 << 20 | 1 << 22 | 1 << 28 | 1 << 29;
/// MMU, caches, checks of SP's alignment in both modes; programs may use `dc zva`, read the cache
/// type, clean caches and wait. SPAN stays clear: each exception from user mode sets PAN, where the
/// CPU has it.
pub(super) const SCTLR: u64 = SCTLR_OFF
    | 1
    | 1 << 2
    | 1 << 3
    | 1 << 4
    | 1 << 12
    | 1 << 14
    | 1 << 15
    | 1 << 16
    | 1 << 18
    | 1 << 26;

static KERNEL_HALF: AtomicU64 = AtomicU64::new(0);
static NO_USER_HALF: AtomicU64 = AtomicU64::new(0);
/// Whether all CPUs that are up keep dirty bits: 1 or 0, for the boot code too.
pub(super) static CPU_KEEPS_DIRTY: AtomicU32 = AtomicU32::new(0);
/// A CPU that does not has come, and waits for [`make_all_writable`].
pub(super) static NEEDS_WRITABLE: AtomicU32 = AtomicU32::new(0);

/// The physical address of an empty user half: for threads without a process.
#[inline(always)]
pub fn kernel_root() -> u64 {
    NO_USER_HALF.load(Ordering::Relaxed)
}

/// The physical address of the kernel half's tables.
pub(super) fn kernel_half() -> u64 {
    KERNEL_HALF.load(Ordering::Relaxed)
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
    if value & VALID != 0 {
        return Ok(value & ADDRESS);
    }
    Ok(new_table(entry, value, |table| table | TABLE)? & ADDRESS)
}

/// The leaf entry for an address, with the tables above it made if they are missing.
fn leaf(root: u64, address: u64) -> Result<&'static AtomicU64, NoMemory> {
    let level1 = next_table(entry(root, address >> 39))?;
    let level2 = next_table(entry(level1, address >> 30))?;
    let level3 = next_table(entry(level2, address >> 21))?;
    Ok(entry(level3, address >> 12))
}

/// The leaf entry for an address, if the tables above it are there.
fn find(root: u64, address: u64) -> Option<&'static AtomicU64> {
    let mut table = root;
    for shift in [39, 30, 21] {
        let value = entry(table, address >> shift).load(Ordering::Acquire);
        if value & TABLE != TABLE {
            return None;
        }
        table = value & ADDRESS;
    }
    Some(entry(table, address >> 12))
}

/// Bytes of the aligned stretch around an address of which the tables have nothing; 0: the page is
/// mapped.
fn absent_bytes(root: u64, address: u64) -> u64 {
    let mut table = root;
    for shift in [39, 30, 21] {
        let value = entry(table, address >> shift).load(Ordering::Acquire);
        if value & VALID == 0 {
            return 1 << shift;
        }
        table = value & ADDRESS;
    }
    let value = entry(table, address >> 12).load(Ordering::Acquire);
    if value & VALID == 0 { 4096 } else { 0 }
}

/// Makes what was stored to tables visible to the CPUs' walks. An entry that becomes valid needs no
/// more than that: CPUs cache no absent translations (Arm ARM, D8.16).
#[inline(always)]
pub(super) fn publish() {
    // SAFETY: (1) barriers change nothing.
    unsafe { asm!("dsb ishst", "isb", options(nostack, preserves_flags)) };
}

/// Builds the kernel's final tables. Called once, on the boot tables, with the frame allocator up.
pub fn set_up_kernel(
    regions: impl Iterator<Item = MemoryRegion>,
    image: &[(u64, u64, Access)],
) -> Result<(), NoMemory> {
    let root = frames::alloc_zeroed().ok_or(NoMemory)?.addr();
    KERNEL_HALF.store(root, Ordering::Relaxed);
    NO_USER_HALF.store(frames::alloc_zeroed().ok_or(NoMemory)?.addr(), Ordering::Relaxed);
    let keeps_dirty = cpu_does_keep_dirty() && !has_permissions_by_index();
    CPU_KEEPS_DIRTY.store(keeps_dirty.into(), Ordering::Relaxed);
    for lowest in [DIRECT_MAP, ARENA, IMAGE] {
        next_table(entry(root, lowest >> 39))?;
    }
    #[cfg(feature = "address-sanitizer")]
    {
        let shadow = kstack::sanitizer::shadow_page(kstack::addr::Addr::new(ARENA as usize));
        next_table(entry(root, shadow.get() as u64 >> 39))?;
    }
    let map_large = |physical: u64, flags: u64| -> Result<(), NoMemory> {
        let address = DIRECT_MAP + physical;
        let level1 = next_table(entry(root, address >> 39))?;
        let level2 = next_table(entry(level1, address >> 30))?;
        let flags = BLOCK | NO_KERNEL_EXEC | flags;
        entry(level2, address >> 21).store(physical | flags, Ordering::Relaxed);
        Ok(())
    };
    for physical in (0..DEVICES_TOP).step_by(LARGE_BYTES as usize) {
        map_large(physical, DEVICE_MEMORY)?;
    }
    // Memory, and nothing next to it: what is reserved is another owner's, and what is neither may
    // not be touched at all.
    for region in regions.filter(|region| region.is_ram) {
        in_pieces(region.lowest, region.top(), LARGE_BYTES, image, |physical, is_large, write| {
            if is_large {
                return map_large(physical, INNER_SHAREABLE);
            }
            let flags = TABLE | ACCESSED | INNER_SHAREABLE | NO_USER_EXEC | NO_KERNEL_EXEC;
            let flags = flags | if write { DIRTY_BY_CPU } else { READ_ONLY };
            leaf(root, DIRECT_MAP + physical)?.store(physical | flags, Ordering::Relaxed);
            Ok(())
        })?;
    }
    for &(lowest, top, access) in image {
        for address in (lowest..top).step_by(4096) {
            let read_only = if access.write { DIRTY_BY_CPU } else { READ_ONLY };
            let no_exec = if access.exec { 0 } else { NO_KERNEL_EXEC };
            let flags = TABLE | ACCESSED | INNER_SHAREABLE | NO_USER_EXEC | read_only | no_exec;
            leaf(root, address)?.store((address - IMAGE) | flags, Ordering::Relaxed);
        }
    }
    // SAFETY: (1) the boot tables are loaded; (2) the new ones map the image where it runs, and the
    // direct map; (3) what the boot tables mapped besides is not used any more after that: the
    // identity was for the first instructions.
    unsafe {
        replace_kernel_half(root, kernel_root());
        asm!("dsb ishst", "msr ttbr0_el1, {user}", "isb", "tlbi vmalle1", "dsb nsh", "isb", user = in(reg) kernel_root(),
             options(nostack, preserves_flags));
    }
    Ok(())
}

/// Whether the boot code has found that this CPU keeps dirty bits, and turned that on.
fn cpu_does_keep_dirty() -> bool {
    let control: u64;
    // SAFETY: (1) reading the register has no effect.
    unsafe { asm!("mrs {}, tcr_el1", out(reg) control, options(nomem, nostack, preserves_flags)) };
    control >> DIRTY_BIT & 1 != 0
}

/// Whether permissions come by index: the boot code turns that on where the CPU can. Pages of
/// stacks then count as dirty always: QEMU 11 marks none that was read before it was written to.
fn has_permissions_by_index() -> bool {
    let features: u64;
    // SAFETY: (1) reading an identification register has no effect.
    unsafe {
        asm!("mrs {}, S3_0_C0_C7_3", out(reg) features, options(nomem, nostack, preserves_flags));
    }
    features >> 8 & 0xf != 0
}

/// Whether all CPUs tell which pages were written to.
fn cpu_keeps_dirty() -> bool {
    CPU_KEEPS_DIRTY.load(Ordering::Relaxed) != 0
}

/// While other CPUs are started: whether one has come that keeps no dirty bits though those before
/// it do.
pub(super) fn is_asked_to_make_all_writable() -> bool {
    NEEDS_WRITABLE.load(Ordering::Acquire) != 0
}

/// Makes every page of a stack writable by each CPU, and from now on dirty always. At boot, before
/// any stack is given back: only this CPU changes entries, apart from the CPUs themselves, which
/// mark pages dirty.
pub(super) fn make_all_writable() {
    NEEDS_WRITABLE.store(0, Ordering::Relaxed);
    for_each_leaf(kernel_half(), ARENA, |leaf| {
        if leaf.load(Ordering::Relaxed) & DIRTY_BY_CPU != 0 {
            leaf.fetch_and(!READ_ONLY, Ordering::Relaxed);
        }
    });
    cpu::flush_all();
    CPU_KEEPS_DIRTY.store(0, Ordering::Release);
}

/// The leaf entries in the 512 GiB around a kernel address.
fn for_each_leaf(root: u64, address: u64, mut each: impl FnMut(&AtomicU64)) {
    let below = |at: &AtomicU64| {
        let value = at.load(Ordering::Acquire);
        let table = value & ADDRESS;
        (value & TABLE == TABLE).then(|| (0..512).map(move |index| entry(table, index)))
    };
    for level2 in below(entry(root, address >> 39)).into_iter().flatten() {
        for level3 in below(level2).into_iter().flatten() {
            below(level3).into_iter().flatten().for_each(&mut each);
        }
    }
}

/// The leaf entry of a kernel page, with the tables above it made if they are missing.
pub fn kernel_leaf_or_new(address: u64) -> Result<&'static AtomicU64, NoMemory> {
    leaf(kernel_half(), address)
}

/// Makes an absent leaf entry map a frame: writable, not executable, in all address spaces.
#[inline(always)]
pub fn set_kernel_leaf(leaf: &AtomicU64, frame: Frame) {
    let clean = if cpu_keeps_dirty() { READ_ONLY } else { 0 };
    let flags = TABLE | ACCESSED | INNER_SHAREABLE | NO_USER_EXEC | NO_KERNEL_EXEC | DIRTY_BY_CPU;
    let flags = flags | clean;
    leaf.store(frame.addr() | flags, Ordering::Release);
    publish();
}

/// Behind writes to a stack that another CPU may erase, where no switch comes in between, which
/// does the same: that this CPU has marked the pages dirty is seen by the others only behind a DSB
/// for loads and stores on this one (Arm ARM, D8.5.3, rule MKHJS).
#[inline(always)]
pub fn settle_dirty() {
    // SAFETY: (1) a barrier changes nothing.
    unsafe { asm!("dsb ish", options(nostack, preserves_flags)) };
}

/// Whether a page of a stack may have been written to since this was last asked; the caller then
/// drops the cached translation. The writer has handed the stack over since, so the bit is seen. No
/// thread runs on the stack meanwhile, so no CPU changes the entry, and a plain store does.
#[inline(always)]
pub fn take_dirty(leaf: &AtomicU64) -> bool {
    let value = leaf.load(Ordering::Relaxed);
    let dirty = value & READ_ONLY == 0;
    // Where the CPU would not make it writable again, it stays writable, and dirty.
    if dirty && cpu_keeps_dirty() {
        leaf.store(value | READ_ONLY, Ordering::Relaxed);
    }
    dirty
}

/// Whether a page of a stack may have been written to since that was last taken, as a query.
#[inline(always)]
pub fn is_dirty(leaf: &AtomicU64) -> bool {
    leaf.load(Ordering::Relaxed) & READ_ONLY == 0
}

/// The value of a leaf without the bits that the CPU changes by itself.
pub const fn without_dirty(value: u64) -> u64 {
    value | READ_ONLY
}

/// The frame that a present leaf entry maps.
#[inline(always)]
pub const fn leaf_frame(value: u64) -> Option<Frame> {
    if value & VALID != 0 { Some(Frame::at(value & ADDRESS)) } else { None }
}

/// Whether a kernel address is mapped, as a query: walks the tables, touches nothing.
pub fn kernel_is_mapped(address: u64) -> bool {
    kernel_descriptor(address).is_some()
}

/// The frame behind a page of the kernel's that is mapped as one, as a query.
pub fn kernel_frame(address: u64) -> Option<Frame> {
    leaf_frame(find(kernel_half(), address)?.load(Ordering::Acquire))
}

/// The descriptor that maps a kernel address, block or page.
fn kernel_descriptor(address: u64) -> Option<u64> {
    let mut table = kernel_half();
    for shift in [39, 30, 21] {
        let value = entry(table, address >> shift).load(Ordering::Acquire);
        if value & VALID == 0 {
            return None;
        }
        if value & TABLE_OR_PAGE == 0 {
            return Some(value);
        }
        table = value & ADDRESS;
    }
    let value = entry(table, address >> 12).load(Ordering::Acquire);
    (value & VALID != 0).then_some(value)
}

/// Whether user mode could read a kernel address. Always false, unless something is wrong.
pub fn user_can_reach(address: u64) -> bool {
    kernel_descriptor(address).is_some_and(|value| value & USER != 0)
}

/// One process's tables. Table pages are freed with it; the frames that leaves map are freed by the
/// code that mapped them.
#[derive(Debug)]
pub struct UserTables {
    root: u64,
}

/// Programs' pages are never executable for the kernel.
const fn user_bits(access: Access) -> u64 {
    USER | NOT_GLOBAL
        | NO_KERNEL_EXEC
        | (if access.write { DIRTY_BY_CPU } else { READ_ONLY })
        | (if access.exec { 0 } else { NO_USER_EXEC })
}

impl UserTables {
    /// Tables with an empty user half.
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
        let flags = TABLE | ACCESSED | INNER_SHAREABLE | user_bits(access);
        if access.exec {
            make_executable(frame);
        }
        let old = leaf.load(Ordering::Acquire);
        if old & VALID != 0 && old & ADDRESS != frame.addr() {
            // Another frame: the old translation must be gone everywhere before the new one is
            // there (Arm ARM, D8.16.1).
            leaf.store(0, Ordering::Release);
            cpu::flush_page(address);
        }
        leaf.store(frame.addr() | flags, Ordering::Release);
        publish();
        Ok(())
    }

    /// Takes a page out; the caller flushes and then owns the frame again.
    pub fn unmap(&mut self, address: u64) -> Option<Frame> {
        leaf_frame(find(self.root, address)?.swap(0, Ordering::AcqRel))
    }

    /// What is mapped at an address.
    pub fn lookup(&self, address: u64) -> Option<(Frame, Access)> {
        let value = find(self.root, address)?.load(Ordering::Acquire);
        let access = Access { write: value & READ_ONLY == 0, exec: value & NO_USER_EXEC == 0 };
        leaf_frame(value).map(|frame| (frame, access))
    }

    /// The frame of a page that is there for this use: a program's own access would not fault.
    #[inline]
    pub fn usable(&self, address: u64, write: bool) -> Option<Frame> {
        let value = find(self.root, address)?.load(Ordering::Acquire);
        // The page of a shadow stack alone has no NO_KERNEL_EXEC: it is read only.
        let (looked_at, wanted) = if write {
            (VALID | USER | NO_KERNEL_EXEC | READ_ONLY, VALID | USER | NO_KERNEL_EXEC)
        } else {
            (VALID | USER, VALID | USER)
        };
        if value & looked_at == wanted { leaf_frame(value) } else { None }
    }

    /// Changes what a mapped page may be used for, after [`UserTables::forbid`] too; the caller
    /// flushes.
    pub fn protect(&mut self, address: u64, access: Access) {
        if let Some(leaf) = find(self.root, address) {
            let value = leaf.load(Ordering::Acquire);
            if let Some(frame) = leaf_frame(value) {
                if access.exec {
                    make_executable(frame);
                }
                let kept = value & !(READ_ONLY | DIRTY_BY_CPU | NO_USER_EXEC);
                leaf.store(kept | user_bits(access), Ordering::Release);
                publish();
            }
        }
    }

    /// Maps a page of a shadow stack, or makes one that is mapped that: calls, returns and the
    /// instructions for it write it, programs read it, and nothing else. Where there are none, it
    /// is read-only. The caller flushes.
    pub fn map_shadow(&mut self, address: u64, frame: Frame) -> Result<(), NoMemory> {
        self.map(address, frame, Access { write: false, exec: false })?;
        if extras::shadow_form().is_some() {
            let leaf = leaf(self.root, address)?;
            let kept = leaf.load(Ordering::Acquire) & !(READ_ONLY | NO_KERNEL_EXEC);
            leaf.store(kept | NO_USER_EXEC | DIRTY_BY_CPU, Ordering::Release);
            publish();
        }
        Ok(())
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
            if value & VALID != 0 {
                let kept = value & !(USER | DIRTY_BY_CPU);
                leaf.store(kept | READ_ONLY | NO_USER_EXEC | NO_KERNEL_EXEC, Ordering::Release);
                publish();
            }
        }
    }
}

/// Before a page can be executed: what was written to it through the direct map is cleaned to where
/// instructions are fetched from, and old instructions are dropped.
fn make_executable(frame: Frame) {
    let page = frame.bytes_ptr() as usize;
    // SAFETY: (1) cache maintenance changes no contents; the page is in the direct map.
    unsafe {
        // CTR_EL0: the shortest data line of any cache, as a power of two words of four bytes.
        let kinds: usize;
        asm!("mrs {}, ctr_el0", out(reg) kinds, options(nomem, nostack, preserves_flags));
        let line = 4_usize << (kinds >> 16 & 0xf);
        for line in (page..page + 4096).step_by(line) {
            asm!("dc cvau, {}", in(reg) line, options(nostack, preserves_flags));
        }
        asm!("dsb ish", "ic ialluis", "dsb ish", "isb", options(nostack, preserves_flags));
    }
}

impl Drop for UserTables {
    fn drop(&mut self) {
        fn free_below(table: u64, level: u32) {
            if level < 3 {
                let value = |index| entry(table, index).load(Ordering::Relaxed);
                for_each_present(512, VALID, value, |value| {
                    free_below(value & ADDRESS, level + 1);
                });
            }
            frames::release(Frame::at(table));
        }
        free_below(self.root, 0);
    }
}

/// Drops every CPU's cached translations of user pages that may have been used.
pub fn flush_user_pages(pages: impl Iterator<Item = u64>) {
    cpu::flush_pages(pages);
}

/// Makes the tables with this root the kernel half, and drops all cached translations of both
/// halves. `empty` is the root of tables with nothing in them.
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
    // is linked at; (2) both by the caller's promise.
    unsafe {
        let replace: extern "C" fn(u64, u64) =
            core::mem::transmute(&raw const boot_replace_kernel_half);
        replace(root, empty);
    }
}
