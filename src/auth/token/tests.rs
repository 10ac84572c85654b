use ring::rand::SystemRandom;
use ring::{hmac, rsa, signature};
use serde_json::json;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};

use super::*;
use crate::config::OAuth2;

const RSA: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/security/keys/rsa.pem"));
const RSA_PUBLIC: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/security/keys/rsa.pub.pem"));
const NOW: u64 = 1_800_000_000;

fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn token(header: &Json, claims: &Json, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let signed = format!("{}.{}", base64(header.to_string()), base64(claims.to_string()));
    format!("{signed}.{}", base64(sign(signed.as_bytes())))
}

fn rsa_key() -> rsa::KeyPair {
    rsa::KeyPair::from_pkcs8(PrivatePkcs8KeyDer::from_pem_slice(RSA).unwrap().secret_pkcs8_der()).unwrap()
}

fn with_rsa(padding: &'static dyn signature::RsaEncoding) -> impl Fn(&[u8]) -> Vec<u8> {
    move |message| {
        let key = rsa_key();
        let mut signed = vec![0; key.public().modulus_len()];
        key.sign(padding, &SystemRandom::new(), message, &mut signed).unwrap();
        signed
    }
}

fn rsa_jwk(more: &Json) -> Json {
    let parts = rsa::PublicKeyComponents::<Vec<u8>>::from(rsa_key().public());
    let mut jwk = json!({ "kty": "RSA", "n": base64(parts.n), "e": base64(parts.e) });
    jwk.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    jwk
}

fn check(token: &str, key: &Key) -> Result<Claims, TokenError> {
    Unverified::read(token.as_bytes())?.verify(key, &[])
}

fn claims() -> Json {
    json!({ "sub": "ann", "exp": NOW + 60, "aud": "rabbitmq", "scope": "rabbitmq.read:*/*" })
}

#[test]
fn every_kind_of_rsa_signature_is_checked_with_a_pem_key_or_a_jwk() {
    let kinds: [(&str, &'static dyn signature::RsaEncoding); 6] = [
        ("RS256", &signature::RSA_PKCS1_SHA256),
        ("RS384", &signature::RSA_PKCS1_SHA384),
        ("RS512", &signature::RSA_PKCS1_SHA512),
        ("PS256", &signature::RSA_PSS_SHA256),
        ("PS384", &signature::RSA_PSS_SHA384),
        ("PS512", &signature::RSA_PSS_SHA512),
    ];
    let keys = [Key::from_pem(RSA_PUBLIC).unwrap(), Key::from_jwk(&rsa_jwk(&json!({}))).unwrap()];
    for (name, padding) in kinds {
        let good = token(&json!({ "alg": name }), &claims(), with_rsa(padding));
        for key in &keys {
            assert_eq!(check(&good, key).unwrap()["sub"], "ann", "{name}");
            let other = token(&json!({ "alg": name }), &json!({ "sub": "eve" }), with_rsa(padding));
            let mixed = format!("{}.{}", other.rsplit_once('.').unwrap().0, good.rsplit_once('.').unwrap().1);
            assert_eq!(check(&mixed, key), Err(TokenError::Signature), "{name}");
        }
    }
}

#[test]
fn signatures_of_elliptic_curves_are_checked() {
    let random = SystemRandom::new();
    type Case = (&'static str, &'static rcgen::SignatureAlgorithm, Option<&'static signature::EcdsaSigningAlgorithm>);
    let cases: [Case; 3] = [
        ("ES256", &rcgen::PKCS_ECDSA_P256_SHA256, Some(&signature::ECDSA_P256_SHA256_FIXED_SIGNING)),
        ("ES384", &rcgen::PKCS_ECDSA_P384_SHA384, Some(&signature::ECDSA_P384_SHA384_FIXED_SIGNING)),
        ("EdDSA", &rcgen::PKCS_ED25519, None),
    ];
    for (name, kind, ecdsa) in cases {
        let pair = rcgen::KeyPair::generate_for(kind).unwrap();
        let sign = |message: &[u8]| match ecdsa {
            Some(ecdsa) => {
                let key = signature::EcdsaKeyPair::from_pkcs8(ecdsa, &pair.serialize_der(), &random).unwrap();
                key.sign(&random, message).unwrap().as_ref().to_vec()
            }
            None => {
                let key = signature::Ed25519KeyPair::from_pkcs8_maybe_unchecked(&pair.serialize_der()).unwrap();
                key.sign(message).as_ref().to_vec()
            }
        };
        let token = token(&json!({ "alg": name }), &claims(), sign);
        let key = Key::from_pem(pair.public_key_pem().as_bytes()).unwrap();
        assert_eq!(check(&token, &key).unwrap()["sub"], "ann", "{name}");

        let point = pair.public_key_raw();
        let jwk = match ecdsa {
            Some(_) => {
                let (x, y) = point[1..].split_at((point.len() - 1) / 2);
                let curve = if x.len() == 32 { "P-256" } else { "P-384" };
                json!({ "kty": "EC", "crv": curve, "x": base64(x), "y": base64(y) })
            }
            None => json!({ "kty": "OKP", "crv": "Ed25519", "x": base64(point) }),
        };
        assert!(check(&token, &Key::from_jwk(&jwk).unwrap()).is_ok(), "{name}");
        assert!(
            matches!(check(&token, &Key::from_pem(RSA_PUBLIC).unwrap()), Err(TokenError::OtherKey { .. })),
            "{name}"
        );
    }
}

#[test]
fn a_shared_secret_signs_too() {
    let secret = b"a secret of thirty-two characters";
    let sign = |message: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message).as_ref().to_vec();
    let token = token(&json!({ "alg": "HS256" }), &claims(), sign);
    let key = Key::from_jwk(&json!({ "kty": "oct", "k": base64(secret) })).unwrap();
    assert!(check(&token, &key).is_ok());
    let other = Key::from_jwk(&json!({ "kty": "oct", "k": base64(b"another secret, also long") })).unwrap();
    assert_eq!(check(&token, &other), Err(TokenError::Signature));
    assert!(Key::from_jwk(&json!({ "kty": "oct", "k": "" })).is_none(), "an empty secret is everybody's");
}

#[test]
fn a_token_cannot_choose_how_it_is_checked() {
    let key = Key::from_pem(RSA_PUBLIC).unwrap();
    for none in [json!({ "alg": "none" }), json!({ "alg": "None" }), json!({}), json!({ "alg": 1 })] {
        let unsigned = token(&none, &claims(), |_| Vec::new());
        assert!(matches!(check(&unsigned, &key), Err(TokenError::Algorithm(_))), "{none}");
    }
    // The public key is public: a MAC under it proves nothing, in whatever form the key is taken for a secret.
    let der = SubjectPublicKeyInfoDer::from_pem_slice(RSA_PUBLIC).unwrap();
    for secret in [RSA_PUBLIC, RSA_PUBLIC.trim_ascii(), der.as_ref()] {
        let sign = |message: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message).as_ref().to_vec();
        let confused = token(&json!({ "alg": "HS256" }), &claims(), sign);
        assert!(matches!(check(&confused, &key), Err(TokenError::OtherKey { algorithm: "HS256", .. })));
    }
    let only_rs256 = Key::from_jwk(&rsa_jwk(&json!({ "alg": "RS256" }))).unwrap();
    let ps256 = token(&json!({ "alg": "PS256" }), &claims(), with_rsa(&signature::RSA_PSS_SHA256));
    assert!(matches!(check(&ps256, &only_rs256), Err(TokenError::OtherKey { .. })));
    let accepted = Unverified::read(ps256.as_bytes()).unwrap().verify(&key, &[Algorithm::Rs256]);
    assert_eq!(accepted, Err(TokenError::Algorithm("PS256".to_owned())));
}

#[test]
fn what_is_no_token_is_refused() {
    let huge = "x".repeat(100_000);
    for text in ["", ".", "..", "a.b", "guest", "e30.e30", "e30.!!.x", &huge, "W10.W10.x", "\u{0}.\u{0}.\u{0}"] {
        assert!(Unverified::read(text.as_bytes()).is_err(), "{text:.20}");
    }
    assert!(Unverified::read(b"\xff.\xff.\xff").is_err());
    let critical = token(&json!({ "alg": "RS256", "crit": ["b64"] }), &claims(), |_| Vec::new());
    assert!(Unverified::read(critical.as_bytes()).is_err());
}

#[test]
fn a_key_set_may_hold_keys_for_other_things() {
    let ours = rsa_jwk(&json!({ "kid": "ours", "use": "sig", "alg": "RS256" }));
    let for_encryption = rsa_jwk(&json!({ "kid": "enc", "use": "enc" }));
    let set =
        json!({ "keys": [for_encryption, { "kty": "new" }, 7, ours, { "kty": "EC", "crv": "P-256", "x": "AA" }] });
    let keys = Keys::from_jwks(set.to_string().as_bytes()).unwrap();
    assert_eq!(keys.count(), 1);
    assert!(keys.get("ours").is_some() && keys.only().is_some());
    assert!(Keys::from_jwks(b"{}").is_none() && Keys::from_jwks(b"<html>").is_none());
}

#[test]
fn pem_files_hold_a_public_key_or_a_certificate() {
    let certified = rcgen::generate_simple_self_signed(vec!["idp".to_owned()]).unwrap();
    assert!(Key::from_pem(certified.cert.pem().as_bytes()).is_ok());
    assert!(matches!(Key::from_pem(b"not PEM"), Err(KeyError::NotPem)));
    assert!(matches!(Key::from_pem(RSA), Err(KeyError::NotPem)), "a private key has no business here");
}

fn terms(change: impl FnOnce(&mut OAuth2)) -> Terms {
    let mut config = OAuth2 { resource_server_id: Some("rabbitmq".to_owned()), ..OAuth2::default() };
    change(&mut config);
    Terms::new(&config)
}

fn accept(terms: &Terms, more: &Json) -> Result<Token, TokenError> {
    let mut claims = claims();
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    terms.accept(claims.as_object().unwrap().clone(), NOW)
}

#[test]
fn a_token_counts_for_its_time_and_its_audience() {
    let terms = terms(|_| {});
    let error = |more: Json| accept(&terms, &more).err();
    assert_eq!(error(json!({})), None);
    assert_eq!(error(json!({ "exp": NOW })), Some(TokenError::Expired { at: NOW, now: NOW }));
    assert_eq!(error(json!({ "exp": null })), Some(TokenError::NoExpiry));
    assert_eq!(error(json!({ "exp": "never" })), Some(TokenError::NoExpiry));
    assert_eq!(error(json!({ "nbf": NOW + 30 })), None);
    assert_eq!(error(json!({ "nbf": NOW + 61 })), Some(TokenError::NotYet { from: NOW + 61, now: NOW }));
    assert_eq!(error(json!({ "aud": ["x", "rabbitmq"] })), None);
    for other in [json!("rabbit"), json!(["x"]), json!(7), Json::Null] {
        assert_eq!(error(json!({ "aud": other })), Some(TokenError::Audience("rabbitmq".to_owned())));
    }
    let lax = self::terms(|config| config.verify_aud = false);
    assert!(accept(&lax, &json!({ "aud": null })).is_ok());
}

#[test]
fn the_users_name_is_in_the_claim_that_is_preferred() {
    let name = |terms: &Terms, more: Json| accept(terms, &more).unwrap().user.name.clone();
    let preferring =
        terms(|config| config.preferred_username_claims = vec!["user_name".to_owned(), "email".to_owned()]);
    assert_eq!(name(&preferring, json!({ "email": "a@b" })), "a@b");
    assert_eq!(name(&preferring, json!({ "email": "a@b", "user_name": "Ann" })), "Ann");
    assert_eq!(name(&preferring, json!({})), "ann");
    assert_eq!(name(&terms(|_| {}), json!({ "sub": null, "client_id": "app" })), "app");
    assert_eq!(name(&terms(|_| {}), json!({ "sub": null })), "unknown");
}

fn may_read(token: &Token, vhost: &str, name: &str) -> bool {
    token.scopes(vhost).is_some_and(|scopes| scopes.allows(crate::auth::Access::Read, name))
}

#[test]
fn scopes_come_from_several_claims_and_only_those_with_the_prefix_count() {
    let plain =
        accept(&terms(|_| {}), &json!({ "scope": "rabbitmq.tag:administrator read:*/* rabbitmq.read:v/q openid" }));
    let plain = plain.unwrap();
    assert_eq!(plain.user.tags, ["administrator"]);
    assert!(may_read(&plain, "v", "q") && !may_read(&plain, "v", "x") && plain.scopes("other").is_none());

    let listed = accept(&terms(|_| {}), &json!({ "scope": ["rabbitmq.read:v/q"] })).unwrap();
    assert!(may_read(&listed, "v", "q"));

    let elsewhere = terms(|config| {
        config.additional_scopes_keys = vec!["roles".to_owned(), "realm.deep.list".to_owned(), "extra".to_owned()];
    });
    let more = json!({
        "scope": null,
        "roles": "rabbitmq.read:v/a",
        "realm": { "deep": [{ "list": ["rabbitmq.read:v/b"] }, { "other": 1 }] },
        "extra": { "rabbitmq": ["read:v/c"], "others": ["read:v/d"] },
    });
    let token = accept(&elsewhere, &more).unwrap();
    assert!(["a", "b", "c"].iter().all(|name| may_read(&token, "v", name)) && !may_read(&token, "v", "d"));

    let aliased = terms(|config| {
        config.scope_prefix = Some(String::new());
        config.scope_aliases.insert("developer".to_owned(), vec!["read:v/q".to_owned(), "tag:management".to_owned()]);
    });
    let token = accept(&aliased, &json!({ "scope": "developer" })).unwrap();
    assert!(may_read(&token, "v", "q"));
    assert_eq!(token.user.tags, ["management"]);

    let many: Vec<_> = (0..5000).map(|n| format!("rabbitmq.read:v/{n}")).collect();
    assert_eq!(accept(&terms(|_| {}), &json!({ "scope": many })).err(), Some(TokenError::TooManyScopes(2048)));
}

#[test]
fn a_rich_authorization_request_gives_scopes_too() {
    let typed = terms(|config| config.resource_server_type = Some("broker".to_owned()));
    let details = json!({ "scope": null, "authorization_details": [
        { "type": "broker", "locations": ["cluster:rabbit*/vhost:v/queue:q-*"], "actions": ["read", "administrator", "fly"] },
        { "type": "broker", "locations": "cluster:other/vhost:w", "actions": ["read"] },
        { "type": "bank", "locations": ["cluster:rabbitmq/vhost:x"], "actions": ["read"] },
    ] });
    let token = accept(&typed, &details).unwrap();
    assert!(may_read(&token, "v", "q-1") && !may_read(&token, "v", "r"));
    assert!(token.scopes("w").is_none() && token.scopes("x").is_none());
    assert_eq!(token.user.tags, ["administrator"]);
    assert!(accept(&terms(|_| {}), &details).unwrap().scopes("v").is_none(), "without a type nothing is taken");
}
