//! Tokens that come by themselves, as the user sees them.

use super::bench::{Backend, MODEL, llmtor, succeed};

fn next(backend: &Backend, more: &[&str]) -> serde_json::Value {
    let arguments = [&["--json", "tokens", "--home", "client"][..], more].concat();
    succeed(backend.room(), &arguments, "").json()["supply"][MODEL]["next"].clone()
}

#[test]
fn a_daemon_plans_its_top_ups_and_says_before_which_day() {
    let backend = Backend::start(5);
    backend.init(None);
    assert_eq!(next(&backend, &[])["what"], "sign_in");
    backend.stock_up(2);
    assert_eq!(next(&backend, &[])["what"], "not_running");
    assert_eq!(next(&backend, &["--set", "topup.enabled=false"])["what"], "off");

    let mut daemon = backend.serve();
    let planned = loop {
        let next = next(&backend, &[]);
        if next["what"] != "unplanned" {
            break next;
        }
    };
    assert_eq!(planned["what"], "look", "{planned}");
    let shown = succeed(backend.room(), &["status", "--home", "client"], "").stdout;
    let before = planned["before"].as_str().unwrap();
    assert_eq!(before.len(), "2026-12-01".len());
    assert!(
        shown.contains(&format!("{MODEL}: ")) && shown.contains(&format!("before {before} (UTC)")),
        "{shown}"
    );
    assert!(daemon.program.stop().success());

    // The next daemon keeps it.
    let _daemon = backend.serve();
    let again = loop {
        let next = next(&backend, &[]);
        if next["what"] != "unplanned" {
            break next;
        }
    };
    assert_eq!(again, planned);
    // Nothing was minted by either.
    assert_eq!(backend.stock()["available"], 2);
}

#[test]
fn a_mint_says_what_haste_costs_and_what_patience_means() {
    let backend = Backend::start(5);
    backend.init(None);
    backend.stock_up(1);
    let mint = ["tokens", "mint", "--model", MODEL, "--count", "1", "--home", "client"];
    let patient = succeed(backend.room(), &mint, "").stdout;
    assert!(patient.contains("a random delay, 6 hours on average"), "{patient}");
    let hasty = succeed(backend.room(), &[&mint[..], &["--now"]].concat(), "").stdout;
    assert!(hasty.contains("match your account and these calls by their times"), "{hasty}");
    let wrong = ["tokens", "--home", "client", "--set", "topup.models.gpt-4.1.batch=0"];
    llmtor(backend.room(), &[], &wrong, "").refused(2, &["topup.models", "`target` and `batch`"]);
}
