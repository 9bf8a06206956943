//! What is in a file: pages of its own, by number. What was never written has none and reads as
//! zeros, or, in a file that came with the archive, as the archive says.
//!
//! The pages are frames, not heap: a file is as large as memory allows and never has to lie in one
//! piece. All files together may have half of the machine's memory, as a `tmpfs` of Linux may.

use super::room::Room;
use crate::error::Errno;
use crate::sorted::{Item, Sorted};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering};
use machine::memory::frames::{self, FRAME_BYTES, Frame};

/// The largest size a file can have: Linux's `MAX_LFS_FILESIZE`.
const MAX_BYTES: u64 = i64::MAX as u64;

/// Pages that all files have together.
static PAGES: AtomicUsize = AtomicUsize::new(0);

#[derive(Debug, Clone, Copy)]
struct Page {
    number: u64,
    frame: Frame,
}

impl Item for Page {
    fn key(&self) -> u64 {
        self.number
    }
}

/// Pages that all files together may have, and how many of them are left.
pub(crate) fn room() -> (u64, u64) {
    let whole = frames::total_count() / 2;
    (whole as u64, whole.saturating_sub(PAGES.load(Ordering::Relaxed)) as u64)
}

/// Why a page of a file is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoPage {
    /// It is beyond the file's end, or the file cannot have another one.
    Beyond,
    /// There is no memory for it.
    NoMemory,
}

/// A file's contents.
#[derive(Debug)]
pub struct FileBytes {
    pages: Sorted<Page>,
    length: u64,
    /// Whether its pages count as what programs wrote: not those of the archive, as long as they
    /// were only read.
    is_counted: bool,
    /// What it holds where it has no page: its beginning in the archive.
    origin: &'static [u8],
    /// Of the file system that it counts in, if that has limits.
    room: Option<Arc<Room>>,
}

/// Pages that were cut off a file: given back when this is dropped, which takes its time. Not under
/// the file's lock.
#[derive(Debug)]
#[must_use = "dropped at once, it is dropped under the file's lock"]
pub struct Cut {
    _pages: FileBytes,
}

impl FileBytes {
    /// Nothing.
    pub const fn new() -> Self {
        Self { pages: Sorted::new(), length: 0, is_counted: true, origin: &[], room: None }
    }

    /// A file of the archive: it has no page yet.
    pub(crate) const fn of_archive(origin: &'static [u8]) -> Self {
        let length = origin.len() as u64;
        Self { pages: Sorted::new(), length, is_counted: false, origin, room: None }
    }

    /// It counts in a file system from now on: it has no page yet.
    pub(super) fn set_room(&mut self, room: Arc<Room>) {
        if self.pages.is_empty() {
            self.room = Some(room);
        }
    }

    /// No pages, to which some of its own are to go.
    fn nothing_of_it(&self) -> Self {
        let mut cut = Self::new();
        cut.room.clone_from(&self.room);
        cut
    }

    /// How many pages from one number up to another one are there, be it in the archive.
    pub(crate) fn count_within(&self, first: u64, last: u64) -> u64 {
        let last = last.min(self.length.div_ceil(FRAME_BYTES).saturating_sub(1));
        let in_archive = (self.origin.len() as u64).div_ceil(FRAME_BYTES);
        if self.length == 0 || first > last {
            return 0;
        }
        let own = self.pages.from(first.max(in_archive));
        let own = own.take_while(|page| page.number <= last).count() as u64;
        own + in_archive.min(last + 1).saturating_sub(first)
    }

    /// The whole of a file of the archive that was not opened for writing.
    pub(crate) fn in_archive(&self) -> Option<&'static [u8]> {
        (!self.is_counted).then_some(self.origin)
    }

    /// Something may write it from now on: its pages are the only ones that hold what is in them.
    pub(crate) fn begin_changing(&mut self) {
        if !self.is_counted {
            self.is_counted = true;
            PAGES.fetch_add(self.pages.len(), Ordering::Relaxed);
        }
    }

    /// Takes the pages out that can be made again from the archive, with all the file's locks let
    /// go before they are dropped.
    pub(crate) fn take_unchanged(&mut self) -> Option<Cut> {
        self.in_archive()?;
        let mut cut = Self::of_archive(&[]);
        cut.pages = self.pages.take();
        cut.room.clone_from(&self.room);
        Some(Cut { _pages: cut })
    }

    /// Bytes of memory it takes, in units of 512 bytes (`st_blocks`).
    pub(crate) fn blocks(&self) -> u64 {
        const PAGE_BLOCKS: u64 = FRAME_BYTES / 512;
        let in_archive = (self.origin.len() as u64).div_ceil(FRAME_BYTES);
        let own = self.pages.from(in_archive).count() as u64;
        (if in_archive == 0 { self.pages.len() as u64 } else { in_archive + own }) * PAGE_BLOCKS
    }

    /// What the archive has of a page.
    fn in_origin(&self, number: u64) -> &'static [u8] {
        let from = number.checked_mul(FRAME_BYTES).and_then(|from| usize::try_from(from).ok());
        let rest = from.and_then(|from| self.origin.get(from..)).unwrap_or(&[]);
        &rest[..rest.len().min(FRAME_BYTES as usize)]
    }

    /// Its length.
    pub const fn len(&self) -> u64 {
        self.length
    }

    /// The part of a range that lies in one page: the page's number, where in it, how many bytes.
    fn piece(offset: u64, bytes: usize) -> (u64, usize, usize) {
        let within = (offset % FRAME_BYTES) as usize;
        (offset / FRAME_BYTES, within, bytes.min(FRAME_BYTES as usize - within))
    }

    pub(crate) fn frame(&self, number: u64) -> Option<Frame> {
        let page = self.pages.get(self.pages.at_or_below(number)?)?;
        (page.number == number).then_some(page.frame)
    }

    /// Whether a page is there, be it in the archive.
    pub(crate) fn has(&self, number: u64) -> bool {
        !self.in_origin(number).is_empty() || self.frame(number).is_some()
    }

    /// A page for a mapping: one more user of its frame.
    pub(crate) fn page(&mut self, number: u64) -> Result<Frame, NoPage> {
        if number >= self.length.div_ceil(FRAME_BYTES) {
            return Err(NoPage::Beyond);
        }
        let frame = self.frame_or_new(number).map_err(|error| match error {
            Errno::ENOSPC => NoPage::Beyond,
            _ => NoPage::NoMemory,
        })?;
        frames::share(frame);
        Ok(frame)
    }

    /// Reads at an offset; 0: the end.
    pub fn read_at(&self, offset: u64, to: &mut [u8]) -> usize {
        let left = self.length.saturating_sub(offset);
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(to.len());
        let mut done = 0;
        while done < length {
            let (number, within, bytes) = Self::piece(offset + done as u64, length - done);
            let to = &mut to[done..done + bytes];
            match self.frame(number) {
                Some(frame) => frame.read(within, to),
                None => {
                    let here = self.in_origin(number).get(within..).unwrap_or(&[]);
                    let here = &here[..here.len().min(to.len())];
                    to[..here.len()].copy_from_slice(here);
                    to[here.len()..].fill(0);
                }
            }
            done += bytes;
        }
        length
    }

    /// Writes at an offset; what lies between the old end and there reads as zeros. Returns how
    /// many bytes there was room for.
    pub fn write_at(&mut self, offset: u64, from: &[u8]) -> Result<usize, Errno> {
        let top = offset.checked_add(from.len() as u64).filter(|&top| top <= MAX_BYTES);
        top.ok_or(Errno::EFBIG)?;
        let mut done = 0;
        while done < from.len() {
            let (number, within, bytes) = Self::piece(offset + done as u64, from.len() - done);
            let frame = match self.frame_or_new(number) {
                Ok(frame) => frame,
                // No memory is no room, for who writes.
                Err(_) if done == 0 => return Err(Errno::ENOSPC),
                Err(_) => break,
            };
            frame.write(within, &from[done..done + bytes]);
            done += bytes;
            self.length = self.length.max(offset + done as u64);
        }
        Ok(done)
    }

    fn frame_or_new(&mut self, number: u64) -> Result<Frame, Errno> {
        if let Some(frame) = self.frame(number) {
            return Ok(frame);
        }
        if self.is_counted && PAGES.fetch_add(1, Ordering::Relaxed) as u64 >= room().0 {
            PAGES.fetch_sub(1, Ordering::Relaxed);
            return Err(Errno::ENOSPC);
        }
        if let Some(room) = &self.room
            && let Err(full) = room.add_page()
        {
            self.count_less();
            return Err(full);
        }
        let added = frames::alloc_zeroed().ok_or(Errno::ENOMEM).and_then(|frame| {
            frame.write(0, self.in_origin(number));
            let page = Page { number, frame };
            self.pages.insert(page).map_err(|_| {
                frames::release(frame);
                Errno::ENOMEM
            })?;
            Ok(frame)
        });
        added.inspect_err(|_| {
            self.count_less();
            self.room.iter().for_each(|room| room.remove_page());
        })
    }

    /// A page of all files' less.
    fn count_less(&self) {
        if self.is_counted {
            PAGES.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn release(&self, page: Page) {
        frames::release(page.frame);
        self.count_less();
        self.room.iter().for_each(|room| room.remove_page());
    }

    /// Takes the pages from one number up to another one out: they read as zeros afterwards. Where
    /// the archive has something, a page of zeros stays.
    pub(crate) fn punch(&mut self, first: u64, end: u64) -> Result<Cut, Errno> {
        let mut cut = self.nothing_of_it();
        for number in first..end.min((self.origin.len() as u64).div_ceil(FRAME_BYTES)) {
            self.frame_or_new(number)?.zero_from(0);
        }
        let first = first.max((self.origin.len() as u64).div_ceil(FRAME_BYTES));
        while let Some(place) = self.pages.at_or_above(first)
            && self.pages.get(place).is_some_and(|page| page.number < end)
        {
            let page = self.pages.remove(place);
            if cut.pages.insert(page).is_err() {
                self.release(page);
            }
        }
        Ok(Cut { _pages: cut })
    }

    /// Fills the part of one page with zeros, if the page is there.
    pub(crate) fn zero(&mut self, from: u64, to: u64) -> Result<(), Errno> {
        if from >= to {
            return Ok(());
        }
        let (number, within, bytes) =
            Self::piece(from, usize::try_from(to - from).unwrap_or(usize::MAX));
        if self.has(number) {
            let frame = self.frame_or_new(number)?;
            frame.write(within, &[0; FRAME_BYTES as usize][..bytes]);
        }
        Ok(())
    }

    /// Sets the length: what is cut off is gone, what is added reads as zeros. Gives out what the
    /// caller drops after it has let the file's lock go.
    pub fn set_length(&mut self, length: u64) -> Result<Cut, Errno> {
        if length > MAX_BYTES {
            return Err(Errno::EINVAL);
        }
        let mut cut = self.nothing_of_it();
        self.begin_changing();
        let from_archive = usize::try_from(length).unwrap_or(usize::MAX).min(self.origin.len());
        self.origin = &self.origin[..from_archive];
        if length == 0 {
            cut.pages = self.pages.take();
        } else if length < self.length {
            let first = length.div_ceil(FRAME_BYTES);
            while let Some(place) = self.pages.at_or_above(first) {
                let page = self.pages.remove(place);
                // Where there is no memory to put it off, it goes now.
                if cut.pages.insert(page).is_err() {
                    self.release(page);
                }
            }
            let within = (length % FRAME_BYTES) as usize;
            if within > 0
                && let Some(frame) = self.frame(length / FRAME_BYTES)
            {
                frame.zero_from(within);
            }
        }
        self.length = length;
        Ok(Cut { _pages: cut })
    }
}

impl Drop for FileBytes {
    fn drop(&mut self) {
        self.pages.iter().for_each(|&page| self.release(page));
    }
}
