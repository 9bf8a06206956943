//! Looks at the stack it was started with, as the ABI describes it; status 0 if all is as it should
//! be. Start it with the arguments `first-stack one two`.

#![no_std]
#![no_main]

use core::ffi::CStr;
use user::{arch, must};

user::entry!(main);

const AT_PHDR: usize = 3;
const AT_PHENT: usize = 4;
const AT_PHNUM: usize = 5;
const AT_PAGESZ: usize = 6;
const AT_BASE: usize = 7;
const AT_FLAGS: usize = 8;
const AT_ENTRY: usize = 9;
const AT_UID: usize = 11;
const AT_EUID: usize = 12;
const AT_GID: usize = 13;
const AT_EGID: usize = 14;
const AT_PLATFORM: usize = 15;
const AT_HWCAP: usize = 16;
const AT_CLKTCK: usize = 17;
const AT_SECURE: usize = 23;
const AT_RANDOM: usize = 25;
const AT_HWCAP2: usize = 26;
const AT_EXECFN: usize = 31;
const AT_SYSINFO: usize = 32;
const AT_SYSINFO_EHDR: usize = 33;

/// Bytes that AT_RANDOM leads to.
const RANDOM_BYTES: usize = 16;

/// The word at an index from SP up.
fn word(index: usize) -> usize {
    // SAFETY: (1) the kernel put at least the words that are asked for here; each is read after the
    // one before it said so.
    unsafe { user::first_stack().add(index).read() }
}

fn string(at: usize) -> &'static CStr {
    // SAFETY: (1) pointers on the first stack lead to strings with an end, by the ABI.
    unsafe { CStr::from_ptr(core::ptr::with_exposed_provenance(at)) }
}

fn main() -> i32 {
    must!(user::first_stack().addr().is_multiple_of(16), "SP is not a multiple of 16");
    must!(word(0) == 3, "argc is not 3");
    must!(string(word(1)) == c"first-stack", "argv[0]");
    must!(string(word(2)) == c"one", "argv[1]");
    must!(string(word(3)) == c"two", "argv[2]");
    must!(word(4) == 0, "argv does not end");
    let mut at = 5;
    let mut has_path = false;
    while word(at) != 0 {
        has_path |= string(word(at)).to_bytes().starts_with(b"PATH=");
        at += 1;
    }
    must!(has_path, "no PATH in the environment");
    at += 1;
    let mut seen = [None; 64];
    while word(at) != 0 {
        if let Some(slot) = seen.get_mut(word(at)) {
            must!(slot.is_none(), "an entry is there twice");
            *slot = Some(word(at + 1));
        }
        at += 2;
    }
    let ids = [AT_UID, AT_EUID, AT_GID, AT_EGID];
    must!(ids.iter().all(|&id| seen[id].is_some()), "AT_UID to AT_EGID");
    // Neither a loader's base, nor flags, nor a program with more rights than its caller.
    must!([AT_BASE, AT_FLAGS, AT_SECURE].iter().all(|&zero| seen[zero] == Some(0)), "a zero");
    must!(seen[AT_PAGESZ] == Some(4096), "AT_PAGESZ");
    must!(seen[AT_CLKTCK] == Some(100), "AT_CLKTCK");
    // By the ELF class.
    let header_bytes = if size_of::<usize>() == 8 { 56 } else { 32 };
    must!(seen[AT_PHENT] == Some(header_bytes), "AT_PHENT");
    must!(seen[AT_PHNUM].is_some_and(|headers| (1..20).contains(&headers)), "AT_PHNUM");
    must!(seen[AT_PHDR].is_some_and(|at| at != 0), "AT_PHDR");
    must!(seen[AT_ENTRY] == Some(main_entry()), "AT_ENTRY");
    let random = seen[AT_RANDOM].unwrap_or_default();
    must!(random > user::first_stack().addr(), "AT_RANDOM");
    // SAFETY: (1) sixteen bytes, by the ABI.
    let random = unsafe { core::ptr::with_exposed_provenance::<[u8; RANDOM_BYTES]>(random).read() };
    must!(random.iter().any(|&byte| byte != random[0]), "the random bytes");
    must!(seen[AT_EXECFN].is_some(), "AT_EXECFN");
    must!(
        string(seen[AT_EXECFN].unwrap_or_default()).to_bytes().ends_with(b"first-stack"),
        "the path"
    );
    let platform = seen[AT_PLATFORM].map(string);
    must!(platform == Some(arch::PLATFORM), "AT_PLATFORM");
    let hardware = arch::hardware();
    must!(seen[AT_HWCAP].is_some_and(|bits| bits & hardware == hardware), "AT_HWCAP");
    must!(seen[AT_HWCAP2].is_some(), "AT_HWCAP2");
    must!(arch::sysinfo_is_right(seen[AT_SYSINFO]), "AT_SYSINFO");
    // SAFETY: (1) what this leads to is a page that the kernel mapped for reading.
    let is_image = |at: usize| unsafe {
        core::ptr::with_exposed_provenance::<[u8; 4]>(at).read() == *b"\x7fELF"
    };
    must!(seen[AT_SYSINFO_EHDR].is_some_and(is_image), "AT_SYSINFO_EHDR");
    0
}

fn main_entry() -> usize {
    (_start as *const ()).addr()
}
