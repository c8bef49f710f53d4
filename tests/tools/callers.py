# SPDX-License-Identifier: Apache-2.0
"""Callers that are not run here: the command lines that they run, with the ways in which they read the answers.

The lines are those of the callers' sources in 2025. ovirt: lib/vdsm/storage/qemuimg.py of vdsm. proxmox: Plugin.pm and
Common.pm of pve-storage, QemuServer.pm. cloudstack: QemuImg.java. lima: qemuimgutil.go. openstack: nova's images.py,
privsep/qemu.py and imagebackend.py, cinder's image_utils.py and remotefs.py. packer-plugin: step_*.go of its newer QEMU builder.
"""
import contextlib
import subprocess

from tool import Tool

_JSON = "python3 -c 'import json, sys; print(sorted(json.load(sys.stdin)))'"
# As oslo.concurrency runs it, and the class with which OpenStack reads the answer.
_LIMITS = "prlimit --as=1073741824 --cpu=30 --"
_OSLO = ("/usr/bin/python3 -W ignore -c 'import sys; from oslo_utils import imageutils;"
         " info = imageutils.QemuImgInfo(sys.stdin.read(), format=sys.argv[1]);"
         " print([getattr(info, name) for name in (\"image\", \"file_format\", \"virtual_size\", \"cluster_size\", \"backing_file\","
         " \"encrypted\", \"snapshots\")])'")

_OVIRT = [
    "qemu-img create -f raw -o preallocation=off a.raw 67108864", "qemu-img create -f raw -o preallocation=falloc b.raw 16777216",
    "qemu-img create -f qcow2 -o compat=1.1 a.qcow2 67108864", "qemu-img create -f qcow2 -o compat=0.10 old.qcow2 67108864",
    "qemu-img create -f qcow2 -o compat=1.1 -b base.qcow2 -F qcow2 top.qcow2", "qemu-io -f qcow2 -c 'write -q -P 7 3M 2M' top.qcow2",
    "qemu-img create -f qcow2 -o compat=1.1 -b absent.qcow2 -F qcow2 -u unsafe.qcow2 67108864",
    "qemu-img create -f qcow2 -o compat=1.1 -b base.qcow2 -F qcow2 -o preallocation=metadata prepared.qcow2",
    "qemu-img info --output json -f qcow2 -U top.qcow2 | " + _JSON,
    "prlimit --cpu=30 --as=1073741824 qemu-img info --output json -f qcow2 top.qcow2 | " + _JSON,
    "qemu-img measure --output json -O qcow2 'json:{\"file\": {\"driver\": \"file\", \"filename\": \"top.qcow2\"}, \"driver\": \"qcow2\"}'",
    "qemu-img measure --output json -O qcow2 'json:{\"file\": {\"driver\": \"file\", \"filename\": \"top.qcow2\"}, \"driver\": \"qcow2\","
    " \"backing\": null}'", "qemu-img measure --output json -O raw 'json:{\"file\": {\"driver\": \"file\", \"filename\": \"base.qcow2\"}}'",
    "qemu-img check --output json -f qcow2 top.qcow2", "qemu-img convert -p -t none -T none -f qcow2 -O raw top.qcow2 flat.raw",
    "qemu-img convert -p -t none -T none -f raw -O qcow2 -o compat=1.1 flat.raw flat.qcow2",
    "qemu-img convert -p -t none -T none -f qcow2 -O qcow2 -o compat=1.1,backing_file=base.qcow2,backing_fmt=qcow2 top.qcow2 copy.qcow2",
    "qemu-img convert -p -t none -T none -f qcow2 -O raw -n -W top.qcow2 a.raw",
    "qemu-img convert -p -t none -T none -f qcow2 -O qcow2 -o compat=1.1 -c top.qcow2 small.qcow2",
    "qemu-img convert -p -t none -T none -f qcow2 -O qcow2 -o compat=1.1 --bitmaps base.qcow2 bitmaps.qcow2",
    "qemu-img map --output json top.qcow2", "qemu-img amend -o compat=1.1 old.qcow2", "qemu-img resize -f qcow2 a.qcow2 134217728",
    "qemu-img rebase -t none -T none -f qcow2 -F qcow2 -b other.qcow2 copy.qcow2",
    "qemu-img rebase -t none -T none -u -f qcow2 -F qcow2 -b base.qcow2 unsafe.qcow2",
    "qemu-img compare -p -f qcow2 -F raw -s top.qcow2 flat.raw", "qemu-img compare -p -f qcow2 -F qcow2 top.qcow2 copy.qcow2",
    "qemu-img compare -p -f qcow2 -F qcow2 top.qcow2 base.qcow2", "qemu-img commit -p -t none -b base.qcow2 -f qcow2 top.qcow2",
    "qemu-img commit -p -t none -d -f qcow2 top.qcow2", "qemu-img bitmap --add --enable base.qcow2 dirty",
    "qemu-img --help | grep -E '^ +bitmap (.+) filename bitmap'",
]
_PROXMOX = [
    "qemu-img create -o preallocation=metadata -f qcow2 vm-100-disk-0.qcow2 65536K",
    "qemu-img create -o preallocation=off -f raw vm-100-disk-1.raw 65536K",
    "qemu-img create -o preallocation=full -f qcow2 vm-100-disk-2.qcow2 8192K",
    "qemu-img info --output=json vm-100-disk-0.qcow2 -f qcow2 | " + _JSON,
    "qemu-img info --output=json vm-100-disk-1.raw -f qcow2", "qemu-img info --output=json top-150.qcow2 -f qcow2 --backing-chain",
    "mkdir -p 100 101 && cp base.qcow2 100/base-100-disk-0.qcow2 && chmod 444 100/base-100-disk-0.qcow2",
    "cd 101 && qemu-img create -b ../100/base-100-disk-0.qcow2 -F qcow2 -f qcow2 $PWD/vm-101-disk-0.qcow2",
    "qemu-img resize -f qcow2 101/vm-101-disk-0.qcow2 100663296", "qemu-img resize --preallocation=metadata -f qcow2 vm-100-disk-0.qcow2 96M",
    "qemu-io -f qcow2 -c 'write -q -P 9 1M 4M' 101/vm-101-disk-0.qcow2", "qemu-img snapshot -c before 101/vm-101-disk-0.qcow2",
    "qemu-io -f qcow2 -c 'write -q -P 8 2M 4M' 101/vm-101-disk-0.qcow2",
    "qemu-img convert -p -f qcow2 -O raw -l snapshot.name=before 101/vm-101-disk-0.qcow2 before.raw",
    "qemu-img snapshot -a before 101/vm-101-disk-0.qcow2", "qemu-img snapshot -d before 101/vm-101-disk-0.qcow2",
    "qemu-img snapshot -d before 101/vm-101-disk-0.qcow2",
    "qemu-img create -F qcow2 -b base.qcow2 -f qcow2 snap.qcow2 -o extended_l2=on,cluster_size=128k,preallocation=metadata",
    "qemu-img measure --output=json --size 65536K -O qcow2", "qemu-img measure --output=json --size 65536K -O qcow2 -o extended_l2=on,"
    "cluster_size=128k", "qemu-img convert -p -n -t none -T none -f qcow2 -O raw base.qcow2 vm-100-disk-1.raw",
    "qemu-img convert -p -n -S 0 -f raw -O qcow2 vm-100-disk-1.raw vm-100-disk-0.qcow2", "qemu-img commit snap.qcow2",
    "qemu-img rebase -b other.qcow2 -F qcow2 -f qcow2 snap.qcow2",
]
_CLOUDSTACK = [
    "qemu-img --help | grep -c target-is-zero", "qemu-img create -o preallocation=metadata -f qcow2 a.qcow2 67108864",
    "qemu-img create -f qcow2 -F qcow2 -b $PWD/base.qcow2 top.qcow2", "qemu-img info -U top.qcow2 | grep -v -e 'disk size' -e 'file length'",
    "qemu-io -c 'write -q -P 5 5M 3M' top.qcow2", "qemu-img snapshot -c first --image-opts driver=qcow2,file.filename=$PWD/top.qcow2",
    "qemu-img convert -O qcow2 -l snapshot.name=first -U --image-opts driver=qcow2,file.filename=$PWD/top.qcow2 copy.qcow2",
    "qemu-img create -f raw a.raw 67108864 && qemu-img convert -n --target-is-zero -W -S 1M -O raw -t none -U --image-opts"
    " driver=qcow2,file.filename=$PWD/top.qcow2 a.raw",
    "qemu-img convert -O qcow2 -U --image-opts driver=qcow2,file.filename=$PWD/nosuch.qcow2 b.qcow2",
    "qemu-img snapshot -d first --image-opts driver=qcow2,file.filename=$PWD/top.qcow2",
    "qemu-img snapshot -d first --image-opts driver=qcow2,file.filename=$PWD/top.qcow2", "qemu-img resize copy.qcow2 100663296",
    "qemu-img resize --image-opts driver=qcow2,file.filename=$PWD/copy.qcow2 134217728",
    "qemu-img rebase -u -F qcow2 -b $PWD/other.qcow2 top.qcow2", "qemu-img rebase -F qcow2 -b $PWD/base.qcow2 top.qcow2",
]
_LIMA = [
    "qemu-img create -f qcow2 disk 67108864", "qemu-img create -f qcow2 -F qcow2 -b base.qcow2 diffdisk 107374182",
    "qemu-img info --output=json --force-share diffdisk | " + _JSON, "qemu-img resize -f qcow2 diffdisk 134217728",
    "qemu-img convert -O raw base.qcow2 basedisk", "qemu-img info --output=json --force-share basedisk | " + _JSON,
    "qemu-img resize -f raw basedisk 134217728", "qemu-img snapshot -c one diffdisk", "qemu-img snapshot -l diffdisk | awk '{print $1, $2}'",
    "qemu-img snapshot -a one diffdisk", "qemu-img snapshot -d one diffdisk",
]
_OPENSTACK = [
    f"{_LIMITS} env LC_ALL=C LANG=C qemu-img info base.qcow2 --force-share --output=json | {_OSLO} json",
    f"{_LIMITS} env LC_ALL=C LANG=C qemu-img info base.qcow2 --force-share | {_OSLO} human",
    f"{_LIMITS} env LC_ALL=C LANG=C qemu-img info $PWD/nosuch --force-share --output=json",
    "qemu-img convert -t none -O raw -f qcow2 base.qcow2 base", "qemu-img create -f qcow2 -o backing_file=$PWD/base,backing_fmt=raw disk 67108864",
    "qemu-img create -f qcow2 -o backing_file=$PWD/base,backing_fmt=raw,cluster_size=65536,size=67108864 disk.local",
    "qemu-img resize -f qcow2 disk 100663296", "qemu-io -f qcow2 -c 'write -q -P 3 7M 4M' -c 'discard 1M 1M' disk",
    f"{_LIMITS} env LC_ALL=C LANG=C qemu-img info disk --force-share --output=json | {_OSLO} json",
    f"{_LIMITS} env LC_ALL=C LANG=C qemu-img info disk --force-share | {_OSLO} human",
    "qemu-img snapshot -c before disk", f"{_LIMITS} qemu-img info disk --force-share | {_OSLO} human | sed 's/ .date.: [^,]*,//'",
    "qemu-img convert -t none -O qcow2 -f qcow2 -c disk snapshot.qcow2", "qemu-img convert -t writeback -O qcow2 -f qcow2 disk disk_rbase",
    "qemu-img rebase -b '' disk", "qemu-img convert -O raw -t none -f qcow2 snapshot.qcow2 volume.raw",
    "truncate -s 100663296 target.raw && qemu-img convert -n -O raw -t none -f qcow2 snapshot.qcow2 target.raw",
    "qemu-img convert -O qcow2 -W -f raw volume.raw volume.qcow2", "qemu-img convert -O raw -t directsync -S 0 base.qcow2 full.raw",
    "qemu-img create -f qcow2 -o backing_file=$PWD/volume.qcow2,backing_fmt=qcow2 volume.snap",
    "qemu-img rebase -u -b volume.qcow2 volume.snap -F qcow2", "qemu-io -f qcow2 -c 'write -q -P 4 9M 2M' volume.snap",
    "qemu-img commit -f qcow2 volume.snap", "qemu-img resize -f raw volume.raw 2G",
    "qemu-img create -f luks --object secret,id=s,data=x -o key-secret=s volume.luks 8M",
]
_PACKER = [
    "qemu-img create -f qcow2 disk 64M", "qemu-img create -f qcow2 -b base.qcow2 -F qcow2 disk.backed 128M",
    "qemu-img convert -O qcow2 base.qcow2 disk.copied", "qemu-img convert -o cluster_size=2M -O qcow2 base.qcow2 disk.clusters",
    "qemu-img resize -f qcow2 disk.copied 128M", "qemu-img convert -c -O qcow2 disk.backed disk.convert && mv disk.convert disk.backed",
    "qemu-img convert -c -o compression_type=zstd -O qcow2 disk.copied disk.zstd", "qemu-img convert -O raw disk.copied disk.raw",
    "qemu-img resize -f raw disk.raw 200M", "qemu-img resize -f qcow2 --shrink disk.copied 32M",
]


@contextlib.contextmanager
def _images(side):
    """base.qcow2 of 64 MiB, other.qcow2, which is different in a part of it, and top-150.qcow2 on top of base.qcow2."""
    for line in ("qemu-img create -q -f qcow2 base.qcow2 64M", "qemu-io -c 'write -q -P 1 0 9M' -c 'write -q -P 2 40M 300k' base.qcow2",
                 "qemu-img convert -O qcow2 base.qcow2 other.qcow2", "qemu-io -c 'write -q -P 6 2M 1M' other.qcow2",
                 "qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 top-150.qcow2"):
        subprocess.run(["bash", "-c", line], cwd=side.folder, check=True, env={"PATH": "/usr/bin:/bin"})
    yield


def _tool(name, lines, packages=()):
    return Tool(name, list(packages), [line.replace("qemu-io ", "/usr/bin/qemu-io ") for line in lines],
                ["*.qcow2", "*.raw", "10*/*", "disk*", "basedisk", "volume*", "base", "diffdisk", "snap*"], start=_images)


TOOLS = [_tool("ovirt", _OVIRT), _tool("proxmox", _PROXMOX), _tool("cloudstack", _CLOUDSTACK), _tool("lima", _LIMA),
         _tool("openstack", _OPENSTACK, ["python3-oslo.utils"]), _tool("packer-plugin", _PACKER)]
