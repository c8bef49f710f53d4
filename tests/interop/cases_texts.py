# SPDX-License-Identifier: Apache-2.0
"""Texts that come from an image: zero bytes, control characters, invalid UTF-8."""
import json

from case import Case

PLACE = b"NAMENAME"
TEXTS = [b"A\0B\nC\x01\xff\"", b"A\nfile: ", b"\0AMENAME", b"A\xc3\xa9\x7f\x1b[2x", b"A\\B\xed\xa0\x80zz",
         b"A\r\t\x08\x0c\x0b\x00\x01",
         b"\xf4\x90\x80\x80\xc0\x80\xe2\x82", b"\xef\xbf\xbf\xf0\x9f\x92\x96\xf0", b"\xe2\x80\xae\xe2\x80\xa8\xc2\x85"]

KINDS = {
    "bitmap's name": [["create", "-q", "-f", "qcow2", "disk", "1M"], ["bitmap", "--add", "disk", "NAMENAME"]],
    "snapshot's name": [["create", "-q", "-f", "qcow2", "disk", "1M"], ["snapshot", "-c", "NAMENAME", "disk"]],
    "backing file": [["create", "-q", "-f", "qcow2", "-u", "-b", "NAMENAME", "-F", "raw", "disk", "1M"]],
    "backing format": [["create", "-q", "-f", "qcow2", "disk", "1M"],
                       ["rebase", "-u", "-b", "base", "-F", "parallels", "disk"]],
    "data file": [["create", "-q", "-f", "qcow2", "-o", "data_file=NAMENAME", "disk", "1M"]],
    "feature's name": [["create", "-q", "-f", "qcow2", "disk", "1M"]],
}


def replace(world, kind, text):
    path = world.folder / "disk"
    image = path.read_bytes()
    place = PLACE
    if kind == "backing format":
        place, text = b"parallels", text + b"s"
    elif kind == "feature's name":  # of an unknown feature, which is set
        place, text = b"\0\0dirty bit", b"\0\x09" + text + b"t"
        image = image[:78] + b"\x02" + image[79:]
    world.expect(place in image, "the place of the text is not found")
    path.write_bytes(image.replace(place, text))


def text_case(kind, text):
    def run(world):
        for arguments in KINDS[kind]:
            world.make(*arguments)
        replace(world, kind, text)
        for arguments in (["info", "-U"], ["check", "-U"], ["map", "-U"], ["info", "-U", "--backing-chain"]):
            world.compare_on_same_files(*arguments, "disk")
            shown = world.compare_on_same_files(*arguments, "--output=json", "disk")
            if shown.code == 0:
                json.loads(shown.out.decode())
        world.compare_on_same_files("convert", "-O", "raw", "disk", "x")
    return Case(f"{kind}: {text!r}", run)


def cases():
    for kind in KINDS:
        for text in TEXTS:
            yield text_case(kind, text)
