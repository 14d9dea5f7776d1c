//! Somebody in another pod of the cluster.

use std::time::Duration;

use dhis2_e2e::site::instance::Instance;
use dhis2_e2e::site::{Outcome, Story, wait};
use futures::{AsyncBufReadExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{LogParams, PostParams};
use serde_json::{Value, json};

const POD: &str = "others";
const LIMIT: Duration = Duration::from_mins(2);

/// Somebody in another pod of the cluster who tries the Services of the instance, and the host from inside.
pub struct Inside {
    pods: Api<Pod>,
    namespace: String,
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
    /// Begins to try, from a namespace of its own.
    pub async fn begin(story: &Story, instance: &Instance, who: &str) -> Outcome<Self> {
        let namespace = format!("{}-{who}", story.namespace);
        story.make_namespace(&namespace).await?;
        let Instance { name, host, .. } = instance;
        let service = |part: &str| format!("{name}{part}.{}.svc", story.namespace);
        let mut targets = vec![format!("service,{},8080,{host}", service("")), format!("pod,{},8080,{host}", service("-pods"))];
        if story.site.own.is_some() {
            targets.push(format!("host,$(NODE),80,{host}"));
        }
        let pod: Pod = serde_json::from_value(json!({
            "metadata": { "name": POD, "namespace": namespace },
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
        let runs = |pod: &Pod| pod.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Running"));
        wait::until(&pods, POD, "the pod that knocks", LIMIT, runs).await?;
        Ok(Self { pods, namespace })
    }

    /// Says how it went until now: nobody was let in, and nobody even answered but the ingress controller.
    pub async fn verdict(&self, story: &Story) -> Outcome {
        if story.site.own.is_some() {
            self.until_it_says("host 401").await?;
        }
        let log = self.pods.logs(POD, &LogParams::default()).await?;
        let answers = |whom: &str| -> Vec<String> {
            let lines = log.lines().filter_map(|line| line.split_once(' '));
            lines.filter(|(from, _)| *from == whom).map(|(_, status)| status.to_owned()).collect()
        };
        let (service, pod, host) = (answers("service"), answers("pod"), answers("host"));
        assert!(service.len() > 3 && pod.len() > 3, "nobody tried: {log}");
        assert!(!host.iter().any(|status| status == "200"), "the default password was accepted through the host, from inside");
        let reached = service.iter().chain(&pod).filter(|status| *status != "none");
        let reached: Vec<&String> = reached.collect();
        story.tell(&format!(
            "from another pod: {} tries at the Service, {} at the pod, {} answered",
            service.len(),
            pod.len(),
            reached.len()
        ));
        if story.site.own.is_none() {
            story.tell("left out: that no other pod reaches DHIS2 needs a cluster that enforces NetworkPolicy");
            return Ok(());
        }
        assert!(reached.is_empty(), "another pod reached DHIS2: {reached:?}");
        Ok(())
    }

    /// What lets it connect, in a resource.
    pub fn allowed(&self) -> Value {
        let namespace = json!({ "matchLabels": { "kubernetes.io/metadata.name": self.namespace } });
        json!({ "allowFrom": [{ "namespaceSelector": namespace }] })
    }

    /// Allowed to connect by the resource from its first second on, it is answered in the end, as the others could have
    /// been; and it was not let in before.
    pub async fn is_answered_but_not_let_in(&self, story: &Story) -> Outcome {
        self.until_it_says("service 401").await?;
        let log = self.pods.logs(POD, &LogParams::default()).await?;
        let mut answers: Vec<&str> = log.lines().filter(|line| !line.ends_with(" none")).collect();
        answers.dedup();
        story.tell(&format!("from a pod that may connect: {} tries, answered {answers:?}", log.lines().count()));
        assert!(!answers.iter().any(|answer| answer.ends_with(" 200")), "the default password was accepted from a pod that may connect");
        Ok(())
    }

    /// Follows its log until it says this.
    async fn until_it_says(&self, what: &str) -> Outcome {
        let follow = LogParams { follow: true, ..LogParams::default() };
        let mut lines = self.pods.log_stream(POD, &follow).await?.lines();
        let said = async {
            while let Some(line) = lines.try_next().await? {
                if line == what {
                    return Ok(());
                }
            }
            Err("the pod that tries ended".into())
        };
        tokio::time::timeout(LIMIT, said).await.unwrap_or_else(|_| Err(format!("the pod that tries never says {what:?}").into()))
    }
}
