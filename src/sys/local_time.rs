//! Formats times of day in the time zone of this machine.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;

/// Formats the local time of day at `seconds` since the epoch, such as `14:03:22.123`.
#[must_use]
pub fn time_of_day(seconds: f64) -> String {
    let milliseconds = (seconds * 1e3).round() as i64;
    // This type is i64 on 64 bits. On others a time beyond its range becomes its last value.
    let whole = libc::time_t::try_from(milliseconds.div_euclid(1000)).unwrap_or(libc::time_t::MAX);
    let mut broken = MaybeUninit::<libc::tm>::uninit();
    // SAFETY: both pointers are to live variables of the right types; a null answer leaves `broken` unread. It reads the
    // environment (TZ), which safe code cannot change beside it: std::env::set_var is unsafe in this edition.
    let tm = unsafe {
        if libc::localtime_r(&whole, broken.as_mut_ptr()).is_null() {
            return format!("{seconds:.3} s since 1970");
        }
        broken.assume_init()
    };
    format!(
        "{:02}:{:02}:{:02}.{:03}",
        tm.tm_hour,
        tm.tm_min,
        tm.tm_sec,
        milliseconds.rem_euclid(1000)
    )
}

#[cfg(test)]
mod tests {
    use super::time_of_day;

    #[test]
    fn seconds_and_milliseconds_are_the_same_in_every_time_zone_of_today() {
        let noon = time_of_day(1_795_262_400.062_5);
        assert_eq!(&noon[noon.len() - 6..], "00.063");
        assert_eq!(noon.len(), 12);
    }
}
