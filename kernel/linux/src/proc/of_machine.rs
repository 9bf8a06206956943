//! Files of /proc about the machine and all of its processes.

use core::fmt::{self, Write};
use machine::memory::fallible::Text;
use machine::memory::frames;
use threads::stacks::pages;

pub(super) fn meminfo(text: &mut Text) -> fmt::Result {
    let kib = |frames: usize| frames * 4;
    writeln!(text, "MemTotal:       {:8} kB", kib(frames::total_count()))?;
    writeln!(text, "MemFree:        {:8} kB", kib(frames::free_count()))?;
    writeln!(text, "MemAvailable:   {:8} kB", kib(frames::free_count()))?;
    writeln!(text, "Buffers:        {:8} kB", 0)?;
    writeln!(text, "Cached:         {:8} kB", 0)?;
    writeln!(text, "SwapTotal:      {:8} kB", 0)?;
    writeln!(text, "SwapFree:       {:8} kB", 0)?;
    writeln!(text, "KernelStack:    {:8} kB", pages::charged_bytes() / 1024)
}
