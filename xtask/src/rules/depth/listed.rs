//! What an image does not say by itself: where the ways on a stack of a CPU's begin, and where
//! calls through pointers lead.
//!
//! What is not listed here and is called through a pointer is an error that names the caller; what
//! is listed and is not in the image is one, too.

use anyhow::{Context, Result, ensure};
use object::Architecture;

use crate::rules::{frames, unwinding};

/// Where calls through pointers lead, by the functions that have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Through {
    /// To the hooks that the caller reads from the kernel's table.
    Hooks,
    /// To methods of what text is written to, but for `write_fmt`: `core::fmt` has its own.
    Writers,
    /// To any of them.
    AnyOfWriters,
    /// To writers, and to functions that make text of a value.
    Formatters,
    /// To what tests alone put there; why that is so.
    Tests,
}

/// The kernel's table of hooks, and where the library keeps its address.
pub(super) const HOOKS: &str = "kernel::hooks::HOOKS";
pub(super) const CELL: &str = "kstack::hooks::table::HOOKS";

/// By the beginning of a caller's name; the first that fits counts.
const THROUGH: &[(&str, Through)] = &[
    // Called before each stage of a report; null unless a test has set it.
    ("threads::report::overflow::at", Through::Tests),
    // A breakpoint in the kernel; null unless a test has set it.
    ("threads::entry::probes::on_breakpoint", Through::Tests),
    ("kernel::hooks::kernel_exception", Through::Tests),
    ("kernel::hooks::context", Through::Hooks),
    ("core::fmt::write", Through::Formatters),
    ("core::fmt::builders::", Through::Formatters),
    ("<&T as core::fmt::", Through::Formatters),
    ("<&dyn core::fmt::", Through::Formatters),
    ("core::fmt::", Through::Writers),
    ("<core::fmt::", Through::Writers),
    ("threads::report::", Through::AnyOfWriters),
    ("kstack::", Through::Hooks),
    // The unwinder asks about code in closures of the library's.
    ("kstack_core::fault::unwind::walk::", Through::Hooks),
];

/// Where calls through pointers in a function lead.
pub(super) fn through(name: &str) -> Option<Through> {
    if let Some(&(_, through)) = THROUGH.iter().find(|(start, _)| name.starts_with(start)) {
        return Some(through);
    }
    // `<A as core::fmt::Display>::fmt` of any type.
    is_of_fmt(name).then_some(Through::Writers)
}

/// Whether a function belongs to a trait of `core::fmt`.
fn is_of_fmt(name: &str) -> bool {
    name.starts_with('<') && name.contains(" as core::fmt::")
}

/// Of a function that text is written to: what that is a method of.
pub(super) fn writer(name: &str) -> Option<&str> {
    let (of, _) = name.split_once(" as core::fmt::Write>::")?;
    of.strip_prefix('<')
}

/// Whether it is the method that `core::fmt` never calls through a pointer.
pub(super) fn is_write_fmt(name: &str) -> bool {
    name.ends_with(" as core::fmt::Write>::write_fmt")
}

/// Whether a function makes text of a value.
pub(super) fn is_formatter(name: &str) -> bool {
    is_of_fmt(name) && name.ends_with("::fmt")
}

/// Where a way ends: a panic begins. What comes then is counted as a failure.
pub(super) fn is_panic(name: &str) -> bool {
    matches!(
        name,
        "core::panicking::panic_fmt"
            | "core::panicking::panic_nounwind_fmt"
            | "__rustc::rust_begin_unwind"
    )
}

/// Whether a call is one that never comes, although the code has it.
pub(super) fn never_comes(caller: &str, callee: &str) -> bool {
    // It tells where a text was cut between the bytes of a character, and cuts it for that, at
    // places that it has looked for.
    (caller, callee) == ("core::str::slice_error_fail_rt", "core::str::slice_error_fail")
}

/// A stack of a CPU's on which overflows are handled, and how the handler comes to be on it.
pub(super) struct Entry {
    /// What the CPU runs first there; it saves the registers.
    pub(super) entry: &'static str,
    /// What that calls.
    pub(super) handler: &'static str,
    /// The stack's kind, by its name; `last` is arm32's.
    pub(super) stack: &'static str,
}

/// What a failure in the handler passes through on the same stack until the report is told again:
/// functions that call each other, the first with the registers saved.
pub(super) struct Failure {
    pub(super) what: &'static str,
    /// Whether the registers are saved before.
    pub(super) saves: bool,
    pub(super) chain: &'static [&'static str],
}

pub(super) struct Listed {
    pub(super) entries: &'static [Entry],
    pub(super) failures: &'static [Failure],
}

const CONTINUE: &str = "threads::report::overflow::continue_stopping";
const TELL: &str = "threads::report::overflow::tell";
const EXCEPTION: &str = "kernel::hooks::kernel_exception";

const PANIC: Failure = Failure {
    what: "a panic",
    saves: false,
    chain: &[
        "core::panicking::panic_fmt",
        "__rustc::rust_begin_unwind",
        "kernel::start::panic",
        CONTINUE,
        TELL,
    ],
};

const X86_64: Listed = Listed {
    entries: &[
        Entry {
            entry: "kstack::arch::x86_64::double_fault::double_fault",
            handler: "kstack::arch::x86_64::double_fault::on_double_fault",
            stack: "double-fault",
        },
        Entry {
            entry: "kstack::arch::x86_64::entry::common",
            handler: "kstack::arch::x86_64::fault::on_no_room",
            stack: "irq",
        },
    ],
    failures: &[
        Failure {
            what: "an exception",
            saves: true,
            chain: &[
                "kstack::arch::x86_64::entry::on_trap",
                "kstack::arch::x86_64::fault::on_exception",
                EXCEPTION,
                CONTINUE,
                TELL,
            ],
        },
        PANIC,
    ],
};

const I386: Listed = Listed {
    entries: &[
        Entry {
            entry: "kstack::arch::i386::double_fault::double_fault",
            handler: "kstack::arch::i386::double_fault::on_double_fault_task",
            stack: "double-fault",
        },
        Entry {
            entry: "kstack::arch::i386::entry::common",
            handler: "kstack::arch::i386::fault::on_no_room",
            stack: "irq",
        },
    ],
    failures: &[
        Failure {
            what: "an exception",
            saves: true,
            chain: &[
                "kstack::arch::i386::entry::on_trap",
                "kstack::arch::i386::fault::on_exception",
                EXCEPTION,
                CONTINUE,
                TELL,
            ],
        },
        PANIC,
    ],
};

const ARM64: Listed = Listed {
    entries: &[
        Entry {
            entry: "kstack::arch::arm64::overflow::no_room_sync",
            handler: "kstack::arch::arm64::overflow::on_no_room",
            stack: "overflow",
        },
        Entry {
            entry: "kstack::arch::arm64::overflow::no_room_other",
            handler: "kstack::arch::arm64::overflow::on_no_room",
            stack: "overflow",
        },
        Entry {
            entry: "kstack::arch::arm64::overflow::second_fault",
            handler: "kstack::arch::arm64::overflow::on_second_fault",
            stack: "overflow",
        },
    ],
    failures: &[
        Failure {
            what: "an exception",
            saves: true,
            chain: &["kstack::arch::arm64::overflow::on_second_fault", EXCEPTION, CONTINUE, TELL],
        },
        PANIC,
    ],
};

const ARM32: Listed = Listed {
    entries: &[
        Entry {
            entry: "kstack::arch::arm32::overflow::no_room",
            handler: "kstack::arch::arm32::overflow::on_no_room",
            stack: "overflow",
        },
        Entry {
            entry: "kstack::arch::arm32::overflow::no_room",
            handler: "kstack::arch::arm32::overflow::on_no_room",
            stack: "last",
        },
    ],
    failures: &[
        Failure {
            what: "an exception",
            saves: true,
            chain: &[
                "kstack::arch::arm32::entry::on_trap",
                "kstack::arch::arm32::fault::on_exception",
                EXCEPTION,
                CONTINUE,
                TELL,
            ],
        },
        PANIC,
    ],
};

const RISCV64: Listed = Listed {
    entries: &[Entry {
        entry: "kstack::arch::riscv64::overflow::no_room",
        handler: "kstack::arch::riscv64::overflow::on_no_room",
        stack: "overflow",
    }],
    failures: &[
        Failure {
            what: "an exception",
            saves: true,
            chain: &["kstack::arch::riscv64::fault::on_trap", EXCEPTION, CONTINUE, TELL],
        },
        PANIC,
    ],
};

pub(super) fn listed(architecture: Architecture) -> Option<&'static Listed> {
    Some(match architecture {
        Architecture::X86_64 => &X86_64,
        Architecture::I386 => &I386,
        Architecture::Aarch64 => &ARM64,
        Architecture::Arm => &ARM32,
        Architecture::Riscv64 => &RISCV64,
        _ => return None,
    })
}

/// Bytes of a CPU's stack.
pub(super) fn stack_bytes(architecture: Architecture, stack: &str) -> Result<u64> {
    const PAGE: u64 = 4096;
    let geometry = frames::geometry(architecture).context("an unknown machine")?;
    let body = geometry.body().get() as u64;
    match stack {
        "irq" => return Ok(body),
        "last" => {
            let tables = unwinding::source_of(architecture, "tables.rs")?;
            let is_known = tables.contains("struct ModeWords(UnsafeCell<[u32; 8]>)")
                && tables.contains("PAGE_BYTES - 5 * size_of::<ModeWords>()");
            ensure!(is_known, "the last stack is not what it was");
            return Ok(PAGE - 5 * 8 * 4);
        }
        _ => {}
    }
    let source = unwinding::source_of(architecture, "bring_up.rs")?;
    let (_, list) = source.split_once("CPU_STACKS: ").context("no CPU_STACKS")?;
    let list = list.split_once(';').map_or(list, |(list, _)| list);
    let kind = if stack == "overflow" { "Overflow" } else { "DoubleFault" };
    let head = format!("(StackKind::{kind}, ");
    let (_, pages) = list.split_once(&head).with_context(|| format!("no {stack} stack"))?;
    let pages = pages.split_once(')').map_or(pages, |(pages, _)| pages);
    if pages.contains("GEOMETRY.body(") {
        return Ok(body);
    }
    // One, but under the sanitizer, whose image is not read.
    let pages = pages.strip_suffix(" * WIDER").unwrap_or(pages);
    Ok(PAGE * pages.parse::<u64>().with_context(|| format!("{stack} has {pages} pages"))?)
}
