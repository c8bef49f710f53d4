# SPDX-License-Identifier: Apache-2.0
"""byre is killed in the middle of a command, at a random moment; then one of the programs runs the same command."""
import random

import images
from commands import go_on, look
from programs import Failed, same


def run(command, source, folder, programs, times, seed):
    """Returns (times it was killed, of them with leaks, seconds that the whole command takes)."""
    byre, _ = programs
    seconds = []
    for _ in range(3):
        images.copy(source, folder, *command.files)
        seconds.append(byre.run(*command.arguments, folder=folder).seconds)
    whole = min(seconds)
    same(programs, source / command.after, "raw", command.image, folder)
    choice = random.Random(seed)
    killed = leaks = 0
    for number in range(times):
        images.copy(source, folder, *command.files)
        after = choice.uniform(0, whole)
        was_killed = byre.run_and_kill(*command.arguments, folder=folder, after=after)
        killed += was_killed
        try:
            leaks += look(command, source, folder, programs, not was_killed)
            go_on(command, source, folder, programs, number)
        except Failed as failure:
            raise Failed(f"{command.name}, killed after {after:.3f} of {whole:.3f} s, try {number}:\n{failure}") from failure
    return killed, leaks, whole
