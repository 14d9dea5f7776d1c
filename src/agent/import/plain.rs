//! A dump in SQL, on its way to `psql`, line by line.
//!
//! It is loaded as the owner of the database, who is no superuser: what only a superuser may do, and what the new database has or does
//! not want, becomes an empty line, so that the numbers of lines stay those of the dump. What is inside a text, a function or the rows
//! of a table is passed on as it is.

use super::Error;
use super::left_out::{self, LEFT_OUT};
use super::migrations::Migrations;

/// The last words of every `pg_dump`. Without them a dump was cut off: what is missing would be missed by nobody.
const END: &[u8] = b"-- PostgreSQL database dump complete";

/// What is to become of a line.
#[derive(Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is passed on.
    Pass,
    /// An empty line takes its place.
    Drop,
}

impl Fate {
    fn of(kept: bool) -> Self {
        if kept { Self::Pass } else { Self::Drop }
    }
}

/// Where in the dump the next line is.
#[derive(Debug)]
enum State {
    /// Between statements or inside of one.
    Statement,
    /// In the rows of a table.
    Rows { kept: bool, version: Option<usize> },
}

/// What a line ends inside of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Inside {
    /// Nothing that holds lines of its own.
    #[default]
    Nothing,
    /// '…'
    Text,
    /// "…"
    Name,
    /// $tag$…$tag$
    Body(Vec<u8>),
}

/// Looks at each line of a dump.
#[derive(Debug)]
pub struct Filter {
    state: State,
    inside: Inside,
    /// Is the statement that the next line belongs to passed on?
    kept: bool,
    line: u64,
    ended: bool,
    /// The migrations of DHIS2 that were seen in it.
    pub migrations: Migrations,
}

impl Filter {
    /// At the first line.
    pub fn new() -> Self {
        Self { state: State::Statement, inside: Inside::Nothing, kept: true, line: 0, ended: false, migrations: Migrations::default() }
    }

    /// The number of the line that was looked at last.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// What is to become of the next line, which is without its end.
    pub fn next(&mut self, line: &[u8]) -> Result<Fate, Error> {
        self.line += 1;
        match self.state {
            State::Rows { kept, .. } if line == b"\\." => {
                self.state = State::Statement;
                Ok(Fate::of(kept))
            }
            State::Rows { kept, version } => {
                if let Some(version) = version {
                    self.migrations.see(line.split(|byte| *byte == b'\t').nth(version).unwrap_or_default());
                }
                Ok(Fate::of(kept))
            }
            State::Statement if self.inside == Inside::Nothing => self.outside(line),
            State::Statement => {
                self.inside = after(std::mem::take(&mut self.inside), line);
                Ok(Fate::of(self.kept))
            }
        }
    }

    /// Whether all of it was there.
    pub fn finish(&self) -> Result<(), Error> {
        if self.ended { Ok(()) } else { Err(Error::CutOff(self.line)) }
    }

    fn outside(&mut self, line: &[u8]) -> Result<Fate, Error> {
        if line.starts_with(b"--") {
            self.ended |= line.starts_with(END);
            return Ok(Fate::Pass);
        }
        if line.starts_with(b"\\") {
            return if LEFT_OUT.commands.iter().any(|command| line.starts_with(command)) {
                Ok(Fate::Drop)
            } else {
                Err(Error::Command { line: self.line, said: first_word(line) })
            };
        }
        if let Some((table, columns)) = copied(line) {
            let known = table == "public.flyway_schema_history";
            let version = known.then(|| columns.split(',').position(|column| column.trim() == "version")).flatten();
            let kept = !left_out::is_table(table);
            self.state = State::Rows { kept, version };
            return Ok(Fate::of(kept));
        }
        self.kept = !left_out::is_statement(line);
        self.inside = after(Inside::Nothing, line);
        Ok(Fate::of(self.kept))
    }
}

fn first_word(line: &[u8]) -> String {
    String::from_utf8_lossy(line.split(u8::is_ascii_whitespace).next().unwrap_or_default()).into_owned()
}

/// `COPY public.dataset (datasetid, uid) FROM stdin;`: the table and its columns.
fn copied(line: &[u8]) -> Option<(&str, &str)> {
    let rest = std::str::from_utf8(line).ok()?.strip_prefix("COPY ")?.strip_suffix(" FROM stdin;")?;
    Some(match rest.split_once(" (") {
        Some((table, columns)) => (table, columns.trim_end_matches(')')),
        None => (rest, ""),
    })
}

/// What a line ends inside of that begins inside of `inside`.
fn after(mut inside: Inside, line: &[u8]) -> Inside {
    let mut rest = line;
    while let Some((&first, others)) = rest.split_first() {
        rest = others;
        inside = match (inside, first) {
            (Inside::Nothing, b'\'') => Inside::Text,
            (Inside::Nothing, b'"') => Inside::Name,
            (Inside::Nothing, b'-') if rest.starts_with(b"-") => return Inside::Nothing,
            (Inside::Nothing, b'$') => match tag(rest) {
                Some(tag) => {
                    rest = rest.get(tag.len() + 1..).unwrap_or_default();
                    Inside::Body(tag.to_vec())
                }
                None => Inside::Nothing,
            },
            // A doubled quote ends the text and begins it again.
            (Inside::Text, b'\'') | (Inside::Name, b'"') => Inside::Nothing,
            (Inside::Body(tag), b'$') if rest.strip_prefix(tag.as_slice()).is_some_and(|rest| rest.starts_with(b"$")) => {
                rest = rest.get(tag.len() + 1..).unwrap_or_default();
                Inside::Nothing
            }
            (inside, _) => inside,
        };
    }
    inside
}

/// The tag of a dollar quote, whose first `$` was read.
fn tag(rest: &[u8]) -> Option<&[u8]> {
    let tag = rest.get(..rest.iter().position(|byte| *byte == b'$')?)?;
    let name = tag.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_') && !tag.first().is_some_and(u8::is_ascii_digit);
    name.then_some(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines that are passed on.
    fn passed(dump: &str) -> Vec<&str> {
        let mut filter = Filter::new();
        dump.lines().filter(|line| filter.next(line.as_bytes()).unwrap() == Fate::Pass).collect()
    }

    #[test]
    fn what_only_a_superuser_may_do_is_left_out() {
        let dump = "SET default_with_oids = false;\n\\restrict abc\nCREATE EXTENSION IF NOT EXISTS postgis WITH SCHEMA public;\n\
                    COMMENT ON EXTENSION postgis IS 'PostGIS geometry';\nALTER TABLE public.dataset OWNER TO someone;\n\
                    GRANT ALL ON TABLE public.dataset TO somebody;\nREVOKE ALL ON SCHEMA public FROM PUBLIC;\n\
                    CREATE EXTENSION IF NOT EXISTS \"uuid-ossp\" WITH SCHEMA public;\nALTER TABLE ONLY public.dataset ADD CONSTRAINT a CHECK (b);\n\
                    \\unrestrict abc";
        assert_eq!(
            passed(dump),
            [
                "CREATE EXTENSION IF NOT EXISTS \"uuid-ossp\" WITH SCHEMA public;",
                "ALTER TABLE ONLY public.dataset ADD CONSTRAINT a CHECK (b);"
            ]
        );
    }

    #[test]
    fn rows_are_passed_on_whatever_they_look_like_and_those_of_extensions_are_not() {
        let dump = "COPY public.note (id, text) FROM stdin;\n1\tGRANT me this\nALTER x OWNER TO y;\n\\N\t'\n\\.\n\
                    COPY public.spatial_ref_sys (srid) FROM stdin;\n1\n\\.\nCOPY tiger.geocode_settings (name) FROM stdin;\na\n\\.\nSELECT 1;";
        assert_eq!(
            passed(dump),
            ["COPY public.note (id, text) FROM stdin;", "1\tGRANT me this", "ALTER x OWNER TO y;", "\\N\t'", "\\.", "SELECT 1;"]
        );
    }

    #[test]
    fn what_is_left_out_is_left_out_to_its_end() {
        let dump = "COMMENT ON EXTENSION postgis IS 'a\nSELECT 1;\nb';\nINSERT INTO public.spatial_ref_sys VALUES (1, 'a\nb');\n\
                    INSERT INTO public.note VALUES (1, 'INSERT INTO public.spatial_ref_sys');";
        assert_eq!(passed(dump), ["INSERT INTO public.note VALUES (1, 'INSERT INTO public.spatial_ref_sys');"]);
    }

    #[test]
    fn texts_and_bodies_are_passed_on_whatever_they_look_like() {
        for inside in [
            "INSERT INTO a VALUES ('it''s\nGRANT x;\n\\! touch x\n-- ');",
            "CREATE FUNCTION a() AS $_$\nGRANT x;\n'\n\\.\n$_$;",
            "CREATE FUNCTION a() AS $$ a $x$\nGRANT x; $x$ $$;",
            "CREATE VIEW \"it's\nGRANT x;\" AS SELECT 1; -- that's all",
        ] {
            assert_eq!(passed(&format!("{inside}\nGRANT y;")).join("\n"), inside);
        }
    }

    #[test]
    fn nothing_is_run_that_psql_would_run() {
        for command in ["\\! touch x", "\\connect dhis2", "\\i /etc/passwd", "\\copy a from b"] {
            let error = Filter::new().next(command.as_bytes()).unwrap_err();
            assert!(matches!(error, Error::Command { line: 1, .. }), "{command}");
        }
    }

    #[test]
    fn a_dump_that_was_cut_off_is_not_taken_for_whole() {
        let end = |dump: &str| {
            let mut filter = Filter::new();
            dump.lines().for_each(|line| _ = filter.next(line.as_bytes()).unwrap());
            filter.finish().is_ok()
        };
        assert!(end("SELECT 1;\n--\n-- PostgreSQL database dump complete\n--\n"));
        assert!(!end("SELECT 1;\n"));
        assert!(!end("COPY a (b) FROM stdin;\n-- PostgreSQL database dump complete\n"));
    }

    #[test]
    fn the_newest_migration_is_seen() {
        let mut filter = Filter::new();
        let dump = "COPY public.flyway_schema_history (installed_rank, version, description) FROM stdin;\n\
                    1\t2.30.0\ta\n3\t2.41.9\tb\n2\t2.41.33\tc\n4\t\\N\td\n\\.\nCOPY public.a (version) FROM stdin;\n2.99.1\n\\.";
        dump.lines().for_each(|line| _ = filter.next(line.as_bytes()).unwrap());
        assert_eq!(filter.migrations.newest().as_deref(), Some("2.41.33"));
    }
}
