//! Somebody outside, who comes through the Ingress.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use dhis2_e2e::site::door::{Account, Door, Scheme};
use dhis2_e2e::site::instance::Instance;
use dhis2_e2e::site::{Outcome, Story, wait};
use serde_json::json;

/// How often somebody outside tries.
const EVERY: Duration = Duration::from_millis(50);
/// How long the ingress controller may take to let somebody through.
const LIMIT: Duration = Duration::from_secs(30);

/// Somebody outside who tries the default password through the host, again and again.
pub struct Knocker {
    scheme: Scheme,
    stop: Arc<AtomicBool>,
    refused: Arc<AtomicUsize>,
    work: JoinHandle<Knocks>,
}

/// What came of it.
#[derive(Default)]
struct Knocks {
    tries: usize,
    refused: usize,
    let_in: Vec<String>,
}

impl Knocker {
    /// Begins to try.
    pub fn begin(story: &Story, instance: &Instance, scheme: Scheme) -> Self {
        let (stop, refused) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let counter = Arc::clone(&refused);
        let (door, until) = (Door::new(&story.site, &instance.host), Arc::clone(&stop));
        let work = thread::spawn(move || {
            let mut knocks = Knocks::default();
            while !until.load(Ordering::Relaxed) {
                knocks.try_once(&door, scheme);
                counter.store(knocks.refused, Ordering::Relaxed);
                thread::sleep(EVERY);
            }
            knocks
        });
        Self { scheme, stop, refused, work }
    }

    /// Stops once DHIS2 itself has refused the password, and says how it went.
    pub async fn end(self, story: &Story) -> Outcome {
        let refused = async || if self.refused.load(Ordering::Relaxed) > 0 { Ok(()) } else { Err("no refusal by DHIS2") };
        wait::ask("the one who tries to reach DHIS2", LIMIT, refused).await?;
        self.stop.store(true, Ordering::Relaxed);
        let knocks = self.work.join().map_err(|_| "the one who knocks panicked")?;
        story.tell(&format!(
            "{} tries of admin/district over {:?}: {} refused by DHIS2, {} let in",
            knocks.tries,
            self.scheme,
            knocks.refused,
            knocks.let_in.len()
        ));
        assert!(knocks.let_in.is_empty(), "the default password was accepted through the host: {:?}", knocks.let_in.first());
        Ok(())
    }
}

impl Knocks {
    fn try_once(&mut self, door: &Door, scheme: Scheme) {
        self.tries += 1;
        let asked = door.get(scheme, "/api/me", Some(&Account::default_one()));
        // Who asks nicely is sent to the login page; only the account's own data is proof of being in.
        match asked {
            Ok(answer) if answer.status == 200 => self.let_in.push(answer.body),
            Ok(answer) if answer.status == 401 => self.refused += 1,
            Ok(_) | Err(_) => {}
        }
        let form = json!({ "username": "admin", "password": "district" });
        if let Ok(answer) = door.send("POST", scheme, "/api/auth/login", None, Some(&form))
            && answer.status == 200
            && answer.body.contains("SUCCESS")
        {
            self.let_in.push(answer.body);
        }
    }
}
