"""Applies seeds with Debian's cloud-init, without installing it or running it as a service.

    judge.py PACKAGES ROOT <seeds.json >found.json

PACKAGES is the folder with cloud-init's Python packages, ROOT an empty folder for the files that it writes. The input
is a list of objects with the documents `user-data` and `network-config`, and `interfaces`: names by MAC address. The
output says for each: `config`, what its handlers merge out of user-data's parts; `scripts`, the programs among these;
`schema`, cloud-init's complaint about the former or null; `files`, what its write_files module has written; `names`, what the interfaces are called after it has renamed them; `units`, what its networkd renderer would
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
from cloudinit import handlers, helpers, net, user_data, util  # noqa: E402
from cloudinit.config import cc_write_files, schema  # noqa: E402
from cloudinit.handlers.cloud_config import CloudConfigPartHandler  # noqa: E402
from cloudinit.net import network_state, networkd  # noqa: E402
from cloudinit.settings import PER_ALWAYS  # noqa: E402


def taken_apart(text, root):
    """The configuration and the scripts of a document, which may have several parts."""
    paths = helpers.Paths({"cloud_dir": root + "/cloud", "run_dir": root + "/run"})
    handler, scripts = CloudConfigPartHandler(paths, cloud_config_path="cloud_config"), []
    handler.handle_part(None, handlers.CONTENT_START, None, None, None, None)
    for part in user_data.UserDataProcessor(paths).process(text).walk():
        kind, payload = part.get_content_type(), util.fully_decoded_payload(part)
        if kind == "text/cloud-config":
            handler.handle_part(None, kind, "part", util.decode_binary(payload), PER_ALWAYS, dict(part))
        elif kind == "text/x-shellscript":
            scripts.append(util.decode_binary(payload))
        elif part.get_content_maintype() != "multipart":
            raise ValueError(f"a part of type {kind}")
    return handler.cloud_buf, scripts


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
    config, scripts = taken_apart(seed["user-data"], root)
    network = yaml.safe_load(seed["network-config"])
    names = renamed(network, seed["interfaces"])
    return {
        "config": config,
        "scripts": scripts,
        "schema": complaint(config),
        "files": written(config, root),
        "names": names,
        "units": units(network, names),
    }


seeds = json.load(sys.stdin)
json.dump([judge(seed, f"{sys.argv[2]}/{number}") for number, seed in enumerate(seeds)], sys.stdout)
