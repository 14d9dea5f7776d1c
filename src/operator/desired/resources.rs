//! Memory and CPU, written as the API server writes them.

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::ResourceRequirements, apimachinery::pkg::api::resource::Quantity};

use crate::operator::quantity::canonical;

/// An amount of memory or storage.
pub fn mebibytes(amount: i64) -> Quantity {
    let text = format!("{amount}Mi");
    Quantity(canonical(&text).unwrap_or(text))
}

/// Resources of a server, CPU in canonical form: memory is request and limit, so that the node never has to take it back.
pub fn server(memory_mib: i64, cpu: &str, cpu_limit: Option<&str>) -> ResourceRequirements {
    let memory = [("memory".to_owned(), mebibytes(memory_mib))];
    let limit = cpu_limit.map(|limit| ("cpu".to_owned(), Quantity(limit.to_owned())));
    ResourceRequirements {
        requests: Some(memory.clone().into_iter().chain([("cpu".to_owned(), Quantity(cpu.to_owned()))]).collect()),
        limits: Some(memory.into_iter().chain(limit).collect()),
        claims: None,
    }
}

/// Resources of a step of the agent: little is asked for, more may be used.
pub fn step(memory_mib: i64, limit_mib: i64) -> ResourceRequirements {
    ResourceRequirements {
        requests: Some(BTreeMap::from([("memory".to_owned(), mebibytes(memory_mib)), ("cpu".to_owned(), Quantity("10m".into()))])),
        limits: Some(BTreeMap::from([("memory".to_owned(), mebibytes(limit_mib))])),
        claims: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_as_the_api_server_writes() {
        assert_eq!(mebibytes(3072), Quantity("3Gi".into()));
        assert_eq!(mebibytes(1536), Quantity("1536Mi".into()));
    }

    #[test]
    fn memory_is_request_and_limit() {
        let server = server(1024, "100m", None);
        assert_eq!(server.requests.unwrap()["memory"], server.limits.clone().unwrap()["memory"]);
        assert!(!server.limits.unwrap().contains_key("cpu"));
    }
}
