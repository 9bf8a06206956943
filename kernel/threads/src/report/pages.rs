//! What the kernel has mapped, and how: /proc/kstack/pages.
//!
//! ```text
//!   0xffff888000000000 0xffff888000101000     1028 rw- direct map
//!   0xffff888000101000 0xffff8880002a0000     1660 r-- direct map of text
//!   0xffffc90000003000 0xffffc90000007000       16 rw- stacks
//!   0xffffffff80101000 0xffffffff802a0000     1660 r-x text
//! ```
//!
//! It is read from the tables that this CPU has loaded, entry by entry (`machine::arch::mappings`);
//! what is mapped alike and in a row is one line.

use core::fmt::{self, Write};
use machine::arch::mappings::{self, Mapping, PARTS, Rights};
use machine::memory::image;

/// What lies at an address: the part of the address space, and the part of the image whose frames
/// appear there once more.
type What = (&'static str, Option<&'static str>);

/// A row of pages that are mapped alike.
#[derive(Clone, Copy)]
struct Row {
    lowest: u64,
    top: u64,
    rights: Rights,
    what: What,
}

fn what(mapping: &Mapping, image: &[image::Part]) -> What {
    if let Some(part) = image.iter().find(|part| (part.lowest..part.top).contains(&mapping.lowest))
    {
        return (part.name, None);
    }
    let below = PARTS.iter().rev().find(|(lowest, _)| *lowest <= mapping.lowest);
    let read_only = image.iter().filter(|part| !part.access.write);
    let alias = read_only.into_iter().find(|part| part.has_frame(mapping.physical));
    (below.map_or("?", |(_, name)| name), alias.map(|part| part.name))
}

/// Writes it: lowest address, top, KiB, what the kernel may do (`r`, `w`, `x`, and `u` if programs
/// may), and what it is.
pub fn write(to: &mut dyn Write) -> fmt::Result {
    let image = image::parts();
    let mut row: Option<Row> = None;
    let mut outcome = Ok(());
    mappings::for_each(&mut |mapping| {
        let what = what(&mapping, &image);
        // The last page of the address space ends at its end.
        let top = mapping.lowest.wrapping_add(mapping.bytes);
        let Mapping { lowest, rights, .. } = mapping;
        match &mut row {
            Some(row) if row.top == lowest && row.rights == rights && row.what == what => {
                row.top = top;
            }
            _ => {
                if let Some(row) = row.replace(Row { lowest, top, rights, what })
                    && outcome.is_ok()
                {
                    outcome = line(to, &row);
                }
            }
        }
    });
    outcome?;
    row.map_or(Ok(()), |row| line(to, &row))
}

fn line(to: &mut dyn Write, row: &Row) -> fmt::Result {
    let Row { lowest, top, rights, what: (name, alias) } = row;
    let letter = |is: bool, letter| if is { letter } else { '-' };
    let kib = top.wrapping_sub(*lowest) >> 10;
    write!(to, "{lowest:#018x} {top:#018x} {kib:8} r")?;
    write!(to, "{}", letter(rights.access.write, 'w'))?;
    write!(to, "{}", letter(rights.access.exec, 'x'))?;
    write!(to, "{} {name}", if rights.user { "u" } else { "" })?;
    match alias {
        Some(part) => writeln!(to, " of {part}"),
        None => writeln!(to),
    }
}
