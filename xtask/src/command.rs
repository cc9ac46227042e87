//! A child process: shown before it runs, its output passed through, limited in time, judged by its exit code.
//!
//! The time limit exists for CI, where a hanging test must become a failed step and not a lost run. It puts the child
//! into a process group of its own and ends the group; at a terminal there is no limit, so that Ctrl-C works as usual.

use std::ffi::{OsStr, OsString};
use std::io::{IsTerminal, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::step::Outcome;

/// How long one child may take when nobody watches.
const LIMIT: Duration = Duration::from_mins(30);

/// How much of a command line the reason of a failure repeats.
const SHORT_CHARACTERS: usize = 60;

/// A command line under construction.
pub(crate) struct CommandLine {
    command: Command,
    shown: Vec<OsString>,
}

impl CommandLine {
    /// `program`, to be run in `folder`.
    pub(crate) fn new(program: impl AsRef<OsStr>, folder: &Path) -> Self {
        let mut command = Command::new(&program);
        command.current_dir(folder);
        Self { command, shown: vec![program.as_ref().to_owned()] }
    }

    /// The cargo that started this program.
    pub(crate) fn cargo(folder: &Path) -> Self {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut line = Self::new(cargo, folder);
        line.shown = vec!["cargo".into()];
        line
    }

    pub(crate) fn args<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        for argument in arguments {
            self.command.arg(&argument);
            self.shown.push(argument.as_ref().to_owned());
        }
        self
    }

    /// Sets an environment variable, and shows it in front of the command.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, &value);
        let mut setting = OsString::from(format!("{name}="));
        setting.push(&value);
        self.shown.insert(0, setting);
        self
    }

    fn display(&self) -> String {
        let words: Vec<String> = self
            .shown
            .iter()
            .map(|word| {
                let word = word.to_string_lossy();
                if word.contains(' ') { format!("'{word}'") } else { word.into_owned() }
            })
            .collect();
        words.join(" ")
    }

    /// What the table has room for: the beginning of the command, without its environment.
    fn short(&self) -> String {
        let words: Vec<_> = self.shown.iter().map(|word| word.to_string_lossy()).collect();
        let name = words.iter().position(|word| !word.contains('=')).unwrap_or(0);
        let line = words.get(name..).unwrap_or_default().join(" ");
        if line.chars().count() <= SHORT_CHARACTERS {
            return line;
        }
        line.chars().take(SHORT_CHARACTERS).chain(" ..".chars()).collect()
    }

    /// Runs it to its end.
    pub(crate) fn run(mut self) -> Outcome {
        println!("$ {}", self.display());
        let shown = self.short();
        let limited = !std::io::stdin().is_terminal();
        if limited {
            own_process_group(&mut self.command);
        }
        let mut child = match self.command.stdin(Stdio::null()).spawn() {
            Ok(child) => child,
            Err(error) => return Outcome::Failed(format!("could not start `{shown}`: {error}")),
        };
        match wait(&mut child, limited.then_some(LIMIT)) {
            Ok(Some(status)) if status.success() => Outcome::Passed,
            Ok(Some(status)) => Outcome::Failed(format!("`{shown}`: {status}")),
            Ok(None) => Outcome::Failed(format!("`{shown}` took more than {} minutes", LIMIT.as_secs() / 60)),
            Err(error) => Outcome::Failed(format!("could not wait for `{shown}`: {error}")),
        }
    }

    /// Runs it and returns what it wrote to standard output; an error in words otherwise.
    pub(crate) fn output(mut self) -> Result<String, String> {
        let shown = self.display();
        let mut child = self
            .command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("could not start `{shown}`: {error}"))?;
        let mut text = String::new();
        if let Some(mut stdout) = child.stdout.take() {
            stdout.read_to_string(&mut text).map_err(|error| format!("`{shown}`: {error}"))?;
        }
        let status = child.wait().map_err(|error| format!("`{shown}`: {error}"))?;
        if status.success() { Ok(text) } else { Err(format!("`{shown}`: {status}")) }
    }

    /// Whether it starts and ends well, with all output thrown away: for asking whether a tool is there.
    pub(crate) fn works(mut self) -> bool {
        self.command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }
}

#[cfg(unix)]
fn own_process_group(command: &mut Command) {
    use std::os::unix::process::CommandExt;
    command.process_group(0);
}

#[cfg(not(unix))]
fn own_process_group(_command: &mut Command) {}

/// The exit status, or nothing when the limit passed first (the process group has been ended then).
#[expect(clippy::disallowed_methods, reason = "waits for another program; nothing simulates this one")]
fn wait(child: &mut Child, limit: Option<Duration>) -> std::io::Result<Option<std::process::ExitStatus>> {
    let Some(limit) = limit else { return child.wait().map(Some) };
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if start.elapsed() >= limit {
            if cfg!(unix) {
                Command::new("kill").args(["-KILL", "--", &format!("-{}", child.id())]).status()?;
            }
            // Where there are no process groups this ends at least the direct child.
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_can_be_pasted() {
        let line = CommandLine::cargo(Path::new("."))
            .args(["test", "--features", "a b"])
            .env("RUSTFLAGS", "--cfg loom");
        assert_eq!(line.display(), "'RUSTFLAGS=--cfg loom' cargo test --features 'a b'");
        assert_eq!(line.short(), "cargo test --features a b");
        assert_eq!(line.args(["x".repeat(100)]).short().chars().count(), SHORT_CHARACTERS + " ..".len());
    }

    #[test]
    fn a_bad_exit_code_and_a_missing_program_are_failures() {
        let bad = CommandLine::cargo(Path::new(".")).args(["no-such-subcommand"]);
        assert!(matches!(bad.run(), Outcome::Failed(_)));
        let missing = CommandLine::new("no-such-program-anywhere", Path::new("."));
        assert!(matches!(missing.run(), Outcome::Failed(_)));
        assert!(!CommandLine::new("no-such-program-anywhere", Path::new(".")).works());
        assert!(CommandLine::cargo(Path::new(".")).args(["--version"]).works());
    }

    #[cfg(unix)]
    #[test]
    #[expect(clippy::disallowed_methods, reason = "measures another program")]
    fn the_limit_ends_the_child_and_what_it_started() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 60 & wait"]).stdout(Stdio::piped());
        own_process_group(&mut command);
        let start = Instant::now();
        let mut child = command.spawn().expect("sh is there on unix");
        let mut stdout = child.stdout.take().expect("it was piped");
        let ended = wait(&mut child, Some(Duration::from_millis(50))).expect("waiting works");
        assert_eq!(ended, None);
        // The end of the pipe comes when the last process that inherited it is gone.
        stdout.read_to_end(&mut Vec::new()).expect("a pipe can be read");
        assert!(start.elapsed() < Duration::from_secs(30), "the grandchild outlived the limit");
    }
}
