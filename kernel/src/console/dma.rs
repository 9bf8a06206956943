//! Why a buffer on a stack is not for devices: tried here and now, with this machine's addresses.

use super::println;
use crate::across_pages::{self, BYTES, Crossing, HALF};
use alloc::string::String;
use alloc::vec::Vec;
use core::ptr::NonNull;
use kstack::addr::{Addr, AddrRange, ByteSize};
use kstack::dma::Memory;
use kstack::dma::transfer::Direction;
use kstack::dma::{check, pieces};
use machine::dma::{Loan, Physical, Reaches, refusals};
use machine::drivers::virtio::{OfDisk, disk};
use machine::memory::direct;

/// The experiment, in words.
pub(super) fn show() -> Result<(), String> {
    across_pages::with_crossing(experiment)?;
    let counted = refusals();
    println!("");
    println!(
        "{} buffers on stacks were refused so far, and {} copies were worked on.",
        counted.refused, counted.copied
    );
    match disk() {
        Some(disk) => println!("A virtio disk is there, of {} sectors.", disk.capacity()),
        None => println!("This machine has no virtio disk."),
    }
    Ok(())
}

fn experiment(found: &Crossing) {
    let end = found.at + BYTES;
    println!("A thread has a buffer of {BYTES} bytes on its stack, {:#x} to {end:#x}.", found.at);
    println!("It crosses from one page to the next. In physical memory they lie apart:");
    println!("");
    let buffer = AddrRange::sized(Addr::new(found.at), ByteSize::new(BYTES));
    for piece in pieces::pieces(buffer, Physical::physical) {
        match piece {
            Ok(piece) => println!("  {:#x} to {:#x}   {piece}", piece.lowest(), piece.last() + 1),
            Err(why) => println!("  {why}"),
        }
    }
    println!("");
    let written: Vec<u8> = (0..BYTES).map(|at| (at % 251) as u8).collect();
    found.fill(&written);
    found.fill_next(0xee);
    let seen = found.as_one_piece();
    println!(
        "A device that is told {:#x} and counts on finds {:#x} next.",
        found.first, found.next
    );
    println!("  written   ... {:02x?}", &written[HALF - 3..HALF + 5]);
    println!("  found     ... {:02x?}", &seen[HALF - 3..HALF + 5]);
    let right = seen.iter().zip(&written).filter(|(seen, written)| seen == written).count();
    println!("{right} of {BYTES} bytes are right. If it writes, another's page has the rest.");
    println!("");
    match check(Addr::new(found.at), BYTES) {
        Err(why) => println!("By its address: {why}."),
        Ok(()) => println!("By its address it is on no stack: this is wrong."),
    }
    let lend = |at: usize| {
        let buffer = NonNull::new(at as *mut u8)?;
        let buffer = NonNull::slice_from_raw_parts(buffer, HALF);
        // SAFETY: (1) (2) it is refused; were it not, the loan would be forgotten, and no device
        // told of it.
        unsafe { Loan::lend(OfDisk::DEVICE, buffer, Direction::FromDevice) }.err()
    };
    for at in [found.at, direct::<u8>(found.first) as usize] {
        match lend(at) {
            Some(why) => println!("Lent to a device: {why}."),
            None => println!("Lent to a device at {at:#x}: this is wrong."),
        }
    }
}
