//! Dumps from servers that are less like ours: made with other options, copied through Windows, with another PostGIS or collation.

use super::{import, imported, old, serves, target};

#[test]
fn what_a_dump_drops_at_its_head_is_left_out() {
    let pod = target(&old());
    assert_eq!(imported(import(&pod, "old/clean.sql", &["--files", "files"])).schema, "2.42.47");
    serves(&pod, "old/clean.sql");
}
