//! The checklist for a new architecture, in `CONTRIBUTING.md`, names all that the trees have in common.
//!
//! A section whose heading names a folder of trees (`` `kernel/machine/src/arch/NAME` ``) has a table with a row for each file; the row
//! names each item of it that portable code may name, members by their last part.

use std::collections::BTreeMap;

/// The document.
pub(super) const CHECKLIST: &str = "CONTRIBUTING.md";

/// What the section about `place` does not name of these files and their items.
pub(super) fn breaches(
    text: &str,
    place: &str,
    common: &BTreeMap<String, Vec<String>>,
) -> Vec<String> {
    let heading = format!("`{place}`");
    let is_heading = |line: &&str| line.starts_with('#');
    let mut lines = text.lines().skip_while(|line| !(is_heading(line) && line.contains(&heading)));
    if lines.next().is_none() {
        return vec![format!("{CHECKLIST}: no section is about {heading}: a port needs it")];
    }
    let section: Vec<_> = lines.take_while(|line| !is_heading(line)).collect();
    let mut breaches = Vec::new();
    for (file, items) in common {
        let stem = file.strip_suffix(".rs").unwrap_or(file);
        let start = format!("| `{stem}` |");
        let Some(row) = section.iter().find(|line| line.starts_with(&start)) else {
            breaches.push(format!("{CHECKLIST}: under {heading}: no row begins with `{stem}`"));
            continue;
        };
        let named: Vec<_> = row.split('`').skip(1).step_by(2).collect();
        for item in items {
            let last = item.rsplit("::").next().unwrap_or(item);
            if !named.contains(&last) {
                breaches.push(format!(
                    "{CHECKLIST}: under {heading}: the row of `{stem}` does not name `{last}`"
                ));
            }
        }
    }
    breaches
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "## Porting\n\n### Machine: `t/arch/NAME`\n\n| file | has |\n| --- | --- |\n\
                        | `cpu` | `Cpu` with `new`; `halt` |\n\n### Next\n\n| `smp` | `stop` |\n";

    fn found(file: &str, items: &[&str]) -> Vec<String> {
        let items = items.iter().map(|item| (*item).to_owned()).collect();
        breaches(TEXT, "t/arch/NAME", &[(file.to_owned(), items)].into())
    }

    #[test]
    fn what_the_checklist_does_not_name_is_a_breach() {
        assert_eq!(found("cpu.rs", &["Cpu", "Cpu::new", "halt"]), [""; 0]);
        assert!(found("cpu.rs", &["Cpu", "stop"])[0].contains("does not name `stop`"));
        // The row of another section does not count.
        assert!(found("smp.rs", &[])[0].contains("no row begins with `smp`"));
        let elsewhere = breaches(TEXT, "t/abi/NAME.rs", &BTreeMap::new());
        assert!(elsewhere[0].contains("no section is about `t/abi/NAME.rs`"));
    }
}
