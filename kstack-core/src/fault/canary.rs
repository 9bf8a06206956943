//! Canaries for a kernel that is compiled with the stack protector: drawn from a secret, so that
//! one that leaks says nothing of the others.
//!
//! The number `n` is SipHash-2-4 of `n` under a key of 128 bits. A kernel takes the key once, from
//! the best source that its machine has; what comes out is as hard to foresee as the key.
//!
//! The lowest byte of each is zero, as on Linux: a string function that overruns an array stops
//! before it has written the canary back whole.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// A secret, and how many canaries were drawn from it.
#[derive(Debug)]
pub struct Canaries {
    key: [AtomicU64; 2],
    drawn: AtomicU32,
}

impl Canaries {
    /// Without a secret yet: the canaries are those of a key of zeros.
    #[expect(clippy::new_without_default, reason = "it is there for statics")]
    pub const fn new() -> Self {
        Self { key: [const { AtomicU64::new(0) }; 2], drawn: AtomicU32::new(0) }
    }

    /// Mixes something in that others do not know. Before the first canary is drawn; a source that
    /// says little, or is known, takes nothing from what there was.
    pub fn stir(&self, secret: [u64; 2]) {
        let [first, second] = &self.key;
        let old = [first.load(Ordering::Relaxed), second.load(Ordering::Relaxed)];
        first.store(siphash(old, &[secret[0], secret[1], 0]), Ordering::Relaxed);
        second.store(siphash(old, &[secret[0], secret[1], 1]), Ordering::Relaxed);
    }

    /// The next canary: never zero.
    pub fn draw(&self) -> usize {
        let key = [&self.key[0], &self.key[1]].map(|half| half.load(Ordering::Relaxed));
        loop {
            let number = self.drawn.fetch_add(1, Ordering::Relaxed);
            let canary = siphash(key, &[u64::from(number)]) as usize & !0xff;
            if canary != 0 {
                return canary;
            }
        }
    }
}

/// SipHash-2-4 of whole words (Aumasson and Bernstein, 2012).
fn siphash(key: [u64; 2], words: &[u64]) -> u64 {
    let mut v = [
        key[0] ^ 0x736f_6d65_7073_6575,
        key[1] ^ 0x646f_7261_6e64_6f6d,
        key[0] ^ 0x6c79_6765_6e65_7261,
        key[1] ^ 0x7465_6462_7974_6573,
    ];
    let last = (words.len() as u64 * 8) << 56;
    for &word in words.iter().chain([&last]) {
        v[3] ^= word;
        round(&mut v);
        round(&mut v);
        v[0] ^= word;
    }
    v[2] ^= 0xff;
    for _ in 0..4 {
        round(&mut v);
    }
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

fn round([a, b, c, d]: &mut [u64; 4]) {
    *a = a.wrapping_add(*b);
    *b = b.rotate_left(13) ^ *a;
    *a = a.rotate_left(32);
    *c = c.wrapping_add(*d);
    *d = d.rotate_left(16) ^ *c;
    *a = a.wrapping_add(*d);
    *d = d.rotate_left(21) ^ *a;
    *c = c.wrapping_add(*b);
    *b = b.rotate_left(17) ^ *c;
    *c = c.rotate_left(32);
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use std::collections::BTreeSet;

    /// The vectors of the reference implementation for inputs of 0, 8 and 16 bytes: 00 01 02 …
    /// under the key 00 01 … 0f.
    #[test]
    fn h1_the_hash_is_siphash_2_4() {
        let word = |first: u8| u64::from_le_bytes(core::array::from_fn(|at| first + at as u8));
        let key = [word(0), word(8)];
        assert_eq!(siphash(key, &[]), 0x726f_db47_dd0e_0e31);
        assert_eq!(siphash(key, &[word(0)]), 0x93f5_f579_9a93_2462);
        assert_eq!(siphash(key, &[word(0), word(8)]), 0x3f2a_cc7f_57c2_9bdb);
    }

    /// Red if two are alike, if a string function could write one, or if the secret does not count.
    #[test]
    fn h1_canaries_differ_end_in_a_zero_byte_and_depend_on_the_secret() {
        let of = |secrets: &[[u64; 2]]| {
            let canaries = Canaries::new();
            secrets.iter().for_each(|&secret| canaries.stir(secret));
            (0..1000).map(|_| canaries.draw()).collect::<BTreeSet<usize>>()
        };
        let all = [&[][..], &[[1, 0]], &[[0, 1]], &[[1, 0], [0, 0]], &[[0, 0], [1, 0]]].map(of);
        for one in &all {
            assert_eq!(one.len(), 1000);
            assert!(one.iter().all(|canary| canary & 0xff == 0 && *canary != 0));
        }
        for (at, one) in all.iter().enumerate() {
            assert!(all[..at].iter().all(|other| one.is_disjoint(other)), "{at}");
        }
    }
}
