//! The JSON that a page shows below its commands, against what they printed: the same names, with values of the same
//! kind. Values themselves may differ, and what is printed may hold more.

use serde_json::Value;

/// The last JSON value that begins a line.
pub fn last(printed: &str) -> Option<Value> {
    let mut found = None;
    let mut rest = printed;
    while let Some(at) = begin(rest) {
        let mut values = serde_json::Deserializer::from_str(&rest[at..]).into_iter::<Value>();
        let Some(Ok(value)) = values.next() else {
            rest = &rest[at + 1..];
            continue;
        };
        rest = &rest[at + values.byte_offset()..];
        found = Some(value);
    }
    found
}

fn begin(text: &str) -> Option<usize> {
    let line = |at: usize| at == 0 || text.as_bytes()[at - 1] == b'\n' || text.as_bytes()[at - 1] == b'}';
    text.match_indices('{').map(|(at, _)| at).find(|&at| line(at))
}

/// Where what is shown is not what is there; none when it is.
pub fn difference(shown: &Value, there: &Value, place: &str) -> Option<String> {
    match (shown, there) {
        (Value::Object(shown), Value::Object(there)) => shown.iter().find_map(|(name, value)| {
            let place = format!("{place}.{name}");
            there
                .get(name)
                .map_or_else(|| Some(format!("{place} is not there")), |other| difference(value, other, &place))
        }),
        (Value::Array(shown), Value::Array(there)) => {
            let pairs = shown.iter().zip(there).enumerate();
            let missing = (shown.len() > there.len()).then(|| format!("{place} has only {} entries", there.len()));
            missing.or_else(|| {
                pairs.into_iter().find_map(|(at, (one, other))| difference(one, other, &format!("{place}[{at}]")))
            })
        }
        // What is null now may have a value later.
        (Value::Null, _) | (_, Value::Null) => None,
        _ if std::mem::discriminant(shown) == std::mem::discriminant(there) => None,
        _ => Some(format!("{place} is {there}, not such as {shown}")),
    }
}
