//! DHIS2's own list of migrations, as a dump tells it before it is loaded.

/// The newest of the migrations that were seen.
#[derive(Debug, Default)]
pub struct Migrations(Vec<u32>);

impl Migrations {
    /// A version of `flyway_schema_history`; those of another shape have no number.
    pub fn see(&mut self, version: &[u8]) {
        let numbers = std::str::from_utf8(version).ok().and_then(|version| version.split('.').map(|part| part.parse().ok()).collect());
        if let Some(numbers) = numbers.filter(|numbers| *numbers > self.0) {
            self.0 = numbers;
        }
    }

    /// Its version.
    pub fn newest(&self) -> Option<String> {
        (!self.0.is_empty()).then(|| self.0.iter().map(u32::to_string).collect::<Vec<_>>().join("."))
    }
}
