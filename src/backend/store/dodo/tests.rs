use serde_json::json;

use super::*;

// The example of the Standard Webhooks specification.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
const NOW: i64 = 1_614_265_330;
const BODY: &[u8] = br#"{"test": 2432232314}"#;
const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

fn dodo(secrets: &[&str]) -> Dodo {
    let secrets: Vec<_> = secrets.iter().map(|secret| Secret::new((*secret).to_owned())).collect();
    Dodo::new(&secrets, 300).unwrap()
}

fn headers(id: &str, time: &str, signature: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in [("webhook-id", id), ("webhook-timestamp", time), ("webhook-signature", signature)] {
        headers.insert(name, value.parse().unwrap());
    }
    headers
}

fn verify(dodo: &Dodo, headers: &HeaderMap, body: &[u8], now: i64) -> Result<String, Unsigned> {
    dodo.verify(headers, body, Timestamp::from_unix(now)).map(str::to_owned)
}

#[test]
fn the_specification_s_own_example_is_accepted() {
    let good = headers(ID, &NOW.to_string(), SIGNATURE);
    assert_eq!(verify(&dodo(&[SECRET]), &good, BODY, NOW), Ok(ID.to_owned()));
    let both = headers(ID, &NOW.to_string(), &format!("v1,AAAA v1a,{SIGNATURE} {SIGNATURE}"));
    assert_eq!(verify(&dodo(&["whsec_AAAA", SECRET]), &both, BODY, NOW), Ok(ID.to_owned()));
}

#[test]
fn forged_replayed_truncated_and_unsigned_ones_are_refused() {
    let (ours, time) = (dodo(&[SECRET]), NOW.to_string());
    let good = headers(ID, &time, SIGNATURE);
    assert_eq!(verify(&dodo(&["whsec_AAAA"]), &good, BODY, NOW), Err(Unsigned::Forged));
    assert_eq!(verify(&ours, &good, &BODY[1..], NOW), Err(Unsigned::Forged));
    assert_eq!(verify(&ours, &headers("msg_other", &time, SIGNATURE), BODY, NOW), Err(Unsigned::Forged));
    assert_eq!(verify(&ours, &headers(ID, "1614265331", SIGNATURE), BODY, NOW), Err(Unsigned::Forged));
    for signature in
        ["", "v1,", "v1,####", "v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", &SIGNATURE[..40]]
    {
        assert_eq!(
            verify(&ours, &headers(ID, &time, signature), BODY, NOW),
            Err(Unsigned::Forged),
            "{signature}"
        );
    }
    for now in [301, -301] {
        assert_eq!(verify(&ours, &good, BODY, NOW + now), Err(Unsigned::Time));
    }
    for (id, time) in [("", time.as_str()), ("a.b", &time), (ID, "soon"), (ID, "-1"), (ID, "")] {
        assert_eq!(
            verify(&ours, &headers(id, time, SIGNATURE), BODY, NOW),
            Err(Unsigned::Header),
            "{id} {time}"
        );
    }
    for missing in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        let mut headers = good.clone();
        headers.remove(missing);
        assert_eq!(verify(&ours, &headers, BODY, NOW), Err(Unsigned::Header), "{missing}");
        let mut headers = good.clone();
        headers.append(missing, "1".parse().unwrap());
        assert_eq!(verify(&ours, &headers, BODY, NOW), Err(Unsigned::Header), "two of {missing}");
    }
}

#[test]
fn a_secret_that_is_none_is_found_at_the_start() {
    for wrong in ["", "whsec_", "whsec_###"] {
        assert!(Dodo::new(&[Secret::new(wrong.to_owned())], 300).is_err(), "{wrong}");
    }
}

fn fact(kind: &str, data: &Value) -> Result<Fact, Unread> {
    let body = json!({ "business_id": "b", "type": kind, "timestamp": "2026-11-22T00:00:00Z", "data": data });
    read("msg_1", body.to_string().as_bytes()).map(|event| event.fact)
}

#[test]
fn a_payment_that_succeeded_is_money() {
    let data = json!({
        "payload_type": "Payment", "payment_id": "pay_1", "total_amount": 595, "tax": 95, "currency": "USD",
        "metadata": { "reference": "r" }, "product_cart": [{ "product_id": "pdt_1", "quantity": 1 }],
    });
    let expected = Payment {
        transaction: "pay_1".into(),
        reference: Some("r".into()),
        items: vec![("pdt_1".into(), 1)],
        total: 595,
        tax: 95,
        discount: 0,
        currency: "USD".into(),
    };
    assert_eq!(fact("payment.succeeded", &data), Ok(Fact::Payment(expected)));
    assert_eq!(fact("payment.processing", &data), Ok(Fact::Other));
    let mut wrong = data.clone();
    wrong["total_amount"] = json!(-1);
    assert_eq!(fact("payment.succeeded", &wrong), Err(Unread));
}

#[test]
fn refunds_take_their_amount_and_lost_disputes_the_whole() {
    let refund = |more: Value| {
        let mut data = json!({ "refund_id": "ref_1", "payment_id": "pay_1" });
        data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        match fact("refund.succeeded", &data) {
            Ok(Fact::Reversal(reversal)) => Ok(reversal.amount),
            Ok(_) => panic!("a refund is a reversal"),
            Err(error) => Err(error),
        }
    };
    assert_eq!(refund(json!({ "amount": 100, "is_partial": true })), Ok(Some(100)));
    assert_eq!(refund(json!({ "amount": 100 })), Ok(Some(100)));
    assert_eq!(refund(json!({ "amount": 500, "is_partial": false })), Ok(None));
    assert_eq!(refund(json!({})), Ok(None));
    assert_eq!(refund(json!({ "is_partial": true })), Err(Unread));
    assert_eq!(refund(json!({ "amount": -1 })), Err(Unread));
    let dispute = json!({ "dispute_id": "dp_1", "payment_id": "pay_1", "amount": "500" });
    for (kind, standing) in [
        ("dispute.opened", Standing::Pending),
        ("dispute.lost", Standing::Effective),
        ("dispute.accepted", Standing::Effective),
        ("dispute.won", Standing::Void),
    ] {
        let expected = Reversal { id: "dp_1".into(), transaction: "pay_1".into(), amount: None, standing };
        assert_eq!(fact(kind, &dispute), Ok(Fact::Reversal(expected)), "{kind}");
    }
}
