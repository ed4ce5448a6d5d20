//! Generates messages and gRPC stubs from `proto/` with a parser written in
//! Rust, so that no `protoc` and no second protobuf library is needed.

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use protobuf::descriptor::ServiceDescriptorProto;
use protobuf_parse::Parser;

/// Every file under `proto/` that is compiled.
const PROTOS: &[&str] = &[
    "proto/errors.proto",
    "proto/connection_pool.proto",
    "proto/sql.proto",
    "proto/google/rpc/status.proto",
    "proto/google/rpc/error_details.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var("OUT_DIR")?).join("pb");
    fs::create_dir_all(&out)?;
    protobuf_codegen::Codegen::new()
        .pure()
        .out_dir(&out)
        .include("proto")
        .inputs(PROTOS)
        .run_from_script();
    let files = Parser::new().pure().include("proto").inputs(PROTOS).file_descriptor_set()?;

    let mut modules = String::new();
    for file in files.file.iter().filter(|f| is_ours(f.name())) {
        let module = module_name(file.name());
        writeln!(modules, "pub mod {module};")?;
        let mut code = String::new();
        for service in &file.service {
            write_service(&mut code, file.package(), &module, service)?;
        }
        if !code.is_empty() {
            fs::write(out.join(format!("{module}_grpc.rs")), code)?;
            writeln!(modules, "pub mod {module}_grpc;")?;
        }
    }
    fs::write(out.join("mod.rs"), modules)?;
    Ok(())
}

fn is_ours(name: &str) -> bool {
    PROTOS.iter().any(|p| p.strip_prefix("proto/") == Some(name))
}

fn module_name(file: &str) -> String {
    let stem = Path::new(file).file_stem().and_then(|s| s.to_str());
    stem.unwrap_or_default().replace('-', "_")
}

/// Writes the `Method` constants, a server trait with its binder, and a client.
///
/// Unary methods are bound as server streams of one message: on the wire they
/// are the same, and only a streaming sink can tell that its caller has left.
fn write_service(
    code: &mut String,
    package: &str,
    module: &str,
    service: &ServiceDescriptorProto,
) -> Result<(), Box<dyn Error>> {
    let name = service.name();
    let (mut methods, mut handlers, mut binds, mut calls) =
        (String::new(), String::new(), String::new(), String::new());
    for method in &service.method {
        if method.client_streaming() || method.server_streaming() {
            return Err(format!("{name}.{}: streams are not generated yet", method.name()).into());
        }
        let request = message_path(package, module, method.input_type())?;
        let response = message_path(package, module, method.output_type())?;
        let function = snake(method.name());
        let constant = format!("{}_{function}", snake(name)).to_uppercase();
        writeln!(
            methods,
            "pub const {constant}: grpcio::Method<{request}, {response}> = grpcio::Method {{\n\
             \x20   ty: grpcio::MethodType::Unary,\n\
             \x20   name: \"/{package}.{name}/{}\",\n\
             \x20   req_mar: grpcio::Marshaller {{ ser: grpcio::pb_ser, de: grpcio::pb_de }},\n\
             \x20   resp_mar: grpcio::Marshaller {{ ser: grpcio::pb_ser, de: grpcio::pb_de }},\n}};",
            method.name()
        )?;
        writeln!(
            handlers,
            "    fn {function}(&mut self, ctx: grpcio::RpcContext<'_>, request: {request}, \
             sink: grpcio::ServerStreamingSink<{response}>);"
        )?;
        writeln!(
            binds,
            "    let mut handler = service.clone();\n\
             \x20   let builder = builder.add_server_streaming_handler(&{constant}, \
             move |ctx, request, sink| handler.{function}(ctx, request, sink));"
        )?;
        writeln!(
            calls,
            "    pub fn {function}(&self, request: &{request}, options: grpcio::CallOption) \
             -> grpcio::Result<{response}> {{\n\
             \x20       self.0.unary_call(&{constant}, request, options)\n    }}\n\
             \x20   pub fn {function}_async(&self, request: &{request}, options: grpcio::CallOption) \
             -> grpcio::Result<grpcio::ClientUnaryReceiver<{response}>> {{\n\
             \x20       self.0.unary_call_async(&{constant}, request, options)\n    }}"
        )?;
    }
    let create = snake(name);
    write!(
        code,
        "{methods}\n\
         pub trait {name} {{\n{handlers}}}\n\n\
         pub fn create_{create}<S: {name} + Send + Clone + 'static>(service: S) -> grpcio::Service {{\n\
         \x20   let builder = grpcio::ServiceBuilder::new();\n{binds}    builder.build()\n}}\n\n\
         #[derive(Clone)]\n\
         pub struct {name}Client(grpcio::Client);\n\n\
         impl {name}Client {{\n\
         \x20   pub fn new(channel: grpcio::Channel) -> Self {{\n        Self(grpcio::Client::new(channel))\n    }}\n\
         {calls}}}\n"
    )?;
    Ok(())
}

/// `.package.Message` as the path of the generated type. Requests and responses
/// are top-level messages of the service's own file.
fn message_path(package: &str, module: &str, full: &str) -> Result<String, Box<dyn Error>> {
    match full.strip_prefix(&format!(".{package}.")) {
        Some(name) if !name.contains('.') => Ok(format!("super::{module}::{name}")),
        _ => Err(format!("{full} must be a top-level message of {module}.proto").into()),
    }
}

fn snake(camel: &str) -> String {
    let mut out = String::new();
    for (i, c) in camel.chars().enumerate() {
        if c.is_uppercase() && i > 0 {
            out.push('_');
        }
        out.extend(c.to_lowercase());
    }
    out
}
