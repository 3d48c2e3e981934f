//! A linear axis from zero, with round numbers as its ticks.

/// A linear axis from zero to a round number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LinearAxis {
    step: f64,
    steps: u32,
    /// The pixels of zero and of the other end.
    pixels: (f64, f64),
}

impl LinearAxis {
    /// Returns the axis that holds `max`, with at most `steps` steps of 1, 2 or 5 times a power of `base`: 10 for
    /// percent and seconds, 2 for bytes.
    #[must_use]
    pub fn up_to(max: f64, steps: u32, base: f64, pixels: (f64, f64)) -> Self {
        let max = if max > 0.0 { max } else { 1.0 };
        let least = max / f64::from(steps);
        let power = base.powf(least.log(base).floor());
        let factors: &[f64] = match base > 2.0 {
            true => &[1.0, 2.0, 5.0, 10.0],
            false => &[1.0, 2.0],
        };
        let mut fitting = factors.iter().map(|factor| factor * power);
        // Rounding of the logarithm may make the step too small by a tiny share.
        let step = fitting.find(|step| *step * (1.0 + 1e-9) >= least);
        let step = step.unwrap_or(power * base);
        Self {
            step,
            steps: ((max / step - 1e-9).ceil() as u32).max(1),
            pixels,
        }
    }

    /// Returns the value at the end of the axis.
    #[must_use]
    pub fn end(&self) -> f64 {
        self.step * f64::from(self.steps)
    }

    /// Returns the pixel of a value. Those beyond an end are at that end.
    #[must_use]
    pub fn position(&self, value: f64) -> f64 {
        let (from, to) = self.pixels;
        from + (to - from) * (value / self.end()).clamp(0.0, 1.0)
    }

    /// Returns the pixel and the value of each tick, zero included.
    pub fn ticks(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        (0..=self.steps).map(|n| {
            let value = self.step * f64::from(n);
            (self.position(value), value)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::LinearAxis;

    fn ticks(max: f64, steps: u32, base: f64) -> Vec<f64> {
        let axis = LinearAxis::up_to(max, steps, base, (0.0, 100.0));
        axis.ticks().map(|(_, value)| value).collect()
    }

    #[test]
    fn ticks_are_round_numbers() {
        assert_eq!(ticks(100.0, 4, 10.0), [0.0, 50.0, 100.0]);
        assert_eq!(ticks(7.0, 4, 10.0), [0.0, 2.0, 4.0, 6.0, 8.0]);
        assert_eq!(ticks(1000.0, 3, 2.0), [0.0, 512.0, 1024.0]);
        assert_eq!(ticks(4096.0, 4, 2.0), [0.0, 1024.0, 2048.0, 3072.0, 4096.0]);
        assert_eq!(ticks(0.0, 4, 10.0), [0.0, 0.5, 1.0]);
    }

    #[test]
    fn values_beyond_the_axis_are_at_its_end() {
        let axis = LinearAxis::up_to(8.0, 4, 10.0, (50.0, 0.0));
        assert_eq!(axis.position(4.0), 25.0);
        assert_eq!(axis.position(80.0), 0.0);
        assert_eq!(axis.position(-1.0), 50.0);
    }
}
