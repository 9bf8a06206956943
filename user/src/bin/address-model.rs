//! Drawn changes to a window of address space, beside a list of its pages; status 0 if both always
//! say the same.

#![no_std]
#![no_main]

use user::arch::nr;
use user::calls::{Calls, call, read_file};
use user::memory::{FIXED, NONE, PAGE, READ, WRITE, map, read, write};
use user::must;

user::entry!(main);

const ENOMEM: isize = -12;
const WINDOW: usize = 128;

/// What the window's pages may be used for, as /proc/self/maps has it, and by how many areas: 0
/// nothing is there, 1 nothing is allowed, 2 reads, 3 writes.
fn window(at: usize, pages: &mut [u8; WINDOW]) -> usize {
    let mut text = [0; 16384];
    let length = read_file(c"/proc/self/maps", &mut text).unwrap_or(0);
    let number = |digits: &[u8]| {
        let digit = |&byte: &u8| (byte as char).to_digit(16).unwrap_or(0) as usize;
        digits.iter().map(digit).fold(0, |number, digit| number << 4 | digit)
    };
    *pages = [0; WINDOW];
    let mut found = 0;
    for line in text[..length].split(|&byte| byte == b'\n') {
        let mut words = line.split(|&byte| byte == b' ');
        let (Some(range), Some(may)) = (words.next(), words.next()) else { continue };
        let mut ends = range.split(|&byte| byte == b'-').map(number);
        let (Some(lowest), Some(top)) = (ends.next(), ends.next()) else { continue };
        if lowest < at || top > at + WINDOW * PAGE {
            continue;
        }
        found += 1;
        let may = if may[1] == b'w' { 3 } else { 1 + u8::from(may[0] == b'r') };
        for page in &mut pages[(lowest - at) / PAGE..(top - at) / PAGE] {
            *page = may;
        }
    }
    found
}

/// Drawn changes to a window of address space, beside a list of its pages: after each, both say the
/// same, and neighbours that are alike are one area. What is in a page that may be read is what was
/// written there.
fn main() -> i32 {
    let Ok(calls) = Calls::read() else { return 2 };
    let mprotect = calls.number("mprotect");
    const PROTECTIONS: [usize; 3] = [NONE, READ, WRITE];
    let around = map(0, (WINDOW + 2) * PAGE, NONE, 0) as usize;
    let at = around + PAGE;
    must!(call(nr::MUNMAP, [around, (WINDOW + 2) * PAGE]) == 0, "munmap");
    let (mut pages, mut seen, mut holds) = ([0_u8; WINDOW], [0_u8; WINDOW], [0_usize; WINDOW]);
    let mut draw = user::draw::Draw::new(7);
    for step in 1..600 {
        let first = draw.below(WINDOW);
        let count = 1 + draw.below((WINDOW - first).min(1 + draw_length(step)));
        let (lowest, bytes) = (at + first * PAGE, count * PAGE);
        let range = first..first + count;
        let may = draw.below(3);
        match draw.below(4) {
            0 => {
                must!(map(lowest, bytes, PROTECTIONS[may], FIXED) as usize == lowest, "mmap");
                pages[range.clone()].fill(may as u8 + 1);
                holds[range].fill(0);
            }
            1 => {
                must!(call(nr::MUNMAP, [lowest, bytes]) == 0, "munmap of a part");
                pages[range.clone()].fill(0);
                holds[range].fill(0);
            }
            _ => {
                // Up to a hole.
                let there = pages[range].iter().take_while(|&&page| page > 0).count();
                let result = call(mprotect, [lowest, bytes, PROTECTIONS[may]]);
                must!(result == if there == count { 0 } else { ENOMEM }, "mprotect of a part");
                pages[first..first + there].fill(may as u8 + 1);
            }
        }
        let found = window(at, &mut seen);
        must!(seen == pages, "the pages are not what they should be");
        let begins = |page: usize| pages[page] > 0 && (page == 0 || pages[page - 1] != pages[page]);
        must!(found == (0..WINDOW).filter(|&page| begins(page)).count(), "too many areas");
        for page in (0..WINDOW).filter(|&page| pages[page] > 1) {
            must!(read(at + page * PAGE) == holds[page], "a page holds something else");
        }
        for page in (0..WINDOW).filter(|&page| pages[page] == 3) {
            holds[page] = step;
            write(at + page * PAGE, step);
        }
    }
    0
}

/// Long changes in a quarter of the steps.
fn draw_length(step: usize) -> usize {
    if step.is_multiple_of(4) { WINDOW } else { 6 }
}
