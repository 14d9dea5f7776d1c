//! Doors: from the first second on, everybody tries admin/district, from inside and outside; nobody is ever let in.
//! Afterwards the password that was generated works, and one that a person sets is that person's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use dhis2_e2e::site::door::{Account, Door, Scheme};
use dhis2_e2e::site::instance::Instance;
use dhis2_e2e::site::operator::Operator;
use dhis2_e2e::site::{Outcome, Story, wait};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{DeleteParams, ListParams, LogParams, PostParams};
use kube::{Api, ResourceExt};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde_json::json;

/// How often somebody outside tries.
const EVERY: Duration = Duration::from_millis(50);
/// How long the ingress controller may take to notice an Ingress.
const NOTICED: Duration = Duration::from_secs(20);
/// A password that a person might choose.
const PERSONAL: &str = "Zz3-Kigali-2026";

#[test]
fn doors() {
    crate::tell("doors", |story| async move {
        let operator = Operator::install(&story).await?;
        let instance = story.instance("play");
        let certificate = certificate(&story, &instance).await?;
        let outside: Vec<Knocker> = [Scheme::Http, Scheme::Https]
            .into_iter()
            .map(|scheme| Knocker::begin(&story, &instance, scheme))
            .collect();
        let inside = Inside::begin(&story, &instance).await?;
        let spec = json!({ "web": { "tls": { "secretName": "play-certificate" } } });
        instance.apply(&story.manifest("play", &spec)).await?;
        instance.settled().await?;
        let door = Door::trusting(&story.site, &instance.host, &certificate)?;
        door.opens(Scheme::Https, NOTICED).await?;
        only_the_generated_password_works(&door, &instance).await?;
        for knocker in outside {
            knocker.end(&story)?;
        }
        inside.end(&story).await?;
        a_personal_password_stays(&story, &operator, &instance, &door).await
    });
}

/// A certificate for the host, in a Secret of the namespace.
async fn certificate(story: &Story, instance: &Instance) -> Outcome<String> {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed([instance.host.clone()])?;
    let secret: Secret = serde_json::from_value(json!({
        "metadata": { "name": "play-certificate", "namespace": story.namespace },
        "type": "kubernetes.io/tls",
        "stringData": { "tls.crt": cert.pem(), "tls.key": signing_key.serialize_pem() },
    }))?;
    Api::<Secret>::namespaced(story.client.clone(), &story.namespace)
        .create(&PostParams::default(), &secret)
        .await?;
    Ok(cert.pem())
}

/// Somebody outside who tries the default password through the host, again and again.
struct Knocker {
    scheme: Scheme,
    stop: Arc<AtomicBool>,
    work: JoinHandle<Knocks>,
}

#[derive(Default)]
struct Knocks {
    tries: usize,
    refused: usize,
    let_in: Vec<String>,
}

impl Knocker {
    fn begin(story: &Story, instance: &Instance, scheme: Scheme) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (door, until) = (Door::new(&story.site, &instance.host), Arc::clone(&stop));
        let work = thread::spawn(move || {
            let mut knocks = Knocks::default();
            while !until.load(Ordering::Relaxed) {
                knocks.try_once(&door, scheme);
                thread::sleep(EVERY);
            }
            knocks
        });
        Self { scheme, stop, work }
    }

    fn end(self, story: &Story) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        let knocks = self
            .work
            .join()
            .map_err(|_| "the one who knocks panicked")?;
        story.tell(&format!(
            "{} tries of admin/district over {:?}: {} refused by DHIS2, {} let in",
            knocks.tries,
            self.scheme,
            knocks.refused,
            knocks.let_in.len()
        ));
        assert!(
            knocks.let_in.is_empty(),
            "the default password was accepted through the host: {:?}",
            knocks.let_in.first()
        );
        assert!(
            knocks.refused > 0,
            "DHIS2 was never reached by the one who tried"
        );
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

/// Somebody in another pod of the cluster who tries the Services of the instance, and the host from inside.
struct Inside {
    pods: Api<Pod>,
}

/// Every answer is a line: whom it came from, and its status. `exec` alone would wait two minutes for what never answers.
const TRY: &str = r#"
knock() { # whom, address, port, host
  while true; do
    status=$(timeout 2 bash -c '
      exec 3<>/dev/tcp/$0/$1 || exit
      printf "GET /api/me HTTP/1.1\r\nHost: $2\r\nAuthorization: Basic YWRtaW46ZGlzdHJpY3Q=\r\nConnection: close\r\n\r\n" >&3
      read -r version status rest <&3 && echo $status' "$2" "$3" "$4" 2>/dev/null)
    echo "$1 ${status:-none}"
    sleep 0.2
  done
}
for target in $TARGETS; do
  IFS=, read -r whom address port host <<< "$target"
  knock "$whom" "$address" "$port" "$host" &
done
wait
"#;

impl Inside {
    async fn begin(story: &Story, instance: &Instance) -> Outcome<Self> {
        let namespace = format!("{}-others", story.namespace);
        story.make_namespace(&namespace).await?;
        let Instance { name, host, .. } = instance;
        let service = |part: &str| format!("{name}{part}.{}.svc", story.namespace);
        let mut targets = vec![
            format!("service,{},8080,{host}", service("")),
            format!("pod,{},8080,{host}", service("-pods")),
        ];
        if story.site.own.is_some() {
            targets.push(format!("host,$(NODE),80,{host}"));
        }
        let pod: Pod = serde_json::from_value(json!({
            "metadata": { "name": "others", "namespace": namespace },
            "spec": {
                "automountServiceAccountToken": false,
                "terminationGracePeriodSeconds": 1,
                "securityContext": { "runAsNonRoot": true, "runAsUser": 65534, "seccompProfile": { "type": "RuntimeDefault" } },
                "containers": [{
                    "name": "knock",
                    "image": story.site.images.postgres,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["bash", "-c", TRY],
                    "env": [
                        { "name": "NODE", "valueFrom": { "fieldRef": { "fieldPath": "status.hostIP" } } },
                        { "name": "TARGETS", "value": targets.join(" ") },
                    ],
                    "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
                }],
            },
        }))?;
        let pods: Api<Pod> = Api::namespaced(story.client.clone(), &namespace);
        pods.create(&PostParams::default(), &pod).await?;
        let runs = |pod: &Pod| {
            pod.status
                .as_ref()
                .is_some_and(|status| status.phase.as_deref() == Some("Running"))
        };
        wait::until(
            &pods,
            "others",
            "the pod that knocks",
            Duration::from_mins(2),
            runs,
        )
        .await?;
        Ok(Self { pods })
    }

    async fn end(self, story: &Story) -> Outcome {
        let log = self.pods.logs("others", &LogParams::default()).await?;
        let count = |whom: &str, status: &str| {
            log.lines()
                .filter(|line| *line == format!("{whom} {status}"))
                .count()
        };
        let tries = |whom: &str| {
            log.lines()
                .filter(|line| line.starts_with(&format!("{whom} ")))
                .count()
        };
        let answered = |whom: &str| tries(whom) - count(whom, "none");
        for whom in ["service", "pod"] {
            assert!(tries(whom) > 3, "nobody tried the {whom}: {log}");
        }
        let accepted: Vec<&str> = log
            .lines()
            .filter(|line| line.starts_with("host ") && line.ends_with(" 200"))
            .collect();
        assert!(
            accepted.is_empty(),
            "the default password was accepted through the host, from inside"
        );
        story.tell(&format!(
            "from another pod: {} tries at the Service, {} at the pod, {} answered",
            tries("service"),
            tries("pod"),
            answered("service") + answered("pod")
        ));
        if story.site.own.is_none() {
            story.tell("left out: that no other pod reaches DHIS2 needs a cluster that enforces NetworkPolicy");
            return Ok(());
        }
        assert!(
            count("host", "401") > 0,
            "the host was never reached from inside: {:?}",
            log.lines().last()
        );
        let reached: Vec<&str> = log
            .lines()
            .filter(|line| !line.starts_with("host ") && !line.ends_with(" none"))
            .collect();
        assert!(
            reached.is_empty(),
            "another pod reached DHIS2: {:?}",
            reached.first()
        );
        Ok(())
    }
}

async fn only_the_generated_password_works(door: &Door, instance: &Instance) -> Outcome {
    let admin = instance.admin().await?;
    assert_ne!(admin, Account::default_one());
    for scheme in [Scheme::Http, Scheme::Https] {
        assert_eq!(
            door.lets_in(scheme, &admin).await,
            Ok(true),
            "the generated password over {scheme:?}"
        );
        assert_eq!(
            door.lets_in(scheme, &Account::default_one()).await,
            Ok(false),
            "admin/district over {scheme:?}"
        );
    }
    Ok(())
}

/// A person changes the password; then everything restarts.
async fn a_personal_password_stays(
    story: &Story,
    operator: &Operator,
    instance: &Instance,
    door: &Door,
) -> Outcome {
    let generated = instance.admin().await?;
    let personal = Account::new(&generated.username, PERSONAL);
    let before = instance.secret("admin").await?.metadata;
    let change = json!({ "oldPassword": generated.password, "newPassword": PERSONAL });
    let changed = door.send(
        "PUT",
        Scheme::Https,
        "/api/me/changePassword",
        Some(&generated),
        Some(&change),
    )?;
    assert!(
        (200..300).contains(&changed.status),
        "change the password: {changed:?}"
    );
    assert_eq!(
        door.lets_in(Scheme::Https, &personal).await,
        Ok(true),
        "the personal password"
    );
    let pods: Api<Pod> = Api::namespaced(story.client.clone(), &story.namespace);
    let servers = pods
        .list(&ListParams::default())
        .await?
        .items
        .into_iter()
        .filter(|pod| {
            pod.owner_references()
                .iter()
                .any(|owner| owner.kind == "StatefulSet")
        });
    let servers: Vec<Pod> = servers.collect();
    assert_eq!(servers.len(), 2, "database and DHIS2");
    for pod in &servers {
        pods.delete(&pod.name_any(), &DeleteParams::default())
            .await?;
    }
    operator.restart().await?;
    for pod in &servers {
        let fresh = |seen: &Pod| seen.metadata.uid != pod.metadata.uid && is_ready(seen);
        wait::until(
            &pods,
            &pod.name_any(),
            "the pod to be ready again",
            story.site.patience(),
            fresh,
        )
        .await?;
    }
    instance.settled().await?;
    let ask = async || {
        door.lets_in(Scheme::Https, &personal)
            .await
            .and_then(|let_in| {
                if let_in {
                    Ok(())
                } else {
                    Err("401".to_owned())
                }
            })
    };
    wait::ask("the personal password to work again", NOTICED, ask).await?;
    for (whose, account) in [
        ("generated", &generated),
        ("default", &Account::default_one()),
    ] {
        assert_eq!(
            door.lets_in(Scheme::Https, account).await,
            Ok(false),
            "the {whose} password"
        );
    }
    let after = instance.secret("admin").await?.metadata;
    assert_eq!(
        (after.uid, after.resource_version),
        (before.uid, before.resource_version),
        "the Secret of the administrator was touched"
    );
    Ok(())
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    conditions
        .into_iter()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
