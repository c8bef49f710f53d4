# SPDX-License-Identifier: Apache-2.0
"""libvirt: volumes of its storage driver, snapshots of its domains, and guests that run on the images.

A libvirtd of its own, in session mode, whose PATH begins with the side's qemu-img. The guests have no operating system: they
are started in emulation, and what matters is that QEMU has their disks open.
"""
import contextlib
import os
import pathlib
import signal
import subprocess
import time

from packages import BACKPORTS, QEMU_SYSTEM
from tool import Tool

# Bookworm's own libvirt, 9.0, can neither delete nor go back to external snapshots.
_PACKAGES = [name + BACKPORTS for name in ("libvirt-daemon", "libvirt-daemon-driver-qemu", "libvirt-daemon-driver-storage",
                                           "libvirt-clients", "libvirt0", "libvirt-common", "libvirt-daemon-common",
                                           "libvirt-daemon-log")]

_DOMAIN = """<domain type='qemu'>
  <name>{name}</name><memory unit='MiB'>64</memory><os><type arch='x86_64' machine='pc'>hvm</type></os><features><acpi/></features>
  <devices><emulator>/usr/bin/qemu-system-x86_64</emulator>{disks}</devices>
</domain>
"""
_DISK = """<disk type='file' device='disk'><driver name='qemu' type='{kind}'/><source file='{path}'/>
  <target dev='{device}' bus='virtio'/></disk>"""
_VOLUME = """<volume><name>{name}</name><capacity unit='M'>64</capacity><target><format type='qcow2'/>{target}</target></volume>
"""
_DOMAINS = {"guest": [("pool/guest.qcow2", "qcow2", "vda")],
            "live": [("pool/live.qcow2", "qcow2", "vda")],
            "pair": [("pool/pair-a.qcow2", "qcow2", "vda"), ("pool/pair-b.qcow2", "qcow2", "vdb")],
            "mixed": [("pool/mixed-a.qcow2", "qcow2", "vda"), ("pool/mixed-b.raw", "raw", "vdb")]}
_VOLUMES = {"features.qcow2": "<compat>1.1</compat><features><lazy_refcounts/></features>",
            "extended.qcow2": "<compat>1.1</compat><clusterSize unit='KiB'>128</clusterSize><features><extended_l2/></features>",
            "cluster.qcow2": "<compat>1.1</compat><clusterSize unit='KiB'>4</clusterSize>"}

_LINES = [
    "virsh pool-define-as pool dir --target $PWD/pool", "virsh pool-start pool", "virsh pool-list",
    # Volumes.
    "virsh vol-create-as pool a.qcow2 64M --format qcow2", "virsh vol-info a.qcow2 --pool pool --bytes",
    "virsh vol-dumpxml a.qcow2 --pool pool", "virsh vol-create-as pool b.raw 64M --format raw --allocation 0",
    "virsh vol-create-as pool c.raw 8M --format raw", "virsh vol-create-as pool d.qcow2 64M --format qcow2 --prealloc-metadata",
    "virsh vol-create-as pool e.qcow2 8M --format qcow2 --allocation 8M", "virsh vol-create pool features.qcow2.xml",
    "virsh vol-create pool extended.qcow2.xml", "virsh vol-create pool cluster.qcow2.xml",
    "virsh vol-create-as pool odd.qcow2 1000001 --format qcow2", "virsh vol-create-as pool a.qcow2 64M --format qcow2",
    "qemu-io -c 'write -q -P 1 1M 3M' -c 'write -q -P 2 60M 70k' pool/a.qcow2", "qemu-io -f raw -c 'write -q -P 3 2M 5M' pool/b.raw",
    "virsh vol-create-as pool over.qcow2 64M --format qcow2 --backing-vol a.qcow2 --backing-vol-format qcow2",
    "virsh vol-create-as pool over-raw.qcow2 64M --format qcow2 --backing-vol b.raw --backing-vol-format raw",
    "virsh vol-create-as pool over-long.qcow2 90M --format qcow2 --backing-vol a.qcow2 --backing-vol-format qcow2",
    "qemu-io -c 'write -q -P 4 2M 100k' pool/over.qcow2", "virsh vol-dumpxml over.qcow2 --pool pool",
    "virsh vol-resize a.qcow2 80M --pool pool", "virsh vol-resize d.qcow2 +20M --pool pool",
    "virsh vol-resize d.qcow2 10M --delta --pool pool", "virsh vol-resize b.raw 70M --pool pool",
    "virsh vol-resize a.qcow2 70M --shrink --pool pool", "virsh vol-resize a.qcow2 60M --pool pool",
    "virsh vol-resize e.qcow2 16M --allocate --pool pool", "virsh vol-resize odd.qcow2 2000003 --pool pool",
    "virsh vol-info a.qcow2 --pool pool --bytes", "virsh vol-clone a.qcow2 a-clone.qcow2 --pool pool",
    "virsh vol-clone over.qcow2 over-clone.qcow2 --pool pool", "virsh vol-clone b.raw b-clone.raw --pool pool",
    "virsh vol-clone a.qcow2 a-metadata.qcow2 --pool pool --prealloc-metadata",
    "virsh vol-clone features.qcow2 features-clone.qcow2 --pool pool",
    "sed 's/features/from/' features.qcow2.xml > from.qcow2.xml && virsh vol-create-from pool from.qcow2.xml b.raw --inputpool pool",
    "virsh vol-download a-clone.qcow2 downloaded.qcow2 --pool pool && cmp downloaded.qcow2 pool/a-clone.qcow2",
    "virsh vol-upload a-clone.qcow2 downloaded.qcow2 --pool pool", "virsh vol-delete d.qcow2 --pool pool",
    "virsh vol-create-as pool big.qcow2 3T --format qcow2", "virsh vol-create-as pool huge.qcow2 64E --format qcow2",
    "virsh vol-list pool",
    # Internal snapshots of a domain that is shut off.
    "virsh vol-create-as pool guest.qcow2 64M --format qcow2", "qemu-io -c 'write -q -P 10 0 2M' pool/guest.qcow2",
    "virsh define guest.xml", "virsh snapshot-create-as guest s1 first", "qemu-io -c 'write -q -P 11 1M 2M' pool/guest.qcow2",
    "virsh snapshot-create-as guest s2", "qemu-io -c 'write -q -P 12 2M 2M' pool/guest.qcow2", "virsh snapshot-list guest --tree",
    "virsh snapshot-revert guest s1", "qemu-io -c 'write -q -P 13 3M 2M' pool/guest.qcow2", "virsh snapshot-create-as guest s3",
    "virsh snapshot-list guest --tree", "virsh snapshot-revert guest s2", "virsh snapshot-delete guest s2",
    "virsh snapshot-create-as guest s1", "virsh snapshot-revert guest nosuch", "virsh snapshot-delete guest s1 --children",
    "virsh snapshot-list guest",
    # Two disks, one of which cannot get a snapshot: what was done to the other is undone.
    "virsh vol-create-as pool pair-a.qcow2 8M --format qcow2 && virsh vol-create-as pool pair-b.qcow2 8M --format qcow2",
    "virsh define pair.xml", "virsh snapshot-create-as pair both", "mv pool/pair-b.qcow2 pool/away",
    "virsh snapshot-create-as pair one", "mv pool/away pool/pair-b.qcow2", "virsh snapshot-revert pair both",
    "qemu-img snapshot -d both pool/pair-b.qcow2", "virsh snapshot-revert pair both", "virsh snapshot-delete pair both",
    "virsh snapshot-delete pair both --metadata", "virsh vol-create-as pool mixed-a.qcow2 8M --format qcow2",
    "virsh vol-create-as pool mixed-b.raw 8M --format raw && virsh define mixed.xml", "virsh snapshot-create-as mixed no",
    # External snapshots of a domain that is shut off.
    "virsh snapshot-create-as guest ext1 --disk-only", "virsh domblklist guest",
    "qemu-io -c 'write -q -P 14 5M 1M' pool/guest.ext1",
    "virsh snapshot-create-as guest ext2 --disk-only --diskspec vda,file=$PWD/pool/ext2.qcow2",
    "qemu-io -c 'write -q -P 15 6M 1M' pool/ext2.qcow2",
    "qemu-img create -q -f qcow2 -b $PWD/pool/ext2.qcow2 -F qcow2 pool/ext3.qcow2 && virsh snapshot-create-as guest ext3"
    " --disk-only --reuse-external --diskspec vda,file=$PWD/pool/ext3.qcow2", "virsh domblklist guest",
    "virsh snapshot-create-as mixed ext --disk-only", "qemu-img info --backing-chain pool/ext3.qcow2 | grep -vE 'disk size|file length'",
    "virsh snapshot-revert guest ext1", "virsh domblklist guest", "virsh snapshot-revert guest ext3", "virsh domblklist guest",
    "virsh snapshot-delete guest ext2", "virsh snapshot-list guest --tree", "virsh domblklist guest",
    "virsh snapshot-delete mixed ext", "virsh domblklist mixed",
    # A guest that runs, and qemu-img beside it.
    "virsh vol-create-as pool live.qcow2 64M --format qcow2 && qemu-io -c 'write -q -P 20 0 9M' pool/live.qcow2",
    "virsh define live.xml && virsh start live --paused", "virsh pool-refresh pool && virsh vol-resize live.qcow2 90M --pool pool",
    "qemu-img check pool/live.qcow2", "qemu-img resize pool/live.qcow2 90M", "qemu-img snapshot -c x pool/live.qcow2",
    "qemu-img info -U pool/live.qcow2 | grep virtual", "virsh snapshot-create-as live l1 --disk-only",
    "qemu-img create -q -f qcow2 -b $PWD/pool/live.l1 -F qcow2 pool/live.l2 && virsh snapshot-create-as live l2 --disk-only"
    " --reuse-external --diskspec vda,file=$PWD/pool/live.l2", "virsh domblklist live",
    "virsh blockcommit live vda --base $PWD/pool/live.qcow2 --top $PWD/pool/live.l1 --wait", "virsh blockresize live vda 96M",
    "virsh blockpull live vda --wait", "virsh domblklist live", "virsh snapshot-delete live l2 --metadata",
    "virsh snapshot-delete live l1 --metadata", "virsh snapshot-create-as live state", "virsh destroy live",
    "qemu-img snapshot -l pool/live.l2 | awk '{print $1, $2}'", "qemu-img info pool/live.l2 | grep -vE 'disk size|file length'",
    "virsh start live --paused", "virsh managedsave live", "virsh managedsave-remove live",
    "virsh snapshot-revert live state --paused", "virsh destroy live", "qemu-io -c 'write -q -P 21 0 9M' pool/live.l2",
    "qemu-img convert -l state -O qcow2 pool/live.l2 pool/live.state", "virsh snapshot-delete live state",
    "virsh snapshot-list live", "virsh undefine live --snapshots-metadata", "virsh pool-refresh pool && virsh vol-delete $PWD/pool/live.l2", "virsh vol-list pool",
]


def _line(line):
    """virsh talks to the daemon of the session; data is always written by QEMU's qemu-io."""
    return line.replace("virsh ", "virsh -c qemu:///session ").replace("qemu-io ", "/usr/bin/qemu-io ")


@contextlib.contextmanager
def _daemon(side):
    (side.folder / "pool").mkdir()
    for name, disks in _DOMAINS.items():
        described = "".join(_DISK.format(path=side.folder / path, kind=kind, device=device) for path, kind, device in disks)
        (side.folder / f"{name}.xml").write_text(_DOMAIN.format(name=name, disks=described))
    for name, target in _VOLUMES.items():
        (side.folder / f"{name}.xml").write_text(_VOLUME.format(name=name, target=target))
    runtime = side.folder / "run"
    runtime.mkdir(mode=0o700)
    side.environment["XDG_RUNTIME_DIR"] = str(runtime)
    side.give_away()
    with open(side.folder / "libvirtd.log", "wb") as log:
        daemon = subprocess.Popen(side.argv(["libvirtd"]), cwd=side.folder, env=side.environment, stdin=subprocess.DEVNULL,
                                  stdout=log, stderr=log, start_new_session=True)
    try:
        _wait_for(runtime / "libvirt/libvirt-sock", daemon)
        yield
    finally:
        _end_guests(runtime)
        daemon.terminate()
        daemon.wait()


def _wait_for(socket, daemon):
    end = time.monotonic() + 60
    while not socket.exists():
        if daemon.poll() is not None or time.monotonic() > end:
            raise RuntimeError("libvirtd does not start; see libvirtd.log")
        time.sleep(0.2)


def _end_guests(runtime):
    """Those that a step has left running: libvirt keeps the process number of each."""
    for path in (runtime / "libvirt/qemu/run").glob("*.pid"):
        number = int(path.read_text() or 0)
        if number and "qemu-system" in pathlib.Path(f"/proc/{number}/cmdline").read_text():
            os.kill(number, signal.SIGKILL)


TOOL = Tool(name="libvirt", packages=[*_PACKAGES, *QEMU_SYSTEM], lines=[_line(line) for line in _LINES],
            images=["pool/*"], start=_daemon, as_nobody=True)
