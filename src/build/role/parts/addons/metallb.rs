//! Addresses for services of type LoadBalancer. MetalLB itself is its publisher's manifest; these are the cluster's own
//! objects, of [MetalLB's kinds](https://metallb.io/apis/).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;
use serde_json::Value;

use super::super::manifest::{meta_in, object};
use crate::common::error::Result;

pub(super) const ABOUT: &str = "The addresses that services of type LoadBalancer get, and that nodes answer for them on their own network.
MetalLB takes it only when its webhook answers, which is some time after it was started.";

/// The namespace of the publisher's manifest.
const NAMESPACE: &str = "metallb-system";
const VERSION: &str = "metallb.io/v1beta1";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Custom<T> {
    api_version: &'static str,
    kind: &'static str,
    metadata: ObjectMeta,
    spec: T,
}

#[derive(Serialize)]
struct IpAddressPool {
    addresses: [&'static str; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct L2Advertisement {
    ip_address_pools: [&'static str; 1],
}

/// All objects.
pub(super) fn objects() -> Result<Vec<Value>> {
    Ok(vec![
        custom("IPAddressPool", IpAddressPool { addresses: ["@LOAD_BALANCER_POOL@"] })?,
        custom("L2Advertisement", L2Advertisement { ip_address_pools: ["kbake"] })?,
    ])
}

fn custom(kind: &'static str, spec: impl Serialize) -> Result<Value> {
    object(&Custom { api_version: VERSION, kind, metadata: meta_in(NAMESPACE, "kbake", &[]), spec })
}
