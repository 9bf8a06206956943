//! /proc and /sys: text made when it is read.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `content` | which path leads to which text |
//! | `file` | such a path as an open file, and what stat tells of it |
//! | `subject`, `folder` | /proc/NUMBER/…: whom it is about, and what is in it |
//! | `of_process`, `maps` | the files of one process |
//! | `pagemap`, `mem` | where each page of a process is; its memory |
//! | `asleep` | what a thread that sleeps asked for, and where it sleeps |
//! | `of_machine`, `configuration`, `kstack` | /proc/meminfo and the like; what the kernel has, as Linux's configuration says it; /proc/kstack |
//! | `sys`, `sysctl`, `real_time`, `sysvipc` | /sys; /proc/sys; what of that is real time's; /proc/sysvipc |
//! | `control` | the file system of control groups |
//! | `written` | what programs write there |
//! | `text` | text that can fail, as an open file |
//!
//! May import `process` and what is below it. Links, and where they lead, are `process::walk`'s.

mod asleep;
mod configuration;
mod content;
mod control;
mod file;
mod folder;
pub(crate) mod kstack;
mod maps;
mod mem;
mod of_machine;
mod of_process;
mod pagemap;
mod real_time;
mod subject;
mod sys;
mod sysctl;
mod sysvipc;
mod text;
mod written;

pub(crate) use content::content;
pub(crate) use control::{is_among_groups, make_group, remove_group};
pub(crate) use file::{area_of, begin, is_device, link, open, process_of, stat};
pub(crate) use of_machine::{FILE_SYSTEMS, OLD_RELEASE, RELEASE, VERSION};
pub(crate) use text::Content;
