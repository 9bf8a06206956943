//! Which CPUs there are, and where the I/O interrupt controller is, from the firmware's tables
//! (ACPI 6.5, 5.2).
//!
//! The crate `acpi` follows the pointers, 64-bit ones where there are, and checks every sum. What
//! is left to do here:
//!
//! * **Mapping.** Tables lie anywhere in physical memory, most of them in what is reserved, which
//!   the direct map leaves out. They appear in a window while they are read, uncached, and go away
//!   again. What cannot be a table (beyond the window's size, or shorter than its own header) reads
//!   as zeros instead: then no signature fits, and the table does not exist.
//! * **Lengths inside a table**, which the crate trusts.
//!
//! A machine without usable tables runs with the CPU that it started on, and says so.

use crate::arch::layout::FIRMWARE_WINDOW;
use crate::arch::pc::page_entry::{GLOBAL, NO_EXEC, PRESENT, UNCACHED};
use crate::arch::{cpu, walk};
use acpi::madt::{Madt, MadtEntry};
use acpi::rsdp::Rsdp;
use acpi::sdt::SdtHeader;
use acpi::{AcpiHandler, AcpiTable, AcpiTables, PhysicalMapping};
use core::pin::Pin;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The highest number of a local APIC that its registers in memory can name: 255 is all of them.
const HIGHEST_ID: u32 = 254;

const PAGE_BYTES: usize = 4096;
/// Pages of the window: more than all tables of a machine that the kernel asks for.
const WINDOW_PAGES: usize = 512;
/// An address that no PC has memory at: it has at most so many bits.
const MAX_PHYSICAL_BITS: u32 = 46;

/// What reads instead of what cannot be a table.
static NO_TABLE: [u64; PAGE_BYTES / 8] = [0; PAGE_BYTES / 8];
/// The root pointer's physical address, from the boot loader; 0: it gave none.
static ROOT: AtomicU64 = AtomicU64::new(0);
/// Pages of the window in use.
static USED: AtomicUsize = AtomicUsize::new(0);

/// Keeps where the boot loader says that the tables begin; 0: it does not say.
pub fn remember_root(physical: u64) {
    ROOT.store(physical, Ordering::Relaxed);
}

/// The window, as the crate asks for it. One reader at a time: the first CPU, while it starts the
/// others.
#[derive(Clone, Copy)]
struct Window;

impl AcpiHandler for Window {
    unsafe fn map_physical_region<T>(
        &self,
        physical_address: usize,
        size: usize,
    ) -> PhysicalMapping<Self, T> {
        let shown = (size >= size_of::<T>()).then(|| show(physical_address as u64, size)).flatten();
        let shown = shown.filter(|&at| size != HEADER_BYTES || is_longer_than_its_header(at));
        let (start, bytes) =
            shown.map_or((NO_TABLE.as_ptr() as usize, size_of_val(&NO_TABLE)), |at| (at, size));
        let start = NonNull::new(start as *mut T).unwrap_or(NonNull::dangling());
        // SAFETY: (1) `bytes` from `start` on are mapped: those of the window, or the zeros, which
        // are read only.
        unsafe { PhysicalMapping::new(physical_address, start, bytes, bytes, *self) }
    }

    /// The window is emptied as a whole.
    fn unmap_physical_region<T>(_region: &PhysicalMapping<Self, T>) {}
}

/// Bytes of a table's header; of the root pointer too, which has its signature where tables have
/// their length.
const HEADER_BYTES: usize = size_of::<SdtHeader>();

/// Whether a table says that it is as long as its header at least. The crate sums up what it says,
/// and of nothing the sum is right.
fn is_longer_than_its_header(at: usize) -> bool {
    // SAFETY: (1) the window shows a header there.
    let header = unsafe { (at as *const SdtHeader).read_unaligned() };
    header.length as usize >= HEADER_BYTES
}

/// Where physical memory appears in the window; nothing if it does not fit.
fn show(physical: u64, bytes: usize) -> Option<usize> {
    let offset = (physical % PAGE_BYTES as u64) as usize;
    let pages = offset.checked_add(bytes)?.div_ceil(PAGE_BYTES);
    let first = USED.load(Ordering::Relaxed);
    if physical == 0 || pages > WINDOW_PAGES - first || physical >> MAX_PHYSICAL_BITS != 0 {
        return None;
    }
    for page in 0..pages {
        let address = FIRMWARE_WINDOW + ((first + page) * PAGE_BYTES) as u64;
        let leaf = walk::kernel_leaf_or_new(address).ok()?;
        let from = physical - offset as u64 + (page * PAGE_BYTES) as u64;
        leaf.store(from | PRESENT | GLOBAL | UNCACHED | NO_EXEC, Ordering::Release);
    }
    USED.store(first + pages, Ordering::Relaxed);
    Some(FIRMWARE_WINDOW as usize + first * PAGE_BYTES + offset)
}

/// Empties the window.
fn hide_all() {
    for page in 0..USED.swap(0, Ordering::Relaxed) {
        let address = FIRMWARE_WINDOW + (page * PAGE_BYTES) as u64;
        if let Ok(leaf) = walk::kernel_leaf_or_new(address) {
            leaf.store(0, Ordering::Release);
        }
        cpu::flush_page(address);
    }
}

/// Asks the table of interrupt controllers; nothing if there is none, or a damaged one.
fn with_madt<R>(root: u64, ask: impl FnOnce(Pin<&Madt>) -> R) -> Option<R> {
    let answer = tables(root).and_then(|tables| {
        let madt = tables.find_table::<Madt>().ok()?;
        is_whole(&madt).then(|| ask(madt.get()))
    });
    hide_all();
    answer
}

/// The bytes of another table, whose sum is right; nothing if there is none.
pub(super) fn with_table<T: AcpiTable, R>(ask: impl FnOnce(&[u8]) -> R) -> Option<R> {
    let answer = tables(ROOT.load(Ordering::Relaxed)).and_then(|tables| {
        let table = tables.find_table::<T>().ok()?;
        let start = table.virtual_start().as_ptr().cast::<u8>();
        // SAFETY: (1) the window shows the whole table, until it is emptied below.
        let bytes = unsafe { core::slice::from_raw_parts(start, table.region_length()) };
        Some(ask(bytes))
    });
    hide_all();
    answer
}

/// The tables that the root pointer at a physical address leads to; 0: it has to be looked for.
fn tables(root: u64) -> Option<AcpiTables<Window>> {
    /// Bytes of the root pointer's newer form, and where its length and its two pointers are (ACPI
    /// 6.5, table 5.3).
    const ROOT_BYTES: usize = 36;
    const REVISION: usize = 15;
    const RSDT: usize = 16;
    const LENGTH: usize = 20;
    const XSDT: usize = 24;
    let root = if root == 0 {
        // SAFETY: (1) it looks into the first MiB only, through the window.
        unsafe { Rsdp::search_for_on_bios(Window) }.ok()?.physical_start() as u64
    } else {
        root
    };
    let at = show(root, ROOT_BYTES)?;
    let byte = |offset: usize| {
        // SAFETY: (1) the window shows so many bytes.
        unsafe { ((at + offset) as *const u8).read() }
    };
    let number = |from: usize, bytes: usize| {
        (0..bytes).rev().fold(0_u64, |number, place| number << 8 | u64::from(byte(from + place)))
    };
    // The crate sums up as many bytes as the pointer itself says: none, if it says so.
    if byte(REVISION) > 0 && number(LENGTH, 4) != ROOT_BYTES as u64 {
        return None;
    }
    // Without the newer table, or with one that this CPU's pointers do not reach, the older one.
    let (old, new) = (number(RSDT, 4), number(XSDT, 8));
    if byte(REVISION) > 0 && (new == 0 || usize::try_from(new).is_err()) {
        // SAFETY: (1) what the address leads to is looked at through the window, and checked.
        return unsafe { AcpiTables::from_rsdt(Window, 0, old as usize) }.ok();
    }
    // SAFETY: (1) as above.
    unsafe { AcpiTables::from_rsdp(Window, root as usize) }.ok()
}

/// Whether the entries' lengths lead exactly to the end of the table.
fn is_whole(madt: &PhysicalMapping<Window, Madt>) -> bool {
    /// The shortest entry that means anything: a kind and a length.
    const LEAST: usize = 2;
    let bytes = madt.region_length();
    let start = madt.virtual_start().as_ptr() as usize;
    let mut at = size_of::<Madt>();
    while at + LEAST <= bytes {
        // SAFETY: (1) inside the table, which the window shows.
        let length = unsafe { ((start + at + 1) as *const u8).read() };
        if usize::from(length) < LEAST {
            return false;
        }
        at += usize::from(length);
    }
    at == bytes
}

/// The local APIC numbers of the usable CPUs.
pub fn find_cpus(found: impl FnMut(u32)) {
    if !find_cpus_from(ROOT.load(Ordering::Relaxed), found) {
        log!("no usable ACPI table of CPUs: this machine runs with the one it started on");
    }
}

/// The same by the root pointer at a physical address. Returns whether there is such a table.
pub fn find_cpus_from(root: u64, mut found: impl FnMut(u32)) -> bool {
    /// In an entry's flags: the CPU can be used.
    const ENABLED: u32 = 1;
    let mut found = |id: u32, flags: u32| {
        if flags & ENABLED == 0 {
            return;
        }
        if id > HIGHEST_ID {
            log!("the CPU with APIC number {id} stays off: interrupts for it need x2APIC mode");
            return;
        }
        found(id);
    };
    with_madt(root, |madt| {
        for entry in madt.entries() {
            match entry {
                MadtEntry::LocalApic(local) => found(local.apic_id.into(), local.flags),
                MadtEntry::LocalX2Apic(local) => found(local.x2apic_id, local.flags),
                _ => {}
            }
        }
    })
    .is_some()
}

/// Where the controller is that the lines of the old ISA bus lead to; nothing if the firmware does
/// not say.
pub fn io_apic() -> Option<u64> {
    let first = |madt: Pin<&Madt>| {
        madt.entries().find_map(|entry| match entry {
            MadtEntry::IoApic(io) if io.global_system_interrupt_base == 0 => {
                Some(u64::from(io.io_apic_address))
            }
            _ => None,
        })
    };
    with_madt(ROOT.load(Ordering::Relaxed), first).flatten()
}
