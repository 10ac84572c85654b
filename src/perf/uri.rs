//! `amqp://user:password@host:port/vhost` (with TLS, `amqps://`), as client libraries take it.

use std::str::FromStr;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uri {
    pub tls: bool,
    pub user: String,
    pub password: String,
    pub host: String,
    pub port: u16,
    pub vhost: String,
}

impl FromStr for Uri {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (tls, rest) = match text.split_once("://") {
            Some(("amqp", rest)) => (false, rest),
            Some(("amqps", rest)) => (true, rest),
            _ => return Err("must begin with amqp:// or amqps://".into()),
        };
        let (authority, path) = rest.split_once('/').map_or((rest, None), |(a, p)| (a, Some(p)));
        // What follows the vhost are options of client libraries.
        let path = path.map(|p| p.split_once('?').map_or(p, |(p, _)| p));
        let (login, address) = authority.rsplit_once('@').map_or((None, authority), |(l, a)| (Some(l), a));
        let (user, password) = match login {
            Some(login) => login.split_once(':').unwrap_or((login, "")),
            None => ("guest", "guest"),
        };
        let (host, port) = split_address(address, if tls { 5671 } else { 5672 })?;
        Ok(Self {
            tls,
            user: decode(user)?,
            password: decode(password)?,
            host,
            port,
            vhost: match path {
                None | Some("") => "/".into(),
                Some(path) => decode(path)?,
            },
        })
    }
}

/// Host and port; an IPv6 address stands in brackets.
fn split_address(address: &str, usual: u16) -> Result<(String, u16), String> {
    let (host, port) = match address.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (host, Some(rest.strip_prefix(':').ok_or("a colon must follow the bracket")?)),
        None => address.split_once(':').map_or((address, None), |(h, p)| (h, Some(p))),
    };
    let host = if host.is_empty() { "127.0.0.1".into() } else { decode(host)? };
    let port = match port {
        None | Some("") => usual,
        Some(port) => port.parse().map_err(|_| format!("{port} is not a port"))?,
    };
    Ok((host, port))
}

/// Undoes percent-encoding.
fn decode(text: &str) -> Result<String, String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16));
        match (digit(bytes.next()), digit(bytes.next())) {
            (Some(high), Some(low)) => out.extend(u8::try_from(high * 16 + low)),
            _ => return Err(format!("% is not followed by two hexadecimal digits in {text}")),
        }
    }
    String::from_utf8(out).map_err(|_| format!("{text} is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (String, String, String, u16, String) {
        let u: Uri = text.parse().unwrap();
        (u.user, u.password, u.host, u.port, u.vhost)
    }

    fn tuple(user: &str, password: &str, host: &str, port: u16, vhost: &str) -> (String, String, String, u16, String) {
        (user.into(), password.into(), host.into(), port, vhost.into())
    }

    #[test]
    fn whole_and_short_forms() {
        assert_eq!(parts("amqp://a:b%40@h:1/%2fx"), tuple("a", "b@", "h", 1, "/x"));
        assert_eq!(parts("amqp://h"), tuple("guest", "guest", "h", 5672, "/"));
        assert_eq!(parts("amqp://"), tuple("guest", "guest", "127.0.0.1", 5672, "/"));
        assert_eq!(parts("amqp://u@[::1]:7/v?heartbeat=3"), tuple("u", "", "::1", 7, "v"));
    }

    #[test]
    fn tls_has_a_port_of_its_own() {
        let uri = |text: &str| text.parse::<Uri>().map(|u| (u.tls, u.port));
        assert_eq!((uri("amqps://h"), uri("amqps://h:5")), (Ok((true, 5671)), Ok((true, 5))));
    }

    #[test]
    fn errors_are_told() {
        for bad in ["http://h", "amqp://h:x", "amqp://h/%2", "amqp://[::1]x"] {
            assert!(bad.parse::<Uri>().is_err(), "{bad}");
        }
    }
}
