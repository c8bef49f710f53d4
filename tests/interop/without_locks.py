#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""without_locks.py ERRNO NAME=PATH ARGUMENT...: runs a program in which every lock of a file fails with that errno, as
on a file system without locks."""
import ctypes
import fcntl
import os
import struct
import sys

_COMMANDS = (fcntl.F_GETLK, fcntl.F_SETLK, fcntl.F_SETLKW, 36, 37, 38)  # F_OFD_GETLK and its neighbours
_FCNTL = {"x86_64": 72, "aarch64": 25}  # the number of the system call

# linux/seccomp.h, linux/bpf_common.h
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _FAIL = 0x7FFF0000, 0x00050000
_SECOND_ARGUMENT = 24
_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 22, 38


def refuse_locks(error):
    def line(code, value, if_true=0, if_false=0):
        return struct.pack("HBBI", code, if_true, if_false, value)

    count = len(_COMMANDS)
    program = [line(_LOAD, 0), line(_JUMP_IF_EQUAL, _FCNTL[os.uname().machine], 0, count + 1),
               line(_LOAD, _SECOND_ARGUMENT)]
    program += [line(_JUMP_IF_EQUAL, command, count - index) for index, command in enumerate(_COMMANDS)]
    program += [line(_RETURN, _ALLOW), line(_RETURN, _FAIL | error)]
    code = ctypes.create_string_buffer(b"".join(program))
    libc = ctypes.CDLL(None, use_errno=True)
    filter_program = struct.pack("HxxxxxxQ", len(program), ctypes.addressof(code))
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(_PR_SET_SECCOMP, 2, filter_program):
        sys.exit("seccomp refuses the filter")


def main():
    refuse_locks(int(sys.argv[1]))
    # PROGRAM is NAME=PATH: the name that it is called by, and the file that is run.
    name, _, path = sys.argv[2].partition("=")
    os.execv(path, [name, *sys.argv[3:]])


if __name__ == "__main__":
    main()
