//! Where a person reads on: what tells of trouble ends with the page of its reason.

use crate::api::{Dhis2InstanceStatus, Reason};

/// Longest message in bytes. The API server takes an event's note of 1024, and the note names the condition as well.
const LONGEST: usize = 1000;

/// The status, with the page of the reason at the end of each condition that tells of trouble.
pub fn linked(mut status: Dhis2InstanceStatus, runbooks: &str) -> Dhis2InstanceStatus {
    for condition in &mut status.conditions {
        if let Ok(reason) = condition.reason.parse() {
            condition.message = with_page(&condition.message, reason, runbooks);
        }
    }
    status
}

/// The message, with the page of its reason at the end if that is trouble.
pub fn with_page(message: &str, reason: Reason, runbooks: &str) -> String {
    if !reason.is_trouble() {
        return message.to_owned();
    }
    let page = format!(" See {runbooks}/{}.md", reason.as_str());
    sentence(message, LONGEST.saturating_sub(page.len())) + &page
}

/// The message as a sentence that has an end, of at most so many bytes.
fn sentence(message: &str, longest: usize) -> String {
    let mut text = message.to_owned();
    if text.len() >= longest {
        text.truncate(text.floor_char_boundary(longest.saturating_sub('…'.len_utf8())));
        text.push('…');
    } else if !text.ends_with(['.', '!', '?', '…']) {
        text.push('.');
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(reason: &str, message: &str) -> String {
        let condition =
            json!({"type": "Ready", "status": "False", "reason": reason, "message": message, "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let status = serde_json::from_value(json!({ "conditions": [condition] })).unwrap();
        linked(status, "docs/runbooks").conditions.remove(0).message
    }

    #[test]
    fn trouble_names_its_page_and_all_else_none() {
        assert_eq!(told("DiskFull", "the volume is full"), "the volume is full. See docs/runbooks/DiskFull.md");
        assert_eq!(told("SecretLost", "Bring it back."), "Bring it back. See docs/runbooks/SecretLost.md");
        for fine in ["Serving", "Paused", "AdminPasswordForeign", "StartingDatabase", "BackupSuspended"] {
            assert_eq!(told(fine, "As it is."), "As it is.", "{fine}");
        }
    }

    #[test]
    fn the_longest_message_of_any_alphabet_fits_into_an_event() {
        for filler in ["a", "é", "ግ", "😀"] {
            let message = told("DatabasePasswordRefused", &filler.repeat(2000));
            assert!(message.len() + "AdminPasswordSet: ".len() <= 1024, "{filler}: {} bytes", message.len());
            assert!(message.ends_with("… See docs/runbooks/DatabasePasswordRefused.md"), "{message}");
        }
    }
}
