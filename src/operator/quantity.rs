//! Quantities of memory and storage: read, compared, written as the API server writes them.

/// Binary and decimal units, the largest first.
const BINARY: [(&str, i128); 6] = [("Ei", 1 << 60), ("Pi", 1 << 50), ("Ti", 1 << 40), ("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)];
const DECIMAL: [(&str, i128); 6] = [
    ("E", 1_000_000_000_000_000_000),
    ("P", 1_000_000_000_000_000),
    ("T", 1_000_000_000_000),
    ("G", 1_000_000_000),
    ("M", 1_000_000),
    ("k", 1_000),
];

/// Bytes of a quantity such as `1Gi`, `500M` or `1048576`; none when it is no plain amount.
pub fn bytes(text: &str) -> Option<i128> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "" => 1,
        unit => BINARY.iter().chain(&DECIMAL).find(|(name, _)| *name == unit)?.1,
    };
    number.parse::<i128>().ok()?.checked_mul(factor)
}

/// The canonical form: the API server keeps the family of units (binary or decimal) and takes the largest
/// that gives a whole number.
pub fn canonical(text: &str) -> Option<String> {
    let amount = bytes(text)?;
    let units = if text.ends_with('i') { BINARY } else { DECIMAL };
    let unit = units.into_iter().find(|(_, factor)| amount > 0 && amount % factor == 0);
    Some(unit.map_or_else(|| amount.to_string(), |(name, factor)| format!("{}{name}", amount / factor)))
}

/// An amount of bytes for people, in the largest unit of which it is one at least: `1.5Gi`.
pub fn rough(amount: i64) -> String {
    let unit = BINARY.into_iter().find(|(_, factor)| i128::from(amount) >= *factor);
    let Some((name, factor)) = unit else { return amount.to_string() };
    let tenths = i128::from(amount) * 10 / factor;
    if tenths >= 100 || tenths % 10 == 0 { format!("{}{name}", tenths / 10) } else { format!("{}.{}{name}", tenths / 10, tenths % 10) }
}

/// The larger of two quantities; one that can't be read counts as nothing.
pub fn larger(one: String, other: &str) -> String {
    if bytes(other).unwrap_or(0) > bytes(&one).unwrap_or(0) { other.to_owned() } else { one }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn written_as_the_api_server_writes() {
        for (given, canonical_form) in [
            ("1024Mi", "1Gi"),
            ("1536Mi", "1536Mi"),
            ("1000M", "1G"),
            ("1500M", "1500M"),
            ("20Gi", "20Gi"),
            ("1024Ti", "1Pi"),
            ("1000T", "1P"),
        ] {
            assert_eq!(canonical(given).as_deref(), Some(canonical_form));
        }
        assert_eq!(canonical("1.5Gi"), None);
    }

    #[test]
    fn told_to_people_with_two_digits() {
        let told = [0, 1023, 1536, 10 << 10, (12 << 20) + (600 << 10), 5 << 30].map(rough);
        assert_eq!(told, ["0", "1023", "1.5Ki", "10Ki", "12Mi", "5Gi"]);
    }

    #[test]
    fn the_larger_one_wins_across_units() {
        assert_eq!(larger("20Gi".into(), "20G"), "20Gi");
        assert_eq!(larger("20G".into(), "20Gi"), "20Gi");
        assert_eq!(larger("20G".into(), "?"), "20G");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_not(text in "[0-9]{0,45}[KkMGTPEi]{0,2}|.{0,8}") {
            prop_assert_eq!(bytes(&text).is_some(), canonical(&text).is_some());
        }

        /// What the API server has written once, it does not write otherwise; else it would be corrected for ever.
        #[test]
        fn the_canonical_form_is_the_same_amount_and_stays(text in "[1-9][0-9]{0,5}(Mi|Gi|Ti|M|G|T)") {
            let form = canonical(&text).unwrap();
            prop_assert_eq!(bytes(&form), bytes(&text));
            prop_assert_eq!(canonical(&form), Some(form.clone()));
            let digits = form.trim_end_matches(|c: char| c.is_ascii_alphabetic());
            prop_assert!(digits.parse::<i128>().unwrap() % if text.ends_with('i') { 1024 } else { 1000 } != 0, "{form}");
            prop_assert!(bytes(&text).unwrap() < 1 << 63, "the API server cuts off what is larger");
        }
    }
}
