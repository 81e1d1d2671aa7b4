//! The settings about Redis: which server, out of the store's URL and, where that leaves it open, the settings of their own.
//! They are only looked at when something names a server, for container platforms set some of these variables by themselves.

use super::{Noted, Reading, choice};
use crate::secret::Secret;
use crate::settings::StoreUrl;
use crate::settings::store_url::{RedisUrl, is_host};
use crate::store::RedisOptions;
use std::time::Duration;

/// What the names of own keys may be made of, so that they are read as text everywhere.
const PREFIX_SIGNS: &str = "letters, digits and . : _ -";

impl Reading {
    /// The server that the store's URL or `redis_host` names, and the store's URL with what it had left open.
    pub(super) fn redis(&mut self, store: StoreUrl) -> Result<(StoreUrl, Option<RedisOptions>), Noted> {
        let is_store = matches!(store, StoreUrl::Redis(_));
        let url = match &store {
            StoreUrl::Redis(url) => url.clone(),
            _ if self.text("redis_host").is_empty() => return Ok((store, None)),
            _ => RedisUrl::of_host(self.host()?),
        };
        // Each is read before any is missed, so that every problem is noted.
        let port = self.value("redis_port", |text| {
            let port = text.parse().ok().filter(|port| *port > 0_u16);
            port.ok_or_else(|| format!("{text:?} is no port: write a number from 1 to 65535"))
        });
        let database = self.value("redis_database", |text| {
            text.parse().map_err(|_| format!("{text:?} is no database: write a number from 0 to 255"))
        });
        let tls = self.value("redis_tls", choice).map(|is_on| is_on || url.tls);
        let prefix = self.value("redis_prefix", |text| {
            let is_sign = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '_' | '-');
            let is_prefix = !text.is_empty() && text.chars().all(is_sign);
            is_prefix.then(|| text.to_owned()).ok_or_else(|| format!("{text:?} cannot be one: use {PREFIX_SIGNS}"))
        });
        let pool = self.number("redis_pool", 1_usize);
        let timeout = self.duration("redis_timeout", Duration::from_millis(100));
        let wait_replicas = self.number("redis_wait_replicas", 0_u32);
        let predecessor_keys = self.value("predecessor_keys", choice);
        let predecessor_ttl = self.duration("predecessor_ttl", Duration::from_secs(60));
        let ca = self.path("redis_ca");
        if ca.is_some() && matches!(tls, Ok(false)) {
            let fault = "an authority is of no use without TLS: write rediss://… as the store, or redis_tls = true";
            self.wrong("redis_ca", fault);
        }
        let chosen = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let username = url.username.or_else(|| chosen(self.text("redis_username")));
        let password = url.password.or_else(|| chosen(self.text("redis_password")).map(Secret::new));
        if username.is_some() && password.is_none() {
            self.wrong("redis_username", "a user needs a password: set CALLBOARD_REDIS_PASSWORD, too");
        }
        let options = RedisOptions {
            username,
            password,
            tls: tls?,
            ca,
            database: url.database.map_or(database, Ok)?,
            prefix: prefix?,
            pool: pool?,
            timeout: timeout?,
            wait_replicas: wait_replicas?,
            predecessor_keys: predecessor_keys?,
            predecessor_ttl: predecessor_ttl?,
            ..RedisOptions::new(url.host, url.port.map_or(port, Ok)?)
        };
        let store = if is_store { StoreUrl::Redis(RedisUrl::of(&options)) } else { store };
        Ok((store, Some(options)))
    }

    fn host(&mut self) -> Result<String, Noted> {
        self.value("redis_host", |text| {
            let remedy = "write its name or address alone, and the port as redis_port";
            is_host(text).then(|| text.to_owned()).ok_or_else(|| format!("this is no host: {remedy}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::load;
    use super::*;
    use crate::settings::{Overrides, Settings, SettingsError};

    fn read(variables: &[(&str, &str)], flags: &[(&'static str, &str)]) -> Result<Settings, SettingsError> {
        let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let flags: Overrides = flags.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        load(None, &variables, &flags)
    }

    fn redis(variables: &[(&str, &str)]) -> RedisOptions {
        read(variables, &[]).unwrap().redis.unwrap()
    }

    fn refusal(variables: &[(&str, &str)]) -> String {
        read(variables, &[]).unwrap_err().to_string()
    }

    #[test]
    fn a_named_server_is_the_store_where_nobody_chose_one() {
        let host = ("REDIS_HOST", "cache");
        let settings = read(&[host], &[]).unwrap();
        assert_eq!(settings.store.to_string(), "redis://cache:6379/0");
        let by_flag = read(&[host], &[("store", "memory:")]).unwrap();
        assert_eq!(by_flag.store, StoreUrl::Memory);
        assert_eq!(by_flag.redis.unwrap().host, "cache", "others than the store may have need of it");
        let by_variable = read(&[host, ("CALLBOARD_STORE", "sqlite:a.db")], &[]).unwrap();
        assert_eq!(by_variable.store.to_string(), "sqlite:a.db");
        let elsewhere = read(&[host, ("CALLBOARD_STORE", "redis://other")], &[]).unwrap();
        assert_eq!(elsewhere.redis.unwrap().host, "other");
        assert!(read(&[], &[]).unwrap().redis.is_none());
        assert!(read(&[("REDIS_HOST", "")], &[]).unwrap().redis.is_none());
    }

    #[test]
    fn the_predecessors_names_are_read_and_own_ones_win() {
        let old =
            [("REDIS_HOST", "cache"), ("REDIS_PORT", "7000"), ("REDIS_PASSWORD", "s3cret"), ("REDIS_TLS", "true")];
        let options = redis(&old);
        assert_eq!((options.host.as_str(), options.port, options.tls), ("cache", 7000, true));
        assert_eq!(options.password, Some(Secret::new("s3cret")));
        let new = [("CALLBOARD_REDIS_HOST", "own"), ("CALLBOARD_REDIS_PORT", "8000"), ("CALLBOARD_REDIS_TLS", "off")];
        let options = redis(&[&old[..], &new[..]].concat());
        assert_eq!((options.host.as_str(), options.port, options.tls), ("own", 8000, false));
    }

    #[test]
    fn what_the_url_says_counts_and_the_rest_is_taken_from_the_settings() {
        let others = [
            ("CALLBOARD_REDIS_PORT", "7000"),
            ("CALLBOARD_REDIS_USERNAME", "bob"),
            ("CALLBOARD_REDIS_PASSWORD", "other"),
            ("CALLBOARD_REDIS_DATABASE", "2"),
        ];
        let with = |url| redis(&[&others[..], &[("CALLBOARD_STORE", url)]].concat());
        let full = with("rediss://ann:s3cret@cache:6380/3");
        assert_eq!((full.host.as_str(), full.port, full.tls, full.database), ("cache", 6380, true, 3));
        assert_eq!((full.username.as_deref(), full.password), (Some("ann"), Some(Secret::new("s3cret"))));
        let bare = with("redis://cache");
        assert_eq!((bare.port, bare.tls, bare.database), (7000, false, 2));
        assert_eq!((bare.username.as_deref(), bare.password), (Some("bob"), Some(Secret::new("other"))));
    }

    #[test]
    fn every_fault_is_told_with_its_remedy_and_no_secret() {
        let with = |name: &str, value: &str| {
            let told = refusal(&[("CALLBOARD_STORE", "redis://:s3cret@cache"), (name, value)]);
            assert!(!told.contains("s3cret"), "{told}");
            told
        };
        assert!(with("CALLBOARD_REDIS_PORT", "0").contains("from 1 to 65535"));
        assert!(with("CALLBOARD_REDIS_DATABASE", "256").contains("from 0 to 255"));
        assert!(with("CALLBOARD_REDIS_PREFIX", "").contains("letters, digits"));
        assert!(with("CALLBOARD_REDIS_PREFIX", "a*").contains("letters, digits"));
        assert!(with("CALLBOARD_REDIS_POOL", "0").contains("at least 1"));
        assert!(with("CALLBOARD_REDIS_TIMEOUT", "1ms").contains("less than"));
        assert!(with("CALLBOARD_REDIS_CA", "ca.crt").contains("rediss://"));
        assert!(with("CALLBOARD_PREDECESSOR_KEYS", "perhaps").contains("neither true nor false"));
        assert!(
            refusal(&[("REDIS_HOST", "redis://cache:6379")])
                .contains("setting redis_host (REDIS_HOST): this is no host")
        );
        let nameless = refusal(&[("REDIS_HOST", "cache"), ("CALLBOARD_REDIS_USERNAME", "ann")]);
        assert!(nameless.contains("CALLBOARD_REDIS_PASSWORD"), "{nameless}");
    }

    #[test]
    fn settings_show_no_password() {
        let settings = read(&[("CALLBOARD_STORE", "redis://ann:s3cret@cache")], &[]).unwrap();
        assert!(!format!("{settings:?}").contains("s3cret"));
    }
}
