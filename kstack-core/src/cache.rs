//! temp
#[derive(Debug)]
pub struct CpuCache;
impl CpuCache {
    pub const fn new() -> Self {
        Self
    }
}
