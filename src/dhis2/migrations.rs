//! Migrations of DHIS2 that write a large table a second time, for which a volume has to have room.

use super::version::{Line, Version};

/// A table that the migrations to a line copy.
struct Copy {
    line: Line,
    table: &'static str,
}

/// dhis2-core, `V2_43_21__split_event_table.sql`: `event` goes to `trackerevent` and `singleevent`. Of what other lines copy nothing is
/// published.
const COPIES: [Copy; 1] = [Copy { line: Line::of(43), table: "event" }];

/// The tables that are copied when a database of this line is migrated to a version; all that any line copies where nobody noted its line.
pub fn copied(from: Option<Line>, to: Version) -> Vec<&'static str> {
    let passed = |copy: &&Copy| from.is_none_or(|from| from < copy.line) && copy.line <= to.line();
    COPIES.iter().filter(passed).map(|copy| copy.table).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_copied_once_on_the_way() {
        let copied = |from: Option<u16>, to: &str| copied(from.map(Line::of), to.parse().unwrap());
        assert_eq!(copied(Some(42), "2.43.0"), ["event"]);
        assert_eq!(copied(Some(40), "2.44.1"), ["event"], "lines may be left out");
        assert_eq!(copied(None, "2.43.0"), ["event"]);
        for (from, to) in [(Some(43), "2.43.1"), (Some(43), "2.44.0"), (Some(41), "2.42.5"), (None, "2.42.5")] {
            assert!(copied(from, to).is_empty(), "{from:?} to {to}");
        }
    }
}
