//! Memory for devices: what a driver asks for before it tells a device an address.
//!
//! ```text
//!   Mapping     one piece of memory, lent to a device and taken back           streaming
//!   MappedList  several, cut to what the device takes                          streaming
//!   Coherent    pages that CPU and device use at the same time                 rings, tables
//!   Through     the same for drivers of the crate `virtio-drivers`
//! ```
//!
//! A buffer belongs to one side at a time. `Mapping` owns it while it is the device's, so that safe
//! code can neither read it half written nor free it; dropping the mapping ends the loan. What the
//! device cannot work on itself (out of its reach, or sharing a cache line with something else
//! while the device does not see caches) it gets as a copy.
//!
//! **A buffer on a stack is refused**, whatever its kind and whatever address of it is given
//! ([`kstack::dma`]): a stack's pages lie anywhere, and a device counts on from the first. Code
//! that has tried is told which stack, and with `dma=stop` on the command line, or in a debug
//! build, the machine stops there.
//!
//! An address is a physical one: none of the machines here puts a translation between device and
//! memory.

mod coherent;
mod copies;
mod device;
mod list;
mod loan;
mod mapping;
mod memory;
mod through;

pub use coherent::Coherent;
pub use device::Device;
pub use list::MappedList;
pub use loan::{DmaError, Loan, Refusals, Tried, refusals, set_on_refusal};
pub use mapping::{HeapBytes, Mapping};
pub use memory::Physical;
pub use through::{Reaches, Through};
