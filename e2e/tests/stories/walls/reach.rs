//! Who reaches whom, tried from the pods themselves. Each try that must fail has one beside it that must not.

use std::collections::BTreeSet;

use dhis2_e2e::cluster::run;
use dhis2_e2e::site::{Outcome, Story, wait};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::Api;

use super::LIMIT;

/// Answers everybody, on port 8080.
const LISTEN: &str = "initdb -D /tmp/db -A trust >/dev/null && echo 'host all all all trust' >> /tmp/db/pg_hba.conf && \
                      exec postgres -D /tmp/db -k /tmp -p 8080 -c listen_addresses='*'";

/// Where the metadata of clouds is, as far as a test can know: an address that the node itself answers at.
const METADATA: &str = "169.254.169.254";

/// The pods that try.
pub struct Pods<'a> {
    story: &'a Story,
    elsewhere: String,
    stranger: String,
}

impl<'a> Pods<'a> {
    /// A stranger that listens, in a namespace of its own.
    pub async fn begin(story: &'a Story) -> Outcome<Self> {
        let elsewhere = format!("{}-elsewhere", story.namespace);
        story.make_namespace(&elsewhere).await?;
        let programs = "PATH=$(echo /usr/lib/postgresql/*/bin):$PATH";
        let pod = story.shell(&elsewhere, "stranger", &["sh", "-c", &format!("{programs}; {LISTEN}")], &[]).await?;
        let stranger = pod.status.and_then(|status| status.pod_ip).unwrap_or_default();
        let pods = Self { story, elsewhere, stranger };
        let answers = async || if pods.stranger_reaches(&pods.stranger, 8080) { Ok(()) } else { Err("no") };
        wait::ask("the stranger to listen", LIMIT, answers).await?;
        Ok(pods)
    }

    /// From another namespace neither the database nor DHIS2 answers, by whichever name or address.
    pub async fn nobody_comes_in(&self) -> Outcome {
        let pods: Api<Pod> = Api::namespaced(self.story.client.clone(), &self.story.namespace);
        let services: Api<Service> = Api::namespaced(self.story.client.clone(), &self.story.namespace);
        let mut doors = BTreeSet::new();
        for (pod, ports) in [("play-database-0", [5432, 8081]), ("play-0", [8080, 8081])] {
            let address = pods.get(pod).await?.status.and_then(|status| status.pod_ip).unwrap_or_default();
            doors.extend(ports.map(|port| (address.clone(), port)));
        }
        for service in services.list(&kube::api::ListParams::default()).await? {
            let spec = service.spec.unwrap_or_default();
            let host = format!("{}.{}.svc", service.metadata.name.unwrap_or_default(), self.story.namespace);
            doors.extend(spec.ports.iter().flatten().map(|port| (host.clone(), port.port)));
        }
        assert!(doors.len() >= 7, "{doors:?}");
        for (host, port) in &doors {
            assert!(!self.stranger_reaches(host, *port), "a pod of another namespace reaches {host}:{port}");
        }
        self.story.tell(&format!("none of {} doors is open to a pod of another namespace", doors.len()));
        Ok(())
    }

    /// From the database's and DHIS2's pod: the other half of the instance, and nothing else inside the cluster.
    pub fn nobody_goes_out(&self) -> Outcome {
        let own = self.story.site.own.as_ref().ok_or("only on our own cluster")?;
        let _metadata = own.answer_at(METADATA.parse()?, 80)?;
        assert!(self.stranger_reaches(METADATA, 80), "nobody answers at {METADATA}");
        self.debug("play-0")?;
        let api = "kubernetes.default.svc";
        let inside = [(self.stranger.as_str(), 8080), (METADATA, 80), (api, 443)];
        for (pod, container) in [("play-database-0", "database"), ("play-0", "debug")] {
            for (host, port) in inside {
                assert!(!self.reaches(&self.story.namespace, pod, container, host, port), "{pod} reaches {host}:{port}");
            }
        }
        assert!(self.reaches(&self.story.namespace, "play-0", "debug", "play-database", 5432), "DHIS2's pod reaches nothing at all");
        assert!(!self.reaches(&self.story.namespace, "play-database-0", "database", "play", 8080), "the database reaches DHIS2");
        Ok(())
    }

    fn stranger_reaches(&self, host: &str, port: i32) -> bool {
        self.reaches(&self.elsewhere, "stranger", "shell", host, port)
    }

    fn reaches(&self, namespace: &str, pod: &str, container: &str, host: &str, port: i32) -> bool {
        let knock = format!("timeout 2 bash -c 'exec 3<>/dev/tcp/{host}/{port}'");
        let mut kubectl = self.story.site.kubectl();
        kubectl.args(["--namespace", namespace, "exec", pod, "--container", container, "--", "bash", "-c", &knock]);
        run::output(&mut kubectl).is_ok()
    }

    /// A shell in the pod's network, as an administrator opens one.
    fn debug(&self, pod: &str) -> Outcome {
        let mut kubectl = self.story.site.kubectl();
        kubectl.args(["--namespace", &self.story.namespace, "debug", pod, "--profile=restricted", "--container=debug"]);
        run::output(kubectl.args(["--image", &self.story.site.images.postgres, "--", "sleep", "300"]))?;
        let mut wait = self.story.site.kubectl();
        let runs = "--for=jsonpath={.status.ephemeralContainerStatuses[0].state.running}";
        run::output(wait.args(["--namespace", &self.story.namespace, "wait", runs, "--timeout=60s", "pod", pod]))?;
        Ok(())
    }
}
