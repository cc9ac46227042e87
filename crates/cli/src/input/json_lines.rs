//! One JSON object a line.
//!
//! The key is a field at the top of the object: a string, or the text of a number or a truth value as it is written.
//! The value is another field (a string's content, or the JSON text of anything else), or, by default, the whole line.
//! The whole line is checked to be JSON, but only the wanted fields are decoded. Of a name that occurs twice in one
//! object the last one counts, as in every common reader.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{LineError, ParsedRecord};

/// Which fields of an object to take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonLinesParser {
    /// The key's field.
    pub key: String,
    /// The value's field; `None` for the whole line.
    pub value: Option<String>,
}

impl JsonLinesParser {
    /// Takes key and value from a line.
    ///
    /// # Errors
    /// When the line is not a JSON object, or a wanted field is missing or no scalar.
    pub fn parse_line<'line>(&self, line: &'line [u8]) -> Result<ParsedRecord<'line>, LineError> {
        // Fields that are skipped would not be checked by the deserializer.
        let text = std::str::from_utf8(line).map_err(|error| {
            LineError::NotJson(format!("invalid UTF-8 at byte {}", error.valid_up_to() + 1))
        })?;
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let fields = FieldsSeed { parser: self }
            .deserialize(&mut deserializer)
            .and_then(|fields| deserializer.end().map(|()| fields))
            .map_err(|error| refusal(line, &error))?;
        let key = fields.key.ok_or_else(|| LineError::NoField(self.key.clone()))?;
        if key.get().starts_with(['{', '[']) || key.get() == "null" {
            return Err(LineError::FieldNotScalar(self.key.clone()));
        }
        let value = match &self.value {
            None => Cow::Borrowed(line),
            Some(name) => content(fields.value.ok_or_else(|| LineError::NoField(name.clone()))?)?,
        };
        Ok(ParsedRecord { key: content(key)?, value })
    }
}

/// Tells "not JSON" from "JSON, but no object"; the message is made only when a line is refused.
fn refusal(line: &[u8], error: &serde_json::Error) -> LineError {
    if serde_json::from_slice::<IgnoredAny>(line).is_ok() && error.is_data() {
        return LineError::NotAnObject;
    }
    // serde_json counts lines too, but it saw only this one: its column is kept, its line number would mislead.
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or(&text);
    LineError::NotJson(format!("{what} at column {}", error.column()))
}

/// A string's content, or the text of anything else.
fn content(raw: &RawValue) -> Result<Cow<'_, [u8]>, LineError> {
    let text = raw.get();
    let Some(quoted) = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) else {
        return Ok(Cow::Borrowed(text.as_bytes()));
    };
    if !quoted.contains('\\') {
        return Ok(Cow::Borrowed(quoted.as_bytes()));
    }
    let decoded: String =
        serde_json::from_str(text).map_err(|error| LineError::NotJson(error.to_string()))?;
    Ok(Cow::Owned(decoded.into_bytes()))
}

#[derive(Default)]
struct Fields<'line> {
    key: Option<&'line RawValue>,
    value: Option<&'line RawValue>,
}

struct FieldsSeed<'parser> {
    parser: &'parser JsonLinesParser,
}

impl<'line> DeserializeSeed<'line> for FieldsSeed<'_> {
    type Value = Fields<'line>;

    fn deserialize<D: Deserializer<'line>>(self, deserializer: D) -> Result<Fields<'line>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'line> Visitor<'line> for FieldsSeed<'_> {
    type Value = Fields<'line>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'line>>(self, mut map: A) -> Result<Fields<'line>, A::Error> {
        let mut fields = Fields::default();
        while let Some(name) = map.next_key::<FieldName<'line>>()? {
            let is_key = name.0 == self.parser.key;
            let is_value = self.parser.value.as_deref() == Some(&*name.0);
            if is_key || is_value {
                let raw = map.next_value::<&RawValue>()?;
                fields.key = if is_key { Some(raw) } else { fields.key };
                fields.value = if is_value { Some(raw) } else { fields.value };
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(fields)
    }
}

/// A field's name, borrowed when it holds no escapes.
struct FieldName<'line>(Cow<'line, str>);

impl<'line> serde::Deserialize<'line> for FieldName<'line> {
    fn deserialize<D: Deserializer<'line>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl<'line> Visitor<'line> for NameVisitor {
            type Value = FieldName<'line>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field name")
            }

            fn visit_borrowed_str<E: serde::de::Error>(self, name: &'line str) -> Result<Self::Value, E> {
                Ok(FieldName(Cow::Borrowed(name)))
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Self::Value, E> {
                Ok(FieldName(Cow::Owned(name.to_owned())))
            }
        }
        deserializer.deserialize_str(NameVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::{JsonLinesParser, LineError};

    fn parse(key: &str, value: Option<&str>, line: &str) -> Result<(String, String), LineError> {
        let parser = JsonLinesParser { key: key.to_owned(), value: value.map(str::to_owned) };
        parser.parse_line(line.as_bytes()).map(|record| {
            (
                String::from_utf8(record.key.into_owned()).unwrap(),
                String::from_utf8(record.value.into_owned()).unwrap(),
            )
        })
    }

    fn pair(key: &str, value: &str) -> Result<(String, String), LineError> {
        Ok((key.to_owned(), value.to_owned()))
    }

    #[test]
    fn key_and_whole_line() {
        let line = r#"{"id":"a","n":[1,{"id":"inner"}]}"#;
        assert_eq!(parse("id", None, line), pair("a", line));
        assert_eq!(parse("id", None, r#"{"id":42}"#), pair("42", r#"{"id":42}"#));
        assert_eq!(parse("id", None, r#"{"id":true}"#).map(|p| p.0), Ok("true".to_owned()));
    }

    #[test]
    fn escapes_are_decoded_in_names_keys_and_values() {
        assert_eq!(
            parse("id", Some("v"), r#"{"\u0069d":"tab\there","v":"\u00e9\"x"}"#),
            pair("tab\there", "é\"x")
        );
        assert_eq!(parse("id", Some("v"), r#"{"id":1,"v":{"a":[1, 2]}}"#), pair("1", r#"{"a":[1, 2]}"#));
        assert_eq!(parse("id", Some("id"), r#"{"id":"k"}"#), pair("k", "k"));
    }

    #[test]
    fn the_last_of_two_equal_names_counts() {
        assert_eq!(parse("id", None, r#"{"id":1,"id":2}"#).map(|p| p.0), Ok("2".to_owned()));
    }

    #[test]
    fn malformed_lines_say_what_is_wrong() {
        let not_json = |line| matches!(parse("id", None, line), Err(LineError::NotJson(_)));
        assert!(not_json(r#"{"id":"a""#));
        assert!(not_json(r#"{"id":"a"} x"#));
        assert!(not_json(r#"{"id":"a","n":01}"#));
        assert!(not_json("plain words"));
        assert_eq!(parse("id", None, "[1]"), Err(LineError::NotAnObject));
        assert_eq!(parse("id", None, r#""id""#), Err(LineError::NotAnObject));
        assert_eq!(parse("id", None, "{}"), Err(LineError::NoField("id".to_owned())));
        assert_eq!(parse("id", Some("v"), r#"{"id":1}"#), Err(LineError::NoField("v".to_owned())));
        for field in ["null", "[]", "{}"] {
            let line = format!(r#"{{"id":{field}}}"#);
            assert_eq!(parse("id", None, &line), Err(LineError::FieldNotScalar("id".to_owned())));
        }
    }

    #[test]
    fn invalid_utf8_is_refused() {
        let parser = JsonLinesParser { key: "id".to_owned(), value: None };
        let refused = parser.parse_line(b"{\"id\":\"\xff\"}");
        assert!(matches!(refused, Err(LineError::NotJson(_))), "{refused:?}");
        let refused = parser.parse_line(b"{\"id\":1,\"other\":\"\xff\"}");
        assert!(matches!(refused, Err(LineError::NotJson(_))), "{refused:?}");
    }
}
