//! /proc and /sys: text made when it is read.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `content` | which path leads to which text |
//! | `file` | such a path as an open file, and what stat tells of it |
//! | `subject`, `folder` | /proc/NUMBER/…: whom it is about, and what is in it |
//! | `of_process`, `first_stack`, `maps` | the files of one process |
//! | `pagemap`, `mem` | where each page of a process is; its memory |
//! | `asleep` | what a thread that sleeps asked for, and where it sleeps |
//! | `of_machine`, `kstack`, `sys`, `sysctl`, `sysvipc` | /proc/meminfo and the like; /proc/kstack; /sys; /proc/sys; /proc/sysvipc |
//! | `control` | the file system of control groups |
//! | `written` | what programs write there |
//! | `text` | text that can fail, as an open file |
//!
//! May import `process` and what is below it. Links, and where they lead, are `process::walk`'s.

mod asleep;
mod content;
mod control;
mod file;
pub(crate) mod first_stack;
mod folder;
pub(crate) mod kstack;
mod maps;
mod mem;
mod of_machine;
mod of_process;
mod pagemap;
mod subject;
mod sys;
mod sysctl;
mod sysvipc;
mod text;
mod written;

pub(crate) use content::content;
pub(crate) use control::{is_among_groups, make_group, remove_group};
pub(crate) use file::{area_of, begin, is_device, link, open, process_of, stat};
pub(crate) use of_machine::{FILE_SYSTEMS, RELEASE, VERSION};
pub(crate) use text::Content;
