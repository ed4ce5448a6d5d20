//! What the command line asks for.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::harness::now;
use crate::Answer;

pub const USAGE: &str = "\
Measures the service beside its peers, in turns, on this machine. Prints; asserts nothing.

  make bench                          every row, in less than 15 minutes
  make bench ARGS=--short             in 3 minutes, rougher, and some rows less
  make bench ARGS=\"tpc-b one-shot\"    rows and groups with one of these words in their name
  make bench ARGS=--list              their names

  --seconds N    length of a round (default 2; short: 1)
  --rounds N     rounds of each contender (default 5; short: 3)
  --json FILE    where the figures go (default: bench.json in the target directory)
  --chart FILE   where the chart goes (default: bench.svg there)";

/// Whatever was not begun by then is left out.
const LIMIT: Duration = Duration::from_secs(14 * 60);
const SHORT_LIMIT: Duration = Duration::from_secs(160);

pub struct Options {
    pub list: bool,
    pub help: bool,
    pub short: bool,
    pub rounds: usize,
    pub length: Duration,
    pub json: PathBuf,
    pub chart: PathBuf,
    words: Vec<String>,
    until: Instant,
}

impl Options {
    pub fn read(arguments: impl Iterator<Item = String>) -> Answer<Options> {
        let target = target_directory();
        let mut options = Options {
            list: false,
            help: false,
            short: false,
            rounds: 0,
            length: Duration::ZERO,
            json: target.join("bench.json"),
            chart: target.join("bench.svg"),
            words: Vec::new(),
            until: now(),
        };
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
            match &*argument {
                // Cargo says it to every bench.
                "--bench" => {}
                "--list" => options.list = true,
                "--help" | "-h" => options.help = true,
                "--short" => options.short = true,
                "--rounds" => options.rounds = value()?.parse()?,
                "--seconds" => options.length = Duration::from_secs(value()?.parse()?),
                "--json" => options.json = value()?.into(),
                "--chart" => options.chart = value()?.into(),
                flag if flag.starts_with('-') => {
                    return Err(format!("{flag} is no flag of this\n\n{USAGE}").into())
                }
                word => options.words.push(word.to_owned()),
            }
        }
        let (rounds, seconds) = if options.short { (3, 1) } else { (5, 2) };
        if options.rounds == 0 {
            options.rounds = rounds;
        }
        if options.length.is_zero() {
            options.length = Duration::from_secs(seconds);
        }
        options.until = now() + if options.short { SHORT_LIMIT } else { LIMIT };
        Ok(options)
    }

    /// True if the row, or its whole group, was asked for.
    pub fn wants(&self, group: &str, row: &str) -> bool {
        let is_in = |word: &String| group.contains(&**word) || row.contains(&**word);
        self.words.is_empty() || self.words.iter().any(is_in)
    }

    pub fn is_late(&self) -> bool {
        now() >= self.until
    }
}

/// The directory of the build, from where this program lies in it.
pub fn target_directory() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    own.ancestors().nth(3).map(PathBuf::from).unwrap_or_default()
}
