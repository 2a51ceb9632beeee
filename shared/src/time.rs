//! The text of a [`Value::Time`](crate::value::Value::Time): RFC 3339 in UTC, to the microsecond.

use std::ops::RangeInclusive;

use jiff::SignedDuration;
use jiff::civil::{DateTime, datetime};

/// The years 1 to 9999, in microseconds since 1970 UTC: what Python's `datetime` can tell.
pub const RANGE_US: RangeInclusive<i64> = -62_135_596_800_000_000..=253_402_300_799_999_999;

const EPOCH: DateTime = datetime(1970, 1, 1, 0, 0, 0, 0);

/// Such as `2026-11-21T01:22:10.123456Z`; always six digits of a second. A time outside the range is told as its number.
pub fn to_text(us: i64) -> String {
    match EPOCH.checked_add(SignedDuration::from_micros(us)) {
        Ok(time) if RANGE_US.contains(&us) => format!("{time:.6}Z"),
        _ => us.to_string(),
    }
}

/// The time that the text tells, in the form of [`to_text`] with no to six digits after the second; `None` for all else.
pub fn from_text(text: &str) -> Option<i64> {
    let text = text.strip_suffix('Z')?;
    let is_plain = |b: u8| b.is_ascii_digit() || b"-:T.".contains(&b);
    if !(19..=26).contains(&text.len()) || !text.bytes().all(is_plain) {
        return None;
    }
    let time: DateTime = text.parse().ok()?;
    let us = i64::try_from(time.duration_since(EPOCH).as_micros()).ok()?;
    RANGE_US.contains(&us).then_some(us)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_utc_to_the_microsecond() {
        for (us, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (-1, "1969-12-31T23:59:59.999999Z"),
            (1_795_224_130_123_456, "2026-11-21T01:22:10.123456Z"),
            (*RANGE_US.start(), "0001-01-01T00:00:00.000000Z"),
            (*RANGE_US.end(), "9999-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(to_text(us), text);
            assert_eq!(from_text(text), Some(us), "{text}");
        }
        assert_eq!(from_text("1970-01-01T00:00:01Z"), Some(1_000_000));
        for bad in [
            "",
            "1970-01-01",
            "1970-01-01T00:00:00",
            "1970-01-01T00:00:00.0000001Z",
            "1970-01-01T02:00:00+02:00Z",
            "0000-01-01T00:00:00Z",
            "2023-02-29T00:00:00Z",
            "1970-01-01 00:00:00Z",
        ] {
            assert_eq!(from_text(bad), None, "{bad}");
        }
    }
}
