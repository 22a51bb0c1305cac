"""What Debian's cloud-init makes of seeds, without being installed or run as a service.

    judge.py PACKAGES ROOT <seeds.json >found.json

PACKAGES is the folder with cloud-init's Python packages, ROOT an empty folder for the files that it writes. The input
is a list of objects with the documents `user-data` and `network-config`, and `interfaces`: names by MAC address. The
output says for each: `schema`, cloud-init's complaint about user-data or null; `files`, what its write_files module has
written; `names`, what the interfaces are called after it has renamed them; `units`, what its networkd renderer would
then write. Release 22.4.2 has no schema for network-config: the renderer is
the judge there, and a stricter one.
"""

import json
import os
import stat
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])

import yaml  # noqa: E402
from cloudinit import net, util  # noqa: E402
from cloudinit.config import cc_write_files, schema  # noqa: E402
from cloudinit.net import network_state, networkd  # noqa: E402


def complaint(config):
    try:
        schema.validate_cloudconfig_schema(config, schema.get_schema(), strict=True)
    except schema.SchemaValidationError as error:
        return str(error)
    return None


def written(config, root):
    """Writes the files below root; who would own them is only noted."""
    owners = {}
    util.chownbyname = lambda path, user=None, group=None: owners.update({path: f"{user}:{group}"})
    files = [dict(item, path=root + item["path"]) for item in config.get("write_files", [])]
    cc_write_files.write_files("write-files", files, "root:root")
    found = []
    for item in files:
        path = item["path"]
        with open(path, encoding="utf-8", newline="") as file:
            content = file.read()
        mode = stat.S_IMODE(os.stat(path).st_mode)
        found.append({"path": path[len(root):], "owner": owners[path], "mode": f"{mode:04o}", "content": content})
    return found


def renamed(network, interfaces):
    names = {mac: name for mac, name, *_ in net.extract_physdevs(network)}
    return {mac: names.get(mac, name) for mac, name in interfaces.items()}


def units(network, interfaces):
    network_state.get_interfaces_by_mac = lambda *_, **__: interfaces
    network_state.find_interface_name_from_mac = interfaces.get
    state = network_state.parse_net_config_data(network, skip_broken=False)
    return networkd.Renderer({})._render_content(state)


def judge(seed, root):
    config = yaml.safe_load(seed["user-data"])
    network = yaml.safe_load(seed["network-config"])
    names = renamed(network, seed["interfaces"])
    return {
        "schema": complaint(config),
        "files": written(config, root),
        "names": names,
        "units": units(network, names),
    }


seeds = json.load(sys.stdin)
json.dump([judge(seed, f"{sys.argv[2]}/{number}") for number, seed in enumerate(seeds)], sys.stdout)
