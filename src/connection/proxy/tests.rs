use proptest::prelude::*;

use super::*;

fn proxied(source: &str, destination: &str, secured: Option<Secured>) -> Header {
    Header::Proxied(Proxied { source: source.parse().unwrap(), destination: destination.parse().unwrap(), secured })
}

/// A header of version 2 with what follows its fixed part.
fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    bytes.extend([command, family]);
    bytes.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
    bytes.extend(rest);
    bytes
}

fn field(kind: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).unwrap().to_be_bytes();
    [&[kind], &length[..], value].concat()
}

const FOUR: [u8; 12] = [10, 0, 0, 7, 10, 0, 0, 2, 0xc8, 0x22, 0x16, 0x28];

#[test]
fn a_line_says_who_connects() {
    let done = |line: &str, header: Header| {
        let Ok(Parsed::Done(found, length)) = parse(format!("{line}AMQP").as_bytes()) else { panic!("{line}") };
        assert_eq!((found, length), (header, line.len()));
    };
    let four = proxied("10.0.0.7:51234", "10.0.0.2:5672", None);
    done("PROXY TCP4 10.0.0.7 10.0.0.2 51234 5672\r\n", four);
    done("PROXY TCP6 2001:db8::7 ::1 1 65535\r\n", proxied("[2001:db8::7]:1", "[::1]:65535", None));
    done("PROXY UNKNOWN\r\n", Header::Local);
    done("PROXY UNKNOWN ffff:: ffff:: 65535 65535\r\n", Header::Local);
}

#[test]
fn bytes_say_who_connects_and_how_it_is_secured() {
    let done = |bytes: Vec<u8>, header: Header| {
        let followed = [&bytes[..], b"AMQP"].concat();
        let Ok(Parsed::Done(found, length)) = parse(&followed) else { panic!("{bytes:?}") };
        assert_eq!((found, length), (header, bytes.len()));
    };
    let four = |secured| proxied("10.0.0.7:51234", "10.0.0.2:5672", secured);
    done(v2(0x21, 0x11, &FOUR), four(None));
    let ssl = |flags: u8| {
        let inner = [field(0x21, b"TLSv1.3"), field(0x22, b"joe"), field(0x23, b"TLS_AES_128_GCM_SHA256")].concat();
        let fields = [field(0x03, &[1, 2, 3, 4]), field(0x20, &[&[flags, 0, 0, 0, 0][..], &inner].concat())].concat();
        v2(0x21, 0x11, &[&FOUR[..], &fields].concat())
    };
    let (protocol, cipher) = ("tlsv1.3".to_owned(), "TLS_AES_128_GCM_SHA256".to_owned());
    done(ssl(1), four(Some(Secured { protocol, cipher, names: None })));
    done(ssl(0), four(None));
    let six = [&Ipv6Addr::LOCALHOST.octets()[..], &Ipv6Addr::LOCALHOST.octets(), &[0, 1, 0, 2]].concat();
    done(v2(0x21, 0x21, &six), proxied("[::1]:1", "[::1]:2", None));
    done(v2(0x20, 0x11, &FOUR), Header::Local);
    done(v2(0x20, 0, &[]), Header::Local);
    done(v2(0x21, 0x31, &[0; 216]), Header::Local);
    // A field that is cut off is as good as none.
    done(v2(0x21, 0x11, &[&FOUR[..], &[0x20, 1, 0, 1]].concat()), four(None));
}

#[test]
fn what_is_no_header_is_refused_as_soon_as_it_shows() {
    let missing = |bytes: &[u8]| assert!(matches!(parse(bytes), Err(ProxyError::Missing)), "{bytes:?}");
    missing(b"A");
    missing(b"AMQP\0\0\x09\x01");
    missing(b"\x16\x03\x01");
    missing(b"\r\n\r\n\0\r\nQUIX");
    missing(b"PROXIES");
    let malformed = |bytes: &[u8]| assert!(matches!(parse(bytes), Err(ProxyError::Malformed(_))), "{bytes:?}");
    malformed(b"PROXY TCP4 10.0.0.7 10.0.0.2 51234\r\n");
    malformed(b"PROXY TCP4 10.0.0.7 10.0.0.2 51234 5672 1\r\n");
    malformed(b"PROXY TCP4 10.0.0.7 10.0.0.2 +1 5672\r\n");
    malformed(b"PROXY TCP4 10.0.0.7 10.0.0.2 65536 5672\r\n");
    malformed(b"PROXY TCP6 10.0.0.7 10.0.0.2 1 5672\r\n");
    malformed(b"PROXY UDP4 10.0.0.7 10.0.0.2 1 5672\r\n");
    malformed(b"PROXY TCP4 10.0.0.7 10.0.0.2 51234 5672\n");
    malformed(&[&b"PROXY "[..], &[b'x'; 200]].concat());
    malformed(&v2(0x11, 0x11, &FOUR));
    malformed(&v2(0x22, 0x11, &FOUR));
    malformed(&v2(0x21, 0x11, &FOUR[..11]));
    malformed(&v2(0x21, 0x11, &[0; LONGEST + 1]));
}

proptest! {
    /// However it is cut, a header comes to the same, and no byte behind it is asked for.
    #[test]
    fn a_header_may_come_in_pieces(text: bool, six: Option<bool>, from: u16, extra in 0..300_usize) {
        let bytes = match (text, six) {
            (true, None) => b"PROXY UNKNOWN\r\n".to_vec(),
            (true, Some(true)) => format!("PROXY TCP6 2001:db8::7 ::1 {from} 5672\r\n").into_bytes(),
            (true, Some(false)) => format!("PROXY TCP4 10.0.0.7 10.0.0.2 {from} 5672\r\n").into_bytes(),
            (false, _) => v2(0x21, 0x11, &[&FOUR[..], &field(4, &vec![0; extra])].concat()),
        };
        let Ok(Parsed::Done(whole, length)) = parse(&bytes) else { panic!("no header") };
        prop_assert_eq!(length, bytes.len());
        let mut there = 0;
        loop {
            match parse(&bytes[..there]).unwrap() {
                Parsed::Needs(more) => {
                    prop_assert!(more > 0 && there + more <= bytes.len());
                    there += more;
                }
                Parsed::Done(found, at) => {
                    prop_assert_eq!((found, at, there), (whole, length, length));
                    break;
                }
            }
        }
    }

    /// Nothing that anybody sends is too much.
    #[test]
    fn any_bytes_come_to_an_end(kind in 0..3, mut bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let begin: &[u8] = match kind { 0 => b"", 1 => b"PROXY ", _ => SIGNATURE };
        bytes.splice(0..0, begin.iter().copied());
        if let Ok(Parsed::Done(_, length)) = parse(&bytes) {
            prop_assert!(length <= bytes.len());
        }
        if kind == 2 && bytes.len() > 16 {
            // With a length that fits, so that what is inside is looked at.
            let length = u16::try_from(bytes.len() - 16).unwrap().to_be_bytes();
            bytes[12] = 0x21;
            bytes[14..16].copy_from_slice(&length);
            if let Ok(Parsed::Done(_, length)) = parse(&bytes) {
                prop_assert_eq!(length, bytes.len());
            }
        }
    }
}
