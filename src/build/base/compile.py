"""Compiles the Python modules of all packages at once: what py3compile would have done package by package.

Which modules, and for which Python, py3compile itself says, from the arguments that the packages' scripts gave it.
The modules are dealt out to a fixed number of processes, in a fixed order: what Python writes into a compiled module
depends a little on what the same process has compiled before.
"""
import importlib.machinery
import importlib.util
import subprocess
import sys

PROCESSES = 2

loader = importlib.machinery.SourceFileLoader("py3compile", "/usr/bin/py3compile")
sys.dont_write_bytecode = True
py3compile = importlib.util.module_from_spec(importlib.util.spec_from_loader("py3compile", loader))
loader.exec_module(py3compile)

found = set()


def collect(files, versions, force, optimize, e_patterns=None):
    for name, wanted in py3compile.filter_files(files, e_patterns, versions):
        found.update((name, version) for version in wanted)


py3compile.compile = collect
with open("/.kbake/compile", encoding="utf-8") as calls:
    for call in dict.fromkeys(calls):
        sys.argv = ["py3compile"] + call.split()
        try:
            py3compile.main()
        except SystemExit as end:
            if end.code:
                sys.exit(f"py3compile {call.strip()}: exit status {end.code}")

running = []
for version in sorted({version for _, version in found}):
    names = sorted(name for name, wanted in found if wanted == version)
    for first in range(PROCESSES):
        python = "/usr/bin/python" + py3compile.vrepr(version)
        process = subprocess.Popen([python, "-m", "py_compile", "-"], stdin=subprocess.PIPE)
        process.stdin.write("".join(name + "\n" for name in names[first::PROCESSES]).encode())
        process.stdin.close()
        running.append(process)
sys.exit(max([process.wait() for process in running], default=0))
