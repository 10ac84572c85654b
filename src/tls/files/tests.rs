use super::*;

/// A key as `openssl pkcs8 -topk8` writes it, without and with a password.
const PLAIN: &str = include_str!("../../../tests/security/key.pem");
const ENCRYPTED: &str = include_str!("../../../tests/security/encrypted_key.pem");

fn read_key(text: &str, password: Option<&str>) -> Result<PrivateKeyDer<'static>, FileError> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    key(file.path(), password.map(Secret::new).as_ref())
}

#[test]
fn an_encrypted_key_is_read_with_its_password() {
    let plain = read_key(PLAIN, None).unwrap();
    assert_eq!(read_key(ENCRYPTED, Some("rabbit")).unwrap(), plain);
    let among_others = format!("a comment\n{ENCRYPTED}and more\n");
    assert_eq!(read_key(&among_others, Some("rabbit")).unwrap(), plain);
    assert_eq!(read_key(PLAIN, Some("not needed")).unwrap(), plain);
}

#[test]
fn what_cannot_be_decrypted_is_refused_with_a_reason() {
    let refused = |text: &str, password| read_key(text, password).unwrap_err().to_string();
    assert!(refused(ENCRYPTED, None).ends_with("is encrypted, and there is no password for it"));
    assert!(refused(ENCRYPTED, Some("hare")).ends_with("Is the password right?"));
    let torn = &ENCRYPTED[..ENCRYPTED.len() / 2];
    assert!(refused(torn, Some("rabbit")).contains("cannot be decrypted"));
    let old = "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,62\n\nS/KD\n-----END EC PRIVATE KEY-----\n";
    assert!(refused(old, Some("rabbit")).contains("openssl pkcs8 -topk8"));
}
