//! `cargo xtask depth`: how much of its stack the handler of overflows takes at most, by the
//! analysis of the built image ([`crate::rules::depth`]), with the way there.

use std::fmt::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use crate::arch::Arch;
use crate::build::kernel;
use crate::proof::pages;
use crate::rules::depth::{self, Bound};
use crate::setup;
use crate::variant::Variant;

/// What to analyse.
#[derive(Args)]
pub(crate) struct Options {
    /// The architecture whose kernel to analyse; all of them without this.
    #[arg(long, value_name = "NAME", value_parser = Arch::parse)]
    arch: Option<Arch>,
    /// Write the bounds into docs/figures.md.
    #[arg(long, conflicts_with = "arch")]
    page: bool,
}

/// `cargo xtask depth`
pub(crate) fn command(options: &Options) -> Result<ExitCode> {
    let mut rows = Vec::new();
    for arch in Arch::chosen(options.arch) {
        let ready = setup::ensure(arch)?;
        let kernel = kernel::build(arch, arch.board().features, Variant::Usual, &ready)?;
        for bound in depth::bounds(&kernel).with_context(|| format!("the kernel for {arch}"))? {
            println!("{arch}: {bound}");
            rows.push((arch, bound));
        }
    }
    if options.page {
        pages::write_depths(&table(&rows))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The bounds as a table for people.
fn table(rows: &[(Arch, Bound)]) -> String {
    let mut text = String::from(
        "| architecture | entry | stack | bytes | handler at most | and a failure | deepest in |\n\
         | --- | --- | --- | ---: | ---: | ---: | --- |\n",
    );
    for (arch, Bound { entry, stack, size, handler, failure, way }) in rows {
        let entry = entry.rsplit("::").next().unwrap_or(entry);
        let last = way.last().map_or("", |(_, function)| function);
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| {arch} | `{entry}` | {stack} | {size} | {handler} | {failure} | `{last}` |"
        );
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn o4_the_table_names_entry_stack_and_bounds() {
        let bound = Bound {
            entry: "a::b::double_fault".to_owned(),
            stack: "double-fault".to_owned(),
            size: 8192,
            handler: 1880,
            failure: 1028,
            way: vec![(68, "first".to_owned()), (100, "last".to_owned())],
        };
        let table = table(&[(Arch::I386, bound)]);
        let last = table.lines().last().unwrap();
        assert_eq!(last, "| i386 | `double_fault` | double-fault | 8192 | 1880 | 1028 | `last` |");
    }
}
