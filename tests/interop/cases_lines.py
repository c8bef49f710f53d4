# SPDX-License-Identifier: Apache-2.0
"""Command lines, one per case: both programs in equal directories; output, exit code and the resulting files must be
the same. Most are refusals: mistakes of users and scripts."""
import json
import pathlib
import shlex
import shutil
import threading

import images
from case import Case, copy_sparse
from images import KIB, MIB

HERE = pathlib.Path(__file__).resolve().parent

_lock = threading.Lock()


def prepare(world):
    """The folder that every line finds; made once, then copied.

    a.qcow2   1 MiB with data, a zero cluster and a compressed one; snapshot "snap"
    b.raw     the same bytes; c.raw: the same and 64 KiB more; d.raw: others; tiny.raw: 512 bytes
    over.qcow2 on a.qcow2; orphan.qcow2 on gone.qcow2, which is not there; text: no image
    v2.qcow2  version 2; ext.qcow2: extended L2; data.qcow2 on data.raw; bitmap.qcow2 with a bitmap
    rules.cfg rules of blkdebug
    empty     0 bytes; folder/; link.qcow2 -> a.qcow2; luks.qcow2: encrypted
    """
    template = world.folder.parent / "lines-template"
    with _lock:
        if not template.exists():
            _make_template(world, template)
    for side in (world.a, world.b):
        for path in template.iterdir():
            if path.is_dir():
                shutil.copytree(path, side / path.name)
            else:
                copy_sparse(path, side / path.name)


def _make_template(world, template):
    folder = template.with_suffix(".new")
    folder.mkdir()

    def make(*arguments):
        world.make(*arguments, folder=folder)

    make("create", "-f", "qcow2", "a.qcow2", "1M")
    (folder / "pattern").write_bytes(images.text(3 * 64 * KIB, 1))
    world.write("a.qcow2", "write -c -P 7 512k 64k", "write -s pattern 0 192k", "write -z 256k 64k",
                "write -P 3 900k 4k", folder=folder)
    (folder / "pattern").unlink()
    make("convert", "-O", "raw", "a.qcow2", "b.raw")
    shutil.copy(folder / "b.raw", folder / "c.raw")
    with open(folder / "c.raw", "r+b") as file:
        file.truncate(MIB + 64 * KIB)
    shutil.copy(folder / "b.raw", folder / "d.raw")
    with open(folder / "d.raw", "r+b") as file:
        file.seek(300000)
        file.write(b"other")
    (folder / "tiny.raw").write_bytes(b"t" * 512)
    make("snapshot", "-c", "snap", "a.qcow2")
    make("create", "-f", "qcow2", "-b", "a.qcow2", "-F", "qcow2", "over.qcow2")
    world.write("over.qcow2", "write -P 9 64k 64k", folder=folder)
    make("create", "-f", "qcow2", "-u", "-b", "gone.qcow2", "-F", "qcow2", "orphan.qcow2", "1M")
    make("create", "-f", "qcow2", "-o", "compat=0.10", "v2.qcow2", "1M")
    make("create", "-f", "qcow2", "-o", "extended_l2=on", "ext.qcow2", "1M")
    make("create", "-f", "qcow2", "-o", "data_file=data.raw", "data.qcow2", "1M")
    make("create", "-f", "qcow2", "bitmap.qcow2", "1M")
    make("bitmap", "--add", "bitmap.qcow2", "dirty")
    make("create", "-f", "qcow2", "--object", "secret,id=s,data=abc", "-o",
         "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10", "luks.qcow2", "1M")
    (folder / "text").write_text("This is no image.\n" * 100)
    (folder / "rules.cfg").write_text('# fails nothing that is asked for\n[inject-error]\nevent = "vmstate_load"\n'
                                      '[set-state]\nevent = "l2_load"\nnew_state = "2"\n')
    (folder / "empty").touch()
    (folder / "folder").mkdir()
    (folder / "link.qcow2").symlink_to("a.qcow2")
    folder.rename(template)


# A target that QEMU creates before it checks an option, and leaves; byre checks first.
LEFT_BY_QEMU = {
    "convert -t nope a.qcow2 x": ["x"],
    "convert -O qcow2 -c -o data_file=d a.qcow2 x": ["x", "d"],
    "convert -O qcow2 -B gone -F qcow2 over.qcow2 x": ["x"],
    "convert -O raw --image-opts driver=qcow2,file.driver=blkdebug,file.image.filename=over.qcow2,"
    "file.inject-error.0.event=read_aio x": ["x"],
}


def names_and_sizes(folder):
    """What a command has left: names, and sizes of files that are not qcow2, whose layout is up to each program."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_dir():
            found[name] = "folder"
        elif path.open("rb").read(4) == b"QFI\xfb":
            found[name] = "qcow2"
        else:
            found[name] = path.stat().st_size
    return found


def line_case(name, line):
    arguments = shlex.split(line)

    def run(world):
        prepare(world)
        world.compare_on_copies(*arguments)
        mine, wanted = names_and_sizes(world.a), names_and_sizes(world.b)
        for name in LEFT_BY_QEMU.get(line, ()) if world.subject_is_byre else ():
            world.expect(name in wanted and name not in mine, f"{name} should be left by QEMU alone")
            del wanted[name]
        world.expect(mine == wanted, f"leaves other files: {mine}\nQEMU: {wanted}")
        for entry, kind in wanted.items():
            if kind == "qcow2":
                same_image(world, entry)
            elif kind != "folder" and "timing" not in entry:
                world.expect((world.a / entry).read_bytes() == (world.b / entry).read_bytes(),
                             f"{entry} has other bytes than QEMU's")
    return Case(f"{name} {line}", run)


def same_image(world, name):
    """The file that both have left under this name is the same disk for QEMU."""
    if (world.a / name).read_bytes() == (world.b / name).read_bytes():
        return
    mine, wanted = world.info(name, world.a), world.info(name, world.b)
    world.expect(mine == wanted, f"{name}: info differs\nsubject: {json.dumps(mine)}\n"
                                 f"QEMU: {json.dumps(wanted)}")
    check = world.qemu.run(["check", name], world.a)
    world.expect(check.code in (0, 63), f"{name}: {check.text()}")
    if "encrypted" in wanted or wanted["virtual-size"] > 4 << 30:
        return
    shown = world.qemu.run(["compare", "a/" + name, "b/" + name], world.folder)
    unreadable = world.qemu.run(["compare", "b/" + name, "b/" + name], world.folder)
    world.expect(shown.code == 0 or unreadable.code != 0, f"{name}: {shown.text()}")


def dd_onto_its_input(world):
    """QEMU truncates the file before it reads it; byre is stopped by its own lock, and nothing is lost."""
    prepare(world)
    result = world.run_subject("dd", "if=b.raw", "of=b.raw", folder=world.a, code=1)
    world.expect(b"lock" in result.err, result.text())
    world.expect((world.a / "b.raw").read_bytes() == (world.b / "b.raw").read_bytes(), "b.raw was changed")


def cases():
    yield Case("dd onto its input", dd_onto_its_input, byre_only=True)
    seen = set()
    for path in sorted((HERE / "lines").glob("*.txt")):
        for line in path.read_text().splitlines():
            line = line.strip()
            if not line or line.startswith("#"):
                continue
            if line in seen:
                raise ValueError(f"{path.name}: {line} is there twice")
            seen.add(line)
            yield line_case(path.stem, line)
