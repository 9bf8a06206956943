//! The kernel's functions by address, for backtraces that name them.
//!
//! The kernel reads the table from its image; one line per function, sorted by address:
//!
//! ```text
//!   ffffffff80012340 1c8 threads::sched::switch::switch_to [kernel/threads/src/sched/switch.rs:60]
//!   address          size (hexadecimal)           file and line of the function, where known
//! ```
//!
//! The name may contain spaces. A later line wins nothing: addresses occur once.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use object::{Object, ObjectSymbol, SymbolKind};

use crate::workspace;

/// The table of a kernel's ELF image.
pub(crate) fn table(kernel: &Path) -> Result<String> {
    let bytes = fs::read(kernel).with_context(|| format!("cannot read {}", kernel.display()))?;
    let file = object::File::parse(&*bytes)
        .with_context(|| format!("cannot read {} as ELF", kernel.display()))?;
    let lines = addr2line::Loader::new(kernel).ok();
    let mut functions = BTreeMap::new();
    for symbol in file.symbols() {
        let labelled = symbol.kind() == SymbolKind::Text || symbol.kind() == SymbolKind::Label;
        let Ok(name) = symbol.name() else { continue };
        if !labelled || !symbol.is_definition() || symbol.size() == 0 || name.is_empty() {
            continue;
        }
        let location = lines.as_ref().and_then(|lines| own_line(lines, symbol.address()));
        let line = line(symbol.address(), symbol.size(), name, location);
        functions.entry(symbol.address()).or_insert(line);
    }
    ensure!(!functions.is_empty(), "{} has no symbols", kernel.display());
    Ok(functions.into_values().collect())
}

/// Where a function begins that is at this address: its own line, although what comes first in it may have been inlined.
fn own_line(lines: &addr2line::Loader, address: u64) -> Option<(&str, u32)> {
    let mut frames = lines.find_frames(address).ok()?;
    let mut outermost = None;
    while let Ok(Some(frame)) = frames.next() {
        outermost = frame.location;
    }
    outermost.and_then(|location| Some((location.file?, location.line?)))
}

fn line(address: u64, size: u64, name: &str, location: Option<(&str, u32)>) -> String {
    let name = format!("{:#}", rustc_demangle::demangle(name));
    let mut text = format!("{address:016x} {size:x} {name}");
    if let Some((file, line)) = location {
        // Writing to a string cannot fail.
        let _ = write!(text, " [{}:{line}]", shortened(file));
    }
    text.push('\n');
    text
}

/// A source file as a reader would name it: relative to the workspace, or to the library it is from.
fn shortened(file: &str) -> &str {
    let root = workspace::root();
    if let Some(inside) = root.to_str().and_then(|root| file.strip_prefix(root)) {
        return inside.trim_start_matches('/');
    }
    // A crate from a registry: its name and version say more than where it was unpacked.
    if let Some((_, rest)) = file.split_once("/registry/src/") {
        return rest.split_once('/').map_or(rest, |(_, inside)| inside);
    }
    match file.find("/library/") {
        Some(at) => &file[at + "/library/".len()..],
        None => file,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_demangled_without_their_hash() {
        let mangled = "_ZN6kernel5sched9switch_to17h0123456789abcdefE";
        assert_eq!(
            line(
                0xffff_ffff_8001_2340,
                0x1c8,
                mangled,
                Some(("/usr/src/rustc-1.96.0/library/core/src/fmt/mod.rs", 7))
            ),
            "ffffffff80012340 1c8 kernel::sched::switch_to [core/src/fmt/mod.rs:7]\n"
        );
        assert_eq!(line(0x10, 2, "start", None), "0000000000000010 2 start\n");
    }

    #[test]
    fn files_of_the_workspace_are_relative_to_it() {
        let inside = workspace::root().join("kernel/src/main.rs");
        assert_eq!(shortened(inside.to_str().unwrap()), "kernel/src/main.rs");
        assert_eq!(shortened("kernel/src/main.rs"), "kernel/src/main.rs");
        assert_eq!(
            shortened("/c/registry/src/host-1f/talc-4.4.3/src/lib.rs"),
            "talc-4.4.3/src/lib.rs"
        );
    }

    #[test]
    fn this_program_s_own_table_is_sorted_and_names_this_function() {
        let table = table(&std::env::current_exe().unwrap()).unwrap();
        let addresses: Vec<&str> = table.lines().map(|line| &line[..16]).collect();
        assert!(addresses.is_sorted());
        assert!(table.lines().any(|line| {
            line.contains("names_this_function") && line.contains("xtask/src/build/symbols.rs:")
        }));
    }
}
