//! The ticket of a copy: an empty file whose name says everything about it, so that a full file system has room for it.

use std::time::Duration;

use crate::transfer::rate_limit::Limits;

/// What the pressure is multiplied by, to be written as a whole number.
const PRESSURE_SCALE: f64 = 1e4;

/// What the name of a ticket says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Ticket {
    /// When the copy came, as the time since the machine was started: a clock that is set does not change the order.
    pub(super) arrival: Duration,
    /// The priority as a nice value: a lower one goes first.
    pub(super) priority: i8,
    /// Bytes to copy; `None` where that is not known before the copy.
    pub(super) size: Option<u64>,
    /// The process that copies, as it sees itself.
    pub(super) pid: u32,
    /// Bytes per second that the user allows.
    pub(super) rate: Option<u64>,
    /// The limit of fork, in nanoseconds.
    pub(super) fork_ns: Option<u64>,
    /// The limit of a wakeup, in nanoseconds.
    pub(super) wakeup_ns: Option<u64>,
    /// The limit of a write, in nanoseconds.
    pub(super) write_ns: Option<u64>,
    /// The limit of the pressure, in ten-thousandths of a percent.
    pub(super) pressure: Option<u64>,
    /// A number that no other ticket has, where two PID namespaces share a queue.
    pub(super) nonce: u32,
}

impl Ticket {
    /// Records the limits of a copy in its ticket.
    pub(super) fn set_limits(&mut self, limits: &Limits) {
        let nanos = |time: Option<Duration>| {
            time.map(|time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
        };
        self.rate = limits.rate;
        self.fork_ns = nanos(limits.fork_latency);
        self.wakeup_ns = nanos(limits.wakeup_latency);
        self.write_ns = nanos(limits.write_latency);
        let pressure = limits.pressure;
        self.pressure = pressure.map(|percent| (percent * PRESSURE_SCALE).round() as u64);
    }

    /// Returns the limits of the copy. How long it waits for them is its own matter.
    pub(super) fn limits(&self) -> Limits {
        let time = |nanos: Option<u64>| nanos.map(Duration::from_nanos);
        Limits {
            rate: self.rate,
            fork_latency: time(self.fork_ns),
            wakeup_latency: time(self.wakeup_ns),
            write_latency: time(self.write_ns),
            pressure: self.pressure.map(|scaled| scaled as f64 / PRESSURE_SCALE),
            ..Limits::default()
        }
    }

    /// Returns the name of the file.
    pub(super) fn file_name(&self) -> String {
        let number = |number: Option<u64>| number.map_or("-".to_owned(), |n| n.to_string());
        format!(
            "a{}.p{}.s{}.i{}.r{}.f{}.k{}.w{}.m{}.x{:08x}",
            self.arrival.as_nanos(),
            self.priority,
            number(self.size),
            self.pid,
            number(self.rate),
            number(self.fork_ns),
            number(self.wakeup_ns),
            number(self.write_ns),
            number(self.pressure),
            self.nonce
        )
    }

    /// Reads the name of a file. Returns `None` if it is no ticket.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let mut fields = name.split('.');
        let mut field = |letter| fields.next()?.strip_prefix(letter);
        let ticket = Self {
            arrival: Duration::from_nanos(field('a')?.parse().ok()?),
            priority: field('p')?.parse().ok()?,
            size: optional(field('s')?)?,
            pid: field('i')?.parse().ok()?,
            rate: optional(field('r')?)?,
            fork_ns: optional(field('f')?)?,
            wakeup_ns: optional(field('k')?)?,
            write_ns: optional(field('w')?)?,
            pressure: optional(field('m')?)?,
            nonce: u32::from_str_radix(field('x')?, 16).ok()?,
        };
        fields.next().is_none().then_some(ticket)
    }
}

/// Reads a number, or the dash that stands for none.
fn optional(text: &str) -> Option<Option<u64>> {
    if text == "-" {
        return Some(None);
    }
    text.parse().ok().map(Some)
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns a ticket of this arrival in milliseconds, priority and size, without limits.
    pub(in crate::cp::queue) fn ticket(
        arrival_ms: u64,
        priority: i8,
        size: Option<u64>,
        nonce: u32,
    ) -> Ticket {
        Ticket {
            arrival: Duration::from_millis(arrival_ms),
            priority,
            size,
            pid: 17,
            rate: None,
            fork_ns: None,
            wakeup_ns: None,
            write_ns: None,
            pressure: None,
            nonce,
        }
    }

    #[test]
    fn other_names_are_no_tickets() {
        let name = ticket(5, -20, None, 0xab).file_name();
        assert_eq!(name, "a5000000.p-20.s-.i17.r-.f-.k-.w-.m-.x000000ab");
        assert!(Ticket::parse(&name).is_some());
        for other in [
            "",
            ".new-17",
            "turn",
            &name[1..],
            &format!("{name}.y1"),
            "a1.p0",
        ] {
            assert_eq!(Ticket::parse(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn a_name_says_everything(
            arrival in any::<u64>(),
            priority in -20_i8..=19,
            size in any::<Option<u64>>(),
            rate in any::<Option<u64>>(),
            write in any::<Option<u64>>(),
            percent in proptest::option::of(1_u32..=1_000_000),
            nonce in any::<u32>(),
        ) {
            let mut made = ticket(0, priority, size, nonce);
            made.arrival = Duration::from_nanos(arrival);
            made.set_limits(&Limits {
                rate,
                write_latency: write.map(Duration::from_nanos),
                pressure: percent.map(|percent| f64::from(percent) / 1e4),
                ..Limits::default()
            });
            let name = made.file_name();
            prop_assert!(name.len() < 250, "{name}");
            prop_assert_eq!(Ticket::parse(&name), Some(made));
            prop_assert_eq!(made.limits().rate, rate);
        }
    }
}
