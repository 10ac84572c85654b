//! `amq-protocol` as an independent oracle: what it writes we read alike, and the other way round.

use amq_protocol::frame::{AMQPFrame, parsing::parse_frame};
use amq_protocol::protocol::basic::{self, AMQPMethod};
use proptest::prelude::*;

use super::super::{frame, write};
use super::*;

fn theirs(bytes: &[u8]) -> AMQPMethod {
    match parse_frame(bytes) {
        Ok(([], AMQPFrame::Method(7, AMQPClass::Basic(method)))) => method,
        other => panic!("not one method frame: {other:?}"),
    }
}

fn route(exchange: &str, key: &str) -> Vec<u8> {
    let mut out = vec![];
    for s in [exchange, key] {
        out.push(u8::try_from(s.len()).unwrap());
        out.extend(s.as_bytes());
    }
    out
}

/// Cuts the frame and decodes its method.
fn ours(bytes: &[u8]) -> Method<'_> {
    let (f, used) = frame::split(bytes, 0).unwrap().unwrap();
    assert_eq!((f.channel, used), (7, bytes.len()));
    decode(f.payload).unwrap()
}

fn write_with(f: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = vec![];
    f(&mut out);
    out
}

proptest! {
    #[test]
    fn hot_methods_agree_with_amq_protocol(e in "[a-z.]{0,40}", k in "[a-z.#é]{0,40}", tag: u64, a: bool, b: bool, n: u32) {
        let r = route(&e, &k);
        let (exchange, routing_key) = (e.as_str().into(), k.as_str().into());

        let bytes = write_with(|out| write::publish(out, 7, &r, a));
        prop_assert_eq!(ours(&bytes), Method::Publish(Publish { route: &r, mandatory: a, immediate: false }));
        prop_assert_eq!(theirs(&bytes), AMQPMethod::Publish(basic::Publish { exchange, routing_key, mandatory: a, immediate: false }));

        let bytes = write_with(|out| write::deliver(out, 7, b"ctag", tag, a, &r));
        prop_assert_eq!(ours(&bytes), Method::Deliver { consumer_tag: b"ctag", delivery_tag: tag, redelivered: a, route: &r });
        let AMQPMethod::Deliver(d) = theirs(&bytes) else { panic!() };
        prop_assert_eq!((d.consumer_tag.as_str(), d.delivery_tag, d.redelivered), ("ctag", tag, a));
        prop_assert_eq!((d.exchange.as_str(), d.routing_key.as_str()), (e.as_str(), k.as_str()));

        let bytes = write_with(|out| write::get_ok(out, 7, tag, a, &r, n));
        prop_assert_eq!(ours(&bytes), Method::GetOk { delivery_tag: tag, redelivered: a, route: &r, message_count: n });
        let AMQPMethod::GetOk(g) = theirs(&bytes) else { panic!() };
        prop_assert_eq!((g.message_count, g.delivery_tag), (n, tag));

        let bytes = write_with(|out| write::returned(out, 7, 312, "NO_ROUTE", &r));
        prop_assert_eq!(ours(&bytes), Method::Return { code: 312, text: b"NO_ROUTE", route: &r });
        let AMQPMethod::Return(x) = theirs(&bytes) else { panic!() };
        prop_assert_eq!((x.reply_code, x.reply_text.as_str()), (312, "NO_ROUTE"));

        let bytes = write_with(|out| write::ack(out, 7, tag, a));
        prop_assert_eq!(ours(&bytes), Method::Ack { delivery_tag: tag, multiple: a });
        prop_assert_eq!(theirs(&bytes), AMQPMethod::Ack(basic::Ack { delivery_tag: tag, multiple: a }));

        let bytes = write_with(|out| write::nack(out, 7, tag, a, b));
        prop_assert_eq!(ours(&bytes), Method::Nack { delivery_tag: tag, multiple: a, requeue: b });
        prop_assert_eq!(theirs(&bytes), AMQPMethod::Nack(basic::Nack { delivery_tag: tag, multiple: a, requeue: b }));

        let bytes = write_with(|out| write::reject(out, 7, tag, a));
        prop_assert_eq!(ours(&bytes), Method::Reject { delivery_tag: tag, requeue: a });
        prop_assert_eq!(theirs(&bytes), AMQPMethod::Reject(basic::Reject { delivery_tag: tag, requeue: a }));
    }

    #[test]
    fn headers_and_bodies_agree_with_amq_protocol(body in prop::collection::vec(any::<u8>(), 0..20_000), frame_max in 16u32..9000) {
        let mut bytes = vec![];
        write::header(&mut bytes, 7, body.len() as u64, &[0x10, 0, 2]);
        write::body(&mut bytes, 7, &body, frame_max);
        let (mut rest, AMQPFrame::Header(7, header)) = parse_frame(&bytes[..]).unwrap() else { panic!() };
        prop_assert_eq!((header.body_size, *header.properties.delivery_mode()), (body.len() as u64, Some(2)));
        let mut joined = vec![];
        while !rest.is_empty() {
            let (after, AMQPFrame::Body(7, part)) = parse_frame(rest).unwrap() else { panic!() };
            prop_assert!(part.len() + 8 <= frame_max as usize);
            joined.extend(part);
            rest = after;
        }
        prop_assert_eq!(joined, body);
    }

    #[test]
    fn any_bytes_are_refused_or_read_without_harm(class in prop::sample::select(vec![10u16, 20, 30, 40, 50, 60, 85, 90]), method in 0u16..130, rest in any::<Vec<u8>>()) {
        let mut payload = class.to_be_bytes().to_vec();
        payload.extend(method.to_be_bytes());
        payload.extend(rest);
        let _ = decode(&payload);
    }
}

/// Every method of the specification and RabbitMQ's, with default values, goes through our check and comes back.
#[test]
fn every_cold_method_survives_the_way_there_and_back() {
    use amq_protocol::protocol::{access, channel, confirm, connection, exchange, queue, tx};
    macro_rules! all {
        ($($class:ident::$module:ident { $($method:ident)* })*) => {
            vec![$($(AMQPClass::$class($module::AMQPMethod::$method(Default::default())),)*)*]
        };
    }
    let methods = all! {
        Connection::connection { Start StartOk Secure SecureOk Tune TuneOk Open OpenOk Close CloseOk Blocked Unblocked UpdateSecret UpdateSecretOk }
        Channel::channel { Open OpenOk Flow FlowOk Close CloseOk }
        Access::access { Request RequestOk }
        Exchange::exchange { Declare DeclareOk Delete DeleteOk Bind BindOk Unbind UnbindOk }
        Queue::queue { Declare DeclareOk Bind BindOk Purge PurgeOk Delete DeleteOk Unbind UnbindOk }
        Basic::basic { Qos QosOk Consume ConsumeOk Cancel CancelOk GetEmpty RecoverAsync Recover RecoverOk }
        Confirm::confirm { Select SelectOk }
        Tx::tx { Select SelectOk Commit CommitOk Rollback RollbackOk }
    };
    for method in methods {
        let mut bytes = vec![];
        write::cold(&mut bytes, 7, &method);
        assert_eq!(ours(&bytes), Method::Cold(Box::new(method)));
    }
}

#[test]
fn bad_arguments_are_named() {
    let cases: [(&[u8], DecodeError); 4] = [
        (&[0, 60, 0, 80, 0], DecodeError::Truncated),
        (&[0, 60, 0, 80, 0, 0, 0, 0, 0, 0, 0, 1, 0, 9], DecodeError::LeftOver(1)),
        (&[0, 20, 0, 10, 1, 0xff], DecodeError::MalformedUtf8),
        (&[0, 99, 0, 1], DecodeError::UnknownMethod(99, 1)),
    ];
    for (payload, error) in cases {
        assert_eq!(decode(payload), Err(error));
    }
}
