//! SQL by `psql`: tenants, statements and the strings to connect with.

use std::io::{Seek, Write};
use std::path::Path;
use std::process::Stdio;

use super::error::{io_failed, EmbeddedError};
use super::Embedded;

impl Embedded {
    /// The connection string of the superuser; it holds the password.
    pub fn superuser_dsn(&self, dbname: &str) -> String {
        self.dsn(SUPERUSER, &self.password, dbname)
    }

    /// The connection string of a tenant, whose database has its name.
    pub fn tenant_dsn(&self, name: &str, password: &str) -> String {
        self.dsn(name, password, name)
    }

    /// Makes the role `name`, which may log in with `password`, and the
    /// database `name`, which it owns.
    pub fn create_tenant(&self, name: &str, password: &str) -> Result<(), EmbeddedError> {
        // PostgreSQL would cut a longer name short, and find it under no other.
        if !(1..=MAX_NAME_BYTES).contains(&name.len())
            || name.contains('\0')
            || password.contains('\0')
        {
            return Err(EmbeddedError::BadTenant(name.to_owned()));
        }
        let identifier = quote_identifier(name);
        // A failed statement is repeated neither by psql nor in the server's
        // log, because it holds the password.
        let statements = format!(
            "\\set VERBOSITY terse\n\
             SET log_min_error_statement = panic;\n\
             CREATE ROLE {identifier} LOGIN PASSWORD {};\n\
             CREATE DATABASE {identifier} OWNER {identifier};\n",
            quote_literal(password)
        );
        self.sql(SUPERUSER, &statements).map(drop)
    }

    /// Runs statements as the superuser, one by one and not in a transaction
    /// of their own, and returns what `psql -XAtq` prints. Ends at the first
    /// error. A statement may take a minute.
    pub fn sql(&self, dbname: &str, sql: &str) -> Result<String, EmbeddedError> {
        let psql = Path::new("psql");
        // From an unnamed file: an argument would show in the list of
        // processes, and a pipe could block against psql's output.
        let mut script = tempfile::tempfile().map_err(|source| {
            EmbeddedError::TemporaryDirectory { path: std::env::temp_dir(), source }
        })?;
        script
            .write_all(sql.as_bytes())
            .and_then(|()| script.rewind())
            .map_err(io_failed("make a script for", psql))?;

        let target = format!(
            "host=127.0.0.1 port={} user={SUPERUSER} dbname={} connect_timeout=10 \
             sslmode=verify-ca sslrootcert={}",
            self.port,
            quote_value(dbname),
            quote_value(&self.ca_file.to_string_lossy())
        );
        let output = self
            .programs
            .psql()
            .args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", &target])
            .env("PGPASSWORD", &self.password)
            .env("PGOPTIONS", "-c statement_timeout=60s")
            .stdin(Stdio::from(script))
            .output()
            .map_err(io_failed("start", psql))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(EmbeddedError::Sql { dbname: dbname.to_owned(), message })
    }

    fn dsn(&self, user: &str, password: &str, dbname: &str) -> String {
        format!(
            "host=127.0.0.1 port={} user={} password={} dbname={}",
            self.port,
            quote_value(user),
            quote_value(password),
            quote_value(dbname)
        )
    }
}

fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// For servers with `standard_conforming_strings`, the default since 9.1.
fn quote_literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A value of a connection string, quoted only when it must be.
fn quote_value(value: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:".contains(&byte);
    if !value.is_empty() && value.bytes().all(is_plain) {
        return value.to_owned();
    }
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))
}

const SUPERUSER: &str = "postgres";
/// NAMEDATALEN - 1.
const MAX_NAME_BYTES: usize = 63;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_quotes() {
        assert_eq!(quote_identifier(r#"a"; DROP"#), r#""a""; DROP""#);
        assert_eq!(quote_literal("it's"), "'it''s'");
    }

    #[test]
    fn a_connection_string_quotes_only_what_needs_it() {
        assert_eq!(quote_value("tenant-1"), "tenant-1");
        assert_eq!(quote_value(""), "''");
        assert_eq!(quote_value(r"a b'c\"), r"'a b\'c\\'");
    }
}
