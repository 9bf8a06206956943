//! temp
pub struct DirtyPages(pub u16);
impl DirtyPages {
    pub const NONE: Self = Self(0);
    pub fn insert(&mut self, i: usize) {
        self.0 |= 1 << i;
    }
}
