//! The common parts of a control plane's static pods.
//!
//! A static pod cannot use a Secret, ConfigMap or ServiceAccount: the API server does not run yet
//! (<https://kubernetes.io/docs/tasks/configure-pod-container/static-pod/>). Its files are the host's.

use k8s_openapi::api::core::v1::{
    Container, EnvVar, EnvVarSource, HostPathVolumeSource, ObjectFieldSelector, Pod, PodSpec, Probe, ResourceRequirements, Volume,
    VolumeMount,
};

use super::super::manifest::{capabilities, default_seccomp, meta_in, preloaded, quantities};

/// The node's address on the cluster's network.
pub(super) const HOST_IP: (&str, &str) = ("HOST_IP", "status.hostIP");
/// The node's name.
pub(super) const NODE_NAME: (&str, &str) = ("NODE_NAME", "spec.nodeName");

/// A static pod of one container.
pub(super) struct Component<'a> {
    /// The name of the pod, the container and the program.
    pub(super) name: &'static str,
    /// The full name of the container image.
    pub(super) image: &'a str,
    /// The program's arguments without the leading dashes, in reading order.
    pub(super) arguments: Vec<(&'static str, String)>,
    /// Environment variables by the fields of the pod that they are taken from; arguments say `$(NAME)`.
    pub(super) fields: &'a [(&'static str, &'static str)],
    /// The host's files and folders that it reads and writes.
    pub(super) mounts: &'a [Mount],
    /// Its resource requests.
    pub(super) requests: &'a [(&'static str, &'static str)],
    /// Root's capabilities that it needs.
    pub(super) capabilities: &'a [&'static str],
    /// Its health probes.
    pub(super) probes: Probes,
}

/// A file or folder of the host's, at the same path in the pod.
pub(super) struct Mount {
    pub(super) name: &'static str,
    pub(super) path: &'static str,
    pub(super) kind: Kind,
}

/// The kind of a mount, and whether the pod may change it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A read-only file. A missing one keeps the pod from starting, and the kubelet says so.
    File,
    /// A read-only folder.
    Folder,
    /// A folder that the pod writes to.
    Data,
}

/// A component's health probes, without thresholds.
pub(super) struct Probes {
    pub(super) startup: Probe,
    pub(super) liveness: Probe,
    pub(super) readiness: Option<Probe>,
}

/// The pod.
pub(super) fn pod(component: Component) -> Pod {
    let name = component.name;
    let mounts = component.mounts;
    Pod {
        metadata: meta_in("kube-system", name, &[("component", name), ("tier", "control-plane")]),
        spec: Some(PodSpec {
            host_network: Some(true),
            // The kubelet evicts pods by this number, and nobody computes it for a static one.
            priority: Some(2_000_001_000),
            priority_class_name: Some("system-node-critical".to_owned()),
            security_context: Some(default_seccomp()),
            volumes: Some(mounts.iter().map(volume).collect()),
            containers: vec![container(component)],
            ..PodSpec::default()
        }),
        ..Pod::default()
    }
}

fn container(component: Component) -> Container {
    // By its full path: an image that kbake built of one program has no PATH.
    let mut command = vec![format!("/usr/local/bin/{}", component.name)];
    command.extend(component.arguments.into_iter().map(|(flag, value)| format!("--{flag}={value}")));
    let env: Vec<EnvVar> = component.fields.iter().map(|(name, field)| of_field(name, field)).collect();
    Container {
        name: component.name.to_owned(),
        image: Some(component.image.to_owned()),
        image_pull_policy: preloaded(),
        command: Some(command),
        env: (!env.is_empty()).then_some(env),
        volume_mounts: Some(component.mounts.iter().map(mounted).collect()),
        resources: Some(ResourceRequirements { requests: quantities(component.requests), ..ResourceRequirements::default() }),
        security_context: Some(capabilities(component.capabilities)),
        startup_probe: Some(startup(component.probes.startup)),
        liveness_probe: Some(liveness(component.probes.liveness)),
        readiness_probe: component.probes.readiness.map(readiness),
        ..Container::default()
    }
}

fn of_field(name: &str, field: &str) -> EnvVar {
    let field_ref = Some(ObjectFieldSelector { field_path: field.to_owned(), api_version: None });
    EnvVar { name: name.to_owned(), value_from: Some(EnvVarSource { field_ref, ..EnvVarSource::default() }), ..EnvVar::default() }
}

fn volume(mount: &Mount) -> Volume {
    let type_ = match mount.kind {
        Kind::File => "File",
        Kind::Folder => "Directory",
        Kind::Data => "DirectoryOrCreate",
    };
    let host_path = Some(HostPathVolumeSource { path: mount.path.to_owned(), type_: Some(type_.to_owned()) });
    Volume { name: mount.name.to_owned(), host_path, ..Volume::default() }
}

fn mounted(mount: &Mount) -> VolumeMount {
    let read_only = (mount.kind != Kind::Data).then_some(true);
    VolumeMount { name: mount.name.to_owned(), mount_path: mount.path.to_owned(), read_only, ..VolumeMount::default() }
}

/// The startup threshold: half an hour with a cluster's preset `slow`, else ten minutes. An emulated machine needs minutes for
/// a real one's seconds, and a program that is killed while starting never starts.
fn startup(probe: Probe) -> Probe {
    Probe { initial_delay_seconds: Some(10), period_seconds: Some(10), timeout_seconds: Some(15), failure_threshold: Some(60), ..probe }
}

fn liveness(probe: Probe) -> Probe {
    Probe { initial_delay_seconds: Some(10), period_seconds: Some(10), timeout_seconds: Some(15), failure_threshold: Some(8), ..probe }
}

fn readiness(probe: Probe) -> Probe {
    Probe { period_seconds: Some(1), timeout_seconds: Some(15), failure_threshold: Some(3), ..probe }
}
