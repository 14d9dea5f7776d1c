//! The files that are generated from the product's types: the custom resource definitions, and the reference of their fields.

mod fields;
mod reference;

use dhis2_operator::{operator::crd, yaml};

/// A file as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generated {
    /// Where it belongs, from the root of the checkout.
    pub path: String,
    /// What it should hold.
    pub text: String,
}

/// All generated files.
///
/// # Errors
/// A definition that YAML can't hold.
pub fn files() -> Result<Vec<Generated>, yaml::Error> {
    let mut files = Vec::new();
    let all = [
        (crd::instance(), "docs/reference.md"),
        (crd::restore(), "docs/reference-restore.md"),
        (crd::backup(), "docs/reference-backup.md"),
        (crd::restore_test(), "docs/reference-restore-test.md"),
    ];
    for (definition, reference) in all {
        let name = definition.metadata.name.clone().unwrap_or_default();
        files.push(Generated { path: format!("crds/{name}.yaml"), text: yaml::write(&definition)? });
        files.push(Generated { path: reference.into(), text: reference::reference(&definition) });
    }
    Ok(files)
}

/// Where `there` first differs from `text`: the number of the line, from 1. `None` when they are the same.
pub fn first_difference(text: &str, there: &str) -> Option<usize> {
    if text == there {
        return None;
    }
    let same = text.split('\n').zip(there.split('\n')).take_while(|(wanted, found)| wanted == found);
    Some(same.count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_that_differs_is_named() {
        assert_eq!(first_difference("a\nb\n", "a\nb\n"), None);
        assert_eq!(first_difference("a\nb\n", "a\nc\n"), Some(2));
        assert_eq!(first_difference("a\nb\n", "a\n"), Some(2));
        assert_eq!(first_difference("a\nb", "a\nb\n"), Some(3));
        assert_eq!(first_difference("a", ""), Some(1));
    }
}
