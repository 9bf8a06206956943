//! The structures that are the same on all machines with 64-bit words.

use super::common::{SystemInfo, put};

/// `struct sysinfo`: uptime 0, loads 8, totalram 32, freeram 40, sharedram 48, bufferram 56,
/// totalswap 64, freeswap 72, procs 80, mem_unit 104.
pub fn encode_sysinfo(info: &SystemInfo) -> [u8; 112] {
    let mut bytes = [0; 112];
    put(&mut bytes, 0, info.uptime_seconds.to_le_bytes());
    put(&mut bytes, 32, info.total_bytes.to_le_bytes());
    put(&mut bytes, 40, info.free_bytes.to_le_bytes());
    put(&mut bytes, 80, info.processes.to_le_bytes());
    put(&mut bytes, 104, 1u32.to_le_bytes());
    bytes
}

/// `struct timespec` and `struct timeval` alike: two 64-bit numbers.
pub fn encode_pair(first: u64, second: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    put(&mut bytes, 0, first.to_le_bytes());
    put(&mut bytes, 8, second.to_le_bytes());
    bytes
}

/// `struct statfs`: type 0, bsize 8, blocks 16, bfree 24, bavail 32, files 40, ffree 48, namelen
/// 64, frsize 72.
pub fn encode_statfs(kind: u64, [blocks, free]: [u64; 2], flags: u64) -> [u8; 120] {
    let mut bytes = [0; 120];
    for (offset, value) in [
        (0, kind),
        (8, 4096),
        (16, blocks),
        (24, free),
        (32, free),
        (64, 255),
        (72, 4096),
        (80, flags),
    ] {
        put(&mut bytes, offset, value.to_le_bytes());
    }
    bytes
}

/// Bytes of `struct rusage`: two times and fourteen words.
pub const RUSAGE_BYTES: u64 = 144;
