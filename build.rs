//! Generates messages and gRPC stubs from `proto/` with a parser written in
//! Rust, so that no `protoc` and no second protobuf library is needed.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use protobuf::descriptor::field_descriptor_proto::Type;
use protobuf::descriptor::{
    DescriptorProto, FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto,
    ServiceDescriptorProto,
};
use protobuf::well_known_types::{any, duration, timestamp};
use protobuf::{Message, MessageFull};
use protobuf_parse::Parser;

/// Every file under `proto/` that is compiled.
const PROTOS: &[&str] = &[
    "proto/errors.proto",
    "proto/connection_pool.proto",
    "proto/sql.proto",
    "proto/admin.proto",
    "proto/grpc/health/v1/health.proto",
    "proto/grpc/reflection/v1/reflection.proto",
    "proto/google/rpc/status.proto",
    "proto/google/rpc/error_details.proto",
];

/// A service that is served under the name of a second package too, with the same messages.
const ALIAS: (&str, &str) = ("grpc.reflection.v1", "grpc.reflection.v1alpha");

/// Methods whose answers the server encodes itself, because they are many.
const ENCODED: &[&str] = &["SqlService.Query", "SqlService.CopyOut", "SqlService.Listen"];

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

    let (mut modules, mut methods) = (String::new(), String::new());
    for file in files.file.iter().filter(|f| is_ours(f.name())) {
        let module = module_name(file.name());
        writeln!(modules, "pub mod {module};")?;
        let mut code = String::new();
        for (package, suffix) in packages(file) {
            for service in &file.service {
                let mut service = service.clone();
                let served = format!("{package}.{}", service.name());
                for method in &service.method {
                    writeln!(methods, "    \"/{served}/{}\",", method.name())?;
                }
                service.set_name(format!("{}{suffix}", service.name()));
                write_service(&mut code, file.package(), &served, &module, &service)?;
            }
        }
        if !code.is_empty() {
            if code.contains("Encoded") {
                code.push_str(ENCODED_MESSAGE);
            }
            fs::write(out.join(format!("{module}_grpc.rs")), code)?;
            writeln!(modules, "pub mod {module}_grpc;")?;
        }
    }
    fs::write(out.join("descriptors.bin"), descriptors(&files.file).write_to_bytes()?)?;
    fs::write(out.join("shapes.rs"), shapes(&files.file)?)?;
    writeln!(modules, "mod shapes;")?;
    writeln!(modules, "pub const METHODS: &[&str] = &[\n{methods}];")?;
    fs::write(out.join("mod.rs"), modules)?;
    Ok(())
}

/// The packages under which the services of a file are served, and what their names in the
/// code have behind them.
fn packages(file: &FileDescriptorProto) -> Vec<(&str, &str)> {
    let (package, alias) = ALIAS;
    match file.package() == package {
        true => vec![(package, ""), (alias, "Alpha")],
        false => vec![(file.package(), "")],
    }
}

/// All files with what they import, as reflection sends them.
fn descriptors(files: &[FileDescriptorProto]) -> FileDescriptorSet {
    let mut all = FileDescriptorSet::new();
    all.file = files.iter().filter(|file| is_ours(file.name())).cloned().collect();
    let (package, _) = ALIAS;
    let named_twice = files.iter().filter(|file| file.package() == package);
    all.file.extend(named_twice.map(under_alias));
    // The parser leaves out what is not ours.
    let known = [duration::file_descriptor(), timestamp::file_descriptor(), any::file_descriptor()];
    all.file.extend(known.map(|file| file.proto().clone()));
    all
}

/// The same file as one of the second package.
fn under_alias(file: &FileDescriptorProto) -> FileDescriptorProto {
    let (package, alias) = ALIAS;
    let (from, to) = (format!(".{package}."), format!(".{alias}."));
    let mut file = file.clone();
    file.set_package(alias.to_owned());
    file.set_name(file.name().replace(&package.replace('.', "/"), &alias.replace('.', "/")));
    file.options = None.into();
    for field in file.message_type.iter_mut().flat_map(|message| &mut message.field) {
        if field.has_type_name() {
            field.set_type_name(field.type_name().replace(&from, &to));
        }
    }
    for method in file.service.iter_mut().flat_map(|service| &mut service.method) {
        method.set_input_type(method.input_type().replace(&from, &to));
        method.set_output_type(method.output_type().replace(&from, &to));
    }
    file
}

fn is_ours(name: &str) -> bool {
    PROTOS.iter().any(|p| p.strip_prefix("proto/") == Some(name))
}

fn module_name(file: &str) -> String {
    let stem = Path::new(file).file_stem().and_then(|s| s.to_str());
    stem.unwrap_or_default().replace('-', "_")
}

/// Writes the `Method` constants, a server trait with its binder, and a client of a service
/// that is `served` under this name. Its messages are those of `package`.
fn write_service(
    code: &mut String,
    package: &str,
    served: &str,
    module: &str,
    service: &ServiceDescriptorProto,
) -> Result<(), Box<dyn Error>> {
    let name = service.name();
    let (mut methods, mut handlers, mut binds, mut calls) =
        (String::new(), String::new(), String::new(), String::new());
    for method in &service.method {
        let shape = Shape::of(method);
        let request = message_path(package, module, method.input_type())?;
        let response = message_path(package, module, method.output_type())?;
        let function = snake(method.name());
        let constant = format!("{}_{function}", snake(name)).to_uppercase();
        writeln!(
            methods,
            "pub const {constant}: grpcio::Method<{request}, {response}> = grpcio::Method {{\n\
             \x20   ty: grpcio::MethodType::{},\n\
             \x20   name: \"/{served}/{}\",\n\
             \x20   req_mar: grpcio::Marshaller {{ ser: grpcio::pb_ser, de: grpcio::pb_de }},\n\
             \x20   resp_mar: grpcio::Marshaller {{ ser: grpcio::pb_ser, de: grpcio::pb_de }},\n}};",
            shape.method_type(),
            method.name()
        )?;
        let encoded = ENCODED.contains(&&*format!("{name}.{}", method.name()));
        let answered = if encoded { "Encoded" } else { response.as_str() };
        let marshaller = if encoded { "Encoded" } else { "grpcio" };
        let (write, read) = if encoded { ("write", "read") } else { ("pb_ser", "pb_de") };
        // Whatever the method's shape, on the wire it is messages one after the other. Only a
        // stream of requests gives its messages as they come, with a time limit; and what has
        // one answer sends it in one write, which only a sink for one answer does.
        writeln!(
            methods,
            "const SERVED_{constant}: grpcio::Method<super::Raw<{request}>, {answered}> = grpcio::Method {{\n\
             \x20   ty: grpcio::MethodType::{},\n\
             \x20   name: {constant}.name,\n\
             \x20   req_mar: grpcio::Marshaller {{ ser: super::Raw::write, de: super::Raw::read }},\n\
             \x20   resp_mar: grpcio::Marshaller {{ ser: {marshaller}::{write}, de: {marshaller}::{read} }},\n}};",
            shape.served().0
        )?;
        writeln!(
            handlers,
            "    fn {function}(&mut self, ctx: grpcio::RpcContext<'_>, \
             requests: grpcio::RequestStream<super::Raw<{request}>>, \
             sink: grpcio::{}Sink<{answered}>);",
            shape.served().1
        )?;
        writeln!(
            binds,
            "    let mut handler = service.clone();\n\
             \x20   let builder = builder.add_{}_streaming_handler(&SERVED_{constant}, \
             move |ctx, requests, sink| handler.{function}(ctx, requests, sink));",
            shape.served().2
        )?;
        calls.push_str(&shape.client(&function, &constant, &request, &response));
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

/// The shapes of all requests and of what they hold, as `proto.rs` defines them.
fn shapes(files: &[FileDescriptorProto]) -> Result<String, Box<dyn Error>> {
    let mut known: BTreeMap<String, (String, DescriptorProto)> = BTreeMap::new();
    for file in files.iter().filter(|file| is_ours(file.name())) {
        for message in &file.message_type {
            let path = format!("super::{}::{}", module_name(file.name()), message.name());
            let name = format!(".{}.{}", file.package(), message.name());
            known.insert(name, (path, message.clone()));
        }
    }
    // The parser leaves out what is not ours.
    let path = "protobuf::well_known_types::duration::Duration".to_owned();
    let duration = protobuf::well_known_types::duration::Duration::descriptor();
    known.insert(".google.protobuf.Duration".to_owned(), (path, duration.proto().clone()));

    let services = files.iter().flat_map(|file| &file.service);
    let requests = services.flat_map(|service| &service.method).map(|method| method.input_type());
    let mut wanted: Vec<String> = requests.map(str::to_owned).collect();
    let mut written = BTreeSet::new();
    let mut code = "use super::{Field, FieldContent, MessageShape, Shaped};\n".to_owned();
    while let Some(name) = wanted.pop() {
        let Some((path, message)) = known.get(&name) else {
            return Err(format!("{name} in a request is none of our messages").into());
        };
        if written.insert(name.clone()) {
            let inner = write_shape(&mut code, &shape_name(&name), path, message)?;
            wanted.extend(inner);
        }
    }
    Ok(code)
}

/// Writes one shape; returns the messages that may be in it.
fn write_shape(
    code: &mut String,
    constant: &str,
    path: &str,
    message: &DescriptorProto,
) -> Result<Vec<String>, Box<dyn Error>> {
    let (mut fields, mut inner) = (String::new(), Vec::new());
    for field in &message.field {
        let (wire, content) = match field.type_() {
            Type::TYPE_STRING | Type::TYPE_BYTES => (2, "Text".to_owned()),
            Type::TYPE_MESSAGE => {
                inner.push(field.type_name().to_owned());
                (2, format!("Message(&{})", shape_name(field.type_name())))
            }
            Type::TYPE_DOUBLE | Type::TYPE_FIXED64 | Type::TYPE_SFIXED64 => (1, NUMBER.to_owned()),
            Type::TYPE_FLOAT | Type::TYPE_FIXED32 | Type::TYPE_SFIXED32 => (5, NUMBER.to_owned()),
            Type::TYPE_GROUP => return Err(format!("{path} has a group").into()),
            _ => (0, NUMBER.to_owned()),
        };
        let (tag, name) = (field.number() << 3 | wire, field.name());
        writeln!(
            fields,
            "        Field {{ tag: {tag}, name: \"{name}\", content: FieldContent::{content} }},"
        )?;
    }
    write!(
        code,
        "static {constant}: MessageShape = MessageShape {{\n    name: \"{}\",\n    \
         size: std::mem::size_of::<{path}>(),\n    fields: &[\n{fields}    ],\n}};\n\
         impl Shaped for {path} {{\n    fn shape() -> &'static MessageShape {{\n        \
         &{constant}\n    }}\n}}\n",
        message.name()
    )?;
    Ok(inner)
}

const NUMBER: &str = "Number";

/// `.package.Message` as the name of a constant.
fn shape_name(full: &str) -> String {
    full.trim_start_matches('.').replace('.', "_").to_uppercase()
}

/// A message that was encoded before it came to gRPC.
const ENCODED_MESSAGE: &str = "
pub struct Encoded(pub Vec<u8>);

impl Encoded {
    fn write(&self, slice: &mut grpcio::GrpcSlice) -> grpcio::Result<()> {
        *slice = grpcio::GrpcSlice::from(self.0.as_slice());
        Ok(())
    }

    fn read(mut reader: grpcio::MessageReader) -> grpcio::Result<Encoded> {
        let mut bytes = Vec::new();
        match std::io::Read::read_to_end(&mut reader, &mut bytes) {
            Ok(_) => Ok(Encoded(bytes)),
            Err(error) => Err(grpcio::Error::Codec(Box::new(error))),
        }
    }
}
";

/// Which sides of a method are streams.
#[derive(Clone, Copy)]
enum Shape {
    Unary,
    ServerStream,
    ClientStream,
    Both,
}

impl Shape {
    fn of(method: &MethodDescriptorProto) -> Shape {
        match (method.client_streaming(), method.server_streaming()) {
            (false, false) => Shape::Unary,
            (false, true) => Shape::ServerStream,
            (true, false) => Shape::ClientStream,
            (true, true) => Shape::Both,
        }
    }

    fn method_type(self) -> &'static str {
        match self {
            Shape::Unary => "Unary",
            Shape::ServerStream => "ServerStreaming",
            Shape::ClientStream => "ClientStreaming",
            Shape::Both => "Duplex",
        }
    }

    /// As what it is served: its type, its sink, and the kind of its handler.
    fn served(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Shape::Unary => ("ClientStreaming", "ClientStreaming", "client"),
            _ => ("Duplex", "Duplex", "duplex"),
        }
    }

    /// The client's functions.
    fn client(self, function: &str, constant: &str, request: &str, response: &str) -> String {
        let one = |name: &str, arguments: &str, result: &str, call: &str| {
            format!(
                "    pub fn {name}(&self, {arguments}options: grpcio::CallOption) -> grpcio::Result<{result}> {{\n\
                 \x20       self.0.{call}\n    }}\n"
            )
        };
        let given = format!("request: &{request}, ");
        let call = |kind: &str, arguments: &str| format!("{kind}(&{constant}, {arguments}options)");
        match self {
            Shape::Unary => {
                let later = format!("grpcio::ClientUnaryReceiver<{response}>");
                one(function, &given, response, &call("unary_call", "request, "))
                    + &one(
                        &format!("{function}_async"),
                        &given,
                        &later,
                        &call("unary_call_async", "request, "),
                    )
            }
            Shape::ServerStream => {
                let stream = format!("grpcio::ClientSStreamReceiver<{response}>");
                one(function, &given, &stream, &call("server_streaming", "request, "))
            }
            Shape::ClientStream => {
                let both = format!(
                    "(grpcio::ClientCStreamSender<{request}>, grpcio::ClientCStreamReceiver<{response}>)"
                );
                one(function, "", &both, &call("client_streaming", ""))
            }
            Shape::Both => {
                let both = format!(
                    "(grpcio::ClientDuplexSender<{request}>, grpcio::ClientDuplexReceiver<{response}>)"
                );
                one(function, "", &both, &call("duplex_streaming", ""))
            }
        }
    }
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
