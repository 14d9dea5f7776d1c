//! Ailing: what happens to a server while it runs is told within a minute, and told again when it is over; nothing is killed that
//! would have recovered.

use std::io::Write;
use std::net::TcpStream;
use std::process::Child;
use std::time::Duration;

use dhis2_e2e::site::disk::Disk;
use dhis2_e2e::site::door::{Door, Scheme};
use dhis2_e2e::site::inside::container;
use dhis2_e2e::site::instance::Instance;
use dhis2_e2e::site::operator::Operator;
use dhis2_e2e::site::{Outcome, Story, process};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

const TOLD: Duration = Duration::from_mins(1);

#[test]
fn ailing() {
    crate::tell("ailing", |story| async move {
        Operator::install(&story).await?;
        let instance = story.instance("play");
        instance.apply(&story.small_manifest("play", &json!({ "backup": { "suspend": true } }))).await?;
        instance.settled().await?;
        read_only(&story, &instance).await?;
        no_connection_left(&story, &instance).await?;
        if story.site.own.is_some() {
            frozen(&story, &instance).await?;
            hanging(&story, &instance, "play-database", "DatabaseUnreachable").await?;
            hanging(&story, &instance, "play-files", "FilesNotWritable").await?;
            killed(&story, &instance).await?;
            dhis2_killed(&story, &instance).await?;
        } else {
            story.tell("left out: a PostgreSQL that is frozen or killed needs our own cluster's machine, and so does a volume that hangs");
        }
        if story.site.is_stand_in() {
            out_of_heap(&story, &instance).await?;
        } else {
            story.tell("left out: a heap that is used up by one request needs the stand-in");
        }
        Ok(())
    });
}

/// Waits until it is told, and says after how long.
async fn told(story: &Story, instance: &Instance, what: &str, reason: &str, about: &str) -> Outcome {
    let after = instance.unready(reason, about, TOLD).await?;
    story.tell(&format!("{what}: {reason} after {:.1} s", after.as_secs_f32()));
    Ok(())
}

/// How often the main containers of both servers were started again, and the uids of their pods.
async fn restarts(story: &Story) -> Outcome<Vec<(Option<String>, i32)>> {
    let pods: Api<Pod> = Api::namespaced(story.client.clone(), &story.namespace);
    let mut found = Vec::new();
    for (pod, main) in [("play-0", "dhis2"), ("play-database-0", "database")] {
        let pod = pods.get(pod).await?;
        let restarts = container(&pod, main).map_or(0, |container| container.restart_count);
        found.push((pod.metadata.uid, restarts));
    }
    Ok(found)
}

async fn read_only(story: &Story, instance: &Instance) -> Outcome {
    let before = restarts(story).await?;
    story.sql("play", "ALTER DATABASE dhis2 SET default_transaction_read_only = on")?;
    told(story, instance, "read-only", "DatabaseReadOnly", "default_transaction_read_only").await?;
    story.sql("play", "BEGIN READ WRITE; ALTER DATABASE dhis2 RESET default_transaction_read_only; COMMIT")?;
    instance.settled().await?;
    assert_eq!(restarts(story).await?, before, "a server was started again");
    Ok(())
}

/// Somebody holds every connection, even those that are kept for superusers.
async fn no_connection_left(story: &Story, instance: &Instance) -> Outcome {
    let before = restarts(story).await?;
    let mut holder = Holder::begin(story)?;
    told(story, instance, "no connection left", "ConnectionsExhausted", "pg_stat_activity").await?;
    holder.0.kill()?;
    // They may have ended with the shell that started them.
    story.inside("play-database-0", "pkill psql || true")?;
    instance.settled().await?;
    assert_eq!(restarts(story).await?, before, "a server was started again");
    Ok(())
}

/// Holds connections until it is dropped.
struct Holder(Child);

impl Holder {
    fn begin(story: &Story) -> Outcome<Self> {
        let hold = "for i in $(seq 80); do psql -U postgres -qc 'SELECT pg_sleep(600)' & done; wait";
        let mut kubectl = story.site.kubectl();
        kubectl.args(["--namespace", &story.namespace, "exec", "play-database-0", "--", "sh", "-c", hold]);
        Ok(Self(kubectl.stderr(std::process::Stdio::null()).spawn()?))
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn uid(story: &Story, pod: &str) -> Outcome<String> {
    let pods: Api<Pod> = Api::namespaced(story.client.clone(), &story.namespace);
    Ok(pods.get(pod).await?.metadata.uid.unwrap_or_default())
}

/// As a node's storage that hangs leaves it: nothing is killed, since it goes on where it was.
async fn frozen(story: &Story, instance: &Instance) -> Outcome {
    let before = restarts(story).await?;
    let pod = uid(story, "play-database-0").await?;
    assert!(process::signal(&pod, "postgres", Signal::SIGSTOP)?, "there is no PostgreSQL");
    told(story, instance, "frozen", "DatabaseUnreachable", "does not answer").await?;
    process::signal(&pod, "postgres", Signal::SIGCONT)?;
    instance.settled().await?;
    assert_eq!(restarts(story).await?, before, "a server was started again");
    Ok(())
}

/// A volume that does not answer, as a network store that is cut off: nobody is let in to what would be lost, and nothing is killed.
async fn hanging(story: &Story, instance: &Instance, claim: &str, reason: &str) -> Outcome {
    let before = restarts(story).await?;
    let fault = Disk::of(story, claim).await?.hangs()?;
    told(story, instance, &format!("{claim} hangs"), reason, "does not answer").await?;
    drop(fault);
    instance.settled().await?;
    assert_eq!(restarts(story).await?, before, "a server was started again");
    Ok(())
}

/// As the kernel kills what is in its way when a node has no memory left.
async fn dhis2_killed(story: &Story, instance: &Instance) -> Outcome {
    let process = process::dhis2(&uid(story, "play-0").await?)?;
    kill(Pid::from_raw(process), Signal::SIGKILL)?;
    told(story, instance, "DHIS2 killed", "Killed", "its node").await?;
    instance.settled().await?;
    Ok(())
}

/// PostgreSQL is started again and recovers; DHIS2 waits for it.
async fn killed(story: &Story, instance: &Instance) -> Outcome {
    let before = restarts(story).await?;
    let killed = process::signal(&uid(story, "play-database-0").await?, "postgres", Signal::SIGKILL)?;
    assert!(killed, "there is no PostgreSQL");
    let down = |seen: &_| dhis2_e2e::site::instance::condition(seen, "Ready").is_some_and(|ready| ready.status == "False");
    instance.when("the loss of the database to be told", down).await?;
    instance.settled().await?;
    let after = restarts(story).await?;
    assert_eq!(before.first(), after.first(), "DHIS2 was started again");
    Ok(())
}

/// One request needs more than the heap has: the JVM ends, is started again, and that is told until it serves.
async fn out_of_heap(story: &Story, instance: &Instance) -> Outcome {
    let door = Door::new(&story.site, &instance.host);
    door.opens(Scheme::Http, TOLD).await?;
    let address = *story.site.ingress.first().ok_or("the site has no address")?;
    let mut stream = TcpStream::connect(address)?;
    let host = &instance.host;
    write!(stream, "POST /api/dataValues HTTP/1.1\r\nHost: {host}\r\nContent-Length: 8000000000\r\n\r\nvalue=")?;
    told(story, instance, "out of heap", "OutOfMemory", "heap").await?;
    instance.settled().await?;
    Ok(())
}
