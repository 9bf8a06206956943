//! Devices that need more of the kernel than the tree of files knows.

use crate::abi::Stat;
use crate::error::Errno;
use crate::exec::random::random_bytes;
use crate::files::object::{How, Object};
use crate::files::tree::Node;
use alloc::sync::Arc;

/// /dev/random and /dev/urandom.
#[derive(Debug)]
pub(super) struct Random(pub(super) Arc<Node>);

impl Object for Random {
    fn read(&self, to: &mut [u8], _how: How) -> Result<usize, Errno> {
        for piece in to.chunks_mut(16) {
            piece.copy_from_slice(&random_bytes()[..piece.len()]);
        }
        Ok(to.len())
    }

    /// What is written there would be mixed in; it makes nothing less random.
    fn write(&self, from: &[u8], _how: How) -> Result<usize, Errno> {
        Ok(from.len())
    }

    fn stat(&self) -> Stat {
        self.0.stat()
    }

    fn label(&self) -> &'static str {
        "/dev/urandom"
    }

    fn is_stream(&self) -> bool {
        false
    }
}
