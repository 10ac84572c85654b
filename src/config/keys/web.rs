//! The HTTP API and the metrics.

use std::time::Duration;

use super::super::RatesMode;
use super::super::value::{self, Expected};
use super::{Key, key, numbered, optional, without_effect};

pub const MANAGEMENT: &[Key] = &[
    optional(
        "management.tcp",
        "",
        "none",
        "none switches the HTTP API off, but for the socket in the data directory (not a key of RabbitMQ).",
        |draft, _, text| value::choice(text, &[("none", true)]).map(|none| draft.management.off = none),
    ),
    key("management.tcp.port", "15672", "The port of the HTTP API.", |draft, _, text| {
        value::integer(text, 0..=u16::MAX).map(|port| draft.management.port = Some(port))
    }),
    optional("management.tcp.ip", "", "127.0.0.1", "The address of its interface; otherwise all.", |draft, _, text| {
        value::ip(text).map(|ip| draft.management.ip = Some(ip))
    }),
    optional(
        "management.ssl.port",
        "",
        "15671",
        "The port of the HTTP API with TLS; none unless named. With it, management.tcp.port has no default.",
        |draft, _, text| value::integer(text, 0..=u16::MAX).map(|port| draft.management_tls.port = Some(port)),
    ),
    optional("management.ssl.ip", "", "127.0.0.1", "The address of its interface; otherwise all.", |draft, _, text| {
        value::ip(text).map(|ip| draft.management_tls.ip = Some(ip))
    }),
    optional("management.path_prefix", "", "/broker", "What stands before /api in every path.", |draft, _, text| {
        let inside = text.trim_matches('/');
        if inside.contains(|c: char| !(c.is_ascii_alphanumeric() || "-_.~/".contains(c))) {
            return Err("a path of letters, digits and -_.~/".to_owned());
        }
        draft.config.management.path_prefix = if inside.is_empty() { String::new() } else { format!("/{inside}") };
        Ok(())
    }),
    key(
        "management.disable_stats",
        "false",
        "Queues, connections and the overview are shown without figures.",
        |draft, _, text| value::boolean(text).map(|on| draft.config.management.disable_stats = on),
    ),
    key(
        "management_agent.disable_metrics_collector",
        "false",
        "The same as management.disable_stats, and no figures are kept over time.",
        |draft, _, text| value::boolean(text).map(|on| draft.config.management.disable_collector = on),
    ),
    key(
        "management.rates_mode",
        "basic",
        "Of what rates are shown: none, basic or detailed (by exchange and queue of a channel too).",
        |draft, _, text| {
            let modes = [("basic", RatesMode::Basic), ("detailed", RatesMode::Detailed), ("none", RatesMode::None)];
            value::choice(text, &modes).map(|mode| draft.config.management.rates_mode = mode)
        },
    ),
    key("management.http.max_body_size", "20000000", "Largest body of a request, in bytes.", |draft, _, text| {
        value::size(text, 1024..=128 << 20).map(|n| draft.config.management.max_body = n as usize)
    }),
    key("management.disable_basic_auth", "false", "true lets users in with tokens only.", |draft, _, text| {
        value::boolean(text).map(|on| draft.config.management.disable_basic_auth = on)
    }),
    optional(
        "management.cors.allow_origins.$n",
        "1",
        "https://admin.example.com",
        "An origin whose pages may call the HTTP API from a browser; * is every origin.",
        |draft, n, text| {
            draft.cors_origins.insert(numbered(n), text.to_owned());
            Ok(())
        },
    ),
    key(
        "management.cors.max_age",
        "1800",
        "Seconds for which a browser remembers that it may, or undefined.",
        |draft, _, text| {
            draft.config.management.cors_max_age = match text {
                "undefined" => None,
                text => Some(Duration::from_secs(value::integer(text, 0..=u64::from(u32::MAX))?)),
            };
            Ok(())
        },
    ),
    optional(
        "management.csp.policy",
        "",
        "default-src 'self'",
        "The Content-Security-Policy of answers.",
        |draft, _, text| header(&mut draft.config.management.headers, "content-security-policy", text),
    ),
    optional("management.hsts.policy", "", "max-age=31536000", "Their Strict-Transport-Security.", |draft, _, text| {
        header(&mut draft.config.management.headers, "strict-transport-security", text)
    }),
    optional(
        "management.headers.content_type_options",
        "",
        "nosniff",
        "Their X-Content-Type-Options.",
        |draft, _, text| header(&mut draft.config.management.headers, "x-content-type-options", text),
    ),
    optional("management.headers.xss_protection", "", "1; mode=block", "Their X-XSS-Protection.", |draft, _, text| {
        header(&mut draft.config.management.headers, "x-xss-protection", text)
    }),
    optional("management.headers.frame_options", "", "DENY", "Their X-Frame-Options.", |draft, _, text| {
        header(&mut draft.config.management.headers, "x-frame-options", text)
    }),
    without_effect(optional(
        "management.http_log_dir",
        "",
        "/var/log/leveret",
        "No effect: requests that change something are in the audit log.",
        |_, _, text| value::path(text).map(drop),
    )),
];

/// A header's value goes out as it is, so it must be one.
fn header(headers: &mut Vec<(&'static str, String)>, name: &'static str, text: &str) -> Result<(), Expected> {
    if text.is_empty() || !text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Err("a header's value in ASCII".to_owned());
    }
    headers.push((name, text.to_owned()));
    Ok(())
}

pub const PROMETHEUS: &[Key] = &[
    optional(
        "prometheus.tcp",
        "",
        "none",
        "none switches the metrics off (not a key of RabbitMQ).",
        |draft, _, text| value::choice(text, &[("none", true)]).map(|none| draft.prometheus.off = none),
    ),
    key("prometheus.tcp.port", "15692", "The port of the metrics.", |draft, _, text| {
        value::integer(text, 0..=u16::MAX).map(|port| draft.prometheus.port = Some(port))
    }),
    optional("prometheus.tcp.ip", "", "127.0.0.1", "The address of its interface; otherwise all.", |draft, _, text| {
        value::ip(text).map(|ip| draft.prometheus.ip = Some(ip))
    }),
    optional(
        "prometheus.ssl.port",
        "",
        "15691",
        "The port of the metrics with TLS; none unless named. With it, prometheus.tcp.port has no default.",
        |draft, _, text| value::integer(text, 0..=u16::MAX).map(|port| draft.prometheus_tls.port = Some(port)),
    ),
    optional("prometheus.ssl.ip", "", "127.0.0.1", "The address of its interface; otherwise all.", |draft, _, text| {
        value::ip(text).map(|ip| draft.prometheus_tls.ip = Some(ip))
    }),
    key("prometheus.path", "/metrics", "Where they are.", |draft, _, text| {
        let path = text.trim_end_matches('/');
        if !path.starts_with('/') {
            return Err("a path that begins with /".to_owned());
        }
        path.clone_into(&mut draft.config.prometheus.path);
        Ok(())
    }),
    key(
        "prometheus.return_per_object_metrics",
        "false",
        "/metrics has a line for each queue, connection and channel, as /metrics/per-object always has.",
        |draft, _, text| value::boolean(text).map(|on| draft.config.prometheus.return_per_object_metrics = on),
    ),
];
