//! Other programs as peers: whatever runs and prints a rate.
//!
//! `--external NAME=COMMAND`: the command is run by the shell once a measurement, in the same rounds as the stores. It loads its
//! data itself and prints operations per second, as the last word of its output. What to measure is in its environment:
//! `PEERS_OPERATION` (read, upsert, rmw), `PEERS_DISTRIBUTION` (uniform, zipfian), `PEERS_KEYS`, `PEERS_THREADS`,
//! `PEERS_BATCH` (1 for single operations), `PEERS_SECONDS`.

use std::process::{Command, Stdio};
use std::str::FromStr;

use crate::comparison::{Arguments, Row};
use crate::stores::Failure;

/// A program that prints a rate.
#[derive(Clone, Debug, PartialEq)]
pub struct External {
    pub name: String,
    command: String,
}

impl FromStr for External {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, command)) if !name.is_empty() && !command.trim().is_empty() => {
                Ok(Self { name: name.to_owned(), command: command.to_owned() })
            }
            _ => Err("it is NAME=COMMAND".to_owned()),
        }
    }
}

impl External {
    /// Operations per second.
    pub fn run(&self, arguments: &Arguments, row: &Row) -> Result<f64, Failure> {
        let output = Command::new("sh")
            .args(["-c", &self.command])
            .env("PEERS_OPERATION", row.operation.name())
            .env("PEERS_DISTRIBUTION", row.distribution_name())
            .env("PEERS_KEYS", arguments.keys.to_string())
            .env("PEERS_THREADS", arguments.threads.to_string())
            .env("PEERS_BATCH", row.batch.to_string())
            .env("PEERS_SECONDS", arguments.seconds.to_string())
            .stderr(Stdio::inherit())
            .output()?;
        if !output.status.success() {
            return Err(format!("{} ended with {}", self.name, output.status).into());
        }
        let text = String::from_utf8_lossy(&output.stdout);
        rate(&text).ok_or_else(|| format!("{} printed no rate at the end of: {text}", self.name).into())
    }
}

/// The last word, when it is a rate.
fn rate(text: &str) -> Option<f64> {
    let rate: f64 = text.split_whitespace().last()?.replace(',', "").parse().ok()?;
    (rate.is_finite() && rate > 0.0).then_some(rate)
}

#[cfg(test)]
mod tests {
    use super::{External, rate};

    #[test]
    fn names_commands_and_rates_are_read() {
        let external: External = "faster=./bench --x=1".parse().unwrap();
        assert_eq!((external.name.as_str(), external.command.as_str()), ("faster", "./bench --x=1"));
        assert!(["", "x", "=y", "x= "].iter().all(|text| text.parse::<External>().is_err()));
        assert_eq!(
            (rate("loaded\nrate: 1,234.5\n"), rate("rate: fast"), rate(""), rate("0")),
            (Some(1234.5), None, None, None)
        );
    }
}
