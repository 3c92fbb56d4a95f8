//! No sequence of events reaches two prompts on one token: random histories of calls against a model of the backend, with
//! kills and power cuts at any point, a clock that jumps, rotations, and changes of the pinned key.
//!
//! The backend is protocol.md §5 in a few lines: it stores the first answer that a token pays for, repeats it for five
//! days to whoever shows the same `llmmask`, whatever the prompt, and remembers for ever that the token is spent.
//!
//! A killed process leaves the files as they are. A power cut leaves what was last synced: the files are copied after
//! each operation that promises to be durable on return, and after a cut the copy is what there is; what came after is
//! gone, or part of it is there, torn at any byte.
//!
//! The clock jumps without bounds, but nothing is sent while it is more than four days behind: Tor's directory is not
//! valid by such a clock, nor are most certificates.

use std::collections::{BTreeMap, HashMap};
use std::fs;

use llmtor::vault::{Doubt, History, Presented, RequestDigest, Reserved};
use llmtor::wire::redemption::Epoch;
use proptest::prelude::*;

use super::*;

const TERM: i64 = 6 * DAY;
/// How far behind the clock may be for anything to be sent.
const BEHIND: i64 = -4 * DAY;
/// Above the longest that a call may take.
const LONG: i64 = 600;

#[derive(Clone, Debug)]
enum Step {
    Mint,
    Begin {
        prompt: u8,
    },
    Present(usize),
    Send {
        which: usize,
        fate: Fate,
        end: End,
    },
    Drop(usize),
    /// What was long on its way arrives.
    Arrive,
    Tick(i64),
    Jump(i64),
    Rotate,
    Repin,
    Restart,
    Kill,
    PowerCut {
        kept: usize,
    },
}

/// What the network and the backend do with a request.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Answered,
    /// Refused before the backend looks whether the token is spent.
    Refused,
    LostOnTheWay,
    AnswerLost,
    /// Nobody waits for it any more when it arrives.
    Late,
}

/// What the client does with an answer, or the call with silence.
#[derive(Clone, Copy, Debug)]
enum End {
    Done,
    NotDelivered,
    /// Again, the same bytes; or, of an answer, the guard is dropped.
    Again,
}

fn step() -> impl Strategy<Value = Step> {
    let which = any::<usize>();
    let fate = prop_oneof![
        3 => Just(Fate::Answered),
        1 => Just(Fate::Refused),
        2 => Just(Fate::LostOnTheWay),
        3 => Just(Fate::AnswerLost),
        1 => Just(Fate::Late),
    ];
    let end = prop_oneof![3 => Just(End::Done), 2 => Just(End::NotDelivered), 1 => Just(End::Again)];
    let jump = prop_oneof![
        Just(TERM),
        Just(-TERM),
        Just(TERM + 30),
        Just(-TERM + 30),
        -8 * DAY..8 * DAY,
        -90i64..90,
    ];
    prop_oneof![
        2 => Just(Step::Mint),
        7 => (0u8..2).prop_map(|prompt| Step::Begin { prompt }),
        6 => which.prop_map(Step::Present),
        8 => (which, fate, end).prop_map(|(which, fate, end)| Step::Send { which, fate, end }),
        1 => which.prop_map(Step::Drop),
        1 => Just(Step::Arrive),
        3 => prop_oneof![1i64..60, 3_600i64..7_300, DAY..7 * DAY].prop_map(Step::Tick),
        3 => jump.prop_map(Step::Jump),
        1 => Just(Step::Rotate),
        1 => Just(Step::Repin),
        1 => Just(Step::Restart),
        2 => Just(Step::Kill),
        2 => which.prop_map(|kept| Step::PowerCut { kept }),
    ]
}

/// What is stored for a token.
struct Stored {
    mask: String,
    prompt: u8,
    at: i64,
}

enum Said {
    Answer { prompt: u8, created: i64 },
    Expired,
    CannotReuse,
}

/// protocol.md §5.
#[derive(Default)]
struct Backend {
    stored: HashMap<String, Stored>,
    /// Token, mask, prompt.
    on_the_way: Vec<(String, String, u8)>,
}

impl Backend {
    fn redeem(&mut self, token: &str, mask: &str, prompt: u8, now: i64) -> Said {
        let fresh = || Stored { mask: mask.to_owned(), prompt, at: now };
        let stored = self.stored.entry(token.to_owned()).or_insert_with(fresh);
        if now - stored.at >= 5 * DAY {
            Said::Expired
        } else if stored.mask == mask {
            Said::Answer { prompt: stored.prompt, created: stored.at }
        } else {
            Said::CannotReuse
        }
    }

    fn arrive(&mut self, now: i64) {
        for (token, mask, prompt) in std::mem::take(&mut self.on_the_way) {
            self.redeem(&token, &mask, prompt, now);
        }
    }
}

enum Hand {
    Reserved(Reserved),
    /// And whether an attempt with it ended in silence.
    Presented(Presented, bool),
}

struct InCall {
    prompt: u8,
    hand: Hand,
}

/// The last presentation of a token of which nothing proves that the backend has nothing.
struct Shown {
    prompt: u8,
    /// By our clock.
    at: Timestamp,
}

/// The vault's files.
type Image = BTreeMap<String, Vec<u8>>;

struct World {
    place: Place,
    vault: Option<Vault>,
    /// As of the last operation that is durable for certain.
    synced: Image,
    /// Nobody's clock is right but this one.
    now: i64,
    backend: Backend,
    calls: Vec<InCall>,
    shown: HashMap<String, Shown>,
    pinned: u8,
    issued: u64,
}

impl World {
    async fn new() -> Self {
        // What a sync is for is played here: it may as well cost nothing.
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let place = Place { dir: dir.unwrap(), clock: ManualClock::shared(START) };
        let vault = place.open();
        let mut world = Self {
            place,
            vault: Some(vault),
            synced: Image::new(),
            now: START.unix(),
            backend: Backend::default(),
            calls: Vec::new(),
            shown: HashMap::new(),
            pinned: 1,
            issued: 0,
        };
        hold_abuse(world.vault(), AbuseKind::Permanent, "permanent").await;
        world.rotate().await;
        for _ in 0..3 {
            world.mint().await;
        }
        world
    }

    fn vault(&self) -> &Vault {
        self.vault.as_ref().unwrap()
    }

    fn key(&self) -> Fingerprint {
        Fingerprint::from_bytes([self.pinned; 32])
    }

    fn digest(&self, prompt: u8) -> RequestDigest {
        self.vault().withdrawals().digest(&model(), &[prompt])
    }

    fn is_behind(&self) -> bool {
        self.place.clock.now().unix() - self.now < BEHIND
    }

    fn image(&self) -> Image {
        let files = fs::read_dir(self.place.dir.path()).unwrap().map(|entry| entry.unwrap());
        files.map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap())).collect()
    }

    fn note_synced(&mut self) {
        self.synced = self.image();
    }

    async fn mint(&mut self) {
        let name = format!("token {}", unique());
        let new = NewIssuance { key: self.key(), ..issuance(&name, &name) };
        let deposits = self.vault().deposits();
        deposits.begin(vec![new]).await.unwrap();
        deposits.finalize(&RequestId(name), signature(), self.place.clock.now()).await.unwrap();
        self.issued += 1;
        self.note_synced();
    }

    async fn rotate(&mut self) {
        let epoch = Epoch::at(self.place.clock.now().unix());
        hold_abuse(self.vault(), AbuseKind::Transient(epoch), &format!("transient {}", unique())).await;
        self.note_synced();
    }

    /// As a call begins: what is in doubt about this very request is resumed, else one is drawn.
    async fn begin(&mut self, prompt: u8) {
        if self.is_behind() || self.calls.len() >= 4 {
            return;
        }
        let (withdrawals, digest, call) = (self.vault().withdrawals(), self.digest(prompt), call());
        let rule = AbuseRule::Required;
        let hand = match withdrawals.reserve_unless_in_doubt(call, digest, &model(), self.key(), rule).await {
            Ok(Some(reserved)) => Hand::Reserved(reserved),
            Ok(None) => {
                let resumed = withdrawals.resume(call, digest).await.unwrap();
                self.note_synced();
                let presented = resumed.expect("in doubt a moment ago, and nobody else asked");
                self.show(&presented, prompt);
                Hand::Presented(presented, true)
            }
            Err(VaultError::OutOfTokens { .. } | VaultError::NoAbuseTokens) => return,
            Err(error) => panic!("{error}"),
        };
        self.calls.push(InCall { prompt, hand });
    }

    async fn present(&mut self, which: usize) {
        let Some(InCall { prompt, hand }) = self.take(which) else { return };
        let hand = match hand {
            Hand::Reserved(reserved) if self.is_behind() => {
                self.vault().withdrawals().release(reserved).await.unwrap();
                return;
            }
            Hand::Reserved(reserved) => {
                match self.vault().withdrawals().present(reserved, self.digest(prompt)).await {
                    Ok(presented) => {
                        self.note_synced();
                        self.show(&presented, prompt);
                        Hand::Presented(presented, false)
                    }
                    Err(VaultError::NoAbuseTokens) => return,
                    Err(error) => panic!("{error}"),
                }
            }
            presented @ Hand::Presented(..) => presented,
        };
        self.calls.push(InCall { prompt, hand });
    }

    /// The first invariant: another prompt is shown only when the backend is known to have nothing, or has had its five
    /// days and a margin by our clock.
    fn show(&mut self, presented: &Presented, prompt: u8) {
        let at = self.place.clock.now();
        let shown = self.shown.insert(token(presented), Shown { prompt, at });
        if let Some(before) = shown.filter(|before| before.prompt != prompt) {
            assert!(presented.history() == History::MaybeSpent, "shown to another prompt");
            assert!(presented.drawn().seconds_since(before.at) >= TERM, "drawn before its term");
        }
    }

    async fn send(&mut self, which: usize, fate: Fate, end: End) {
        let Some(InCall { prompt, hand }) = self.take(which) else { return };
        let Hand::Presented(presented, silent) = hand else {
            self.calls.push(InCall { prompt, hand });
            return;
        };
        let withdrawals = self.vault().withdrawals();
        let (name, mask) = (token(&presented), serde_json::to_string(presented.llmmask()).unwrap());
        let said = match fate {
            Fate::Answered => Some(self.backend.redeem(&name, &mask, prompt, self.now)),
            Fate::AnswerLost => {
                self.backend.redeem(&name, &mask, prompt, self.now);
                None
            }
            Fate::LostOnTheWay => None,
            Fate::Late => {
                self.backend.on_the_way.push((name, mask, prompt));
                None
            }
            // Says nothing of an earlier attempt.
            Fate::Refused if silent => {
                withdrawals.doubt(presented, Doubt::Unknown).await.unwrap();
                return;
            }
            Fate::Refused => {
                self.shown.remove(&name);
                withdrawals.return_unspent(presented).await.unwrap();
                return;
            }
        };
        match (said, end) {
            (None, End::Again) => self.calls.push(InCall { prompt, hand: Hand::Presented(presented, true) }),
            (None, End::Done) => withdrawals.doubt(presented, Doubt::Unknown).await.unwrap(),
            (None, End::NotDelivered) => drop(presented),
            (Some(Said::Expired | Said::CannotReuse), _) => withdrawals.settle(presented).await.unwrap(),
            (Some(Said::Answer { prompt: of, created }), end) => {
                // As the redemption judges: of a token that may be spent, an answer counts if it is this call's.
                let window = presented.drawn().unix() - 60..=self.place.clock.now().unix() + 60;
                if presented.history() == History::MaybeSpent && !window.contains(&created) {
                    withdrawals.settle(presented).await.unwrap();
                    return;
                }
                assert_eq!(of, prompt, "an answer is delivered to another prompt");
                match end {
                    End::Done => withdrawals.settle(presented).await.unwrap(),
                    End::NotDelivered => withdrawals.doubt(presented, Doubt::Undelivered).await.unwrap(),
                    End::Again => drop(presented),
                }
            }
        }
    }

    fn take(&mut self, which: usize) -> Option<InCall> {
        if self.calls.is_empty() { None } else { Some(self.calls.swap_remove(which % self.calls.len())) }
    }

    /// The process dies, and `image` is what a new one finds.
    fn die(&mut self, image: Image) {
        // Whatever these write while they go is overwritten.
        self.vault = None;
        self.calls.clear();
        let directory = self.place.dir.path();
        for file in fs::read_dir(directory).unwrap().map(|file| file.unwrap()) {
            // What is written over stays the same file, as after a power cut.
            if !image.contains_key(file.file_name().to_str().unwrap()) {
                fs::remove_file(file.path()).unwrap();
            }
        }
        for (name, content) in image {
            fs::write(directory.join(name), content).unwrap();
        }
        self.vault = Some(self.place.open());
        self.note_synced();
    }

    /// What a power cut leaves: what was synced, and of the log's rest any part.
    fn cut(&self, kept: usize) -> Image {
        let (mut image, now) = (self.synced.clone(), self.image());
        let log = "vault.db-wal";
        if let (Some(synced), Some(written)) = (image.get(log), now.get(log))
            && image.get("vault.db") == now.get("vault.db")
            && written.starts_with(synced)
        {
            let end = synced.len() + kept % (written.len() - synced.len() + 1);
            image.insert(log.to_owned(), written[..end].to_vec());
        }
        image
    }

    async fn take_step(&mut self, step: Step) {
        match step {
            Step::Mint => self.mint().await,
            Step::Begin { prompt } => self.begin(prompt).await,
            Step::Present(which) => self.present(which).await,
            Step::Send { which, fate, end } => self.send(which, fate, end).await,
            Step::Drop(which) => drop(self.take(which)),
            Step::Arrive => self.backend.arrive(self.now),
            Step::Tick(seconds) => {
                if seconds > LONG {
                    // No call lasts that long, and nothing is that long on its way.
                    self.calls.clear();
                    self.backend.arrive(self.now);
                }
                self.now += seconds;
                self.place.clock.advance(seconds);
            }
            Step::Jump(seconds) => self.place.clock.advance(seconds),
            Step::Rotate => self.rotate().await,
            Step::Repin => self.pinned = 3 - self.pinned,
            Step::Restart => {
                self.vault.take().unwrap().close().await.unwrap();
                self.calls.clear();
                self.vault = Some(self.place.open());
                self.note_synced();
            }
            Step::Kill => {
                let image = self.image();
                self.die(image);
            }
            Step::PowerCut { kept } => {
                let image = self.cut(kept);
                self.die(image);
            }
        }
        let stock = stock(self.vault()).await;
        let there = stock.available + stock.maturing + stock.reserved + stock.presented;
        assert_eq!(there + stock.in_doubt + stock.refused + stock.spent, self.issued, "{stock:?}");
    }
}

fn token(presented: &Presented) -> String {
    String::from_utf8(presented.llmmask().token.0.clone()).unwrap()
}

fn run(steps: Vec<Step>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut world = World::new().await;
        for step in steps {
            world.take_step(step).await;
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, max_shrink_iters: 400, ..ProptestConfig::default() })]
    #[test]
    fn no_sequence_of_events_reaches_two_prompts_on_one_token(
        steps in proptest::collection::vec(step(), 1..90),
    ) {
        run(steps);
    }
}

/// The clock runs ahead by the term, somebody looks, and it is set right again: the answer of a moment ago would pass for
/// one of this moment.
#[test]
fn a_clock_that_ran_ahead_and_was_set_back_shows_no_answer_to_another_prompt() {
    let (which, prompt) = (0, 1);
    let lost = Step::Send { which, fate: Fate::AnswerLost, end: End::Done };
    let mut steps = vec![Step::Begin { prompt: 0 }; 3];
    for _ in 0..3 {
        // The one that was presented goes to the end.
        steps.extend([Step::Present(which), Step::Send { which: 2, fate: Fate::AnswerLost, end: End::Done }]);
        steps.push(lost.clone());
    }
    // Looking by the clock that runs ahead draws one, which is put back.
    steps.extend([Step::Jump(TERM), Step::Rotate, Step::Begin { prompt }, Step::Drop(which)]);
    steps.extend([Step::Jump(-TERM + 10), Step::Rotate]);
    let ask = [
        Step::Begin { prompt },
        Step::Present(which),
        Step::Send { which, fate: Fate::Answered, end: End::Done },
    ];
    steps.extend(ask.clone());
    // Nor when it runs ahead once more: the backend has kept the answer.
    steps.extend([Step::Jump(TERM), Step::Rotate]);
    steps.extend(ask);
    run(steps);
}
