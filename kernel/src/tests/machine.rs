//! Whether the kernel uses all of the machine it runs on, whatever its size. What the machine has, the command line says.

use super::support::until;
use super::{Outcome, check};
use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use machine::arch::layout::REACH;
use machine::arch::paging;
use machine::boot_info::{BootInfo, MemoryRegion};
use machine::cpus::{self, MAX_CPUS};
use machine::memory::boot_map::BootMap;
use machine::memory::frames::{self, FRAME_BYTES};
use machine::memory::{direct, heap};
use machine::options;
use threads::sched;

const MIB: u64 = 1 << 20;

fn number(key: &str) -> Result<u64, alloc::string::String> {
    let text = options::get(key).ok_or_else(|| format!("the command line has no {key}="))?;
    text.parse().map_err(|_| format!("{key}={text} is no number"))
}

/// All CPUs run, and threads run on each. All memory that the direct map can show is the allocator's, but for the kernel's own.
pub fn m1_every_cpu_and_all_memory_of_the_machine_are_used() -> Outcome {
    let (has_cpus, has_mib) = (number("has-cpus")?, number("has-mib")?);
    let most = has_cpus.min(MAX_CPUS as u64);
    // One that is late comes up after the others were started, and is who it was called.
    until("every CPU is up", || u64::from(cpus::online_count()) == most)
        .map_err(|_| format!("{} CPUs are up of {has_cpus}", cpus::online_count()))?;
    let id = |cpu: &cpus::Cpu| cpu.hardware_id.load(Ordering::Relaxed);
    for cpu in cpus::online() {
        let same = cpus::online().filter(|other| id(other) == id(cpu)).count();
        check!(same == 1 && id(cpu) != u32::MAX, "{same} CPUs are called {}", id(cpu));
    }
    let within_reach = (has_mib * MIB).min(REACH);
    let given = frames::total_count() as u64 * FRAME_BYTES;
    // Besides: the heap (an eighth at most), the books, the image, its archive, and what the firmware keeps.
    let least = within_reach / 4 * 3 - 12 * MIB;
    check!(given >= least, "{} MiB of {has_mib} are used", given / MIB);
    check!(given <= has_mib * MIB, "{} MiB are used, and there are {has_mib}", given / MIB);
    threads_run_on_all()
}

fn threads_run_on_all() -> Outcome {
    static RAN_ON: [AtomicU32; MAX_CPUS] = [const { AtomicU32::new(0) }; MAX_CPUS];
    static OVER: AtomicBool = AtomicBool::new(false);
    fn all_have() -> bool {
        let ran = |cpu: &cpus::Cpu| RAN_ON[cpu.id().index()].load(Ordering::Relaxed) > 0;
        cpus::online().all(ran)
    }
    fn body(_: usize) {
        while !OVER.load(Ordering::Relaxed) && !all_have() {
            machine::arch::cpu::without_interrupts(|| {
                RAN_ON[cpus::this().id().index()].fetch_add(1, Ordering::Relaxed)
            });
            sched::yield_now();
        }
    }
    RAN_ON.iter().for_each(|count| count.store(0, Ordering::Relaxed));
    OVER.store(false, Ordering::Relaxed);
    let one = |_| sched::spawn_kernel("everywhere", body, 0);
    let threads: Result<Vec<_>, _> = (0..cpus::online_count()).map(one).collect();
    let all = until("threads have run on every CPU", all_have);
    OVER.store(true, Ordering::Relaxed);
    for thread in threads.map_err(|error| format!("{error:?}"))? {
        thread.join();
    }
    all
}

/// In each stretch that nobody has used yet, a few frames are written and read: all are there, and no two are the same.
pub fn m1_memory_that_was_never_used_is_mapped_and_each_frame_is_its_own() -> Outcome {
    const PLACES: u64 = 5;
    let places = || {
        frames::fresh().filter(|(lowest, top)| top - lowest >= PLACES * FRAME_BYTES).flat_map(
            |(lowest, top)| {
                let last = (top - lowest) / FRAME_BYTES - 1;
                (0..PLACES).map(move |place| lowest + last * place / (PLACES - 1) * FRAME_BYTES)
            },
        )
    };
    check!(places().count() > 0, "no memory is left that was never used");
    for at in places() {
        let address = direct::<u64>(at) as u64;
        check!(paging::kernel_is_mapped(address), "memory at {at:#x} is not in the direct map");
        // SAFETY: (1) mapped; (2) a frame that nobody has been given yet, far from the next ones that will be.
        unsafe { direct::<u64>(at).write_volatile(!at) };
    }
    for at in places() {
        // SAFETY: (1) (2) as above.
        let found = unsafe { direct::<u64>(at).read_volatile() };
        check!(found == !at, "memory at {at:#x} holds {found:#x}, which was written for another");
    }
    Ok(())
}

/// Booting takes frames for page tables, and none because there are many.
pub fn m1_booting_touches_page_tables_and_no_other_memory() -> Outcome {
    /// Frames for the tables of the kernel's image, of devices and of what the upper levels need, and for ends of stretches.
    const BESIDES: usize = 96;
    /// Frames that one table of blocks of 2 MiB maps.
    const PER_TABLE: usize = 512 * 512;
    let (touched, total) = (frames::touched_at_boot(), frames::total_count());
    let most = total / PER_TABLE + BESIDES;
    check!(
        touched <= most,
        "{touched} frames of {total} were used to set memory up, and {most} would do"
    );
    check!(touched > 0, "the page tables were made of nothing");
    check!(heap::allocated_bytes() > 0, "the heap is empty");
    Ok(())
}

/// The map of a loader that lists stretches out of order, overlapping, and within a page.
pub fn m1_free_memory_at_boot_is_whole_pages_of_ram_that_nothing_else_is_in() -> Outcome {
    let mut info = Box::new(BootInfo::new());
    for (lowest, bytes, is_ram) in [
        (0x40_0000, 0x10_0000, true),
        (0x10_0800, 0x1_0000, true),
        (0x44_0000, 0x20_0000, true),
        (0x45_0010, 0x10, false),
        (0x9000, 0, true),
        (0x64_0000, 0x800, true),
        (u64::MAX - 0x1fff, 0x2000, true),
    ] {
        info.add_region(MemoryRegion { lowest, bytes, is_ram });
    }
    let mut map = BootMap::new(&info);
    map.take(0x10_2000, 0x10_2001);
    let top_page = (u64::MAX - 0x1fff, !0xfff);
    let free: Vec<_> = map.free().collect();
    let expected = [
        (0x10_1000, 0x10_2000),
        (0x10_3000, 0x11_0000),
        (0x40_0000, 0x45_0000),
        (0x45_1000, 0x64_0000),
        top_page,
    ];
    let joined = joined(&free);
    check!(joined == expected, "free is {joined:#x?}");
    // Room is found where it fits, below the limit, and then it is gone.
    check!(map.find(0x2000, 0x10_3000).is_none(), "room that is not there");
    check!(map.find(0x6_0000, u64::MAX) == Some(0x45_1000), "room is not found where it fits");
    check!(map.find(0x1000, 0x10_2000) == Some(0x10_1000), "the lowest page is free");
    check!(map.free().next() == Some((0x10_3000, 0x11_0000)), "what was found is still free");
    check!(map.longest(0x45_0000) == 0x5_0000, "the longest stretch below a limit");
    Ok(())
}

/// An archive that lies where the loader's map has something reserved, or no memory at all.
pub fn m1_an_archive_outside_the_memory_map_is_memory_and_what_is_around_it_is_not() -> Outcome {
    let mut info = Box::new(BootInfo::new());
    for (lowest, bytes, is_ram) in [(0x10_0000, 0x10_0000, true), (0x20_0000, 0x10_0000, false)] {
        info.add_region(MemoryRegion { lowest, bytes, is_ram });
    }
    info.claim(0x1f_f000, 0x20_1000);
    info.claim(0x28_0000, 0x28_3000);
    info.claim(0x40_0000, 0x40_1000);
    let free: Vec<_> = BootMap::new(&info).free().collect();
    let expected = [(0x10_0000, 0x20_1000), (0x28_0000, 0x28_3000), (0x40_0000, 0x40_1000)];
    check!(joined(&free) == expected, "memory is {free:#x?}");
    check!(info.dropped == 0, "{} stretches were dropped", info.dropped);
    Ok(())
}

/// What a device tree reserves lies at an end of a stretch, in its middle, around it, or nowhere.
pub fn m1_memory_that_firmware_keeps_is_left_out() -> Outcome {
    let mut info = Box::new(BootInfo::new());
    for (lowest, bytes, is_ram) in [
        (0x10_0000, 0x10_0000, true),
        (0x40_0000, 0x10_0000, true),
        (0x80_0000, 0x1000, true),
        (0x90_0000, 0x1000, false),
    ] {
        info.add_region(MemoryRegion { lowest, bytes, is_ram });
    }
    info.leave_out(0x10_0000, 0x10_1000);
    info.leave_out(0x1f_f000, 0x41_0000);
    info.leave_out(0x44_0000, 0x45_0000);
    info.leave_out(0x7f_0000, 0x91_0000);
    info.leave_out(0xa0_0000, 0xb0_0000);
    let free: Vec<_> = BootMap::new(&info).free().collect();
    let expected = [(0x10_1000, 0x1f_f000), (0x41_0000, 0x44_0000), (0x45_0000, 0x50_0000)];
    check!(joined(&free) == expected, "memory is {free:#x?}");
    let kept = info.regions().filter(|region| !region.is_ram).count();
    check!(kept == 1, "{kept} stretches are no RAM");
    Ok(())
}

/// Stretches without the seams between those that touch.
fn joined(stretches: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut joined: Vec<(u64, u64)> = Vec::new();
    for &(lowest, top) in stretches {
        match joined.last_mut() {
            Some(last) if last.1 == lowest => last.1 = top,
            _ => joined.push((lowest, top)),
        }
    }
    joined
}
