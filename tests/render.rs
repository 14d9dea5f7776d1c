//! Every object that each example becomes, as a snapshot to be read in reviews.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::path::Path;

use dhis2_operator::{api::Dhis2Instance, operator::render::render, operator::settings::Settings, yaml};

/// An operator that was told nothing but its images.
fn settings() -> Settings {
    Settings {
        image: "example.org/dhis2-operator:1.2.3".into(),
        image_pull_policy: "IfNotPresent".into(),
        dhis2_repository: "docker.io/dhis2/core".into(),
        postgres_image: "docker.io/postgis/postgis:17-3.5".into(),
        ..Settings::default()
    }
}

#[test]
fn every_object_of_every_example() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        if !text.contains("\nkind: Dhis2Instance\n") {
            continue; // a request, or a pod of people's own, becomes nothing
        }
        let resource: Dhis2Instance = serde_yaml::from_str(&text).unwrap();
        let objects = render(resource, &settings()).unwrap_or_else(|refusal| panic!("{}: {}", path.display(), refusal.message));
        let text = yaml::write_all(&objects).unwrap();
        insta::assert_snapshot!(path.file_stem().unwrap().to_string_lossy().into_owned(), text);
    }
}
