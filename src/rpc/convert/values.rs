//! Values of parameters and of results.

use crate::core::value::{Array, Dimension, Value};
use crate::proto::sql;

pub(super) fn parameter(value: sql::Value) -> Option<Value> {
    use sql::value::Kind;
    Some(match value.kind? {
        Kind::Null(_) => Value::Null,
        Kind::Bool(v) => Value::Bool(v),
        Kind::Int(v) => Value::Int(v),
        Kind::Double(v) => Value::Double(v),
        Kind::Text(v) => Value::Text(v),
        Kind::Bytes(v) => Value::Bytes(v),
        Kind::Array(v) => {
            let dimension = |d: sql::ArrayDimension| Dimension {
                length: d.length,
                lower_bound: d.lower_bound.unwrap_or(1),
            };
            let mut elements: Vec<_> =
                v.elements.into_iter().map(parameter).collect::<Option<_>>()?;
            // They took over the room of the wire's values, which are larger.
            elements.shrink_to_fit();
            Value::Array(Array {
                element_oid: v.element_type_oid,
                dimensions: v.dimensions.into_iter().map(dimension).collect(),
                elements,
            })
        }
        Kind::Raw(v) => Value::Raw { oid: v.type_oid, bytes: v.data },
    })
}

pub(in crate::rpc) fn value(value: Value) -> sql::Value {
    use sql::value::Kind;
    sql::Value {
        kind: Some(match value {
            Value::Null => Kind::Null(true),
            Value::Bool(v) => Kind::Bool(v),
            Value::Int(v) => Kind::Int(v),
            Value::Double(v) => Kind::Double(v),
            Value::Text(v) => Kind::Text(v),
            Value::Bytes(v) => Kind::Bytes(v),
            Value::Array(array) => Kind::Array(self::array(array)),
            Value::Raw { oid, bytes } => {
                Kind::Raw(sql::RawValue { type_oid: oid, data: bytes, ..sql::RawValue::default() })
            }
        }),
        ..sql::Value::default()
    }
}

fn array(array: Array) -> sql::ArrayValue {
    let dimension = |d: Dimension| sql::ArrayDimension {
        length: d.length,
        lower_bound: Some(d.lower_bound),
        ..sql::ArrayDimension::default()
    };
    sql::ArrayValue {
        element_type_oid: array.element_oid,
        dimensions: array.dimensions.into_iter().map(dimension).collect(),
        elements: array.elements.into_iter().map(value).collect(),
        ..sql::ArrayValue::default()
    }
}
