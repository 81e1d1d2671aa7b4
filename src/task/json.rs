//! JSON that is carried, stored and answered but not looked into: kept as text, parsed only by who needs a field.
//! Cloning is a pointer copy, so an output costs its bytes once however many hands it passes through.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use std::sync::Arc;
use utoipa::ToSchema;

/// A valid JSON value as text. Enums that hold it must be tagged externally: serde buffers the other forms, and raw
/// text cannot be buffered.
#[derive(Debug, Clone, ToSchema)]
#[schema(value_type = Value, description = "Any JSON value")]
pub struct Json(Arc<RawValue>);

impl Json {
    /// The JSON of a value.
    ///
    /// # Errors
    /// When the value has no JSON form (a map with keys that are not strings).
    pub fn of<T: Serialize + ?Sized>(value: &T) -> serde_json::Result<Self> {
        Ok(Self(serde_json::value::to_raw_value(value)?.into()))
    }

    /// Checks that a text is JSON and keeps it.
    ///
    /// # Errors
    /// When it is not.
    pub fn from_text(text: String) -> serde_json::Result<Self> {
        Ok(Self(RawValue::from_string(text)?.into()))
    }

    /// `null`.
    pub fn null() -> Self {
        Self(RawValue::NULL.to_owned().into())
    }

    /// `{}`.
    pub fn empty() -> Self {
        // An object without entries always has a JSON form.
        Self::from_text("{}".to_owned()).unwrap_or_else(|_| Self::null())
    }

    /// The text.
    pub fn text(&self) -> &str {
        self.0.get()
    }

    /// Reads it as a type.
    ///
    /// # Errors
    /// When it does not have that form.
    pub fn parse<'a, T: Deserialize<'a>>(&'a self) -> serde_json::Result<T> {
        serde_json::from_str(self.0.get())
    }

    /// The text's length in bytes.
    pub fn bytes(&self) -> usize {
        self.0.get().len()
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Eq for Json {}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_ref().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Box::<RawValue>::deserialize(deserializer)?.into()))
    }
}

/// JSON either in place or kept by the store beside the task, where a large one is written once and not with every
/// commit's folded state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Payload {
    /// Small: here.
    Inline(Json),
    /// Large: in the store, under the task and this name.
    Stored {
        /// Its name within the task.
        name: Arc<str>,
        /// Its size in bytes.
        bytes: u64,
    },
}

/// The largest payload, in bytes, that is kept in place.
pub const INLINE_BYTES: usize = 2048;

impl Payload {
    /// Keeps a value in place, or, when it is larger than [`INLINE_BYTES`], names it and gives it back to be stored.
    pub fn of(value: Json, name: impl FnOnce() -> String) -> (Self, Option<(Arc<str>, Json)>) {
        if value.bytes() <= INLINE_BYTES {
            return (Self::Inline(value), None);
        }
        let name: Arc<str> = name().into();
        let stored = Self::Stored { name: name.clone(), bytes: value.bytes() as u64 };
        (stored, Some((name, value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_large_values_are_stored_apart() {
        let small = Json::of("x").unwrap();
        assert_eq!(Payload::of(small.clone(), || unreachable!()), (Payload::Inline(small), None));
        let large = Json::of(&"x".repeat(INLINE_BYTES)).unwrap();
        let (payload, apart) = Payload::of(large.clone(), || "out-1".into());
        assert_eq!(payload, Payload::Stored { name: "out-1".into(), bytes: INLINE_BYTES as u64 + 2 });
        assert_eq!(apart, Some(("out-1".into(), large)));
    }

    #[test]
    fn a_text_is_kept_as_it_came_and_compared_by_that() {
        let spaced = Json::from_text("{ \"a\": 1.0 }".into()).unwrap();
        assert_eq!((spaced.text(), spaced.bytes()), ("{ \"a\": 1.0 }", 12));
        assert_ne!(spaced, Json::from_text("{\"a\":1.0}".into()).unwrap());
    }

    #[test]
    fn survives_a_round_trip_inside_an_externally_tagged_enum() {
        let payload = Payload::Inline(Json::from_text(r#"{"a":[1,2]}"#.into()).unwrap());
        let text = serde_json::to_string(&payload).unwrap();
        assert_eq!(text, r#"{"inline":{"a":[1,2]}}"#);
        assert_eq!(serde_json::from_str::<Payload>(&text).unwrap(), payload);
    }
}
