#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Makes a process execute a system call, as an exploit would: the thread that waits in a system call is stopped by ptrace(2), and continues at its `syscall` instruction with
another number. Only for x86_64."""
import ctypes
import os

ATTACH, GETREGS, SETREGS, CONT, WALL = 16, 12, 13, 7, 0x40000000
NAMES = "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss fs_base gs_base ds es fs gs".split()


class Registers(ctypes.Structure):
    _fields_ = [(n, ctypes.c_ulonglong) for n in NAMES]


def available():
    return os.uname().machine == "x86_64"


def inject(pid, number):
    """The main thread of `pid` executes the system call `number` with zeros as arguments, and continues."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]

    def ptrace(request, data=None):
        if libc.ptrace(request, pid, None, data) != 0:
            raise OSError(ctypes.get_errno(), "ptrace %d of %d" % (request, pid))

    ptrace(ATTACH)
    os.waitpid(pid, WALL)
    r = Registers()
    ptrace(GETREGS, ctypes.byref(r))
    if ctypes.c_longlong(r.orig_rax).value < 0:
        raise RuntimeError("the thread is not in a system call")
    r.rip -= 2  # back to the instruction `syscall`
    r.rax, r.orig_rax = number, (1 << 64) - 1
    r.rdi = r.rsi = r.rdx = r.r10 = 0
    ptrace(SETREGS, ctypes.byref(r))
    ptrace(CONT)
