//! Random numbers from a seed (splitmix64; Steele, Lea, Flood 2014): the same on every machine, so that what a test finds with
//! them can be found again.

const INCREMENT: u64 = 0x9e37_79b9_7f4a_7c15;

#[derive(Debug, Clone)]
pub(crate) struct SeededRng(pub(crate) u64);

impl SeededRng {
    pub(crate) fn bits(&mut self) -> u64 {
        let word = scramble(self.0);
        self.0 = self.0.wrapping_add(INCREMENT);
        word
    }

    /// A number below `end`, or 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.bits() % end.max(1)
    }

    /// The index of an element of `len`, or 0.
    pub(crate) fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.index(of.len())]
    }

    /// From 0 to 1.
    pub(crate) fn unit_f64(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(crate) fn chance(&mut self, part: f64) -> bool {
        self.unit_f64() < part
    }

    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit_f64()
    }

    /// Each order of magnitude as likely as the next.
    pub(crate) fn log_uniform(&mut self, low: f64, high: f64) -> f64 {
        low * (high / low).powf(self.unit_f64())
    }
}

/// One step of the generator: neighbours become strangers, and only one value in 2^64 becomes zero.
pub(crate) fn scramble(value: u64) -> u64 {
    let mut z = value.wrapping_add(INCREMENT);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
