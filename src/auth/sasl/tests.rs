use super::*;

fn login(username: &str, password: &[u8]) -> Result<Credentials, SaslError> {
    Ok(Credentials { username: username.to_owned(), password: password.to_vec() })
}

#[test]
fn plain_is_name_and_password_between_nuls() {
    let plain = |response| Mechanism::Plain.credentials(response);
    assert_eq!(plain(b"\0guest\0secret"), login("guest", b"secret"));
    assert_eq!(plain(b"guest\0guest\0secret"), login("guest", b"secret"));
    assert_eq!(plain(b"\0guest\0"), login("guest", b""));
    assert_eq!(plain(b"\0guest\0\xff"), login("guest", b"\xff"));
    let bad: [&[u8]; 8] =
        [b"", b"guest", b"guest\0secret", b"\0guest", b"root\0guest\0secret", b"\0a\0b\0", b"\0a\0b\0c", b"\0\xff\0b"];
    for response in bad {
        assert_eq!(plain(response), Err(SaslError::Malformed), "{response:?}");
    }
}

fn table<const N: usize>(entries: [(&str, Value); N]) -> Vec<u8> {
    let mut out = Vec::new();
    Table::from_iter(entries).encode(&mut out);
    out.split_off(4)
}

#[test]
fn amqplain_is_a_table_without_its_length() {
    let amqplain = |response: Vec<u8>| Mechanism::AmqPlain.credentials(&response);
    let (name, password) = (Value::text("guest"), Value::text("secret"));
    assert_eq!(amqplain(table([("LOGIN", name.clone()), ("PASSWORD", password.clone())])), login("guest", b"secret"));
    assert_eq!(
        amqplain(table([("PASSWORD", password), ("x", Value::Void), ("LOGIN", name.clone())])),
        login("guest", b"secret")
    );
    assert_eq!(amqplain(table([("LOGIN", name.clone())])), Err(SaslError::MissingField));
    assert_eq!(amqplain(Vec::new()), Err(SaslError::MissingField));
    assert_eq!(amqplain(table([("LOGIN", name), ("PASSWORD", Value::I32(1))])), Err(SaslError::FieldType));
    assert_eq!(amqplain(b"\0guest\0secret".to_vec()), Err(SaslError::Malformed));
}

#[test]
fn names_and_the_offer() {
    for mechanism in Mechanism::ALL {
        assert_eq!(Mechanism::parse(mechanism.name()), Some(mechanism));
    }
    assert_eq!(Mechanism::parse("SCRAM-SHA-256"), None);
    assert_eq!(offer(&Mechanism::USUAL), "PLAIN AMQPLAIN");
}

#[test]
fn neither_errors_nor_debug_output_show_a_password() {
    let credentials = Mechanism::Plain.credentials(b"\0guest\0secret").unwrap();
    assert!(!format!("{credentials:?}").contains("secret"));
    assert_eq!(SaslError::Malformed.to_string(), "response <<...>> invalid");
}
