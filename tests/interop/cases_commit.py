# SPDX-License-Identifier: Apache-2.0
"""`commit`: an image's changes in its backing file, or further down its chain, as QEMU copies them."""
from case import Case

BASES = {
    "qcow2": ["create", "-q", "-f", "qcow2", "base", "1M"],
    "raw": ["create", "-q", "-f", "raw", "base", "1M"],
    "version 2": ["create", "-q", "-f", "qcow2", "-o", "compat=0.10", "base", "1M"],
    "extended": ["create", "-q", "-f", "qcow2", "-o", "extended_l2=on", "base", "1M"],
    "clusters of 512": ["create", "-q", "-f", "qcow2", "-o", "cluster_size=512", "base", "1M"],
    "shorter": ["create", "-q", "-f", "qcow2", "base", "300k"],
    "shorter raw": ["create", "-q", "-f", "raw", "base", "300k"],
    "longer": ["create", "-q", "-f", "qcow2", "base", "3M"],
    "data file": ["create", "-q", "-f", "qcow2", "-o", "data_file=data", "base", "1M"],
}
TOPS = {
    "top": [], "top of version 2": ["-o", "compat=0.10"], "extended top": ["-o", "extended_l2=on"],
    "top of small clusters": ["-o", "cluster_size=4k"], "top with lazy refcounts": ["-o", "lazy_refcounts=on"],
}
WRITES = ["write -P 2 64k 100k", "write -z 200k 64k", "write -P 3 500k 10k", "discard 640k 64k", "write -P 4 1000k 24k"]
LINES = [
    "top.qcow2", "-p top.qcow2", "-q top.qcow2", "-pq top.qcow2", "-d top.qcow2", "-b base top.qcow2", "-b mid.qcow2 top.qcow2",
    "-b nosuch top.qcow2", "-b top.qcow2 top.qcow2", "base", "raw.raw", "-f raw raw.raw", "-f qcow2 top.qcow2", "-f raw top.qcow2",
    "-t none top.qcow2", "-t writethrough top.qcow2", "-t nosuch top.qcow2", "-r 100M top.qcow2", "-r x top.qcow2", "", "a b",
    "nosuch", "-x top.qcow2", "--image-opts driver=qcow2,file.filename=top.qcow2", "--image-opts top.qcow2",
    "--object secret,id=a,data=b top.qcow2", "--object nosuch top.qcow2", "--base base top.qcow2", "--drop top.qcow2",
    "-d -b mid.qcow2 top.qcow2", "--rate 1G --cache unsafe top.qcow2", "mid.qcow2", "-b base mid.qcow2", "-c top.qcow2",
    "snapshot.qcow2", "lost.qcow2", "--p top.qcow2", "file:top.qcow2",
]


def contents(world, side, name):
    world.make("convert", "-O", "raw", name, "out.raw", folder=side)
    data = (side / "out.raw").read_bytes()
    (side / "out.raw").unlink()
    return data


def same_images(world, *names):
    for name in names:
        mine, wanted = (contents(world, side, name) for side in (world.a, world.b))
        world.expect(mine == wanted, f"{name} has other contents")
        for program in (world.qemu, world.subject):
            result = program.run(["check", name], world.a)
            world.expect(result.code in (0, 63), f"{program.name}: {result.text()}")


def prepare(world, base, top):
    world.make(*base)
    kind = base[base.index("-f") + 1]
    world.write("base", "write -P 1 0 300k", options=["-f", kind])
    world.make("create", "-q", "-f", "qcow2", "-b", "base", "-F", kind, *top, "top.qcow2", "1M")
    world.write("top.qcow2", *WRITES)
    world.copy_to_sides()
    return kind


def committed(base, top, *options):
    def run(world):
        prepare(world, BASES[base], TOPS[top])
        world.compare_on_copies("commit", *options, "top.qcow2")
        same_images(world, "top.qcow2", "base")
        if not options:
            mine, wanted = (world.run_qemu("map", "--output=json", "top.qcow2", folder=side).out
                            for side in (world.a, world.b))
            world.expect(b'"depth": 0, "present": true' not in mine + wanted, "it is not empty")
        # Each goes on with what the other one left, and there is nothing left to do.
        for side, program in ((world.a, world.qemu), (world.b, world.subject)):
            result = program.run(["commit", "top.qcow2"], side)
            world.expect(result.code == 0, result.text())
        same_images(world, "top.qcow2", "base")
    return Case(f"{top} into {base} {' '.join(options)}", run)


def line(text):
    def run(world):
        world.make("create", "-q", "-f", "qcow2", "base", "1M")
        world.write("base", "write -P 1 0 300k")
        world.make("create", "-q", "-f", "qcow2", "-b", "base", "-F", "qcow2", "mid.qcow2")
        world.write("mid.qcow2", "write -P 5 100k 300k", "write -z 0 64k")
        world.make("create", "-q", "-f", "qcow2", "-b", "mid.qcow2", "-F", "qcow2", "top.qcow2")
        world.write("top.qcow2", *WRITES)
        world.make("create", "-q", "-f", "raw", "raw.raw", "1M")
        world.make("create", "-q", "-f", "qcow2", "-b", "base", "-F", "qcow2", "snapshot.qcow2")
        world.write("snapshot.qcow2", "write -P 6 0 64k")
        world.make("snapshot", "-c", "one", "snapshot.qcow2")
        world.write("snapshot.qcow2", "write -P 7 0 128k")
        world.make("create", "-q", "-f", "qcow2", "gone", "1M")
        world.make("create", "-q", "-f", "qcow2", "-b", "gone", "-F", "qcow2", "lost.qcow2")
        (world.folder / "gone").unlink()
        world.copy_to_sides()
        mine = masked(world.subject.run(["commit", *text.split()], world.a))
        wanted = masked(world.qemu.run(["commit", *text.split()], world.b))
        world.equal(["commit", *text.split()], mine, wanted)
        if "-b" not in text:
            same_images(world, "top.qcow2", "mid.qcow2", "base", "snapshot.qcow2")
        else:
            same_images(world, "base")
    return Case(text or "nothing", run)


def no_room(*options):
    """A base that may not grow as far as needed; with room, the same command does what is left."""
    def run(world):
        world.make("create", "-q", "-f", "qcow2", "base", "1M")
        world.write("base", "write -P 1 0 300k")
        world.make("create", "-q", "-f", "qcow2", "-b", "base", "-F", "qcow2", "top.qcow2", "2M")
        world.write("top.qcow2", *WRITES, "write -P 5 1M 1M")
        before = contents(world, world.folder, "top.qcow2")
        world.copy_to_sides()
        world.compare_on_copies("commit", *options, "top.qcow2", file_size=1024 * 1024)
        for side in (world.a, world.b):
            world.expect(contents(world, side, "top.qcow2") == before, "it reads differently")
        world.compare_on_copies("commit", *options, "top.qcow2")
        same_images(world, "top.qcow2", "base")
    return Case(f"no room: {' '.join(options)}", run)


def masked(result):
    """Progress depends on how the work is divided: only its end is compared."""
    lines = result.out.split(b"\r")
    result.out = lines[0][:0] + lines[-1] if len(lines) > 1 else result.out
    return result


def cases():
    for base in BASES:
        for top in TOPS:
            yield committed(base, top)
        yield committed(base, "top", "-d")
    for text in LINES:
        yield line(text)
    for options in ([], ["-d"], ["-b", "base"]):
        yield no_room(*options)
