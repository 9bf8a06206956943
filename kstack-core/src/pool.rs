//! temp
use crate::addr::*;
use crate::erase::DirtyPages;
pub type AccountId = u32;
pub enum Exhausted {
    Frame,
    PageTable,
}
pub struct OverLimit;
pub trait Backing {
    fn charge(&mut self, account: AccountId, size: ByteSize) -> Result<(), OverLimit>;
    fn uncharge(&mut self, account: AccountId, size: ByteSize);
    fn map_page(&mut self, page: Addr) -> Result<(), Exhausted>;
    fn unmap_pages(&mut self, range: AddrRange);
    fn take_dirty(&mut self, body: AddrRange) -> DirtyPages;
    fn erase_page(&mut self, page: Addr);
}
