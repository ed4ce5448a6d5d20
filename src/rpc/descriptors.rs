//! The files that define the services, found by name and by what they define.

use std::collections::{HashMap, HashSet};

use protobuf::descriptor::{DescriptorProto, FileDescriptorProto, FileDescriptorSet};
use protobuf::Message;

/// An index of files.
#[derive(Debug, Default)]
pub(super) struct Descriptors {
    files: Vec<File>,
    by_name: HashMap<String, usize>,
    /// Services, methods, messages, fields and enums by their full names.
    by_symbol: HashMap<String, usize>,
    messages: HashSet<String>,
    services: Vec<String>,
}

#[derive(Debug)]
struct File {
    encoded: Vec<u8>,
    imports: Vec<String>,
}

impl Descriptors {
    /// Of an encoded `google.protobuf.FileDescriptorSet`.
    ///
    /// # Errors
    /// If it is none.
    pub(super) fn parse(set: &[u8]) -> protobuf::Result<Descriptors> {
        let mut all = Descriptors::default();
        for file in FileDescriptorSet::parse_from_bytes(set)?.file {
            all.add(&file)?;
        }
        all.services.sort_unstable();
        Ok(all)
    }

    fn add(&mut self, file: &FileDescriptorProto) -> protobuf::Result<()> {
        let index = self.files.len();
        let encoded = file.write_to_bytes()?;
        self.files.push(File { encoded, imports: file.dependency.clone() });
        self.by_name.insert(file.name().to_owned(), index);
        let package = file.package();
        for message in &file.message_type {
            self.add_message(index, package, message);
        }
        for service in &file.service {
            let name = format!("{package}.{}", service.name());
            let methods = service.method.iter().map(|method| format!("{name}.{}", method.name()));
            self.by_symbol.extend(methods.map(|method| (method, index)));
            self.by_symbol.insert(name.clone(), index);
            self.services.push(name);
        }
        for one in &file.enum_type {
            self.by_symbol.insert(format!("{package}.{}", one.name()), index);
        }
        Ok(())
    }

    fn add_message(&mut self, file: usize, scope: &str, message: &DescriptorProto) {
        let name = format!("{scope}.{}", message.name());
        let fields = message.field.iter().map(|field| field.name());
        let enums = message.enum_type.iter().map(|one| one.name());
        let oneofs = message.oneof_decl.iter().map(|one| one.name());
        for inner in fields.chain(enums).chain(oneofs) {
            self.by_symbol.insert(format!("{name}.{inner}"), file);
        }
        for inner in &message.nested_type {
            self.add_message(file, &name, inner);
        }
        self.by_symbol.insert(name.clone(), file);
        self.messages.insert(name);
    }

    /// The full names of all services, in the order of the alphabet.
    pub(super) fn services(&self) -> &[String] {
        &self.services
    }

    /// True if there is a message of this full name.
    pub(super) fn is_message(&self, name: &str) -> bool {
        self.messages.contains(name)
    }

    /// The file of this name and all that it imports, each encoded; none if it is unknown.
    pub(super) fn file(&self, name: &str) -> Option<Vec<Vec<u8>>> {
        self.by_name.get(name).map(|index| self.with_imports(*index))
    }

    /// The same for the file that defines `symbol`.
    pub(super) fn file_of(&self, symbol: &str) -> Option<Vec<Vec<u8>>> {
        self.by_symbol.get(symbol).map(|index| self.with_imports(*index))
    }

    fn with_imports(&self, index: usize) -> Vec<Vec<u8>> {
        let mut order = vec![index];
        let mut next = 0;
        while let Some(file) = order.get(next).and_then(|index| self.files.get(*index)) {
            let imports = file.imports.iter().filter_map(|name| self.by_name.get(name));
            let fresh: Vec<usize> = imports.filter(|one| !order.contains(one)).copied().collect();
            order.extend(fresh);
            next += 1;
        }
        order.iter().map(|index| self.files[*index].encoded.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::DESCRIPTORS;

    fn all() -> Descriptors {
        Descriptors::parse(DESCRIPTORS).expect("the build has written it")
    }

    fn names(files: Option<Vec<Vec<u8>>>) -> Vec<String> {
        let decoded = files.unwrap_or_default().into_iter().map(|bytes| {
            FileDescriptorProto::parse_from_bytes(&bytes).expect("it is a file").take_name()
        });
        decoded.collect()
    }

    #[test]
    fn every_file_and_symbol_arrives_with_all_that_it_imports() {
        let all = all();
        let files = FileDescriptorSet::parse_from_bytes(DESCRIPTORS).expect("it is a set").file;
        for file in &files {
            let found = names(all.file(file.name()));
            assert_eq!(found.first().map(String::as_str), Some(file.name()));
            assert_eq!(found.iter().collect::<HashSet<_>>().len(), found.len(), "{found:?}");
            for import in &file.dependency {
                assert!(found.contains(import), "{} without {import}", file.name());
            }
        }
        for (symbol, file) in [
            ("connectionpool.SqlService", "sql.proto"),
            ("connectionpool.SqlService.Execute", "sql.proto"),
            ("connectionpool.ConnectionRequest.tenant_id", "connection_pool.proto"),
            ("grpc.reflection.v1.ErrorResponse", "grpc/reflection/v1/reflection.proto"),
            ("grpc.reflection.v1alpha.ErrorResponse", "grpc/reflection/v1alpha/reflection.proto"),
            ("google.protobuf.Duration", "google/protobuf/duration.proto"),
            ("grpc.health.v1.HealthCheckResponse.ServingStatus", "grpc/health/v1/health.proto"),
        ] {
            assert_eq!(names(all.file_of(symbol)).first().map(String::as_str), Some(file));
        }
        assert_eq!(all.file_of("connectionpool"), None);
        assert_eq!(all.file("/etc/passwd"), None);
    }

    #[test]
    fn the_files_form_a_complete_set_of_types() {
        let files = FileDescriptorSet::parse_from_bytes(DESCRIPTORS).expect("it is a set").file;
        let linked = protobuf::reflect::FileDescriptor::new_dynamic_fds(files, &[]);
        assert!(linked.is_ok(), "{:?}", linked.err());
    }
}
