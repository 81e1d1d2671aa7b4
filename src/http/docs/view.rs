//! What the page shows: routes by group and types by name, each in words, read from the document as JSON. Text becomes HTML
//! here and in the template only, and is escaped in both.

use minijinja::HtmlEscape;
use minijinja::value::Value as Shown;
use serde::Serialize;
use serde_json::Value;
use utoipa::openapi::OpenApi;

/// The whole page.
#[derive(Debug, Serialize)]
pub(super) struct View {
    title: String,
    version: String,
    about: String,
    groups: Vec<Group>,
    types: Vec<Type>,
}

/// Routes that belong together.
#[derive(Debug, Serialize)]
struct Group {
    name: String,
    about: String,
    routes: Vec<Route>,
}

#[derive(Debug, Serialize)]
struct Route {
    method: String,
    path: String,
    /// Its place on the page.
    anchor: String,
    summary: String,
    about: String,
    is_open: bool,
    parameters: Vec<Row>,
    body: Option<Body>,
    responses: Vec<Response>,
}

#[derive(Debug, Serialize)]
struct Body {
    about: String,
    kind: Shown,
    example: Option<String>,
}

#[derive(Debug, Serialize)]
struct Response {
    status: String,
    about: String,
    /// Its body's type and content type; none when it has no body.
    kind: Option<Shown>,
    content_type: Option<String>,
    headers: Vec<Row>,
}

/// A parameter, a field or a value.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    /// Where a parameter stands.
    place: String,
    is_required: bool,
    kind: Shown,
    about: String,
}

#[derive(Debug, Serialize)]
struct Type {
    name: String,
    about: String,
    /// In words, where it has no fields.
    kind: Option<Shown>,
    fields: Vec<Row>,
}

impl View {
    /// The page of a document.
    pub(super) fn of(api: &OpenApi) -> Self {
        let api = serde_json::to_value(api).unwrap_or_default();
        let groups = list(&api["tags"]).iter().map(|tag| group(&api, tag)).collect();
        let types = entries(&api["components"]["schemas"]).map(|(name, schema)| named_type(name, schema)).collect();
        let info = &api["info"];
        Self {
            title: text(&info["title"]),
            version: text(&info["version"]),
            about: text(&info["description"]),
            groups,
            types,
        }
    }
}

fn group(api: &Value, tag: &Value) -> Group {
    let operations = entries(&api["paths"])
        .flat_map(|(path, methods)| entries(methods).map(move |(method, operation)| (path, method, operation)));
    let routes = operations.filter(|(.., operation)| list(&operation["tags"]).contains(&tag["name"]));
    let routes = routes.map(|(path, method, operation)| route(api, path, method, operation)).collect();
    Group { name: text(&tag["name"]), about: text(&tag["description"]), routes }
}

fn route(api: &Value, path: &str, method: &str, operation: &Value) -> Route {
    let body = operation.get("requestBody").map(|body| {
        let json = &body["content"]["application/json"];
        let example = target(api, &json["schema"]).get("example").map(|example| format!("{example:#}"));
        Body { about: text(&body["description"]), kind: kind(&json["schema"]), example }
    });
    Route {
        method: method.to_uppercase(),
        path: path.to_owned(),
        anchor: text(&operation["operationId"]),
        summary: text(&operation["summary"]),
        about: text(&operation["description"]),
        is_open: operation["security"] == serde_json::json!([{}]),
        parameters: list(&operation["parameters"]).iter().map(parameter).collect(),
        body,
        responses: entries(&operation["responses"])
            .map(|(status, response)| self::response(status, response))
            .collect(),
    }
}

fn parameter(parameter: &Value) -> Row {
    Row {
        name: text(&parameter["name"]),
        place: text(&parameter["in"]),
        is_required: parameter["required"] == true,
        kind: kind(&parameter["schema"]),
        about: text(&parameter["description"]),
    }
}

fn response(status: &str, response: &Value) -> Response {
    let content = entries(&response["content"]).next();
    let header = |(name, header): (&str, &Value)| Row {
        name: name.to_owned(),
        place: String::new(),
        is_required: false,
        kind: kind(&header["schema"]),
        about: text(&header["description"]),
    };
    Response {
        status: status.to_owned(),
        about: text(&response["description"]),
        kind: content.map(|(_, content)| kind(&content["schema"])),
        content_type: content.map(|(content_type, _)| content_type.to_owned()),
        headers: entries(&response["headers"]).map(header).collect(),
    }
}

fn named_type(name: &str, schema: &Value) -> Type {
    // Flattened parts stand beside the fields of their own.
    let parts = list(&schema["allOf"]).iter().chain([schema]);
    let fields: Vec<_> = parts
        .flat_map(|part| {
            let required = list(&part["required"]);
            entries(&part["properties"]).map(move |(name, field)| Row {
                name: name.to_owned(),
                place: String::new(),
                is_required: required.iter().any(|required| required == name),
                kind: kind(field),
                about: about(field),
            })
        })
        .collect();
    let kind = fields.is_empty().then(|| kind(schema));
    Type { name: name.to_owned(), about: text(&schema["description"]), kind, fields }
}

/// The type that a reference names; a type itself.
fn target<'a>(api: &'a Value, schema: &'a Value) -> &'a Value {
    let path = schema["$ref"].as_str().and_then(|path| path.strip_prefix('#'));
    path.and_then(|path| api.pointer(path)).unwrap_or(schema)
}

/// What a field is for; where it may be null, that stands at what else it may be.
fn about(field: &Value) -> String {
    let mut said = list(&field["oneOf"]).iter().chain([field]).map(|part| text(&part["description"]));
    said.find(|said| !said.is_empty()).unwrap_or_default()
}

// === Types in words ===

fn kind(schema: &Value) -> Shown {
    Shown::from_safe_string(words(schema))
}

/// A type in words, as HTML.
fn words(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        return format!("<a href=\"#{0}\">{0}</a>", HtmlEscape(name));
    }
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<_> = values.iter().map(|value| code(&text(value))).collect();
        return values.join(" · ");
    }
    for either in ["oneOf", "anyOf"] {
        if let Some(kinds) = schema[either].as_array() {
            // Null is said last, as everywhere.
            let (nulls, kinds): (Vec<_>, Vec<_>) = kinds.iter().partition(|kind| kind["type"] == "null");
            return kinds.into_iter().chain(nulls).map(words).collect::<Vec<_>>().join(" or ");
        }
    }
    let kinds = match &schema["type"] {
        Value::String(kind) => vec![kind.as_str()],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => return "any JSON".to_owned(),
    };
    let bounds = bounds(schema);
    let words: Vec<_> = kinds
        .into_iter()
        .map(|kind| match kind {
            "array" => format!("list of {}{bounds}", words(&schema["items"])),
            "string" if schema["format"] == "date-time" => "moment".to_owned(),
            "string" => format!("text{bounds}"),
            "null" => "null".to_owned(),
            other => format!("{}{bounds}", HtmlEscape(other)),
        })
        .collect();
    words.join(" or ")
}

/// What a value must be besides, in words.
fn bounds(schema: &Value) -> String {
    let pairs =
        [("minimum", "maximum", ""), ("minLength", "maxLength", " characters"), ("minItems", "maxItems", " entries")];
    let mut said = String::new();
    for (least, most, unit) in pairs {
        match (schema.get(least), schema.get(most)) {
            (Some(least), Some(most)) => said.push_str(&format!(", {least} to {most}{unit}")),
            (Some(least), None) => said.push_str(&format!(", at least {least}{unit}")),
            (None, Some(most)) => said.push_str(&format!(", at most {most}{unit}")),
            (None, None) => {}
        }
    }
    said
}

fn code(text: &str) -> String {
    format!("<code>{}</code>", HtmlEscape(text))
}

/// A description as HTML: its paragraphs, and what stands between backticks as code.
pub(super) fn prose(text: &str) -> Shown {
    let mut html = String::new();
    for paragraph in text.split("\n\n").filter(|paragraph| !paragraph.is_empty()) {
        html.push_str("<p>");
        for (position, piece) in paragraph.split('`').enumerate() {
            if position % 2 == 1 { html.push_str(&code(piece)) } else { html.push_str(&HtmlEscape(piece).to_string()) }
        }
        html.push_str("</p>");
    }
    Shown::from_safe_string(html)
}

// === Reading JSON ===

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn entries(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn types_are_said_in_words() {
        let said = |schema| words(&schema);
        assert_eq!(
            said(json!({"type": ["string", "null"], "minLength": 2, "maxLength": 9})),
            "text, 2 to 9 characters or null"
        );
        assert_eq!(
            said(json!({"type": "array", "items": {"$ref": "#/components/schemas/Task"}})),
            "list of <a href=\"#Task\">Task</a>"
        );
        assert_eq!(
            said(json!({"oneOf": [{"type": "null"}, {"enum": ["a", "b"]}]})),
            "<code>a</code> · <code>b</code> or null"
        );
        assert_eq!(said(json!({})), "any JSON");
    }

    #[test]
    fn prose_is_escaped() {
        assert_eq!(prose("a `<b>` c\n\n<d>").to_string(), "<p>a <code>&lt;b&gt;</code> c</p><p>&lt;d&gt;</p>");
    }
}
