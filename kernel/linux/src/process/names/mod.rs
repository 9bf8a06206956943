//! What numbers and names of processes, threads and namespaces mean, and to whom.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `numbers` | numbers of processes that programs say and are told, in their namespace |
//! | `named` | the process or thread that a number names |
//! | `pidfd` | processes and threads as files |
//! | `namespaces` | namespaces as files |
//! | `host` | the name of the machine that a process sees |
//! | `host_names` | names of machines, by namespace |
//! | `ipc` | whose segments, semaphores and queues a process sees |
//! | `ipc_spaces` | namespaces of these |

pub(crate) mod host;
pub(crate) mod host_names;
pub(crate) mod ipc;
pub(crate) mod ipc_spaces;
pub(crate) mod named;
pub(crate) mod namespaces;
pub(crate) mod numbers;
pub(crate) mod pidfd;
