# SPDX-License-Identifier: Apache-2.0
"""Rules that hold for the files of the repository: layers, licence lines, sizes, links, paths."""
import pathlib
import re
import subprocess

import coroutine_rules

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent

# Files of more than 400 lines, each with the reason why it should not be split.
LONG_FILES = {}
LINES_MAX = 400

_WITHOUT_LICENCE_LINE = {".md", ".json", ".raw", ".qcow2", ".bin", ""}


def files():
    """The repository's own files, as git knows them, new ones included."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT,
        stdout=subprocess.PIPE, check=True).stdout.decode().split("\0")
    return [ROOT / name for name in sorted(set(listed)) if name and (ROOT / name).is_file()]


def is_seed(path):
    return "seeds" in path.relative_to(ROOT).parts


def texts():
    """(path, text) of every text file of the repository."""
    for path in files():
        if is_seed(path):
            continue
        try:
            yield path, path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def sources():
    return [(path, text) for path, text in texts() if path.suffix in (".cc", ".h")]


def layers():
    """{layer: the layers it may include}, read from CMakeLists.txt."""
    stated = {}
    for match in re.finditer(r"^byre_layer\((\S+)\s*([^)]*)\)", (ROOT / "CMakeLists.txt").read_text(),
                             re.M):
        on = re.search(r"\bON\s+((?:(?!LINKS|FOLDERS)\S+\s*)*)", match.group(2))
        below = on.group(1).split() if on else []
        reach = set(below)
        for layer in below:
            if layer not in stated:
                raise ValueError(f"{match.group(1)} includes {layer}, which is not above it in the list")
            reach |= stated[layer]
        stated[match.group(1)] = reach
    return stated


def layer_of(name, known):
    """The layer that src/<name> belongs to: the longest that is a folder above it."""
    parents = [str(parent) for parent in pathlib.PurePosixPath(name).parents]
    return next((parent for parent in parents if parent in known), None)


def include_direction():
    known = layers()
    found = []
    for path, text in sources():
        place = path.relative_to(ROOT)
        if place.parts[0] not in ("src", "include"):
            continue
        own = layer_of(str(pathlib.PurePosixPath(*place.parts[1:])), known)
        if place.parts[0] == "src" and own is None:
            found.append(f"{place}: its folder is no layer of CMakeLists.txt")
            continue
        for match in re.finditer(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', text, re.M):
            name = match.group(2)
            if name.startswith("byre/"):
                continue
            layer = layer_of(name, known)
            if match.group(1) == "<" and (layer is None or not (ROOT / "src" / name).exists()):
                continue
            if layer is None:
                found.append(f"{place}: includes {name}, which belongs to no layer")
            elif place.parts[0] == "include":
                found.append(f"{place}: a public header includes {name}")
            elif layer != own and layer not in known[own]:
                found.append(f"{place}: {own} reaches up to {layer} for {name}")
    return found


def every_folder_has_a_readme():
    folders = {path.parent for path in files()
               if path.relative_to(ROOT).parts[0] == "src" and path.suffix in (".cc", ".h")}
    return [f"{folder.relative_to(ROOT)}: no README.md" for folder in sorted(folders)
            if not (folder / "README.md").is_file()]


def licence_lines():
    found = []
    for path, text in texts():
        if path.suffix in _WITHOUT_LICENCE_LINE and not text.startswith("#!"):
            continue
        if path.name.startswith("."):
            continue
        first = [line for line in text.splitlines()[:3] if "SPDX-License-Identifier: Apache-2.0" in line]
        if not first:
            found.append(f"{path.relative_to(ROOT)}: no SPDX-License-Identifier in its first lines")
    return found


# Directories of a developer's machine, and hosts that serve packages; they do not belong in the repository.
_MACHINE = re.compile(
    r"(?<![\w./$}-])/(?:work|home/\w+|root|Users/\w+|mnt/\w+)/\w"
    r"|\b(?:pypi\.org|registry\.npmjs|deb\.debian\.org|archive\.ubuntu|proxy\.golang|crates\.io)\b")


def no_machine_paths():
    found = []
    for path, text in texts():
        if path.resolve() == pathlib.Path(__file__).resolve():
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if _MACHINE.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    return found


def nothing_left_for_somebody():
    marks = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b|DISABLED[_]|^#if 0\b", re.M)
    return [f"{path.relative_to(ROOT)}:{text.count(chr(10), 0, match.start()) + 1}: {match.group(0)}"
            for path, text in texts() if path.suffix in (".cc", ".h", ".py", ".cmake", "")
            for match in marks.finditer(text)]


def file_lengths():
    found = []
    for path, text in texts():
        place = str(path.relative_to(ROOT))
        lines = text.count("\n")
        if path.suffix in (".cc", ".h", ".py") and lines > LINES_MAX and place not in LONG_FILES:
            found.append(f"{place}: {lines} lines; cut it by concern, or give LONG_FILES the reason")
    for place in LONG_FILES:
        if not (ROOT / place).is_file() or (ROOT / place).read_text().count("\n") <= LINES_MAX:
            found.append(f"{place}: no longer needs its entry in LONG_FILES")
    return found


def relative_links():
    found = []
    for path, text in texts():
        if path.suffix != ".md":
            continue
        prose = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
        for match in re.finditer(r"\]\(([^)\s]+)\)", prose):
            target = match.group(1)
            if re.match(r"[a-z]+:", target) or target.startswith("#"):
                continue
            if not (path.parent / target.split("#")[0]).exists():
                found.append(f"{path.relative_to(ROOT)}: links to {target}, which is not there")
    return found


def tests_in_documents():
    """The unit tests that documents name, `Suite.Name` or a whole suite, `Suite.*`, must exist."""
    named = {match.groups() for path, text in sources() if "tests/unit" in path.as_posix()
             for match in re.finditer(r"^TEST(?:_[FP])?\(\s*(\w+),\s*(\w+)\)", text, re.M)}
    suites = {suite for suite, _ in named}
    found = []
    for name in ("docs/proofs.md", "docs/format-coverage.md"):
        tests = re.findall(r"`([A-Z]\w+)\.(\w+|\*)`", (ROOT / name).read_text())
        found += [f"{name}: names {suite}.{test}, which is not there" for suite, test in sorted(set(tests))
                  if (suite not in suites if test == "*" else (suite, test) not in named)]
    return found


def code_in_documents():
    """Files, classes and functions that documents name in backticks must exist; a file may be named by the end of its
    path."""
    known = {"/".join(path.relative_to(ROOT).parts[start:]) for path in files()
             for start in range(len(path.relative_to(ROOT).parts))}
    words = {word for path, text in texts() if path.suffix in (".cc", ".h", ".py") for word in re.findall(r"\w+", text)}
    found = []
    for path, text in texts():
        if path.suffix != ".md":
            continue
        for name in sorted(set(re.findall(r"`([^`\n]+)`", text))):
            if re.fullmatch(r"[a-zA-Z][\w./-]*\.(?:h|cc|py|md|cmake)", name):
                is_there = name in known
            elif re.fullmatch(r"(?:\w+::)+\w+(?:\(.*\))?|[A-Z][a-z\d]+(?:[A-Z][a-z\d]*)+(?:\(.*\))?|\w+\(\)", name):
                is_there = words.issuperset(re.findall(r"\w+", name.split("(")[0]))
            else:
                continue
            if not is_there:
                found.append(f"{path.relative_to(ROOT)}: names {name}, which is not there")
    return found


def coroutines():
    found = []
    for path, text in sources():
        found += [f"{path.relative_to(ROOT)}:{line}: {what}"
                  for line, what in coroutine_rules.problems(text)]
    return found


def scanner_of_coroutines():
    return [f"judged wrongly: {source}" for source in coroutine_rules.self_test()]


def unit_tests_are_built():
    """A folder of unit tests that no line of CMakeLists.txt names would never run."""
    listed = re.search(r"set\(BYRE_UNIT_TESTS ([^)]+)\)", (ROOT / "CMakeLists.txt").read_text()).group(1).split()
    base = ROOT / "tests/unit"
    folders = {str(path.parent.relative_to(base)) for path in base.rglob("*_test.cc")}
    return [f"tests/unit/{folder}: not in CMakeLists.txt" for folder in sorted(folders)
            if not any(folder == name or folder.startswith(name + "/") for name in listed)]


# A code of an error or warning (ErrorData::code): its subject, and what is wrong.
_CODE = re.compile(r'"((?:qcow2|raw|blkdebug|codec|compare|convert|create|dd|device|file|format-without|info|job|luks'
                   r'|memory|pipe)-[a-z0-9]+(?:-[a-z0-9]+)*)"')
# QEMU has no such refusal, or prints the same words.
_WITHOUT_QEMUS_WORDS = {
    "blkdebug-injected", "blkdebug-zeroes-too-small", "codec-data-damaged", "codec-data-too-short", "codec-level-wrong",
    "codec-no-memory", "codec-type-unsupported", "convert-backing-file-is-target", "convert-snapshots-and-snapshot",
    "convert-snapshots-of-format", "convert-snapshots-of-several", "convert-snapshots-of-several-sizes",
    "convert-snapshots-refcount-width", "convert-snapshots-to-existing", "convert-snapshots-to-format", "convert-snapshots-too-large",
    "convert-snapshots-unreadable", "convert-snapshots-with-data-file", "job-sources-too-large",
    "job-target-is-source", "device-closed", "device-not-compressible", "device-range-past-end", "device-read-only",
    "file-device-size-unknown", "file-io-backend-unknown", "file-io-uring-unavailable", "file-not-created",
    "file-not-opened", "file-status-unknown", "file-temporary-not-created", "memory-buffer-not-allocated",
    "pipe-failed-before", "pipe-read-back", "pipe-read-failed", "pipe-truncated", "pipe-write-failed",
    "pipe-write-not-sequential", "qcow2-bitmap-count-wrong", "qcow2-bitmap-removed", "qcow2-bitmap-table-entry-refused",
    "qcow2-bitmap-unreadable", "qcow2-compressed-entry-repaired", "qcow2-leaks-kept", "qcow2-offset-past-any-end",
    "qcow2-open-read-only", "qcow2-reference-removed", "qcow2-references-past-end-kept", "qcow2-refcounts-rebuilt",
    "qcow2-repair-needed", "qcow2-snapshot-extra-data-size-repaired", "qcow2-snapshot-leaked", "qcow2-snapshot-unreadable", "qcow2-tables-moved"}


def codes_have_qemus_words():
    """Each code that the sources use has a row in a table of QEMU's texts or needs none; each row is used."""
    rows = {}
    used = {}
    for path, text in sources():
        place = path.relative_to(ROOT)
        if place.parts[0] == "src":
            found = rows if place.match("src/cli/qemu_texts_of_*.cc") else used
            for code in _CODE.findall(text):
                found.setdefault(code, place)
    without = _WITHOUT_QEMUS_WORDS
    problems = [f"{used[code]}: {code} has no row in src/cli/qemu_texts_of_*.cc"
                for code in used.keys() - rows - without]
    problems += [f"{rows[code]}: nothing uses {code}" for code in rows.keys() - used]
    problems += [f"{rows[code]}: {code} is said to need no row" for code in rows.keys() & without]
    problems += [f"tests/system/repository_rules.py: nothing uses {code}" for code in without - used.keys()]
    return sorted(problems)


# Above them, texts may be QEMU's.
_LAYERS_WITH_CODES = {"block", "codec", "filter", "jobs", "qcow2", "storage"}
_MADE_ERROR = re.compile(r"\bError\(\s*(?:ErrorKind::\w+|[\w:.>-]*\bkind(?:_of)?\([\w.]*\)),\s*[\w.>()-]+,\s*"
                         r"([\w:]+(?:\(\w+\))?)|\bfrom_errno\(((?:[^()]|\([^()]*\))*)\)")


def errors_have_codes():
    """Errors of these layers are told apart by their codes, and their messages are byre's own."""
    found = []
    for path, text in sources():
        parts = path.relative_to(ROOT).parts
        if parts[0] != "src" or parts[1] not in _LAYERS_WITH_CODES:
            continue
        for made in _MADE_ERROR.finditer(text):
            data = made.group(1) or made.group(2)
            if "ErrorData" not in data and not data.endswith(("data", "(data)", "(reason)")):
                line = text.count("\n", 0, made.start()) + 1
                found.append(f"{path.relative_to(ROOT)}:{line}: an error without a code")
    return found


def formatted():
    result = subprocess.run([ROOT / "scripts/format", "--check"], stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, check=False)
    if result.returncode == 0:
        return []
    return sorted({line.split(":")[0] + ": scripts/format would change it"
                   for line in result.stdout.splitlines() if ": error:" in line}) or [result.stdout]


RULES = {
    "includes point downwards only": include_direction,
    "every folder of src has a README": every_folder_has_a_readme,
    "every file names its licence": licence_lines,
    "no paths of one machine and no hosts of registries": no_machine_paths,
    "nothing is left for somebody": nothing_left_for_somebody,
    "no file is longer than it may be": file_lengths,
    "links between documents resolve": relative_links,
    "the tests that documents name are there": tests_in_documents,
    "the code that documents name is there": code_in_documents,
    "co_await stands alone and no capturing lambda is a coroutine": coroutines,
    "the scanner of coroutines judges its samples rightly": scanner_of_coroutines,
    "every folder of unit tests is built": unit_tests_are_built,
    "codes of errors have QEMU's words": codes_have_qemus_words,
    "errors below `open` have codes, and jobs' too": errors_have_codes,
    "the sources are formatted": formatted,
}
