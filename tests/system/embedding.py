# SPDX-License-Identifier: Apache-2.0
"""A project that uses byre with add_subdirectory() can be configured."""
import pathlib
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent

PROJECT = """
cmake_minimum_required(VERSION 3.25)
project(app LANGUAGES C CXX)
add_subdirectory("{root}" byre)
add_executable(app app.cc)
target_link_libraries(app byre_open)
"""
SOURCE = '#include "open/open.h"\nint main() {}\n'


def problem():
    """The output of CMake if it fails, else None. Nothing is built."""
    with tempfile.TemporaryDirectory(prefix="byre-embedding-") as directory:
        project = pathlib.Path(directory)
        (project / "CMakeLists.txt").write_text(PROJECT.format(root=ROOT))
        (project / "app.cc").write_text(SOURCE)
        command = ["cmake", "-G", "Ninja", "-S", project, "-B", project / "build",
                   "-DCMAKE_C_COMPILER=clang-19", "-DCMAKE_CXX_COMPILER=clang++-19"]
        result = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                text=True, timeout=300, check=False)
        if result.returncode != 0:
            return result.stdout
        if " unit_base " in (project / "build/build.ninja").read_text():
            return "byre's unit tests are part of the project"
    return None
