//! What the chart lets the operator do, and how its pod is confined.
use std::{collections::BTreeSet, fs};

use serde_json::{Value, json};

use crate::helm::{chart, everything, objects, of, rendered, root};

/// Every rule of every role, as (apiGroup, resource, verb).
fn grants(objects: &[Value]) -> BTreeSet<(String, String, String)> {
    let holders = objects.iter().filter(|object| object["kind"] == "ClusterRole" || object["kind"] == "Role");
    let rules = holders.flat_map(|role| role["rules"].as_array().expect("rules"));
    rules
        .flat_map(|rule| {
            let names = |key: &str| -> Vec<String> { serde_json::from_value(rule[key].clone()).expect("names") };
            let (groups, resources, verbs) = (names("apiGroups"), names("resources"), names("verbs"));
            let pairs =
                groups.into_iter().flat_map(move |group| resources.clone().into_iter().map(move |resource| (group.clone(), resource)));
            pairs.flat_map(move |(group, resource)| verbs.clone().into_iter().map(move |verb| (group.clone(), resource.clone(), verb)))
        })
        .collect()
}

fn verbs<'a>(grants: &'a BTreeSet<(String, String, String)>, resource: &str) -> BTreeSet<&'a str> {
    grants.iter().filter(|grant| grant.1 == resource).map(|grant| grant.2.as_str()).collect()
}

#[test]
fn no_rule_goes_further_than_promised() {
    let grants = grants(&objects(&rendered(&["--set", "userRoles=false"])));
    for (group, resource, verb) in &grants {
        assert!([group, resource, verb].iter().all(|part| *part != "*"), "a wildcard: {group} {resource} {verb}");
        assert!(!resource.starts_with("pods/"), "{resource}");
        assert_ne!(group, "apiextensions.k8s.io");
        assert!(group != "rbac.authorization.k8s.io", "it could give itself more");
    }
    assert_eq!(verbs(&grants, "secrets"), ["create", "get", "patch"].into());
    let deletable: BTreeSet<&str> = grants.iter().filter(|grant| grant.2 == "delete").map(|grant| grant.1.as_str()).collect();
    // Objects of sets go when their set is gone. A restore leaves volumes behind; which of them go is held by `what_is_served_or_says_nothing_of_itself_is_never_deleted`.
    assert_eq!(
        deletable,
        ["cronjobs", "dhis2backups", "jobs", "networkpolicies", "persistentvolumeclaims", "pods"].into(),
        "nothing else that holds data or serves users"
    );
}

#[test]
fn every_rule_names_a_module_that_exists() {
    let templates = chart("dhis2-operator").join("templates");
    for name in ["_rules.tpl", "rbac.yaml"] {
        let text = fs::read_to_string(templates.join(name)).expect("the template");
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for (index, _) in lines.iter().enumerate().filter(|(_, line)| line.starts_with("- apiGroups:")) {
            let above: Vec<&str> = lines[..index].iter().rev().take_while(|line| line.starts_with('#')).copied().collect();
            let words = above.iter().flat_map(|line| line.split([' ', ',', ':', ';']));
            let modules: Vec<&str> = words.filter(|word| word.starts_with("operator/")).collect();
            assert!(!modules.is_empty(), "{name}, line {}: which module needs the rule?", index + 1);
            for module in modules {
                assert!(root().join("src").join(module).with_extension("rs").is_file(), "{name}: no module {module}");
            }
        }
    }
}

#[test]
fn for_listed_namespaces_there_is_no_cluster_role() {
    let everywhere = objects(&rendered(&["--set", "userRoles=false"]));
    let listed = objects(&rendered(&["--set", "userRoles=false", "--set", "watchNamespaces={north,south}"]));
    assert!(of("ClusterRole", &listed).is_empty() && of("ClusterRoleBinding", &listed).is_empty());
    let namespaces: Vec<&Value> = of("Role", &listed).iter().map(|role| &role["metadata"]["namespace"]).collect();
    assert_eq!(namespaces, ["north", "south", "dhis2-operator"]);
    assert_eq!(of("RoleBinding", &listed).len(), 3);
    assert_eq!(grants(&listed), grants(&everywhere), "the same rules, in fewer places");
}

#[test]
fn for_its_own_namespace_everything_lies_in_it() {
    let own = ["--set", "watchNamespaces={dhis2-operator}", "--set", "crds.install=false", "--set", "userRoles=false"];
    for object in objects(&rendered(&own)) {
        assert_eq!(object["metadata"]["namespace"], "dhis2-operator", "{} {}", object["kind"], object["metadata"]["name"]);
    }
}

#[test]
fn people_see_and_change_instances_by_the_roles_they_have() {
    let objects = objects(&rendered(&[]));
    let role = |name: &str| of("ClusterRole", &objects).into_iter().find(|role| role["metadata"]["name"] == name).expect(name).clone();
    assert_eq!(role("dhis2-operator-view")["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-view"], "true");
    assert_eq!(role("dhis2-operator-edit")["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-edit"], "true");
    assert_eq!(verbs(&grants(&[role("dhis2-operator-view")]), "dhis2instances"), ["get", "list", "watch"].into());
}

#[test]
fn the_pods_are_admitted_as_restricted_and_more() {
    for arguments in [vec![], vec![everything()]] {
        let objects = objects(&rendered(&arguments.iter().map(String::as_str).collect::<Vec<_>>()));
        let pods = [&of("Deployment", &objects)[0]["spec"]["template"]["spec"], &of("Pod", &objects)[0]["spec"]];
        for pod in pods {
            assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
            assert_eq!(pod["securityContext"]["seccompProfile"], json!({ "type": "RuntimeDefault" }));
            assert_eq!(
                pod["containers"][0]["securityContext"],
                json!({ "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] } })
            );
            assert!(pod.get("volumes").is_none() && pod.get("hostNetwork").is_none());
        }
    }
}

#[test]
fn the_test_asks_where_the_service_is_and_is_not_behind_it() {
    let objects = objects(&rendered(&[]));
    let (test, service) = (of("Pod", &objects)[0], of("Service", &objects)[0]);
    assert_eq!(test["metadata"]["annotations"]["helm.sh/hook"], "test");
    let address = format!("{}:{}", service["metadata"]["name"].as_str().expect("a name"), service["spec"]["ports"][0]["port"]);
    assert_eq!(test["spec"]["containers"][0]["args"], json!(["ready", address]));
    let selector = service["spec"]["selector"].as_object().expect("a selector");
    assert!(selector.iter().any(|(key, value)| test["metadata"]["labels"][key] != *value), "the test would be asked itself");
    assert_eq!(test["spec"]["automountServiceAccountToken"], false);
}

#[test]
fn the_operator_reaches_the_api_server_and_dns_only() {
    let objects = objects(&rendered(&[]));
    let policy = &of("NetworkPolicy", &objects)[0]["spec"];
    assert_eq!(policy["policyTypes"], json!(["Ingress", "Egress"]));
    let ports = |rules: &Value| -> Vec<i64> {
        let rules = rules.as_array().expect("rules");
        rules
            .iter()
            .flat_map(|rule| rule["ports"].as_array().expect("ports"))
            .map(|port| port["port"].as_i64().expect("a number"))
            .collect()
    };
    assert_eq!((ports(&policy["egress"]), ports(&policy["ingress"])), (vec![443, 6443, 53, 53], vec![8080]));
    assert_eq!(policy["podSelector"]["matchLabels"], of("Deployment", &objects)[0]["spec"]["selector"]["matchLabels"]);
}
