//! `llmtor buy`, from its first word to the credits. A browser's place is taken by a program of its name that writes down
//! what it was given.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::shop::{MODEL, Shop, attribute, paid};
use crate::support::program::{self, Program};

async fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not come");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn events(program: &Program) -> Vec<Value> {
    let text = String::from_utf8(program.stdout()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn buying_opens_the_page_waits_for_the_credits_and_leaves_minting_to_the_clock() {
    let shop = Shop::open();
    shop.furnish();
    let room = shop.room.path();
    let (path, opened) = program::opener(room);
    let mut daemon = Program::start(
        room,
        &[
            "--home",
            "client",
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--transport",
            "loopback",
            "--json",
            "--log",
            "trace",
        ],
    );
    daemon.ready();
    let mut command = program::command(room);
    command.env("PATH", path).args([
        "--home",
        "client",
        "--json",
        "--log",
        "trace",
        "buy",
        MODEL,
        "--package",
        "small",
    ]);
    let mut buy = Program::spawn(command);

    // What it is started with, which everybody on the machine can read, has nothing of the link.
    let slip = wait("the browser", || std::fs::read_to_string(&opened).ok()).await;
    let link = program::link_in(&slip);
    assert!(link.starts_with(&format!("{}/api/v1/purchase?transientToken=", shop.url)), "{link}");
    assert!(link.contains("&paddlePriceID=pri_small&redirect=http%3A%2F%2F127.0.0.1%3A"), "{link}");
    let (status, policy, body) = shop.page(&link).await;
    assert_eq!(status, 200, "{body}");
    assert!(policy.contains("script-src") && policy.contains("https://cdn.paddle.com"), "{policy}");
    assert!(attribute(&body, "data-redirect").starts_with("http://127.0.0.1:"), "{body}");
    let reference = attribute(&body, "data-reference");

    let said = wait("the first event", || events(&buy).into_iter().next()).await;
    assert_eq!(
        (&said["event"], &said["package"], &said["url"]),
        (&"checkout".into(), &"small".into(), &Value::Null)
    );
    assert!(!buy.ended(), "it waits");
    assert_eq!(shop.paddle(&paid("evt_1", "txn_1", &reference)).await, 200);
    let status = wait("the end", || buy.status()).await;
    assert!(status.success(), "{}", String::from_utf8_lossy(&buy.stderr()));
    assert!(!std::path::Path::new(&slip).exists(), "the link is still on the disk");
    let told = wait("the credits", || events(&buy).into_iter().nth(1)).await;
    assert_eq!((&told["event"], &told["granted"]), (&"credits".into(), &json!({ MODEL: 100 })));
    assert_eq!(told["supply"][MODEL]["next"]["what"], "look", "{told}");

    // Nothing was minted: not a credit is used, and there is no token.
    let me = shop.me().await;
    assert!(me["SubscriptionInfo"]["UsedAuthTokens"].is_null(), "{me}");
    assert_eq!(shop.credits().await, 100);
    let tokens = shop.client(&["tokens", "--json"], "").json();
    assert_eq!(tokens["models"][MODEL]["available"], 0, "{tokens}");

    // The link's token is in nobody's log.
    let (_, token) = link.split_once("transientToken=").unwrap();
    let token = token.split('&').next().unwrap();
    assert!(!body.contains(token), "a page with a foreign script has the token in it");
    for log in [buy.stdout(), buy.stderr(), daemon.stderr(), daemon.stdout(), shop.program.stderr()] {
        assert!(!String::from_utf8_lossy(&log).contains(token), "a log has the transient token");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_link_can_be_printed_the_prices_listed_and_waiting_left_out_or_broken_off() {
    let shop = Shop::open();
    // Prices are for everybody: nobody is signed in yet.
    let init = shop.client(&["init", "--backend", &shop.url, "--keys", "keys.json"], "");
    assert_eq!(init.code, Some(0), "{}", init.stderr);
    let list = shop.client(&["buy"], "");
    assert_eq!(list.code, Some(0), "{}", list.stderr);
    let rows =
        [" 1  small    gpt-4.1-mini      100  $5.00  popular", " 2  by-hand  gpt-4.1-mini        7  $1.00"];
    for row in rows {
        assert!(list.stdout.contains(row), "{}", list.stdout);
    }
    let told = shop.client(&["buy", MODEL, "--json"], "").json();
    assert_eq!(told["packages"][0]["price"], "$5.00");
    shop.client(&["buy", "--package", "small", "--print"], "").refused(4, &["not signed in", "llmtor login"]);

    let login = shop.client(&["login", "--session-stdin"], &shop.session);
    assert_eq!(login.code, Some(0), "{}", login.stderr);
    let printed = shop.client(&["buy", "--package", "by-hand", "--print", "--wait", "0"], "");
    assert_eq!(printed.code, Some(0), "{}", printed.stderr);
    assert!(
        printed.stderr.contains("within 5 minutes") && printed.stderr.contains("It is a secret"),
        "{}",
        printed.stderr
    );
    let (status, _, body) = shop.page(printed.stdout.trim()).await;
    assert_eq!(status, 200);
    assert!(
        body.contains("Nothing is sold online here") && body.contains("Ask the host for vouchers."),
        "{body}"
    );

    shop.client(&["buy", "gtp-4.1-mini"], "")
        .refused(2, &["did you mean `gpt-4.1-mini`?", "credits are sold for"]);
    shop.client(&["buy", "--package", "smal"], "").refused(2, &["did you mean `small`?"]);
    let through_tor = ["buy", "--package", "small", "--set", "identity.transport=tor"];
    shop.client(&through_tor, "")
        .refused(2, &["show it your address", "--print", "Tor Browser", "--open-directly"]);

    // No browser here: said, with what to do.
    let mut command = program::command(shop.room.path());
    let nothing = shop.room.path().join("nothing");
    std::fs::create_dir_all(&nothing).unwrap();
    let output = program::finish(
        command.env("PATH", nothing).args(["--home", "client", "buy", "--package", "small"]),
        "",
    );
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("no browser could be opened") && said.contains("--print"), "{said}");

    // Ctrl-C while waiting.
    let mut waiting = Program::start(
        shop.room.path(),
        &["--home", "client", "buy", "--package", "small", "--print", "--wait", "5"],
    );
    wait("the link", || (!waiting.stdout().is_empty()).then_some(())).await;
    let pid = waiting.pid().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let status = wait("the end", || waiting.status()).await;
    assert_eq!(status.code(), Some(130));
    let said = wait("the last word", || {
        let said = String::from_utf8(waiting.stderr()).unwrap();
        said.contains("nothing is lost").then_some(said)
    })
    .await;
    assert!(said.contains("llmtor account"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_sells_nothing_says_where_credits_come_from() {
    let shop = Shop::with("generation = \"older\"\n[models.\"gpt-4.1-mini\"]\n");
    shop.furnish();
    shop.client(&["buy"], "").refused(1, &["sells nothing", "--voucher -"]);
}
