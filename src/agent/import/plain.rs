//! A dump in SQL, line by line: which lines make a statement, which are rows of a table, and what of it is left out.
//!
//! It is loaded as the owner of the database, who is no superuser: what only a superuser may do, and what the new database has or does
//! not want, is left out. What is inside a text, a function or the rows of a table stays as it is.

use super::Error;
use super::left_out::{self, LEFT_OUT};
use super::migrations::Migrations;
use super::quotes::{Inside, after};

/// The last words of every `pg_dump`. Without them a dump was cut off: what is missing would be missed by nobody.
const END: &[u8] = b"-- PostgreSQL database dump complete";

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// A part of a statement.
    Statement,
    /// The last line of a statement.
    StatementEnd,
    /// Rows of a table follow it; it is a statement of its own.
    Copy,
    /// A row.
    Row,
    /// The rows are over.
    RowsEnd,
    /// Nothing, or nothing that is loaded.
    LeftOut,
}

/// Where in the dump the next line is.
#[derive(Debug)]
enum State {
    /// Between statements or inside of one.
    Statement,
    /// In the rows of a table.
    Rows { kept: bool, version: Option<usize> },
}

/// Looks at each line of a dump.
#[derive(Debug)]
pub struct Script {
    state: State,
    inside: Inside,
    /// Is a statement under way, and is it loaded?
    begun: Option<bool>,
    /// Has nothing been made yet? What a dump drops comes before.
    head: bool,
    /// Is it a function whose body has semicolons of its own?
    atomic: bool,
    number: u64,
    ended: bool,
    /// The migrations of DHIS2 that were seen in it.
    pub migrations: Migrations,
}

impl Script {
    /// At the first line.
    pub fn new() -> Self {
        Self {
            state: State::Statement,
            inside: Inside::Nothing,
            begun: None,
            head: true,
            atomic: false,
            number: 0,
            ended: false,
            migrations: Migrations::default(),
        }
    }

    /// The number of the line that was looked at last.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Is the end of the line that was looked at last inside of a text, a name, a body or a comment?
    pub fn is_inside(&self) -> bool {
        self.inside != Inside::Nothing
    }

    /// What the next line is, which comes without its end.
    pub fn next(&mut self, line: &[u8]) -> Result<Line, Error> {
        self.number += 1;
        match self.state {
            State::Rows { kept, .. } if line == b"\\." => {
                self.state = State::Statement;
                Ok(if kept { Line::RowsEnd } else { Line::LeftOut })
            }
            State::Rows { kept, version } => {
                if let Some(version) = version {
                    self.migrations.see(line.split(|byte| *byte == b'\t').nth(version).unwrap_or_default());
                }
                Ok(if kept { Line::Row } else { Line::LeftOut })
            }
            State::Statement => self.statement(line),
        }
    }

    /// Whether all of it was there.
    pub fn finish(&self) -> Result<(), Error> {
        if self.ended { Ok(()) } else { Err(Error::CutOff(self.number)) }
    }

    fn statement(&mut self, line: &[u8]) -> Result<Line, Error> {
        if self.begun.is_none() {
            if let Some(known) = self.between(line)? {
                return Ok(known);
            }
            self.head &= !left_out::makes(line);
            self.begun = Some(!(left_out::is_statement(line) || self.head && left_out::is_emptied_view(line)));
            self.atomic = false;
        }
        let (inside, last) = after(std::mem::take(&mut self.inside), line);
        self.inside = inside;
        self.atomic |= line.trim_ascii_end().ends_with(b"BEGIN ATOMIC");
        let ends = self.inside == Inside::Nothing && last == b';' && (!self.atomic || line.trim_ascii_end() == b"END;");
        let kept = if ends { self.begun.take() } else { self.begun };
        Ok(match (kept, ends) {
            (Some(true), true) => Line::StatementEnd,
            (Some(true), false) => Line::Statement,
            _ => Line::LeftOut,
        })
    }

    /// A line that begins no statement.
    fn between(&mut self, line: &[u8]) -> Result<Option<Line>, Error> {
        if line.trim_ascii().is_empty() {
            return Ok(Some(Line::LeftOut));
        }
        if line.starts_with(b"--") {
            self.ended |= line.starts_with(END);
            return Ok(Some(Line::LeftOut));
        }
        if line.starts_with(b"\\") {
            return if LEFT_OUT.commands.iter().any(|command| line.starts_with(command)) {
                Ok(Some(Line::LeftOut))
            } else {
                Err(Error::Command { line: self.number, said: first_word(line) })
            };
        }
        if line.starts_with(b"SET client_encoding") && !line.windows(4).any(|part| part == b"UTF8") {
            return Err(Error::Encoding(self.number));
        }
        let Some((table, columns)) = copied(line) else { return Ok(None) };
        let known = table == "public.flyway_schema_history";
        let version = known.then(|| columns.split(',').position(|column| column.trim() == "version")).flatten();
        let kept = !left_out::is_table(table);
        self.state = State::Rows { kept, version };
        Ok(Some(if kept { Line::Copy } else { Line::LeftOut }))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines that are loaded.
    fn loaded(dump: &str) -> Vec<&str> {
        let mut script = Script::new();
        dump.lines().filter(|line| script.next(line.as_bytes()).unwrap() != Line::LeftOut).collect()
    }

    /// The statements of a dump, by the numbers of their last lines.
    fn ends(dump: &str) -> Vec<u64> {
        let mut script = Script::new();
        dump.lines().filter_map(|line| (script.next(line.as_bytes()).unwrap() == Line::StatementEnd).then_some(script.number())).collect()
    }

    #[test]
    fn what_only_a_superuser_may_do_is_left_out() {
        let dump = "SET default_with_oids = false;\n\\restrict abc\nCREATE EXTENSION IF NOT EXISTS postgis WITH SCHEMA public;\n\
                    COMMENT ON EXTENSION postgis IS 'PostGIS geometry';\nALTER TABLE public.dataset OWNER TO someone;\n\
                    GRANT ALL ON TABLE public.dataset TO somebody;\nREVOKE ALL ON SCHEMA public FROM PUBLIC;\n\
                    CREATE EXTENSION IF NOT EXISTS \"uuid-ossp\" WITH SCHEMA public;\nALTER TABLE ONLY public.dataset ADD CONSTRAINT a CHECK (b);\n\
                    \\unrestrict abc\nALTER DATABASE dhis2 SET search_path TO evil;";
        assert_eq!(
            loaded(dump),
            [
                "CREATE EXTENSION IF NOT EXISTS \"uuid-ossp\" WITH SCHEMA public;",
                "ALTER TABLE ONLY public.dataset ADD CONSTRAINT a CHECK (b);"
            ]
        );
    }

    #[test]
    fn what_a_dump_drops_is_left_out_and_nothing_that_only_looks_so() {
        let dump = "SET row_security = off;\nALTER TABLE ONLY public.audit DROP CONSTRAINT audit_pkey;\n\
                    CREATE OR REPLACE VIEW public.told AS\nSELECT\n    NULL::integer AS id;\nSELECT pg_catalog.lo_unlink('17572');\n\
                    ALTER TABLE public.audit ALTER COLUMN id DROP DEFAULT;\nALTER DOMAIN public.dom DROP CONSTRAINT positive;\n\
                    DROP TABLE public.audit;\nDROP FUNCTION public.f(a \"\n;\");\nCREATE TABLE public.audit ();\n\
                    ALTER TABLE ONLY public.audit ALTER COLUMN text SET DEFAULT 'a OWNER TO b';\n\
                    ALTER TABLE public.audit ADD CHECK (text <> ' DROP CONSTRAINT ' AND text <> ' DROP DEFAULT;');\n\
                    CREATE OR REPLACE VIEW public.told AS\n SELECT 1;";
        assert_eq!(
            loaded(dump),
            [
                "SET row_security = off;",
                "CREATE TABLE public.audit ();",
                "ALTER TABLE ONLY public.audit ALTER COLUMN text SET DEFAULT 'a OWNER TO b';",
                "ALTER TABLE public.audit ADD CHECK (text <> ' DROP CONSTRAINT ' AND text <> ' DROP DEFAULT;');",
                "CREATE OR REPLACE VIEW public.told AS",
                " SELECT 1;",
            ]
        );
    }

    #[test]
    fn rows_stay_whatever_they_look_like_and_those_of_extensions_are_left_out() {
        let dump = "COPY public.note (id, text) FROM stdin;\n1\tGRANT me this\nALTER x OWNER TO y;\n\\N\t'\n\\.\n\
                    COPY public.spatial_ref_sys (srid) FROM stdin;\n1\n\\.\nCOPY tiger.geocode_settings (name) FROM stdin;\na\n\\.\nSELECT 1;";
        assert_eq!(
            loaded(dump),
            ["COPY public.note (id, text) FROM stdin;", "1\tGRANT me this", "ALTER x OWNER TO y;", "\\N\t'", "\\.", "SELECT 1;"]
        );
    }

    #[test]
    fn what_is_left_out_is_left_out_to_its_end() {
        let dump = "COMMENT ON EXTENSION postgis IS 'a\nSELECT 1;\nb';\nINSERT INTO public.spatial_ref_sys VALUES (1, 'a\nb');\n\
                    INSERT INTO public.note VALUES (1, 'INSERT INTO public.spatial_ref_sys');";
        assert_eq!(loaded(dump), ["INSERT INTO public.note VALUES (1, 'INSERT INTO public.spatial_ref_sys');"]);
    }

    #[test]
    fn a_statement_ends_where_it_ends() {
        for statement in [
            "INSERT INTO a VALUES ('it''s\nGRANT x;\n\\! touch x\n-- ');",
            "INSERT INTO a VALUES (E'it\\'s;\nGRANT x;\n\\\\', 'b\\');",
            "CREATE FUNCTION a() AS $_$\nGRANT x;\n'\n\\.\n$_$;",
            "CREATE FUNCTION a() AS $$ a $x$\nGRANT x; $x$ $$;",
            "CREATE VIEW \"it's\nGRANT x;\" AS SELECT 1 -- that's all;\n  ; -- and that",
            "CREATE VIEW a AS /* it's; /* all */\n;' */ SELECT 1\n  FROM b;",
            "CREATE FUNCTION a() BEGIN ATOMIC\n SELECT 1;\n SELECT 2;\nEND;",
        ] {
            let lines = u64::try_from(statement.lines().count()).unwrap();
            assert_eq!(ends(&format!("{statement}\n\nSELECT 1;")), [lines, lines + 2], "{statement}");
        }
    }

    #[test]
    fn nothing_is_run_that_psql_would_run() {
        for command in ["\\! touch x", "\\connect dhis2", "\\i /etc/passwd", "\\copy a from b"] {
            let error = Script::new().next(command.as_bytes()).unwrap_err();
            assert!(matches!(error, Error::Command { line: 1, .. }), "{command}");
        }
    }

    #[test]
    fn a_dump_that_was_cut_off_is_not_taken_for_whole() {
        let end = |dump: &str| {
            let mut script = Script::new();
            dump.lines().for_each(|line| _ = script.next(line.as_bytes()).unwrap());
            script.finish().is_ok()
        };
        assert!(end("SELECT 1;\n--\n-- PostgreSQL database dump complete\n--\n"));
        assert!(!end("SELECT 1;\n"));
        assert!(!end("COPY a (b) FROM stdin;\n-- PostgreSQL database dump complete\n"));
    }

    #[test]
    fn the_newest_migration_is_seen() {
        let mut script = Script::new();
        let dump = "COPY public.flyway_schema_history (installed_rank, version, description) FROM stdin;\n\
                    1\t2.30.0\ta\n3\t2.41.9\tb\n2\t2.41.33\tc\n4\t\\N\td\n\\.\nCOPY public.a (version) FROM stdin;\n2.99.1\n\\.";
        dump.lines().for_each(|line| _ = script.next(line.as_bytes()).unwrap());
        assert_eq!(script.migrations.newest().as_deref(), Some("2.41.33"));
    }
}
