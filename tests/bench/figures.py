"""Functions of report and plot: reading measurements and facts, medians, facts about this machine, and writing into documents."""

import os
import platform
import re
import statistics
import subprocess
from pathlib import Path

COLUMNS = ("cpu", "wall", "peak", "sum")
UNITS = {"cpu": "s", "wall": "s", "peak": "KiB", "sum": "KiB"}


def read_figures(paths):
    """Measurements by name and column, in the order of rounds. A line is `NAME CPU WALL [PEAK [SUM]]`, as
    tests/bench/measure writes it, or `PART NAME round N wall-s W cpu-s C`; others are a part's own. What stands in
    PART.figures has PART before its name. tests/bench/fetch writes medians, and memory in MiB."""
    found = {}
    for path in paths:
        part = f"{path.stem}-" if path.suffix == ".figures" and path.stem != "scaling" else ""
        for line in Path(path).read_text(encoding="utf-8").splitlines():
            words = line.split()
            if len(words) > 4 and words[2] == "round":
                name = f"{words[0]}-{words[1]}"
                pairs = dict(zip(words[4::2], words[5::2]))
                values = {key.removesuffix("-s"): pairs[key] for key in ("cpu-s", "wall-s") if key in pairs}
            elif 3 <= len(words) <= 5 and all(re.fullmatch(r"[0-9.]+", word) for word in words[1:]):
                name, values = words[0], dict(zip(COLUMNS, words[1:]))
            else:
                continue
            if not name.startswith(part):
                name = part + name
            for column, value in values.items():
                scale = 1024 if part == "fetch-" and column == "peak" else 1
                found.setdefault(name, {}).setdefault(column, []).append(float(value) * scale)
    return found


def read_facts(path):
    """Lines `KEY VALUE`; of one key, the last counts."""
    return dict(line.split(" ", 1) for line in Path(path).read_text(encoding="utf-8").splitlines())


def median(found, name, column):
    """None when it was not measured."""
    values = found.get(name, {}).get(column)
    return statistics.median(values) if values else None


def ratios(found, ours, peer, column):
    """Round by round; none when either was not measured."""
    pairs = zip(found.get(ours, {}).get(column, []), found.get(peer, {}).get(column, []))
    return [a / b for a, b in pairs if b > 0]


def summary(found):
    """All measurements, for results.json."""
    return {
        name: {
            column: {
                "unit": UNITS[column],
                "median": statistics.median(values),
                "min": min(values),
                "max": max(values),
                "rounds": values,
            }
            for column, values in columns.items()
        }
        for name, columns in found.items()
    }


def _said(*command):
    """The first line that a command says, of either kind."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.stdout.split("\n", 1)[0]


def _version(text):
    found = re.search(r"\d+\.\d[\w.+~:-]*", text)
    return found.group().rstrip(".") if found else text


def machine(folder, facts):
    """What the figures depend on. `folder` is on the filesystem that was written to."""
    cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    model = re.search(r"^model name\s*:\s*(.*)$", cpuinfo, re.M)
    flags = re.search(r"^flags\s*:\s*(.*)$", cpuinfo, re.M)
    memory = re.search(r"^MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text(encoding="utf-8"), re.M)
    release = platform.freedesktop_os_release()
    project = Path(__file__).parent
    changed = _said("git", "-C", str(project), "status", "--porcelain", "--untracked-files=no")
    return {
        "processors": len(os.sched_getaffinity(0)),
        "processor": model.group(1) if model else "unknown",
        "sha_ni": bool(flags and "sha_ni" in flags.group(1).split()),
        "memory-gib": round(int(memory.group(1)) / 2**20, 1) if memory else None,
        "kernel": platform.release(),
        "system": release.get("PRETTY_NAME", "unknown"),
        "filesystem": _said("findmnt", "-n", "-o", "FSTYPE", "-T", str(folder)),
        "kbake": _version(_said(os.environ["KBAKE"], "--version")),
        "revision": "a given binary"
        if os.environ.get("KBAKE_GIVEN")
        else _said("git", "-C", str(project), "rev-parse", "--short", "HEAD") + (", changed" if changed else ""),
        "qemu-img": _version(_said("qemu-img", "--version")),
        "debugfs": _version(_said("debugfs", "-V")),
        "mke2fs": _version(_said("mke2fs", "-V")),
        "cloud-localds": _version(_said("dpkg-query", "-W", "-f", "${Version}", "cloud-image-utils")),
        "load": f"{facts['load-before']} before, {facts['load-after']} after",
    }


def machine_text(described):
    """The same as sentences."""
    sha = "with" if described["sha_ni"] else "without"
    return (
        f"{described['processors']} processors ({described['processor']}, {sha} SHA instructions), "
        f"{described['memory-gib']} GiB of memory, {described['system']}, Linux {described['kernel']}, "
        f"{described['filesystem']}; qemu-img {described['qemu-img']}, debugfs {described['debugfs']}, "
        f"mke2fs {described['mke2fs']}, cloud-localds of cloud-image-utils {described['cloud-localds']}; "
        f"kbake {described['kbake']} ({described['revision']}). Load: {described['load']}."
    )


def put_into(document, name, text):
    """Replaces what stands in a document between `<!-- NAME -->` and `<!-- end of NAME -->`; the first time, before its
    heading "Reading"."""
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
    old = document.read_text(encoding="utf-8")
    if begin not in old:
        old = old.replace("## Reading\n", f"{begin}{end}\n## Reading\n", 1)
    before, rest = old.split(begin)
    _, after = rest.split(end)
    document.write_text(f"{before}{begin}{text}{end}{after}", encoding="utf-8")
