use proptest::prelude::*;
use proptest::sample::subsequence;

use super::*;
use crate::backend::settings::PackageSettings;
use crate::wire::ModelName;

const NOW: Timestamp = Timestamp::from_unix(1_795_305_600);
const PADDLE: Provider = Provider::Paddle;

struct Ledger {
    c: Connection,
    catalog: Catalog,
}

impl Ledger {
    /// Two accounts with a checkout each, in memory.
    fn open() -> Self {
        let c = Connection::open_in_memory().unwrap();
        c.pragma_update(None, "foreign_keys", true).unwrap();
        for statement in crate::backend::ledger::SCHEMA {
            c.execute_batch(statement).unwrap();
        }
        for name in ["alice", "bob"] {
            c.execute("INSERT INTO accounts (id, name) VALUES (?1, ?1)", [name]).unwrap();
            open_checkout(&c, &format!("ref-{name}"), &AccountId::known(name), "small", NOW).unwrap();
        }
        let package = |id: &str, model: &str, tokens, amount| PackageSettings {
            id: id.into(),
            model: ModelName::new(model).unwrap(),
            tokens,
            price: "$".into(),
            popular: false,
            amount: Some(amount),
            currency: Some("USD".into()),
            paddle_price_id: Some(format!("pri_{id}")),
            dodo_product_id: Some(format!("pdt_{id}")),
        };
        Self { c, catalog: Catalog::new(&[package("small", "m", 100, 500), package("odd", "n", 7, 333)]) }
    }

    fn hear(&self, event: &Event) -> Heard {
        record(&self.c, &self.catalog, event, NOW).unwrap()
    }

    fn active(&self, account: &str, model: &str) -> i64 {
        let sql = "SELECT active FROM credits WHERE account = ? AND model = ?";
        self.c.query_row(sql, [account, model], |row| row.get(0)).optional().unwrap().unwrap_or(0)
    }

    fn log(&self) -> Vec<(String, String, i64)> {
        let mut rows = self.c.prepare("SELECT id, model, credits FROM grants ORDER BY id, model").unwrap();
        let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    }

    fn spend(&self, account: &str, count: i64) {
        let sql = "UPDATE credits SET active = active - ?2, used = used + ?2 WHERE account = ?1";
        self.c.execute(sql, params![account, count]).unwrap();
    }
}

fn payment(transaction: &str, reference: &str) -> Payment {
    Payment {
        transaction: transaction.into(),
        reference: Some(reference.into()),
        items: vec![("pri_small".into(), 1)],
        total: 595,
        tax: 95,
        discount: 0,
        currency: "USD".into(),
    }
}

fn paid(id: &str, transaction: &str) -> Event {
    Event { provider: PADDLE, id: id.into(), fact: Fact::Payment(payment(transaction, "ref-alice")) }
}

fn back(id: &str, reversal: &str, transaction: &str, amount: Option<i64>, standing: Standing) -> Event {
    let reversal = Reversal { id: reversal.into(), transaction: transaction.into(), amount, standing };
    Event { provider: PADDLE, id: id.into(), fact: Fact::Reversal(reversal) }
}

#[test]
fn a_payment_counts_once_however_often_it_is_told() {
    let ledger = Ledger::open();
    for event in ["e1", "e1", "e2"] {
        assert_eq!(ledger.hear(&paid(event, "t")), Heard::Noted);
    }
    assert_eq!(ledger.active("alice", "m"), 100);
    assert_eq!(ledger.log(), [("t".to_owned(), "m".to_owned(), 100)]);
}

#[test]
fn several_of_several_packages_are_added_up() {
    let ledger = Ledger::open();
    let items = vec![("pri_small".into(), 2), ("pri_odd".into(), 3)];
    let payment = Payment { items, total: 1999, tax: 0, ..payment("t", "ref-bob") };
    ledger.hear(&Event { provider: PADDLE, id: "e".into(), fact: Fact::Payment(payment) });
    assert_eq!((ledger.active("bob", "m"), ledger.active("bob", "n")), (200, 21));
}

#[test]
fn money_that_does_not_fit_is_held_and_counts_once_it_does() {
    let held = |change: &dyn Fn(&mut Payment)| {
        let ledger = Ledger::open();
        let mut wrong = payment("t", "ref-alice");
        change(&mut wrong);
        let event = Event { provider: PADDLE, id: "e".into(), fact: Fact::Payment(wrong) };
        assert_eq!(ledger.hear(&event), Heard::Held);
        assert_eq!(ledger.hear(&event), Heard::Held, "and stays it");
        assert_eq!(ledger.active("alice", "m"), 0);
        assert!(ledger.log().is_empty());
        let sales = list(&ledger.c).unwrap();
        assert_eq!(sales.len(), 1);
        // The host has mended what was wrong, and has it sent again.
        assert_eq!(ledger.hear(&paid("e", "t")), Heard::Noted);
        assert_eq!(ledger.active("alice", "m"), 100);
        assert_eq!(list(&ledger.c).unwrap()[0].state, SaleState::Credited);
        sales[0].state
    };
    assert_eq!(held(&|p| p.items[0].0 = "pri_other".into()), SaleState::Held(HeldBecause::UnknownProduct));
    // A product of the other provider is not for sale at this one.
    assert_eq!(held(&|p| p.items[0].0 = "pdt_small".into()), SaleState::Held(HeldBecause::UnknownProduct));
    assert_eq!(held(&|p| p.items.clear()), SaleState::Held(HeldBecause::UnknownProduct));
    assert_eq!(held(&|p| p.items[0].1 = 0), SaleState::Held(HeldBecause::UnknownProduct));
    assert_eq!(held(&|p| p.items[0].1 = -1), SaleState::Held(HeldBecause::UnknownProduct));
    assert_eq!(held(&|p| p.items[0].1 = 2), SaleState::Held(HeldBecause::AmountDiffers));
    assert_eq!(held(&|p| p.items[0].1 = i64::MAX), SaleState::Held(HeldBecause::AmountDiffers));
    assert_eq!(held(&|p| p.total = 594), SaleState::Held(HeldBecause::AmountDiffers));
    assert_eq!(held(&|p| p.tax = -5), SaleState::Held(HeldBecause::AmountDiffers));
    assert_eq!(held(&|p| p.discount = 1), SaleState::Held(HeldBecause::AmountDiffers));
    assert_eq!(held(&|p| p.currency = "EUR".into()), SaleState::Held(HeldBecause::CurrencyDiffers));
    assert_eq!(
        held(&|p| p.reference = Some("ref-nobody".into())),
        SaleState::Held(HeldBecause::UnknownBuyer)
    );
    assert_eq!(held(&|p| p.reference = None), SaleState::Held(HeldBecause::UnknownBuyer));
}

#[test]
fn tax_may_be_in_the_price_or_on_top_of_it() {
    for (total, tax) in [(500, 0), (500, 80), (595, 95)] {
        let ledger = Ledger::open();
        let payment = Payment { total, tax, ..payment("t", "ref-alice") };
        ledger.hear(&Event { provider: PADDLE, id: "e".into(), fact: Fact::Payment(payment) });
        assert_eq!(ledger.active("alice", "m"), 100, "{total} {tax}");
    }
}

#[test]
fn a_refund_takes_back_what_is_unspent_and_never_more() {
    let ledger = Ledger::open();
    ledger.hear(&paid("e1", "t"));
    ledger.spend("alice", 80);
    ledger.hear(&back("e2", "adj", "t", None, Standing::Effective));
    assert_eq!(ledger.active("alice", "m"), 0);
    let sale = &list(&ledger.c).unwrap()[0];
    assert_eq!((sale.taken_back["m"], sale.spent_before_refund), (20, 80));
    assert_eq!(ledger.log(), [("t".to_owned(), "m".to_owned(), 80)]);
    // What was spent is not asked for of a later purchase.
    ledger.hear(&paid("e3", "later"));
    ledger.hear(&back("e4", "adj", "t", None, Standing::Effective));
    assert_eq!(ledger.active("alice", "m"), 100);
    // A refund that is undone gives back what was taken, and no more.
    ledger.hear(&back("e5", "adj", "t", None, Standing::Void));
    assert_eq!(ledger.active("alice", "m"), 120);
}

/// As Paddle says it, of transaction `t2`.
fn adjusted(event: &str, id: &str, action: &str, status: &str, total: i64) -> Event {
    let said = serde_json::json!({ "event_id": event, "event_type": "adjustment.updated", "data": {
        "id": id, "action": action, "transaction_id": "t2", "status": status, "totals": { "total": total.to_string() } } });
    super::super::paddle::read(said.to_string().as_bytes()).unwrap()
}

#[test]
fn a_chargeback_that_is_reversed_gives_back_what_it_took_and_not_a_refund_before_it() {
    let chargeback = [
        adjusted("e2", "cb", "chargeback", "approved", 357),
        adjusted("e3", "cb", "chargeback", "reversed", 357),
        adjusted("e4", "cbr", "chargeback_reverse", "approved", 357),
    ];
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let ledger = Ledger::open();
        ledger.hear(&paid("e0", "t2"));
        ledger.hear(&adjusted("e1", "r", "refund", "approved", 238));
        assert_eq!(ledger.active("alice", "m"), 60, "two fifths went back");
        for index in order {
            ledger.hear(&chargeback[index]);
        }
        assert_eq!(ledger.active("alice", "m"), 60, "{order:?}");
    }
}

#[test]
fn opening_the_page_again_and_again_fills_no_disk() {
    let ledger = Ledger::open();
    let bob = AccountId::known("bob");
    let open = |number: i64, package, now| {
        open_checkout(&ledger.c, &format!("r{number}"), &bob, package, now).unwrap()
    };
    let beyond = |number: i64| NOW.plus_seconds(number * CHECKOUT_AGAIN);
    // One was opened with the accounts.
    for number in 1..CHECKOUTS_A_DAY {
        assert_eq!(open(number, "small", beyond(number)), format!("r{number}"));
    }
    let last = format!("r{}", CHECKOUTS_A_DAY - 1);
    for number in 100..200 {
        assert_eq!(open(number, "small", beyond(number)), last, "the last one serves again");
        assert_eq!(open(number, "odd", beyond(number)), last, "whatever is bought");
    }
    let alice = AccountId::known("alice");
    let alice = open_checkout(&ledger.c, "other", &alice, "small", beyond(200)).unwrap();
    assert_eq!(alice, "other", "each account has its own");
    assert_eq!(open(201, "small", NOW.plus_seconds(2 * 86_400)), "r201");
}

#[test]
fn a_page_that_is_loaded_again_opens_nothing() {
    let ledger = Ledger::open();
    let open = |name, reference, package, later| {
        let account = AccountId::known(name);
        open_checkout(&ledger.c, reference, &account, package, NOW.plus_seconds(later)).unwrap()
    };
    let count =
        || -> i64 { ledger.c.query_row("SELECT count(*) FROM checkouts", [], |row| row.get(0)).unwrap() };
    for later in [0, 1, CHECKOUT_AGAIN - 1] {
        assert_eq!(open("alice", "new", "small", later), "ref-alice");
    }
    assert_eq!(count(), 2);
    assert_eq!(open("alice", "odd", "odd", 1), "odd", "another package has another");
    assert_eq!(open("alice", "again", "odd", 2), "odd");
    assert_eq!(open("bob", "new", "small", 3), "ref-bob", "and another account, too");
    assert_eq!(open("alice", "later", "small", CHECKOUT_AGAIN), "later");
    assert_eq!(count(), 4);
}

#[test]
fn a_part_of_the_money_is_that_part_of_the_credits() {
    let ledger = Ledger::open();
    ledger.hear(&paid("e1", "t"));
    ledger.hear(&back("e2", "adj", "t", Some(119), Standing::Effective));
    assert_eq!(ledger.active("alice", "m"), 80);
    ledger.hear(&back("e3", "adj2", "t", Some(1), Standing::Effective));
    assert_eq!(ledger.active("alice", "m"), 80, "in the buyer's favour");
    ledger.hear(&back("e4", "adj3", "t", Some(9_999), Standing::Effective));
    assert_eq!(ledger.active("alice", "m"), 0, "and never more than all");
}

#[test]
fn a_refund_that_comes_before_its_payment_waits_for_it() {
    let ledger = Ledger::open();
    ledger.hear(&back("e1", "adj", "t", None, Standing::Effective));
    assert_eq!(ledger.active("alice", "m"), 0);
    ledger.hear(&paid("e2", "t"));
    assert_eq!(ledger.active("alice", "m"), 0);
    assert_eq!(list(&ledger.c).unwrap()[0].taken_back["m"], 100);
}

#[test]
fn events_are_forgotten_after_a_month_and_their_transactions_are_not() {
    let home = tempfile::tempdir().unwrap();
    let ledger = crate::backend::ledger::SqliteLedger::open(&home.path().join("ledger.db")).unwrap();
    let books = Books::new(ledger.database(), Catalog::new(&[]));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        assert_eq!(books.record(paid("e", "t"), NOW).await.unwrap(), Heard::Held);
        assert_eq!(
            books.record(back("e2", "adj", "t", None, Standing::Effective), NOW).await.unwrap(),
            Heard::Noted
        );
        books.forget_old(NOW.plus_seconds(EVENTS_REMEMBERED + 1)).await.unwrap();
    });
    let other = Connection::open(home.path().join("ledger.db")).unwrap();
    let count = |table: &str| {
        let sql = format!("SELECT count(*) FROM {table}");
        other.query_row(&sql, [], |row| row.get::<_, i64>(0)).unwrap()
    };
    assert_eq!((count("webhooks"), count("sales"), count("reversals")), (0, 1, 1));
}

/// Everything that two transactions may be told of, good and bad.
fn events() -> Vec<Event> {
    let wrong = Payment { total: 1, ..payment("t1", "ref-alice") };
    let other =
        Payment { items: vec![("pri_odd".into(), 3)], total: 999, tax: 0, ..payment("t2", "ref-alice") };
    let of = |id: &str, fact: Payment| Event { provider: PADDLE, id: id.into(), fact: Fact::Payment(fact) };
    vec![
        paid("p1", "t1"),
        paid("p1-updated", "t1"),
        of("p1-wrong", wrong),
        of("p2", other),
        back("a1-pending", "a1", "t1", Some(119), Standing::Pending),
        back("a1", "a1", "t1", Some(119), Standing::Effective),
        back("a2", "a2", "t1", Some(300), Standing::Effective),
        back("a2-void", "a2", "t1", Some(300), Standing::Void),
        adjusted("c1", "c1", "chargeback", "approved", 999),
        adjusted("c1-reversed", "c1", "chargeback", "reversed", 999),
        adjusted("c1-back", "c2", "chargeback_reverse", "approved", 999),
        back("a3", "a3", "t2", None, Standing::Effective),
        back("stray", "a4", "t3", None, Standing::Effective),
        Event { provider: PADDLE, id: "other".into(), fact: Fact::Other },
    ]
}

fn outcome(events: &[Event]) -> (i64, i64, Vec<(String, String, i64)>) {
    let ledger = Ledger::open();
    for event in events {
        ledger.hear(event);
    }
    (ledger.active("alice", "m"), ledger.active("alice", "n"), ledger.log())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn neither_the_order_of_events_nor_how_often_each_comes_changes_the_balance(
        (chosen, told) in subsequence(events(), 0..=14).prop_flat_map(|chosen| {
            let twice = [chosen.clone(), chosen.clone()].concat();
            (Just(chosen), Just(twice).prop_shuffle())
        }),
    ) {
        let once = outcome(&chosen);
        prop_assert_eq!(&outcome(&told), &once);
        prop_assert!((0..=100).contains(&once.0) && (0..=21).contains(&once.1));
    }
}
