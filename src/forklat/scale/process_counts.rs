//! The number of idle processes at each step.

/// Returns the powers of ten below `max`, and `max`.
#[must_use]
pub fn steps(max: u32) -> Vec<u32> {
    let powers = std::iter::successors(Some(1_u32), |n| n.checked_mul(10));
    powers.take_while(|n| *n < max).chain([max]).collect()
}

#[cfg(test)]
mod tests {
    use super::steps;

    #[test]
    fn the_last_step_is_what_was_asked_for() {
        assert_eq!(steps(1), [1]);
        assert_eq!(steps(7), [1, 7]);
        assert_eq!(steps(1000), [1, 10, 100, 1000]);
        assert_eq!(steps(5000), [1, 10, 100, 1000, 5000]);
        assert_eq!(steps(u32::MAX).len(), 11);
    }
}
