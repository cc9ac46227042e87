//! SQLite in WAL mode with `synchronous=FULL`: a commit is durable when it returns.
//!
//! Twice. A connection for each writer, a transaction for each entry (`BEGIN IMMEDIATE`, as its documentation advises for writers that
//! compete), with its own busy handler: SQLite has one writer at a time and does not group. And one writer thread, to which the
//! others send entries and which commits all that have come in one transaction: what a program would build around it.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};

use super::durable::{Load, Subject, on_threads};
use crate::stores::Failure;

const INSERT: &str = "INSERT INTO log (entry) VALUES (?1)";

fn connect(path: &Path) -> Result<Connection, Failure> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(60))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection
        .execute_batch("CREATE TABLE IF NOT EXISTS log (id INTEGER PRIMARY KEY, entry BLOB NOT NULL)")?;
    Ok(connection)
}

pub struct Connections(PathBuf);

impl Connections {
    pub fn open(folder: &Path) -> Result<Self, Failure> {
        std::fs::create_dir_all(folder)?;
        let path = folder.join("log.sqlite");
        connect(&path)?;
        Ok(Self(path))
    }
}

impl Subject for Connections {
    fn name(&self) -> String {
        "SQLite, a connection for each thread".to_owned()
    }

    fn run(&self, load: Load) -> Result<Vec<Duration>, Failure> {
        on_threads(load, |_| {
            let mut connection = connect(&self.0)?;
            Ok(move |entry: &[u8]| {
                let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
                transaction.prepare_cached(INSERT)?.execute([entry])?;
                Ok(transaction.commit()?)
            })
        })
    }
}

/// An entry, and whom to tell that it is durable.
type Wish = (Vec<u8>, Sender<Result<(), String>>);

pub struct OneWriter(PathBuf);

impl OneWriter {
    pub fn open(folder: &Path) -> Result<Self, Failure> {
        std::fs::create_dir_all(folder)?;
        let path = folder.join("log.sqlite");
        connect(&path)?;
        Ok(Self(path))
    }
}

/// Until nobody can send any more.
fn write(connection: &mut Connection, wishes: &Receiver<Wish>) {
    while let Ok(first) = wishes.recv() {
        let group: Vec<Wish> = std::iter::once(first).chain(wishes.try_iter()).collect();
        let outcome = commit(connection, &group).map_err(|error| error.to_string());
        for (_, told) in group {
            // A writer whose time is up does not listen.
            let _ = told.send(outcome.clone());
        }
    }
}

fn commit(connection: &mut Connection, group: &[Wish]) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    {
        let mut insert = transaction.prepare_cached(INSERT)?;
        for (entry, _) in group {
            insert.execute([entry.as_slice()])?;
        }
    }
    transaction.commit()
}

impl Subject for OneWriter {
    fn name(&self) -> String {
        "SQLite, one thread commits for all".to_owned()
    }

    fn run(&self, load: Load) -> Result<Vec<Duration>, Failure> {
        let (wish, wishes) = channel::<Wish>();
        let mut connection = connect(&self.0)?;
        std::thread::scope(|scope| {
            scope.spawn(move || write(&mut connection, &wishes));
            let times = on_threads(load, |_| {
                let wish = wish.clone();
                let (tell, told) = channel();
                Ok(move |entry: &[u8]| {
                    wish.send((entry.to_vec(), tell.clone()))?;
                    Ok(told.recv()??)
                })
            });
            drop(wish);
            times
        })
    }
}
