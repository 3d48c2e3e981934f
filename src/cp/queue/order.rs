//! The order of a queue, as a number that a ticket has from its first moment.
//!
//! Each copy has a due time: its arrival, later by a step for each point of priority, and by less than a step for its
//! size. The earliest goes first. So priority decides among copies that came together, then size, then arrival; a copy
//! that has waited for a step goes before one of the next priority that comes now, and nobody waits for ever. Since two
//! tickets never change places, a chain of copies that wait for each other has no circle.

use super::ticket::Ticket;

/// The wait that makes up for one point of priority, in milliseconds: ten minutes, a minute more than for any size, so that
/// priority decides among copies of one storm of crashes.
const PRIORITY_STEP_MS: i64 = 600_000;

/// The wait that makes up for twice the size.
const DOUBLING_MS: u64 = 30_000;

/// The wait that makes up for the largest size: eighteen doublings of a mebibyte, 256 GiB.
const LARGEST_DELAY_MS: i64 = 540_000;

/// The size below which none is told from another, as a power of two: a mebibyte is copied in a hundredth of a second.
const LEAST_SIZE_LOG: u32 = 20;

/// The place of a ticket in the order: due time, and what tells tickets of one due time apart.
pub(super) type Precedence = (i64, u128, u32, u32);

/// Returns the place of a ticket; the least goes first.
#[must_use]
pub(super) fn precedence(ticket: &Ticket) -> Precedence {
    let arrival = i64::try_from(ticket.arrival.as_millis()).unwrap_or(i64::MAX);
    let due = arrival
        .saturating_add(i64::from(ticket.priority) * PRIORITY_STEP_MS)
        .saturating_add(size_delay(ticket.size));
    (due, ticket.arrival.as_nanos(), ticket.pid, ticket.nonce)
}

/// Returns the milliseconds that a copy is later for its size. All of it is in whole numbers, so that two builds of the
/// program agree.
fn size_delay(size: Option<u64>) -> i64 {
    let Some(size) = size else {
        return LARGEST_DELAY_MS;
    };
    let size = size.max(1 << LEAST_SIZE_LOG);
    let log = size.ilog2();
    // Between two powers of two, a straight line.
    let beyond = (u128::from(size - (1 << log)) * u128::from(DOUBLING_MS)) >> log;
    let delay = u64::from(log - LEAST_SIZE_LOG) * DOUBLING_MS + beyond as u64;
    i64::try_from(delay).map_or(LARGEST_DELAY_MS, |delay| delay.min(LARGEST_DELAY_MS))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::ticket::tests::ticket;
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn priority_then_size_then_arrival_decide_in_a_storm() {
        let at = |ms, priority, mib: Option<u64>| {
            precedence(&ticket(ms, priority, mib.map(|mib| mib * MIB), 0))
        };
        let in_order = [
            at(900, -1, None),
            at(500, 0, Some(1)),
            at(0, 0, Some(100)),
            at(10, 0, Some(100)),
            at(5, 0, Some(1024)),
            at(0, 0, Some(2 << 20)),
            at(6, 0, None),
            at(9000, 0, None),
            at(0, 1, Some(1)),
        ];
        assert!(in_order.is_sorted(), "{in_order:?}");
    }

    #[test]
    fn ten_minutes_make_up_for_a_point_of_priority() {
        let due =
            |seconds: u64, priority| precedence(&ticket(seconds * 1000, priority, Some(MIB), 0));
        assert!(due(0, 1) < due(601, 0));
        assert!(due(599, 0) < due(0, 1));
        assert!(due(0, 19) < due(39 * 600 + 1, -20));
    }

    #[test]
    fn half_a_minute_makes_up_for_twice_the_size() {
        let due = |seconds: u64, mib| precedence(&ticket(seconds * 1000, 0, Some(mib * MIB), 0));
        assert!(due(0, 200) < due(31, 100));
        assert!(due(29, 100) < due(0, 200));
    }

    proptest! {
        /// Whoever comes more than a step of priority and size later never goes first.
        #[test]
        fn nobody_starves(
            (first, second) in (-20_i8..=19, -20_i8..=19),
            (size, other) in any::<(Option<u64>, Option<u64>)>(),
            arrival in 0_u64..1 << 40,
            later in 0_u64..1 << 40,
        ) {
            let points = u64::try_from((i64::from(first) - i64::from(second)).max(0)).unwrap();
            let bound = (points + 1) * PRIORITY_STEP_MS as u64;
            let waiting = precedence(&ticket(arrival, first, size, 1));
            let new = precedence(&ticket(arrival + bound + later, second, other, 0));
            prop_assert!(waiting < new);
        }

        #[test]
        fn a_larger_copy_is_never_earlier_for_its_size(size in any::<u64>(), more in any::<u64>()) {
            prop_assert!(size_delay(Some(size)) <= size_delay(Some(size.saturating_add(more))));
            prop_assert!(size_delay(Some(size)) <= size_delay(None));
        }
    }
}
