//! Values of settings. Each function reads one syntax; its error says what was expected.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::{ListenAddress, LogLevel, RotationTime};

/// What was expected.
pub type Expected = String;

pub fn boolean(text: &str) -> Result<bool, Expected> {
    choice(text, &[("true", true), ("false", false)])
}

/// One of some words.
pub fn choice<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, Expected> {
    choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
        format!("one of {}", names.join(", "))
    })
}

/// A whole number in a range.
pub fn integer<T>(text: &str, range: RangeInclusive<T>) -> Result<T, Expected>
where
    T: FromStr + PartialOrd + Display,
{
    let value = text.parse().ok().filter(|value| range.contains(value));
    value.ok_or_else(|| format!("a whole number from {} to {}", range.start(), range.end()))
}

/// A share of something.
pub fn fraction(text: &str) -> Result<f64, Expected> {
    let value = text.parse().ok().filter(|value| (0.0..=1.0).contains(value));
    value.ok_or_else(|| "a number from 0 to 1".to_owned())
}

/// A number from 0 on.
pub fn positive(text: &str) -> Result<f64, Expected> {
    let value = text.parse().ok().filter(|value: &f64| value.is_finite() && *value >= 0.0);
    value.ok_or_else(|| "a number from 0 on".to_owned())
}

/// A limit from `least` on; `infinity` is none.
pub fn limit(text: &str, least: u64) -> Result<Option<u64>, Expected> {
    if text == "infinity" {
        return Ok(None);
    }
    let value = text.parse().ok().filter(|value| *value >= least);
    value.map(Some).ok_or_else(|| format!("infinity or a whole number from {least} on"))
}

/// A time in milliseconds, at least one; `infinity` and `undefined` are none.
pub fn milliseconds(text: &str) -> Result<Option<Duration>, Expected> {
    if text == "infinity" || text == "undefined" {
        return Ok(None);
    }
    let value = text.parse().ok().filter(|ms| *ms > 0).map(|ms| Some(Duration::from_millis(ms)));
    value.ok_or_else(|| "a number of milliseconds from 1 on, or infinity".to_owned())
}

/// A time in milliseconds, or with a unit: ms, s, m, h, d or w.
pub fn span(text: &str) -> Result<u64, Expected> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "" | "ms" => Some(1),
        "s" => Some(1000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        "d" => Some(86_400_000),
        "w" => Some(604_800_000),
        _ => None,
    };
    let span = number.parse::<u64>().ok().zip(factor).and_then(|(n, factor)| n.checked_mul(factor));
    span.ok_or_else(|| "a number of milliseconds, or a time such as 30s, 5m, 2h or 7d".to_owned())
}

/// An amount of memory. As in RabbitMQ since 3.13, kB, MB, GB and TB (or K, M, G, T) are powers of 1000 and KiB, MiB,
/// GiB and TiB (or Ki, Mi, Gi, Ti) of 1024, in capitals or not.
pub fn memory(text: &str) -> Result<u64, Expected> {
    amount(text, 1000).ok_or_else(|| "a number of bytes such as 536870912, 512MiB or 2GB".to_owned())
}

/// A size on the wire. Here RabbitMQ reads KB, MB and GB as powers of 1024, and so do we.
pub fn size(text: &str, range: RangeInclusive<u64>) -> Result<u64, Expected> {
    let value = amount(text, 1024).filter(|value| range.contains(value));
    value.ok_or_else(|| format!("a number of bytes from {} to {}, such as 131072 or 16MB", range.start(), range.end()))
}

/// A number with a unit, the short units being powers of `base`.
fn amount(text: &str, base: u64) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let unit = unit.to_ascii_lowercase();
    let unit = unit.strip_suffix('b').filter(|rest| !rest.is_empty()).unwrap_or(&unit);
    let (prefix, base) = unit.strip_suffix('i').map_or((unit, base), |prefix| (prefix, 1024));
    let power = match prefix {
        "" if unit.is_empty() => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(base.checked_pow(power)?)
}

/// A port for all interfaces, or an address and a port.
pub fn listener(text: &str) -> Result<ListenAddress, Expected> {
    let port = text.parse().ok().map(ListenAddress::AnyInterface);
    port.or_else(|| socket(text).map(ListenAddress::Socket))
        .ok_or_else(|| "a port such as 5672, or an IP address and a port such as 127.0.0.1:5672 or ::1:5672".to_owned())
}

/// RabbitMQ writes IPv6 addresses without brackets: the port follows the last colon.
fn socket(text: &str) -> Option<SocketAddr> {
    text.parse().ok().or_else(|| {
        let (ip, port) = text.rsplit_once(':')?;
        Some(SocketAddr::new(ip.parse::<IpAddr>().ok()?, port.parse().ok()?))
    })
}

pub fn level(text: &str) -> Result<LogLevel, Expected> {
    choice(text, &LogLevel::NAMES)
}

/// An address to listen on.
pub fn ip(text: &str) -> Result<IpAddr, Expected> {
    text.parse().map_err(|_| "an IP address such as 127.0.0.1 or ::".to_owned())
}

/// A file or directory.
pub fn path(text: &str) -> Result<PathBuf, Expected> {
    if text.is_empty() { Err("a path".to_owned()) } else { Ok(PathBuf::from(text)) }
}

pub fn url(text: &str) -> Result<String, Expected> {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    match rest {
        Some(rest) if !rest.is_empty() => Ok(text.to_owned()),
        _ => Err("a URL that begins with http:// or https://".to_owned()),
    }
}

/// Whether the other side's certificate is checked.
pub fn verification(text: &str) -> Result<bool, Expected> {
    choice(text, &[("verify_peer", true), ("verify_none", false)])
}

/// Words separated by commas.
pub fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// When a log file is rotated: `$H30`, `$D0`, `$W0D0`, `$M1D0`; numbers may be left out, an empty text is never.
pub fn rotation(text: &str) -> Result<Option<RotationTime>, Expected> {
    if text.is_empty() {
        return Ok(None);
    }
    parse_rotation(text)
        .map(Some)
        .ok_or_else(|| "a time such as $H00 (hourly), $D0 (daily), $W0D0 (weekly) or $M1D0 (monthly)".to_owned())
}

fn parse_rotation(text: &str) -> Option<RotationTime> {
    let number = |text: &str, least: u8, most: u8| match text {
        "" => Some(least),
        _ => text.parse().ok().filter(|n| (least..=most).contains(n)),
    };
    let rest = text.strip_prefix('$').filter(|rest| !rest.is_empty())?;
    let (first, hour) = rest.split_once('D').unwrap_or((rest, ""));
    let hour = number(hour, 0, 23)?;
    if first.is_empty() {
        return Some(RotationTime::Daily { hour });
    }
    Some(match first.split_at_checked(1)? {
        ("H", minute) => RotationTime::Hourly { minute: number(minute, 0, 59)? },
        ("W", day) => RotationTime::Weekly { day: number(day, 0, 6)?, hour },
        ("M", day) => RotationTime::Monthly { day: number(day, 1, 31)?, hour },
        _ => return None,
    })
}
