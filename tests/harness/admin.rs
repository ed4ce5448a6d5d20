//! A service with identities, and callers of AdminService.

use std::fmt::Write;
use std::ops::Deref;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use connection_pool_manager::client::service::CallError;
use connection_pool_manager::proto::admin_grpc::AdminServiceClient;
use grpcio::{CallOption, ChannelBuilder, ChannelCredentialsBuilder, EnvBuilder, MetadataBuilder};

use super::{Service, PATIENCE};

/// The identities of an administered service: names, tokens and roles.
const IDENTITIES: [(&str, &str, Option<&str>); 3] = [
    ("ops", "token-of-ops", Some("admin")),
    ("eyes", "token-of-eyes", Some("observer")),
    ("shop", "token-of-shop", None),
];

/// The token of those who use it: that of `shop`.
const CLIENTS: &str = "token-of-shop";

/// A service whose file lists the identities `ops` (admin), `eyes` (observer) and `shop`. Its
/// clients are `shop`.
pub struct Administered {
    service: Service,
    directory: tempfile::TempDir,
}

impl Deref for Administered {
    type Target = Service;

    fn deref(&self) -> &Service {
        &self.service
    }
}

impl Administered {
    /// Serves with further arguments, and this behind the identities in its file.
    pub fn with(arguments: &[&str], rest: &str) -> Administered {
        Administered::by(|config| Service::with(&[config, arguments].concat()), rest)
    }

    /// The same whose file says which lines are logged.
    pub fn undisturbed(rest: &str) -> Administered {
        Administered::by(Service::undisturbed, rest)
    }

    fn by(serve: impl FnOnce(&[&str]) -> Service, rest: &str) -> Administered {
        let directory = tempfile::tempdir().expect("a directory");
        let path = write(directory.path(), rest);
        let path = path.to_str().expect("a path in UTF-8");
        let service = serve(&["--config", path]);
        Administered { service: service.with_token(CLIENTS), directory }
    }

    /// Serves.
    pub fn start() -> Administered {
        Administered::with(&[], "")
    }

    /// Kills it, and serves its file again with these arguments.
    pub fn again(self, arguments: &[&str]) -> Administered {
        let directory = self.killed();
        let path = directory.path().join("config.toml");
        let path = path.to_str().expect("a path in UTF-8");
        let service = Service::with(&[&["--config", path], arguments].concat());
        Administered { service: service.with_token(CLIENTS), directory }
    }

    /// Kills it; its file stays as long as this.
    pub fn killed(self) -> tempfile::TempDir {
        let Administered { service, directory } = self;
        // By SIGKILL.
        drop(service);
        directory
    }

    /// Its file.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("config.toml")
    }

    /// Writes its file anew.
    pub fn rewrite(&self, rest: &str) -> PathBuf {
        write(self.directory.path(), rest)
    }

    /// A caller who is this identity.
    pub fn operator(&self, identity: &str) -> Operator {
        let known = IDENTITIES.iter().find(|(name, _, _)| *name == identity);
        let (_, token, _) = known.expect("an identity");
        Operator { token: Some((*token).to_owned()), ..self.stranger() }
    }
}

/// The digest of a token, as a file has it.
pub fn digest(token: &str) -> String {
    openssl::sha::sha256(token.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A file that only its owner reads.
fn write(directory: &Path, rest: &str) -> PathBuf {
    let mut text = String::new();
    for (name, token, role) in IDENTITIES {
        let digest = digest(token);
        let role = role.map_or_else(String::new, |role| format!("role = \"{role}\"\n"));
        let _ =
            write!(text, "[identities.{name}]\ntokens = [{{ sha256 = \"{digest}\" }}]\n{role}\n");
    }
    let path = directory.join("config.toml");
    std::fs::write(&path, text + rest).expect("the file is written");
    let permissions = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(&path, permissions).expect("it is its owner's");
    path
}

/// A caller of AdminService, on a connection of its own.
pub struct Operator {
    pub stub: AdminServiceClient,
    token: Option<String>,
}

impl Operator {
    /// What each of its calls is made with.
    pub fn option(&self) -> CallOption {
        let option = CallOption::default().timeout(5 * PATIENCE).wait_for_ready(true);
        let Some(token) = &self.token else { return option };
        let mut headers = MetadataBuilder::new();
        headers.add_str("authorization", &format!("Bearer {token}")).expect("a token");
        option.headers(headers.build())
    }

    /// The answer to this call, with the error's details.
    pub fn ask<T>(
        &self,
        call: impl FnOnce(&AdminServiceClient, CallOption) -> grpcio::Result<T>,
    ) -> Result<T, CallError> {
        call(&self.stub, self.option()).map_err(CallError::from)
    }
}

impl Service {
    /// A caller of AdminService who shows nothing.
    pub fn stranger(&self) -> Operator {
        let trust = std::fs::read(self.certs.path().join("cert.pem")).expect("a certificate");
        let trust = ChannelCredentialsBuilder::new().root_cert(trust).build();
        let channel = ChannelBuilder::new(Arc::new(EnvBuilder::new().cq_count(1).build()))
            .set_credentials(trust)
            .connect(&format!("localhost:{}", self.port));
        Operator { stub: AdminServiceClient::new(channel), token: None }
    }
}
