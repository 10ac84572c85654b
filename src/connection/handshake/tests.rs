use super::*;

const OFFER: Tuning = Tuning { channel_max: 2047, frame_max: 131_072, heartbeat: 60 };

fn tune_ok(channel_max: u16, frame_max: u32) -> TuneOk {
    TuneOk { channel_max, frame_max, heartbeat: 10 }
}

#[test]
fn first_bytes_are_told_apart() {
    assert_eq!(preface(OURS), Preface::Amqp091);
    assert_eq!(preface(*b"AMQP\x01\x01\0\x09"), Preface::Amqp091);
    assert_eq!(preface(*b"AMQP\0\0\x0a\0"), Preface::OtherVersion(OURS));
    assert_eq!(preface(*b"AMQP\0\x01\0\0"), Preface::OtherVersion(FOR_STRANGERS));
    assert_eq!(preface(*b"GET / HT"), Preface::Http);
    assert_eq!(preface(*b"\x16\x03\x01\x02\0\x01\0\x01"), Preface::Tls);
    assert_eq!(preface(*b"whatever"), Preface::OtherVersion(FOR_STRANGERS));
}

#[test]
fn the_client_chooses_within_the_offer() {
    assert_eq!(agree(OFFER, &tune_ok(5, 4096)), Ok(Tuning { channel_max: 5, frame_max: 4096, heartbeat: 10 }));
    let cases = [
        (tune_ok(5, 4095), "negotiated frame_max = 4095 is lower than the minimum allowed value (4096)"),
        (tune_ok(5, 131_073), "negotiated frame_max = 131073 is higher than the maximum allowed value (131072)"),
        (tune_ok(0, 4096), "negotiated channel_max = 0 (no limit) is higher than the maximum allowed value (2047)"),
    ];
    for (answer, text) in cases {
        let failure = agree(OFFER, &answer).unwrap_err();
        assert_eq!((failure.refusal.code.code(), failure.refusal.text.as_str()), (530, text));
    }
}

#[test]
fn methods_come_in_order() {
    let mut handshake = Handshake::new(OFFER);
    let open = || AMQPClass::Connection(AMQPMethod::Open(Open::default()));
    let failure = handshake.receive(open()).unwrap_err();
    assert_eq!(
        (failure.refusal.code.code(), &*failure.refusal.text),
        (504, "unexpected method in connection state starting")
    );
    let start_ok = AMQPClass::Connection(AMQPMethod::StartOk(StartOk::default()));
    assert!(matches!(handshake.receive(start_ok), Ok(Next::Authenticate(_))));
    handshake.authenticated();
    let tune_ok = AMQPClass::Connection(AMQPMethod::TuneOk(tune_ok(1, 4096)));
    assert!(matches!(handshake.receive(tune_ok), Ok(Next::Tuned(_))));
    assert!(matches!(handshake.receive(open()), Ok(Next::Open(_))));
}
