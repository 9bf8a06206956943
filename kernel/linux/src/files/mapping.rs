//! What a file does in being mapped: counts who maps it, gives its pages, and keeps to its seals.

use super::file_bytes::NoPage;
use super::mapped::seal;
use super::node::{Content, Node, Special};
use crate::error::Errno;
use core::sync::atomic::Ordering;
use machine::memory::frames::{self, Frame};

impl Node {
    /// One more mapping, through which it can be written or not.
    pub(crate) fn begin_mapping(&self, writable: bool) -> Result<(), Errno> {
        self.mapped.mappings.fetch_add(1, Ordering::SeqCst);
        if writable {
            // Counted first: what seals it looks at the count after that.
            self.mapped.writable.fetch_add(1, Ordering::SeqCst);
            if self.mapped.seals() & (seal::WRITE | seal::FUTURE_WRITE) != 0 {
                self.end_mapping(true);
                return Err(Errno::EPERM);
            }
        }
        Ok(())
    }

    /// One mapping less. The pages of an archive's file go with the last one: they can be made
    /// again.
    pub(crate) fn end_mapping(&self, writable: bool) {
        if writable {
            self.mapped.writable.fetch_sub(1, Ordering::SeqCst);
        }
        if self.mapped.mappings.fetch_sub(1, Ordering::SeqCst) == 1 {
            let unused = match &self.content {
                Content::File(bytes) => {
                    let mut bytes = bytes.lock();
                    // A mapping that began meanwhile gets its pages under this lock, afterwards.
                    if self.mapped.is_mapped() { None } else { bytes.take_unchanged() }
                }
                _ => None,
            };
            drop(unused);
        }
    }

    /// Makes it a memory file, with these seals from the start.
    pub(crate) fn make_sealable(&self, seals: u32) {
        self.mapped.seals.store(seals, Ordering::SeqCst);
        self.mapped.is_sealable.store(true, Ordering::SeqCst);
    }

    /// Its seals, if it can have some.
    pub(crate) fn seals(&self) -> Result<u32, Errno> {
        let is_sealable = self.mapped.is_sealable.load(Ordering::SeqCst);
        match self.content {
            // A file of the tree is sealed against seals.
            Content::File(_) if !is_sealable => Ok(seal::SEAL),
            _ => is_sealable.then(|| self.mapped.seals()).ok_or(Errno::EINVAL),
        }
    }

    /// Whether it can be written no more.
    pub(crate) fn is_sealed_for_writing(&self) -> bool {
        self.mapped.seals() & (seal::WRITE | seal::FUTURE_WRITE) != 0
    }

    /// chmod: whether a file may be executed can be sealed.
    pub(crate) fn change_permissions(&self, to: u32) -> Result<(), Errno> {
        let changes = (self.attributes.permissions() ^ to) & 0o111 != 0;
        if changes && self.mapped.seals() & seal::EXEC != 0 {
            return Err(Errno::EPERM);
        }
        self.attributes.set_permissions(to);
        Ok(())
    }

    /// Adds seals.
    pub(crate) fn seal(&self, more: u32) -> Result<(), Errno> {
        let seals = &self.mapped.seals;
        let kept = self.seals()?;
        // What can be executed for good cannot be changed, either.
        let is_program = more & seal::EXEC != 0 && self.attributes.permissions() & 0o111 != 0;
        let all_changes = seal::SHRINK | seal::GROW | seal::WRITE | seal::FUTURE_WRITE;
        let more = if is_program { more | all_changes } else { more };
        if more & !seal::ALL != 0 {
            return Err(Errno::EINVAL);
        }
        if kept & seal::SEAL != 0 {
            return Err(Errno::EPERM);
        }
        let before = seals.fetch_or(more, Ordering::SeqCst);
        let newly = more & !before;
        if newly & seal::WRITE != 0 && self.mapped.writable.load(Ordering::SeqCst) != 0 {
            seals.fetch_and(!newly, Ordering::SeqCst);
            return Err(Errno::EBUSY);
        }
        Ok(())
    }

    /// The page of a file with a number, with one more user. What was never written is made.
    pub(crate) fn page(&self, number: u64) -> Result<Frame, NoPage> {
        match &self.content {
            Content::File(bytes) => bytes.lock().page(number),
            // A private mapping of it is memory like any other.
            Content::Special(Special::Zero) => frames::alloc_zeroed().ok_or(NoPage::NoMemory),
            _ => Err(NoPage::Beyond),
        }
    }

    /// Whether a page of a file is in memory already.
    pub(crate) fn has_page(&self, number: u64) -> bool {
        match &self.content {
            Content::File(bytes) => bytes.lock().has(number),
            _ => false,
        }
    }

    /// Whether a frame is its page with a number.
    pub(crate) fn is_page(&self, number: u64, frame: Frame) -> bool {
        match &self.content {
            Content::File(bytes) => bytes.lock().frame(number) == Some(frame),
            _ => false,
        }
    }

    /// Whether it is a file that can be mapped.
    pub(crate) fn is_mappable(&self) -> bool {
        matches!(self.content, Content::File(_))
    }
}
