//! What a boot loader hands over through the PVH protocol: memory, the initial archive, the command
//! line.

use super::acpi;
use crate::boot_info::{BootInfo, MemoryRegion};
use crate::memory::frames::FRAME_BYTES;

/// What the boot loader hands over (PVH start info, version 1). Physical addresses.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct StartInfo {
    magic: u32,
    version: u32,
    flags: u32,
    modules: u32,
    modules_at: u64,
    command_line_at: u64,
    rsdp_at: u64,
    memory_map_at: u64,
    memory_map_entries: u32,
    reserved: u32,
}

/// One stretch of the memory map.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct MapEntry {
    lowest: u64,
    bytes: u64,
    /// 1: RAM that the kernel may use.
    kind: u32,
    reserved: u32,
}

/// A file loaded next to the kernel.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct Module {
    lowest: u64,
    bytes: u64,
    command_line_at: u64,
    reserved: u64,
}

/// Reads the start info at the physical address the boot loader gave. Says whether it is one.
///
/// # Safety
///
/// 1. The boot page tables are active: what the loader and the firmware left is mapped one to one.
pub unsafe fn read(start_info: u64, boot: &mut BootInfo) -> bool {
    // SAFETY: (1) by the caller's promise.
    let info = unsafe { (start_info as *const StartInfo).read_unaligned() };
    if info.magic != 0x336e_c578 {
        return false;
    }
    boot.initrd = (info.modules > 0).then(|| {
        // SAFETY: (1) as above.
        let module = unsafe { (info.modules_at as *const Module).read_unaligned() };
        (module.lowest, module.bytes)
    });
    for number in 0..u64::from(info.memory_map_entries) {
        let at = info.memory_map_at + number * size_of::<MapEntry>() as u64;
        // SAFETY: (1) as above.
        let entry = unsafe { (at as *const MapEntry).read_unaligned() };
        let (lowest, bytes) = (entry.lowest, entry.bytes);
        boot.add_region(MemoryRegion { lowest, bytes, is_ram: entry.kind == 1 });
    }
    // Some loaders put it where their own map has no memory.
    if let Some((lowest, bytes)) = boot.initrd {
        let from = lowest & !(FRAME_BYTES - 1);
        boot.claim(from, (lowest + bytes).next_multiple_of(FRAME_BYTES));
    }
    if info.command_line_at != 0 {
        // SAFETY: (1) as above; the string ends with a NUL, and nothing is read after it.
        let byte = |at: u64| unsafe { ((info.command_line_at + at) as *const u8).read() };
        boot.set_command_line((0..).map(byte));
    }
    acpi::remember_root(info.rsdp_at);
    true
}
