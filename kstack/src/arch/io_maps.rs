//! The maps of I/O ports behind a PC's task state segment: which ports the running program may use.
//!
//! ```text
//!   offset from the task state segment
//!        0  the page of tables; its word at 102 says where the map starts
//!   0x1000  every port permitted: zeros                          <- Ports::All
//!   0x3000  ones: the byte behind the map above, and seven more
//!   0x3008  the map of the thread that was last given one        <- Ports::These
//!   0x5008  ones: the byte behind it, the last within the segment's limit
//!   0x5009  beyond the limit                                     <- Ports::None: the CPU reads no map, and permits no port
//!   0x5010  what the thread's map holds (`Held`)
//! ```
//!
//! The CPU reads two bytes of a map for an access that may reach into the next byte, which is why a
//! byte of ones stands behind each (Intel SDM vol. 1, 19.5.2). The level that needs no map,
//! EFLAGS.IOPL, stays 0: with it a program could disable interrupts.
//!
//! A kernel that wants none of this leaves the pages behind the tables unmapped and never calls
//! [`CpuTables::reach_io_maps`]: the limit then ends with the segment. One that does may map them
//! later, when a program first asks for a port. Until then the word at 102 lies beyond the limit,
//! and the CPU reads no map.
//!
//! What a change costs: [`Ports::None`] and [`Ports::All`] one store; [`Ports::These`] one store,
//! and the words that differ from what the CPU's map holds, by [`kstack_core::ports`].

use super::current::tables::CpuTables;
use core::mem::{offset_of, size_of};
use kstack_core::ports::{Held, NONE, Permitted, Ports, WORDS};

/// What lies behind a CPU's page of tables, if the kernel maps it.
#[derive(Debug)]
#[repr(C, align(4096))]
pub struct IoMaps {
    all: [u32; WORDS],
    behind_all: [u32; 2],
    own: [u32; WORDS],
    behind_own: [u32; 2],
    held: Held,
}

const MAPS: usize = size_of::<CpuTables>();
const ALL: usize = MAPS + offset_of!(IoMaps, all);
const OWN: usize = MAPS + offset_of!(IoMaps, own);
/// The last byte that the CPU may read: the first one of ones behind the last map.
pub(super) const LIMIT: usize = MAPS + offset_of!(IoMaps, behind_own);
const NOWHERE: usize = LIMIT + 1;

const _: () = {
    // Intel SDM vol. 1, 19.5.2: a map starts at 0xdfff or below.
    assert!(NOWHERE <= 0xdfff);
    assert!(offset_of!(IoMaps, behind_all) == size_of::<[u32; WORDS]>());
    assert!(offset_of!(IoMaps, behind_own) == offset_of!(IoMaps, own) + size_of::<[u32; WORDS]>());
};

/// The maps behind a CPU's tables.
fn maps(tables: *mut CpuTables) -> *mut IoMaps {
    // Not inside the tables: the pages behind them.
    tables.wrapping_add(1).cast()
}

impl CpuTables {
    /// Lets the segment's limit reach the maps behind these tables, and permits no port. Before the
    /// tables are loaded: a CPU keeps the limit that it has read.
    ///
    /// # Safety
    ///
    /// 1. `tables` are mapped and writable, and no CPU has them loaded.
    /// 2. The pages of an [`IoMaps`] right behind them are mapped for nothing else, ever.
    pub unsafe fn reach_io_maps(tables: *mut Self) {
        // SAFETY: (1) by the caller's promise.
        unsafe {
            Self::set_limit(tables, LIMIT as u16);
            Self::io_map_offset(tables).write_volatile(NOWHERE as u16);
        }
    }

    /// Fills the maps behind these tables, whose pages were just mapped: from now on
    /// [`CpuTables::permit_ports`] may be called.
    ///
    /// # Safety
    ///
    /// 1. The pages of an [`IoMaps`] right behind `tables` are mapped, writable, and zero; no CPU's
    ///    word leads to a map in them yet.
    pub unsafe fn fill_io_maps(tables: *mut Self) {
        let maps = maps(tables);
        // SAFETY: (1) by the caller's promise.
        unsafe {
            (&raw mut (*maps).behind_all).write([NONE; 2]);
            (&raw mut (*maps).held).write(Held::NOTHING);
            (&raw mut (*maps).own).cast::<u8>().write_bytes(NONE as u8, size_of::<[u32; WORDS]>());
            (&raw mut (*maps).behind_own).write([NONE; 2]);
        }
    }

    /// Permits ports to user mode on the CPU this runs on, until the next call. Returns whether
    /// something else was permitted before.
    ///
    /// # Safety
    ///
    /// 1. `tables` are the loaded tables of the CPU this runs on, and interrupts are off.
    /// 2. The limit reaches the maps ([`CpuTables::reach_io_maps`]); for more than [`Ports::None`],
    ///    they are filled.
    #[inline]
    pub unsafe fn permit_ports(tables: *mut Self, ports: Ports<'_>) -> bool {
        // SAFETY: (1) by the caller's promise: a word of this CPU's alone.
        let offset = unsafe { Self::io_map_offset(tables) };
        // SAFETY: (1) as above.
        let before = unsafe { offset.read_volatile() };
        let (wanted, is_loaded) = match ports {
            Ports::None => (NOWHERE, true),
            Ports::All => (ALL, true),
            // SAFETY: (1) by the caller's promise.
            Ports::These(permitted) => (OWN, unsafe { load(tables, &permitted) }),
        };
        if usize::from(before) != wanted {
            // SAFETY: (1) as above.
            unsafe { offset.write_volatile(wanted as u16) };
        }
        usize::from(before) != wanted || !is_loaded
    }
}

/// Makes this CPU's own map that of a thread; whether it was already.
///
/// # Safety
///
/// 1. As for [`CpuTables::permit_ports`], with filled maps.
unsafe fn load(tables: *mut CpuTables, permitted: &Permitted<'_>) -> bool {
    let maps = maps(tables);
    // SAFETY: (1) filled, by the caller's promise; (2) no other CPU touches them, and this one
    // reads them from user mode only.
    let (held, own) = unsafe { (&mut (*maps).held, &mut (*maps).own) };
    if held.is(permitted) {
        return true;
    }
    held.load(own, permitted);
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tables with maps behind them, as a kernel maps them.
    #[repr(C, align(4096))]
    struct Pages {
        tables: [u8; size_of::<CpuTables>()],
        maps: IoMaps,
    }

    fn pages() -> Pages {
        // SAFETY: (1) tables and maps are plain numbers, for which zero is a value.
        unsafe { core::mem::zeroed() }
    }

    /// What the CPU does for an access at a port: by the word at 102 and the limit.
    fn is_permitted(pages: &Pages, port: usize) -> bool {
        // SAFETY: (1) plain bytes.
        let bytes: &[u8; size_of::<Pages>()] = unsafe { &*core::ptr::from_ref(pages).cast() };
        let base = usize::from(u16::from_le_bytes([bytes[102], bytes[103]]));
        let at = base + port / 8;
        if at + 1 > LIMIT {
            return false;
        }
        u16::from_le_bytes([bytes[at], bytes[at + 1]]) >> (port % 8) & 1 == 0
    }

    #[test]
    fn x3_the_cpu_reads_what_was_permitted_and_nothing_beyond_the_limit() {
        let mut pages = pages();
        let tables = (&raw mut pages).cast::<CpuTables>();
        // SAFETY: (1) (2) the pages are this test's, and no CPU loads them; interrupts do not know
        // of them.
        unsafe {
            CpuTables::reach_io_maps(tables);
            assert!(!is_permitted(&pages, 0) && !is_permitted(&pages, 0xffff));
            CpuTables::fill_io_maps(tables);
            assert!(!CpuTables::permit_ports(tables, Ports::None), "that is how it begins");
            assert!(CpuTables::permit_ports(tables, Ports::All));
            assert!((0..=0xffff).all(|port| is_permitted(&pages, port)));
            let map = [NONE, !2];
            let these = Ports::These(Permitted::new(&map, 1));
            assert!(CpuTables::permit_ports(tables, these));
            assert!((0..=0xffff).all(|port| is_permitted(&pages, port) == (port == 33)));
            assert!(!CpuTables::permit_ports(tables, these), "the same again changes nothing");
            let other = Ports::These(Permitted::new(&[!1], 2));
            assert!(CpuTables::permit_ports(tables, other));
            assert!((0..=0xffff).all(|port| is_permitted(&pages, port) == (port == 0)));
            assert!(CpuTables::permit_ports(tables, Ports::None));
            assert!((0..=0xffff).all(|port| !is_permitted(&pages, port)));
        }
    }
}
