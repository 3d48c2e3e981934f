//! Fits the growth of a cost with the number of processes: the exponent of a power law, and a word for it.

use serde::{Deserialize, Serialize};

/// Largest exponent of a cost that is called flat: ten times the processes then cost at most 1.26 times as much. The
/// medians of one and the same cell differed by up to 14 % in eight runs on a virtual machine with two CPUs.
const MAX_FLAT_EXPONENT: f64 = 0.1;

/// Largest distance from 1 of an exponent that is called linear. A small fixed part beside a truly linear cost makes
/// the exponent smaller, and a cache that overflows during the ramp makes it larger.
const LINEAR: f64 = 0.2;

/// The fitted growth of a cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PowerLawFit {
    /// The exponent of N: least squares of log(p50) on log(N), over all steps.
    pub exponent: f64,
    /// The exponent between the last step and the latest step before it that has at most half of its N. A cost with a
    /// fixed part and a growing part looks flat over all steps, and shows its growth here.
    pub at_the_end: f64,
}

/// Fits points of `(N, cost)`. Returns `None` if there is only one N.
#[must_use]
pub fn fit(points: &[(f64, f64)]) -> Option<PowerLawFit> {
    let last = points.last()?;
    let before = points.iter().rev().find(|p| p.0 <= last.0 / 2.0)?;
    Some(PowerLawFit {
        exponent: exponent(points)?,
        at_the_end: exponent(&[*before, *last])?,
    })
}

fn exponent(points: &[(f64, f64)]) -> Option<f64> {
    let logs: Vec<(f64, f64)> = points.iter().map(|(n, cost)| (n.ln(), cost.ln())).collect();
    let count = logs.len() as f64;
    let mean = |pick: fn(&(f64, f64)) -> f64| logs.iter().map(pick).sum::<f64>() / count;
    let (x, y) = (mean(|p| p.0), mean(|p| p.1));
    let spread: f64 = logs.iter().map(|p| (p.0 - x).powi(2)).sum();
    let common: f64 = logs.iter().map(|p| (p.0 - x) * (p.1 - y)).sum();
    (spread > 0.0 && common.is_finite()).then(|| common / spread)
}

fn describe_exponent(exponent: f64) -> &'static str {
    match exponent {
        e if e < -MAX_FLAT_EXPONENT => "falling",
        e if e <= MAX_FLAT_EXPONENT => "flat",
        e if e < 1.0 - LINEAR => "less than linear",
        e if e <= 1.0 + LINEAR => "linear",
        _ => "more than linear",
    }
}

impl PowerLawFit {
    /// Returns a text such as `~N^0.02 (flat)`, followed by the exponent at the end if that has a different word.
    #[must_use]
    pub fn text(&self) -> String {
        let part =
            |e: f64| format!("~N^{e:.2} ({})", describe_exponent(e)).replace("-0.00", "0.00");
        let (whole, end) = (part(self.exponent), part(self.at_the_end));
        if describe_exponent(self.exponent) == describe_exponent(self.at_the_end) {
            whole
        } else {
            format!("{whole}, at the end {end}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const N: [f64; 5] = [1.0, 10.0, 100.0, 1000.0, 5000.0];

    proptest! {
        #[test]
        fn the_exponent_of_a_power_is_found(power in -2.0..3.0_f64, cost in 0.01..1e6_f64, steps in 2..=5_usize) {
            let points: Vec<_> = N[..steps].iter().map(|n| (*n, cost * n.powf(power))).collect();
            let growth = fit(&points).unwrap();
            prop_assert!((growth.exponent - power).abs() < 1e-6);
            prop_assert!((growth.at_the_end - power).abs() < 1e-6);
        }

        #[test]
        fn a_little_noise_moves_it_little(power in 0.0..1.5_f64, noise in prop::array::uniform5(0.9..1.1_f64)) {
            let points: Vec<_> = N.iter().zip(noise).map(|(n, noise)| (*n, n.powf(power) * noise)).collect();
            prop_assert!((fit(&points).unwrap().exponent - power).abs() < 0.06);
        }
    }

    #[test]
    fn a_fixed_cost_does_not_hide_one_that_grows() {
        let points = N.map(|n| (n, 1000.0 + n / 5.0));
        let text = fit(&points).unwrap().text();
        assert_eq!(
            text,
            "~N^0.07 (flat), at the end ~N^0.32 (less than linear)"
        );
    }

    #[test]
    fn steps_that_are_close_do_not_make_an_end() {
        let growth = fit(&[(1.0, 5.0), (100.0, 5.0), (1000.0, 5.0), (1001.0, 7.0)]).unwrap();
        assert!((growth.at_the_end - 0.146).abs() < 0.001);
    }

    #[test]
    fn one_point_has_no_growth() {
        assert_eq!(fit(&[(1.0, 5.0)]), None);
        assert_eq!(fit(&[]), None);
    }

    #[test]
    fn exponents_have_words() {
        for (exponent, want) in [
            (-0.5, "falling"),
            (0.0, "flat"),
            (0.02, "flat"),
            (0.5, "less than linear"),
            (1.0, "linear"),
            (1.9, "more than linear"),
        ] {
            assert_eq!(describe_exponent(exponent), want);
        }
    }
}
