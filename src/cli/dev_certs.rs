//! `dev-certs`: certificates for development.

use std::path::Path;

use super::{Outcome, DEV_NAMES};
use crate::dev_certs::{client, ensure, with_authority, Came, DevCerts};

/// Makes what is asked for, and prints the files.
pub(super) fn run(dir: &Path, names: &[String], authority: bool, clients: &[String]) -> Outcome {
    std::fs::create_dir_all(dir)?;
    let mut all: Vec<&str> = DEV_NAMES.to_vec();
    all.extend(names.iter().map(String::as_str));
    if authority {
        with_authority(dir, &all)?.iter().for_each(tell);
    } else {
        tell(&ensure(dir, &all)?);
    }
    for name in clients {
        tell(&client(dir, name)?);
    }
    Ok(())
}

fn tell(certs: &DevCerts) {
    let came = match certs.came {
        Came::Kept => "was there",
        Came::Made => "made",
        Came::Renewed => "had expired, made anew",
    };
    println!("{} ({came})\n{}", certs.cert.display(), certs.key.display());
}
