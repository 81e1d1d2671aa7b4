//! How a store is named in settings: `memory:`, `sqlite:PATH` or `redis://HOST`. It only names one; the node opens it.
//! Nothing that is shown of a name has the password that may be in it.

use crate::secret::Secret;
use crate::store::RedisOptions;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Which store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// In this process's memory: gone with it.
    Memory,
    /// In a file.
    Sqlite(PathBuf),
    /// In a Redis server, which several processes can share.
    Redis(RedisUrl),
}

/// A Redis server as a URL names it: `redis://[user[:password]@]host[:port][/database]`, or `rediss://…` for TLS. What it
/// leaves open, other settings say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisUrl {
    /// It wants TLS.
    pub tls: bool,
    /// Who to log in as.
    pub username: Option<String>,
    /// With which password.
    pub password: Option<Secret>,
    /// The host's name or address; that of IPv6 without brackets.
    pub host: String,
    /// Its port.
    pub port: Option<u16>,
    /// The number of the database.
    pub database: Option<u8>,
}

/// A text that names no store. What it says shows no password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidStoreUrl {
    /// Of no kind that there is.
    #[error(
        "{0:?} names no store: use `memory:`, `sqlite:PATH` or `redis://HOST`, for example `sqlite:./callboard.db`"
    )]
    Unknown(String),
    /// A URL of Redis that cannot be read.
    #[error(
        "{0} in this URL of Redis: write redis://[user[:password]@]host[:port][/database], or rediss://… for TLS, with \
         %40 for @ and %25 for % in the password"
    )]
    Redis(&'static str),
}

impl FromStr for StoreUrl {
    type Err = InvalidStoreUrl;

    fn from_str(text: &str) -> Result<Self, InvalidStoreUrl> {
        match text.split_once(':') {
            Some(("memory", "")) => Ok(Self::Memory),
            Some(("sqlite", path)) if !path.is_empty() => Ok(Self::Sqlite(path.into())),
            Some((scheme @ ("redis" | "rediss"), rest)) => {
                let url = RedisUrl::read(scheme == "rediss", rest);
                url.map(Self::Redis).map_err(InvalidStoreUrl::Redis)
            }
            _ => Err(InvalidStoreUrl::Unknown(without_password(text))),
        }
    }
}

impl StoreUrl {
    /// Whether other processes can have it open at the same time.
    pub fn is_shared(&self) -> bool {
        !matches!(self, Self::Memory | Self::Sqlite(_))
    }
}

impl RedisUrl {
    /// A server of which only the host is known.
    pub(super) fn of_host(host: String) -> Self {
        Self { tls: false, username: None, password: None, host, port: None, database: None }
    }

    /// Where the server of these options is.
    pub(super) fn of(options: &RedisOptions) -> Self {
        let (port, database) = (Some(options.port), Some(options.database));
        Self { tls: options.tls, port, database, ..Self::of_host(options.host.clone()) }
    }

    /// Reads what stands behind the scheme; else says what is wrong.
    fn read(tls: bool, rest: &str) -> Result<Self, &'static str> {
        let rest = rest.strip_prefix("//").ok_or("`//` is missing behind the scheme")?;
        // The last one: a password may hold more of them.
        let (who, place) = rest.rsplit_once('@').unwrap_or(("", rest));
        let (username, password) = who.split_once(':').unwrap_or((who, ""));
        let (place, database) = place.split_once('/').unwrap_or((place, ""));
        if place.contains(['?', '#']) || database.contains(['?', '#']) {
            return Err("there is a `?` or a `#`");
        }
        let (host, port) = match place.strip_prefix('[') {
            Some(rest) => rest.split_once(']').ok_or("`]` is missing behind the address")?,
            None => place.find(':').map_or((place, ""), |at| place.split_at(at)),
        };
        if !is_host(host) {
            return Err("the host is no name and no address");
        }
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => None,
            None => return Err("the host is no name and no address"),
            Some(port) => Some(port.parse().ok().filter(|port| *port > 0).ok_or("the port is no number of one")?),
        };
        let database = match database {
            "" => None,
            number => Some(number.parse().map_err(|_| "the database is no number from 0 to 255")?),
        };
        let decoded = |text: &str| match text {
            "" => Ok(None),
            text => percent_decoded(text).map(Some).ok_or("a `%` does not stand for a character"),
        };
        let (username, password) = (decoded(username)?, decoded(password)?.map(Secret::new));
        Ok(Self { tls, username, password, host: host.to_owned(), port, database })
    }
}

/// Whether a text can be a host's name or address, without a port.
pub(super) fn is_host(text: &str) -> bool {
    let is_address = text.parse::<std::net::IpAddr>().is_ok();
    let is_name = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    is_address || (!text.is_empty() && text.chars().all(is_name))
}

/// A text with each `%40` put back to what it stands for; none when one stands for nothing.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            digit(digits[0])? * 16 + digit(digits[1])?
        } else {
            byte
        });
    }
    String::from_utf8(bytes).ok()
}

/// A store's name as it may be shown, whether there is such a store or not.
pub(super) fn shown(text: &str) -> String {
    match text.parse::<StoreUrl>() {
        Ok(url) => url.to_string(),
        Err(_) => without_password(text),
    }
}

/// What is no store's name, without what may be a password in it.
fn without_password(text: &str) -> String {
    let (scheme, rest) = text.split_once(':').map_or(("", text), |(scheme, _)| text.split_at(scheme.len() + 1));
    if scheme.to_lowercase().starts_with("redis") {
        format!("{scheme}***")
    } else {
        rest.rsplit_once('@').map_or_else(|| text.to_owned(), |(_, place)| format!("{scheme}***@{place}"))
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory:"),
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Redis(url) => url.fmt(f),
        }
    }
}

impl fmt::Display for RedisUrl {
    /// Says where, and not who.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "rediss" } else { "redis" };
        let is_bare = self.host.contains(':');
        let host = if is_bare { format!("[{}]", self.host) } else { self.host.clone() };
        write!(f, "{scheme}://{host}")?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))?;
        self.database.map_or(Ok(()), |database| write!(f, "/{database}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redis(text: &str) -> RedisUrl {
        match text.parse() {
            Ok(StoreUrl::Redis(url)) => url,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn stores_are_named_and_nothing_else_is() {
        assert_eq!("memory:".parse(), Ok(StoreUrl::Memory));
        assert_eq!("sqlite:./a@b.db".parse(), Ok(StoreUrl::Sqlite("./a@b.db".into())));
        for wrong in ["", "memory", "memory:x", "sqlite:", "sqlite", "postgres://host"] {
            assert_eq!(wrong.parse::<StoreUrl>(), Err(InvalidStoreUrl::Unknown(wrong.into())));
        }
    }

    #[test]
    fn a_url_of_redis_says_what_it_says_and_leaves_the_rest_open() {
        let bare = RedisUrl::of_host("cache".into());
        assert_eq!(redis("redis://cache"), bare);
        assert_eq!(redis("redis://cache/"), bare);
        let full = redis("rediss://ann:p%40ss%25:/w@rd@[::1]:6380/3");
        assert_eq!((full.tls, full.host.as_str(), full.port, full.database), (true, "::1", Some(6380), Some(3)));
        assert_eq!(full.username.as_deref(), Some("ann"));
        assert_eq!(full.password, Some(Secret::new("p@ss%:/w@rd".to_owned())));
        assert_eq!(full.to_string(), "rediss://[::1]:6380/3");
        let only_password = redis("redis://:s3cret@10.0.0.1:6379");
        assert_eq!((only_password.to_string().as_str(), only_password.username), ("redis://10.0.0.1:6379", None));
    }

    #[test]
    fn what_is_wrong_in_a_url_of_redis_is_said() {
        for (wrong, what) in [
            ("redis:cache", "`//` is missing"),
            ("redis://", "the host"),
            ("redis://:s3cret", "the host"),
            ("redis://ca che", "the host"),
            ("redis://a,b", "the host"),
            ("redis://[::1", "`]` is missing"),
            ("redis://[::1]6379", "the host"),
            ("redis://cache:port", "the port"),
            ("redis://cache:0", "the port"),
            ("redis://cache:65536", "the port"),
            ("redis://cache/first", "the database"),
            ("redis://cache/256", "the database"),
            ("redis://cache?db=1", "there is a `?`"),
            ("redis://:s3cret%4@cache", "a `%`"),
            ("redis://:s3cret%zz@cache", "a `%`"),
        ] {
            let told = wrong.parse::<StoreUrl>().unwrap_err().to_string();
            assert!(told.starts_with(what) && !told.contains("s3cret"), "{wrong}: {told}");
        }
    }

    #[test]
    fn nothing_shown_has_a_password() {
        for secret in [
            "redis://ann:s3cret@cache:6379/0",
            "redis://ann:s3cret@cache:port",
            "redis://:s3cret",
            "redis:s3cret",
            "rediss://s3cret%4@x",
            "REDIS://:s3cret@x",
            "reds://ann:s3cret@cache",
            "ann:s3cret@cache",
            "s3cret@cache",
        ] {
            let parsed = secret.parse::<StoreUrl>();
            let told = parsed.as_ref().map_or_else(ToString::to_string, ToString::to_string);
            for words in [shown(secret), told, format!("{parsed:?}")] {
                assert!(!words.contains("s3cret"), "{secret}: {words}");
            }
        }
        assert_eq!(shown("redis://ann:s3cret@cache:6379"), "redis://cache:6379");
        assert_eq!(shown("reds://ann:s3cret@cache"), "reds:***@cache");
        assert_eq!(shown("sqlite:a@b.db"), "sqlite:a@b.db");
        assert_eq!(shown("cache"), "cache");
    }
}
