//! Which memory node CPUs and memory are on, by the firmware's System Resource Affinity Table (ACPI
//! 6.5, 5.2.16).
//!
//! ```text
//!   header, 12 bytes reserved, then entries: kind, length, ...
//!   kind 0, 16 bytes    a CPU by the number of its local APIC
//!   kind 1, 40 bytes    a stretch of memory
//!   kind 2, 24 bytes    a CPU by a number of 32 bits
//! ```
//!
//! Each entry has a domain, and a bit that says whether it counts.

use super::acpi::with_table;
use crate::nodes;
use acpi::AcpiTable;
use acpi::sdt::{SdtHeader, Signature};

#[repr(C, packed)]
pub(super) struct Srat {
    header: SdtHeader,
    _reserved: [u8; 12],
}

// SAFETY: (1) this is how a table of that signature begins.
unsafe impl AcpiTable for Srat {
    const SIGNATURE: Signature = Signature::SRAT;

    fn header(&self) -> &SdtHeader {
        &self.header
    }
}

/// Tells [`nodes`] what the table says; nothing if there is none.
pub(super) fn read() {
    let _no_table: Option<()> = with_table::<Srat, _>(|bytes| each_entry(bytes, tell));
}

/// Calls `each` with every entry behind the table's head, if their lengths lead to its end.
fn each_entry(bytes: &[u8], mut each: impl FnMut(&[u8])) {
    let mut rest = bytes.get(size_of::<Srat>()..).unwrap_or_default();
    while let [_, length, ..] = *rest {
        let length = usize::from(length);
        if length < 2 || length > rest.len() {
            return;
        }
        let (entry, further) = rest.split_at(length);
        each(entry);
        rest = further;
    }
}

fn tell(entry: &[u8]) {
    const COUNTS: u32 = 1;
    let number = |at: usize, bytes: usize| {
        let all = entry.get(at..at + bytes)?;
        Some(all.iter().rev().fold(0_u64, |number, &byte| number << 8 | u64::from(byte)))
    };
    let word = |at: usize| number(at, 4).map(|word| word as u32);
    let counts = |at: usize| word(at).is_some_and(|flags| flags & COUNTS != 0);
    match *entry {
        [0, 16, low, apic, ..] if counts(4) => {
            let high = number(9, 3).unwrap_or(0) as u32;
            nodes::add_cpu(apic.into(), high << 8 | u32::from(low));
        }
        [1, 40, ..] if counts(28) => {
            if let (Some(domain), Some(lowest), Some(bytes)) =
                (word(2), number(8, 8), number(16, 8))
            {
                nodes::add_memory(lowest, bytes, domain);
            }
        }
        [2, 24, ..] if counts(12) => {
            if let (Some(domain), Some(apic)) = (word(4), word(8)) {
                nodes::add_cpu(apic, domain);
            }
        }
        _ => {}
    }
}
