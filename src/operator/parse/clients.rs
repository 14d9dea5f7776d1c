//! Who may connect: addresses are read here, since the policy that names them is made only when the instance opens.

use std::net::IpAddr;

use k8s_openapi::api::networking::v1::{IPBlock, NetworkPolicyPeer};

use super::Refusal;
use crate::{
    api::{Dhis2Instance, Reason},
    operator::settings::Settings,
};

/// The ingress controller and those that the resource names.
///
/// # Errors
/// `InvalidSpec` for a block of addresses that is none.
pub fn clients(resource: &Dhis2Instance, settings: &Settings) -> Result<Vec<NetworkPolicyPeer>, Refusal> {
    let named = &resource.spec.network.allow_from;
    for (n, block) in named.iter().enumerate().filter_map(|(n, peer)| Some((n, peer.ip_block.as_ref()?))) {
        check(block).map_err(|wrong| Refusal::new(Reason::InvalidSpec, format!("spec.network.allowFrom[{n}].ipBlock.{wrong}")))?;
    }
    Ok(settings.ingress_peers.iter().chain(named).cloned().collect())
}

fn check(block: &IPBlock) -> Result<(), String> {
    let no_block = |text: &str| format!("{text:?} is no block of addresses; write one such as 10.20.30.0/24");
    let all = Cidr::read(&block.cidr).ok_or_else(|| format!("cidr: {}", no_block(&block.cidr)))?;
    for (n, text) in block.except.iter().flatten().enumerate() {
        let part = Cidr::read(text).ok_or_else(|| format!("except[{n}]: {}", no_block(text)))?;
        if !all.holds(&part) {
            return Err(format!("except[{n}]: {text} must be a part of {}", block.cidr));
        }
    }
    Ok(())
}

/// A block of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cidr {
    /// The first bits, in the place where those of an IPv4 or IPv6 address are.
    bits: u128,
    length: u32,
    is_v4: bool,
}

impl Cidr {
    fn read(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/')?;
        let canonical = length == "0" || !length.starts_with(['0', '+']);
        let length: u32 = length.parse().ok().filter(|_| canonical)?;
        let (bits, most) = match address.parse().ok()? {
            IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, 32),
            IpAddr::V6(address) => (address.to_bits(), 128),
        };
        (length <= most).then_some(Self { bits, length, is_v4: most == 32 })
    }

    /// Is the other one a smaller block of this one?
    fn holds(&self, other: &Self) -> bool {
        let first = |bits: u128| bits.checked_shr(128 - self.length).unwrap_or_default();
        self.is_v4 == other.is_v4 && self.length < other.length && first(self.bits) == first(other.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn verdict(cidr: &str, except: &[&str]) -> Result<(), String> {
        check(&IPBlock { cidr: cidr.into(), except: Some(except.iter().map(|&text| text.into()).collect()) })
    }

    #[test]
    fn blocks_as_network_policies_take_them() {
        for (cidr, except) in [
            ("10.0.0.0/8", &["10.1.0.0/16", "10.2.3.4/32"][..]),
            ("0.0.0.0/0", &["10.0.0.0/8"]),
            ("::/0", &["fd00::/8"]),
            ("2001:db8::/32", &[]),
            ("192.0.2.1/32", &[]),
        ] {
            assert_eq!(verdict(cidr, except), Ok(()), "{cidr}");
        }
    }

    #[test]
    fn other_texts_are_told_with_their_place() {
        for cidr in
            ["", "10.0.0.0", "10.0.0.0/33", "10.0.0/8", "10.0.0.0/08", "10.0.0.0/+8", "10.0.0.0/8 ", "010.0.0.0/8", "::/129", "play.org/8"]
        {
            assert!(verdict(cidr, &[]).unwrap_err().starts_with("cidr: "), "{cidr}");
        }
        for (cidr, except) in [("10.0.0.0/8", "10.0.0.0/8"), ("10.0.0.0/8", "11.0.0.0/16"), ("0.0.0.0/0", "fd00::/8"), ("10.0.0.0/8", "x")]
        {
            assert!(verdict(cidr, &[except]).unwrap_err().starts_with("except[0]: "), "{except}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_not(text in "[0-9a-f.:/+ -]{0,24}|.{0,8}") {
            let _ = Cidr::read(&text);
        }

        #[test]
        fn a_block_holds_its_smaller_ones(bits in any::<u128>(), length in 0_u32..128, more in 1_u32..128) {
            let block = |length: u32| Cidr { bits, length, is_v4: false };
            let smaller = block((length + more).min(128));
            prop_assert!(block(length).holds(&smaller) && !smaller.holds(&block(length)));
        }
    }
}
