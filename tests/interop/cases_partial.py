# SPDX-License-Identifier: Apache-2.0
"""Incomplete images, and images whose snapshots or bitmaps are broken: byre loses nothing, the disk can be copied, and
a repair leaves an image that QEMU finds sound."""
import qcow2_bytes as qcow2
from case import Case, digest

BITMAPS = 0x23852875
SNAPSHOT_EXTRA_SIZE = 36


def rest_arrives(scope, share):
    """`check -r` of the first part of a copy changes nothing; with the rest it is the image again."""
    def run(world):
        world.make("create", "-f", "qcow2", "image.qcow2", "16M")
        world.write("image.qcow2", "write -P 7 0 8M")
        whole = (world.folder / "image.qcow2").read_bytes()
        length = len(whole) * share // 8
        part = world.folder / "part.qcow2"
        part.write_bytes(whole[:length])
        for _ in range(2):
            result = world.run_subject("check", "-r", scope, "part.qcow2", code=2)
            world.expect(b"exceeding the end of the file" in result.err, result.text())
        world.expect(part.stat().st_size == length, "the file has another length")
        with open(part, "ab") as file:
            file.write(whole[length:])
        world.run_subject("check", "part.qcow2")
        world.run_qemu("compare", "image.qcow2", "part.qcow2")
        part.write_bytes(whole[:length])
        world.run_as_byre("check", "-r", "all", "--drop-unreadable", "part.qcow2")
        world.run_qemu("check", "part.qcow2")
    return Case(f"{share} eighths of an image, -r {scope}", run, byre_only=True)


def make_bitmaps(world):
    world.make("create", "-f", "qcow2", "image.qcow2", "4M")
    world.write("image.qcow2", "write -P 7 0 1M")
    for name in ("one", "two", "three"):
        world.make("bitmap", "--add", "image.qcow2", name)
    return qcow2.Image(world.folder / "image.qcow2")


def bitmap_entry(image, index):
    directory = image.number(image.extension(BITMAPS) + 24)
    for _ in range(index):
        directory += (24 + image.number(directory + 18, 2) + image.number(directory + 20, 4) + 7) // 8 * 8
    return directory


def far_away(image):
    image.put(bitmap_entry(image, 1), 1 << 40)


def unaligned(image):
    image.put(bitmap_entry(image, 1), image.number(bitmap_entry(image, 1)) + 512)


def overlapping(image):
    image.put(bitmap_entry(image, 1), image.get("l1_table_offset"))


def zeroed(image):
    start, end = bitmap_entry(image, 1), bitmap_entry(image, 2)
    image.bytes[start:end] = bytes(end - start)


def broken_bitmap(name, damage):
    def run(world):
        image = make_bitmaps(world)
        damage(image)
        image.save()
        before = digest(world.folder / "image.qcow2")
        world.run_subject("convert", "-O", "raw", "image.qcow2", "out.raw")
        world.run_subject("info", "image.qcow2")
        world.run_subject("map", "image.qcow2")
        world.run_subject("check", "image.qcow2", code=2)
        world.run_subject("check", "-r", "leaks", "image.qcow2", code=2)
        world.expect(digest(world.folder / "image.qcow2") == before, "the image was changed")
        result = world.run_subject("check", "-r", "all", "image.qcow2")
        world.expect(name == "zeroed" or b"Removing bitmap 'two'" in result.err, result.text())
        world.run_qemu("check", "image.qcow2")
        bitmaps = world.info("image.qcow2")["format-specific"]["data"]["bitmaps"]
        world.expect([each["name"] for each in bitmaps] == ["one", "three"], str(bitmaps))
        world.run_qemu("compare", "image.qcow2", "out.raw")
    return Case(f"a bitmap's directory entry, {name}", run, byre_only=True)


def written_meanwhile(name, damage):
    """Writing to an image with a broken bitmap leaves no bitmap that is trusted, not even the sound ones: an
    incremental backup based on one that did not track the write would lack it."""
    def run(world):
        image = make_bitmaps(world)
        damage(image)
        image.save()
        before = digest(world.folder / "image.qcow2")
        world.subject_io.run(["-c", "read 0 64k", "image.qcow2"], world.folder)
        world.expect(digest(world.folder / "image.qcow2") == before, "the image was changed")
        result = world.subject_io.run(["-c", "write -P 9 2M 64k", "image.qcow2"], world.folder)
        world.expect(result.code == 0 and b"wrote" in result.out, result.text())
        data = qcow2.Image(world.folder / "image.qcow2")
        if data.get("autoclear") & 1 == 0:
            world.run_qemu("info", "image.qcow2")
            world.expect("bitmaps" not in world.info("image.qcow2")["format-specific"]["data"], "there are bitmaps")
            return
        for index in range(3):
            flags = data.number(bitmap_entry(data, index) + 12, 4)
            world.expect(flags & 1 == 1, f"bitmap {index} is still believed: flags {flags}")
    return Case(f"an image is written that has a bitmap's directory entry, {name}", run, byre_only=True)


def snapshot_image(world):
    world.make("create", "-f", "qcow2", "image.qcow2", "4M")
    world.write("image.qcow2", "write -P 7 0 1M")
    for name in ("first", "second"):
        world.make("snapshot", "-c", name, "image.qcow2")
        world.write("image.qcow2", "write -P 8 0 64k")
    return qcow2.Image(world.folder / "image.qcow2")


def extra_data(world):
    """An impossible size of the extra data: the disk can be copied, and -r all loses no snapshot."""
    image = snapshot_image(world)
    image.put(image.snapshot(0) + SNAPSHOT_EXTRA_SIZE, 0x7FFFFFFF, 4)
    image.save()
    for arguments in (["info", "image.qcow2"], ["convert", "-O", "raw", "image.qcow2", "out.raw"],
                      ["map", "image.qcow2"], ["compare", "image.qcow2", "image.qcow2"]):
        world.run_subject(*arguments)
    refused = world.subject_io.run(["-c", "write 0 64k", "image.qcow2"], world.folder)
    world.expect(refused.code == 1 and b"check -r all" in refused.err, refused.text())
    world.run_subject("check", "-r", "all", "image.qcow2")
    world.run_qemu("check", "image.qcow2")
    names = [each["name"] for each in world.info("image.qcow2")["snapshots"]]
    world.expect(names == ["first", "second"], str(names))
    world.run_qemu("compare", "image.qcow2", "out.raw")


def zero_entry(world):
    """A snapshot entry of zeroes: nothing that it may have referred to is freed, except on request."""
    image = snapshot_image(world)
    start = image.snapshot(0)
    image.bytes[start:start + 40] = bytes(40)
    image.set("nb_snapshots", 1)
    image.save()
    check = world.run_subject("check", "image.qcow2", code=None)
    after = world.run_subject("check", "-r", "leaks", "image.qcow2", code=None)
    world.expect(after.code == check.code != 0 and b"repaired" not in after.out, after.text())
    world.run_as_byre("check", "-r", "all", "--drop-unreadable", "image.qcow2")
    world.run_qemu("check", "image.qcow2")


def unreadable_entries(world):
    """Entries without valid contents: -r all keeps what is there, --drop-unreadable gives it up."""
    image = snapshot_image(world)
    image.put(image.snapshot(1) + SNAPSHOT_EXTRA_SIZE, 0x7FFFFFFF, 4)
    image.put(image.snapshot(1) + 12, 60000, 2)
    image.save()
    world.run_subject("convert", "-O", "raw", "image.qcow2", "out.raw")
    result = world.run_subject("check", "-r", "all", "image.qcow2", code=2)
    advice = b"byre check -r all --drop-unreadable"
    world.expect(advice in result.err, result.text())
    plain = world.run_subject("check", "image.qcow2", code=1)
    world.expect(advice in plain.err, plain.text())
    refused = world.subject_io.run(["-c", "write 0 64k", "image.qcow2"], world.folder)
    world.expect(refused.code == 1 and advice in refused.err, refused.text())
    world.run_as_byre("check", "-r", "all", "--drop-unreadable", "image.qcow2")
    world.run_qemu("check", "image.qcow2")
    names = [each["name"] for each in world.info("image.qcow2")["snapshots"]]
    world.expect(names == ["first"], str(names))
    world.run_qemu("compare", "image.qcow2", "out.raw")


def cases():
    for scope in ("leaks", "all"):
        for share in (3, 5, 7):
            yield rest_arrives(scope, share)
    for name, damage in {"far away": far_away, "unaligned": unaligned, "overlapping": overlapping,
                         "zeroed": zeroed}.items():
        yield broken_bitmap(name, damage)
        yield written_meanwhile(name, damage)
    yield Case("a snapshot's extra data of an impossible size", extra_data, byre_only=True)
    yield Case("a snapshot entry of zeroes", zero_entry, byre_only=True)
    yield Case("snapshot entries that say nothing", unreadable_entries, byre_only=True)
