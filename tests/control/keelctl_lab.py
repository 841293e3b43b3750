#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Shared by the tests of keelctl: one-shot runs, with or without a terminal; the shell in a separate terminal; two daemons that peer with each
other, each in a network namespace.
"""
import ctypes
import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
import unittest

KEELCTL, KEELD = sys.argv[1], sys.argv[2]
LIBC = ctypes.CDLL(None, use_errno=True)
PAUSE = threading.Event()  # never set


def keelctl(*words, sock="/nonexistent/keel.sock", env=None, stdin=None):
    """(exit status, stdout, stderr)"""
    e = {k: v for k, v in os.environ.items() if k not in ("KEEL_SOCKET", "NO_COLOR")}
    e.update({"TERM": "xterm"}, **(env or {}))
    p = subprocess.run([KEELCTL] + (["--socket", sock] if sock else []) + list(words), capture_output=True, text=True,
                       env=e, input=stdin, timeout=300)
    return p.returncode, p.stdout, p.stderr


def on_terminal(*words, sock, env=None, columns=80):
    """Exit status, and the output on a terminal."""
    e = {k: v for k, v in os.environ.items() if k != "NO_COLOR"}
    e.update({"TERM": "xterm"}, **(env or {}))
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 0, columns, 0, 0))
    p = subprocess.Popen([KEELCTL, "--socket", sock] + list(words), stdout=theirs, stderr=theirs, env=e)
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # EIO: the last writer has closed
            break
        if not part:
            break
        shown += part
    os.close(ours)
    return p.wait(60), shown.decode()


def lab_possible():
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    name = "keelctl-try%d" % os.getpid()
    if subprocess.run(["ip", "netns", "add", name], capture_output=True).returncode != 0:
        return False
    subprocess.run(["ip", "netns", "del", name], check=True)
    return True


class Shell:
    """keelctl in a separate terminal, wide enough for unbroken lines. Types only after the prompt."""
    PROMPT = r"(?:^|\n)(<keel>|\[[~*]keel[^\]\n]*\]) $"
    ESCAPE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|\r")

    def __init__(self, sock, home, columns=400, host=b"keel", name=None):
        known = os.path.join(home, "suppressions")
        with open(known, "w") as f:
            f.write("leak:wcsdup\n")  # libedit's el_end() leaks the names of added functions
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            env = dict(os.environ, HOME=home, TERM="xterm", LSAN_OPTIONS="print_suppressions=0:suppressions=" + known)
            env.pop("NO_COLOR", None)
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
            if LIBC.unshare(0x04000000) != 0 or LIBC.sethostname(host, len(host)) != 0:  # CLONE_NEWUTS: the prompt has the name of the host
                os._exit(126)
            os.execve(KEELCTL, [KEELCTL, "--socket", sock], env)
        self.raw, self.status = "", None
        self.start = self.until(self.PROMPT.replace("keel", re.escape(name or host.decode())))

    def until(self, pattern, timeout=300):
        """The output until `pattern` matches at its end, without escape sequences."""
        end = time.monotonic() + timeout
        shown = ""
        while not re.search(pattern, shown):
            if not select.select([self.fd], [], [], max(0, end - time.monotonic()))[0]:
                raise AssertionError("no %s within %d s, but %r" % (pattern, timeout, shown))
            try:
                part = os.read(self.fd, 65536)
            except OSError:
                part = b""
            if not part:
                raise AssertionError("the shell has ended; it said %r" % shown)
            self.raw += part.decode(errors="replace")
            shown = self.ESCAPE.sub("", self.raw)
        self.raw = ""
        return shown

    def type(self, keys):
        os.write(self.fd, keys.encode())

    def keys(self, keys, pattern):
        self.type(keys)
        return self.until(pattern)

    def line(self, text, pattern=PROMPT):
        """(output of the command, the next prompt)"""
        shown = self.keys(text + "\n", r"\n(?:[^\0]*\n)?" + pattern.replace(r"(?:^|\n)", "", 1))
        said = shown.partition("\n")[2]
        body, _, prompt = said.rpartition("\n")
        return body, prompt.strip()

    def end(self, keys="\x15\x04"):
        """The exit status; -9 if the typed keys did not end the shell."""
        if self.status is None:
            self.type(keys)
            while select.select([self.fd], [], [], 60)[0]:
                try:
                    if not os.read(self.fd, 65536):
                        break
                except OSError:
                    break
            else:
                os.kill(self.pid, signal.SIGKILL)
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            os.close(self.fd)
        return self.status


class Pair(unittest.TestCase):
    """Two daemons, 64512 and 64513. documents() returns their configurations, complete() checks readiness."""
    ADDRESSES = ("192.0.2.1", "192.0.2.2")

    @classmethod
    def setUpClass(cls):
        if not lab_possible():
            raise unittest.SkipTest("namespaces need root and iproute2")
        cls.dir = tempfile.mkdtemp(prefix="keelctl-")
        cls.names = ["keelctl-%s%d" % (x, os.getpid()) for x in "ab"]
        cls.daemons, cls.sockets = [None, None], [os.path.join(cls.dir, x + ".sock") for x in "ab"]
        cls.addClassCleanup(cls.tear_down)
        for n in cls.names:
            subprocess.run(["ip", "netns", "add", n], check=True)
        subprocess.run(["ip", "link", "add", "kc", "netns", cls.names[0], "type", "veth", "peer", "name", "kc", "netns",
                        cls.names[1]], check=True)
        for i, n in enumerate(cls.names):
            for words in ("addr add %s/24 dev kc" % cls.ADDRESSES[i], "addr add 2001:db8::%d/64 dev kc nodad" % (i + 1),
                          "link set kc up", "link set lo up"):
                subprocess.run(["ip", "-n", n] + words.split(), check=True)
            with open(os.path.join(cls.dir, "ab"[i] + ".json"), "w") as f:
                json.dump(cls.documents()[i], f)
            cls.start(i)
        cls.wait("the routes of the other side", cls.complete)

    @classmethod
    def start(cls, i):
        with open(os.path.join(cls.dir, "ab"[i] + ".log"), "a") as log:
            cls.daemons[i] = subprocess.Popen(
                ["ip", "netns", "exec", cls.names[i], KEELD, "-c", os.path.join(cls.dir, "ab"[i] + ".json"), "--no-dataplane", "--socket",
                 cls.sockets[i], "--state-dir", os.path.join(cls.dir, "state-" + "ab"[i])], stdout=log, stderr=subprocess.STDOUT)

    @classmethod
    def stop(cls, i):
        p, cls.daemons[i] = cls.daemons[i], None
        if p is None:
            return
        p.terminate()
        try:
            p.wait(60)
        except subprocess.TimeoutExpired:
            p.kill()
            p.wait()

    @classmethod
    def tear_down(cls):
        for i in range(2):
            cls.stop(i)
        for n in cls.names:
            subprocess.run(["ip", "netns", "del", n], capture_output=True)
        shutil.rmtree(cls.dir)

    @classmethod
    def wait(cls, what, good):
        end = time.monotonic() + 60
        while not good():
            if time.monotonic() > end:
                logs = [open(os.path.join(cls.dir, x + ".log")).read()[-3000:] for x in "ab"]
                raise AssertionError("no %s within 60 s\n%s" % (what, "\n--\n".join(logs)))
            PAUSE.wait(0.1)

    @classmethod
    def ctl(cls, line, side=0, **options):
        return keelctl(*(line.split() if isinstance(line, str) else line), sock=cls.sockets[side], **options)

    @classmethod
    def peers(cls, side=0):
        status, out, _ = cls.ctl("--json show bgp summary", side)
        return {p["address"]: p for p in json.loads(out)["peers"]} if status == 0 else {}

    def good(self, line, side=0):
        status, out, err = self.ctl(line, side)
        self.assertEqual((status, err), (0, ""), line)
        return out

    def narrow(self, line, side=0):
        """The output on a terminal of 80 columns, without progress lines."""
        status, out = on_terminal(*(line.split() if isinstance(line, str) else line), sock=self.sockets[side], env={"NO_COLOR": "1"})
        out = re.sub(r"[^\n]*\r\x1b\[K", "", out).replace("\r\n", "\n")
        self.assertEqual(status, 0, out)
        self.assertLessEqual(max(map(len, out.splitlines())), 80, out)
        return out


def run_tests():
    result = unittest.main(module="__main__", argv=sys.argv[:1] + sys.argv[3:], exit=False, verbosity=2).result
    sys.exit(1 if not result.wasSuccessful() else 77 if result.skipped else 0)
