//! What becomes of a buffer on a stack that a device is given all the same, and what devices are
//! given instead: with a cipher, and with the emulator's disk and random bytes.

use super::dma::on_stack;
use super::support::stack_at;
use super::{Outcome, check};
use crate::across_pages::{self, BYTES, Crossing, HALF};
use alloc::boxed::Box;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use core::hint::black_box;
use core::ptr::NonNull;
use kstack::addr::{Addr, PAGE_BYTES};
use kstack::dma::limits::Limits;
use kstack::dma::on_stack::Part;
use kstack::dma::transfer::Direction;
use kstack::dma::{Memory, Proven};
use machine::arch::caches;
use machine::dma::{
    Coherent, Device, DmaError, HeapBytes, Loan, MappedList, Mapping, Physical, Reaches, Through,
    refusals, set_on_refusal,
};
use machine::drivers::virtio::virtio_drivers::device::blk::{SECTOR_SIZE, VirtIOBlk};
use machine::drivers::virtio::virtio_drivers::{BufferDirection, Hal, PhysAddr};
use machine::drivers::virtio::{OfDisk, disk, random, way_to_disk};
use machine::memory::{IMAGE, direct, heap};
use salsa20::Salsa20;
use salsa20::cipher::{KeyIvInit, StreamCipher};

fn pattern() -> Vec<u8> {
    (0..BYTES).map(|at| (at % 251) as u8).collect()
}

fn encrypt(bytes: &mut [u8]) {
    let mut cipher = Salsa20::new(&[7; 32].into(), &[9; 8].into());
    cipher.apply_keystream(bytes);
}

unsafe extern "C" {
    static data_top: u8;
}

/// A device that lives on.
fn leak(device: &Device) -> &'static Device {
    let copy = Device { name: device.name, limits: device.limits, sees_caches: device.sees_caches };
    Box::leak(Box::new(copy))
}

/// The failure: a cipher runs over a buffer on a stack as a driver would that translates the first
/// byte and counts on. Red where the pages follow each other, which the experiment rules out.
pub fn d3_a_cipher_over_one_piece_of_a_stacks_buffer_gives_wrong_bytes() -> Outcome {
    across_pages::with_crossing(cipher)?
}

fn cipher(found: &Crossing) -> Outcome {
    let plain = pattern();
    let mut right = plain.clone();
    encrypt(&mut right);
    found.fill(&plain);
    found.fill_next(0xee);
    let mut others = vec![0xee; HALF];
    // In place, where a device would.
    let mut seen = found.as_one_piece();
    encrypt(&mut seen);
    found.fill_one_piece(&seen);
    let wrong = found.bytes();
    check!(wrong[..HALF] == right[..HALF], "the first page is not encrypted");
    check!(wrong[HALF..] == plain[HALF..], "the second page is not as it was");
    encrypt_part(&mut others);
    check!(found.next_bytes() == others, "the page that follows was not written to");
    log!(
        "d3: the buffer {:#x} is at {:#x} and {:#x}; in one piece it would go on at {:#x}",
        found.at,
        found.first,
        found.second,
        found.next
    );
    log!(
        "d3: wanted {:02x?}, got {:02x?} at byte {HALF}; another's page went from ee to {:02x}",
        &right[HALF..HALF + 6],
        &wrong[HALF..HALF + 6],
        found.next_bytes()[0]
    );
    // The proper path: the buffer is refused, a block of the heap is what the device gets.
    found.fill(&plain);
    found.fill_next(0xee);
    // SAFETY: (1) a buffer of a thread that waits.
    let buffer: &[u8] = unsafe { core::slice::from_raw_parts(found.at as *const u8, BYTES) };
    let refused = Proven::checked::<Physical>(buffer).map(Iterator::count);
    let why = refused.err().ok_or("the buffer passed")?;
    log!("d3: {why}");
    check!(
        on_stack(&why)
            .is_some_and(|met| met.stack == stack_at(found.at).map(|s| (Part::Inside, s))),
        "{why}"
    );
    let mut block = HeapBytes::zeroed(BYTES).map_err(|why| format!("{why}"))?;
    block.copy_from_slice(buffer);
    let mapped = MappedList::from_device(OfDisk::DEVICE, vec![block]);
    let mapped = mapped.map_err(|(why, _)| format!("{why}"))?;
    let segments: Vec<_> = mapped.segments().to_vec();
    let mut bytes = Vec::new();
    for segment in &segments {
        // SAFETY: (1) memory on loan to the device that stands here.
        let piece = unsafe {
            core::slice::from_raw_parts_mut(direct::<u8>(segment.lowest), segment.length as usize)
        };
        bytes.extend_from_slice(piece);
    }
    encrypt(&mut bytes);
    let mut from = &bytes[..];
    for segment in &segments {
        let (piece, rest) = from.split_at(segment.length as usize);
        // SAFETY: (1) as above.
        unsafe {
            direct::<u8>(segment.lowest).copy_from_nonoverlapping(piece.as_ptr(), piece.len());
        }
        from = rest;
    }
    let blocks = mapped.end();
    check!(blocks[0][..] == right[..], "the proper path gives wrong bytes");
    check!(found.next_bytes() == vec![0xee; HALF], "it wrote to another's page");
    Ok(())
}

/// The second half of the keystream, over bytes that are not the buffer's.
fn encrypt_part(bytes: &mut [u8]) {
    let mut whole = vec![0; BYTES];
    whole[HALF..].copy_from_slice(bytes);
    encrypt(&mut whole);
    bytes.copy_from_slice(&whole[HALF..]);
}

/// What a driver's author may think: memory is where its first byte is.
struct Naive;

// SAFETY: (1) (2) as `Through`; (3) it is wrong where a buffer lies in pieces, which is what the
// test is about: it passes one such buffer, whose neighbour it holds.
unsafe impl Hal for Naive {
    fn dma_alloc(pages: usize, direction: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        Through::<OfDisk>::dma_alloc(pages, direction)
    }

    unsafe fn dma_dealloc(address: PhysAddr, at: NonNull<u8>, pages: usize) -> i32 {
        // SAFETY: (1) by the caller's promise.
        unsafe { Through::<OfDisk>::dma_dealloc(address, at, pages) }
    }

    unsafe fn mmio_phys_to_virt(address: PhysAddr, bytes: usize) -> NonNull<u8> {
        // SAFETY: (1) by the caller's promise.
        unsafe { Through::<OfDisk>::mmio_phys_to_virt(address, bytes) }
    }

    unsafe fn share(buffer: NonNull<[u8]>, _direction: BufferDirection) -> PhysAddr {
        let first = buffer.cast::<u8>().as_ptr().addr();
        Physical::physical(Addr::new(first)).unwrap_or(0)
    }

    unsafe fn unshare(_at: PhysAddr, _buffer: NonNull<[u8]>, _direction: BufferDirection) {}
}

/// The same with a device: the emulator's disk reads a sector to a buffer on a stack. Its first
/// half arrives, its second half lands in a page of another owner; through the kernel's interface
/// all of it arrives where it should.
pub fn d3_a_disk_that_is_told_where_a_stacks_buffer_begins_writes_to_anothers_page() -> Outcome {
    across_pages::with_crossing(sector)?
}

fn read_sector(into: &mut [u8]) -> Outcome {
    let mut disk = disk().ok_or("this machine has no virtio disk")?;
    disk.read_blocks(0, into).map_err(|why| format!("{why}"))
}

fn sector(found: &Crossing) -> Outcome {
    const _: () = assert!(BYTES == SECTOR_SIZE);
    let mut right = HeapBytes::zeroed(SECTOR_SIZE).map_err(|why| format!("{why}"))?;
    read_sector(&mut right)?;
    // The archive that the kernel was booted with is on the disk.
    check!(right.starts_with(b"070701"), "no archive on the disk: {:02x?}", &right[..8]);
    let before = vec![0xbb; BYTES];
    found.fill(&before);
    found.fill_next(0xee);
    let transport = way_to_disk().ok_or("this machine has no virtio disk")?;
    let mut naive = VirtIOBlk::<Naive, _>::new(transport).map_err(|why| format!("{why}"))?;
    // SAFETY: (1) a buffer of a thread that waits; nothing else refers to it meanwhile.
    let buffer = unsafe { core::slice::from_raw_parts_mut(found.at as *mut u8, BYTES) };
    naive.read_blocks(0, buffer).map_err(|why| format!("{why}"))?;
    drop(naive);
    let (got, next) = (found.bytes(), found.next_bytes());
    check!(got[..HALF] == right[..HALF], "the first half did not arrive");
    check!(got[HALF..] == before[HALF..], "the second half did arrive");
    check!(next == right[HALF..], "the page that follows was not written to");
    log!(
        "d3: the disk wrote {HALF} bytes to {:#x} and {HALF} to {:#x}, where another's page is; \
         the buffer's second page is at {:#x} and unchanged",
        found.first,
        found.next,
        found.second
    );
    // The same buffer, through the kernel's interface: it works on a copy, and says so.
    found.fill(&before);
    found.fill_next(0xee);
    let counted = refusals();
    // SAFETY: (1) as above.
    read_sector(unsafe { core::slice::from_raw_parts_mut(found.at as *mut u8, BYTES) })?;
    check!(found.bytes() == right[..], "the sector did not arrive");
    check!(found.next_bytes() == vec![0xee; HALF], "another's page was written to");
    let now = refusals();
    check!(now.refused > counted.refused && now.copied > counted.copied, "{counted:?}, {now:?}");
    Ok(())
}

/// The interface refuses what is on a stack, in each direction and by both addresses, and hands
/// owned memory over and back. Red where a direction is not checked.
pub fn d4_memory_of_a_stack_is_lent_to_no_device_and_owned_memory_is() -> Outcome {
    let mut local = [0_u8; 96];
    let local: NonNull<[u8]> = NonNull::from(&mut black_box(&mut local)[..]);
    let at = local.cast::<u8>().as_ptr().addr();
    let physical = Physical::physical(Addr::new(at)).ok_or("no memory behind a stack")?;
    let alias = NonNull::new(direct::<u8>(physical)).ok_or("no address")?;
    let alias = NonNull::slice_from_raw_parts(alias, 8);
    let counted = refusals().refused;
    let mut tried = 0;
    for direction in [Direction::ToDevice, Direction::FromDevice, Direction::Both] {
        for buffer in [local, alias] {
            // SAFETY: (1) (2) it is refused.
            let lent = unsafe { Loan::lend(OfDisk::DEVICE, buffer, direction) };
            let Err(DmaError::Refused(why)) = &lent else {
                return Err(format!("{buffer:?} was lent {direction}: {lent:?}"));
            };
            check!(on_stack(why).is_some(), "{why}");
            tried += 1;
        }
    }
    check!(refusals().refused == counted + tried, "{tried} refusals are not counted");
    let mut block = HeapBytes::zeroed(700).map_err(|why| format!("{why}"))?;
    block.fill(0x11);
    let place = Physical::physical(Addr::new(block.as_ptr() as usize));
    let mapping = Mapping::both_ways(OfDisk::DEVICE, block).map_err(|(why, _)| format!("{why}"))?;
    let mut mapping = mapping;
    check!(!mapping.is_copy() && Some(mapping.address()) == place, "{mapping:?} is not {place:?}");
    let seen = direct::<u8>(mapping.address());
    // SAFETY: (1) memory on loan to a device, which is this test.
    unsafe {
        check!(seen.read_volatile() == 0x11, "the device does not see the buffer");
        seen.write_volatile(0x22);
    }
    let first = mapping.with_bytes(|bytes| core::mem::replace(&mut bytes[1], 0x33));
    // SAFETY: (1) as above.
    let second = unsafe { seen.add(1).read_volatile() };
    check!(first == 0x11 && second == 0x33, "turns are lost: {first:#x}, {second:#x}");
    let block = mapping.end();
    check!(block[..2] == [0x22, 0x33], "what the device wrote is lost: {:x?}", &block[..2]);
    static CONSTANT: [u8; 32] = [5; 32];
    let mapping = Mapping::to_device(OfDisk::DEVICE, &CONSTANT[..]);
    let mapping = mapping.map_err(|(why, _)| format!("{why}"))?;
    check!(mapping.length() == 32 && !mapping.is_copy(), "{mapping:?}");
    let pages = Coherent::new(OfDisk::DEVICE, 2).map_err(|why| format!("{why}"))?;
    let own = Physical::physical(Addr::new(pages.bytes().cast::<u8>().as_ptr().addr()));
    check!(own == Some(pages.address()) && pages.bytes().len() == 8192, "{pages:?}");
    Ok(())
}

/// A device that cannot reach a buffer works on a copy that it can; one that does not see caches
/// has them kept up, and works on a copy of what shares a line. Red where the copy is not filled,
/// where what the device wrote is not copied back, and where a copy is not given back.
pub fn d4_a_device_gets_a_copy_of_what_it_cannot_reach_or_would_spoil() -> Outcome {
    static NARROW: Device = Device { name: "narrow", limits: Limits::NONE, sees_caches: || true };
    let device = |top: u64| {
        leak(&Device { limits: Limits::NONE.up_to(top - 1), name: NARROW.name, ..NARROW })
    };
    // What reaches the image and no more works on the reserve there.
    let end_of_image = (&raw const data_top) as u64 - IMAGE;
    let (near, nowhere) = (device(end_of_image), device(PAGE_BYTES as u64));
    let heap_before = heap::allocated_bytes();
    let lend = |number: u8| {
        let mut block = HeapBytes::zeroed(3000).map_err(|why| format!("{why}"))?;
        block.fill(number);
        Mapping::both_ways(near, block).map_err(|(why, _)| format!("{number}: {why}"))
    };
    let copied = refusals().copied;
    for round in 0..40_u8 {
        let mapping = lend(round)?;
        check!(mapping.is_copy() && mapping.address() + 3000 <= end_of_image, "{mapping:?}");
        let seen = direct::<u8>(mapping.address());
        // SAFETY: (1) memory on loan to a device, which is this test.
        unsafe {
            check!(seen.add(2999).read_volatile() == round, "the copy is not filled");
            seen.write_volatile(0x77);
        }
        let block = mapping.end();
        check!(block[0] == 0x77 && block[1] == round, "{:x?}", &block[..2]);
    }
    check!(refusals().copied == copied + 40, "{} copies", refusals().copied - copied);
    // All of the reserve at once, each piece another one; then there is none, and then there is.
    let mut all = Vec::new();
    let full = loop {
        match lend(all.len() as u8) {
            Ok(mapping) => all.push(mapping),
            Err(why) => break why,
        }
        check!(all.len() < 64, "the reserve does not end");
    };
    check!(all.len() == 16 && full.contains("no memory for a copy"), "{}: {full}", all.len());
    for (number, mapping) in (0_u8..).zip(all) {
        check!(mapping.end().iter().all(|&byte| byte == number), "copies share memory");
    }
    drop(lend(1)?);
    let block = HeapBytes::zeroed(100).map_err(|why| format!("{why}"))?;
    let refused = Mapping::to_device(nowhere, block);
    check!(matches!(refused, Err((DmaError::NoCopy(_), _))), "lent out of reach: {refused:?}");
    drop(refused);
    log!("d4: a device that reaches {end_of_image:#x} worked on 40 copies, and on 16 at a time");
    blind(leak(&Device { name: "blind", limits: Limits::NONE, sees_caches: || false }))?;
    let left = heap::allocated_bytes().saturating_sub(heap_before);
    // Less than the smallest copy: a message and a device.
    check!(left < 2048, "{left} bytes of the heap are lost");
    Ok(())
}

/// With a device that does not see caches.
fn blind(device: &'static Device) -> Outcome {
    let line = caches::line() as usize;
    let block = HeapBytes::zeroed(2 * 2048 + 8).map_err(|why| format!("{why}"))?;
    let mapping = Mapping::from_device(device, block);
    if line == 0 {
        check!(matches!(mapping, Err((DmaError::Incoherent, _))), "{mapping:?}");
        log!("d4: no instructions keep caches up for devices here");
        return Ok(());
    }
    let mapping = mapping.map_err(|(why, _)| format!("{why}"))?;
    check!(mapping.is_copy(), "its last line is shared, and the device writes to it");
    let seen = direct::<u8>(mapping.address());
    // SAFETY: (1) memory on loan to a device, which is this test.
    unsafe { seen.add(4100).write_volatile(0x5a) };
    check!(mapping.end()[4100] == 0x5a, "what the device wrote is lost");
    let mut block = HeapBytes::zeroed(4104).map_err(|why| format!("{why}"))?;
    block[4103] = 0x44;
    let mapping = Mapping::to_device(device, block).map_err(|(why, _)| format!("{why}"))?;
    check!(!mapping.is_copy(), "the device writes nothing: {mapping:?}");
    // SAFETY: (1) as above.
    let seen = unsafe { direct::<u8>(mapping.address()).add(4103).read_volatile() };
    check!(seen == 0x44, "the device sees {seen:#x}");
    drop(mapping);
    check!(Coherent::new(device, 1).is_err(), "cached pages for a device that sees no caches");
    log!("d4: caches are kept up in lines of {line} bytes");
    Ok(())
}

/// Drivers of the crate use the interface: random bytes and sectors arrive in memory of the heap
/// without a copy of it, and requests that the crate has on the stack are refused and copied.
pub fn d4_drivers_of_the_crate_use_the_interface_and_their_stack_buffers_become_copies() -> Outcome
{
    let mut random = random().ok_or("this machine has no virtio source of random bytes")?;
    let counted = refusals();
    let mut bytes = HeapBytes::zeroed(256).map_err(|why| format!("{why}"))?;
    let got = random.request_entropy(&mut bytes).map_err(|why| format!("{why}"))?;
    check!(got > 0 && bytes[..got].iter().any(|&byte| byte != 0), "{got} bytes");
    check!(refusals() == counted, "memory of the heap was refused or copied");
    drop(random);
    let mut disk = disk().ok_or("this machine has no virtio disk")?;
    let sectors = (disk.capacity() as usize).min(16);
    let mut all = HeapBytes::zeroed(sectors * SECTOR_SIZE).map_err(|why| format!("{why}"))?;
    disk.read_blocks(0, &mut all).map_err(|why| format!("{why}"))?;
    let now = refusals();
    // The head of the request and its status.
    let expected = (counted.refused + 2, counted.copied + 2);
    check!((now.refused, now.copied) == expected, "{counted:?}, then {now:?}");
    for (number, sector) in all.chunks(SECTOR_SIZE).enumerate() {
        let mut one = HeapBytes::zeroed(SECTOR_SIZE).map_err(|why| format!("{why}"))?;
        disk.read_blocks(number, &mut one).map_err(|why| format!("{why}"))?;
        check!(one[..] == *sector, "sector {number} is another one");
    }
    Ok(())
}

/// Where that is asked for, as by `dma=stop`, the machine stops with a report: also for a driver of
/// the crate, whose request is on its stack. Red where a refusal is told and nothing more.
pub fn d4_a_stack_that_is_lent_to_a_device_stops_a_machine_that_is_told_so() -> Outcome {
    let mut disk = disk().ok_or("this machine has no virtio disk")?;
    let mut sector = HeapBytes::zeroed(SECTOR_SIZE).map_err(|why| format!("{why}"))?;
    control!(
        "expect d4_a_stack_that_is_lent_to_a_device_stops_a_machine_that_is_told_so stack=thread cause=device-buffer consequence=stop-system running=0 victim=main bytes=16"
    );
    set_on_refusal(Some(threads::report::device_buffer::stop));
    disk.read_blocks(0, &mut sector).map_err(|why| format!("{why}"))?;
    Err("the machine went on".into())
}
