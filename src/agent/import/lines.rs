//! The lines of a dump, read one after the other.

use std::io::{BufRead, BufReader, Read};
use std::time::{Duration, Instant};

use super::Error;
use super::dump::Dump;
use super::plain::{Line, Script};
use crate::agent::log::Log;

/// What programs on Windows put before a text in UTF-8. PostgreSQL would take it for a word.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
/// How often is said how far it is.
const TELL: Duration = Duration::from_mins(1);

/// The lines of a dump.
pub struct Lines<'a> {
    name: &'a str,
    source: BufReader<Box<dyn Read>>,
    /// What is known of them.
    pub script: Script,
    /// The line that was read last, without its end.
    pub content: Vec<u8>,
    /// CRs at the end of the last line that ended outside of texts and rows.
    returns: usize,
    bytes: usize,
    told: Instant,
    log: Log,
}

impl<'a> Lines<'a> {
    /// At the first line.
    pub fn of(dump: &'a Dump, log: Log) -> Result<Self, Error> {
        Ok(Self::read(&dump.name, dump.text()?, log))
    }

    fn read(name: &'a str, text: Box<dyn Read>, log: Log) -> Self {
        let source = BufReader::with_capacity(1 << 20, text);
        Self { name, source, script: Script::new(), content: Vec::new(), returns: 0, bytes: 0, told: Instant::now(), log }
    }

    /// The number of the line that was read last.
    pub fn number(&self) -> u64 {
        self.script.number()
    }

    /// Reads the next one.
    pub fn next(&mut self) -> Result<Option<Line>, Error> {
        self.content.clear();
        let read = self.source.read_until(b'\n', &mut self.content);
        let read = read.map_err(|error| Error::reading(self.name, self.script.number() + 1, error))?;
        if read == 0 {
            return Ok(None);
        }
        self.bytes += read;
        if self.told.elapsed() > TELL {
            self.told = Instant::now();
            self.log.info(&format!("line {}, {} MiB of SQL", self.script.number(), self.bytes >> 20));
        }
        if self.script.number() == 0 && self.content.starts_with(BYTE_ORDER_MARK) {
            self.content.drain(..BYTE_ORDER_MARK.len());
        }
        self.content.pop_if(|last| *last == b'\n');
        let returns = self.content.iter().rev().take_while(|byte| **byte == b'\r').count();
        self.content.truncate(self.content.len() - returns);
        let line = self.script.next(&self.content)?;
        self.give_back(line, returns);
        Ok(Some(line))
    }

    /// CRs at a line's end that belong to it: `pg_dump` ends its own lines in LF, so that a CR there is of the way through Windows, and a
    /// CR in a text is the text's. Where the dump's own lines have one, those inside of texts were given one as well: so many are taken
    /// away, which is exact for what `pg_dump > file` writes there (a CR before each LF). A program that spares lines that had one already
    /// leaves no way to tell: they come in with LF, which DHIS2 shows alike, rather than every other text with a CR too many.
    fn give_back(&mut self, line: Line, returns: usize) {
        let kept = if line == Line::Row || self.script.is_inside() {
            returns.saturating_sub(self.returns)
        } else {
            self.returns = returns;
            0
        };
        self.content.resize(self.content.len() + kept, b'\r');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Verb;

    /// What is loaded of a dump.
    fn loaded(dump: &str) -> String {
        let mut lines = Lines::read("a.sql", Box::new(std::io::Cursor::new(dump.to_owned())), Log::new(Verb::Import));
        let mut loaded = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            if line != Line::LeftOut {
                loaded.extend_from_slice(&lines.content);
                loaded.push(b'\n');
            }
        }
        String::from_utf8(loaded).unwrap()
    }

    const DUMP: &str = "INSERT INTO a VALUES (1, 'b\r\n\nc;\r\n\r', 2);\nCREATE FUNCTION f() AS $$\r\nd\n$$;\n\
                        COPY a (b) FROM stdin;\n1\n\\.\nCREATE VIEW \"e\r\nf\" AS\n SELECT 1;\n";

    #[test]
    fn a_text_keeps_its_ends_of_lines() {
        assert_eq!(loaded(DUMP), DUMP);
    }

    #[test]
    fn a_mark_of_its_encoding_is_no_part_of_it() {
        assert_eq!(loaded(&format!("\u{feff}{DUMP}")), DUMP);
        assert_eq!(loaded("SELECT 1;\n\u{feff}SELECT 2;\n"), "SELECT 1;\n\u{feff}SELECT 2;\n", "further on it belongs to the text");
    }

    #[test]
    fn what_windows_put_before_each_end_of_a_line_is_taken_away() {
        for end in ["\r\n", "\r\r\n"] {
            assert_eq!(loaded(&format!("--{end}{}", DUMP.replace('\n', end))), DUMP, "{end:?}");
        }
    }

    #[test]
    fn a_text_of_a_dump_that_was_made_all_alike_has_no_cr_too_many() {
        let alike = format!("--\n{DUMP}").replace("\r\n", "\n").replace('\n', "\r\n");
        assert_eq!(loaded(&alike), DUMP.replace("\r\n", "\n"));
    }

    #[test]
    fn a_cr_in_a_row_of_a_dump_that_has_none_is_for_postgresql_to_tell() {
        assert_eq!(loaded("COPY a (b) FROM stdin;\n1\r\n\\.\n"), "COPY a (b) FROM stdin;\n1\r\n\\.\n");
    }
}
