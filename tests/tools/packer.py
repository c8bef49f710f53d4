# SPDX-License-Identifier: Apache-2.0
"""packer: its QEMU builder makes a disk, runs a guest on it, and converts the result.

The guest is a boot sector that writes nothing and switches the machine off.
"""
import contextlib
import json

from packages import QEMU_SYSTEM
from tool import Tool

MIB = 1 << 20
# Waits 4 seconds (int 15h, ah=86h), since packer wants to see the guest run; then out 0x604, 0x2000 (ACPI: power off).
_BOOT = bytes.fromhex("b486 b93d00 31d2 cd15 ba0406 b80020 ef f4 ebfd").ljust(510, b"\0") + b"\x55\xaa"
_BUILDERS = {
    "copied": {},
    "copied-raw": {"format": "raw"},
    "backed": {"use_backing_file": True, "skip_compaction": True},
    "compressed": {"disk_compression": True},
    "kept": {"skip_compaction": True, "disk_additional_size": ["20M", "30M"], "skip_resize_disk": True},
}


@contextlib.contextmanager
def _templates(side):
    with open(side.folder / "base.img", "wb") as file:
        file.write(_BOOT)
        for place in range(MIB, 12 * MIB, 3 * MIB):
            file.seek(place)
            file.write(bytes(range(256)) * 4096)
        file.truncate(16 * MIB)
    for name, options in _BUILDERS.items():
        # With a backing file, packer assumes that the base is qcow2, which it was converted to.
        base = "base.qcow2" if name == "backed" else "base.img"
        builder = {"type": "qemu", "iso_url": base, "iso_checksum": "none", "disk_image": True, "format": "qcow2", "disk_size": "64M",
                   "accelerator": "tcg", "headless": True, "disable_vnc": True, "communicator": "none", "boot_wait": "1s", "shutdown_timeout": "2m",
                   "output_directory": f"out-{name}", "vm_name": "disk", "memory": 64, "machine_type": "pc", **options}
        (side.folder / f"{name}.json").write_text(json.dumps({"builders": [builder]}))
    side.environment.update({"CHECKPOINT_DISABLE": "1", "PACKER_CACHE_DIR": str(side.folder / "cache"), "PACKER_NO_COLOR": "1"})
    yield


TOOL = Tool("packer", ["packer", *QEMU_SYSTEM], ["qemu-img convert -O qcow2 base.img base.qcow2",
                                                 *[f"packer build -color=false {name}.json" for name in _BUILDERS]],
            ["*.qcow2", "out-*/*"], start=_templates)
