//! Where a master may be sent by those who register: any address but those that belong to the machine's own link or to a
//! cloud's metadata service, or only the networks that the operator names. Checked on the addresses that a name resolves
//! to, each time it does, so that a name cannot change its meaning after it was checked.

use ipnet::IpNet;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// The networks in which workers may be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Networks {
    /// All but what is never allowed, when none.
    allowed: Option<Arc<[IpNet]>>,
}

/// Why a list of networks cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no network: write for example 10.0.0.0/8,192.168.1.7/32, or any")]
pub struct InvalidNetworks(String);

/// Why an address is not gone to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAllowed {
    /// It is of a kind that no worker has.
    #[error("{0} is link-local, multicast, unspecified or a cloud's metadata service: no worker can be there")]
    Never(IpAddr),
    /// It is outside of what the operator names.
    #[error("{0} is outside of the networks that CALLBOARD_WORKER_NETWORKS names")]
    Outside(IpAddr),
    /// The name has no address.
    #[error("{0} cannot be resolved: check the worker's PUBLIC_URL")]
    Unknown(String),
    /// It is no URL of a worker.
    #[error("{}", super::client::InvalidUrl)]
    Url,
}

/// How long a name may take to resolve.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(3);

impl FromStr for Networks {
    type Err = InvalidNetworks;

    fn from_str(text: &str) -> Result<Self, InvalidNetworks> {
        if text.trim() == "any" {
            return Ok(Self::default());
        }
        let network = |part: &str| match part.parse::<IpAddr>() {
            Ok(address) => Ok(IpNet::from(address)),
            Err(_) => part.parse::<IpNet>().map_err(|_| InvalidNetworks(part.to_owned())),
        };
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let allowed: Vec<_> = parts.map(network).collect::<Result<_, _>>()?;
        if allowed.is_empty() {
            return Err(InvalidNetworks(text.to_owned()));
        }
        Ok(Self { allowed: Some(allowed.into()) })
    }
}

impl Networks {
    /// Whether a worker may be at this address.
    ///
    /// # Errors
    /// [`NotAllowed`] says why not.
    pub fn check(&self, address: IpAddr) -> Result<(), NotAllowed> {
        let address = address.to_canonical();
        if is_never(address) {
            return Err(NotAllowed::Never(address));
        }
        match &self.allowed {
            Some(allowed) if !allowed.iter().any(|network| network.contains(&address)) => {
                Err(NotAllowed::Outside(address))
            }
            _ => Ok(()),
        }
    }

    /// Whether a worker may be at this URL, by all the addresses that its host has now.
    ///
    /// # Errors
    /// [`NotAllowed`] says why not.
    pub async fn check_url(&self, url: &str) -> Result<(), NotAllowed> {
        let url: Url = url.parse().map_err(|_| NotAllowed::Url)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(NotAllowed::Url);
        }
        if let Some(address) = literal(&url) {
            return self.check(address);
        }
        let host = url.host_str().ok_or(NotAllowed::Url)?;
        let addresses = resolve(host).await.map_err(|_| NotAllowed::Unknown(host.to_owned()))?;
        if addresses.is_empty() {
            return Err(NotAllowed::Unknown(host.to_owned()));
        }
        addresses.iter().try_for_each(|address| self.check(address.ip()))
    }
}

/// The address that a URL's host is written as; none when it is a name.
pub(super) fn literal(url: &Url) -> Option<IpAddr> {
    url.host_str()?.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

async fn resolve(host: &str) -> std::io::Result<Vec<SocketAddr>> {
    let found = tokio::time::timeout(RESOLVE_TIMEOUT, tokio::net::lookup_host((host, 0))).await;
    Ok(found.map_err(std::io::Error::other)??.collect())
}

fn is_never(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            // The metadata services of Alibaba and Oracle; those of the others are link-local.
            const METADATA: [Ipv4Addr; 2] = [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192)];
            v4.is_link_local()
                || v4.is_multicast()
                || v4.is_broadcast()
                || v4.octets()[0] == 0
                || METADATA.contains(&v4)
        }
        IpAddr::V6(v6) => {
            // Amazon's, in a network of its own.
            const METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
            v6.is_unicast_link_local() || v6.is_multicast() || v6.is_unspecified() || v6 == METADATA
        }
    }
}

impl Resolve for Networks {
    fn resolve(&self, name: Name) -> Resolving {
        let networks = self.clone();
        Box::pin(async move {
            let addresses = resolve(name.as_str()).await?;
            let allowed: Vec<_> =
                addresses.into_iter().filter(|address| networks.check(address.ip()).is_ok()).collect();
            if allowed.is_empty() {
                return Err(format!("no address of {} may be gone to", name.as_str()).into());
            }
            let addresses: Addrs = Box::new(allowed.into_iter());
            Ok(addresses)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_worker_can_have_is_never_allowed() {
        let any = Networks::default();
        for never in [
            "169.254.169.254",
            "169.254.0.1",
            "0.0.0.0",
            "0.1.2.3",
            "255.255.255.255",
            "224.0.0.1",
            "100.100.100.200",
            "192.0.0.192",
            "fe80::1",
            "ff02::1",
            "::",
            "fd00:ec2::254",
            "::ffff:169.254.169.254",
        ] {
            assert!(matches!(any.check(never.parse().unwrap()), Err(NotAllowed::Never(_))), "{never}");
        }
        for fine in ["127.0.0.1", "10.1.2.3", "192.168.0.9", "8.8.8.8", "::1", "fd12::7", "::ffff:10.0.0.1"] {
            assert_eq!(any.check(fine.parse().unwrap()), Ok(()), "{fine}");
        }
    }

    #[test]
    fn the_operators_networks_are_the_only_ones() {
        let named: Networks = "10.0.0.0/8, 127.0.0.1".parse().unwrap();
        assert!(named.check("10.200.0.1".parse().unwrap()).is_ok());
        assert!(named.check("127.0.0.1".parse().unwrap()).is_ok());
        assert!(named.check("::ffff:10.0.0.1".parse().unwrap()).is_ok());
        assert!(matches!(named.check("127.0.0.2".parse().unwrap()), Err(NotAllowed::Outside(_))));
        let all: Networks = "0.0.0.0/0".parse().unwrap();
        assert!(matches!(all.check("169.254.169.254".parse().unwrap()), Err(NotAllowed::Never(_))));
        for bad in ["", ",", "10.0.0.0/33", "host"] {
            assert!(bad.parse::<Networks>().is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_url_is_judged_by_what_its_host_resolves_to() {
        let named: Networks = "10.0.0.0/8".parse().unwrap();
        assert!(matches!(named.check_url("http://localhost:5000").await, Err(NotAllowed::Outside(_))));
        assert_eq!(Networks::default().check_url("http://localhost:5000").await, Ok(()));
        // Every way to write the metadata service's address.
        for url in ["http://169.254.169.254/", "http://[::ffff:a9fe:a9fe]/", "http://2852039166/", "http://0xa9fea9fe/"]
        {
            assert!(matches!(Networks::default().check_url(url).await, Err(NotAllowed::Never(_))), "{url}");
        }
        for bad in ["ftp://10.0.0.1", "nonsense", "http://"] {
            assert!(matches!(named.check_url(bad).await, Err(NotAllowed::Url)), "{bad}");
        }
    }
}
