//! The settings of a split system: which roles run here, where the others are, and who this process is to them.

use super::{Noted, Reading, address, choice, seconds_or_duration};
use crate::http::{ColleagueUrl, InternalToken};
use crate::settings::problem::Source;
use crate::settings::roles::{Colleagues, Crew, Roles};
use crate::task::{AgentId, Capability};
use std::net::SocketAddr;
use std::sync::Arc;

impl Reading {
    /// Where HTTP is served: as chosen, or at the port of what runs here.
    pub(super) fn listen(&mut self, roles: &Result<Roles, Noted>) -> Result<SocketAddr, Noted> {
        let is_default = self.sources.found.get("listen").is_none_or(|found| found.source == Source::Default);
        let mut listen = self.value("listen", address)?;
        if let (Ok(roles), true) = (roles, is_default) {
            listen.set_port(roles.port());
        }
        Ok(listen)
    }

    pub(super) fn colleagues(&mut self, roles: &Result<Roles, Noted>) -> Result<Colleagues, Noted> {
        let master = self.url("master_url");
        let callback = self.url("callback_url");
        let gateway = self.url("gateway_url");
        let public_url = self.url("public_url");
        let gateway_timeout = self.value("gateway_timeout", seconds_or_duration);
        let networks = self.parsed("worker_networks");
        let insecure = self.value("insecure", choice);
        let token = InternalToken::new(self.text("internal_token"));
        if let Ok(roles) = roles {
            let needs_master = roles.worker && !roles.master;
            if needs_master && matches!(master, Ok(None)) {
                self.wrong("role", "a worker needs a master: set MASTER_URL=http://host:8000, or add the role master");
            }
            let needs_gateway = roles.worker && !roles.gateway;
            if needs_gateway && matches!(gateway, Ok(None)) {
                let fault =
                    "a worker thinks through a gateway: set LLM_GATEWAY_URL=http://host:7000, or add the role gateway";
                self.wrong("role", fault);
            }
        }
        Ok(Colleagues {
            master: master?,
            callback: callback?,
            gateway: gateway?,
            gateway_timeout: gateway_timeout?,
            public_url: public_url?,
            token,
            networks: networks?,
            insecure: insecure?,
        })
    }

    pub(super) fn crew(&mut self) -> Result<Crew, Noted> {
        let agent = self.value("agent_id", |text| match text {
            "" => Ok(None),
            text => AgentId::parse(text).map(Some).map_err(|error| error.to_string()),
        });
        let capabilities = self.value("capabilities", capabilities);
        let profile = Some(self.text("ag2_profile")).filter(|text| !text.is_empty()).map(Arc::from);
        let prompt = self.path("prompt_path");
        Ok(Crew { agent: agent?, capabilities: capabilities?, profile, prompt })
    }

    fn url(&mut self, name: &'static str) -> Result<Option<ColleagueUrl>, Noted> {
        self.value(name, |text| match text {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|error: crate::http::InvalidUrl| error.to_string()),
        })
    }
}

/// A JSON list, as the predecessor has it, or names separated by commas.
fn capabilities(text: &str) -> Result<Option<Arc<[Capability]>>, String> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    let names: Vec<String> = if text.trim_start().starts_with('[') {
        let wrong = |_| format!("{text:?} is no list: write [\"analyze\"] or analyze,retrieve");
        serde_json::from_str(text).map_err(wrong)?
    } else {
        text.split(',').map(str::to_owned).collect()
    };
    let parsed = names.iter().map(|name| Capability::parse(name)).collect::<Result<Arc<[_]>, _>>();
    match parsed {
        Ok(parsed) if parsed.is_empty() => Err("a worker needs at least one capability".to_owned()),
        Ok(parsed) => Ok(Some(parsed)),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn capabilities_are_a_json_list_or_separated_by_commas() {
        let names = |text: &str| capabilities(text).unwrap().map(|all| all.iter().map(ToString::to_string).collect());
        assert_eq!(names(r#"["analyze", "retrieve"]"#), Some(vec!["analyze".to_owned(), "retrieve".to_owned()]));
        assert_eq!(names("analyze, retrieve"), names(r#"["analyze", "retrieve"]"#));
        assert_eq!(names(" "), None);
        for wrong in ["[]", "[1]", "[", "a,,b"] {
            assert!(capabilities(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_time_is_seconds_as_the_predecessor_has_it_or_says_its_unit() {
        assert_eq!(seconds_or_duration("60"), Ok(Duration::from_secs(60)));
        assert_eq!(seconds_or_duration("1500ms"), Ok(Duration::from_millis(1500)));
        assert!(seconds_or_duration("0").is_err());
    }
}
