//! The [hash](https://docs.kernel.org/filesystems/ext4/dynamic.html#hash-tree-directories) that orders large directories:
//! half of MD4's rounds (RFC 1320 has the functions and constants), keyed by the superblock's seed.
//!
//! The trap: names are taken as signed characters, as x86 kernels and mke2fs on x86 do; a flag in the superblock says
//! so.

/// The hash that the kernel reserves as "end of directory"; `END - 2` is stored instead.
const END: u32 = 0xFFFF_FFFE;

/// The hash function with a filesystem's seed.
#[derive(Debug, Clone, Copy)]
pub(super) struct DirHash {
    start: [u32; 4],
}

impl DirHash {
    /// Takes the superblock's `s_hash_seed`; all zeros mean MD4's own initial values.
    pub(super) fn new(seed: [u8; 16]) -> Self {
        if seed == [0; 16] {
            return DirHash { start: [0x6745_2301, 0xEFCD_AB89, 0x98BA_DCFE, 0x1032_5476] };
        }
        let word = |at: usize| u32::from_le_bytes([seed[at], seed[at + 1], seed[at + 2], seed[at + 3]]);
        DirHash { start: [word(0), word(4), word(8), word(12)] }
    }

    /// The hash of a name. The lowest bit is always clear.
    pub(super) fn of(self, name: &[u8]) -> u32 {
        let mut state = self.start;
        for at in (0..name.len()).step_by(32) {
            transform(&mut state, &words(&name[at..]));
        }
        match state[1] & !1 {
            END => END - 2,
            hash => hash,
        }
    }
}

/// The next 32 bytes as eight big-endian words, padded with the remaining length.
fn words(rest: &[u8]) -> [u32; 8] {
    let length = rest.len() as u32;
    let filler = length | length << 8 | length << 16 | length << 24;
    let mut words = [filler; 8];
    for (word, bytes) in words.iter_mut().zip(rest.chunks(4)) {
        for &byte in bytes {
            *word = (*word << 8).wrapping_add(byte as i8 as u32);
        }
    }
    words
}

/// Three rounds of eight steps.
fn transform(state: &mut [u32; 4], words: &[u32; 8]) {
    type Mix = fn(u32, u32, u32) -> u32;
    let rounds: [(Mix, u32, [usize; 8], [u32; 4]); 3] = [
        (|x, y, z| z ^ (x & (y ^ z)), 0, [0, 1, 2, 3, 4, 5, 6, 7], [3, 7, 11, 19]),
        (|x, y, z| (x & y).wrapping_add((x ^ y) & z), 0x5A82_7999, [1, 3, 5, 7, 0, 2, 4, 6], [3, 5, 9, 13]),
        (|x, y, z| x ^ y ^ z, 0x6ED9_EBA1, [3, 7, 2, 6, 1, 5, 0, 4], [3, 9, 11, 15]),
    ];
    let [mut a, mut b, mut c, mut d] = *state;
    for (mix, constant, order, shifts) in rounds {
        for (step, &index) in order.iter().enumerate() {
            let sum = a.wrapping_add(mix(b, c, d)).wrapping_add(words[index]).wrapping_add(constant);
            (a, b, c, d) = (d, sum.rotate_left(shifts[step % 4]), b, c);
        }
    }
    for (word, end) in state.iter_mut().zip([a, b, c, d]) {
        *word = word.wrapping_add(end);
    }
}
