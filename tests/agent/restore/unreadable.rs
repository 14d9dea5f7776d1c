//! A set of which a file could not be read when it was made: refused, unless somebody wants it without that file.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use super::{contents, restore, restored};
use crate::pod::sets::{SCHEMA, backed_up, backup, filled};
use crate::pod::source::target_of;
use dhis2_operator::layout;
use dhis2_operator::report::Refusal;

#[test]
fn files_that_could_not_be_read_are_left_out_when_somebody_says_so() {
    let source = filled();
    let serving = source.serve();
    source.owner().batch_execute(SCHEMA).unwrap();
    fs::set_permissions(source.path("/opt/dhis2/files/dataValue/present"), Permissions::from_mode(0o000)).unwrap();
    assert!(backed_up(backup(&source, "set-1", "3").done()).files_incomplete);
    drop(serving);

    let pod = target_of(&source);
    let ended = restore(&pod, &[]);
    let said = ended.report.clone().unwrap().message;
    assert_eq!(ended.refused(), Refusal::SetIncomplete, "{said}");
    assert!(said.contains("unreadableFiles: LeaveOut"), "{said}");
    let data = restored(restore(&pod, &["--leave-out-unreadable-files"]).done());
    assert_eq!((data.set.as_str(), data.files), ("set-1", 1));
    let there: Vec<_> = contents(&pod.path(layout::FILES)).into_keys().collect();
    assert_eq!(there, [std::path::PathBuf::from("apps/one/index.html")]);
}
