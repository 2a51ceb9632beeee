//! A time of the image as Python's `datetime.datetime`, and back. Only what has an offset is a point in time.

use jiff::SignedDuration;
use jiff::civil::{DateTime, date, datetime};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{
    PyDateAccess, PyDateTime, PyDelta, PyDeltaAccess, PyTimeAccess, PyType, PyTzInfo, PyTzInfoAccess,
};
use shared::time::RANGE_US;

const EPOCH: DateTime = datetime(1970, 1, 1, 0, 0, 0, 0);

/// `datetime.timezone`: C code that nobody can derive from, so asking it for an offset runs no code of a method.
static TIMEZONE: PyOnceLock<Py<PyType>> = PyOnceLock::new();

/// Takes from the interpreter what is needed later; called while files can still be opened.
pub fn prepare(py: Python<'_>) -> PyResult<()> {
    timezone(py)?;
    PyTzInfo::utc(py).map(|_| ())
}

/// The time in UTC.
pub fn decode(py: Python<'_>, us: i64) -> PyResult<Bound<'_, PyDateTime>> {
    let time = EPOCH
        .checked_add(SignedDuration::from_micros(us))
        .map_err(|error| pyo3::exceptions::PyOverflowError::new_err(error.to_string()))?;
    // Fields of a calendar: none is negative, and the year has at most four digits.
    PyDateTime::new(
        py,
        i32::from(time.year()),
        time.month().unsigned_abs(),
        time.day().unsigned_abs(),
        time.hour().unsigned_abs(),
        time.minute().unsigned_abs(),
        time.second().unsigned_abs(),
        time.subsec_nanosecond().unsigned_abs() / 1000,
        Some(&*PyTzInfo::utc(py)?),
    )
}

/// Microseconds since 1970 UTC. The error is a sentence that follows the place of the value.
pub fn encode(time: &Bound<'_, PyDateTime>) -> Result<i64, String> {
    let Some(zone) = time.get_tzinfo() else {
        return Err(
            "is a time without a time zone; say which: datetime.datetime(…, tzinfo=datetime.timezone.utc)"
                .to_owned(),
        );
    };
    let offset_us = offset_us(&zone).ok_or("has a time zone of an odd kind; use datetime.timezone")?;
    wall_us(time)
        .map(|us| us - offset_us)
        .filter(|us| RANGE_US.contains(us))
        .ok_or_else(|| "is a time outside of the years 1 to 9999 of UTC".to_owned())
}

/// What the clock on the wall shows, as if that wall were in Greenwich.
fn wall_us(time: &Bound<'_, PyDateTime>) -> Option<i64> {
    let date = date(
        i16::try_from(time.get_year()).ok()?,
        i8::try_from(time.get_month()).ok()?,
        i8::try_from(time.get_day()).ok()?,
    );
    let clock = date.at(
        i8::try_from(time.get_hour()).ok()?,
        i8::try_from(time.get_minute()).ok()?,
        i8::try_from(time.get_second()).ok()?,
        i32::try_from(time.get_microsecond()).ok()? * 1000,
    );
    i64::try_from(clock.duration_since(EPOCH).as_micros()).ok()
}

fn offset_us(zone: &Bound<'_, PyTzInfo>) -> Option<i64> {
    let py = zone.py();
    if !zone.get_type().is(timezone(py).ok()?) {
        return None;
    }
    let offset = zone.call_method1("utcoffset", (py.None(),)).ok()?;
    let offset = offset.cast_exact::<PyDelta>().ok()?;
    let seconds = i64::from(offset.get_days()) * 86_400 + i64::from(offset.get_seconds());
    Some(seconds * 1_000_000 + i64::from(offset.get_microseconds()))
}

fn timezone(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    TIMEZONE
        .get_or_try_init(py, || {
            let kind = py.import("datetime")?.getattr("timezone")?;
            Ok(kind.cast_into::<PyType>()?.unbind())
        })
        .map(|kind| kind.bind(py))
}
