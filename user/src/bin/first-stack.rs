//! Looks at the stack it was started with, as the ABI describes it; status 0 if all is as it should be. Start it with the
//! arguments `first-stack one two`.

#![no_std]
#![no_main]

use core::ffi::CStr;
use user::must;

user::entry!(main);

const AT_PHDR: usize = 3;
const AT_PHENT: usize = 4;
const AT_PAGESZ: usize = 6;
const AT_ENTRY: usize = 9;
const AT_RANDOM: usize = 25;
const AT_EXECFN: usize = 31;

/// The word at an index from SP up.
fn word(index: usize) -> usize {
    // SAFETY: (1) the kernel put at least the words that are asked for here; each is read after the one before it said so.
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
    let mut seen = [0; 40];
    while word(at) != 0 {
        if let Some(slot) = seen.get_mut(word(at)) {
            *slot = word(at + 1);
        }
        at += 2;
    }
    must!(seen[AT_PAGESZ] == 4096, "AT_PAGESZ");
    // By the ELF class.
    must!(seen[AT_PHENT] == if size_of::<usize>() == 8 { 56 } else { 32 }, "AT_PHENT");
    // The first program header of a static program of ours: a segment to load, type 1.
    must!(seen[AT_PHDR] != 0, "AT_PHDR");
    must!(seen[AT_ENTRY] == (main_entry()), "AT_ENTRY");
    must!(seen[AT_RANDOM] != 0, "AT_RANDOM");
    must!(string(seen[AT_EXECFN]).to_bytes().ends_with(b"first-stack"), "AT_EXECFN");
    0
}

fn main_entry() -> usize {
    (_start as *const ()).addr()
}
