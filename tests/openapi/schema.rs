//! Checks a value against a schema of the document, as far as the document goes; a keyword that it does not know fails the
//! test. (The crates that know all of JSON Schema switch on features of the program's own dependencies: the tests would then
//! test another program than the one that is shipped.)

use serde_json::Value;

/// What says nothing that could be checked.
const WORDS: [&str; 4] = ["description", "example", "contentMediaType", "format"];

/// Fails the test when the value is not as the schema says.
#[track_caller]
pub fn check(document: &Value, schema: &Value, value: &Value) {
    let mut faults = Vec::new();
    find(document, schema, value, "", &mut faults);
    assert!(faults.is_empty(), "{faults:#?} in {value:#}");
}

fn is_valid(document: &Value, schema: &Value, value: &Value) -> bool {
    let mut faults = Vec::new();
    find(document, schema, value, "", &mut faults);
    faults.is_empty()
}

fn find(document: &Value, schema: &Value, value: &Value, place: &str, faults: &mut Vec<String>) {
    let mut expect = |holds: bool, what: &dyn std::fmt::Display| {
        if !holds {
            faults.push(format!("{place}: {value} is not {what}"));
        }
    };
    let mut inside: Vec<(&Value, &Value, String)> = Vec::new();
    for (keyword, rule) in schema.as_object().expect("a schema is an object") {
        let list = rule.as_array().map_or(&[][..], Vec::as_slice);
        match keyword.as_str() {
            "$ref" => {
                let path = rule.as_str().unwrap().strip_prefix('#').unwrap();
                inside.push((document.pointer(path).expect("the reference leads somewhere"), value, place.to_owned()));
            }
            "allOf" => inside.extend(list.iter().map(|part| (part, value, place.to_owned()))),
            "oneOf" => expect(list.iter().filter(|part| is_valid(document, part, value)).count() == 1, rule),
            "type" => {
                let mut kinds = list.iter().chain([rule]).filter_map(Value::as_str);
                expect(kinds.any(|kind| is_a(kind, value)), rule);
            }
            "enum" => expect(list.contains(value), rule),
            "required" => list.iter().for_each(|name| expect(value.get(name.as_str().unwrap()).is_some(), name)),
            "properties" => {
                let fields = rule.as_object().unwrap().iter();
                let given =
                    fields.filter_map(|(name, field)| Some((field, value.get(name)?, format!("{place}/{name}"))));
                inside.extend(given);
            }
            "additionalProperties" if *rule == false => {
                let known = schema["properties"].as_object().unwrap();
                expect(
                    value.as_object().is_none_or(|fields| fields.keys().all(|name| known.contains_key(name))),
                    &"known",
                );
            }
            "items" => {
                let items = value.as_array().into_iter().flatten().enumerate();
                inside.extend(items.map(|(at, item)| (rule, item, format!("{place}/{at}"))));
            }
            "minimum" => expect(value.as_f64().is_none_or(|number| number >= rule.as_f64().unwrap()), rule),
            "maximum" => expect(value.as_f64().is_none_or(|number| number <= rule.as_f64().unwrap()), rule),
            "minLength" => expect(value.as_str().is_none_or(|text| text.chars().count() >= size(rule)), rule),
            "maxLength" => expect(value.as_str().is_none_or(|text| text.chars().count() <= size(rule)), rule),
            "maxItems" => expect(value.as_array().is_none_or(|items| items.len() <= size(rule)), rule),
            // Ids: no control character, no white space at the ends.
            "pattern" => {
                expect(value.as_str().is_none_or(|text| text.trim() == text && !text.contains(char::is_control)), rule)
            }
            word => assert!(WORDS.contains(&word), "{place}: the keyword {word} is not checked"),
        }
    }
    for (schema, value, place) in inside {
        find(document, schema, value, &place, faults);
    }
}

fn size(rule: &Value) -> usize {
    rule.as_u64().unwrap() as usize
}

fn is_a(kind: &str, value: &Value) -> bool {
    match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("{other} is no type"),
    }
}
