//! /proc/sys: what the kernel is set to.

use super::of_machine::{RELEASE, VERSION};
use super::text::{Content, made, names, text};
use crate::error::Errno;
use crate::process::host;
use core::fmt::{self, Write};
use machine::memory::fallible::Text;

/// A file: its folder, its name, its permissions, its text.
struct Setting {
    folder: &'static str,
    name: &'static str,
    permissions: u32,
    write: fn(&mut Text) -> fmt::Result,
}

const FOLDERS: [&str; 3] = ["fs", "kernel", "vm"];

macro_rules! settings {
    ($($folder:literal $name:literal $permissions:literal $write:expr;)*) => {
        const SETTINGS: &[Setting] =
            &[$(Setting { folder: $folder, name: $name, permissions: $permissions, write: $write }),*];
    };
}

settings! {
    "fs" "file-max" 0o444 |text| writeln!(text, "9223372036854775807");
    "fs" "nr_open" 0o444 |text| writeln!(text, "{}", crate::limits::MAX_FILES);
    "fs" "pipe-max-size" 0o444 |text| writeln!(text, "1048576");
    "fs" "pipe-user-pages-soft" 0o444 |text| writeln!(text, "0");
    "fs" "pipe-user-pages-hard" 0o444 |text| writeln!(text, "0");
    "kernel" "cap_last_cap" 0o444 |text| writeln!(text, "40");
    "kernel" "core_pattern" 0o444 |text| writeln!(text, "core");
    "kernel" "core_uses_pid" 0o444 |text| writeln!(text, "0");
    "kernel" "domainname" 0o644 |text| host::with(|names| writeln!(text, "{}", names.domain()));
    "kernel" "hostname" 0o644 |text| host::with(|names| writeln!(text, "{}", names.host()));
    "kernel" "ngroups_max" 0o444 |text| writeln!(text, "65536");
    "kernel" "osrelease" 0o444 |text| writeln!(text, "{RELEASE}");
    "kernel" "ostype" 0o444 |text| writeln!(text, "Linux");
    "kernel" "overflowgid" 0o444 |text| writeln!(text, "65534");
    "kernel" "overflowuid" 0o444 |text| writeln!(text, "65534");
    "kernel" "pid_max" 0o444 |text| writeln!(text, "4194304");
    "kernel" "printk" 0o444 |text| writeln!(text, "7\t4\t1\t7");
    // The stack, mappings, images and the heap lie at random places.
    "kernel" "randomize_va_space" 0o444 |text| writeln!(text, "2");
    "kernel" "threads-max" 0o444 |text| writeln!(text, "32768");
    "kernel" "version" 0o444 |text| writeln!(text, "{VERSION}");
    "vm" "max_map_count" 0o444 |text| writeln!(text, "65530");
    "vm" "mmap_min_addr" 0o444 |text| writeln!(text, "{}", crate::abi::USER_LOWEST);
    "vm" "overcommit_memory" 0o444 |text| writeln!(text, "0");
    "vm" "overcommit_ratio" 0o444 |text| writeln!(text, "50");
    "vm" "swappiness" 0o444 |text| writeln!(text, "60");
}

fn find(folder: &str, name: &str) -> Result<&'static Setting, Errno> {
    let mut all = SETTINGS.iter();
    all.find(|setting| setting.folder == folder && setting.name == name).ok_or(Errno::ENOENT)
}

/// What is at a path below /proc/sys.
pub(super) fn content(parts: &[&str]) -> Result<Content, Errno> {
    match parts {
        [] => names(&FOLDERS),
        [folder] if FOLDERS.contains(folder) => {
            let there = || SETTINGS.iter().filter(|setting| setting.folder == *folder);
            let made =
                made(|text| there().try_for_each(|setting| writeln!(text, "{}", setting.name)))?;
            Ok(Content::Names(made.into_string()))
        }
        [folder, name] => text(find(folder, name)?.write),
        _ => Err(Errno::ENOENT),
    }
}

/// Its kind and permissions.
pub(super) fn mode(parts: &[&str]) -> Result<u32, Errno> {
    match parts {
        [] => Ok(0o040555),
        [folder] if FOLDERS.contains(folder) => Ok(0o040555),
        [folder, name] => Ok(0o100000 | find(folder, name)?.permissions),
        _ => Err(Errno::ENOENT),
    }
}
