//! What every boot loader tells, in one form: memory, the initial archive, the command line.
//! Physical addresses.

/// One stretch of the memory map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryRegion {
    /// Where it starts.
    pub lowest: u64,
    /// Its length.
    pub bytes: u64,
    /// Whether it is RAM that the kernel may use.
    pub is_ram: bool,
}

impl MemoryRegion {
    /// Where it ends.
    pub const fn top(&self) -> u64 {
        self.lowest.saturating_add(self.bytes)
    }
}

/// Stretches that are kept at most; what is more is left unused.
const MAX_REGIONS: usize = 128;
/// Bytes of the command line that are kept at most.
const MAX_LINE: usize = 4096;

/// What the kernel keeps of it: copied, because the loader's own copy lies in memory that is given
/// out.
#[derive(Debug)]
pub struct BootInfo {
    regions: [Option<MemoryRegion>; MAX_REGIONS],
    /// The initial RAM archive: where it starts and its length.
    pub initrd: Option<(u64, u64)>,
    /// Stretches that there was no room for.
    pub dropped: u32,
    line: [u8; MAX_LINE],
    line_length: usize,
}

impl BootInfo {
    /// Nothing known.
    pub const fn new() -> Self {
        Self {
            regions: [const { None }; MAX_REGIONS],
            initrd: None,
            dropped: 0,
            line: [0; MAX_LINE],
            line_length: 0,
        }
    }

    /// Takes a stretch out of all RAM, as if it were not there.
    pub fn leave_out(&mut self, lowest: u64, top: u64) {
        for index in 0..MAX_REGIONS {
            let Some(region) = self.regions[index].filter(|region| region.is_ram) else { continue };
            if region.lowest >= top || region.top() <= lowest {
                continue;
            }
            let piece = |lowest: u64, top: u64| MemoryRegion {
                lowest,
                bytes: top.saturating_sub(lowest),
                is_ram: true,
            };
            self.regions[index] =
                Some(piece(region.lowest, lowest)).filter(|below| below.bytes > 0);
            // Comes by again, perhaps, and is out of reach then.
            self.add_region(piece(top, region.top()));
        }
    }

    /// Adds a stretch of memory; counts it if there is no room. Empty ones say nothing.
    pub fn add_region(&mut self, region: MemoryRegion) {
        if region.bytes == 0 {
            return;
        }
        match self.regions.iter_mut().find(|slot| slot.is_none()) {
            Some(slot) => *slot = Some(region),
            None => self.dropped += 1,
        }
    }

    /// Makes a stretch RAM, whatever the map has there: something is in it that is to be read.
    #[inline(never)]
    pub fn claim(&mut self, lowest: u64, top: u64) {
        for index in 0..MAX_REGIONS {
            let Some(region) = self.regions[index].filter(|region| !region.is_ram) else {
                continue;
            };
            let (from, end) = (region.lowest, region.top());
            if end <= lowest || from >= top {
                continue;
            }
            self.regions[index] = None;
            self.add_region(MemoryRegion { bytes: lowest.saturating_sub(from), ..region });
            self.add_region(MemoryRegion { lowest: top, bytes: end.saturating_sub(top), ..region });
        }
        self.add_region(MemoryRegion { lowest, bytes: top - lowest, is_ram: true });
    }

    /// Forgets what lies from `top` on, for a machine whose kernel cannot reach it. Bytes of RAM
    /// that are lost so.
    pub fn leave_out_from(&mut self, top: u64) -> u64 {
        let mut lost = 0;
        for slot in &mut self.regions {
            let Some(region) = slot else { continue };
            let bytes = region.bytes.min(top.saturating_sub(region.lowest));
            lost += if region.is_ram { region.bytes - bytes } else { 0 };
            region.bytes = bytes;
            if bytes == 0 {
                *slot = None;
            }
        }
        lost
    }

    /// The memory map.
    pub fn regions(&self) -> impl Iterator<Item = MemoryRegion> + Clone {
        self.regions.iter().flatten().copied()
    }

    /// The part of it that is RAM.
    pub fn ram(&self) -> impl Iterator<Item = MemoryRegion> + Clone {
        self.regions().filter(|region| region.is_ram)
    }

    /// Keeps the command line, byte by byte up to a NUL; cut off if it is too long.
    pub fn set_command_line(&mut self, bytes: impl Iterator<Item = u8>) {
        self.line_length = 0;
        for (slot, byte) in self.line.iter_mut().zip(bytes.take_while(|&byte| byte != 0)) {
            *slot = byte;
            self.line_length += 1;
        }
    }

    /// The command line.
    pub fn command_line(&self) -> &[u8] {
        &self.line[..self.line_length]
    }
}
