# SPDX-License-Identifier: Apache-2.0
"""The cost of a program run: measured_run.cc runs it."""
import dataclasses
import subprocess


@dataclasses.dataclass
class Run:
    wall: float  # seconds
    cpu: float   # seconds, user and system
    peak: int    # bytes of memory
    output: str


class Runner:
    def __init__(self, program, folder):
        self._program = program
        self._report = folder / "report"
        self._output = folder / "output"

    def run(self, command, times=1):
        """Runs it this many times in sequence, and returns the means. Raises RuntimeError if a run fails."""
        command = [str(argument) for argument in command]
        subprocess.run([self._program, self._report, self._output, str(times), *command], check=True)
        code, wall, user, system, peak = map(int, self._report.read_text().split())
        if code != 0:
            raise RuntimeError(f"{' '.join(command)} ended with {code}")
        return Run(wall / 1e9, (user + system) / 1e6, peak * 1024, self._output.read_text())
