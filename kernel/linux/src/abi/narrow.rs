//! The structures that are the same on all machines with 32-bit words.

use super::common::{SystemInfo, put};

/// `struct sysinfo`: uptime 0, loads 4, totalram 16, freeram 20, sharedram 24, bufferram 28,
/// totalswap 32, freeswap 36, procs 40, mem_unit 52.
pub fn encode_sysinfo(info: &SystemInfo) -> [u8; 64] {
    let mut bytes = [0; 64];
    put(&mut bytes, 0, (info.uptime_seconds as u32).to_le_bytes());
    put(&mut bytes, 16, (info.total_bytes as u32).to_le_bytes());
    put(&mut bytes, 20, (info.free_bytes as u32).to_le_bytes());
    put(&mut bytes, 40, info.processes.to_le_bytes());
    put(&mut bytes, 52, 1u32.to_le_bytes());
    bytes
}

/// `struct timespec`, `struct timeval` and `struct rlimit` alike: two 32-bit numbers; what is
/// larger counts as the largest.
pub fn encode_pair(first: u64, second: u64) -> [u8; 8] {
    let mut bytes = [0; 8];
    put(&mut bytes, 0, u32::try_from(first).unwrap_or(u32::MAX).to_le_bytes());
    put(&mut bytes, 4, u32::try_from(second).unwrap_or(u32::MAX).to_le_bytes());
    bytes
}

/// `struct statfs64`: type 0, bsize 4, blocks 8, bfree 16, bavail 24, files 32, ffree 40, fsid 48,
/// namelen 56, frsize 60.
pub fn encode_statfs(kind: u64, [blocks, free]: [u64; 2], flags: u64) -> [u8; 84] {
    let mut bytes = [0; 84];
    for (offset, value) in [(0, kind), (4, 4096), (56, 255), (60, 4096), (64, flags)] {
        put(&mut bytes, offset, (value as u32).to_le_bytes());
    }
    for (offset, value) in [(8, blocks), (16, free), (24, free)] {
        put(&mut bytes, offset, value.to_le_bytes());
    }
    bytes
}

/// Bytes of `struct rusage`: two times and fourteen words.
pub const RUSAGE_BYTES: u64 = 72;
