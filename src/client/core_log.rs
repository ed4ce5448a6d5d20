//! The lines of gRPC's C core.

/// Lets the lines of gRPC's C core come through the crate `log`, instead of to stderr in a form of
/// their own. For the whole process, once, when the program's logger is in place: what is written
/// is what its level lets pass, errors at least. Their text is gRPC's own, and may repeat itself.
///
/// ```
/// # fn start_the_logger_of_the_program() {}
/// start_the_logger_of_the_program();
/// connection_pool_manager::client::redirect_log();
/// ```
pub fn redirect_log() {
    grpcio::redirect_log();
}
