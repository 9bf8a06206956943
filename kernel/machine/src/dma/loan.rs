//! One stretch of memory on loan to a device: the part below [`Mapping`](super::Mapping) that owns
//! nothing and borrows nothing.
//!
//! ```text
//!   lend ──▶ refused: a stack's, no memory, in pieces
//!     │
//!     ├──▶ the buffer itself                        address = the buffer's
//!     └──▶ a copy, from the heap, that is reached   address = the copy's
//!   give: the device's turn    take: the CPU's turn    end: the copy goes
//! ```

use super::copies;
use super::device::Device;
use super::memory::Physical;
use crate::arch::caches;
use crate::fn_cell::FnCell;
use crate::memory::direct;
use core::fmt;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, Ordering};
use kstack::addr::{Addr, AddrRange, ByteSize};
use kstack::dma::entry::{AsEntry, Entry};
use kstack::dma::limits::LimitError;
use kstack::dma::on_stack::OnStack;
use kstack::dma::transfer::{Bounce, Direction, Turn, Upkeep, bounce, upkeep};
use kstack::dma::{Memory, Proven, Refused, judge};

/// Why a device is not given memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DmaError {
    /// It is a stack's, or no memory.
    Refused(Refused),
    /// It lies in several pieces, and one was asked for.
    Scattered,
    /// The device does not take it so.
    Limit(LimitError),
    /// There is no memory for the copy that the device would work on, or none that it reaches.
    NoCopy(Bounce),
    /// There is no memory.
    NoMemory,
    /// The device does not see the CPUs' caches, and they cannot be kept up for it.
    Incoherent,
}

impl fmt::Display for DmaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(why) => why.fmt(f),
            Self::Scattered => f.write_str("it lies in several pieces of physical memory"),
            Self::Limit(why) => why.fmt(f),
            Self::NoCopy(why) => write!(f, "there is no memory for a copy, and {why}"),
            Self::NoMemory => f.write_str("there is no memory"),
            Self::Incoherent => f.write_str("this CPU's caches cannot be kept up for a device"),
        }
    }
}

impl From<Refused> for DmaError {
    fn from(why: Refused) -> Self {
        Self::Refused(why)
    }
}

impl From<LimitError> for DmaError {
    fn from(why: LimitError) -> Self {
        Self::Limit(why)
    }
}

/// What was tried.
#[derive(Debug)]
pub struct Tried {
    /// The device's name.
    pub device: &'static str,
    /// The buffer that it was to be given, and the stack.
    pub met: OnStack,
}

static ON_REFUSAL: FnCell<fn(&mut Tried)> = FnCell::new();
static REFUSED: AtomicU32 = AtomicU32::new(0);
static COPIED: AtomicU32 = AtomicU32::new(0);

/// What is called when a buffer on a stack is refused to a device, from now on.
pub fn set_on_refusal(call: Option<fn(&mut Tried)>) {
    ON_REFUSAL.set(call);
}

/// How often what happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusals {
    /// A buffer on a stack was refused.
    pub refused: u32,
    /// A device worked on a copy.
    pub copied: u32,
}

/// How often so far.
pub fn refusals() -> Refusals {
    Refusals { refused: REFUSED.load(Ordering::Relaxed), copied: COPIED.load(Ordering::Relaxed) }
}

/// A device does not get it. Told once, with the device's name; each time, where that is asked for.
fn tell(device: &Device, met: &OnStack) {
    if REFUSED.fetch_add(1, Ordering::Relaxed) == 0 {
        log!("{}: {}", device.name, Refused::OnStack(*met));
    }
    if let Some(call) = ON_REFUSAL.get() {
        call(&mut Tried { device: device.name, met: *met });
    }
}

/// A stretch of memory on loan to a device. Not ended by itself: see [`Loan::end`].
#[derive(Debug)]
pub struct Loan {
    device: &'static Device,
    buffer: NonNull<[u8]>,
    direction: Direction,
    /// What the device is told.
    address: u64,
    is_copy: bool,
}

impl Loan {
    /// Lends a stretch of memory without gaps. It is the device's turn afterwards.
    ///
    /// # Safety
    ///
    /// 1. The memory stays what it is until the loan ends, and is initialised.
    /// 2. Nothing reads it while a device writes, and nothing writes it while a device reads.
    #[track_caller]
    pub unsafe fn lend(
        device: &'static Device,
        buffer: NonNull<[u8]>,
        direction: Direction,
    ) -> Result<Self, DmaError> {
        let entry = piece(device, buffer)?;
        // What is out of reach becomes a copy; everything else must be one segment.
        if entry.last() <= device.limits.highest() {
            device.limits.at_most(1).check([entry])?;
        }
        // SAFETY: (1) by the caller's promise; (2) just found.
        unsafe { Self::lend_piece(device, buffer, entry, direction) }
    }

    /// The same of memory that is known to be no stack's, and to lie in one piece.
    ///
    /// # Safety
    ///
    /// 1. As for [`Loan::lend`].
    /// 2. `entry` is where the memory lies, and no stack is there.
    pub(super) unsafe fn lend_piece(
        device: &'static Device,
        buffer: NonNull<[u8]>,
        entry: Entry,
        direction: Direction,
    ) -> Result<Self, DmaError> {
        let line = device.line();
        if line == Some(0) {
            return Err(DmaError::Incoherent);
        }
        let highest = device.limits.highest();
        if let Some(why) = bounce(entry.lowest(), entry.last(), highest, line, direction) {
            // SAFETY: (1) (2) by the caller's promise.
            return unsafe { Self::lend_copy(device, buffer, direction) }
                .map_err(|_| DmaError::NoCopy(why));
        }
        let loan = Self { device, buffer, direction, address: entry.lowest(), is_copy: false };
        // SAFETY: (1) (2) by the caller's promise.
        unsafe { loan.give() };
        Ok(loan)
    }

    /// The same by a copy, wherever the memory lies.
    ///
    /// # Safety
    ///
    /// 1. As for [`Loan::lend`].
    pub unsafe fn lend_copy(
        device: &'static Device,
        buffer: NonNull<[u8]>,
        direction: Direction,
    ) -> Result<Self, DmaError> {
        let address = copies::take(buffer.len(), &device.limits).ok_or(DmaError::NoMemory)?;
        COPIED.fetch_add(1, Ordering::Relaxed);
        let loan = Self { device, buffer, direction, address, is_copy: true };
        // SAFETY: (1) (2) by the caller's promise.
        unsafe { loan.give() };
        Ok(loan)
    }

    /// A loan that was forgotten, by what it was made of.
    ///
    /// # Safety
    ///
    /// 1. It was made of these and forgotten; `address` is what it said.
    pub unsafe fn found(
        device: &'static Device,
        buffer: NonNull<[u8]>,
        direction: Direction,
        address: u64,
    ) -> Self {
        let own = Physical::physical(Addr::new(buffer.cast::<u8>().as_ptr().addr()));
        Self { device, buffer, direction, address, is_copy: own != Some(address) }
    }

    /// What the device is told.
    pub const fn address(&self) -> u64 {
        self.address
    }

    /// Whether the device works on a copy.
    pub const fn is_copy(&self) -> bool {
        self.is_copy
    }

    /// The memory.
    pub const fn buffer(&self) -> NonNull<[u8]> {
        self.buffer
    }

    /// Where the kernel sees what the device works on.
    const fn seen(&self) -> *mut u8 {
        if self.is_copy { direct(self.address) } else { self.buffer.cast().as_ptr() }
    }

    fn keep_up(&self, turn: Turn) {
        if self.device.line().is_none() {
            return;
        }
        // SAFETY: (1) the loan's memory, mapped; (2) whole lines: other memory is lent as a copy,
        // which is alone in its lines.
        unsafe {
            match upkeep(self.direction, turn) {
                Upkeep::Nothing => {}
                Upkeep::Clean => caches::clean(self.seen(), self.buffer.len()),
                Upkeep::Invalidate => caches::invalidate(self.seen(), self.buffer.len()),
            }
        }
    }

    /// The device's turn: it finds what the CPU wrote.
    ///
    /// # Safety
    ///
    /// 1. It is the CPU's turn, and as for [`Loan::lend`].
    pub unsafe fn give(&self) {
        if self.is_copy {
            // Also where the device only writes: what it leaves out must not come back as zeros.
            // SAFETY: (1) two stretches of so many bytes, one of them this loan's own; (2) no
            // device works on it yet.
            unsafe {
                let from: *const u8 = self.buffer.cast::<u8>().as_ptr();
                self.seen().copy_from_nonoverlapping(from, self.buffer.len());
            }
        }
        self.keep_up(Turn::Device);
        caches::settle();
    }

    /// The CPU's turn: it finds what the device wrote.
    ///
    /// # Safety
    ///
    /// 1. The device is done, and as for [`Loan::lend`].
    pub unsafe fn take(&self) {
        caches::settle();
        self.keep_up(Turn::Cpu);
        if self.is_copy && self.direction.device_writes() {
            // SAFETY: (1) as in `give`; (2) the device is done.
            unsafe {
                let to = self.buffer.cast::<u8>().as_ptr();
                to.copy_from_nonoverlapping(self.seen(), self.buffer.len());
            }
        }
    }

    /// Ends the loan. It is the CPU's turn afterwards, for good.
    ///
    /// # Safety
    ///
    /// 1. The device is done, and does not use the address any more.
    /// 2. This is the last use of the loan.
    pub unsafe fn end(&mut self) {
        // SAFETY: (1) by the caller's promise.
        unsafe { self.take() };
        if self.is_copy {
            // SAFETY: (1) taken by `lend_copy` for so many bytes; this is its last use.
            unsafe { copies::give_back(self.address, self.buffer.len()) };
        }
    }
}

/// The one piece of physical memory that a buffer is, if it may be a device's.
#[track_caller]
fn piece(device: &Device, buffer: NonNull<[u8]>) -> Result<Entry, DmaError> {
    let lowest = Addr::new(buffer.cast::<u8>().as_ptr().addr());
    let range = AddrRange::sized(lowest, ByteSize::new(buffer.len()));
    if let Err(Refused::OnStack(met)) = judge::<Physical>(range) {
        tell(device, &met);
    }
    // SAFETY: (1) the entries are used here only.
    let mut entries = unsafe { Proven::checked_raw::<Physical>(buffer) }?;
    let missing = |why| DmaError::Refused(Refused::NotMapped(why));
    let first = entries.next().ok_or(DmaError::NoMemory)?.map_err(missing)?;
    match entries.next() {
        None => Ok(first.entry()),
        Some(_) => Err(DmaError::Scattered),
    }
}
