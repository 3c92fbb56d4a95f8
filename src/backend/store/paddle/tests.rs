use proptest::prelude::*;
use serde_json::json;

use super::*;

const NOW: i64 = 1_700_000_000;
const SECRET: &str = "pdl_ntfset_01secret";
const BODY: &[u8] = br#"{"event_id":"evt_1","event_type":"x.y","data":{}}"#;
/// By Python's `hmac`, of `1700000000:` and [`BODY`].
const SIGNATURE: &str = "4318f87dee7d6c284ef1ac232c7b5357780696c13b086911ab2dff628d682514";

fn paddle(secrets: &[&str]) -> Paddle {
    Paddle::new(secrets.iter().map(|secret| Secret::new((*secret).to_owned())).collect(), 300)
}

fn verify(paddle: &Paddle, header: &str, body: &[u8], now: i64) -> Result<(), Unsigned> {
    let mut headers = HeaderMap::new();
    headers.insert("paddle-signature", header.parse().unwrap());
    paddle.verify(&headers, body, Timestamp::from_unix(now))
}

fn good() -> String {
    format!("ts={NOW};h1={SIGNATURE}")
}

#[test]
fn what_another_implementation_signed_is_accepted() {
    assert_eq!(verify(&paddle(&[SECRET]), &good(), BODY, NOW), Ok(()));
}

#[test]
fn forged_truncated_changed_and_unsigned_ones_are_refused() {
    let paddle = paddle(&[SECRET]);
    assert_eq!(paddle.verify(&HeaderMap::new(), BODY, Timestamp::from_unix(NOW)), Err(Unsigned::Header));
    for header in [
        "",
        "ts=1700000000",
        &format!("h1={SIGNATURE}"),
        &format!("ts=;h1={SIGNATURE}"),
        &format!("ts=+{NOW};h1={SIGNATURE}"),
        &format!("ts={NOW};ts={NOW};h1={SIGNATURE}"),
        &format!("ts={NOW};h1={}", &SIGNATURE[..63]),
        &format!("ts={NOW};h1={}", SIGNATURE.replace('a', "g")),
        &format!("ts={NOW};h1={}", format!("h1={SIGNATURE};").repeat(9)),
    ] {
        assert_eq!(verify(&paddle, header, BODY, NOW), Err(Unsigned::Header), "{header}");
    }
    let zeros = "0".repeat(64);
    for (header, body) in [
        (format!("ts={NOW};h1={zeros}"), BODY),
        (good(), &BODY[..BODY.len() - 1]),
        (good(), &[BODY, b" "].concat()),
        (format!("ts={};h1={SIGNATURE}", NOW + 1), BODY),
        // Another scheme's signature is no signature.
        (format!("ts={NOW};h2={SIGNATURE};h1={zeros}"), BODY),
    ] {
        assert_eq!(verify(&paddle, &header, body, NOW), Err(Unsigned::Forged), "{header}");
    }
}

#[test]
fn an_old_one_and_one_of_the_future_are_refused_by_their_time() {
    let paddle = paddle(&[SECRET]);
    for (now, expected) in
        [(300, Ok(())), (-300, Ok(())), (301, Err(Unsigned::Time)), (-301, Err(Unsigned::Time))]
    {
        assert_eq!(verify(&paddle, &good(), BODY, NOW + now), expected, "{now}");
    }
    let far = format!("ts={};h1={SIGNATURE}", i64::MAX);
    assert_eq!(verify(&paddle, &far, BODY, NOW), Err(Unsigned::Time));
}

#[test]
fn while_secrets_are_changed_either_counts() {
    let zeros = "0".repeat(64);
    let both = format!("ts={NOW};h1={zeros};h1={SIGNATURE}");
    assert_eq!(verify(&paddle(&[SECRET]), &both, BODY, NOW), Ok(()));
    assert_eq!(verify(&paddle(&["old", SECRET]), &good(), BODY, NOW), Ok(()));
    assert_eq!(verify(&paddle(&["old"]), &good(), BODY, NOW), Err(Unsigned::Forged));
    assert_eq!(verify(&paddle(&[]), &good(), BODY, NOW), Err(Unsigned::Forged));
}

fn read_json(value: &Value) -> Result<Fact, Unread> {
    read(value.to_string().as_bytes()).map(|event| event.fact)
}

fn completed() -> Value {
    json!({
        "event_id": "evt_1", "event_type": "transaction.completed", "occurred_at": "2026-11-22T00:00:00Z",
        "notification_id": "ntf_1",
        "data": {
            "id": "txn_1", "status": "completed", "currency_code": "USD", "customer_id": "ctm_1",
            "custom_data": { "reference": "r", "package": "small" },
            "items": [{ "price": { "id": "pri_1", "unit_price": { "amount": "500", "currency_code": "USD" } }, "quantity": 2 }],
            "details": { "totals": { "subtotal": "1000", "discount": "0", "tax": "190", "total": "1190", "fee": null } },
        },
    })
}

#[test]
fn money_counts_when_the_transaction_is_completed_whichever_event_says_so() {
    let expected = Payment {
        transaction: "txn_1".into(),
        reference: Some("r".into()),
        items: vec![("pri_1".into(), 2)],
        total: 1190,
        tax: 190,
        discount: 0,
        currency: "USD".into(),
    };
    let mut event = completed();
    assert_eq!(read_json(&event), Ok(Fact::Payment(expected.clone())));
    event["event_type"] = "transaction.updated".into();
    assert_eq!(read_json(&event), Ok(Fact::Payment(expected)));
    event["data"]["status"] = "paid".into();
    assert_eq!(read_json(&event), Ok(Fact::Other));
    assert_eq!(
        read_json(&json!({"event_id": "e", "event_type": "customer.created", "data": {}})),
        Ok(Fact::Other)
    );
    let mut event = completed();
    event["data"]["custom_data"] = Value::Null;
    assert!(matches!(read_json(&event), Ok(Fact::Payment(Payment { reference: None, .. }))));
}

#[test]
fn refunds_count_once_approved_and_chargebacks_can_come_back() {
    let adjustment = |action: &str, status: &str| {
        read_json(&json!({ "event_id": "evt_2", "event_type": "adjustment.updated", "data": {
            "id": "adj_1", "action": action, "transaction_id": "txn_1", "status": status,
            "totals": { "total": "1190", "currency_code": "USD" } } }))
    };
    let reversal = |amount, standing| {
        Ok(Fact::Reversal(Reversal {
            id: "adj_1".into(),
            transaction: "txn_1".into(),
            amount: Some(amount),
            standing,
        }))
    };
    assert_eq!(adjustment("refund", "pending_approval"), reversal(1190, Standing::Pending));
    assert_eq!(adjustment("refund", "approved"), reversal(1190, Standing::Effective));
    assert_eq!(adjustment("refund", "rejected"), reversal(1190, Standing::Void));
    assert_eq!(adjustment("refund", "reversed"), reversal(1190, Standing::Void));
    assert_eq!(adjustment("chargeback", "approved"), reversal(1190, Standing::Effective));
    assert_eq!(adjustment("chargeback", "reversed"), reversal(1190, Standing::Effective));
    assert_eq!(adjustment("chargeback_reverse", "approved"), reversal(-1190, Standing::Effective));
    assert_eq!(adjustment("credit", "approved"), Ok(Fact::Other));
    assert_eq!(adjustment("refund", "a new one"), Err(Unread));
}

#[test]
fn an_event_of_another_form_is_no_event() {
    for body in ["", "{", "[]", "{}", r#"{"event_id":1,"event_type":"transaction.completed","data":{}}"#] {
        assert_eq!(read(body.as_bytes()), Err(Unread), "{body}");
    }
    for (path, value) in [
        ("/data/id", Value::Null),
        ("/data/items/0/quantity", json!("two")),
        ("/data/details/totals/total", json!("-5")),
        ("/data/details/totals/total", json!("12.5")),
        ("/data/details/totals/tax", Value::Null),
    ] {
        let mut event = completed();
        *event.pointer_mut(path).unwrap() = value;
        assert_eq!(read_json(&event), Err(Unread), "{path}");
    }
}

proptest! {
    #[test]
    fn nothing_unsigned_is_ever_accepted(header in "[ -~]{0,120}", body in any::<Vec<u8>>()) {
        let mut headers = HeaderMap::new();
        headers.insert("paddle-signature", header.parse().unwrap());
        prop_assert!(paddle(&[SECRET]).verify(&headers, &body, Timestamp::from_unix(NOW)).is_err());
        let _ = read(&body);
    }
}
