//! Times as people write and read them: written in the device's zone unless they say another, read in the zone where
//! they happened.

use jiff::civil::{Date, DateTime, Time};
use jiff::fmt::temporal::{DateTimeParser, Pieces};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};

/// What to write, for messages about what was not understood.
const FORMS: &str = "write a time as 07:10, \"yesterday 21:30\", \"2026-11-22 07:10\" or 2026-11-22T07:10+01:00";

/// A point in time and the zone in which a person thinks of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// Milliseconds since 1970 UTC.
    pub ms: i64,
    /// IANA name, or an offset such as `+01:00`.
    pub zone: String,
    /// The day after, where only a day was written: what ends with that day ends before this.
    day_after_ms: Option<i64>,
}

impl Moment {
    /// Now, here.
    pub fn now() -> Self {
        Self::of(&Zoned::now())
    }

    fn of(at: &Zoned) -> Self {
        Self { ms: at.timestamp().as_millisecond(), zone: zone_name(at), day_after_ms: None }
    }

    /// Where a range ends that a person ends with this: with the day, if that is all they wrote.
    pub fn end_ms(&self) -> i64 {
        self.day_after_ms.unwrap_or(self.ms)
    }
}

/// A zone as a person names it: of the tz database, or an offset.
///
/// # Errors
/// A sentence about a name that is neither.
pub fn zone(text: &str) -> Result<String, String> {
    let is_offset = text.starts_with(['+', '-']) && jiff::fmt::strtime::parse("%:z", text).is_ok();
    if is_offset || jiff::tz::TimeZone::get(text).is_ok() {
        return Ok(text.to_owned());
    }
    Err(format!("\"{text}\" is no time zone: write one such as Europe/Rome, or an offset such as +02:00"))
}

/// The zone of this device: from TZ, else the system's, else UTC.
pub fn device_zone() -> String {
    zone_name(&Zoned::now())
}

/// Reads a time as people write it.
///
/// # Errors
/// A sentence that shows the forms.
pub fn parse(text: &str) -> Result<Moment, String> {
    parse_at(text.trim(), &Zoned::now()).map_err(|problem| match problem {
        Some(problem) => problem,
        None => FORMS.to_owned(),
    })
}

/// None as the problem: no known form.
fn parse_at(text: &str, now: &Zoned) -> Result<Moment, Option<String>> {
    if text == "now" {
        return Ok(Moment::of(now));
    }
    if let Some(days) = text.strip_suffix('d').and_then(|days| days.parse::<u16>().ok()) {
        let date = now.date().checked_sub(i64::from(days).days()).map_err(|_| None)?;
        return day(date, now);
    }
    let (first, rest) = text.split_once(' ').map_or((text, None), |(first, rest)| (first, Some(rest.trim())));
    let named = match first {
        "today" => Some(now.date()),
        "yesterday" => Some(now.date().yesterday().map_err(|_| None)?),
        _ => None,
    };
    match (named, rest) {
        (Some(date), None) => day(date, now),
        (Some(date), Some(time)) => local(date.to_datetime(time.parse::<Time>().map_err(|_| None)?), now),
        (None, _) => match clock(text) {
            Some(time) => local(now.date().to_datetime(time), now),
            None => iso(text, now),
        },
    }
}

/// `7:10` and `07:10:30`; jiff alone would also take `0710`, which people mistype for something else.
fn clock(text: &str) -> Option<Time> {
    let (hour, _) = text.split_once(':').filter(|(hour, _)| hour.len() <= 2)?;
    let padded = if hour.len() == 1 { format!("0{text}") } else { text.to_owned() };
    padded.parse().ok()
}

fn iso(text: &str, now: &Zoned) -> Result<Moment, Option<String>> {
    let pieces = Pieces::parse(text).map_err(|_| None)?;
    let datetime = match pieces.time() {
        Some(time) => pieces.date().to_datetime(time),
        None if pieces.offset().is_none() => return day(pieces.date(), now),
        None => return Err(None),
    };
    let zone = pieces.to_time_zone().map_err(|error| Some(format!("the zone of this time is not known: {error}")))?;
    if let Some(zone) = zone {
        return of_zone(datetime, zone);
    }
    let Some(offset) = pieces.to_numeric_offset() else { return local(datetime, now) };
    let at = of_zone(datetime, TimeZone::fixed(offset))?;
    let here = Timestamp::from_millisecond(at.ms).map_err(|_| None)?.to_zoned(now.time_zone().clone());
    // Z says that the writer's own offset is not known; an offset that is the one here then says no more than "here".
    let is_here = offset == here.offset() || text.ends_with(['Z', 'z']);
    Ok(if is_here { Moment::of(&here) } else { at })
}

fn local(datetime: DateTime, now: &Zoned) -> Result<Moment, Option<String>> {
    of_zone(datetime, now.time_zone().clone())
}

/// A time that a change of the clocks skips is read as the one an hour later, one that it repeats as the first.
fn of_zone(datetime: DateTime, zone: TimeZone) -> Result<Moment, Option<String>> {
    datetime.to_zoned(zone).map(|at| Moment::of(&at)).map_err(|_| None)
}

fn day(date: Date, now: &Zoned) -> Result<Moment, Option<String>> {
    let after = local(date.tomorrow().map_err(|_| None)?.to_datetime(Time::midnight()), now)?;
    Ok(Moment { day_after_ms: Some(after.ms), ..local(date.to_datetime(Time::midnight()), now)? })
}

fn zone_name(at: &Zoned) -> String {
    if let Some(name) = at.time_zone().iana_name() {
        return name.to_owned();
    }
    let minutes = at.offset().seconds() / 60;
    match minutes {
        0 => "UTC".to_owned(),
        _ => format!("{}{:02}:{:02}", if minutes < 0 { '-' } else { '+' }, minutes.abs() / 60, minutes.abs() % 60),
    }
}

/// `Sun 22 Nov 07:10` in this year, `22 Nov 2024 07:10` in another, in `zone`, or here if it is none that is known.
pub fn show(ms: i64, zone: Option<&str>) -> String {
    let Some(at) = zoned(ms, zone) else { return format!("{ms} ms") };
    let form = if at.year() == Zoned::now().year() { "%a %e %b %H:%M" } else { "%e %b %Y %H:%M" };
    at.strftime(form).to_string()
}

/// `Sun 22 Nov 2026, 07:10`
pub fn show_long(ms: i64, zone: Option<&str>) -> String {
    zoned(ms, zone).map_or_else(|| format!("{ms} ms"), |at| at.strftime("%a %-d %b %Y, %H:%M").to_string())
}

/// `08:02`, with the day where it is not that of `from_ms`.
pub fn show_end(ms: i64, from_ms: i64, zone: Option<&str>) -> String {
    match (zoned(ms, zone), zoned(from_ms, zone)) {
        (Some(at), Some(from)) if at.date() == from.date() => at.strftime("%H:%M").to_string(),
        _ => show_long(ms, zone),
    }
}

fn zoned(ms: i64, zone: Option<&str>) -> Option<Zoned> {
    let known = zone.and_then(|zone| DateTimeParser::new().parse_time_zone(zone).ok());
    let at = Timestamp::from_millisecond(ms).ok()?;
    Some(at.to_zoned(known.unwrap_or_else(TimeZone::system)))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that cannot go on should stop with the line")]
mod tests {
    use super::*;

    fn at(text: &str) -> String {
        let now: Zoned = "2026-11-22T18:00[Europe/Rome]".parse().unwrap();
        let moment = parse_at(text, &now).unwrap();
        format!("{} {}", Timestamp::from_millisecond(moment.ms).unwrap(), moment.zone)
    }

    #[test]
    fn a_time_without_a_zone_is_one_here() {
        assert_eq!(at("2026-11-22 07:10"), "2026-11-22T06:10:00Z Europe/Rome");
        assert_eq!(at("2026-07-01T07:10:30"), "2026-07-01T05:10:30Z Europe/Rome");
        assert_eq!(at("7:10"), "2026-11-22T06:10:00Z Europe/Rome");
        assert_eq!(at("yesterday 21:30"), "2026-11-21T20:30:00Z Europe/Rome");
        assert_eq!(at("2026-11-20"), "2026-11-19T23:00:00Z Europe/Rome");
        assert_eq!(at("7d"), "2026-11-14T23:00:00Z Europe/Rome");
        assert_eq!(at("now"), "2026-11-22T17:00:00Z Europe/Rome");
    }

    #[test]
    fn a_time_that_names_its_zone_keeps_it() {
        assert_eq!(at("2026-11-22T07:10[Asia/Tokyo]"), "2026-11-21T22:10:00Z Asia/Tokyo");
        assert_eq!(at("2026-11-22T07:10+09:00"), "2026-11-21T22:10:00Z +09:00");
        assert_eq!(at("2026-11-22T07:10+01:00"), "2026-11-22T06:10:00Z Europe/Rome");
        assert_eq!(at("2026-11-22T06:10Z"), "2026-11-22T06:10:00Z Europe/Rome");
    }

    #[test]
    fn a_day_as_the_end_of_a_range_belongs_to_it() {
        let now: Zoned = "2026-11-22T18:00[Europe/Rome]".parse().unwrap();
        let day = parse_at("2026-11-20", &now).unwrap();
        assert_eq!(day.end_ms() - day.ms, 24 * 3_600_000);
        let minute = parse_at("2026-11-20 10:00", &now).unwrap();
        assert_eq!(minute.end_ms(), minute.ms);
    }

    #[test]
    fn what_is_no_time_is_answered_with_the_forms() {
        for bad in ["", "noon", "25:00", "0710", "2026-13-01", "yesterday evening", "2026-11-22T07:10[Mars/Olympus]"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_are_read_where_they_happened() {
        assert_eq!(show_long(1_700_000_000_000, Some("Asia/Tokyo")), "Wed 15 Nov 2023, 07:13");
        assert_eq!(show(1_700_000_000_000, Some("-03:30")), "14 Nov 2023 18:43");
    }
}
