//! The recipes, example clusters, lockfiles and expected digests of this version, inside the binary.

macro_rules! shipped {
    ($($name:literal),* $(,)?) => { [$(($name, include_bytes!(concat!("../../../", $name)))),*] };
}

/// Name and contents, sorted by name. A test compares the list with the folders.
pub(super) const FILES: &[(&str, &[u8])] = &shipped![
    ".taplo.toml",
    "images/expected.toml",
    "lockfiles/debian.lock",
    "lockfiles/upstream-1.35.lock",
    "lockfiles/upstream.lock",
    "recipes/advisories.toml",
    "recipes/base.toml",
    "recipes/clusters/cilium.toml",
    "recipes/clusters/etcd.toml",
    "recipes/clusters/external-etcd.toml",
    "recipes/clusters/from-scratch.toml",
    "recipes/clusters/hard-way.toml",
    "recipes/clusters/kubenet.toml",
    "recipes/clusters/lab.toml",
    "recipes/clusters/one-node.toml",
    "recipes/clusters/two-node.toml",
    "recipes/compatibility.toml",
    "recipes/keys/debian-12.asc",
    "recipes/parts/addons.toml",
    "recipes/parts/containerd.toml",
    "recipes/parts/control-plane.toml",
    "recipes/parts/crio.toml",
    "recipes/parts/etcd.toml",
    "recipes/parts/gateway.toml",
    "recipes/parts/kube-proxy.toml",
    "recipes/parts/kubeadm.toml",
    "recipes/parts/kubelet.toml",
    "recipes/parts/metallb.toml",
    "recipes/parts/nfs-provisioner.toml",
    "recipes/roles/control-plane.toml",
    "recipes/roles/etcd.toml",
    "recipes/roles/gateway.toml",
    "recipes/roles/kubeadm-control-plane.toml",
    "recipes/roles/kubeadm-worker.toml",
    "recipes/roles/worker-crio.toml",
    "recipes/roles/worker.toml",
    "recipes/schemas/advisories.json",
    "recipes/schemas/cluster.json",
    "recipes/schemas/compatibility.json",
    "recipes/schemas/recipe.json",
    "recipes/schemas/sources.json",
    "recipes/schemas/vex.json",
    "recipes/sources/debian.toml",
    "recipes/sources/upstream-1.35.toml",
    "recipes/sources/upstream.toml",
];

/// The contents of one file.
pub(super) fn get(name: &str) -> Option<&'static [u8]> {
    FILES.iter().find(|(known, _)| *known == name).map(|(_, bytes)| *bytes)
}

/// The names of the files directly below `folder` (with its final slash), without it.
pub(super) fn in_folder(folder: &str) -> Vec<String> {
    FILES.iter().filter_map(|(name, _)| name.strip_prefix(folder)).filter(|name| !name.contains('/')).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::common::fsx;
    use crate::spec::lock::Request;
    use crate::spec::project::{Project, lock_name};

    fn files_below(folder: &str, names: &mut Vec<String>) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        for name in fsx::list(&root.join(folder)).unwrap() {
            let name = format!("{folder}/{}", name.to_str().unwrap());
            if root.join(&name).is_dir() { files_below(&name, names) } else { names.push(name) }
        }
    }

    #[test]
    fn everything_in_the_folders_is_shipped() {
        let mut names = vec![".taplo.toml".to_owned(), "images/expected.toml".to_owned()];
        files_below("lockfiles", &mut names);
        // Publishers replace the pinned bytes daily: pins are of use only beside a store that has them.
        names.retain(|name| name != crate::spec::project::ADVISORIES_LOCK);
        files_below("recipes", &mut names);
        names.sort();
        assert_eq!(FILES.iter().map(|(name, _)| *name).collect::<Vec<_>>(), names);
    }

    #[test]
    fn every_shipped_channel_is_locked_for_what_its_sources_say() {
        for name in ["debian", "upstream", "upstream-1.35"] {
            let channel = Project::Shipped.channel(name).unwrap();
            let (lock, request) = (channel.locked().unwrap(), Request::of(&channel.sources, &channel.recipes).unwrap());
            lock.check(name, &request).unwrap();
            let file = lock_name(name);
            assert_eq!(Some(lock.to_text()), Project::Shipped.text(&file).unwrap(), "kbake writes it so");
            for (key, want) in request.artifacts.iter().chain(&request.spare_artifacts) {
                assert!(lock.artifacts.get(key).is_some_and(|entry| want.is_met_by(entry)), "{name}: {key:?}");
            }
            for image in request.images.keys().chain(request.spare_images.keys()) {
                assert!(lock.images.contains_key(image), "{name}: {image}");
            }
        }
    }
}
