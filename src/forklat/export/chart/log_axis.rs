//! A logarithmic axis of times, from one power of ten microseconds to another.

/// A logarithmic axis, which goes from one pixel to another. The second may be the smaller one, as for an axis that
/// grows upwards.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogAxis {
    /// The powers of ten of microseconds at both ends.
    decades: (i32, i32),
    /// The pixels of both ends.
    pixels: (f64, f64),
}

impl LogAxis {
    /// Returns the axis that holds all `values`, or `None` if there are none. Values that are not positive are left out.
    #[must_use]
    pub fn of(values: impl Iterator<Item = f64>, pixels: (f64, f64)) -> Option<Self> {
        let decades = values.filter(|value| *value > 0.0).map(|v| v.log10());
        let (low, high) = decades.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| {
            (low.min(v), high.max(v))
        });
        let low = low.is_finite().then(|| low.floor() as i32)?;
        Some(Self {
            decades: (low, (high.ceil() as i32).max(low + 1)),
            pixels,
        })
    }

    /// Returns the pixel of a number of microseconds. Those beyond an end are at that end.
    #[must_use]
    pub fn position(&self, microseconds: f64) -> f64 {
        let (low, high) = self.decades;
        let share = (microseconds.log10() - f64::from(low)) / f64::from(high - low);
        let (from, to) = self.pixels;
        from + (to - from) * share.clamp(0.0, 1.0)
    }

    /// Returns the pixel and the label of each power of ten.
    pub fn ticks(&self) -> impl Iterator<Item = (f64, String)> + '_ {
        let (low, high) = self.decades;
        (low..=high).map(|decade| (self.position(10_f64.powi(decade)), label(decade)))
    }
}

/// Returns 10 to the power of `decade` microseconds in the largest unit of which there is at least one.
fn label(decade: i32) -> String {
    let (unit, of) = match decade {
        ..0 => ("ns", -3),
        0..3 => ("µs", 0),
        3..6 => ("ms", 3),
        6.. => ("s", 6),
    };
    format!("{} {unit}", 10_f64.powi(decade - of))
}

#[cfg(test)]
mod tests {
    use super::{LogAxis, label};

    #[test]
    fn the_axis_ends_at_powers_of_ten() {
        let pixels = (170.0, 720.0);
        let axis = LogAxis::of([3.0, 0.0, 250.0].into_iter(), pixels).unwrap();
        assert_eq!(axis.decades, (0, 3));
        assert_eq!(axis.position(1.0), pixels.0);
        assert_eq!(axis.position(1000.0), pixels.1);
        let narrow = LogAxis::of([10.0].into_iter(), pixels).unwrap();
        assert_eq!(narrow.decades, (1, 2));
        assert!(LogAxis::of([0.0].into_iter(), pixels).is_none());
    }

    #[test]
    fn an_axis_may_grow_upwards() {
        let axis = LogAxis::of([1.0, 100.0].into_iter(), (200.0, 0.0)).unwrap();
        assert_eq!(axis.position(10.0), 100.0);
        assert_eq!(axis.position(1e9), 0.0);
        let ticks: Vec<_> = axis.ticks().collect();
        assert_eq!(ticks[2], (0.0, "100 µs".to_owned()));
    }

    #[test]
    fn powers_of_ten_have_their_unit() {
        let labels: Vec<String> = [-3, 0, 2, 3, 5, 6, 7].map(label).into();
        let want = ["1 ns", "1 µs", "100 µs", "1 ms", "100 ms", "1 s", "10 s"];
        assert_eq!(labels, want);
    }
}
