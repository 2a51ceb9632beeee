//! Minisign signatures of instructions.

use minisign_verify::{PublicKey, Signature};

use crate::instruction::Refusal;

/// Largest signature file.
pub const LARGEST_BYTES: u64 = 4096;

/// Checks that one of the keys signed exactly these bytes; nothing to check without keys.
pub fn check(keys: &[PublicKey], bytes: &[u8], signature: Option<&[u8]>) -> Result<(), Refusal> {
    if keys.is_empty() {
        return Ok(());
    }
    let Some(signature) = signature else {
        return Err(Refusal::new(
            "unsigned",
            "channel.public_keys is set, and no signature (NAME.json.minisig) lay beside the file; put it into the inbox first",
        ));
    };
    let bad = |why: String| Refusal::new("bad_signature", why);
    let text = std::str::from_utf8(signature).map_err(|_| bad("the signature is no text".to_owned()))?;
    let signature =
        Signature::decode(text).map_err(|error| bad(format!("the signature is not of minisign: {error}")))?;
    // Those of earlier minisign would have to be read whole into memory by every verifier: refused, as minisign itself does now.
    let is_signed = |key: &PublicKey| key.verify(bytes, &signature, false).is_ok();
    match keys.iter().any(is_signed) {
        true => Ok(()),
        false => Err(bad(
            "the signature is of other bytes, or by none of channel.public_keys".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use minisign::KeyPair;

    use super::*;

    #[test]
    fn only_these_bytes_signed_by_this_key_will_do() {
        let pair = KeyPair::generate_unencrypted_keypair().unwrap();
        let other = KeyPair::generate_unencrypted_keypair().unwrap();
        let sign = |pair: &KeyPair, bytes: &[u8]| {
            minisign::sign(None, &pair.sk, bytes, None, None)
                .unwrap()
                .into_string()
        };
        let keys = [&other, &pair].map(|pair| PublicKey::from_base64(&pair.pk.to_base64()).unwrap());
        let good = sign(&pair, b"bytes");
        let reason = |keys: &[PublicKey], bytes: &[u8], signature: Option<&str>| {
            check(keys, bytes, signature.map(str::as_bytes))
                .err()
                .map(|refusal| refusal.reason)
        };
        assert_eq!(reason(&keys, b"bytes", Some(&good)), None);
        assert_eq!(reason(&keys, b"bytes", None), Some("unsigned"));
        assert_eq!(reason(&keys, b"Bytes", Some(&good)), Some("bad_signature"));
        assert_eq!(reason(&keys[..1], b"bytes", Some(&good)), Some("bad_signature"));
        assert_eq!(reason(&keys, b"bytes", Some("")), Some("bad_signature"));
        let (head, rest) = good.split_at(90);
        let changed = format!(
            "{head}{}{}",
            if rest.starts_with('A') { 'B' } else { 'A' },
            &rest[1..]
        );
        assert_eq!(reason(&keys, b"bytes", Some(&changed)), Some("bad_signature"));
        assert_eq!(reason(&[], b"bytes", None), None);
    }
}
