//! The schema of what `--format json` prints, made from the types that are printed. For `packaging/gen`: the program does not hold it.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::{fsck, hold, logs, mok, status};
use crate::diagnosis::{doctor, why};
use crate::plan::Plan;
use crate::report::json::Message;

/// The version: another number for a change that could break a reader.
pub const VERSION: u32 = 1;

/// The whole schema (JSON Schema 2020-12). Each document is a definition of its own, called after its verb.
pub fn schema() -> Value {
    let mut generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let documents = [
        ("status", of::<Vec<status::Row>>(&mut generator)),
        ("why", of::<Vec<why::Page>>(&mut generator)),
        ("doctor", of::<doctor::Health>(&mut generator)),
        ("logs", of::<Vec<logs::Log>>(&mut generator)),
        ("hold", of::<Vec<hold::Shown<'_>>>(&mut generator)),
        ("fsck", of::<fsck::Report<'_>>(&mut generator)),
        ("mok", of::<mok::MokStatus>(&mut generator)),
        ("lint", of::<Vec<super::lint::Row>>(&mut generator)),
        ("plan", of::<Plan>(&mut generator)),
        ("event", of::<Message>(&mut generator)),
    ];
    let mut definitions: Map<String, Value> = generator.take_definitions(true);
    definitions.extend(documents.map(|(name, schema)| (format!("document.{name}"), schema)));
    let any = definitions.keys().filter(|name| name.starts_with("document."));
    let any: Vec<Value> = any.map(|name| json!({ "$ref": format!("#/$defs/{name}") })).collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": format!("urn:dkms:json:{VERSION}"),
        "title": format!("What dkms prints with --format json, version {VERSION}"),
        "description": "document.VERB is what that verb prints; document.plan is what --dry-run prints, and prune; document.event is a \
            line of the verbs that change something, and of standard error. Readers must pass over what they do not know: later \
            versions of dkms may add properties, events and words.",
        "anyOf": any,
        "$defs": definitions,
    })
}

fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    generator.subschema_for::<T>().to_value()
}
