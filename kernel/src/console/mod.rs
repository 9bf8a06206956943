//! The console: a prompt with commands to look and to try.

mod commands;
mod dma;
mod draw;
mod editor;

/// The prompt, until the machine is told to end.
#[inline(never)]
pub fn run() -> ! {
    println!(
        "kstack reference kernel, {} CPUs. `help` lists the commands.",
        machine::cpus::online_count()
    );
    let mut editor = editor::Editor::new();
    loop {
        match editor.read_line("kstack> ") {
            Some(line) => commands::run(&line),
            None => commands::run("poweroff"),
        }
    }
}

/// Prints a line on the console.
macro_rules! println {
    ($($text:tt)*) => { $crate::console::print_line(format_args!($($text)*)) };
}
pub(crate) use println;

/// What `println!` calls.
pub(crate) fn print_line(text: core::fmt::Arguments<'_>) {
    machine::log::line(text);
}
