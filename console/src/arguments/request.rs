//! What tells one request from another, and how long one is waited for.

use clap::Args;
use shared::id::ClientId;

#[derive(Debug, Args)]
pub struct RequestId {
    /// Identify the request, so that a repeat is answered and not run again: 32 hex digits, a colon, a number from 1
    #[arg(long = "request-id", value_name = "HEX32:SEQ", value_parser = request_id)]
    pub id: Option<ClientSequence>,
}

/// A request's identity, chosen by a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientSequence {
    pub client: ClientId,
    pub sequence: u64,
}

/// A deadline in milliseconds, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadlineMs(pub u64);

pub fn seconds(text: &str) -> Result<DeadlineMs, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.001..=86_400.0 * 365.0).contains(&seconds) => {
            Ok(DeadlineMs((seconds * 1000.0) as u64))
        }
        _ => Err("a number of seconds from 0.001, such as 2.5".into()),
    }
}

fn request_id(text: &str) -> Result<ClientSequence, String> {
    let parts = text.split_once(':').and_then(|(client, sequence)| {
        let hex = client.len() == 32 && client.bytes().all(|byte| byte.is_ascii_hexdigit());
        let client = u128::from_str_radix(client, 16).ok().filter(|_| hex)?;
        let sequence = sequence.parse().ok().filter(|sequence| *sequence > 0)?;
        Some(ClientSequence {
            client: ClientId(client.to_be_bytes()),
            sequence,
        })
    });
    parts.ok_or_else(|| "32 hex digits, a colon and a number from 1".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_is_checked() {
        let good = request_id("000102030405060708090a0b0c0d0e0f:7").unwrap();
        assert_eq!((good.client.0[15], good.sequence), (15, 7));
        for bad in [
            "",
            "00:1",
            "000102030405060708090a0b0c0d0e0f:0",
            "+00102030405060708090a0b0c0d0e0f:1",
        ] {
            assert!(request_id(bad).is_err(), "{bad}");
        }
    }
}
