//! What backups and restores cost, beside the same by hand: `make figures`, in the docs under `docs/reliability.md`. Ratios of one run; nothing here is
//! a test that can fail by its figures, since a machine that is shared tells them differently each time.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::pod::sets::{SCHEMA, arguments, backed_up, manifest, output, ready};
use crate::pod::{Pod, Running};
use dhis2_operator::layout;
use dhis2_operator::report::{Data, Report};

/// MiB of rows, unless `FIGURES_MIB` says otherwise.
const ROWS_MIB: u64 = 2048;
/// Files of a MiB each.
const FILES: u64 = 64;
/// How often each is done.
const ROUNDS: usize = 3;
/// Rows of a MiB, with their row headers: some 130 bytes each, as values of data elements are.
const ROWS_OF_A_MIB: u64 = 8000;

const TABLE: &str =
    "CREATE TABLE datavalues (dataelementid bigint, periodid bigint, sourceid bigint, value text, storedby text, created timestamp)";

/// What is by hand, and what is the agent's, in turn.
struct Times {
    by_hand: Vec<Duration>,
    agent: Vec<Duration>,
}

impl Times {
    fn told(&mut self, what: &str, bytes: u64) {
        let middle = |times: &mut Vec<Duration>| {
            times.sort();
            times[times.len() / 2]
        };
        let (hand, agent) = (middle(&mut self.by_hand).as_secs_f64(), middle(&mut self.agent).as_secs_f64());
        let least = self.by_hand[0].as_secs_f64() / self.agent.last().unwrap().as_secs_f64();
        let most = self.by_hand.last().unwrap().as_secs_f64() / self.agent[0].as_secs_f64();
        #[allow(clippy::cast_precision_loss)] // for people
        let rate = bytes as f64 / agent / f64::from(1 << 20);
        println!("{what}: by hand {hand:.1} s, agent {agent:.1} s, ratio {:.2} ({least:.2} to {most:.2}), {rate:.0} MiB/s", hand / agent);
    }
}

fn mib() -> u64 {
    std::env::var("FIGURES_MIB").ok().map_or(ROWS_MIB, |text| text.parse().expect("FIGURES_MIB is a number"))
}

/// An instance with so much data, of which little repeats itself.
fn filled() -> Pod {
    let pod = ready();
    let serving = pod.serve();
    let mut owner = pod.owner();
    owner.batch_execute(SCHEMA).unwrap();
    owner.batch_execute(TABLE).unwrap();
    let rows = mib() * ROWS_OF_A_MIB;
    let statement = format!(
        "INSERT INTO datavalues SELECT i % 900, i % 130, i, md5(i::text) || i, 'user-' || i % 500, timestamp '2020-01-01' + i * interval '1 second'
         FROM generate_series(1, {rows}) i"
    );
    owner.batch_execute(&statement).unwrap();
    for number in 0..FILES {
        // Not to be compressed, as images and PDF.
        let mut seed = number + 1;
        let bytes: Vec<u8> = std::iter::repeat_with(|| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed.to_le_bytes()
        })
        .take(1 << 17)
        .flatten()
        .collect();
        fs::write(pod.path(&format!("/opt/dhis2/files/dataValue-{number}")), bytes).unwrap();
    }
    drop(serving);
    pod
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let begun = Instant::now();
    let done = work();
    (done, begun.elapsed())
}

/// restic as whoever does without the agent runs it.
fn restic(pod: &Pod) -> Command {
    let mut command = pod.program(&pod.path(layout::RESTIC));
    command.arg("-r").arg(pod.path("/backups/by-hand")).arg("-p").arg(pod.path(layout::BACKUP_PASSWORD)).arg("--quiet");
    command
}

fn backed_up_by_hand(pod: &Pod) {
    output(restic(pod).arg("init"));
    let mut dump = restic(pod);
    dump.env("PGPASSWORD", crate::pod::BACKUP_PASSWORD).args(["backup", "--stdin-filename", "dhis2.dump", "--stdin-from-command", "--"]);
    dump.arg(crate::pod::postgresql("pg_dump")).args(["--format=custom", "--compress=0", "--no-comments", "--host", &pod.address]);
    output(dump.args(["--username", layout::BACKUP_ROLE, layout::DATABASE]));
    output(restic(pod).arg("backup").arg(pod.path(layout::FILES)));
}

fn restored_by_hand(from: &Pod, to: &Pod) {
    to.superuser().batch_execute("CREATE DATABASE by_hand OWNER dhis").unwrap();
    let mut dump = restic(from).args(["dump", "--path", "/dhis2.dump", "latest", "/dhis2.dump"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut pg_restore = Command::new(crate::pod::postgresql("pg_restore"));
    pg_restore.args(["--exit-on-error", "--no-privileges", "--dbname", "by_hand", "--username", layout::SUPERUSER, "--host"]);
    pg_restore.arg(to.path(layout::SOCKETS)).stdin(dump.stdout.take().unwrap());
    output(&mut pg_restore);
    assert!(dump.wait().unwrap().success());
    let place = from.path(layout::FILES);
    output(restic(from).args(["restore", "--path"]).arg(&place).arg("--target").arg(to.path("/tmp/restored")).arg("latest"));
}

fn restored(pod: &Pod) -> Report {
    let major = crate::pod::major().to_string();
    let ended = pod.agent(&["restore", "--instance", "uid-1", "--name", "demo/play", "--postgresql", &major, "--version", "2.42.4.1"]);
    ended.done()
}

/// A new pod whose repository is the other's.
fn target(source: &Pod) -> Pod {
    let pod = Pod::new();
    pod.install(&crate::pod::restic(), layout::RESTIC);
    let copied = Command::new("cp").arg("-a").arg(source.path(layout::REPOSITORY)).arg(pod.path(layout::REPOSITORY)).status();
    assert!(copied.unwrap().success());
    pod
}

fn agent_backs_up(pod: &Pod, set: &str) -> (Report, u64) {
    let running: Running<'_> = pod.start(&arguments(pod, set, "9"));
    let (ended, most) = running.watched();
    (ended.done(), most)
}

#[test]
#[ignore = "takes long, and tells figures only: make figures"]
fn what_backups_and_restores_cost() {
    let pod = filled();
    let serving = pod.serve();
    let (mut times, mut most, mut made) = (Times { by_hand: Vec::new(), agent: Vec::new() }, 0, None);
    for round in 0..ROUNDS {
        for place in ["/backups/by-hand", layout::REPOSITORY] {
            let _ = fs::remove_dir_all(pod.path(place));
        }
        if round % 2 == 0 {
            times.by_hand.push(timed(|| backed_up_by_hand(&pod)).1);
        }
        let ((report, memory), time) = timed(|| agent_backs_up(&pod, "set-1"));
        times.agent.push(time);
        most = most.max(memory);
        made = Some(backed_up(report));
        if round % 2 == 1 {
            times.by_hand.push(timed(|| backed_up_by_hand(&pod)).1);
        }
    }
    let made = made.unwrap();
    let bytes = manifest(&pod, "set-1")["dump"]["bytes"].as_u64().unwrap() + made.file_bytes;
    println!("database {} MiB, dump and files {} MiB", made.database_bytes.unwrap_or_default() >> 20, bytes >> 20);
    times.told("backup", bytes);
    println!("the agent itself took {} MiB at most", most >> 10);
    let (again, time) = timed(|| backed_up(agent_backs_up(&pod, "set-2").0));
    println!("backup of unchanged data: {} KiB added, {:.1} s", again.bytes_added >> 10, time.as_secs_f64());
    drop(serving);

    let (report, time) = timed(|| pod.agent(&["verify", "--instance", "uid-1", "--name", "demo/play"]).done());
    let Some(Data::Verify(proof)) = report.data else { panic!("no proof") };
    println!("proof: {:.1} s, {} MiB restored", time.as_secs_f64(), proof.bytes >> 20);

    let mut times = Times { by_hand: Vec::new(), agent: Vec::new() };
    for _ in 0..ROUNDS {
        let other = ready();
        let serving = other.serve();
        times.by_hand.push(timed(|| restored_by_hand(&pod, &other)).1);
        drop(serving);
        drop(other);
        let other = target(&pod);
        times.agent.push(timed(|| restored(&other)).1);
    }
    times.told("restore", bytes);
}
