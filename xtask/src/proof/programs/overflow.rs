//! A program with Rust's standard library, whose threads overflow their stacks.
//!
//! `overflow thread` and `overflow main` end by the library's own message, which a handler on its
//! alternate stack writes; `overflow many` has a hundred threads at once and ends well.

use std::hint::black_box;

fn deep(depth: u64) -> u64 {
    let block = black_box([depth; 64]);
    if black_box(depth) == 0 { 0 } else { deep(depth - 1) + block[(depth % 64) as usize] }
}

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("thread") => {
            let thread = std::thread::Builder::new().name("the deep one".into());
            let thread = thread.stack_size(256 << 10).spawn(|| deep(u64::MAX)).expect("a thread");
            println!("{:?}", thread.join().map_err(|_| "a panic"));
        }
        Some("main") => println!("{}", deep(u64::MAX)),
        Some("many") => {
            let threads: Vec<_> =
                (0..100).map(|n| std::thread::spawn(move || deep(1_000 + n))).collect();
            let sum: u64 = threads.into_iter().map(|thread| thread.join().expect("a sum")).sum();
            println!("{sum}");
        }
        _ => std::process::exit(2),
    }
}
