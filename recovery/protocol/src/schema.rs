//! JSON Schemas (draft 2020-12) of the types whose text has a grammar of its own; all others derive theirs.
//!
//! Built with the feature `schema`, which only the appliance turns on.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::{
    EndpointId, JobId, MacAddr,
    outlet::Outlet,
    selector::{Labels, Selector},
    settings::InterfaceAddress,
};

macro_rules! written {
    ($($name:ident: $schema:tt;)*) => {$(
        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    )*};
}

written! {
    EndpointId: {
        "description": "An endpoint's name: a DNS label (RFC 1123).",
        "type": "string", "pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", "examples": ["press-01"]
    };
    JobId: { "description": "A job's id: a UUID version 7 (RFC 9562).", "type": "string", "format": "uuid" };
    MacAddr: {
        "description": "An Ethernet address; answered as six pairs in lower case with colons.",
        "type": "string", "examples": ["52:54:00:12:34:56"]
    };
    Selector: {
        "description": "Which endpoints are meant: terms with commas between, all of which hold.",
        "type": "string", "examples": ["line=3,role!=hmi", "cell in (a,b)", "!line"]
    };
    Labels: { "description": "Labels of an endpoint.", "type": "object", "additionalProperties": { "type": "string" } };
    Outlet: {
        "description": "A power outlet on the network: kind, address, number.",
        "type": "string", "examples": ["tasmota+http://10.8.0.40/1", "shelly+http://10.8.0.41/0"]
    };
    InterfaceAddress: {
        "description": "An address with the length of its network's prefix.",
        "type": "string", "examples": ["10.7.3.21/24"]
    };
}
