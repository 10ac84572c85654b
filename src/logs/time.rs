//! Dates of a time in UTC, and when a rotation is due.

use crate::config::RotationTime;

const DAY: u64 = 86_400;
const HOUR: u64 = 3_600;

/// Year, month and day of a day counted from 1970.
fn date(day: u64) -> (u64, u64, u64) {
    // Years begin in March, so that a leap day is a year's last.
    let day = day + 719_468;
    let (era, of_era) = (day / 146_097, day % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day_of_month = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + u64::from(month <= 2), month, day_of_month)
}

/// A time in microseconds since 1970, as RabbitMQ writes it.
pub fn stamp(micros: u64) -> String {
    let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
    let (year, month, day) = date(seconds / DAY);
    let (hour, minute, second) = (seconds % DAY / HOUR, seconds % HOUR / 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{micros:06}+00:00")
}

/// The first time after `now` (seconds since 1970) at which a rotation is due.
pub fn next(time: RotationTime, now: u64) -> u64 {
    let (first, step) = match time {
        RotationTime::Hourly { minute } => (now - now % HOUR + u64::from(minute) * 60, HOUR),
        RotationTime::Daily { hour } => (now - now % DAY + u64::from(hour) * HOUR, DAY),
        RotationTime::Weekly { day, hour } => {
            // 1970 began on a Thursday.
            let weekday = (now / DAY + 4) % 7;
            let days = (u64::from(day) + 7 - weekday) % 7;
            (now - now % DAY + days * DAY + u64::from(hour) * HOUR, 7 * DAY)
        }
        RotationTime::Monthly { day, hour } => return next_monthly(u64::from(day), u64::from(hour), now),
    };
    if first > now { first } else { first + step }
}

fn next_monthly(day: u64, hour: u64, now: u64) -> u64 {
    let is_wanted = |at: &u64| {
        let (_, month, of_month) = date(*at);
        let is_last = date(at + 1).1 != month;
        of_month == day || (is_last && of_month < day)
    };
    let days = (now / DAY..).take(63).filter(is_wanted);
    let mut times = days.map(|at| at * DAY + hour * HOUR);
    times.find(|time| *time > now).unwrap_or(now + 31 * DAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A time as seconds since 1970.
    fn at(text: &str) -> u64 {
        let wanted = format!("{text}:00.000000+00:00");
        (0..40_000).map(|day| day * DAY).find(|s| stamp(s * 1_000_000)[..10] == wanted[..10]).map_or(0, |day| {
            let hour: u64 = text[11..13].parse().unwrap();
            let minute: u64 = text[14..16].parse().unwrap();
            day + hour * HOUR + minute * 60
        })
    }

    #[test]
    fn times_are_written_as_dates() {
        assert_eq!(stamp(0), "1970-01-01 00:00:00.000000+00:00");
        assert_eq!(stamp(951_782_400_000_000), "2000-02-29 00:00:00.000000+00:00");
        assert_eq!(stamp(1_709_251_199_999_999), "2024-02-29 23:59:59.999999+00:00");
        assert_eq!(stamp(4_107_542_400_000_000), "2100-03-01 00:00:00.000000+00:00");
    }

    #[test]
    fn rotations_are_due() {
        let due = |time, now: &str| stamp(next(time, at(now)) * 1_000_000)[..16].to_owned();
        assert_eq!(due(RotationTime::Hourly { minute: 30 }, "2024-02-28 23:30"), "2024-02-29 00:30");
        assert_eq!(due(RotationTime::Daily { hour: 5 }, "2024-02-28 04:59"), "2024-02-28 05:00");
        assert_eq!(due(RotationTime::Daily { hour: 5 }, "2024-02-28 05:00"), "2024-02-29 05:00");
        // A Wednesday.
        assert_eq!(due(RotationTime::Weekly { day: 0, hour: 1 }, "2024-02-28 12:00"), "2024-03-03 01:00");
        assert_eq!(due(RotationTime::Weekly { day: 3, hour: 12 }, "2024-02-28 12:00"), "2024-03-06 12:00");
        assert_eq!(due(RotationTime::Monthly { day: 31, hour: 0 }, "2024-02-28 12:00"), "2024-02-29 00:00");
        assert_eq!(due(RotationTime::Monthly { day: 1, hour: 0 }, "2024-02-28 12:00"), "2024-03-01 00:00");
    }
}
