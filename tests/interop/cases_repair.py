# SPDX-License-Identifier: Apache-2.0
"""Damaged images and `check -r`: the output and the result are QEMU's, and where they are not (differences.py), byre's
image is no worse than QEMU's, and has everything that could be read before."""
import shutil

import cases_damage
import qcow2_bytes as qcow2
from case import Case, copy_sparse, digest

# Which of two exit codes of `check` is worse.
SEVERITY = {0: 0, 3: 1, 2: 2, 1: 3, 63: 4}


def guest_data(world, folder):
    """A digest of what QEMU reads from the image, or None if it cannot."""
    result = world.qemu.run(["convert", "-O", "raw", "image.qcow2", "guest.raw"], folder)
    target = folder / "guest.raw"
    found = digest(target) if result.code == 0 else None
    target.unlink(missing_ok=True)
    return found


def fresh_sides(world):
    for name in ("a", "b"):
        shutil.rmtree(world.folder / name, ignore_errors=True)
        (world.folder / name).mkdir()
        for path in world.folder.iterdir():
            if path.is_file():
                copy_sparse(path, world.folder / name / path.name)


def run_both(world, arguments):
    theirs = world.qemu.run(arguments, world.b)
    ours = world.subject.run(arguments, world.a)
    world.equal(arguments, ours, theirs)
    return ours, theirs


def is_alike(ours, theirs):
    return (ours.out, ours.err, ours.code) == (theirs.out, theirs.err, theirs.code)


def repair(world, scope, before):
    fresh_sides(world)
    arguments = ["check", "-r", scope, "image.qcow2"]
    ours, theirs = run_both(world, arguments)
    after = guest_data(world, world.a)
    world.expect(before is None or after == before, f"-r {scope}: the guest's data is not what it was")
    bytes_after = digest(world.a / "image.qcow2")
    again = world.subject.run(arguments, world.a)
    if ours.code == 0:
        world.expect(again.code == 0, f"-r {scope}, once more: exit code {again.code}")
        world.expect(b"inconsistencies" not in again.out, f"-r {scope}, once more, finds more:\n{again.text()}")
        world.expect(digest(world.a / "image.qcow2") == bytes_after, f"-r {scope}, once more, changed the image")
    world.expect(before is None or guest_data(world, world.a) == before, f"-r {scope}, once more, lost data")
    if is_alike(ours, theirs):
        world.equal(arguments, again, world.qemu.run(arguments, world.b))
    judge(world, scope, ours, theirs)


def judge(world, scope, ours, theirs):
    """Both checkers find the same in byre's image, and no more than in QEMU's."""
    check = ["check", "image.qcow2"]
    by_qemu, by_byre = world.qemu.run(check, world.a), world.subject.run(check, world.a)
    world.expect(by_qemu.code == by_byre.code,
                 f"-r {scope}: the checkers do not agree:\n{by_qemu.text()}\n{by_byre.text()}")
    of_theirs = world.qemu.run(check, world.b)
    # QEMU makes it sound by removing snapshots, or by extending the file past what is missing.
    discards = b"overhanging snapshots" in theirs.err
    keeps = b"--drop-unreadable" in ours.err or b"not extended while" in ours.err
    keeps = keeps or b"Leaked clusters are kept" in ours.err
    world.expect(discards or keeps or SEVERITY[by_qemu.code] <= SEVERITY[of_theirs.code],
                 f"-r {scope}: worse than QEMU's:\n{by_qemu.text()}\n{of_theirs.text()}")


def of_damage(base, name, damage):
    chosen = cases_damage.BASES[base]

    def run(world):
        cases_damage.make(world, chosen)
        image = qcow2.Image(world.folder / "image.qcow2")
        damage(image)
        image.save()
        before = guest_data(world, world.folder)
        for scope in ("leaks", "all"):
            repair(world, scope, before)
        fresh_sides(world)
        run_both(world, ["check", "-r", "all", "--output=json", "image.qcow2"])
    return Case(f"{base}: {name}", run)


def options(world):
    """The other options of `check` can be combined with -r."""
    cases_damage.make(world, cases_damage.BASES["default"])
    image = qcow2.Image(world.folder / "image.qcow2")
    image.put(image.refcount_entry(6), 9, 2)
    image.save()
    for arguments in (["-q"], ["-f", "qcow2"], ["-f", "raw"], ["-T", "none"], ["-T", "unsafe"], ["-T", "directsync"],
                      ["-U"], ["-q", "--output=json"]):
        fresh_sides(world)
        run_both(world, ["check", *arguments, "-r", "leaks", "image.qcow2"])
        run_both(world, ["check", "image.qcow2"])
    fresh_sides(world)
    for side in (world.a, world.b):
        (side / "image.qcow2").chmod(0o444)
    for scope in ("leaks", "all", "none", ""):
        arguments = ["check", "-r", scope, "image.qcow2"]
        theirs = world.qemu.run(arguments, world.b, as_user=True)
        world.equal(arguments, world.subject.run(arguments, world.a, as_user=True), theirs)


def dirty(world, damage):
    """An image with the dirty bit that is opened for writing is repaired first."""
    cases_damage.make(world, cases_damage.BASES["default"])
    image = qcow2.Image(world.folder / "image.qcow2")
    image.set_feature("incompatible", 0)
    damage(image)
    image.save()
    before = guest_data(world, world.folder)
    fresh_sides(world)
    run_both(world, ["convert", "-n", "-O", "qcow2", "image.qcow2", "image.qcow2"])
    run_both(world, ["convert", "-O", "qcow2", "image.qcow2", "copy.qcow2"])
    for side in (world.a, world.b):
        copied = qcow2.Image(side / "copy.qcow2")
        copied.set_feature("incompatible", 0)
        copied.put(copied.refcount_entry(5), 4, 2)
        copied.save()
    run_both(world, ["convert", "-n", "-O", "qcow2", "image.qcow2", "copy.qcow2"])
    run_both(world, ["check", "-q", "copy.qcow2"])
    world.expect(guest_data(world, world.a) == before, "the guest's data is not what it was")


def cases():
    damage = cases_damage
    for name, each in {**damage.HEADER_DAMAGE, **damage.EXTENSION_DAMAGE, **damage.MAPPING_DAMAGE,
                       **damage.REFCOUNT_DAMAGE, **damage.SNAPSHOT_DAMAGE, **damage.SIZE_DAMAGE}.items():
        if name not in ("65537 snapshots", "snapshots all ones"):  # QEMU writes tens of thousands of lines
            yield of_damage("default", name, each)
    for base in ("v2", "extended", "refcount64", "datafile"):
        for name, each in damage.EVERYWHERE.items():
            yield of_damage(base, name, each)
    for name, each in {**damage.MAPPING_DAMAGE, **damage.REFCOUNT_DAMAGE}.items():
        yield of_damage("small", name, each)
    for name, each in damage.SUBCLUSTER_DAMAGE.items():
        yield of_damage("extended", name, each)
    yield Case("options", options)
    for name, each in {"refcounts": lambda image: image.put(image.refcount_entry(6), 9, 2),
                       "nothing": lambda image: None}.items():
        yield Case(f"dirty: {name}", lambda world, each=each: dirty(world, each))
