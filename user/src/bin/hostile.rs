//! Tries what no program may do: privileged instructions, flags, selectors, stack pointers and
//! addresses of its own choice. Each attempt is a process; ends with 0 if each ended as it may,
//! otherwise with 1, and says which did not.

#![no_std]
#![no_main]

use user::attack::{ATTACKS, Attack, End};

user::entry!(main);

/// Writes a number in hexadecimal.
fn write_number(number: usize) {
    let mut text = [b'0'; 2 + 2 * size_of::<usize>()];
    text[1] = b'x';
    for (place, digit) in text.iter_mut().rev().take(2 * size_of::<usize>()).enumerate() {
        *digit = b"0123456789abcdef"[number >> (4 * place) & 0xf];
    }
    let _unwritable = user::write_all(1, &text);
}

fn complain(attack: &Attack, argument: usize, status: i32) {
    let _unwritable = user::write_all(1, attack.name.as_bytes());
    let _unwritable = user::write_all(1, b", ");
    write_number(argument);
    let _unwritable = user::write_all(1, b": status ");
    write_number(status as usize);
    let _unwritable = user::write_all(1, b"\n");
}

fn main() -> i32 {
    let mut bad = 0;
    for attack in ATTACKS {
        for argument in attack.arguments.clone() {
            let child = user::fork();
            if child == 0 {
                user::exit((attack.run)(argument));
            }
            let status = if child > 0 { user::wait().unwrap_or(-1) } else { -1 };
            if !(attack.may_end)(argument, End::of(status)) {
                complain(attack, argument, status);
                bad = 1;
            }
        }
    }
    bad
}
