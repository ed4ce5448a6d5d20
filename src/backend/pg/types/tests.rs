use super::*;

fn known(made_of: MadeOf) -> KnownType {
    KnownType { name: "t".into(), made_of, is_text: false }
}

#[test]
fn built_in_types_are_known_by_what_they_are_made_of() {
    let made_of = |kind: Type| built_in(kind.oid()).map(|known| known.made_of);
    assert_eq!(made_of(Type::INT4), Some(MadeOf::Itself));
    assert_eq!(made_of(Type::TEXT_ARRAY), Some(MadeOf::Array(Type::TEXT.oid())));
    assert_eq!(made_of(Type::INT2_VECTOR), Some(MadeOf::Vector(Type::INT2.oid())));
    assert_eq!(built_in(16_384), None);
    assert!(built_in(Type::ACLITEM_ARRAY.oid()).is_some_and(|known| known.is_text));
}

#[test]
fn a_type_is_resolved_through_domains_and_not_for_ever() {
    let int = Type::INT4.oid();
    let mut found = HashMap::from([(int, known(MadeOf::Itself))]);
    found.insert(20_000, known(MadeOf::Domain(20_001)));
    found.insert(20_001, known(MadeOf::Array(20_002)));
    found.insert(20_002, known(MadeOf::Domain(int)));
    let shape = resolved(20_000, &found).map(|resolved| resolved.shape);
    assert_eq!(shape, Some(Shape::Array(Box::new(Shape::Scalar(int)))));
    // One that leads to itself, which no real server has.
    found.insert(20_003, known(MadeOf::Domain(20_003)));
    assert_eq!(resolved(20_003, &found), None);
}

#[test]
fn what_is_known_is_known_for_a_minute() {
    let (types, start) = (Types::default(), clock::now());
    types.keep(20_000, known(MadeOf::Labels), start);
    let just_before = start + KEPT_FOR - Duration::from_millis(1);
    assert_eq!(types.get(20_000, just_before), Some(known(MadeOf::Labels)));
    assert_eq!(types.get(20_000, start + KEPT_FOR), None);
    // It is no cache without end.
    (0..KEPT_MAX).for_each(|n| types.keep(n as u32, known(MadeOf::Itself), start));
    assert!(types.lock().len() <= KEPT_MAX);
}

#[test]
fn what_has_no_binary_form_somewhere_inside_comes_as_text() {
    let mut found = HashMap::new();
    found.insert(20_000, known(MadeOf::Array(20_001)));
    found.insert(20_001, KnownType { is_text: true, ..known(MadeOf::Itself) });
    let array = resolved(20_000, &found);
    assert!(array.is_some_and(|array| array.is_text && array.shape == Shape::Enum(20_000)));
}
