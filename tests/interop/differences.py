# SPDX-License-Identifier: Apache-2.0
"""Every deliberate difference between byre and QEMU: where it occurs, why it exists, and no wider.

An entry sees the command line and both results, and determines what each side's output becomes before the two are
compared. Whatever no entry covers must be equal to the byte, and a program that crashes is not equal to anything.
docs/differences-from-qemu.md tells users about these and about other differences.
"""
import dataclasses
import re
from typing import Callable


@dataclasses.dataclass(frozen=True)
class Difference:
    name: str
    reason: str
    applies: Callable  # (arguments, ours, theirs) -> bool
    rewrite: Callable  # (result) -> result, for both sides
    # (exit code of byre, exit code of QEMU): it covers no others. Without any: `rewrite` keeps the codes.
    codes: tuple = ()


def _help_is_asked(arguments, ours, theirs):
    asked = {"-V", "--version"} if arguments[:1] == ["qemu-io"] else {"-h", "--help", "-V", "--version"}
    return not asked.isdisjoint(arguments)


def _shows_the_usage_of_qemu_io(arguments, ours, theirs):
    return arguments[:1] == ["qemu-io"] and b"report-a-bug" in theirs.out


def _without_where_to_report_bugs(result):
    return dataclasses.replace(result, out=re.sub(rb"\nSee <.*>.*\nMore information .*\n$", b"", result.out))


def _only_that_it_succeeds(result):
    return dataclasses.replace(result, out=b"", err=b"")


def _options_are_listed(arguments, ours, theirs):
    return arguments[:1] in (["create"], ["convert"], ["measure"], ["amend"]) and any(
        argument.split(",")[-1] in ("help", "?") for argument in arguments)


def _without_encryption(result):
    """The list without the lines of encryption."""
    return dataclasses.replace(result, out=re.sub(rb"(?m)^  encrypt.*\n", b"", result.out))


def _is_another_format(arguments, ours, theirs):
    return ours.code == theirs.code != 0 and b"Unknown driver 'qcow'" in ours.err


def _creates_with_data_file(arguments, ours, theirs):
    return arguments[:1] == ["create"] and any("data_file=" in argument for argument in arguments)


def _without_not_a_regular_file(result):
    error = re.sub(rb"(?m)^qemu-img: .* is not a regular file: No such file or directory\n", b"", result.err)
    return dataclasses.replace(result, err=error)


def _converts_with_progress(arguments, ours, theirs):
    return arguments[:1] == ["convert"] and ("-p" in arguments or "--progress" in arguments)


def _first_and_last_step(result):
    steps = re.findall(rb" *\([\d.]+/100%\)\r", result.out)
    rest = re.sub(rb" *\([\d.]+/100%\)\r", b"", result.out)
    return dataclasses.replace(result, out=b"".join(steps[:1] + steps[-1:]) + rest)


def _compresses_into_a_data_file(arguments, ours, theirs):
    return arguments[:1] == ["convert"] and "-c" in arguments and ours.code == theirs.code == 1 and any(
        "data_file=" in argument for argument in arguments)


def _without_times(result):
    return dataclasses.replace(result, out=re.sub(rb"completed in \d+\.\d{3} seconds", b"completed", result.out))


def _resizes_and(theirs_says, ours_says=b""):
    """A resize in which QEMU prints this, and byre that."""
    def applies(arguments, ours, theirs):
        return arguments[:1] == ["resize"] and theirs_says in theirs.err and ours_says in ours.err
    return applies


def _nothing(result):
    """Neither the output nor the exit code is compared: the entry has to state which exit codes it covers."""
    return dataclasses.replace(result, out=b"", err=b"", code=0)


# How map shows the data of a null-co device: in QEMU, and in byre.
NULL_EXTENT = re.compile(rb'("depth": \d+, )(?:"present": false, "zero": false, "data": false, "compressed": false|'
                         rb'"present": true, "zero": true, "data": false, "compressed": false, "offset": \d+)\}')


def _maps_a_null_device(arguments, ours, theirs):
    # QEMU reports nothing else as neither present, nor zero, nor data.
    return arguments[:2] == ["map", "--output=json"] and (
        b'"present": false, "zero": false, "data": false' in theirs.out)


def _with_null_extents(result):
    return dataclasses.replace(result, out=NULL_EXTENT.sub(rb"\1null}", result.out))


_NEVER = rb"(?!)"


def _repairs(arguments):
    return arguments[:1] == ["check"] and "-r" in arguments


def _repairs_and(ours_says=_NEVER, theirs_says=_NEVER):
    """A repair in which either program prints one of these."""
    def applies(arguments, ours, theirs):
        return _repairs(arguments) and bool(re.search(ours_says, ours.err) or re.search(theirs_says, theirs.err))
    return applies


def _warns(ours_says):
    """byre warns and continues where QEMU refuses."""
    def applies(arguments, ours, theirs):
        return theirs.code != 0 and bool(re.search(ours_says, ours.err))
    return applies


def _advises_on_snapshots(arguments, ours, theirs):
    return arguments[:1] == ["check"] and ours.code == theirs.code == 1 and b"force-remove" in theirs.err


def _without_advice_on_snapshots(result):
    error = re.sub(rb"(?m)^(You can force-remove|check -r all repairs the table) .*\n", b"", result.err)
    return dataclasses.replace(result, err=error)


def _without_end(result):
    out = re.sub(rb"(?m)^Image end offset: \d+\n", b"", result.out)
    return dataclasses.replace(result, out=re.sub(rb' *"image-end-offset": \d+,\n', b"", out))


DIFFERENCES = [
    # For repairs. cases_repair.py checks the result of byre, whatever the two print.
    Difference(
        "places of new refcounts",
        "byre writes them past the end, where nothing can be lost; QEMU in space that it considers free.",
        _repairs_and(rb"Rebuilding refcount structure|snapshot table entry"), _without_end),
    Difference(
        "leaked clusters beside what cannot be read",
        "QEMU frees them; the broken entry may have referred to them, so byre keeps them.",
        _repairs_and(rb"Leaked clusters are kept"), _nothing, ((2, 1), (2, 2), (2, 3), (3, 0))),
    Difference(
        "entries that QEMU leaves",
        "Zero clusters past the end of the file and the copied flag of compressed clusters: byre repairs them.",
        _repairs_and(rb"Repairing (reference beyond the end|copied flag of compressed)"), _nothing, ((0, 2), (2, 2))),
    Difference(
        "files that may be parts of images",
        "Both keep references past the end; byre reports it, does not resize the file, and frees nothing.",
        _repairs_and(rb"References past the end of the file are kept|not extended while"), _nothing,
        ((0, 0), (1, 1), (2, 2))),
    Difference(
        "tables that overlap",
        "byre moves them apart; QEMU counts both and continues to change the shared cluster.",
        _repairs_and(rb"Moving overlapping tables"), _nothing, ((0, 0), (0, 1))),
    Difference(
        "repairs that QEMU gives up",
        "Its own checks find that it would overwrite metadata, or it reads refcounts that it should not need.",
        _repairs_and(theirs_says=rb"overlap check failed|Overlap check failed|writing refblock|Marking image as corrupt|"
                     rb"qcow2_free_clusters failed"),
        _nothing, ((0, 1), (1, 1))),
    Difference(
        "refcount blocks outside the file",
        "QEMU extends the file as far as they ask for; byre rewrites the refcounts.",
        _repairs_and(theirs_says=rb"refcount block \d+ is outside image"), _nothing, ((0, 0), (1, 1))),
    Difference(
        "snapshots that QEMU removes",
        "If the table cannot be read to its end, or an image has bitmaps without their bit; byre removes none.",
        _repairs_and(rb"snapshot table entry \d+ cannot be read|size of the extra data in snapshot",
                     rb"overhanging snapshots|Some clusters may be leaked"), _nothing, ((0, 0),)),
    Difference(
        "snapshots that cannot be read",
        "The disk can, so byre only warns, unless the image is opened for writing.",
        _warns(rb"The snapshots cannot be read"), _nothing, ((0, 1), (1, 1))),
    Difference(
        "advice on snapshots that cannot be read",
        "QEMU's repair removes all of them; byre names the repair that loses none, and the one that removes some.",
        _advises_on_snapshots, _without_advice_on_snapshots),
    Difference(
        "bitmaps that cannot be used",
        "QEMU does not open such an image; byre warns, or reports them.",
        _warns(rb"The bitmaps cannot be used|bitmap (directory entry \d+|'.*') cannot be used"), _nothing,
        ((0, 1), (1, 1), (2, 1))),
    Difference(
        "preallocation past the end of a device",
        "byre leaves the image as it was; QEMU leaves references past the end of the device.",
        lambda *call: "--preallocation=metadata" in call[0] and
        _resizes_and(b"Cannot grow device files", b"No space left on device")(*call), _only_that_it_succeeds),
    Difference(
        "data files that are devices",
        "QEMU insists on a disk as long as the device; byre refuses only a device that is too short.",
        _resizes_and(b"Cannot resize device files", b"Cannot grow device files"), _only_that_it_succeeds),
    Difference(
        "times of bench",
        "They are measured.",
        lambda arguments, ours, theirs: arguments[:1] == ["bench"], _without_times),
    Difference(
        "help and version texts",
        "They describe the program that prints them; byre writes its own.",
        _help_is_asked, _only_that_it_succeeds),
    Difference(
        "where to report bugs",
        "Bugs of byre should not be reported to QEMU.",
        _shows_the_usage_of_qemu_io, _without_where_to_report_bugs),
    Difference(
        "lists of options without encryption",
        "byre refuses encrypted images by name; it does not offer options that it does not have.",
        _options_are_listed, _without_encryption),
    Difference(
        "formats besides raw and qcow2",
        "byre knows the first version of the format, qcow, only to refuse it by name.",
        _is_another_format, _nothing, ((1, 1), (2, 2))),
    Difference(
        "steps of progress",
        "They depend on the sizes in which data is copied, which differ; the first and the last are the same.",
        _converts_with_progress, _first_and_last_step),
    Difference(
        "compression into an external data file",
        "QEMU fails at the first write; byre refuses before it, and reports that this is not supported.",
        _compresses_into_a_data_file, _nothing, ((1, 1),)),
    Difference(
        "map of a null-co device",
        "byre reads zeroes from it and reports that; what QEMU reads is undefined, so its map reports nothing.",
        _maps_a_null_device, _with_null_extents),
    Difference(
        "an image that is its own data file",
        "Before the true reason, QEMU reports that the file does not exist, which is not true.",
        _creates_with_data_file, _without_not_a_regular_file),
]

# What blanks the output states the exit codes.
assert all(difference.codes for difference in DIFFERENCES if difference.rewrite is _nothing)

_used = set()


def apply(arguments, folder, ours, theirs):
    """Both results as they are to be compared. The two sides' directories are called <side> in both."""
    arguments = [str(argument) for argument in arguments]
    ours, theirs = (_without_side(result, folder) for result in (ours, theirs))
    if _crashed(ours):
        return ours, theirs
    codes = ours.code, theirs.code
    for difference in DIFFERENCES:
        if difference.codes and codes not in difference.codes:
            continue
        if difference.applies(arguments, ours, theirs):
            rewritten = difference.rewrite(ours), difference.rewrite(theirs)
            if (ours.out, ours.err, ours.code) != (theirs.out, theirs.err, theirs.code):
                _used.add(difference.name)
            ours, theirs = rewritten
    return ours, theirs


def _crashed(result):
    """A signal ended it, or a shell reports that one did."""
    return result.code < 0 or result.code >= 128


def used():
    """Names of the entries that made a difference so far."""
    return sorted(_used)


def unused():
    """Names of the other entries."""
    return [difference.name for difference in DIFFERENCES if difference.name not in _used]


def _without_side(result, folder):
    pattern = re.escape(str(folder).encode()) + rb"/[ab]\b"
    return dataclasses.replace(result, out=re.sub(pattern, b"<side>", result.out),
                               err=re.sub(pattern, b"<side>", result.err))
