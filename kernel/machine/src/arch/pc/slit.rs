//! How far memory nodes are from each other, by the firmware's System Locality Information Table
//! (ACPI 6.5, 5.2.17).
//!
//! ```text
//!   header, 8 bytes how many domains, then a byte for each from each: row by row
//! ```

use super::acpi::with_table;
use crate::nodes;
use acpi::AcpiTable;
use acpi::sdt::{SdtHeader, Signature};

#[repr(C, packed)]
struct Slit {
    header: SdtHeader,
    domains: [u8; 8],
}

// SAFETY: (1) this is how a table of that signature begins.
unsafe impl AcpiTable for Slit {
    const SIGNATURE: Signature = Signature::SLIT;

    fn header(&self) -> &SdtHeader {
        &self.header
    }
}

/// Tells [`nodes`] what the table says; nothing if there is none.
pub(super) fn read() {
    let _no_table: Option<()> =
        with_table::<Slit, _>(|bytes| nodes::set_distances(|from, to| between(bytes, from, to)));
}

/// What the table says of two domains. A number below 10 is reserved, and 255 says that one cannot
/// be reached from the other: then it is asked last, as any that is far.
fn between(bytes: &[u8], from: u32, to: u32) -> Option<u8> {
    const LEAST: u8 = 10;
    let rows = bytes.get(size_of::<Slit>()..)?;
    let domains = bytes.get(size_of::<SdtHeader>()..)?.first_chunk::<8>()?;
    let domains = usize::try_from(u64::from_le_bytes(*domains)).ok()?;
    let (from, to) = (from as usize, to as usize);
    if from >= domains || to >= domains {
        return None;
    }
    let place = from.checked_mul(domains)?.checked_add(to)?;
    rows.get(place).copied().filter(|&distance| distance >= LEAST)
}
