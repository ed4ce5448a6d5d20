//! Prepares statements, and resolves the types of their parameters and columns.

use std::sync::Arc;

use crate::backend::pg::body::PgBackend;
use crate::backend::pg::prepared::{AnswerSize, Name, Prepared};
use crate::backend::session::{RunError, Sent};
use crate::backend::statement::Statement;
use crate::clock;
use crate::core::value::Column;
use crate::error::{Excess, PgFault};
use crate::pgwire::fault::fault_in;
use crate::pgwire::message::{self, ColumnField, Message};

/// PostgreSQL's description of a statement.
#[derive(Default)]
struct Described {
    parameters: Vec<u32>,
    returns_rows: bool,
    columns: Vec<ColumnField>,
}

impl PgBackend {
    /// A name for a statement that is to be cached, or none.
    fn name(&mut self, named: bool) -> Name {
        self.numbered += u64::from(named);
        let name = if named { format!("connpool.{}", self.numbered) } else { String::new() };
        Name::new(name, &self.closing)
    }

    /// Writes the messages that prepare a statement, after a Close for each statement no
    /// longer needed.
    fn write_prepare(&mut self, name: &str, sql: &str) -> Result<(), RunError> {
        let closed = self.closing.take();
        let out = &mut self.conversation.out;
        let written = closed.iter().try_for_each(|name| out.close(name));
        let written = written.and_then(|()| out.parse(name, sql));
        if written.and_then(|()| out.describe(name)).is_err() {
            out.clear();
            return Err(RunError::Unsupported("sql is too long for one message of the protocol"));
        }
        out.sync();
        Ok(())
    }

    /// Prepares a user's statement, under a name if it is to be cached.
    pub(super) fn prepare(&mut self, sql: &str, named: bool) -> Result<Arc<Prepared>, RunError> {
        let name = self.name(named);
        self.conversation.bounds.start_question();
        self.write_prepare(name.as_str(), sql)?;
        if self.conversation.send().is_err() {
            return Err(self.lost(Sent::Nothing));
        }
        let described = self.described()?.map_err(|fault| self.faulted(fault))?;
        self.resolve(name, described)
    }

    /// Prepares several statements for the cache in one write. Failures are left out: they
    /// are reported when the statement is run.
    ///
    /// # Errors
    /// The connection is gone.
    pub(super) fn prepare_all(&mut self, all: &[&Statement]) -> Result<(), RunError> {
        let mut names = Vec::new();
        self.conversation.bounds.start_lookups();
        for statement in all {
            let name = self.name(true);
            self.write_prepare(name.as_str(), &statement.sql)?;
            names.push(name);
        }
        if self.conversation.send().is_err() {
            return Err(self.lost(Sent::Nothing));
        }
        let mut found = Vec::new();
        for (statement, name) in all.iter().zip(names) {
            found.extend(self.described()?.ok().map(|described| (statement, name, described)));
        }
        for (statement, name, described) in found {
            match self.resolve(name, described) {
                Ok(prepared) => {
                    self.statements.make_room();
                    self.statements.keep(statement, &prepared, prepared.memory(), clock::now());
                }
                Err(error @ RunError::Lost { .. }) => return Err(error),
                Err(_) => {}
            }
        }
        Ok(())
    }

    fn resolve(&mut self, name: Name, described: Described) -> Result<Arc<Prepared>, RunError> {
        let ours = described.columns.iter().map(|column| column.type_oid);
        let oids: Vec<u32> = described.parameters.iter().copied().chain(ours).collect();
        let mut types = match self.types.resolve(&oids, &mut self.conversation) {
            Ok(types) => types.into_iter(),
            Err(Some(fault)) => return Err(RunError::Lookup(fault)),
            Err(None) => return Err(self.lost(Sent::Nothing)),
        };
        let (count, returns_rows) = (described.parameters.len(), described.returns_rows);
        let parameters = types.by_ref().take(count).map(|resolved| resolved.shape).collect();
        let (mut columns, mut shapes, mut texts) = (Vec::new(), Vec::new(), Vec::new());
        for (field, resolved) in described.columns.into_iter().zip(types) {
            let ColumnField { name, table_oid, type_oid } = field;
            let type_name = resolved.name.as_ref().to_owned();
            columns.push(Column { name, type_oid, type_name, table_oid });
            shapes.push(resolved.shape);
            texts.push(resolved.is_text);
        }
        let (is_command, answered) = (false, AnswerSize::default());
        Ok(Arc::new(Prepared {
            name,
            parameters,
            returns_rows,
            columns,
            shapes,
            texts,
            is_command,
            answered,
        }))
    }

    /// Reads PostgreSQL's description of a statement, or its error.
    fn described(&mut self) -> Result<Result<Described, Box<PgFault>>, RunError> {
        let (mut described, mut failed) = (Described::default(), None);
        let mut is_whole = false;
        loop {
            let excess = match self.conversation.receive() {
                Err(_) => return Err(self.lost(Sent::Nothing)),
                Ok(Message::Parsed | Message::Closed) => continue,
                Ok(Message::NoColumns) => {
                    is_whole = true;
                    continue;
                }
                Ok(Message::Error(fields)) => {
                    failed = Some(Box::new(fault_in(fields)));
                    continue;
                }
                Ok(Message::Ready(_)) if is_whole || failed.is_some() => break,
                Ok(Message::Parameters(body)) => match message::parameters(body) {
                    Some(parameters) => {
                        described.parameters = parameters;
                        continue;
                    }
                    None => Excess::Garbage(b't'),
                },
                Ok(Message::Columns(body)) => match message::columns(body) {
                    Some(columns) => {
                        (described.columns, described.returns_rows) = (columns, true);
                        is_whole = true;
                        continue;
                    }
                    None => Excess::Garbage(b'T'),
                },
                Ok(_) => Excess::OutOfTurn("while a statement is prepared"),
            };
            return Err(self.garbled(excess, Sent::Nothing));
        }
        Ok(failed.map_or(Ok(described), Err))
    }
}
