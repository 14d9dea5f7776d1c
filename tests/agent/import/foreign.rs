//! Dumps from servers that are less like ours: made with other options, copied through Windows, with another PostGIS or collation.

use std::fs;

use super::{import, imported, old, serves, target};

#[test]
fn what_a_dump_drops_at_its_head_is_left_out() {
    let pod = target(&old());
    assert_eq!(imported(import(&pod, "old/clean.sql", &["--files", "files"])).schema, "2.42.47");
    serves(&pod, "old/clean.sql");
}

/// As `pg_dump > dhis2.sql` writes them there: a CR before each LF, also before one that had one.
#[test]
fn a_dump_whose_lines_end_as_on_windows_brings_the_same_texts() {
    let old = old();
    for name in ["old/dhis2.sql", "old/inserts.sql"] {
        let pod = target(&old);
        let text = pod.read(&format!("/source/{name}")).replace('\n', "\r\n");
        fs::write(pod.path("/source/windows.sql"), text).unwrap();
        assert_eq!(imported(import(&pod, "windows.sql", &["--files", "files"])).schema, "2.42.47");
        serves(&pod, &format!("{name} of Windows"));
    }
}
