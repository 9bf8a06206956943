//! Files: the tree in memory, and what a descriptor leads to.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `node`, `tree`, `names` | nodes; their places; the sorted names of a directory |
//! | `spot`, `standing` | where something lies, whatever becomes of its name; directories that paths are seen from |
//! | `unpack` | the tree as it begins |
//! | `attributes` | what a node has besides its content |
//! | `file_bytes`, `room` | the pages of a file that programs write; how many a file system may have |
//! | `locks` | locks that programs keep to among themselves |
//! | `leases` | what tells a program before others open its file |
//! | `mounts`, `mount_flags` | directories that others lie over; what a mount forbids |
//! | `made` | files whose content is made when they are read |
//! | `mapped`, `mapping` | what a node knows of being mapped, and its seals; what it does then |
//! | `open_file`, `table`, `open` | open files; the descriptors of a process; both under one name |
//! | `termios`, `signaller` | the modes of a terminal; what sends its signals |
//! | `object`, `readiness`, `notices` | what an open file does; what it is ready for, and who is told; who is told by a signal |
//! | `inotify`, `directory_notices` | who is told what happens to files; who is told by a signal |
//! | `pipe`, `socket`, `eventfd`, `timerfd`, `epoll`, `console`, `pty`, `message_queue` | kinds of open files with operations of their own |
//! | `socket_bounds` | how much a socket may have on its way, and how long it waits |
//!
//! May import `error`, `sorted` and `time`. Knows no process: the calls that act for one are in
//! `calls::files`, /proc is in `proc`.

pub(crate) mod attributes;
pub(crate) mod console;
pub(crate) mod directory_notices;
pub(crate) mod epoll;
pub(crate) mod eventfd;
pub(crate) mod extended;
pub(crate) mod file_bytes;
pub(crate) mod inotify;
pub(crate) mod leases;
pub(crate) mod local;
pub(crate) mod locks;
pub(crate) mod made;
pub(crate) mod mapped;
mod mapping;
pub(crate) mod message_queue;
pub(crate) mod mount_flags;
pub(crate) mod mounts;
pub(crate) mod names;
mod node;
pub(crate) mod notices;
pub(crate) mod object;
pub(crate) mod open;
mod open_file;
pub(crate) mod pipe;
pub(crate) mod pty;
pub(crate) mod readiness;
pub(crate) mod room;
mod signaller;
pub(crate) mod socket;
pub(crate) mod socket_bounds;
pub(crate) mod spot;
pub(crate) mod standing;
pub(crate) mod table;
mod termios;
pub(crate) mod text;
pub(crate) mod timerfd;
pub(crate) mod tree;
pub(crate) mod unpack;
