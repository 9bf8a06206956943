//! What goes through a switch.

use core::mem::{ManuallyDrop, MaybeUninit, size_of};

/// What goes through a switch in a register: a value that fits, or the address of one that does
/// not.
pub(crate) type Message = MaybeUninit<*mut u8>;

/// Whether values of a type go through themselves.
const fn fits<T>() -> bool {
    size_of::<T>() <= size_of::<Message>()
}

/// A value as a message. It is the receiver's once it decodes it; until then it must stay where it
/// is.
#[inline(always)]
pub(crate) fn encode<T>(value: &mut ManuallyDrop<T>) -> Message {
    let value: *mut T = (&raw mut *value).cast();
    let mut message = MaybeUninit::new(value.cast());
    if fits::<T>() {
        message = Message::uninit();
        // SAFETY: (1) both are there, and the message has room for it.
        unsafe { message.as_mut_ptr().cast::<T>().write_unaligned(value.read()) };
    }
    message
}

/// The value of a message.
///
/// # Safety
///
/// 1. [`encode`] made it of a value of this type, which is decoded once and lies where it lay.
#[inline(always)]
pub(crate) unsafe fn decode<T>(message: Message) -> T {
    // SAFETY: (1) the caller's promise; (2) a value that fits may want a larger alignment than the
    // message has, if it is of no size.
    unsafe {
        if fits::<T>() {
            message.as_ptr().cast::<T>().read_unaligned()
        } else {
            message.assume_init().cast::<T>().read()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n5_a_word_goes_through_a_switch_itself_and_what_is_larger_by_its_address() {
        let mut word = ManuallyDrop::new(0x1234_usize);
        let message = encode(&mut word);
        *word = 0;
        // SAFETY: (1) made of a word, which is in it.
        assert_eq!(unsafe { decode::<usize>(message) }, 0x1234);

        let mut two = ManuallyDrop::new([1_usize, 2]);
        let message = encode(&mut two);
        two[1] = 3;
        // SAFETY: (1) made of two words, which lie where they lay.
        assert_eq!(unsafe { decode::<[usize; 2]>(message) }, [1, 3]);
    }
}
