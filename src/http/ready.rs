//! Readiness as JSON.

use std::fmt::Write;

use crate::core::json::string as quoted;
use crate::pool::report::Report;
use crate::pool::snapshot::TenantSnapshot;

/// True if the status is to cover all tenants too. Any other query is refused: a misspelt
/// probe would otherwise get a 200 for something it did not ask for.
///
/// # Errors
/// The rule that the query breaks.
pub(super) fn asks_for_tenants(query: &str) -> Result<bool, &'static str> {
    match query {
        "" => Ok(false),
        "tenants=all" => Ok(true),
        _ => Err("unknown query: use /health/ready or /health/ready?tenants=all\n"),
    }
}

/// The status code and the page. The status covers the service alone, or with `tenants`
/// all tenants too.
pub(super) fn page(report: &Report, tenants: bool) -> (u16, String) {
    let mut page = format!(
        "{{\"status\":\"{}\",\"draining\":{},\"grpc\":\"{}\",\"tenants\":[",
        report.status(),
        report.draining,
        report.grpc.as_str()
    );
    for (n, row) in report.rows.iter().enumerate() {
        page.push_str(if n > 0 { "," } else { "" });
        write_row(&mut page, row);
    }
    page.push_str("]}\n");
    let good = if tenants { report.is_all_well() } else { report.is_ready() };
    (if good { 200 } else { 503 }, page)
}

fn write_row(page: &mut String, row: &TenantSnapshot) {
    let (error, at) = row.last_error.clone().unzip();
    let error = error.map_or("null".to_owned(), |error| quoted(&error));
    // Writing into memory does not fail.
    let _ = write!(
        page,
        "{{\"tenant\":{},\"status\":\"{}\",\"breaker\":\"{}\",\"starving\":{},\"paused\":{},\"last_check\":{},\
         \"last_error\":{error},\"last_error_at\":{}}}",
        quoted(row.tenant.as_str()),
        row.level.as_str(),
        row.figures.breaker.as_str(),
        row.starving,
        row.figures.paused.is_some(),
        seconds(row.last_check),
        seconds(at),
    );
}

/// Seconds since 1970.
fn seconds(micros: Option<u64>) -> String {
    let written = |micros| format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    micros.map_or("null".to_owned(), written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_all_tenants_may_be_asked_for() {
        assert_eq!((asks_for_tenants(""), asks_for_tenants("tenants=all")), (Ok(false), Ok(true)));
        for query in ["tenants=ALL", "tenant=acme", "tenants=all&x=1", "tenants", "&"] {
            assert!(asks_for_tenants(query).is_err(), "{query}");
        }
    }

    #[test]
    fn times_are_seconds_or_null() {
        assert_eq!(seconds(None), "null");
        assert_eq!(seconds(Some(1_700_000_000_000_042)), "1700000000.000042");
    }
}
