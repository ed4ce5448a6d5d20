use std::path::PathBuf;

use super::*;

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md")
}

fn page() -> String {
    std::fs::read_to_string(path()).unwrap()
}

#[test]
fn the_tables_of_the_document_are_those_of_the_code() {
    let (page, made) = (page(), refreshed(&page()).unwrap());
    let differs: Vec<_> = page.lines().zip(made.lines()).filter(|(is, be)| is != be).collect();
    assert!(
        page == made,
        "docs/configuration.md is not as the code is: `make tables` writes it.\n{:#?}",
        differs.first()
    );
    for key in keys::keys() {
        for other in key.also {
            assert!(page.contains(&format!("`{other}`")), "no {other}");
        }
    }
}

#[test]
fn what_is_wrong_in_a_table_is_put_right_and_all_else_stays() {
    let page = page();
    let wrong = page.replace("| `--port` | `CPM_PORT` | `50052` |", "| `--port` | other |");
    let wrong = wrong.replace("| `dsn_env` |", "| `dsn_environment` |");
    assert!(wrong != page && !wrong.contains("`dsn_env` |"), "this test looks wrongly");
    assert_eq!(refreshed(&wrong), Ok(page.clone()));
    assert_eq!(refreshed(&page.replace("<!-- end -->", "")), Err(INCOMPLETE));
    assert_eq!(refreshed(&page.replace("<!-- keys: defaults -->", "")), Err(INCOMPLETE));
}

/// No test: writes the tables into the document.
#[test]
#[ignore = "it writes docs/configuration.md"]
fn write_the_tables_into_the_document() {
    std::fs::write(path(), refreshed(&page()).unwrap()).unwrap();
}
