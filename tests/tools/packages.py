# SPDX-License-Identifier: Apache-2.0
"""Installs packages of Debian."""
import os
import pathlib
import re
import subprocess

# QEMU's emulator comes from the same suite as its programs that byre is compared with, which scripts/setup has added.
BACKPORTS = "/bookworm-backports"
QEMU_SYSTEM = [name + BACKPORTS for name in ("qemu-system-x86", "qemu-system-common", "qemu-system-data", "seabios")]


def is_installed(package):
    told = subprocess.run(["dpkg-query", "-W", "-f=${db:Status-Status}", package.partition("/")[0]], capture_output=True, text=True,
                          check=False)
    return told.stdout == "installed"


def provide(packages, install):
    """Installs what is missing; the reason if that is not possible."""
    missing = [package for package in packages if not is_installed(package)]
    if not missing:
        return None
    names = " ".join(package.partition("/")[0] for package in missing)
    if not install or os.geteuid() != 0:
        return f"{names} not installed"
    print(f"installing {names}", flush=True)
    command = ["apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=300", "install", "--no-install-recommends", *missing]
    return None if _runs(command) or _runs(["apt-get", "-q", "update"]) and _runs(command) else f"{names} cannot be installed"


def download(package, folder):
    """The file of what a package of kernels depends on, without installing it."""
    told = subprocess.run(["apt-cache", "depends", package], capture_output=True, text=True, check=True).stdout
    name = re.search(r"Depends: (linux-image-[\w.-]+)", told).group(1)
    subprocess.run(["apt-get", "-q", "download", name], cwd=folder, check=True, capture_output=True)
    return next(pathlib.Path(folder).glob("*.deb"))


def _runs(command):
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    return subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False).returncode == 0
