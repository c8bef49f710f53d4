# SPDX-License-Identifier: Apache-2.0
"""Images of other formats: never treated as raw, but refused under QEMU's name of the format; if opened as raw they can
still be read."""
import json

from case import Case
from images import KIB

MADE = {
    "vmdk": ["vmdk"],
    "vmdk, flat": ["vmdk", "-o", "subformat=monolithicFlat"],
    "vmdk, in parts": ["vmdk", "-o", "subformat=twoGbMaxExtentSparse"],
    "vmdk, flat parts": ["vmdk", "-o", "subformat=twoGbMaxExtentFlat"],
    "vmdk, compressed": ["vmdk", "-o", "subformat=streamOptimized"],
    "vdi": ["vdi"],
    "vdi, static": ["vdi", "-o", "static=on"],
    "vhdx": ["vhdx"],
    "vpc": ["vpc"],
    "parallels": ["parallels"],
    "qed": ["qed"],
    "qcow": ["qcow"],
    "luks": ["luks", "--object", "secret,id=s,data=abc", "-o", "key-secret=s,iter-time=10"],
}

# Files that QEMU's probes recognise as another format, and then, for most, finds broken.
WRITTEN = {
    "vmdk": ["# Disk DescriptorFile\nversion=1\n", "#a\nversion=1\n", "version=1\n", "version=2\r\n", "version=3\n",
             "#\n#\n   \n \r\nversion=1\nCID=fffffffe\n", "KDMV", "COWD"],
    "cloop": ["#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0 && mount -r -t iso9660 /dev/cloop $1\n"],
}
RAW = ["#a\n", "#a\nversion=4\n", "version=1 \n", "\nversion=1\n", " version=1\n", "#!/bin/sh\n", "vhdxfil", "conecti",
       "QFI\xfb\0\0\0\0", "QFI\xfa\0\0\0\2", "LUKS"]


def refused(world, name, format):
    for arguments in (["info", name], ["convert", "-O", "raw", name, "x"], ["map", name], ["compare", name, name],
                      ["create", "-f", "qcow2", "-b", name, "-F", format, "over"], ["dd", f"if={name}", "of=x"]):
        result = world.run_subject(*arguments, code=2 if arguments[0] == "compare" else 1)
        world.expect(f"'{format}'".encode() in result.err, f"does not name {format}:\n{result.text()}")
    world.expect(not (world.folder / "x").exists(), "made a target")
    world.compare_on_same_files("info", "-f", "raw", name)
    world.compare_on_same_files("map", "-f", "raw", "--output=json", name)


def made(name, arguments):
    def run(world):
        world.make("create", "-q", "-f", *arguments, "disk", "1M")
        refused(world, "disk", json.loads(world.make("info", "--output=json", "disk").out)["format"])
    return Case(f"made: {name}", run, byre_only=True)


def write(world, name, text, size=64 * KIB):
    with open(world.folder / name, "wb") as file:
        file.write(text.encode("latin-1"))
        file.truncate(size)


def written(format, text):
    def run(world):
        write(world, "disk", text)
        shown = world.qemu.run(["info", "disk"], world.folder)
        world.expect(b"file format: raw" not in shown.out, f"QEMU takes it for raw:\n{shown.text()}")
        refused(world, "disk", format)
    return Case(f"written: {format} {text.encode('unicode_escape').decode()}", run, byre_only=True)


def raw(text):
    def run(world):
        write(world, "disk", text)
        world.compare_on_same_files("info", "disk")
        world.compare_on_same_files("convert", "-O", "qcow2", "disk", "x")
    return Case(f"raw: {text.encode('unicode_escape').decode()}", run)


def named_dmg(world):
    """QEMU recognises a macOS disk image by its name, and looks for its header afterwards."""
    for name, trailer in (("x.dmg", b""), ("y.dmg", b"koly\0\0\0\4\0\0\2\0".ljust(512, b"\0"))):
        write(world, name, "")
        with open(world.folder / name, "ab") as file:
            file.write(trailer)
        shown = world.qemu.run(["info", name], world.folder)
        world.expect(b"file format: raw" not in shown.out, f"QEMU takes it for raw:\n{shown.text()}")
        refused(world, name, "dmg")


def cases():
    for name, arguments in MADE.items():
        yield made(name, arguments)
    for format, texts in WRITTEN.items():
        for text in texts:
            yield written(format, text)
    for text in RAW:
        yield raw(text)
    yield Case("named .dmg", named_dmg, byre_only=True)
