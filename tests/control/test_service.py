#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""keeld under a service manager: READY, RELOADING, WATCHDOG and STOPPING on $NOTIFY_SOCKET, `keelctl reload`, and native fields for the journal.
The test plays the service manager and the journal on its own sockets, the journal's in a mount namespace. Needs root (else the exit status is
77).

usage: test_service.py KEELD KEELCTL [SHIM]    SHIM: hung_disk.so, not with a sanitizer
"""
import ctypes
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time

INSIDE = "KEEL_SERVICE_NAMESPACE"
JOURNAL = "/run/systemd/journal/socket"
WATCHDOG_S = 4  # set by the service manager

if __name__ == "__main__" and os.geteuid() == 0 and INSIDE not in os.environ:
    # /run/systemd is the test's own.
    os.execvpe("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable] + sys.argv, dict(os.environ, **{INSIDE: "1"}))

import keel_rig  # noqa: E402
from keel_rig import US, WAIT_S, KeelTest  # noqa: E402

KEELCTL = sys.argv.pop(2)
SHIM = sys.argv.pop(2) if len(sys.argv) > 2 and sys.argv[2].endswith(".so") else None
DOCUMENT = {"router": {"asn": 64512, "router_id": US}}


def datagrams(path):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    s.bind(path)
    s.settimeout(WAIT_S)
    return s


def fields(message):
    """The native protocol: NAME=VALUE\\n, or NAME\\n LENGTH VALUE\\n."""
    found = {}
    while message:
        name, rest = message.split(b"\n", 1)
        if b"=" in name:
            name, value = name.split(b"=", 1)
        else:
            length = struct.unpack("<Q", rest[:8])[0]
            value, rest = rest[8:8 + length], rest[9 + length:]
        found.setdefault(name.decode(), []).append(value.decode())
        message = rest
    return found


class Service(KeelTest):
    def setUp(self):
        super().setUp()
        self.notify = os.path.join(self.folder, "notify")
        self.manager = datagrams(self.notify)
        self.addCleanup(self.manager.close)
        self.environment({"NOTIFY_SOCKET": self.notify, "WATCHDOG_USEC": str(WATCHDOG_S * 1000000)})

    def environment(self, more):
        before = dict(os.environ)
        os.environ.update(more)

        def restore():
            os.environ.clear()
            os.environ.update(before)
        self.addCleanup(restore)

    def message(self, timeout=WAIT_S):
        self.manager.settimeout(timeout)
        return self.manager.recv(4096).decode()

    def expect(self, text):
        """Reads messages until one begins with `text`; only watchdog messages are skipped."""
        end = time.monotonic() + WAIT_S
        while time.monotonic() < end:
            m = self.message()
            if m.startswith(text):
                return m
            self.assertEqual(m, "WATCHDOG=1")
        raise AssertionError("no " + text)

    def test_life(self):
        self.start(DOCUMENT)
        self.assertEqual(self.expect("READY"), "READY=1")
        # Ready: a session may come up at once.
        self.assertTrue(keel_rig.in_namespace(self.namespace, lambda: socket.create_connection((US, 179), WAIT_S)).close() is None)
        self.expect("WATCHDOG")
        os.kill(self.keel.call("system.info")["pid"], signal.SIGHUP)
        self.assertRegex(self.expect("RELOADING"), r"^RELOADING=1\nMONOTONIC_USEC=\d+$")
        self.expect("READY")
        self.keel.process.terminate()
        self.expect("STOPPING")

    def test_standard_input_is_closed(self):
        """keeld's socket to the service manager may have the descriptor 0."""
        stdin = os.dup(0)
        os.close(0)
        try:
            self.start(DOCUMENT)
        finally:
            os.dup2(stdin, 0)
            os.close(stdin)
        self.expect("READY")

    if SHIM is not None:
        def test_a_thread_that_is_late_starves_the_watchdog(self):
            """Main waits for a policy file, whose storage does not answer: WATCHDOG=1 stops after half of the interval, and comes again after the turn."""
            policy = os.path.join(self.folder, "in.policy")
            with open(policy, "w") as f:
                f.write("policy in {\n    accept;\n}\n")
            disk = keel_rig.HungDisk(self, SHIM, read="in.policy")
            with disk.environment():
                self.start(dict(DOCUMENT, policy_files=[policy]))
            self.expect("READY")
            disk.hang(True)
            os.kill(self.keel.call("system.info")["pid"], signal.SIGHUP)
            self.expect("RELOADING")
            begun = time.monotonic()
            with self.assertRaises(TimeoutError):
                while time.monotonic() - begun < WAIT_S:
                    self.assertEqual(self.message(WATCHDOG_S), "WATCHDOG=1")
            disk.hang(False)
            self.expect("READY")
            self.expect("WATCHDOG")

    def test_no_watchdog_for_another_process(self):
        self.environment({"WATCHDOG_PID": "1"})
        self.start(DOCUMENT)
        self.expect("READY")
        with self.assertRaises(TimeoutError):
            self.message(WATCHDOG_S)

    def reload(self):
        p = subprocess.run([KEELCTL, "--socket", self.keel.path, "reload"], capture_output=True, text=True, timeout=WAIT_S)
        return p.returncode, p.stdout, p.stderr

    def write(self, text):
        with open(self.keel.file, "w") as f:
            f.write(text)

    def disk(self):
        """A small file system of this test."""
        path = os.path.join(self.folder, "disk")
        os.mkdir(path)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", path], check=True)
        self.addCleanup(subprocess.run, ["umount", "--lazy", path], check=True)
        return path

    def alarms(self):
        return [a["text"] for a in self.keel.call("system.info")["alarms"] if a["kind"] == "disk"]

    def fill(self, disk):
        """Returns the file that takes the rest of the disk."""
        filler = os.path.join(disk, "filler")
        with open(filler, "wb", buffering=0) as f, self.assertRaises(OSError):
            while True:
                f.write(bytes(4096))
        return filler

    def test_confirm_on_a_full_disk(self):
        """A confirmation that a restart would forget is refused, and can be repeated."""
        self.start(DOCUMENT)
        self.keel.stop()
        disk = self.disk()
        self.keel.state = os.path.join(disk, "state")
        self.keel.start()
        self.keel.call("config.edit", {"merge": {"description": "second"}})
        waits = self.keel.call("config.commit", {"confirm_s": 3600})["commit"]
        filler = self.fill(disk)
        refused = self.keel.answer("config.confirm")
        self.assertIn("No space left on device", refused["error"]["data"]["reason"], refused)
        self.assertEqual(self.keel.call("config.history")["confirm"]["commit"], waits)
        self.assertIn("%s/commits/index.json cannot be written: No space left on device" % self.keel.state, self.alarms()[0])
        self.keel.call("config.edit", {"merge": {"description": "third"}})
        refused = self.keel.answer("config.commit", {"confirm_s": 60})
        self.assertIn("cannot be stored until the confirmation: No space left on device", refused["error"]["data"]["reason"], refused)
        self.keel.call("config.discard")
        self.assertNotIn("confirmed", self.keel.call("config.commit"))
        os.remove(filler)
        self.assertEqual(self.keel.call("config.confirm"), {})
        self.keel.kill()
        self.keel.start()
        self.assertEqual(self.keel.call("config.get")["document"]["description"], "second")

    def test_reload_after_a_full_disk(self):
        """A commit that finds the disk full stays in force: a reload writes FILE, unless FILE was edited since."""
        self.start(DOCUMENT)
        self.keel.stop()
        disk = self.disk()
        self.keel.file = shutil.move(self.keel.file, disk)
        self.keel.start()
        filler = self.fill(disk)

        def commit(words):
            self.keel.call("config.edit", {"merge": {"description": words}})
            return self.keel.call("config.commit")["persisted"]

        def words():
            return self.keel.call("config.get")["document"]["description"], self.keel.on_disk().get("description")

        pid = self.keel.call("system.info")["pid"]
        self.assertFalse(commit("second"))
        self.assertEqual(words(), ("second", None))
        self.assertEqual(self.alarms(), ["%s cannot be written: No space left on device" % self.keel.file])
        status, _, err = self.reload()
        self.assertNotEqual(status, 0)
        self.assertIn("No space left on device", err)
        os.kill(pid, signal.SIGHUP)
        self.await_logged("reload-refused reason=commit-not-persisted")
        self.assertEqual(words(), ("second", None))
        os.remove(filler)
        os.kill(pid, signal.SIGHUP)
        self.await_logged("reload-written")
        self.assertEqual(self.alarms(), [])
        self.assertEqual(words(), ("second", "second"))
        # An edit of FILE is committed, also while FILE lacks a commit.
        self.fill(disk)
        self.assertFalse(commit("third"))
        with open(self.keel.file, "r+") as f:  # in place: the block of the file has room
            f.write(json.dumps(dict(DOCUMENT, description="by hand")))
            f.truncate()
        self.assertEqual(self.reload()[0], 0)
        self.assertEqual(words(), ("by hand", "by hand"))
        self.assertFalse(commit("fourth"))
        self.assertNotEqual(self.reload()[0], 0)
        self.assertEqual(words(), ("fourth", "by hand"))
        os.remove(filler)
        self.assertEqual(self.reload()[0], 0)
        self.assertEqual(words(), ("fourth", "fourth"))

    def test_reload(self):
        self.start(DOCUMENT)
        self.assertEqual(self.reload(), (0, "the file has not changed\n", ""))
        changed = dict(DOCUMENT, bgp={"peers": [{"address": "192.0.2.2", "asn": 64513}]})
        self.write(json.dumps(changed))
        status, out, err = self.reload()
        self.assertEqual((status, err), (0, ""))
        self.assertIn("commit 1, revision 2\n", out)
        self.assertEqual(self.keel.call("config.get")["document"], changed)
        self.assertEqual(self.keel.call("config.diff")["diff"], [])
        self.assertEqual(self.keel.call("config.history")["commits"][-1]["comment"], "reload")

    def test_reload_is_refused(self):
        self.start(DOCUMENT)
        for text, expected in (("{", r"keel\.json:1:\d+: "),
                               (json.dumps({"router": {"asn": 64512, "router_id": US, "colour": 1}, "bgp": {"peers": [{"address": "x", "asn": 1}]}}),
                                "router: colour: unknown key")):
            self.write(text)
            status, out, err = self.reload()
            self.assertEqual((status, out), (1, ""))
            self.assertRegex(err, expected)
        self.write(json.dumps(dict(DOCUMENT, bgp={})))
        self.keel.call("config.edit", {"merge": {"bgp": {"peers": [{"address": "192.0.2.2", "asn": 64513}]}}})
        status, _, err = self.reload()
        self.assertEqual(status, 1)
        self.assertIn("the candidate holds edits; commit or discard them first", err)
        self.keel.call("config.commit", {"confirm_s": 600})
        status, _, err = self.reload()
        self.assertEqual(status, 1)
        self.assertIn("a commit waits for its confirmation", err)
        self.keel.call("config.confirm")


class Journal(KeelTest):
    """The journal's socket is at its usual place, in a mount namespace of the test."""

    def setUp(self):
        super().setUp()
        os.makedirs("/run/systemd", exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run/systemd"], check=True)
        self.addCleanup(subprocess.run, ["umount", "/run/systemd"], check=True)
        os.makedirs(os.path.dirname(JOURNAL))
        self.journal = datagrams(JOURNAL)
        self.addCleanup(self.journal.close)

    def start_with(self, stream_of):
        """Starts keeld with $JOURNAL_STREAM set to this file."""
        st = os.stat(stream_of)
        os.environ["JOURNAL_STREAM"] = "%d:%d" % (st.st_dev, st.st_ino)
        self.addCleanup(os.environ.pop, "JOURNAL_STREAM")
        self.start(DOCUMENT)

    def event(self, name):
        while True:
            f = fields(self.journal.recv(65536))
            if f.get("EVENT") == [name]:
                return f

    def test_fields(self):
        self.start_with(self.touch())
        up = self.event("keeld-up")
        self.assertEqual((up["PRIORITY"], up["SYSLOG_IDENTIFIER"], up["ASN"], up["DATAPLANE"]), (["6"], ["keeld"], ["64512"], ["no"]))
        self.assertRegex(up["MESSAGE"][0], r"^keeld-up version=\S+ asn=64512 socket=\S+ dataplane=no$")
        self.write_bad(1)
        os.kill(self.keel.call("system.info")["pid"], signal.SIGHUP)
        refused = self.event("reload-refused")
        self.assertEqual(refused["PRIORITY"], ["3"])
        self.assertEqual(refused["PATH"], ['/0"\\\n'])  # raw, without the escapes of a line
        self.assertEqual(self.keel.log_text(), "")

    def touch(self):
        path = os.path.join(self.folder, "log")
        with open(path, "w"):
            pass
        return path

    def write_bad(self, count):
        with open(self.keel.file, "w") as f:
            json.dump({**DOCUMENT, **{'%d"\\\n' % i: 1 for i in range(count)}}, f)

    def test_another_stream(self):
        """stderr is not the journal's stream: lines go to stderr."""
        self.start_with("/")
        self.await_logged("keeld-up")
        self.journal.settimeout(0)
        with self.assertRaises(BlockingIOError):
            self.journal.recv(1)

    def test_without_a_journal(self):
        """The journal is gone: lines go to stderr."""
        self.journal.close()
        self.start_with(self.touch())
        self.await_logged("keeld-up")

    def test_a_full_journal_holds_nobody_up(self):
        """The journal reads no message: keeld answers, and later the lines arrive, or a notice of the number of lost lines."""
        self.start_with(self.touch())
        self.event("keeld-up")
        self.write_bad(400)
        for _ in range(6):  # more than the journal's queue and the ring hold
            os.kill(self.keel.call("system.info")["pid"], signal.SIGHUP)
            self.keel.call("system.info")
        self.assertGreater(int(self.event("log-lost")["LINES"][0]), 0)


if __name__ == "__main__":
    keel_rig.main()
