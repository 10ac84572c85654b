use super::*;

/// The worked example of RabbitMQ's documentation: password "test12", salt 90 8D C6 0A.
#[test]
fn the_documented_hash() {
    let stored = hash_with_salt(b"test12", Hashing::Sha256, [0x90, 0x8D, 0xC6, 0x0A]);
    assert_eq!(stored, "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR");
    assert!(verify(b"test12", &stored, Hashing::Sha256));
    assert!(!verify(b"test13", &stored, Hashing::Sha256));
}

#[test]
fn what_is_hashed_verifies_with_its_own_algorithm_only() {
    for hashing in Hashing::ALL {
        let stored = hash("pässword".as_bytes(), hashing).unwrap();
        assert_eq!(check(&stored, hashing), Ok(()));
        for other in Hashing::ALL {
            assert_eq!(verify("pässword".as_bytes(), &stored, other), hashing == other);
        }
        assert!(!verify(b"", &stored, hashing));
    }
}

#[test]
fn salts_differ() {
    assert_ne!(hash(b"same", Hashing::Sha256).unwrap(), hash(b"same", Hashing::Sha256).unwrap());
}

#[test]
fn broken_hashes_are_named_and_open_nothing() {
    let text = |stored| check(stored, Hashing::Sha256).unwrap_err().to_string();
    assert!(text("no base64!").starts_with("password hash is not valid base64"));
    assert_eq!(text("AAAA"), "password hash has 3 bytes, rabbit_password_hashing_sha256 needs 36 (salt and hash)");
    for stored in ["", "no base64!", "AAAA", "AAAAAA=="] {
        assert!(!verify(b"", stored, Hashing::Sha256), "{stored}");
    }
}

#[test]
fn names_are_rabbits() {
    for hashing in Hashing::ALL {
        assert_eq!(Hashing::parse(hashing.name()), Some(hashing));
        assert_eq!(serde_json::to_value(hashing).unwrap(), hashing.name());
    }
    assert_eq!(Hashing::parse("sha256"), None);
}
