//! `dev-certs`: certificates for development.

use std::path::Path;

use super::{Ran, DEV_NAMES};
use crate::dev_certs::{client, ensure, with_authority, Came, DevCerts};

/// Creates the requested certificates and prints the names of their files.
pub(super) fn run(dir: &Path, names: &[String], authority: bool, clients: &[String]) -> Ran {
    std::fs::create_dir_all(dir)?;
    let mut all: Vec<&str> = DEV_NAMES.to_vec();
    all.extend(names.iter().map(String::as_str));
    if authority {
        with_authority(dir, &all)?.iter().for_each(print);
    } else {
        print(&ensure(dir, &all)?);
    }
    for name in clients {
        print(&client(dir, name)?);
    }
    Ok(())
}

fn print(certs: &DevCerts) {
    let came = match certs.came {
        Came::Kept => "existed",
        Came::Made => "made",
        Came::Renewed => "had expired, renewed",
    };
    println!("{} ({came})\n{}", certs.cert.display(), certs.key.display());
}
