//! The cluster is gone for good: on a bare machine with restic and podman, following `docs/without-kubernetes.md` as it is printed, an
//! instance serves again from its bucket and its key, with the same data and logins, and goes on after a power cut.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use dhis2_e2e::site::bucket::Bucket;
use dhis2_e2e::site::data::{self, Data};
use dhis2_e2e::site::door::{Account, Door, Scheme};
use dhis2_e2e::site::instance::Instance;
use dhis2_e2e::site::machine::Machine;
use dhis2_e2e::site::operator::Operator;
use dhis2_e2e::site::own::Own;
use dhis2_e2e::site::typed::{commands, number_after, restic};
use dhis2_e2e::site::{Outcome, Story, checkout, wait};
use dhis2_operator::dhis2::conf;
use kube::api::DeleteParams;
use serde_json::json;

const PAGE: &str = "docs/without-kubernetes.md";
/// What systemd does with it at the start of a machine, the page says.
const UNIT: &str = "/lib/systemd/system/podman-restart.service";
const GONE: Duration = Duration::from_mins(3);
/// A key of `dhis.conf` that DHIS2 does not know, with a value that is written otherwise than it is meant.
const KEPT: (&str, &str) = ("story.path", r"C:\São João ${HEAP} ${");

#[test]
fn handover() {
    crate::tell("handover", |story| async move {
        let Some(own) = story.site.own.clone() else {
            story.tell("left out: the bare machine takes its images from the node of our own cluster");
            return Ok(());
        };
        let mut bucket = Bucket::new(19445)?;
        bucket.serve(&own).await?;
        Operator::install(&story).await?;
        let instance = story.instance("play");
        bucket.secrets(&story).await?;
        let spec = json!({ "config": { (KEPT.0): KEPT.1 }, "backup": { "repository": { "s3": bucket.spec() } } });
        instance.apply(&story.small_manifest("play", &spec)).await?;
        instance.settled().await?;
        let door = Door::new(&story.site, &instance.host);
        door.opens(Scheme::Http, Duration::from_secs(20)).await?;
        let admin = instance.admin().await?;
        let kept = data::put(&door, &admin).await?;
        story.back_up(&instance, "kept").await?;
        another_begins_with_it(&story, &admin, &kept).await?;

        let (address, _) = bucket.address();
        let mut machine = Machine::new(&own, address)?;
        machine.boot()?;
        let page = Page::of(&story, &bucket)?;
        bring_along(&story, &own, &machine, &bucket, &instance).await?;
        instance.api.delete("play", &DeleteParams::default()).await?;
        wait::gone(&instance.api, "play", GONE).await?;
        bucket.end()?;
        bucket.serve_in(machine.first()?).await?;

        let begun = Instant::now();
        let said = machine.types(&[restic()?], &page.back)?;
        story.tell(&format!("served without Kubernetes after {:.1} s", begun.elapsed().as_secs_f32()));
        is_what_was_backed_up(&said);
        is_configured(&machine, &instance).await?;
        serves(&machine, &admin, &kept).await?;
        bucket.end()?;
        survives_a_power_cut(&mut machine)?;
        serves(&machine, &admin, &kept).await?;
        machine.types(&[], &format!("cd /srv/dhis2\n{}", page.afterwards))?;
        let dump = fs::read(machine.disk("srv/dhis2/dhis2.dump"))?;
        assert!(dump.starts_with(b"PGDMP") && dump.len() > 10_000, "{} bytes of a dump", dump.len());
        machine.types(&[], &page.farewell)?;
        leaves_no_trace(&machine)
    });
}

/// The commands of the page: until DHIS2 serves, afterwards, and to remove it all.
/// One for training, by the name of the other one, whose sets are in a bucket.
async fn another_begins_with_it(story: &Story, admin: &Account, kept: &Data) -> Outcome {
    let training = story.instance("training");
    let spec = json!({
        "bootstrap": { "fromBackup": { "instance": "play" } }, "encryption": { "secretName": "play-encryption" },
        "backup": { "suspend": true }, "deletionPolicy": "Delete"
    });
    training.apply(&story.small_manifest("training", &spec)).await?;
    training.settled().await?;
    data::is_there(&Door::new(&story.site, &training.host), admin, kept).await?;
    training.api.delete("training", &DeleteParams::default()).await?;
    Ok(wait::gone(&training.api, "training", GONE).await?)
}

struct Page {
    back: String,
    afterwards: String,
    farewell: String,
}

impl Page {
    fn of(story: &Story, bucket: &Bucket) -> Outcome<Self> {
        let text = fs::read_to_string(checkout(PAGE))?;
        let begins = |title: &str| text.find(title).unwrap_or_else(|| panic!("{PAGE} lacks {title:?}"));
        let (afterwards, farewell) = (begins("\n## 8. What to do then"), begins("\n## Leave no trace"));
        let [back, afterwards, farewell] = [&text[..afterwards], &text[afterwards..farewell], &text[farewell..]].map(commands);
        assert!(!afterwards.is_empty() && !farewell.is_empty(), "{PAGE} prints no commands any more");
        let images = &story.site.images;
        let differs = BTreeMap::from([
            ("RESTIC_REPOSITORY", bucket.url(&format!("{}/play", story.namespace))),
            ("DHIS2_IMAGE", images.dhis2.clone()),
            ("POSTGRES_IMAGE", images.postgres.clone()),
            ("HEAP", "1g".to_owned()),
            ("SHARED_BUFFERS", "128MB".to_owned()),
        ]);
        Ok(Self { back: filled_in(&back, &differs), afterwards, farewell })
    }
}

/// The commands with values of one's own for those at the top, as whoever follows the page writes them.
fn filled_in(commands: &str, differs: &BTreeMap<&str, String>) -> String {
    let mut known = 0;
    let lines = commands.lines().map(|line| match line.split_once('=').and_then(|(name, _)| differs.get_key_value(name)) {
        Some((name, value)) => {
            known += 1;
            format!("{name}='{value}'")
        }
        None => line.to_owned(),
    });
    let filled = lines.collect::<Vec<_>>().join("\n");
    assert_eq!(known, differs.len(), "{PAGE} sets other names than {:?}", differs.keys());
    filled
}

/// What is in the safe, and the images, which somebody pulled.
async fn bring_along(story: &Story, own: &Own, machine: &Machine, bucket: &Bucket, instance: &Instance) -> Outcome {
    let folder = machine.disk("srv/dhis2");
    fs::create_dir_all(&folder)?;
    let key =
        instance.secret("backup").await?.data.and_then(|mut data| data.remove("password")).ok_or("Secret play-backup lacks password")?;
    fs::write(folder.join("key"), key.0)?;
    fs::write(folder.join("ca.crt"), bucket.authority())?;
    for (name, content) in bucket.access() {
        fs::write(folder.join(name), content)?;
    }
    let dhis2 = format!("{}:{}", story.site.images.dhis2, story.site.version());
    for image in [&dhis2, &story.site.images.postgres] {
        let archive = machine.disk("tmp/image.tar");
        own.save(image, &archive)?;
        machine.load(&archive)?;
        fs::remove_file(&archive)?;
    }
    Ok(())
}

/// By what the commands tell themselves.
fn is_what_was_backed_up(said: &str) {
    assert!(said.contains("\nset kept of DHIS2 2."), "another set: {said}");
    // Two comparisons and the heading of none.
    assert_eq!(said.matches("(0 rows)").count(), 2, "what is restored is not what was backed up: {said}");
    assert!(number_after(said, "tables compared").is_some_and(|tables| tables > 10), "hardly any table was compared: {said}");
    let (in_set, restored) = (number_after(said, "files in the set:"), number_after(said, "files restored:"));
    assert!(in_set == restored && in_set.is_some_and(|files| files > 0), "files in the set and restored: {in_set:?}, {restored:?}: {said}");
    assert!(said.contains("login page: 200"), "{said}");
}

/// With the key of the set, and with what the resource said, as the operator writes it.
async fn is_configured(machine: &Machine, instance: &Instance) -> Outcome {
    let written = fs::read_to_string(machine.disk("srv/dhis2/home/dhis.conf"))?;
    let key = instance.secret("encryption").await?.data.and_then(|mut data| data.remove("password")).ok_or("there is no encryption key")?;
    let entries = [("encryption.password", String::from_utf8(key.0)?), (KEPT.0, KEPT.1.to_owned())];
    let wanted = conf::write(&entries.map(|(name, value)| (name.to_owned(), conf::Value::Text(value))).into());
    for line in wanted.lines() {
        let key = line.split(" = ").next();
        assert!(written.lines().any(|written| written == line), "dhis.conf has no {key:?}, or another value");
    }
    Ok(())
}

/// The login and the data of before, and no other login.
async fn serves(machine: &Machine, admin: &Account, kept: &Data) -> Outcome {
    let door = Door::at(SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)));
    let asked = async || {
        let ask = || data::check(&door, admin, kept).map_err(io::Error::other);
        machine.in_network(ask).map_err(|error| error.to_string())
    };
    wait::ask("the data, without Kubernetes", Duration::from_mins(5), asked).await?;
    let default = machine.in_network(|| door.get(Scheme::Http, "/api/me", Some(&Account::default_one())).map_err(io::Error::other))?;
    assert_eq!(default.status, 401, "the default login is let in: {default:?}");
    Ok(())
}

/// The machine loses its power while people work, and starts again, as systemd starts it.
fn survives_a_power_cut(machine: &mut Machine) -> Outcome {
    let unit = fs::read_to_string(UNIT)?;
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).ok_or_else(|| format!("{UNIT} starts nothing"))?;
    machine.power_off()?;
    machine.boot()?;
    let left = machine.types(&[], "podman ps --quiet")?;
    assert_eq!(left, "", "containers run by themselves");
    machine.types(&[], &format!("LOGGING=--log-level=info\n{start}"))?;
    Ok(())
}

fn leaves_no_trace(machine: &Machine) -> Outcome {
    let left = machine.types(&[], "podman ps --all --quiet; podman pod ps --quiet; podman volume ls --quiet; ls /srv")?;
    assert_eq!(left, "", "something is left");
    Ok(())
}
