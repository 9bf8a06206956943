//! The firmware's tables of PCs, made up: pointers of 64 bits, both kinds of CPU entries, and every
//! kind of damage.

use crate::tests::{Outcome, check};
use alloc::vec::Vec;
use machine::arch::layout::FIRMWARE_WINDOW;
use machine::arch::paging;
use machine::arch::smp::find_cpus_from;
use machine::memory::frames::{self, FRAME_BYTES, Frame};

/// Where the tables lie in their page, and their bytes.
const ROOT: (usize, usize) = (0, 36);
const XSDT: (usize, usize) = (64, 44);
const MADT: (usize, usize) = (256, 44 + 8 + 8 + 16 + 16 + 12);
/// Where a table's length and sum are.
const LENGTH: usize = 4;
const SUM: usize = 9;

/// A page with tables in it.
struct Firmware(Frame);

impl Firmware {
    fn put(&self, at: usize, bytes: &[u8]) {
        assert!(at + bytes.len() <= FRAME_BYTES as usize);
        // SAFETY: (1) a frame of our own, in the direct map; (2) inside of it.
        unsafe {
            core::ptr::copy_nonoverlapping(bytes.as_ptr(), self.0.bytes_ptr().add(at), bytes.len());
        }
    }

    fn byte(&self, at: usize) -> u8 {
        // SAFETY: (1) as above.
        unsafe { self.0.bytes_ptr().add(at).read() }
    }

    /// Makes the bytes of a stretch add up to nothing, by one of them.
    fn sum_up(&self, (at, bytes): (usize, usize), place: usize) {
        self.put(at + place, &[0]);
        let sum = (at..at + bytes).fold(0_u8, |sum, at| sum.wrapping_add(self.byte(at)));
        self.put(at + place, &[sum.wrapping_neg()]);
    }

    fn table(&self, place: (usize, usize), name: &[u8; 4], body: &[u8]) {
        let (at, bytes) = place;
        self.put(at, name);
        self.put(at + LENGTH, &(bytes as u32).to_le_bytes());
        self.put(at + 36, body);
        self.sum_up(place, SUM);
    }

    fn make(&self) {
        let here = self.0.addr();
        self.0.zero();
        self.put(ROOT.0, b"RSD PTR ");
        self.put(15, &[2]);
        self.put(20, &(ROOT.1 as u32).to_le_bytes());
        self.put(24, &(here + XSDT.0 as u64).to_le_bytes());
        self.sum_up((0, 20), 8);
        self.sum_up(ROOT, 32);
        self.table(XSDT, b"XSDT", &(here + MADT.0 as u64).to_le_bytes());
        let mut body = Vec::new();
        body.extend_from_slice(&0xfee0_0000_u32.to_le_bytes());
        body.extend_from_slice(&[1, 0, 0, 0]);
        body.extend_from_slice(&[0, 8, 0, 5, 1, 0, 0, 0]);
        body.extend_from_slice(&[0, 8, 1, 6, 0, 0, 0, 0]);
        body.extend_from_slice(&[9, 16, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0]);
        body.extend_from_slice(&[9, 16, 0, 0, 0x34, 0x12, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0]);
        body.extend_from_slice(&[1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0]);
        self.table(MADT, b"APIC", &body);
    }

    /// The CPUs that the kernel finds; nothing if it finds no table.
    fn cpus(&self) -> Option<Vec<u32>> {
        let mut found = Vec::new();
        find_cpus_from(self.0.addr(), |id| found.push(id)).then_some(found)
    }
}

/// Tables that a 64-bit pointer leads to are read, CPUs of both kinds of entries found, and those
/// that are off or out of reach left. A table with a wrong sum, a wrong length or entries that lead
/// nowhere does not exist. Nothing of them stays mapped.
pub fn m1_firmware_tables_are_followed_by_wide_pointers_and_believed_only_whole() -> Outcome {
    let firmware = Firmware(frames::alloc().ok_or("no frame")?);
    let outcome = try_all(&firmware);
    frames::release(firmware.0);
    outcome
}

fn try_all(firmware: &Firmware) -> Outcome {
    firmware.make();
    check!(firmware.cpus() == Some([5, 7].into()), "found {:?}", firmware.cpus());
    let is_mapped = paging::kernel_is_mapped(FIRMWARE_WINDOW);
    check!(!is_mapped, "the window is still open");
    for (at, bytes) in [ROOT, XSDT, MADT] {
        // What follows a wrong length is not ours: lengths are tried one by one, below.
        let lengths = if at == ROOT.0 { 20..24 } else { at + LENGTH..at + LENGTH + 4 };
        for place in (at..at + bytes).filter(|place| !lengths.contains(place)) {
            firmware.put(place, &[firmware.byte(place) ^ 0x10]);
            check!(firmware.cpus().is_none(), "byte {place} is wrong, and the tables are believed");
            firmware.put(place, &[firmware.byte(place) ^ 0x10]);
        }
    }
    for (place, sum) in [(20, None), (XSDT.0 + LENGTH, Some(XSDT)), (MADT.0 + LENGTH, Some(MADT))] {
        for length in [0_u32, 1, 35, 37, 1 << 30, u32::MAX] {
            firmware.put(place, &length.to_le_bytes());
            if let Some((at, bytes)) = sum {
                firmware.sum_up((at, (length as usize).clamp(SUM + 1, bytes)), SUM);
            }
            check!(firmware.cpus().is_none(), "length {length} at {place} is believed");
        }
        firmware.make();
    }
    // Entries without a length, and one that goes beyond the end, with a right sum.
    for length in [0, 1, 13] {
        firmware.put(MADT.0 + MADT.1 - 12 + 1, &[length]);
        firmware.sum_up(MADT, SUM);
        check!(firmware.cpus().is_none(), "an entry of {length} bytes is believed");
    }
    firmware.make();
    check!(firmware.cpus().is_some(), "tables that were mended are not believed");
    Ok(())
}
