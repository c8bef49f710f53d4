# SPDX-License-Identifier: Apache-2.0
"""Commands that are stopped in the middle, and what must hold afterwards."""
import dataclasses

from programs import CLEAN, WITHOUT_CORRUPTION, Failed, check, same


@dataclasses.dataclass(frozen=True)
class Command:
    name: str
    files: tuple      # that it needs
    arguments: tuple
    image: str        # the one to look at
    before: str       # what it reads as until the command has ended; None: it does not exist or nothing is promised
    after: str        # what it reads as in the end

    def may_fail(self, result):
        """A snapshot that was deleted before the kill cannot be deleted again."""
        return self.arguments[:2] == ("snapshot", "-d") and "not found" in result.err


_CHAIN = ("base.qcow2", "top.qcow2")
_REBASE = ("base.qcow2", "other.qcow2", "top.qcow2")
COMMANDS = [
    Command("convert", _CHAIN, ("convert", "-O", "qcow2", "top.qcow2", "new.qcow2"), "new.qcow2", None, "top.raw"),
    Command("convert -c", _CHAIN, ("convert", "-c", "-O", "qcow2", "top.qcow2", "new.qcow2"), "new.qcow2", None, "top.raw"),
    Command("rebase", _REBASE, ("rebase", "-b", "other.qcow2", "-F", "qcow2", "top.qcow2"), "top.qcow2", "top.raw", "top.raw"),
    Command("rebase -b ''", _CHAIN, ("rebase", "-b", "", "top.qcow2"), "top.qcow2", "top.raw", "top.raw"),
    Command("rebase -c", _REBASE, ("rebase", "-c", "-b", "other.qcow2", "-F", "qcow2", "top.qcow2"), "top.qcow2", "top.raw", "top.raw"),
    Command("commit", _CHAIN, ("commit", "top.qcow2"), "top.qcow2", "top.raw", "top.raw"),
    Command("commit -d", _CHAIN, ("commit", "-d", "top.qcow2"), "base.qcow2", None, "top.raw"),
    Command("amend to version 2", ("base.qcow2", "zeroes.qcow2"), ("amend", "-o", "compat=0.10", "zeroes.qcow2"), "zeroes.qcow2", "zeroes.raw",
         "zeroes.raw"),
    Command("amend to version 3", ("old.qcow2",), ("amend", "-o", "compat=1.1,refcount_bits=64", "old.qcow2"), "old.qcow2", "small.raw",
         "small.raw"),
    Command("amend refcount_bits=4", ("small.qcow2",), ("amend", "-o", "refcount_bits=4", "small.qcow2"), "small.qcow2", "small.raw",
         "small.raw"),
    Command("snapshot -c", ("small.qcow2",), ("snapshot", "-c", "new", "small.qcow2"), "small.qcow2", "small.raw", "small.raw"),
    Command("snapshot -a", ("small.qcow2",), ("snapshot", "-a", "first", "small.qcow2"), "small.qcow2", "small.raw", "base.raw"),
    Command("snapshot -d", ("small.qcow2",), ("snapshot", "-d", "first", "small.qcow2"), "small.qcow2", "small.raw", "small.raw"),
]


def look(command, source, folder, programs, has_ended):
    """The image right after it was stopped: it reads as before or as afterwards, and has no worse than leaks, which are told."""
    if not has_ended and command.before is None:
        return False
    wanted = [command.after] if has_ended else sorted({command.before, command.after})
    failures = []
    for name in wanted:
        try:
            same(programs, source / name, "raw", command.image, folder)
        except Failed as failure:
            failures.append(str(failure))
    if len(failures) == len(wanted):
        raise Failed("\n".join(failures))
    check(programs, command.image, folder, WITHOUT_CORRUPTION)
    return any(program.run("check", command.image, folder=folder, code=None).code == 3 for program in programs)


def go_on(command, source, folder, programs, number):
    """One of the programs runs the command again, and the other frees what leaked."""
    first, second = programs if number % 2 else reversed(programs)
    result = first.run(*command.arguments, folder=folder, code=None)
    if result.code != 0 and not command.may_fail(result):
        raise Failed(f"cannot go on:\n{result.text()}")
    same(programs, source / command.after, "raw", command.image, folder)
    second.run("check", "-r", "leaks", command.image, folder=folder)
    check(programs, command.image, folder, CLEAN)
    same(programs, source / command.after, "raw", command.image, folder)
