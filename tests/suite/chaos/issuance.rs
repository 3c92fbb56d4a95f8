//! SIGKILL at every step of an issuance, and minting again: no credit vanishes unnoticed.

use llmtor::failpoint::Point;

use super::books::{Books, Expected, held, lost};
use super::redemption::is_of_issuance;
use super::stage::{HOME, Stage};

/// What was begun was begun more than five minutes ago.
const LATER: &str = "UPDATE issuances SET first_sent = first_sent - 1000";

/// Kills a mint at `point`, and mints again; how many credits the daemon said were lost by it.
fn kill_and_mint_again(stage: &Stage, point: Point) -> u64 {
    let name = point.name();
    let armed = format!("{name}=return");
    match point {
        // Older ones are judged by the ledger: not debited.
        Point::RenewWritten | Point::RenewCommitted => {
            stage.die_minting("1", "vault.begin.committed=return");
            stage.meddle(LATER);
            stage.die_minting("1", &armed);
        }
        // Debited, and too late to be had.
        Point::Judged | Point::WriteOffWritten | Point::WriteOffCommitted => {
            stage.die_minting("1", "issuance.signed=return");
            stage.meddle(LATER);
            stage.die_minting("1", &armed);
            stage.must_mint("1");
            return 1;
        }
        _ => stage.die_minting("3", &armed),
    }
    let report = stage.must_mint("1");
    assert_eq!(report["notes"], serde_json::Value::Null, "{name}");
    0
}

#[test]
fn a_mint_killed_at_any_step_is_finished_by_the_next_and_no_credit_vanishes_unnoticed() {
    let stage = Stage::set(60, 1);
    let mut expected = Expected::default();
    for point in Point::ALL.iter().copied().filter(|point| is_of_issuance(*point)) {
        match point {
            Point::AbandonWritten
            | Point::AbandonCommitted
            | Point::BeginAbuseWritten
            | Point::BeginAbuseCommitted
            | Point::FinalizeAbuseWritten
            | Point::FinalizeAbuseCommitted => {}
            _ => expected.lost += kill_and_mint_again(&stage, point),
        }
        assert_eq!(held(&stage, "blinded"), 0, "{}", point.name());
        assert_eq!(lost(&stage), expected.lost, "{}: told once, when it happens", point.name());
    }
    Books::balance(stage, expected);
}

#[test]
fn a_mint_without_credit_killed_at_the_refusal_leaves_nothing_behind() {
    for point in [Point::AbandonWritten, Point::AbandonCommitted] {
        let stage = Stage::set(2, 2);
        stage.die_minting("1", &format!("{}=return", point.name()));
        if point == Point::AbandonWritten {
            assert_eq!(held(&stage, "blinded"), 1);
            stage.meddle(LATER);
        }
        let refused = stage.mint("1", "");
        assert!(!refused.status.success() && refused.status.code().is_some());
        assert_eq!(held(&stage, "blinded"), 0);
        Books::balance(stage, Expected::default());
    }
}

#[test]
fn an_abuse_setup_killed_at_any_step_is_finished_by_the_next() {
    let stage = Stage::set(1, 1);
    let backend = stage.chaos.url();
    let keys = std::fs::read(stage.house.room().join("keys.json")).unwrap();
    let mut models: serde_json::Value = serde_json::from_slice(&keys).unwrap();
    models.as_object_mut().unwrap().retain(|name, _| !name.starts_with("abuse-"));
    std::fs::write(stage.house.room().join("models.json"), models.to_string()).unwrap();
    for point in [
        Point::BeginAbuseWritten,
        Point::BeginAbuseCommitted,
        Point::FinalizeAbuseWritten,
        Point::FinalizeAbuseCommitted,
    ] {
        // The first passage is the permanent token's, the second the transient one's.
        for action in ["return", "1*off->return"] {
            let home = format!("{}-{}", point.name(), action.len());
            let init = ["init", "--backend", &backend, "--keys", "models.json"];
            stage.house.client(&home, &init, "");
            // Signing in would fetch the abuse tokens, if it knew that the backend asks for some.
            stage.house.client(&home, &["login", "--session-stdin"], &stage.house.session);
            stage.house.client(&home, &["keys", "import", "keys.json"], "");
            let killed = stage.run(&home, &format!("{}={action}", point.name()), &["abuse", "setup"]);
            assert_eq!(killed.status.code(), None, "{home}");
            assert!(stage.run(&home, "", &["abuse", "setup"]).status.success(), "{home}");
            let abuse = &stage.house.report(&home, &["tokens"])["abuse"];
            assert!(abuse["permanent"] == true && abuse["transient"].is_string(), "{home}: {abuse}");
        }
    }
    assert_eq!(held(&stage, "available"), 1, "{HOME} is another one's");
}
