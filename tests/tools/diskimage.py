# SPDX-License-Identifier: Apache-2.0
"""diskimage-builder: disk-image-create makes a file system on a loop device and converts it.

The element is a small one of our own, so that nothing is downloaded: a few folders of the machine.
"""
import contextlib

from tool import Tool

_ROOT = """#!/bin/bash
set -eu
mkdir -p $TARGET_ROOT/{bin,boot,dev,etc,home,lib,mnt,opt,proc,root,run,sbin,srv,sys,tmp,usr/bin,usr/lib,var/log}
cp -a /usr/share/common-licenses /usr/share/doc/bash $TARGET_ROOT/usr
cp /bin/bash $TARGET_ROOT/bin/
touch $TARGET_ROOT/etc/resolv.conf
"""
# diskimage-builder calls sudo, which root does not need.
_SUDO = """#!/bin/sh
while :; do
  case "$1" in
    -*) shift ;;
    *=*) export "$1"; shift ;;
    *) exec "$@" ;;
  esac
done
"""


@contextlib.contextmanager
def _element(side):
    element = side.folder / "elements/tiny"
    (element / "root.d").mkdir(parents=True)
    (element / "element-provides").write_text("operating-system\n")
    for path, text in ((element / "root.d/50-tiny", _ROOT), (side.folder / "bin/sudo", _SUDO)):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    side.environment.update({"ELEMENTS_PATH": str(element.parent), "TMPDIR": str(side.folder), "DIB_NO_TIMESTAMP": "1",
                             "PATH": side.environment["PATH"] + f":{side.folder}/bin"})
    yield


def _line(options):
    return f"disk-image-create -n --no-tmpfs --image-size 1 {options} tiny > log 2>&1"


TOOL = Tool("diskimage-builder", ["python3-diskimage-builder", "kpartx"],
            [_line("-t qcow2,raw -o compressed"), _line("-t qcow2 -u -o plain"),
             _line("-t qcow2 --qemu-img-options cluster_size=4k,compression_type=zstd -o options")],
            ["*.qcow2", "*.raw"], start=_element, inside=True)
