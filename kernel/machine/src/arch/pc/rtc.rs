//! The PC's clock that runs while the machine is off, in the CMOS (Motorola MC146818A). Firmware
//! keeps it in the time zone that its owner chose: taken as UTC.

use super::ports::{in8, out8};

const INDEX: u16 = 0x70;
const DATA: u16 = 0x71;

const SECONDS: u8 = 0x00;
const MINUTES: u8 = 0x02;
const HOURS: u8 = 0x04;
const DAY: u8 = 0x07;
const MONTH: u8 = 0x08;
const YEAR: u8 = 0x09;
const STATUS_A: u8 = 0x0a;
const STATUS_B: u8 = 0x0b;

/// In status A: the numbers are about to change.
const CHANGES: u8 = 0x80;
/// In status B: numbers are binary; hours are 0 to 23.
const IS_BINARY: u8 = 0x04;
const HAS_24_HOURS: u8 = 0x02;
/// In the hours, where they are 1 to 12.
const AFTERNOON: u8 = 0x80;

fn read(register: u8) -> u8 {
    // SAFETY: (1) the CMOS is ours; (2) reading what is read here has no effect.
    unsafe {
        out8(INDEX, register);
        in8(DATA)
    }
}

/// Days from 1970 to the first day of a month (Gregorian), counted from March on so that a leap day
/// is a year's last.
const fn days_before(year: u64, month: u64) -> u64 {
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 - 719_468
}

const _: () = assert!(days_before(1970, 1) == 0 && days_before(2000, 3) == 11_017);

/// Seconds since 1970. `None`: there is no such clock, or it says what is no time.
pub fn seconds() -> Option<u64> {
    const MAX_LOOKS: u32 = 100_000;
    const MAX_TRIES: u32 = 10;
    let numbers = || [SECONDS, MINUTES, HOURS, DAY, MONTH, YEAR].map(read);
    let mut found = None;
    for _ in 0..MAX_TRIES {
        // It takes two milliseconds at most, during which what is read is no time.
        (0..MAX_LOOKS).find(|_| read(STATUS_A) & CHANGES == 0)?;
        let (one, other) = (numbers(), numbers());
        if one == other {
            found = Some(one);
            break;
        }
    }
    let status = read(STATUS_B);
    let plain = |number: u8| match status & IS_BINARY {
        0 => u64::from(number >> 4) * 10 + u64::from(number & 0xf),
        _ => u64::from(number),
    };
    let [seconds, minutes, hours, day, month, year] = found?;
    let hours = match status & HAS_24_HOURS {
        0 => plain(hours & !AFTERNOON) % 12 + if hours & AFTERNOON != 0 { 12 } else { 0 },
        _ => plain(hours),
    };
    let (seconds, minutes, day, month) = (plain(seconds), plain(minutes), plain(day), plain(month));
    let is_time =
        seconds < 60 && minutes < 60 && hours < 24 && (1..=31).contains(&day) && plain(year) < 100;
    if !is_time || !(1..=12).contains(&month) {
        return None;
    }
    // Two digits: from 1970 to 2069.
    let century = if plain(year) >= 70 { 1900 } else { 2000 };
    let days = days_before(century + plain(year), month) + day - 1;
    Some(((days * 24 + hours) * 60 + minutes) * 60 + seconds)
}
