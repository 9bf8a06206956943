//! What /proc tells a program of its memory, as on Linux. Status 0 if `maps` reads the same in
//! pieces of any size, its areas can be asked for one by one, and `pagemap` has the pages.

#![no_std]
#![no_main]

use core::ffi::CStr;
use user::arch::nr;
use user::calls::{Calls, HERE, call, path, read_file, status_of};
use user::must;

user::entry!(main);

const PAGE: usize = 4096;
const EINVAL: isize = -22;
const ENOENT: isize = -2;
const ENOTTY: isize = -25;
const READ: usize = 1;
const WRITE: usize = 2;
const PRIVATE: usize = 2;
const ANONYMOUS: usize = 0x20;
/// Areas that this program makes: more text than one piece has.
const AREAS: usize = 120;

fn map(pages: usize, protection: usize) -> usize {
    let memory = [0, pages * PAGE, protection, PRIVATE | ANONYMOUS, usize::MAX, 0];
    call(nr::MMAP, memory) as usize
}

fn open(calls: &Calls, file: &CStr) -> usize {
    call(calls.number("openat"), [HERE, path(file), 0, 0]) as usize
}

fn read(file: usize, to: &mut [u8]) -> isize {
    call(nr::READ, [file, to.as_mut_ptr().addr(), to.len()])
}

/// A sum of all bytes with their places, and how many they are, read so many at a time.
fn sum(calls: &Calls, step: usize) -> (u64, usize) {
    let file = open(calls, c"/proc/self/maps");
    let mut bytes = [0; 512];
    let (mut sum, mut count) = (0_u64, 0);
    loop {
        let done = read(file, &mut bytes[..step]);
        if done <= 0 {
            call(nr::CLOSE, [file]);
            return (sum, count);
        }
        for &byte in &bytes[..done as usize] {
            count += 1;
            sum = sum.wrapping_add(u64::from(byte).wrapping_mul(count as u64));
        }
    }
}

/// The entry of a page.
fn entry(calls: &Calls, file: usize, address: usize) -> u64 {
    let at = address / PAGE * 8;
    if call(calls.number("lseek"), [file, at, 0]) < 0 {
        let mut to = 0_u64;
        call(calls.number("_llseek"), [file, 0, at, (&raw mut to).addr(), 0]);
    }
    let mut bytes = [0; 8];
    if read(file, &mut bytes) == 8 { u64::from_le_bytes(bytes) } else { u64::MAX }
}

fn touch(address: usize) {
    // SAFETY: (1) the page is this program's, and nothing else is in it.
    unsafe { core::ptr::with_exposed_provenance_mut::<u8>(address).write_volatile(1) };
}

fn pages(calls: &Calls) -> i32 {
    const PRESENT: u64 = 1 << 63;
    const ONLY_HERE: u64 = 1 << 56;
    const FRAME: u64 = (1 << 55) - 1;
    let memory = map(3, READ | WRITE);
    let file = open(calls, c"/proc/self/pagemap");
    must!(entry(calls, file, memory + PAGE) == 0, "a page that was never touched");
    touch(memory + PAGE);
    let there = entry(calls, file, memory + PAGE);
    must!(there & (PRESENT | ONLY_HERE) == PRESENT | ONLY_HERE, "a page of this program's own");
    must!(there & FRAME != 0, "the frame of a page, for root");
    must!(entry(calls, file, memory) == 0, "the page before");
    must!(read(file, &mut [0; 12]) == EINVAL, "a part of an entry");
    let child = user::fork();
    if child == 0 {
        let file = open(calls, c"/proc/self/pagemap");
        let shared = entry(calls, file, memory + PAGE);
        must!(shared & (PRESENT | ONLY_HERE) == PRESENT, "a page that two have is one's alone");
        touch(memory + PAGE);
        let own = entry(calls, file, memory + PAGE);
        must!(own & ONLY_HERE != 0 && own & FRAME != shared & FRAME, "a copy of it");
        must!(call(calls.number("setuid"), [65534]) == 0, "another user");
        let hidden = entry(calls, file, memory + PAGE);
        must!(hidden & PRESENT != 0 && hidden & FRAME == 0, "a frame, for a user");
        return 0;
    }
    must!(status_of(child) == 0, "a child's pages");
    0
}

fn areas(calls: &Calls) -> i32 {
    const QUERY: usize = 0xc068_6611;
    const OR_NEXT: u64 = 0x10;
    const WRITABLE: u64 = 2;
    let file = open(calls, c"/proc/self/maps");
    let ask = |query: &mut [u64; 13], flags: u64, at: usize| {
        query[..3].copy_from_slice(&[104, flags, at as u64]);
        call(calls.number("ioctl"), [file, QUERY, query.as_mut_ptr().addr()])
    };
    let memory = map(3, READ);
    call(nr::MUNMAP, [memory, PAGE]);
    call(nr::MUNMAP, [memory + 2 * PAGE, PAGE]);
    let middle = memory + PAGE;
    let mut query = [0; 13];
    must!(ask(&mut query, 0, middle + 5) == 0, "the area of an address");
    let expected = [middle as u64, (middle + PAGE) as u64, 1, PAGE as u64, 0, 0];
    must!(query[3..9] == expected, "what it says of an area");
    must!(ask(&mut query, 0, memory) == ENOENT, "an address of no area");
    must!(ask(&mut query, OR_NEXT, memory) == 0 && query[3] == middle as u64, "the next area");
    must!(ask(&mut query, WRITABLE, middle) == ENOENT, "one that can be written");
    must!(ask(&mut query, 0x40, middle) == EINVAL, "a flag that is none");
    let mut name = [0_u8; 64];
    query = [0; 13];
    (query[10], query[11]) = (64, name.as_mut_ptr().addr() as u64);
    must!(ask(&mut query, 0, name.as_ptr().addr()) == 0, "the area of this stack");
    must!(name.starts_with(b"[stack]\0") && query[10] as u32 == 8, "its name");
    let other = open(calls, c"/proc/self/status");
    let request = [other, QUERY, query.as_mut_ptr().addr()];
    must!(call(calls.number("ioctl"), request) == ENOTTY, "a file that knows no areas");
    0
}

/// What fdinfo says of a counter.
fn counters(calls: &Calls) -> i32 {
    const SEMAPHORE: usize = 1;
    let file = call(calls.number("eventfd2"), [0x1f, SEMAPHORE]);
    must!((3..10).contains(&file), "a counter");
    let mut name = *b"/proc/self/fdinfo/0\0";
    name[18] += file as u8;
    let mut text = [0; 256];
    let name = CStr::from_bytes_until_nul(&name).unwrap_or(c"");
    let length = read_file(name, &mut text).unwrap_or(0);
    let has = |line: &[u8]| text[..length].split(|&byte| byte == b'\n').any(|one| one == line);
    must!(has(b"eventfd-count:               1f") && has(b"eventfd-semaphore: 1"), "its lines");
    call(nr::CLOSE, [file as usize]);
    0
}

fn main() -> i32 {
    let Ok(calls) = Calls::read() else { return 3 };
    // Every second one differs, so that none are one area.
    for area in 0..AREAS {
        map(1, if area % 2 == 0 { READ } else { READ | WRITE });
    }
    let whole = sum(&calls, 512);
    must!(whole.1 > AREAS * 40, "lines of areas are missing");
    must!(sum(&calls, 1) == whole && sum(&calls, 77) == whole, "pieces do not fit together");
    for part in [counters, pages, areas] {
        let status = part(&calls);
        if status != 0 {
            return status;
        }
    }
    0
}
