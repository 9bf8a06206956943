//! Whose a process is, and what that allows.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `credentials` | users, groups and capabilities of a thread |
//! | `users` | whom users and groups stand for that programs name; user namespaces and their maps |
//! | `permissions` | who may use a file |

pub(crate) mod credentials;
pub(crate) mod permissions;
pub(crate) mod users;
