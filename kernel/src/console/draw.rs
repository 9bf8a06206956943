//! Every stack of the machine, drawn.
//!
//! ```text
//!   kind          cpu owner              lowest             top                 used    most  |body, low end left|
//!   thread          2 12 main            0xffffc90000013000 0xffffc90000017000  1.1 K  2.3 K  |................:###|
//! ```
//!
//! `#` is in use now (from the saved SP up), `:` was in use at the deepest sample, `.` never seen
//! in use. Both are lower bounds: samples are taken at interrupts.

use super::println;
use alloc::string::String;
use kstack::addr::Addr;
use threads::report::stacks as report;
use threads::report::stacks::StackInfo;
use threads::stacks;

const WIDTH: usize = 32;

/// Columns of an address of the kernel: its digits and what stands before them.
const ADDRESS: usize = 2 + 2 * size_of::<usize>();

/// Draws them all.
pub(super) fn all_stacks() {
    let geometry = stacks::arena().geometry();
    println!(
        "arena {:?}: {} slots of {} KiB, guard {} KiB below and {} KiB above each body of {} KiB",
        stacks::arena().range(),
        stacks::arena().slots(),
        geometry.stride().get() / 1024,
        geometry.guard_below().get() / 1024,
        geometry.guard_above().get() / 1024,
        geometry.body().get() / 1024,
    );
    println!(
        "{:<14} {:>3} {:<22} {:<ADDRESS$} {:<ADDRESS$} {:>7} {:>7}  guard|lowest{:width$}top|guard",
        "kind",
        "cpu",
        "owner",
        "lowest",
        "top",
        "used",
        "most",
        "",
        width = WIDTH - 9
    );
    for info in report::all() {
        println!("{}", line(&info));
    }
    let counts = report::counts();
    println!("{counts}");
}

fn line(info: &StackInfo) -> String {
    let size = info.range.size().get();
    let depth = |sp: Option<Addr>| sp.map(|sp| info.range.top.bytes_above(sp).get().min(size));
    let used = depth(info.sp);
    // What is in use now has been in use.
    let most = depth(info.lowest_seen).max(used);
    let cell = size / WIDTH;
    let body: String = (0..WIDTH)
        .map(|i| {
            let from_top = size - i * cell;
            if used.is_some_and(|used| used + cell > from_top) {
                '#'
            } else if most.is_some_and(|most| most + cell > from_top) {
                ':'
            } else {
                '.'
            }
        })
        .collect();
    alloc::format!(
        "{:<14} {:>3} {:<22} {} {} {:>7} {:>7}  xxxxx|{body}|xxxxx",
        info.kind.name(),
        info.cpu.map_or_else(|| String::from("-"), |cpu| alloc::format!("{cpu}")),
        info.owner,
        info.range.lowest,
        info.range.top,
        kib(used),
        kib(most),
    )
}

fn kib(bytes: Option<usize>) -> String {
    match bytes {
        Some(bytes) => alloc::format!("{}.{} K", bytes / 1024, bytes % 1024 * 10 / 1024),
        None => String::from("-"),
    }
}
