//! Statistics of paired runs, as pure functions of numbers: the permutation test within blocks, the bootstrap interval of
//! a median, Holm's correction, and the number of answers that a percentile needs.

use fastrand::Rng;

/// The share of comparisons without a difference in which a difference is shown all the same (5 %). It holds for all
/// rows of a tool together, by Holm's correction.
pub const ERROR_RATE: f64 = 0.05;

/// Share of the intervals that do not contain the true value (5 %), half of it on each side.
const INTERVAL_ERROR: f64 = 0.05;

/// Number of resamples of a bootstrap interval. The ends of two such intervals of ten rounds differed by less than a
/// tenth of the interval's width.
const RESAMPLES: usize = 2000;

/// Seed of the draws, so that the same report has the same figures.
const SEED: u64 = 20_261_130;

/// The values of one round: that of the tool, and those of the reference, which ran once or more.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// The value of the tool.
    pub tool: f64,
    /// The values of the reference, at least one.
    pub references: Vec<f64>,
}

impl Block {
    /// Returns the value of the tool divided by the geometric mean of the references, or `None` if one of these is 0.
    #[must_use]
    pub fn ratio(&self) -> Option<f64> {
        let logs = self.references.iter().map(|value| value.ln());
        let mean = (logs.sum::<f64>() / self.references.len() as f64).exp();
        (mean > 0.0).then(|| self.tool / mean)
    }

    /// Returns whether all values have logarithms.
    fn is_positive(&self) -> bool {
        self.tool > 0.0 && self.references.iter().all(|value| *value > 0.0)
    }

    /// Returns the differences from the median of the block, that of the tool first; of logarithms if `by_ratio` is set. A
    /// disturbance that lasts for the whole round has no part in them, and one of a single run does not move the others.
    fn aligned(&self, by_ratio: bool) -> Vec<f64> {
        let values = std::iter::once(self.tool).chain(self.references.iter().copied());
        let values: Vec<f64> = values
            .map(|value| if by_ratio { value.ln() } else { value })
            .collect();
        let middle = median(values.clone()).unwrap_or_default();
        values.iter().map(|value| value - middle).collect()
    }
}

/// Returns the probability that runs without a difference look at least as different as these: a permutation test
/// within blocks. In each round, the value of the tool could be any of those of the round, and the statistic is the sum of
/// the ranks of the tool's values among all (aligned ranks of Hodges and Lehmann). With one reference this is a test by
/// sign flips. All arrangements are counted. Without a block it is 1.
#[must_use]
pub fn permutation_p(blocks: &[Block]) -> f64 {
    let by_ratio = blocks.iter().all(Block::is_positive);
    let aligned: Vec<Vec<f64>> = blocks.iter().map(|b| b.aligned(by_ratio)).collect();
    let ranks = doubled_ranks(&aligned);
    let mean = |ranks: &Vec<usize>| ranks.iter().sum::<usize>() as f64 / ranks.len() as f64;
    let expected: f64 = ranks.iter().map(mean).sum();
    let observed: usize = ranks.iter().map(|ranks| ranks[0]).sum();
    let deviation = (observed as f64 - expected).abs();
    let sums = sum_probabilities(&ranks);
    let extreme = sums.iter().enumerate().filter(|(sum, _)| {
        // The tolerance is for the rounding of the means, which are multiples of a third and the like.
        (*sum as f64 - expected).abs() >= deviation - 1e-6
    });
    extreme.map(|(_, p)| p).sum::<f64>().min(1.0)
}

/// Returns twice the ranks of all values among each other, in their blocks. Equal values have the mean of their ranks,
/// twice which is a whole number.
fn doubled_ranks(blocks: &[Vec<f64>]) -> Vec<Vec<usize>> {
    let mut sorted: Vec<f64> = blocks.iter().flatten().copied().collect();
    sorted.sort_by(f64::total_cmp);
    // Values that differ by rounding only are equal. Times are in seconds or microseconds, and sizes in bytes.
    let rank = |value: &f64| {
        let below = sorted.partition_point(|other| *other < value - 1e-12);
        let through = sorted.partition_point(|other| *other <= value + 1e-12);
        below + through
    };
    let of_block = |block: &Vec<f64>| block.iter().map(rank).collect();
    blocks.iter().map(of_block).collect()
}

/// Returns the probability of each sum of one value from each block, all values of a block being equally likely.
fn sum_probabilities(blocks: &[Vec<usize>]) -> Vec<f64> {
    let mut sums = vec![1.0];
    for block in blocks {
        let largest = block.iter().max().copied().unwrap_or(0);
        let mut next = vec![0.0; sums.len() + largest];
        for value in block {
            for (sum, p) in sums.iter().enumerate() {
                next[sum + value] += p / block.len() as f64;
            }
        }
        sums = next;
    }
    sums
}

/// Returns the smallest probability that [`permutation_p`] can give for so many rounds with so many runs of the tool and
/// of the reference in each.
#[must_use]
pub fn smallest_p(rounds: usize, runs_per_round: usize) -> f64 {
    let rounds = i32::try_from(rounds).unwrap_or(i32::MAX);
    (2.0 * (runs_per_round as f64).powi(-rounds)).min(1.0)
}

/// Returns the 95 % bootstrap interval of the median of values, from resamples of whole rounds; `None` for fewer than
/// six values, whose smallest and largest do not enclose the median with that probability.
#[must_use]
pub fn median_interval(values: &[f64]) -> Option<(f64, f64)> {
    if (values.len() as u64) < min_answers(0.5) {
        return None;
    }
    let mut rng = Rng::with_seed(SEED);
    let mut resample = || {
        let picked = (0..values.len()).map(|_| values[rng.usize(..values.len())]);
        median(picked.collect()).unwrap_or_default()
    };
    let mut medians: Vec<f64> = (0..RESAMPLES).map(|_| resample()).collect();
    medians.sort_by(f64::total_cmp);
    let tail = (RESAMPLES as f64 * INTERVAL_ERROR / 2.0) as usize;
    Some((medians[tail], medians[RESAMPLES - 1 - tail]))
}

/// Returns the median, or `None` of no values.
#[must_use]
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        n if n % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

/// Corrects probabilities for their number by Holm's method, in their order. A corrected value of at most
/// [`ERROR_RATE`] shows a difference, and the probability of any false one among all is at most that.
#[must_use]
pub fn holm(probabilities: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..probabilities.len()).collect();
    order.sort_by(|a, b| probabilities[*a].total_cmp(&probabilities[*b]));
    let mut corrected = vec![1.0; probabilities.len()];
    let mut largest: f64 = 0.0;
    for (place, index) in order.into_iter().enumerate() {
        let left = (probabilities.len() - place) as f64;
        largest = largest.max((probabilities[index] * left).min(1.0));
        corrected[index] = largest;
    }
    corrected
}

/// Returns the fewest answers from which a quantile may be given: with fewer, the upper end of its 95 % interval (an
/// order statistic) would lie beyond the largest answer. That is 6 for the median, 36 for 0.9, 368 for 0.99 and 3688 for
/// 0.999.
#[must_use]
pub fn min_answers(quantile: f64) -> u64 {
    ((INTERVAL_ERROR / 2.0).ln() / quantile.ln()).ceil() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of one tool: the percentiles of seven probes, each in two spans, and the longest waits.
    const ROWS: usize = 21;

    fn block(tool: f64, references: &[f64]) -> Block {
        Block {
            tool,
            references: references.to_vec(),
        }
    }

    /// Draws from the standard normal distribution, by the method of Box and Muller.
    fn normal(rng: &mut Rng) -> f64 {
        let (u, v) = (1.0 - rng.f64(), rng.f64());
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }

    /// Latencies of ten rounds: log-normal, with a disturbance of each round that all its runs share, and now and then a
    /// stall of a hundred times the usual. That of the tool is `factor` times as long.
    fn rounds(rng: &mut Rng, factor: f64, noise: f64, references: usize) -> Vec<Block> {
        let mut round = || {
            let shared = normal(rng);
            let mut value = || {
                let stall = if rng.f64() < 0.03 { 100.0 } else { 1.0 };
                (shared + noise * normal(rng)).exp() * stall
            };
            let references = (0..references).map(|_| value()).collect();
            Block {
                tool: factor * value(),
                references,
            }
        };
        (0..10).map(|_| round()).collect()
    }

    #[test]
    fn alike_tools_are_told_apart_no_more_often_than_stated() {
        for references in [1, 2] {
            let mut rng = Rng::with_seed(23);
            let mut wrong = 0;
            for _ in 0..200 {
                let row = |_| permutation_p(&rounds(&mut rng, 1.0, 0.3, references));
                let p: Vec<f64> = (0..ROWS).map(row).collect();
                wrong += usize::from(holm(&p).iter().any(|p| *p <= ERROR_RATE));
            }
            assert!(
                wrong as f64 <= 200.0 * ERROR_RATE,
                "{wrong} of 200 with {references}"
            );
        }
    }

    #[test]
    fn half_as_much_again_is_found_in_nine_of_ten() {
        let mut rng = Rng::with_seed(18);
        let mut found = 0;
        for _ in 0..200 {
            let mut p = vec![permutation_p(&rounds(&mut rng, 1.5, 0.1, 2))];
            p.extend((1..ROWS).map(|_| permutation_p(&rounds(&mut rng, 1.0, 0.1, 2))));
            found += usize::from(holm(&p)[0] <= ERROR_RATE);
        }
        assert!(found >= 180, "{found} of 200");
    }

    #[test]
    fn a_test_of_all_arrangements_gives_the_probabilities_of_counting() {
        let ten = vec![block(2.0, &[1.0]); 10];
        assert!((permutation_p(&ten) - 2.0 / 1024.0).abs() < 1e-12);
        assert_eq!(smallest_p(10, 2), 2.0 / 1024.0);
        let one_of_three: Vec<Block> = (0..4).map(|_| block(2.0, &[1.0, 1.0])).collect();
        assert!((permutation_p(&one_of_three) - 1.0 / 81.0).abs() < 1e-12);
        assert!((permutation_p(&vec![block(3.0, &[3.0]); 10]) - 1.0).abs() < 1e-12);
        assert_eq!(permutation_p(&[]), 1.0);
        let zeros = [block(0.0, &[5.0]), block(0.0, &[7.0])];
        assert_eq!(permutation_p(&zeros), 0.5);
        let many = vec![block(2.0, &[1.0]); 40];
        assert!(permutation_p(&many) < 1e-9);
    }

    #[test]
    fn an_interval_contains_the_true_median_as_often_as_it_says() {
        let mut rng = Rng::with_seed(19);
        let mut inside = 0;
        for _ in 0..200 {
            let values: Vec<f64> = (0..12).map(|_| normal(&mut rng)).collect();
            let (low, high) = median_interval(&values).unwrap();
            inside += usize::from(low <= 0.0 && 0.0 <= high);
        }
        // The percentile bootstrap of a median of few values is known to be a little too narrow.
        assert!((180..=199).contains(&inside), "{inside} of 200");
        assert_eq!(median_interval(&[1.0; 5]), None);
        assert_eq!(median_interval(&[1.0; 6]), Some((1.0, 1.0)));
    }

    #[test]
    fn probabilities_are_corrected_for_their_number() {
        let corrected = holm(&[0.01, 0.04, 0.03, 0.005]);
        let want = [0.03, 0.06, 0.06, 0.02];
        for (corrected, want) in corrected.iter().zip(want) {
            assert!((corrected - want).abs() < 1e-12, "{corrected} {want}");
        }
        assert_eq!(holm(&[0.9, 0.8]), [1.0, 1.0]);
        assert!(holm(&[]).is_empty());
    }

    #[test]
    fn a_percentile_needs_answers_on_both_sides() {
        let needed = [0.5, 0.9, 0.99, 0.999].map(min_answers);
        assert_eq!(needed, [6, 36, 368, 3688]);
    }

    #[test]
    fn a_ratio_is_that_to_the_geometric_mean() {
        let ratio = block(8.0, &[1.0, 4.0]).ratio().unwrap();
        assert!((ratio - 4.0).abs() < 1e-12);
        assert_eq!(block(8.0, &[0.0]).ratio(), None);
        assert_eq!(block(0.0, &[1.0]).ratio(), Some(0.0));
        assert_eq!(median(vec![3.0, 1.0]), Some(2.0));
        assert_eq!(median(Vec::new()), None);
    }
}
