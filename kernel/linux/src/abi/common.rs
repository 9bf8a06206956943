//! What every interface is written in: the calls, what structures are made from, and structures
//! that are alike on every machine.

/// The lowest address a program may map, so that a null pointer with a small offset still faults.
pub const USER_LOWEST: u64 = 0x1_0000;

/// What `stat` tells about a file, before it is laid out.
#[derive(Clone, Copy, Default)]
pub struct Stat {
    pub inode: u64,
    pub mode: u32,
    pub links: u64,
    pub bytes: u64,
    /// Units of 512 bytes that it takes.
    pub blocks: u64,
    /// Which device it is, if it is one.
    pub device: u64,
    pub user: u32,
    pub group: u32,
    /// The device of the file system it lies on.
    pub file_system: u64,
    /// When it was last read, written, changed: seconds and nanoseconds.
    pub times: [(u64, u32); 3],
    /// What lsattr shows (`FS_IOC_GETFLAGS`): `files::attributes::file_flag`.
    pub flags: u32,
}

/// What `sysinfo` tells.
#[derive(Clone, Copy, Default)]
pub struct SystemInfo {
    pub uptime_seconds: u64,
    pub total_bytes: u64,
    pub free_bytes: u64,
    pub processes: u16,
}

/// Writes a little-endian integer into a structure being laid out by offset.
pub(super) fn put<const N: usize>(bytes: &mut [u8], offset: usize, value: [u8; N]) {
    bytes[offset..offset + N].copy_from_slice(&value);
}

/// `struct utsname`: six fields of 65 bytes.
pub fn encode_utsname(fields: [&str; 6]) -> [u8; 390] {
    let mut bytes = [0; 390];
    for (slot, field) in bytes.chunks_exact_mut(65).zip(fields) {
        let length = field.len().min(64);
        slot[..length].copy_from_slice(&field.as_bytes()[..length]);
    }
    bytes
}

/// `struct __kernel_timespec` and `struct rlimit64`, on machines of any word size: two 64-bit
/// numbers.
pub fn encode_long_pair(first: u64, second: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    put(&mut bytes, 0, first.to_le_bytes());
    put(&mut bytes, 8, second.to_le_bytes());
    bytes
}

/// `struct statx`: mask 0, blksize 4, nlink 16, mode 28, ino 32, size 40, blocks 48, atime 64,
/// btime 80, ctime 96, mtime 112, rdev 128 and 132, dev 136 and 140. The same on every machine.
pub fn encode_statx(stat: &Stat) -> [u8; 256] {
    const BASIC_STATS: u32 = 0x7ff;
    /// Of a file's flags, those that are told here, as they are numbered there.
    const TOLD_FLAGS: u64 = 0x70;
    let mut bytes = [0; 256];
    put(&mut bytes, 8, (u64::from(stat.flags) & TOLD_FLAGS).to_le_bytes());
    put(&mut bytes, 56, TOLD_FLAGS.to_le_bytes());
    put(&mut bytes, 0, BASIC_STATS.to_le_bytes());
    put(&mut bytes, 4, 4096u32.to_le_bytes());
    put(&mut bytes, 16, (stat.links as u32).to_le_bytes());
    put(&mut bytes, 28, (stat.mode as u16).to_le_bytes());
    put(&mut bytes, 32, stat.inode.to_le_bytes());
    put(&mut bytes, 40, stat.bytes.to_le_bytes());
    put(&mut bytes, 48, stat.blocks.to_le_bytes());
    put(&mut bytes, 20, stat.user.to_le_bytes());
    put(&mut bytes, 24, stat.group.to_le_bytes());
    for (offset, (seconds, nanoseconds)) in [64, 112, 96].into_iter().zip(stat.times) {
        put(&mut bytes, offset, seconds.to_le_bytes());
        put(&mut bytes, offset + 8, nanoseconds.to_le_bytes());
    }
    put(&mut bytes, 128, (stat.device as u32 >> 8).to_le_bytes());
    put(&mut bytes, 132, (stat.device as u32 & 0xff).to_le_bytes());
    put(&mut bytes, 136, (stat.file_system as u32 >> 8).to_le_bytes());
    put(&mut bytes, 140, (stat.file_system as u32 & 0xff).to_le_bytes());
    bytes
}
