//! Philox 4×32-10 random numbers: a pure function of a counter and a key, the same on CPU and GPU.
//!
//! J. K. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
//! `shaders/shared/philox.wgsl` is the same function; a dropout mask has the same bits on both.

use rayon::prelude::*;

const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
const ROUNDS: usize = 10;

/// Sets the counters of [`Philox`] apart from those of [`philox_word`], whatever the keys.
const HOST_COUNTER: u32 = 1;

/// Four random words for a counter and a key.
#[inline]
pub fn philox(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let mut counter = counter;
    let mut key = key;
    for _ in 0..ROUNDS {
        let first = u64::from(MULTIPLIERS[0]) * u64::from(counter[0]);
        let second = u64::from(MULTIPLIERS[1]) * u64::from(counter[2]);
        counter = [
            (second >> 32) as u32 ^ counter[1] ^ key[0],
            second as u32,
            (first >> 32) as u32 ^ counter[3] ^ key[1],
            first as u32,
        ];
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    counter
}

/// The random word of element `index` at training step `step`, in the stream of one op:
/// word `index % 4` of counter `(index / 4, step, 0, 0)` under key `(seed, stream)`.
#[inline]
pub fn philox_word(index: u32, seed: u32, step: u32, stream: u32) -> u32 {
    philox([index / 4, step, 0, 0], [seed, stream])[(index % 4) as usize]
}

/// Writes `philox_word(first_index + i, seed, step, stream)` to `out[i]`, four words a call.
pub fn fill_bits(seed: u32, step: u32, stream: u32, first_index: u32, out: &mut [u32]) {
    let skip = (first_index % 4) as usize;
    let head = if skip == 0 { 0 } else { (4 - skip).min(out.len()) };
    let (head, body) = out.split_at_mut(head);
    let key = [seed, stream];
    let mut block = first_index / 4;
    if !head.is_empty() {
        let words = philox([block, step, 0, 0], key);
        head.copy_from_slice(&words[skip..skip + head.len()]);
        block = block.wrapping_add(1) & (u32::MAX >> 2);
    }
    for four in body.chunks_mut(4) {
        let words = philox([block, step, 0, 0], key);
        four.copy_from_slice(&words[..four.len()]);
        // The index is a u32 that wraps round, so its quarter does so at 2³⁰.
        block = block.wrapping_add(1) & (u32::MAX >> 2);
    }
}

/// A number in [0, 1) from the upper 24 bits of a random word; exact, so equal on CPU and GPU.
#[inline]
pub fn unit_interval(bits: u32) -> f32 {
    (bits >> 8) as f32 * (1.0 / 16_777_216.0)
}

/// Fills `values` by `draw`, which takes one [`Philox::uniform_f64`] or one [`Philox::normal`] for each, in the order of
/// one stream and on all threads.
pub fn fill(seed: u64, stream: u32, values: &mut [f32], draw: impl Fn(&mut Philox) -> f32 + Sync) {
    // Two values take a block of four words.
    const PART: usize = 1 << 14;
    let part = |(number, part): (usize, &mut [f32])| {
        let mut random = Philox::from_block(seed, stream, (number * PART / 2) as u64);
        part.iter_mut().for_each(|value| *value = draw(&mut random));
    };
    if values.len() <= PART {
        values.chunks_mut(PART).enumerate().for_each(part);
    } else {
        values.par_chunks_mut(PART).enumerate().for_each(part);
    }
}

/// A stream of random numbers for the host: weight initialisation, shuffling, sampling.
#[derive(Clone, Debug)]
pub struct Philox {
    key: [u32; 2],
    stream: u32,
    block: u64,
    words: [u32; 4],
    used: usize,
    spare_normal: Option<f64>,
}

impl Philox {
    /// The stream number `stream` of `seed`; different streams of one seed are independent.
    pub fn new(seed: u64, stream: u32) -> Self {
        Self { key: [seed as u32, (seed >> 32) as u32], stream, block: 0, words: [0; 4], used: 4, spare_normal: None }
    }

    /// The same stream from a later block of four words on.
    fn from_block(seed: u64, stream: u32, block: u64) -> Self {
        Self { block, ..Self::new(seed, stream) }
    }

    /// The next 32 random bits.
    pub fn next_u32(&mut self) -> u32 {
        if self.used == 4 {
            let counter = [self.block as u32, (self.block >> 32) as u32, self.stream, HOST_COUNTER];
            self.words = philox(counter, self.key);
            self.block += 1;
            self.used = 0;
        }
        let word = self.words[self.used];
        self.used += 1;
        word
    }

    /// A uniform number in [0, 1), with 24 random bits.
    pub fn uniform(&mut self) -> f32 {
        unit_interval(self.next_u32())
    }

    /// A uniform number in [0, 1), with 53 random bits.
    pub fn uniform_f64(&mut self) -> f64 {
        let high = u64::from(self.next_u32());
        let low = u64::from(self.next_u32());
        (((high << 32) | low) >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// A number from the normal distribution with mean 0 and standard deviation 1 (Box–Muller).
    pub fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare_normal.take() {
            return spare;
        }
        // 1 − u lies in (0, 1], so the logarithm is finite.
        let radius = (-2.0 * (1.0 - self.uniform_f64()).ln()).sqrt();
        let angle = std::f64::consts::TAU * self.uniform_f64();
        self.spare_normal = Some(radius * angle.sin());
        radius * angle.cos()
    }

    /// A uniform whole number below `limit`, without bias (D. Lemire, "Fast random integer generation
    /// in an interval", 2019); 0 if `limit` is 0.
    pub fn below(&mut self, limit: u32) -> u32 {
        if limit == 0 {
            return 0;
        }
        let threshold = limit.wrapping_neg() % limit;
        loop {
            let product = u64::from(self.next_u32()) * u64::from(limit);
            if product as u32 >= threshold {
                return (product >> 32) as u32;
            }
        }
    }

    /// Puts the elements in a random order (Fisher–Yates).
    pub fn shuffle<T>(&mut self, values: &mut [T]) {
        for last in (1..values.len()).rev() {
            let chosen = self.index_up_to(last);
            values.swap(last, chosen);
        }
    }

    /// The numbers `0..count` in a random order; `count` is at most 2³².
    pub fn permutation(&mut self, count: usize) -> Vec<u32> {
        let mut values: Vec<u32> = (0..count).map(|index| index as u32).collect();
        self.shuffle(&mut values);
        values
    }

    /// A uniform index in `0..=last`.
    fn index_up_to(&mut self, last: usize) -> usize {
        match u32::try_from(last + 1) {
            Ok(limit) => self.below(limit) as usize,
            // Beyond 2³² elements the bias of 53 bits is below 2⁻²⁰ and not worth a second algorithm.
            Err(_) => (self.uniform_f64() * (last + 1) as f64) as usize,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filling_in_parts_is_drawing_one_after_the_other() {
        for draw in [|random: &mut Philox| random.normal() as f32, |random: &mut Philox| random.uniform_f64() as f32] {
            let mut random = Philox::new(7, 3);
            let expected: Vec<f32> = (0..40_001).map(|_| draw(&mut random)).collect();
            let mut found = vec![0.0; expected.len()];
            fill(7, 3, &mut found, draw);
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn philox_gives_the_known_answers_of_random123() {
        let vectors = [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([u32::MAX; 4], [u32::MAX; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ];
        for (counter, key, expected) in vectors {
            assert_eq!(philox(counter, key), expected);
        }
    }

    #[test]
    fn fill_bits_gives_the_words_one_by_one() {
        for first in [0, 1, 2, 3, 4, 7, 1021, u32::MAX - 5] {
            for count in [0, 1, 2, 3, 4, 5, 17] {
                let mut out = vec![0; count];
                fill_bits(7, 8, 9, first, &mut out);
                for (place, word) in out.iter().enumerate() {
                    let index = first.wrapping_add(place as u32);
                    assert_eq!(*word, philox_word(index, 7, 8, 9), "{first} + {place}");
                }
            }
        }
    }

    #[test]
    fn unit_interval_stays_below_one() {
        assert_eq!(unit_interval(0), 0.0);
        assert_eq!(unit_interval(0xff), 0.0);
        assert_eq!(unit_interval(0x8000_0000), 0.5);
        assert!(unit_interval(u32::MAX) < 1.0);
    }

    #[test]
    fn the_moments_are_those_of_the_distributions() {
        let mut random = Philox::new(3, 1);
        let count = 200_000;
        let (mut mean, mut square, mut uniform, mut fine) = (0.0, 0.0, 0.0, 0.0);
        for _ in 0..count {
            let value = random.normal();
            mean += value / f64::from(count);
            square += value * value / f64::from(count);
            uniform += f64::from(random.uniform()) / f64::from(count);
            fine += random.uniform_f64() / f64::from(count);
        }
        // Four standard errors: 1/√n for the mean, √(2/n) for the square, √(1/12n) for the uniform.
        let error = 1.0 / f64::from(count).sqrt();
        assert!(mean.abs() < 4.0 * error, "{mean}");
        assert!((square - 1.0).abs() < 4.0 * error * 2f64.sqrt(), "{square}");
        assert!((uniform - 0.5).abs() < 4.0 * error / 12f64.sqrt(), "{uniform}");
        assert!((fine - 0.5).abs() < 4.0 * error / 12f64.sqrt(), "{fine}");
    }

    #[test]
    fn below_is_uniform_and_a_permutation_holds_every_number() {
        let mut random = Philox::new(u64::MAX, 2);
        let mut counts = [0u32; 6];
        for _ in 0..60_000 {
            counts[random.below(6) as usize] += 1;
        }
        // Each count is binomial with standard deviation √(60000·5/36) ≈ 91.
        assert!(counts.iter().all(|count| count.abs_diff(10_000) < 460), "{counts:?}");
        assert_eq!(random.below(0), 0);
        let permutation = random.permutation(1000);
        let mut sorted = permutation.clone();
        sorted.sort_unstable();
        assert!(sorted.iter().enumerate().all(|(index, value)| index as u32 == *value));
        assert!(permutation != sorted);
        assert!(random.permutation(0).is_empty());
    }

    #[test]
    fn seeds_and_streams_differ_and_repeat() {
        let words = |seed, stream| {
            let mut random = Philox::new(seed, stream);
            (0..9).map(|_| random.next_u32()).collect::<Vec<u32>>()
        };
        assert_eq!(words(5, 6), words(5, 6));
        assert!(words(5, 6) != words(5, 7) && words(5, 6) != words(6, 6));
        assert!(words(5, 6) != words(5 + (1 << 32), 6));
    }
}
