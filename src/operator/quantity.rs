//! Quantities of memory and storage: read, compared, written as the API server writes them.

/// Bytes of a quantity such as `1Gi`, `500M` or `1048576`; none when it is no plain amount.
pub fn bytes(text: &str) -> Option<i128> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: i128 = match unit {
        "" => 1,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        _ => return None,
    };
    number.parse::<i128>().ok()?.checked_mul(factor)
}

/// The canonical form: the API server keeps the family of units (binary or decimal) and takes the largest
/// that gives a whole number.
pub fn canonical(text: &str) -> Option<String> {
    let amount = bytes(text)?;
    let units: [(&str, i128); 4] = if text.ends_with('i') {
        [("Ti", 1 << 40), ("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)]
    } else {
        [("T", 1_000_000_000_000), ("G", 1_000_000_000), ("M", 1_000_000), ("k", 1_000)]
    };
    let unit = units.into_iter().find(|(_, factor)| amount > 0 && amount % factor == 0);
    Some(unit.map_or_else(|| amount.to_string(), |(name, factor)| format!("{}{name}", amount / factor)))
}

/// The larger of two quantities; one that can't be read counts as nothing.
pub fn larger(one: String, other: &str) -> String {
    if bytes(other).unwrap_or(0) > bytes(&one).unwrap_or(0) { other.to_owned() } else { one }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_as_the_api_server_writes() {
        for (given, canonical_form) in
            [("1024Mi", "1Gi"), ("1536Mi", "1536Mi"), ("1000M", "1G"), ("1500M", "1500M"), ("20Gi", "20Gi"), ("2048Gi", "2Ti")]
        {
            assert_eq!(canonical(given).as_deref(), Some(canonical_form));
        }
        assert_eq!(canonical("1.5Gi"), None);
    }

    #[test]
    fn the_larger_one_wins_across_units() {
        assert_eq!(larger("20Gi".into(), "20G"), "20Gi");
        assert_eq!(larger("20G".into(), "20Gi"), "20Gi");
        assert_eq!(larger("20G".into(), "?"), "20G");
    }
}
