use std::collections::BTreeMap;

use super::super::testing::{systemd_accepts, texts};
use super::*;
use crate::build::role::Facts;
use crate::spec::recipe::Part;

/// The package's unit, as far as the drop-in builds on it.
const UNIT: &str = "[Unit]\nDescription=x\n[Service]\nType=notify\nExecStart=/usr/sbin/haproxy -Ws -f /etc/haproxy/haproxy.cfg\n[Install]\nWantedBy=multi-user.target\n";

#[test]
fn haproxy_waits_for_the_seeds_configuration() {
    let mut files: BTreeMap<String, String> = texts(Part::Gateway, &Facts::default());
    let drop_in = &files["/etc/systemd/system/haproxy.service.d/90-kbake.conf"];
    assert!(drop_in.contains("\nConditionPathExists=/etc/haproxy/haproxy.cfg\n"), "{drop_in}");
    assert!(entries().contains(&Entry::Absent { path: TreePath::fixed("etc/haproxy/haproxy.cfg") }));
    files.insert("/usr/lib/systemd/system/haproxy.service".to_owned(), UNIT.to_owned());
    systemd_accepts("haproxy.service", &files, &["usr/sbin/haproxy"]);
}
