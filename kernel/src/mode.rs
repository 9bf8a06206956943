//! What the kernel does once it is up, as its command line says: `mode=console`, `run`, `test`,
//! `list`, `bench` or `fuzz`.

use alloc::vec::Vec;
use machine::arch::power::{self, End};
use machine::options;
use threads::terminal::Size;

/// The first thread. What each mode does has a frame of its own: this one's lies below all of them.
pub fn run() {
    match options::get("mode").as_deref() {
        Some("run") => run_program(),
        Some("test") => crate::tests::run(&options::get("tests").unwrap_or_default()),
        Some("list") => crate::tests::list(),
        Some("bench") => crate::bench::run(),
        Some("fuzz") => crate::tests::fuzz_by_command(),
        Some("console") | None => crate::console::run(),
        Some(other) => {
            log!("unknown mode={other}; known are console, run, test, list, bench, fuzz");
            crate::console::run()
        }
    }
    power::end(End::Orderly)
}

/// Runs the program that came in the archive, gives it the console, and hands its status out.
#[inline(never)]
fn run_program() {
    let Some(argv) = linux::fs::read_file("/kstack/argv") else {
        control!("exit 127");
        log!("mode=run, but the archive has no /kstack/argv");
        return;
    };
    machine::log::leave_console_to_program();
    let argv: Vec<&[u8]> =
        argv.strip_suffix(b"\0").unwrap_or(&argv).split(|&byte| byte == 0).collect();
    // A link: the program is called by its own name.
    let path = linux::fs::link_target("/kstack/program");
    let path = path.as_deref().unwrap_or("/kstack/program");
    let ran = match options::get("input").as_deref() {
        Some("stream") => linux::run_with_stream(path, &argv),
        Some("terminal") => linux::run_on_terminal(path, &argv, terminal_size()),
        _ => linux::run(path, &argv),
    };
    match ran {
        Ok(status) => control!("exit {status}"),
        Err(error) => {
            let name = argv
                .first()
                .map_or("?".into(), |name| alloc::string::String::from_utf8_lossy(name));
            log!("{name}: {error}");
            control!("exit {}", error.shell_status());
        }
    }
    control!("end");
}

/// The size that the terminal has at the start: `size=ROWSxCOLUMNS`.
fn terminal_size() -> Size {
    let usual = Size { rows: 24, columns: 80 };
    let size = options::get("size").and_then(|size| {
        let (rows, columns) = size.split_once('x')?;
        Some(Size { rows: rows.parse().ok()?, columns: columns.parse().ok()? })
    });
    size.unwrap_or(usual)
}
