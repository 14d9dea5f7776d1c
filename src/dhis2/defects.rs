//! Releases of DHIS2 that damage data. Source: `warning` of severity `high` in <https://releases.dhis2.org/v1/versions/stable.json>
//! (read November 2026).

use super::version::Version;

/// A release that damages data.
#[derive(Debug, PartialEq, Eq)]
pub struct Defect {
    release: &'static str,
    /// The release to take in its place.
    pub instead: &'static str,
    /// What it does, and where that is told.
    pub what: &'static str,
}

const DEFECTS: [Defect; 3] = [
    Defect { release: "2.41.7", instead: "2.41.8.1", what: TRACKER_FILES },
    Defect { release: "2.41.8", instead: "2.41.8.1", what: TRACKER_FILES },
    Defect { release: "2.42.4", instead: "2.42.4.1", what: TRACKER_FILES },
];

const TRACKER_FILES: &str = "it deletes files that were uploaded with tracker data (DHIS2-21427)";

/// What this release is known for.
pub fn of(version: Version) -> Option<&'static Defect> {
    DEFECTS.iter().find(|defect| defect.release.parse() == Ok(version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_in_place_of_a_bad_release_is_a_later_one_and_not_bad_itself() {
        for defect in &DEFECTS {
            let [release, instead] = [defect.release, defect.instead].map(|version| version.parse::<Version>().unwrap());
            assert!(instead > release && instead.line() == release.line(), "{release}");
            assert_eq!((of(release), of(instead)), (Some(defect), None));
        }
    }
}
