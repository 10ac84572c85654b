//! A broker's definitions as RabbitMQ writes them.

use serde::Serialize;

use super::existing::existing;
use crate::config::Config;
use crate::persist::definitions::{DefinitionsError, Detail, RABBIT_VERSION, Sections, SectionsOfVhost};
use crate::vhost::Broker;

#[derive(Serialize)]
struct Whole<'a> {
    #[serde(flatten)]
    about: About<'a>,
    #[serde(flatten)]
    sections: Sections,
}

#[derive(Serialize)]
struct OfVhost<'a> {
    #[serde(flatten)]
    about: About<'a>,
    #[serde(flatten)]
    sections: SectionsOfVhost,
}

#[derive(Serialize)]
struct About<'a> {
    rabbit_version: &'a str,
    rabbitmq_version: &'a str,
    product_name: &'a str,
    product_version: &'a str,
    rabbitmq_definition_format: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    original_vhost_name: Option<&'a str>,
    explanation: String,
}

impl<'a> About<'a> {
    fn new(config: &'a Config, vhost: Option<&'a str>) -> Self {
        let version = config.identity.product_version.as_deref().unwrap_or(RABBIT_VERSION);
        Self {
            rabbit_version: version,
            rabbitmq_version: version,
            product_name: config.identity.product_name.as_deref().unwrap_or("Leveret"),
            product_version: env!("CARGO_PKG_VERSION"),
            rabbitmq_definition_format: if vhost.is_some() { "single_virtual_host" } else { "cluster" },
            original_vhost_name: vhost,
            explanation: match vhost {
                None => "Definitions of a whole broker".to_owned(),
                Some(vhost) => format!("Definitions of virtual host '{vhost}'"),
            },
        }
    }
}

/// The file of everything, or of one virtual host.
///
/// # Errors
/// When something cannot be said in JSON.
pub fn export(broker: &Broker, vhost: Option<&str>) -> Result<Vec<u8>, DefinitionsError> {
    let mut sections = Sections::default();
    for record in existing(broker, vhost) {
        sections.add(record, Detail::Shared)?;
    }
    let about = About::new(&broker.config, vhost);
    Ok(match vhost {
        None => serde_json::to_vec(&Whole { about, sections })?,
        Some(_) => serde_json::to_vec(&OfVhost { about, sections: sections.of_vhost() })?,
    })
}
