//! Ports for servers that cannot choose one themselves.

use std::net::{IpAddr, TcpListener};

use crate::Error;

const LOWEST: u16 = 10_000;
const ATTEMPTS: u32 = 200;

/// A port of an address of this machine that is free now. It lies below those that the kernel gives to clients and to
/// whoever binds port 0, so that a server which restarts finds it free again. Another cluster may still
/// take it first: who starts a server retries.
pub(crate) fn free_port(address: IpAddr) -> Result<u16, Error> {
    let end = first_ephemeral();
    (0..ATTEMPTS)
        .map(|_| rand::random_range(LOWEST..end))
        .find(|port| TcpListener::bind((address, *port)).is_ok())
        .ok_or(Error::NoPort)
}

fn first_ephemeral() -> u16 {
    const USUAL: u16 = 32_768;
    std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|range| range.split_whitespace().next()?.parse().ok())
        .filter(|first| *first > LOWEST)
        .unwrap_or(USUAL)
}
