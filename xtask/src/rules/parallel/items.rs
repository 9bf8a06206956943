//! What a source file of an architecture's tree offers, in its order.
//!
//! ```text
//!   pub struct SavedRegs { … }                  SavedRegs                      outside
//!   impl SavedRegs {
//!       pub const fn pc(&self) -> Addr          SavedRegs::pc                  outside
//!       fn vector(&self) -> u8                  SavedRegs::vector
//!   }
//!   impl FrameRules for Rules { … }             FrameRules for Rules
//!   pub mod vector { pub const TIMER … }        vector, vector::TIMER          outside
//!   pub(super) fn save_all()                    save_all
//!   pub use super::acpi::find_cpus              find_cpus                      outside, anywhere in the file
//! ```
//!
//! "Outside" is what code outside of the tree may name. Macros that are not exported, blocks of assembly and unit tests are
//! nothing that a reader of another tree looks for, and are left out. An item that stands several times, for several
//! configurations, counts where it stands first.

use syn::{ImplItem, Item, Type, UseTree, Visibility};

/// One item of a file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Entry {
    /// Its name, with the names of what it stands in.
    pub(super) name: String,
    /// Who may name it.
    pub(super) seen: Seen,
    /// Where it comes from, if this file only passes it on.
    pub(super) from: Option<Vec<String>>,
    /// Whether its place among the others means anything: what is passed on and the
    /// declarations of files stand together, and a file's own numbers as the manual has them.
    pub(super) has_place: bool,
}

impl Entry {
    /// An item that stands in this file, at a place that means something.
    fn here(name: String, seen: Seen) -> Self {
        Self { name, seen, from: None, has_place: true }
    }
}

/// Who may name an item.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Seen {
    /// This file.
    Here,
    /// The other files of the tree, or all trees: `pub(super)`, `pub(in crate::arch)`.
    Inside,
    /// Portable code.
    Outside,
}

/// The items of a file, in its order; an error if it is no Rust, or passes on all of something.
pub(super) fn of(text: &str) -> Result<Vec<Entry>, String> {
    let file = syn::parse_file(text).map_err(|error| error.to_string())?;
    let mut entries = Vec::new();
    collect(&file.items, "", Seen::Outside, &mut entries)?;
    let mut names = std::collections::HashSet::new();
    entries.retain(|entry| names.insert(entry.name.clone()));
    Ok(entries)
}

/// Adds what stands in a file, or in a module within one that portable code sees as far as `limit`.
fn collect(
    items: &[Item],
    within: &str,
    limit: Seen,
    entries: &mut Vec<Entry>,
) -> Result<(), String> {
    for item in items {
        if let Some((name, vis)) = named(item).filter(|(name, _)| *name != "_") {
            let seen = narrower(seen(vis), limit);
            // A file's own numbers stand as the manual has them.
            let number = matches!(item, Item::Const(_) | Item::Static(_)) && seen == Seen::Here;
            entries
                .push(Entry { has_place: !number, ..Entry::here(format!("{within}{name}"), seen) });
            continue;
        }
        match item {
            Item::Macro(item) => {
                let exported = item.attrs.iter().any(|attr| attr.path().is_ident("macro_export"));
                if let Some(name) = item.ident.as_ref().filter(|_| exported) {
                    entries.push(Entry::here(format!("{name}!"), Seen::Outside));
                }
            }
            Item::Mod(item) => {
                let name = format!("{within}{}", item.ident);
                let seen = narrower(seen(&item.vis), limit);
                let has_place = item.content.is_some();
                if has_place && item.ident == "tests" {
                    continue;
                }
                entries.push(Entry { has_place, ..Entry::here(name.clone(), seen) });
                if let Some((_, items)) = &item.content {
                    collect(items, &format!("{name}::"), seen, entries)?;
                }
            }
            Item::Use(item) if !matches!(item.vis, Visibility::Inherited) => {
                let seen = narrower(seen(&item.vis), limit);
                passed_on(&item.tree, &mut Vec::new(), seen, entries)?;
            }
            Item::Impl(item) => members(item, within, limit, entries),
            _ => {}
        }
    }
    Ok(())
}

/// The name of an item that is just itself.
fn named(item: &Item) -> Option<(&syn::Ident, &Visibility)> {
    Some(match item {
        Item::Const(item) => (&item.ident, &item.vis),
        Item::Static(item) => (&item.ident, &item.vis),
        Item::Fn(item) => (&item.sig.ident, &item.vis),
        Item::Struct(item) => (&item.ident, &item.vis),
        Item::Enum(item) => (&item.ident, &item.vis),
        Item::Union(item) => (&item.ident, &item.vis),
        Item::Trait(item) => (&item.ident, &item.vis),
        Item::Type(item) => (&item.ident, &item.vis),
        _ => return None,
    })
}

/// Adds the members of a type, or that it implements a trait.
fn members(item: &syn::ItemImpl, within: &str, limit: Seen, entries: &mut Vec<Entry>) {
    let Some(of) = name_of(&item.self_ty) else { return };
    if let Some((path, _)) = &item.trait_ {
        let of_trait = path.segments.last().map(|last| last.ident.to_string());
        let name = format!("{within}{} for {of}", of_trait.unwrap_or_default());
        entries.push(Entry::here(name, Seen::Here));
        return;
    }
    let of = format!("{within}{of}");
    let limit = entries.iter().find(|entry| entry.name == of).map_or(limit, |entry| entry.seen);
    for member in &item.items {
        let (name, vis) = match member {
            ImplItem::Const(member) => (&member.ident, &member.vis),
            ImplItem::Fn(member) => (&member.sig.ident, &member.vis),
            _ => continue,
        };
        entries.push(Entry::here(format!("{of}::{name}"), narrower(seen(vis), limit)));
    }
}

/// Adds the names that a `pub use` gives to the reader.
fn passed_on(
    tree: &UseTree,
    path: &mut Vec<String>,
    seen: Seen,
    entries: &mut Vec<Entry>,
) -> Result<(), String> {
    let mut add = |name: String, path: &[String]| {
        let from = Some(path.to_vec());
        entries.push(Entry { name, seen, from, has_place: false });
    };
    match tree {
        UseTree::Path(part) => {
            path.push(part.ident.to_string());
            passed_on(&part.tree, path, seen, entries)?;
            path.pop();
        }
        UseTree::Group(group) => {
            for tree in &group.items {
                passed_on(tree, path, seen, entries)?;
            }
        }
        UseTree::Name(name) => {
            path.push(name.ident.to_string());
            add(name.ident.to_string(), path);
            path.pop();
        }
        UseTree::Rename(renamed) => {
            path.push(renamed.ident.to_string());
            add(renamed.rename.to_string(), path);
            path.pop();
        }
        _ => return Err(format!("`pub use {}::*`: name what is passed on", path.join("::"))),
    }
    Ok(())
}

/// The name of a type without its path and parameters.
fn name_of(of: &Type) -> Option<String> {
    match of {
        Type::Path(of) => of.path.segments.last().map(|last| last.ident.to_string()),
        Type::Reference(of) => name_of(&of.elem),
        _ => None,
    }
}

fn seen(vis: &Visibility) -> Seen {
    match vis {
        Visibility::Public(_) => Seen::Outside,
        Visibility::Restricted(within) => {
            let last = within.path.segments.last().map(|last| last.ident.to_string());
            match last.as_deref() {
                Some("self") => Seen::Here,
                Some("super" | "arch") => Seen::Inside,
                _ => Seen::Outside,
            }
        }
        _ => Seen::Here,
    }
}

fn narrower(one: Seen, other: Seen) -> Seen {
    match (one, other) {
        (Seen::Here, _) | (_, Seen::Here) => Seen::Here,
        (Seen::Inside, _) | (_, Seen::Inside) => Seen::Inside,
        _ => Seen::Outside,
    }
}
