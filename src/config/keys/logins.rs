//! Who may log in, and how.

use std::time::Duration;

use super::super::draft::Named;
use super::super::value::{self, Expected};
use super::super::{Backend, CertName, HttpMethod, SanType};
use super::{Key, Shown, key, live, numbered, optional, set_option, set_path, set_text};

pub const LOGINS: &[Key] = &[
    optional(
        "loopback_users",
        "",
        "none",
        "none lets every user log in from everywhere; or a list of names.",
        |draft, _, text| {
            if text == "none" {
                draft.no_loopback_users = true;
            } else {
                draft.loopback_users.get_or_insert_default().extend(value::list(text));
            }
            Ok(())
        },
    ),
    Key {
        name: "loopback_users.$user",
        help: "true: the user may log in only from this machine. Users named here replace the default one.",
        shown: Shown::DefaultOf("guest", "true"),
        has_effect: true,
        reloads: false,
        set: |draft, user, text| {
            let only = value::boolean(text)?;
            draft.loopback_users.get_or_insert_default().extend(only.then(|| user.to_owned()));
            Ok(())
        },
    },
    optional(
        "auth_mechanisms.$n",
        "1",
        "PLAIN",
        "PLAIN, AMQPLAIN, EXTERNAL, ANONYMOUS or RABBIT-CR-DEMO, in the order of $n. The first two unless one is named.",
        |draft, n, text| {
            let names = ["PLAIN", "AMQPLAIN", "EXTERNAL", "ANONYMOUS", "RABBIT-CR-DEMO"].map(|name| (name, name));
            draft.mechanisms.insert(numbered(n), value::choice(text, &names)?.to_owned());
            Ok(())
        },
    ),
    Key {
        name: "auth_backends.$n",
        help: "Who is asked, in the order of $n: internal, http, oauth2 or cache (auth_cache.cached_backend).",
        shown: Shown::DefaultOf("1", "internal"),
        has_effect: true,
        reloads: false,
        set: |draft, n, text| {
            let backend = backend(text)?;
            draft.backends.entry(numbered(n)).or_default().both = Some(backend);
            Ok(())
        },
    },
    optional("auth_backends.$n.authn", "1", "internal", "Who is asked for the password only.", |draft, n, text| {
        draft.backends.entry(numbered(n)).or_default().authn = Some(backend(text)?);
        Ok(())
    }),
    optional("auth_backends.$n.authz", "1", "internal", "Who is asked for the permissions only.", |draft, n, text| {
        draft.backends.entry(numbered(n)).or_default().authz = Some(backend(text)?);
        Ok(())
    }),
    key("anonymous_login_user", "guest", "Who clients of the mechanism ANONYMOUS are, or none.", |draft, _, text| {
        let mut name = String::new();
        set_text(&mut name, text)?;
        draft.config.auth.anonymous_user = (name != "none").then_some(name);
        Ok(())
    }),
    live(key(
        "track_auth_attempt_source",
        "false",
        "Count logins that were tried by address and user name, too (in RabbitMQ a key of advanced.config).",
        |draft, _, text| value::boolean(text).map(|on| draft.config.auth.track_source = on),
    )),
    key(
        "ssl_cert_login_from",
        "distinguished_name",
        "What of a client certificate is the user's name for EXTERNAL: also common_name or subject_alternative_name.",
        |draft, _, text| {
            let names = [
                ("distinguished_name", CertName::DistinguishedName),
                ("common_name", CertName::CommonName),
                ("subject_alternative_name", CertName::SubjectAlternativeName),
                ("subject_alt_name", CertName::SubjectAlternativeName),
            ];
            value::choice(text, &names).map(|from| draft.config.auth.cert_login.from = from)
        },
    ),
    key(
        "ssl_cert_login_san_type",
        "dns",
        "Which subject alternative names are looked at: dns, ip, email, uri or other_name.",
        |draft, _, text| {
            let types = [
                ("dns", SanType::Dns),
                ("ip", SanType::Ip),
                ("email", SanType::Email),
                ("uri", SanType::Uri),
                ("other_name", SanType::OtherName),
            ];
            value::choice(text, &types).map(|kind| draft.config.auth.cert_login.san_type = kind)
        },
    ),
    key("ssl_cert_login_san_index", "0", "Which of them, counted from 0.", |draft, _, text| {
        value::integer(text, 0..=255).map(|n| draft.config.auth.cert_login.san_index = n)
    }),
    key(
        "password_hashing_module",
        "rabbit_password_hashing_sha256",
        "How new passwords are hashed; also rabbit_password_hashing_sha512 and (unsafe) _md5.",
        |draft, _, text| {
            let names = ["sha256", "sha512", "md5"].map(|name| format!("rabbit_password_hashing_{name}"));
            let choices: Vec<_> = names.iter().map(|name| (name.as_str(), ())).collect();
            value::choice(text, &choices)?;
            draft.config.auth.password_hashing = text.to_owned();
            Ok(())
        },
    ),
];

/// RabbitMQ's names of backends, the modules' names too.
fn backend(text: &str) -> Result<Named, Expected> {
    let short = text.strip_prefix("rabbit_auth_backend_").unwrap_or(text);
    value::choice(
        short,
        &[
            ("internal", Named::Backend(Backend::Internal)),
            ("http", Named::Backend(Backend::Http)),
            ("oauth2", Named::Backend(Backend::OAuth2)),
            ("oauth", Named::Backend(Backend::OAuth2)),
            ("cache", Named::Cache),
        ],
    )
}

fn behind_cache(text: &str) -> Result<Option<Named>, Expected> {
    match backend(text)? {
        Named::Cache => Err("internal, http or oauth2".to_owned()),
        named => Ok(Some(named)),
    }
}

pub const CACHE: &[Key] = &[
    key("auth_cache.cache_ttl", "15000", "Milliseconds for which an answer of auth_http holds.", |draft, _, text| {
        duration(text).map(|time| draft.config.auth.cache.ttl = time)
    }),
    key(
        "auth_cache.cached_backend",
        "internal",
        "Who is behind the backend named cache, whose answers all logins share: internal, http or oauth2.",
        |draft, _, text| {
            draft.behind_cache.both = behind_cache(text)?;
            Ok(())
        },
    ),
    optional(
        "auth_cache.cached_backend.authn",
        "",
        "http",
        "Who is asked behind the cache for the password only.",
        |draft, _, text| {
            draft.behind_cache.authn = behind_cache(text)?;
            Ok(())
        },
    ),
    optional(
        "auth_cache.cached_backend.authz",
        "",
        "http",
        "Who is asked behind the cache for the permissions only.",
        |draft, _, text| {
            draft.behind_cache.authz = behind_cache(text)?;
            Ok(())
        },
    ),
    key("auth_cache.cache_refusals", "false", "Whether the cache keeps refusals too.", |draft, _, text| {
        value::boolean(text).map(|on| draft.config.auth.cache.refusals = on)
    }),
];

pub const HTTP: &[Key] = &[
    key("auth_http.http_method", "get", "How it is asked: get or post.", |draft, _, text| {
        let methods = [("get", HttpMethod::Get), ("post", HttpMethod::Post)];
        value::choice(text, &methods).map(|method| draft.config.auth.http.method = method)
    }),
    key(
        "auth_http.user_path",
        "http://localhost:8000/auth/user",
        "The URL that answers whether a user may log in.",
        |draft, _, text| set_url(&mut draft.config.auth.http.user_path, text),
    ),
    key(
        "auth_http.vhost_path",
        "http://localhost:8000/auth/vhost",
        "The URL that answers whether a user may use a vhost.",
        |draft, _, text| set_url(&mut draft.config.auth.http.vhost_path, text),
    ),
    key(
        "auth_http.resource_path",
        "http://localhost:8000/auth/resource",
        "The URL that answers whether a user may configure, write or read an exchange or queue.",
        |draft, _, text| set_url(&mut draft.config.auth.http.resource_path, text),
    ),
    key(
        "auth_http.topic_path",
        "http://localhost:8000/auth/topic",
        "The URL that answers whether a user may use a routing key of a topic exchange.",
        |draft, _, text| set_url(&mut draft.config.auth.http.topic_path, text),
    ),
    key("auth_http.request_timeout", "15000", "Milliseconds until an answer must be there.", |draft, _, text| {
        duration(text).map(|time| draft.config.auth.http.request_timeout = time)
    }),
    key("auth_http.connection_timeout", "15000", "Milliseconds until a connection must be there.", |draft, _, text| {
        duration(text).map(|time| draft.config.auth.http.connection_timeout = time)
    }),
];

fn set_url(target: &mut String, text: &str) -> Result<(), Expected> {
    *target = value::url(text)?;
    Ok(())
}

fn duration(text: &str) -> Result<Duration, Expected> {
    value::integer(text, 1..=3_600_000).map(Duration::from_millis)
}

pub const OAUTH2: &[Key] = &[
    optional(
        "auth_oauth2.resource_server_id",
        "",
        "rabbitmq",
        "The audience that tokens must name; needed for tokens.",
        |draft, _, text| set_option(&mut draft.config.auth.oauth2.resource_server_id, text),
    ),
    optional(
        "auth_oauth2.resource_server_type",
        "",
        "rabbitmq",
        "The type that rich authorization requests name.",
        |draft, _, text| set_option(&mut draft.config.auth.oauth2.resource_server_type, text),
    ),
    optional(
        "auth_oauth2.scope_prefix",
        "",
        "rabbitmq.",
        "What scopes begin with; the resource server's id and a dot otherwise.",
        |draft, _, text| set_option(&mut draft.config.auth.oauth2.scope_prefix, text),
    ),
    optional(
        "auth_oauth2.additional_scopes_key",
        "",
        "roles permissions",
        "Other claims that hold scopes, separated by blanks.",
        |draft, _, text| {
            draft.config.auth.oauth2.additional_scopes_keys = text.split_whitespace().map(str::to_owned).collect();
            Ok(())
        },
    ),
    optional(
        "auth_oauth2.preferred_username_claims.$n",
        "1",
        "user_name",
        "Claims that hold the user's name, in the order of $n; sub and client_id follow.",
        |draft, n, text| {
            draft.username_claims.insert(numbered(n), text.to_owned());
            Ok(())
        },
    ),
    key("auth_oauth2.verify_aud", "true", "Whether a token's audience is checked.", |draft, _, text| {
        value::boolean(text).map(|on| draft.config.auth.oauth2.verify_aud = on)
    }),
    optional(
        "auth_oauth2.default_key",
        "",
        "key-1",
        "The id of the key for tokens that name none.",
        |draft, _, text| set_option(&mut draft.config.auth.oauth2.default_key, text),
    ),
    optional(
        "auth_oauth2.signing_keys.$id",
        "key-1",
        "/etc/leveret/key-1.pem",
        "The file of a public key, by its id.",
        |draft, id, text| {
            draft.config.auth.oauth2.signing_keys.insert(id.to_owned(), value::path(text)?);
            Ok(())
        },
    ),
    optional(
        "auth_oauth2.jwks_url",
        "",
        "https://idp.example/keys",
        "Where the keys are fetched from.",
        |draft, _, text| {
            draft.config.auth.oauth2.jwks_url = Some(value::url(text)?);
            Ok(())
        },
    ),
    optional(
        "auth_oauth2.jwks_uri",
        "",
        "https://idp.example/keys",
        "The same, as RabbitMQ 4 calls it.",
        |draft, _, text| {
            draft.config.auth.oauth2.jwks_url = Some(value::url(text)?);
            Ok(())
        },
    ),
    optional(
        "auth_oauth2.issuer",
        "",
        "https://idp.example",
        "Who says where the keys are, without jwks_url.",
        |draft, _, text| {
            draft.config.auth.oauth2.issuer = Some(value::url(text)?);
            Ok(())
        },
    ),
    optional(
        "auth_oauth2.algorithms.$n",
        "1",
        "RS256",
        "Signatures that are accepted: RS, PS or HS with 256, 384 or 512, ES256, ES384, EdDSA; all unless one is named.",
        |draft, n, text| {
            let names = [
                "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA", "HS256", "HS384",
                "HS512",
            ];
            let name = value::choice(text, &names.map(|name| (name, name)))?;
            draft.algorithms.insert(numbered(n), name.to_owned());
            Ok(())
        },
    ),
    optional(
        "auth_oauth2.scope_aliases.$alias",
        "developer",
        "rabbitmq.read:*/* rabbitmq.write:*/*",
        "Scopes that another scope stands for, separated by blanks.",
        |draft, alias, text| {
            let scopes = text.split_whitespace().map(str::to_owned).collect();
            draft.config.auth.oauth2.scope_aliases.insert(alias.to_owned(), scopes);
            Ok(())
        },
    ),
    optional(
        "auth_oauth2.scope_aliases.$n.alias",
        "1",
        "api://developer",
        "The same for an alias that cannot stand in a key.",
        |draft, n, text| {
            draft.numbered_aliases.entry(numbered(n)).or_default().0 = text.to_owned();
            Ok(())
        },
    ),
    optional(
        "auth_oauth2.scope_aliases.$n.scope",
        "1",
        "rabbitmq.read:*/*",
        "The scopes that it stands for.",
        |draft, n, text| {
            let scopes = text.split_whitespace().map(str::to_owned).collect();
            draft.numbered_aliases.entry(numbered(n)).or_default().1 = scopes;
            Ok(())
        },
    ),
    optional(
        "auth_oauth2.https.cacertfile",
        "",
        "/etc/leveret/idp-ca.pem",
        "The authorities that the issuer's certificate is checked against; the system's otherwise.",
        |draft, _, text| set_path(&mut draft.config.auth.oauth2.tls.cacertfile, text),
    ),
    key("auth_oauth2.https.peer_verification", "verify_peer", "verify_none trusts every issuer.", |draft, _, text| {
        value::verification(text).map(|on| draft.config.auth.oauth2.tls.verify_peer = on)
    }),
];
