//! TLS: the same keys under several beginnings.

use std::time::Duration;

use super::super::value::{self, Expected};
use super::super::{Listener, Secret, TlsOptions, TlsVersion};
use super::{Key, key, live, optional, set_path, without_effect};

/// The rows of one beginning; `$($path).+` is where in the configuration they go, `$verify` the default.
macro_rules! tls_keys {
    ($prefix:literal, $verify:literal, $($path:ident).+ $(, $before:expr)*) => {
        &[
            $($before,)*
            live(optional(
                concat!($prefix, ".certfile"),
                "",
                "/etc/leveret/cert.pem",
                "The certificate (PEM), with those that sign it behind it.",
                |draft, _, text| set_path(&mut draft.config.$($path).+.certfile, text),
            )),
            live(optional(
                concat!($prefix, ".keyfile"),
                "",
                "/etc/leveret/key.pem",
                "Its key (PEM).",
                |draft, _, text| set_path(&mut draft.config.$($path).+.keyfile, text),
            )),
            live(optional(
                concat!($prefix, ".password"),
                "",
                "secret",
                "The password of an encrypted key.",
                |draft, _, text| {
                    draft.config.$($path).+.password = Some(Secret::new(text));
                    Ok(())
                },
            )),
            live(optional(
                concat!($prefix, ".cacertfile"),
                "",
                "/etc/leveret/ca.pem",
                "The authorities (PEM) that the other side's certificate is checked against.",
                |draft, _, text| set_path(&mut draft.config.$($path).+.cacertfile, text),
            )),
            live(key(
                concat!($prefix, ".verify"),
                $verify,
                "verify_peer checks the other side's certificate, verify_none does not.",
                |draft, _, text| value::verification(text).map(|on| draft.config.$($path).+.verify_peer = on),
            )),
            live(key(
                concat!($prefix, ".fail_if_no_peer_cert"),
                "false",
                "With verify_peer: a client without a certificate is refused.",
                |draft, _, text| value::boolean(text).map(|on| draft.config.$($path).+.fail_if_no_peer_cert = on),
            )),
            live(key(
                concat!($prefix, ".depth"),
                "10",
                "Most certificates between the other side's and the authority's.",
                |draft, _, text| value::integer(text, 0..=255).map(|n| draft.config.$($path).+.depth = n),
            )),
            live(optional(
                concat!($prefix, ".versions.$n"),
                "1",
                "tlsv1.3",
                "tlsv1.2 or tlsv1.3; both unless one is named. Older ones beside them have no effect.",
                |draft, _, text| set_version(&mut draft.config.$($path).+, text),
            )),
            live(optional(
                concat!($prefix, ".ciphers.$n"),
                "1",
                "TLS_AES_256_GCM_SHA384",
                "Cipher suites that may be used, by their names in OpenSSL or the RFCs; all safe ones unless one is named.",
                |draft, _, text| {
                    draft.config.$($path).+.ciphers.push(text.to_owned());
                    Ok(())
                },
            )),
            live(key(
                concat!($prefix, ".honor_cipher_order"),
                "true",
                "Whether the server's order of cipher suites counts.",
                |draft, _, text| value::boolean(text).map(|on| draft.config.$($path).+.honor_cipher_order = on),
            )),
            without_effect(key(
                concat!($prefix, ".honor_ecc_order"),
                "true",
                "No effect: the server's order of curves counts.",
                |_, _, text| value::boolean(text).map(drop),
            )),
        ]
    };
}

pub const AMQP: &[Key] = tls_keys!(
    "ssl_options",
    "verify_none",
    tls.options,
    optional(
        "listeners.ssl",
        "",
        "none",
        "none switches AMQP with TLS off, whatever listeners are named.",
        |draft, _, text| value::choice(text, &[("none", true)]).map(|none| draft.no_tls_listeners = none),
    ),
    optional(
        "listeners.ssl.$name",
        "default",
        "5671",
        "A port for AMQP with TLS on all interfaces, or address:port; none unless named.",
        |draft, name, text| {
            let listener = Listener { name: name.to_owned(), address: value::listener(text)? };
            draft.tls_listeners.push(listener);
            Ok(())
        },
    ),
    key("ssl_handshake_timeout", "5000", "Milliseconds for the negotiation.", |draft, _, text| {
        let time = value::integer(text, 1..=3_600_000)?;
        draft.config.tls.handshake_timeout = Duration::from_millis(time);
        Ok(())
    },)
);

pub const MANAGEMENT: &[Key] = tls_keys!("management.ssl", "verify_none", management.ssl.tls);

pub const PROMETHEUS: &[Key] = tls_keys!("prometheus.ssl", "verify_none", prometheus.ssl.tls);

/// What a client of another service needs.
pub const AUTH_HTTP: &[Key] = &[
    optional(
        "auth_http.ssl_options.cacertfile",
        "",
        "/etc/leveret/ca.pem",
        "The authorities (PEM) that the service's certificate is checked against; the system's otherwise.",
        |draft, _, text| set_path(&mut draft.config.auth.http.tls.cacertfile, text),
    ),
    key(
        "auth_http.ssl_options.verify",
        "verify_peer",
        "verify_peer checks the service's certificate, verify_none does not.",
        |draft, _, text| value::verification(text).map(|on| draft.config.auth.http.tls.verify_peer = on),
    ),
    optional(
        "auth_http.ssl_options.certfile",
        "",
        "/etc/leveret/client.pem",
        "The certificate (PEM) that the service is shown, with those that sign it behind it.",
        |draft, _, text| set_path(&mut draft.config.auth.http.tls.certfile, text),
    ),
    optional("auth_http.ssl_options.keyfile", "", "/etc/leveret/client-key.pem", "Its key (PEM).", |draft, _, text| {
        set_path(&mut draft.config.auth.http.tls.keyfile, text)
    }),
    optional("auth_http.ssl_options.password", "", "secret", "The password of an encrypted key.", |draft, _, text| {
        draft.config.auth.http.tls.password = Some(Secret::new(text));
        Ok(())
    }),
];

/// Versions that are known and not served.
const OLD: [&str; 2] = ["tlsv1.1", "tlsv1"];

/// Whether a value is a version that is too old.
pub fn is_old_version(value: &str) -> bool {
    OLD.contains(&value)
}

/// A version that is too old is let pass here: files that name it beside newer ones are common.
fn set_version(options: &mut TlsOptions, text: &str) -> Result<(), Expected> {
    if !is_old_version(text) {
        options.versions.push(value::choice(text, &[("tlsv1.3", TlsVersion::V13), ("tlsv1.2", TlsVersion::V12)])?);
    }
    Ok(())
}
