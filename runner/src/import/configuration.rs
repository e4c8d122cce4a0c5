//! Endpoints and limits as `ip mptcp` prints them (iproute2, `print_mptcp_addrinfo` and `print_mptcp_limit`,
//! ip/ipmptcp.c), and sysctls.

use std::net::IpAddr;

use serde_json::{Map, Value};

use crate::mptcp::{Endpoint, EndpointFlags, Limits};

/// The endpoint of a line; `None` if the line is something else.
pub(super) fn endpoint(line: &str) -> Option<Result<Endpoint, String>> {
    let mut words = line.split_whitespace();
    let address: IpAddr = words.next()?.parse().ok()?;
    if !line.contains(" id ") {
        return None;
    }
    let mut endpoint = Endpoint { address, port: None, id: None, flags: EndpointFlags::empty(), dev: None };
    while let Some(word) = words.next() {
        let value = if is_flag(word) { None } else { words.next() };
        if let Err(problem) = property(&mut endpoint, word, value.unwrap_or_default()) {
            return Some(Err(problem));
        }
    }
    Some(Ok(endpoint))
}

fn is_flag(word: &str) -> bool {
    EndpointFlags::from_word(word).is_some()
}

fn property(endpoint: &mut Endpoint, word: &str, value: &str) -> Result<(), String> {
    let bad = || format!("`{word}` has the value `{value}`");
    match word {
        "port" => endpoint.port = Some(value.parse().map_err(|_| bad())?),
        "id" => endpoint.id = Some(value.parse().map_err(|_| bad())?),
        "dev" => endpoint.dev = Some(value.to_owned()),
        "rawflags" => {
            let bits = u32::from_str_radix(value.trim_start_matches("0x"), 16).map_err(|_| bad())?;
            endpoint.flags |= EndpointFlags::from_bits_retain(bits);
        }
        _ => match EndpointFlags::from_word(word) {
            Some(flag) => endpoint.flags |= flag,
            None => return Err(format!("unknown word `{word}`")),
        },
    }
    Ok(())
}

/// The endpoint of an object; `None` if it is something else.
pub(super) fn endpoint_object(object: &Map<String, Value>) -> Option<Result<Endpoint, String>> {
    let address = object.get("address")?.as_str()?.parse().ok()?;
    object.get("id")?;
    let mut endpoint = Endpoint { address, port: None, id: None, flags: EndpointFlags::empty(), dev: None };
    for (key, value) in object.iter().filter(|(key, _)| *key != "address") {
        let stored = match value {
            Value::Bool(false) => Ok(()),
            Value::Bool(true) if is_flag(key) => property(&mut endpoint, key, ""),
            Value::String(text) if !is_flag(key) => property(&mut endpoint, key, text),
            Value::Number(number) if !is_flag(key) => property(&mut endpoint, key, &number.to_string()),
            other => Err(format!("`{key}` has the value `{other}`")),
        };
        if let Err(problem) = stored {
            return Some(Err(problem));
        }
    }
    Some(Ok(endpoint))
}

/// The limits of a line; `None` if the line is something else.
pub(super) fn limits(line: &str) -> Option<Limits> {
    let words: Vec<&str> = line.split_whitespace().take(5).collect();
    let mut limits = Limits::default();
    let (["add_addr_accepted", accepted, "subflows", subflows] | ["subflows", subflows, "add_addr_accepted", accepted]) =
        words[..]
    else {
        return None;
    };
    limits.add_addr_accepted = accepted.parse().ok()?;
    limits.subflows = subflows.parse().ok()?;
    Some(limits)
}

/// The limits of an object; `None` if it is something else.
pub(super) fn limits_object(object: &Map<String, Value>) -> Option<Limits> {
    let number = |key: &str| u32::try_from(object.get(key)?.as_u64()?).ok();
    Some(Limits { add_addr_accepted: number("add_addr_accepted")?, subflows: number("subflows")? })
}

/// The name and value of a sysctl of MPTCP; `None` if the line is something else.
pub(super) fn sysctl(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once('=')?;
    let name = name.trim();
    name.starts_with("net.mptcp.").then(|| (name, value.trim()))
}

/// The kernel's release, of the output of `uname -a`; `None` if the line is something else.
pub(super) fn release(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    let is_uname = words.next() == Some("Linux") && line.contains(" #");
    words.nth(1).filter(|release| is_uname && release.starts_with(|first: char| first.is_ascii_digit()))
}
