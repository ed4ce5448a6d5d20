//! The echo service that is called, as a process of its own.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use connection_pool_manager::client::raw;
use grpcio::{
    ChannelBuilder, Environment, Method, ServerBuilder, ServerCredentials,
    ServerCredentialsBuilder, ServiceBuilder,
};
use openssl::asn1::Asn1Time;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::x509::extension::SubjectAlternativeName;
use openssl::x509::{X509NameBuilder, X509};

/// Its method.
pub fn method() -> Method<Vec<u8>, Vec<u8>> {
    raw("/bench.Echo/Say")
}

/// Echoes until its input ends.
pub fn serve(port: &str, tls: Option<(&String, &String)>) {
    let environment = Arc::new(Environment::new(2));
    let service = ServiceBuilder::new()
        .add_unary_handler(&method(), |ctx, request: Vec<u8>, sink| {
            ctx.spawn(async move { drop(sink.success(request).await) });
        })
        .build();
    let arguments = ChannelBuilder::new(Arc::clone(&environment)).reuse_port(false);
    let mut server = ServerBuilder::new(environment)
        .register_service(service)
        .channel_args(arguments.build_args())
        .build()
        .unwrap();
    let credentials = match tls {
        None => ServerCredentials::insecure(),
        Some((cert, key)) => ServerCredentialsBuilder::new()
            .add_cert(std::fs::read(cert).unwrap(), std::fs::read(key).unwrap())
            .build(),
    };
    let port = server.add_listening_port(format!("127.0.0.1:{port}"), credentials).unwrap();
    server.start();
    println!("{port}");
    let _ = std::io::stdin().read(&mut [0]);
}

/// The echo service as a process. Killed when dropped.
pub struct Server {
    pub port: u16,
    pub child: Child,
}

impl Server {
    pub fn start(port: u16, tls: Option<&str>) -> Server {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["serve", &port.to_string()]);
        if let Some(dir) = tls {
            command.args([format!("{dir}/cert.pem"), format!("{dir}/key.pem")]);
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        Server { port: line.trim().parse().unwrap(), child }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A certificate for 127.0.0.1 that is its own authority, and its key.
pub fn certificate() -> (Vec<u8>, Vec<u8>) {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_nid(Nid::COMMONNAME, "bench").unwrap();
    let name = name.build();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_subject_name(&name).unwrap();
    builder.set_issuer_name(&name).unwrap();
    builder.set_pubkey(&key).unwrap();
    builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::days_from_now(2).unwrap()).unwrap();
    let context = builder.x509v3_context(None, None);
    let names = SubjectAlternativeName::new().ip("127.0.0.1").build(&context).unwrap();
    builder.append_extension(names).unwrap();
    builder.sign(&key, MessageDigest::sha256()).unwrap();
    (builder.build().to_pem().unwrap(), key.private_key_to_pem_pkcs8().unwrap())
}
