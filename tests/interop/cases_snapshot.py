# SPDX-License-Identifier: Apache-2.0
"""Internal snapshots: created, applied and deleted by both programs, each going on with what the other one left."""
import re

from case import Case

WRITES = ["write -P 1 0 300k; write -z 400k 100k", "write -P 2 100k 700k; discard 0 64k",
          "write -P 3 0 64k; write -P 4 900k 100k", "write -z 0 1M; write -P 5 333k 77k"]
LAYOUTS = {
    "default": ["1M"],
    "clusters of 512": ["-o", "cluster_size=512", "1M"],
    "clusters of 4k": ["-o", "cluster_size=4k", "1M"],
    "clusters of 2M": ["-o", "cluster_size=2M", "9M"],
    "version 2": ["-o", "compat=0.10", "1M"],
    "version 2, clusters of 1k": ["-o", "compat=0.10,cluster_size=1k", "1M"],
    "extended": ["-o", "extended_l2=on", "1M"],
    "extended, clusters of 16k": ["-o", "extended_l2=on,cluster_size=16k", "1M"],
    "lazy": ["-o", "lazy_refcounts=on", "1M"],
    "odd size": ["1049088"],
    "metadata": ["-o", "preallocation=metadata", "1M"],
    "overlay": ["-b", "base.qcow2", "-F", "qcow2"],
    "zstd": ["-o", "compression_type=zstd", "1M"],
    **{f"refcounts of {bits}": ["-o", f"refcount_bits={bits},cluster_size=4k", "1M"] for bits in (4, 8, 32, 64)},
}
# What is done in turn; each line runs with both programs, on their own files.
STEPS = [["-c", "one"], 0, ["-c", "two"], 1, ["-c", "1"], ["-l"], ["-a", "one"], 2, ["-c", "one"], ["-d", "two"],
         ["-a", "1"], ["-a", "3"], 3, ["-d", "one"], ["-d", "nosuch"], ["-a", "nosuch"], [], ["-d", "1"], ["-a", "4"],
         ["-d", "one"], ["-l"]]
DATE = re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")


def masked(result):
    result.out = DATE.sub(b"DATE", result.out)
    return result


def run_both(world, arguments, ours, theirs):
    theirs = masked(theirs.run(arguments, world.b))
    ours = masked(ours.run(arguments, world.a))
    world.equal(arguments, ours, theirs)


def snapshots(world, folder):
    """Ids and names, as QEMU lists them."""
    lines = world.qemu.run(["snapshot", "-l", "disk.qcow2"], folder).out.decode().splitlines()[2:]
    return [line.split()[:2] for line in lines]


def contents(world, folder, number=None):
    chosen = [] if number is None else ["-l", f"snapshot.id={number}"]
    world.make("convert", "-O", "raw", *chosen, "disk.qcow2", "out.raw", folder=folder)
    data = (folder / "out.raw").read_bytes()
    (folder / "out.raw").unlink()
    return data


def same_contents(world):
    found = snapshots(world, world.a)
    world.expect(found == snapshots(world, world.b), f"other snapshots: {found}")
    for number in [None, *(number for number, _ in found)]:
        world.expect(contents(world, world.a, number) == contents(world, world.b, number),
                     f"snapshot {number} has other contents")


def is_clean(world, folder):
    for program in (world.qemu, world.subject):
        result = program.run(["check", "disk.qcow2"], folder)
        world.expect(result.code == 0, f"{program.name} finds errors:\n{result.text()}")


def prepare(world, options):
    world.make("create", "-q", "-f", "qcow2", "base.qcow2", "1M")
    world.write("base.qcow2", "write -P 9 0 1M")
    size = [] if options[0] == "-b" else options[-1:]
    world.make("create", "-q", "-f", "qcow2", *options[:len(options) - len(size)], "disk.qcow2", *size)
    world.write("disk.qcow2", "write -P 7 64k 128k")
    world.copy_to_sides()


def in_turn(layout, order):
    """`order`: which program runs each step on our side; on the other one it is always QEMU."""
    def run(world):
        options = LAYOUTS[layout]
        prepare(world, options)
        for number, step in enumerate(STEPS):
            is_ours = order[number % len(order)] == "b"
            if isinstance(step, int):
                arguments = [word for command in WRITES[step].split("; ") for word in ("-c", command)]
                for side, ours in ((world.a, is_ours), (world.b, False)):
                    program = world.subject_io if ours else world.qemu_io
                    result = program.run([*arguments, "disk.qcow2"], side)
                    world.expect(result.code == 0, result.text())
                continue
            run_both(world, ["snapshot", *step, "disk.qcow2"], world.subject if is_ours else world.qemu, world.qemu)
            is_clean(world, world.a)
        same_contents(world)
    return run


REFUSED = [
    "-c a -d b disk.qcow2", "-l -l disk.qcow2", "-c", "-a", "-d", "", "-l", "-l disk.qcow2 raw.raw", "-x disk.qcow2",
    "-c a", "--f raw disk.qcow2", "-f nosuch disk.qcow2", "-f raw -c a raw.raw", "-f raw -a a raw.raw",
    "-f raw -d a raw.raw", "-f raw -l raw.raw", "-l raw.raw", "-c a nosuch", "-l nosuch", "-q -a nosuch disk.qcow2",
    "-q -d nosuch disk.qcow2", "-U -c a disk.qcow2", "-U -l disk.qcow2", "-U -d a disk.qcow2", "-c a data.qcow2",
    "-a a data.qcow2", "-d a data.qcow2", "-l data.qcow2", "-f qcow2 -c a raw.raw", "-c a narrow.qcow2",
    "-d a narrow.qcow2", "-a x bitmap.qcow2", "-c y bitmap.qcow2", "-d x bitmap.qcow2", "-l lost.qcow2", "-c a lost.qcow2",
    "--image-opts -c a driver=qcow2,file.filename=disk.qcow2", "--image-opts -l disk.qcow2",
    "--image-opts -f qcow2 -l disk.qcow2", "--object secret,id=a,data=b -l disk.qcow2", "--object nosuch -l disk.qcow2",
    "-c a --output=json disk.qcow2", "--list disk.qcow2", "-lq disk.qcow2", "-c '' disk.qcow2", "-d '' disk.qcow2",
    "-a '' disk.qcow2", "-c a zero.qcow2", "-c a file:disk.qcow2", "-h",
]


def line(text):
    def run(world):
        world.make("create", "-q", "-f", "qcow2", "disk.qcow2", "1M")
        world.make("create", "-q", "-f", "raw", "raw.raw", "1M")
        world.make("create", "-q", "-f", "qcow2", "-o", "data_file=data", "data.qcow2", "1M")
        world.make("create", "-q", "-f", "qcow2", "-o", "refcount_bits=1", "narrow.qcow2", "1M")
        world.write("narrow.qcow2", "write 0 64k")
        world.make("create", "-q", "-f", "qcow2", "bitmap.qcow2", "1M")
        world.make("snapshot", "-c", "x", "bitmap.qcow2")
        world.make("bitmap", "--add", "bitmap.qcow2", "b0")
        world.make("create", "-q", "-f", "qcow2", "zero.qcow2", "0")
        world.make("create", "-q", "-f", "qcow2", "gone.qcow2", "1M")
        world.make("create", "-q", "-f", "qcow2", "-b", "gone.qcow2", "-F", "qcow2", "lost.qcow2")
        (world.folder / "gone.qcow2").unlink()
        world.copy_to_sides()
        words = [word.strip("'") for word in text.split()]
        if text == "-h":
            world.expect(world.subject.run(["snapshot", "-h"], world.a).code == 0, "no help")
            return
        run_both(world, ["snapshot", *words], world.subject, world.qemu)
    return run


def only_byre(world):
    for name in ("disk.qcow2", "other.qcow2"):
        world.make("create", "-q", "-f", "qcow2", name, "1M")
        world.write(name, "write -P 1 0 512k")
    world.make("create", "-q", "-f", "qcow2", "-o", "refcount_bits=1", "narrow.qcow2", "1M")
    world.write("narrow.qcow2", "write 0 64k")
    run = lambda *arguments: world.byre.run(["snapshot", *arguments], world.folder)
    world.expect(run("-c", "both", "disk.qcow2", "other.qcow2").code == 0, "several images")
    refused = run("-c", "none", "disk.qcow2", "narrow.qcow2", "other.qcow2")
    world.expect(refused.code == 1 and b"narrow.qcow2" in refused.err, refused.text())
    for name in ("disk.qcow2", "other.qcow2"):
        listed = world.qemu.run(["snapshot", "-l", name], world.folder).out
        world.expect(b"both" in listed and b"none" not in listed, listed.decode())
    world.write("disk.qcow2", "write -P 2 0 256k")
    listed = run("-l", "--output=json", "disk.qcow2")
    # The clusters that were overwritten, the L1 table and the L2 table.
    world.expect(f'"exclusive-size": {(4 + 2) * 65536}'.encode() in listed.out, listed.text())
    long_name = run("-c", "x" * 256, "disk.qcow2")
    world.expect(long_name.code == 1 and b"File name too long" in long_name.err, long_name.text())
    # QEMU's help says the same, but its long options refuse an argument.
    for arguments in (["--create", "long"], ["--apply=long"], ["--delete", "long"]):
        result = world.subject.run(["snapshot", *arguments, "disk.qcow2"], world.folder)
        world.expect(result.code == 0, result.text())
    is_clean(world, world.folder)


def cases():
    found = [Case(f"{layout}, {order}", in_turn(layout, order))
             for layout in LAYOUTS for order in ("b", "bq", "qqbb")]
    found += [Case(f"{text or 'nothing'}", line(text)) for text in REFUSED]
    found.append(Case("only byre", only_byre, byre_only=True))
    return found
