//! The names in a directory, sorted: a list of short sorted lists.
//!
//! ```text
//!   chunks ─> [ a b c … ] [ k l m … ] [ q r … ]      at most CHUNK names each, none of them empty
//! ```
//!
//! A name is found by two binary searches, and adding one moves at most a chunk and the list of
//! chunks, however many names there are: the lock on a directory is a spinning one. Nothing here
//! ends the kernel when the heap is used up.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use machine::memory::fallible::NoMemory;

/// Names in a chunk.
const CHUNK: usize = 64;

/// Names and what they lead to.
#[derive(Debug)]
pub(crate) struct Names<N> {
    chunks: Vec<Vec<(String, Arc<N>)>>,
}

impl<N> Names<N> {
    /// No names.
    pub(crate) const fn new() -> Self {
        Self { chunks: Vec::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// How many of them hold.
    pub(crate) fn count(&self, holds: impl Fn(&N) -> bool) -> u64 {
        let all = self.chunks.iter().flatten();
        all.filter(|(_, node)| holds(node)).count() as u64
    }

    /// The chunk a name belongs to, and its place there: where it is, or where it would be.
    fn place(&self, name: &str) -> (usize, Result<usize, usize>) {
        let above = self.chunks.partition_point(|chunk| {
            chunk.first().is_some_and(|(first, _)| first.as_str() <= name)
        });
        let chunk = above.saturating_sub(1);
        let within = self
            .chunks
            .get(chunk)
            .map_or(Err(0), |chunk| chunk.binary_search_by(|(other, _)| other.as_str().cmp(name)));
        (chunk, within)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Arc<N>> {
        let (chunk, within) = self.place(name);
        Some(&self.chunks.get(chunk)?.get(within.ok()?)?.1)
    }

    /// Makes a name lead to a node; gives out what it led to before.
    pub(crate) fn set(&mut self, name: String, node: Arc<N>) -> Result<Option<Arc<N>>, NoMemory> {
        let (mut chunk, within) = self.place(&name);
        let mut at = match within {
            Ok(at) => return Ok(Some(core::mem::replace(&mut self.chunks[chunk][at].1, node))),
            Err(at) => at,
        };
        if self.chunks.is_empty() {
            let mut first = Vec::new();
            first.try_reserve(1).map_err(|_| NoMemory)?;
            self.chunks.try_reserve(1).map_err(|_| NoMemory)?;
            self.chunks.push(first);
        } else if self.chunks[chunk].len() >= CHUNK {
            let mut upper = Vec::new();
            upper.try_reserve(CHUNK).map_err(|_| NoMemory)?;
            self.chunks.try_reserve(1).map_err(|_| NoMemory)?;
            upper.extend(self.chunks[chunk].drain(CHUNK / 2..));
            self.chunks.insert(chunk + 1, upper);
            if at > CHUNK / 2 {
                (chunk, at) = (chunk + 1, at - CHUNK / 2);
            }
        } else {
            self.chunks[chunk].try_reserve(1).map_err(|_| NoMemory)?;
        }
        // CANNOT FAIL: room was made above; the lower half of a chunk that was split keeps its
        // room.
        self.chunks[chunk].insert(at, (name, node));
        Ok(None)
    }

    /// Takes a name out.
    pub(crate) fn remove(&mut self, name: &str) -> Option<(String, Arc<N>)> {
        let (chunk, within) = self.place(name);
        let taken = self.chunks.get_mut(chunk)?.remove(within.ok()?);
        if self.chunks[chunk].is_empty() {
            self.chunks.remove(chunk);
        }
        Some(taken)
    }

    /// Takes the last name out.
    pub(crate) fn pop(&mut self) -> Option<(String, Arc<N>)> {
        let chunk = self.chunks.last_mut()?;
        let taken = chunk.pop();
        if chunk.is_empty() {
            self.chunks.pop();
        }
        taken
    }

    /// The name with so many before it.
    pub(crate) fn at(&self, mut index: usize) -> Option<(&str, &Arc<N>)> {
        for chunk in &self.chunks {
            match chunk.get(index) {
                Some((name, node)) => return Some((name, node)),
                None => index -= chunk.len(),
            }
        }
        None
    }

    /// The first name that sorts behind this one.
    pub(crate) fn after(&self, name: &str) -> Option<(&str, &Arc<N>)> {
        let (chunk, within) = self.place(name);
        let at = within.map_or_else(|at| at, |at| at + 1);
        let here = self.chunks.get(chunk)?.get(at);
        let (name, node) = match here {
            Some(here) => here,
            None => self.chunks.get(chunk + 1)?.first()?,
        };
        Some((name, node))
    }
}
