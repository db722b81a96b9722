//! Addresses: ranges, and the cable between this machine and a node's own network namespace.

use std::net::Ipv4Addr;

use tokio::process::Command;

use crate::Error;

/// How many nodes can be there at once.
const NODES: u8 = 64;

/// A range of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    /// Its first address.
    pub base: Ipv4Addr,
    /// How many leading bits all of its addresses share.
    pub bits: u8,
}

impl Subnet {
    /// Its address number `number`, the base being 0.
    pub fn address(&self, number: u32) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.base) + number)
    }
}

impl std::fmt::Display for Subnet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.base, self.bits)
    }
}

/// What connects this machine with a node. It is gone when the node's network namespace is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Network {
    number: u8,
}

impl Network {
    /// Makes it, for the network namespace of a process. Another node may be there already: the name of
    /// the device decides which addresses are free.
    pub(crate) async fn attach(process: u32) -> Result<Self, Error> {
        let namespace = process.to_string();
        let mut number = 0;
        let network = loop {
            let device = Self { number }.device();
            let cable = [
                "link", "add", &device, "type", "veth", "peer", "name", "eth0", "netns", &namespace,
            ];
            match run("ip", &cable).await {
                Ok(_) => break Self { number },
                Err(Error::Command { stderr, .. })
                    if stderr.contains("File exists") && number < NODES =>
                {
                    number += 1
                }
                Err(error) => return Err(error),
            }
        };
        let (device, node) = (network.device(), network.node().to_string());
        let here = format!("{}/30", network.host());
        let there = format!("{node}/30");
        run("ip", &["addr", "add", &here, "dev", &device]).await?;
        run("ip", &["link", "set", &device, "up"]).await?;
        let namespace = format!("--net=/proc/{process}/ns/net");
        let gateway = network.host().to_string();
        for inside in [
            &["ip", "addr", "add", &there, "dev", "eth0"][..],
            &["ip", "link", "set", "eth0", "up"],
            &["ip", "route", "add", "default", "via", &gateway],
        ] {
            run("nsenter", &[&[namespace.as_str(), "--"], inside].concat()).await?;
        }
        for range in [network.pods(), network.services()] {
            run("ip", &["route", "add", &range.to_string(), "via", &node]).await?;
        }
        Ok(network)
    }

    /// The address of this machine, as the node sees it.
    pub(crate) fn host(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 213, self.number, 1)
    }

    /// The address of the node.
    pub(crate) fn node(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 213, self.number, 2)
    }

    /// The addresses of its Pods.
    pub(crate) fn pods(self) -> Subnet {
        Subnet {
            base: Ipv4Addr::new(10, 214, self.number, 0),
            bits: 24,
        }
    }

    /// The addresses of its Services.
    pub(crate) fn services(self) -> Subnet {
        Subnet {
            base: Ipv4Addr::new(10, 215, self.number, 0),
            bits: 24,
        }
    }

    /// The device on this side.
    fn device(self) -> String {
        format!("ringfence{}", self.number)
    }
}

/// Runs a command and returns what it wrote.
pub(crate) async fn run(program: &'static str, arguments: &[&str]) -> Result<String, Error> {
    let output = Command::new(program)
        .args(arguments)
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|source| Error::Spawn { program, source })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Error::Command {
        program,
        arguments: arguments.join(" "),
        status: output.status,
        stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}
