#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The rules of the repository and the README's examples. Ends with 'system: N passed, N failed, N skipped'."""
import argparse
import pathlib
import sys

import embedding
import readme_examples
import repository_rules

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", type=pathlib.Path, default=ROOT / "build/release/bin",
                        help="the folder that has byre (default: build/release/bin)")
    parser.add_argument("--rules-only", action="store_true", help="leave out what needs a build")
    arguments = parser.parse_args()

    passed = 0
    failed = 0
    skipped = 0

    def judge(name, problem):
        nonlocal passed, failed
        if problem:
            failed += 1
            print(f"FAIL {name}\n{problem}")
        else:
            passed += 1

    for name, rule in repository_rules.RULES.items():
        judge(name, "\n".join(f"     {line}" for line in rule()))
    if arguments.rules_only:
        skipped += 1
        print("SKIP README's examples, and a project that uses byre: --rules-only")
    else:
        judge("a project that uses byre with add_subdirectory()", embedding.problem())
        for name, problem in readme_examples.run_all(arguments.programs.resolve()):
            judge(name, problem)
    print(f"system: {passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
