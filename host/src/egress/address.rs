//! Which addresses may be dialled: a pure classification, so that every range has a test.
//!
//! Only what is known to be harmless is allowed: in IPv6 that is global unicast (`2000::/3`) less its
//! special ranges. Addresses that carry an IPv4 address inside are judged by that one, and the
//! tunnels that nobody serves from any more (6to4, Teredo) are never dialled.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ringfence_api::AddressScope;

/// What an address is, as far as dialling it is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressClass {
    /// A host of the public internet.
    Public,
    /// Loopback or a private network: RFC 1918, RFC 4193, RFC 6598.
    Private,
    /// Never dialled, whatever is granted; says what the range is.
    Never(&'static str),
}

impl AddressClass {
    /// Whether an address of this class may be dialled under `scope`.
    pub fn allowed_in(self, scope: AddressScope) -> bool {
        match self {
            AddressClass::Public => true,
            AddressClass::Private => scope == AddressScope::Private,
            AddressClass::Never(_) => false,
        }
    }
}

impl std::fmt::Display for AddressClass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            AddressClass::Public => "public",
            AddressClass::Private => "private",
            AddressClass::Never(what) => what,
        })
    }
}

/// Addresses at which clouds hand out credentials. Some lie in ranges that are allowed otherwise.
const METADATA_V4: [Ipv4Addr; 4] = [
    Ipv4Addr::new(169, 254, 169, 254), // AWS, Azure, Google, OpenStack and others
    Ipv4Addr::new(169, 254, 170, 2),   // AWS ECS tasks
    Ipv4Addr::new(100, 100, 100, 200), // Alibaba
    Ipv4Addr::new(168, 63, 129, 16),   // Azure wire server
];

/// The same for IPv6.
const METADATA_V6: [Ipv6Addr; 4] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), // AWS
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),  // AWS EKS pod identity
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),  // Google
    Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42),   // Scaleway
];

/// Classifies one address.
pub fn classify(address: IpAddr) -> AddressClass {
    match address {
        IpAddr::V4(address) => classify_v4(address),
        IpAddr::V6(address) => classify_v6(address),
    }
}

fn classify_v4(address: Ipv4Addr) -> AddressClass {
    use AddressClass::{Never, Private, Public};
    if METADATA_V4.contains(&address) {
        return Never("a cloud metadata address");
    }
    match address.octets() {
        [0, ..] => Never("an unspecified address"),
        [10, ..] | [127, ..] | [192, 168, ..] => Private,
        [172, second, ..] if (16..32).contains(&second) => Private,
        [100, second, ..] if (64..128).contains(&second) => Private,
        [169, 254, ..] => Never("a link-local address"),
        [192, 0, 0, _] => Never("a protocol-assignment address"),
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Never("a documentation address"),
        [192, 88, 99, _] => Never("a 6to4 relay address"),
        [198, 18 | 19, ..] => Never("a benchmarking address"),
        [224..=239, ..] => Never("a multicast address"),
        [255, 255, 255, 255] => Never("the broadcast address"),
        [240..=255, ..] => Never("a reserved address"),
        _ => Public,
    }
}

fn classify_v6(address: Ipv6Addr) -> AddressClass {
    use AddressClass::{Never, Private, Public};
    if METADATA_V6.contains(&address) {
        return Never("a cloud metadata address");
    }
    if let Some(inner) = address.to_ipv4_mapped() {
        return classify_v4(inner);
    }
    let segments = address.segments();
    match segments {
        [0, 0, 0, 0, 0, 0, 0, 0] => Never("an unspecified address"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Private,
        [0, 0, 0, 0, 0, 0, ..] => Never("an IPv4-compatible address"),
        // NAT64 reaches what lies behind the translator: only public addresses are meant to be there.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => match classify_v4(embedded(high, low)) {
            Public => Public,
            _ => Never("a NAT64 address of a network that is not public"),
        },
        [0x64, 0xff9b, ..] => Never("a local NAT64 address"),
        [first, ..] if first & 0xfe00 == 0xfc00 => Private,
        [first, ..] if first & 0xffc0 == 0xfe80 => Never("a link-local address"),
        [first, ..] if first & 0xff00 == 0xff00 => Never("a multicast address"),
        [0x2001, second, ..] if second < 0x200 => Never("a protocol-assignment address"),
        [0x2001, 0xdb8, ..] => Never("a documentation address"),
        [0x3fff, second, ..] if second < 0x1000 => Never("a documentation address"),
        [0x2002, ..] => Never("a 6to4 address"),
        // ISATAP interface identifiers carry an IPv4 address as well.
        [first, _, _, _, 0 | 0x200, 0x5efe, high, low] if first & 0xe000 == 0x2000 => {
            match classify_v4(embedded(high, low)) {
                Public => Public,
                _ => Never("an ISATAP address of a network that is not public"),
            }
        }
        [first, ..] if first & 0xe000 == 0x2000 => Public,
        _ => Never("a reserved address"),
    }
}

fn embedded(high: u16, low: u16) -> Ipv4Addr {
    let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
    Ipv4Addr::new(a, b, c, d)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn class(text: &str) -> AddressClass {
        classify(text.parse().unwrap())
    }

    #[test]
    fn public_addresses() {
        for text in [
            "1.1.1.1",
            "8.8.8.8",
            "172.15.255.255",
            "172.32.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "192.0.1.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "169.253.255.255",
            "2606:4700:4700::1111",
            "2a00:1450:4001:80b::200e",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
        ] {
            assert_eq!(class(text), AddressClass::Public, "{text}");
        }
    }

    #[test]
    fn private_addresses() {
        for text in [
            "127.0.0.1",
            "127.255.255.255",
            "10.0.0.0",
            "10.255.255.255",
            "172.16.0.0",
            "172.31.255.255",
            "192.168.0.0",
            "192.168.255.255",
            "100.64.0.0",
            "100.127.255.255",
            "::1",
            "fc00::",
            "fdff:ffff::1",
            "::ffff:127.0.0.1",
            "::ffff:10.1.2.3",
        ] {
            assert_eq!(class(text), AddressClass::Private, "{text}");
        }
    }

    #[test]
    fn addresses_that_are_never_dialled() {
        for text in [
            "0.0.0.0",
            "0.1.2.3",
            "169.254.0.1",
            "169.254.169.254",
            "169.254.170.2",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.1",
            "192.0.2.1",
            "198.51.100.1",
            "203.0.113.1",
            "198.18.0.1",
            "198.19.255.255",
            "192.88.99.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::127.0.0.1",
            "::7f00:1",
            "::ffff:169.254.169.254",
            "::ffff:0.0.0.0",
            "64:ff9b::169.254.169.254",
            "64:ff9b::10.0.0.1",
            "64:ff9b::127.0.0.1",
            "64:ff9b:1::1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",
            "ff02::1",
            "2001::1",
            "2001:2::1",
            "2001:20::1",
            "2001:db8::1",
            "3fff::1",
            "2002:a9fe:a9fe::1",
            "2002:7f00:1::1",
            "2a00::5efe:a9fe:a9fe",
            "2a00::200:5efe:7f00:1",
            "100::1",
            "5f00::1",
            "4000::1",
        ] {
            assert!(matches!(class(text), AddressClass::Never(_)), "{text}");
        }
    }

    #[test]
    fn scopes_widen_only_to_private() {
        let never = AddressClass::Never("x");
        assert!(AddressClass::Public.allowed_in(AddressScope::Public));
        assert!(AddressClass::Public.allowed_in(AddressScope::Private));
        assert!(!AddressClass::Private.allowed_in(AddressScope::Public));
        assert!(AddressClass::Private.allowed_in(AddressScope::Private));
        assert!(!never.allowed_in(AddressScope::Public));
        assert!(!never.allowed_in(AddressScope::Private));
    }

    proptest! {
        /// However an IPv4 address is wrapped, it does not become more reachable.
        #[test]
        fn wrapping_never_widens(bits: u32) {
            let inner = Ipv4Addr::from(bits);
            let class = classify(IpAddr::V4(inner));
            let mapped = classify(IpAddr::V6(inner.to_ipv6_mapped()));
            prop_assert_eq!(class, mapped);
            let [a, b, c, d] = inner.octets();
            let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
            for wrapped in [
                Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
                Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
                Ipv6Addr::new(0, 0, 0, 0, 0, 0, high, low),
                Ipv6Addr::new(0x2a00, 1, 2, 3, 0, 0x5efe, high, low),
            ] {
                let wrapped = classify(IpAddr::V6(wrapped));
                if class != AddressClass::Public {
                    prop_assert!(!wrapped.allowed_in(AddressScope::Public));
                }
            }
        }

        /// The standard library's own idea of special addresses is never public here.
        #[test]
        fn agrees_with_std(bits: u32) {
            let a = Ipv4Addr::from(bits);
            if a.is_private() || a.is_loopback() || a.is_link_local() || a.is_multicast()
                || a.is_broadcast() || a.is_documentation() || a.is_unspecified()
            {
                prop_assert_ne!(classify(IpAddr::V4(a)), AddressClass::Public);
            }
        }
    }
}
