#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""The key `mrt` against a real keeld: dumps equal rib.routes; files of messages hold exactly the messages of the speaker in order, over rotations; a
full disk costs counted records and no session; commits open and close files. bgpdump and mrtparse read the files. Needs root, bgpdump and
python3-mrtparse: else the exit status is 77.

usage: test_mrt_files.py KEELD [Files.TEST...]
"""
import glob
import json
import os
import shutil
import struct
import subprocess
import sys
import time

import keel_rig
from keel_rig import KEEPALIVE, NOTIFICATION, THEM, UPDATE, US, V4, V6, KeelTest, Late, Speaker, nlri, unhurried, update_of

sys.path.insert(1, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
from lab import at_rest  # noqa: E402

try:
    import mrtparse
except ImportError:
    mrtparse = None

OTHER, ASN, OTHER_ASN = "192.0.2.3", 64513, 64514
ROUTES = int(os.environ.get("ROUTES", 2000))
BGP4MP, MESSAGE, MESSAGE_AS4, STATE = 16, 1, 4, 5
IDLE, ESTABLISHED = 1, 6


def records(data):
    """[(time, type, subtype, body)] of a file, whole records alone."""
    found, at = [], 0
    while at < len(data):
        seconds, kind, subtype, length = struct.unpack(">IHHI", data[at:at + 12])
        assert at + 12 + length <= len(data), "a part of a record at the end"
        found.append((seconds, kind, subtype, data[at + 12:at + 12 + length]))
        at += 12 + length
    return found


def read(path):
    with open(path, "rb") as f:
        return f.read()


class Recorder(Speaker):
    """Notes all sent messages."""

    def __init__(self, *args, **keys):
        self.sent = []
        super().__init__(*args, **keys)

    def send(self, kind, body=b""):
        with self.lock:
            message = b"\xff" * 16 + struct.pack(">HB", 19 + len(body), kind) + body
            self.sock.sendall(message)
            self.sent.append(message)


class Files(KeelTest):
    def setUp(self):
        super().setUp()
        self.disk = self.small_disk("256k")
        self.table, self.updates = (os.path.join(self.folder, n) for n in ("table.%Y%m%d.%H%M%S", "updates.%s"))

    def begin(self, *entries, **keys):
        family = {"import_policy": "accept-all", "export_policy": "accept-all"}
        self.start({"router": {"asn": 64512, "router_id": US}, "mrt": list(entries),
                    "management": {"output_dir": os.path.dirname(entries[0]["file"]) if entries else self.folder},
                    "bgp": {"next_hop_tracking": False, "networks": [{"prefix": "198.51.100.0/24"}],
                            "peers": [dict({"address": a, "asn": asn, "passive": True, "families": {V4: family, V6: family}}, **keys)
                                      for a, asn in ((THEM, ASN), (OTHER, OTHER_ASN))]}})

    def record(self, address=THEM, asn=ASN):
        """A speaker with an established session, whose octets are noted."""
        s = None
        end = time.monotonic() + keel_rig.WAIT_S
        while s is None or not s.established():
            assert time.monotonic() < end, self.keel.logged()
            if s is not None:
                s.close()
            s = Recorder(self.namespace, address=address, asn=asn)
            self.addCleanup(s.close)
        self.wait("the end of what it begins with", lambda: self.begun(s), s.changed)
        return s

    def entry(self, number=0):
        return self.keel.call("mrt.summary")["files"][number]

    def alarms(self):
        return {a["kind"]: a["text"] for a in self.keel.call("system.info")["alarms"]}

    def open_files(self):
        """The files of the test that keeld has open."""
        folder = "/proc/%d/fd" % self.keel.process.pid
        found = set()
        for fd in os.listdir(folder):
            try:
                found.add(os.readlink(os.path.join(folder, fd)))
            except FileNotFoundError:
                pass
        return {f for f in found if os.path.dirname(f) in (self.folder, self.disk) and os.path.basename(f) != "log"}

    def announce(self, speaker, first, count):
        for i in range(first, first + count):
            speaker.send(UPDATE, update_of(V4, speaker.address, (speaker.asn, 4200000000, 65000 + i % 7), bytes([24, 20, i >> 8, i & 255])))

    def received(self, speaker):
        p = [p for p in self.keel.call("bgp.peers")["peers"] if p["address"] == speaker.address][0]
        return p["messages_received"]

    # ---- kind "table" ----

    def routes(self):
        found = set()
        for family in (V4, V6):
            params = {"family": family, "view": "loc", "limit": 10000}
            while True:
                page = self.keel.call("rib.routes", params)
                for r in page["routes"]:
                    found.add((r["prefix"], r["peer"] or "0.0.0.0", r.get("as_path", ""), r["origin"].upper()))
                if "next" not in page:
                    break
                params["cursor"] = page["next"]
        return found

    def bgpdump(self, path):
        out = subprocess.run(["bgpdump", "-m", path], capture_output=True, text=True, check=True, timeout=keel_rig.WAIT_S)
        self.assertNotIn("error", out.stderr.lower())
        return [line.split("|") for line in out.stdout.splitlines()]

    def mrtparse(self, path):
        found = []
        for r in mrtparse.Reader(path):
            self.assertIsNone(r.mrt.err, r.mrt.err_msg)
            found.append((r.mrt.type, r.mrt.subtype))
        return found

    def dumped(self):
        """The complete dumps, oldest first."""
        return sorted(f for f in glob.glob(os.path.dirname(self.table) + "/table.*") if not f.endswith(".tmp"))

    @unhurried
    def test_dumps_equal_the_tables(self):
        # not in self.folder: fsync at the end of a dump may last longer than the interval
        subprocess.run(["mount", "-o", "remount,size=64m", self.disk], check=True)
        self.table = os.path.join(self.disk, os.path.basename(self.table))
        self.begin({"file": self.table, "kind": "table", "interval_s": 1})
        one, two = self.record(), self.record(OTHER, OTHER_ASN)
        self.announce(one, 0, ROUTES)
        self.announce(two, 0, 10)
        one.send(UPDATE, update_of(V6, "2001:db8::9", (ASN, 7), bytes([32, 0x20, 1, 0x0d, 0xb9])))
        self.wait("the routes", lambda: len(self.routes()) == ROUTES + 12)
        settled = self.entry()["files"]
        self.wait("two dumps of all routes", lambda: self.entry()["files"] >= settled + 2)
        e = self.entry()
        self.assertNotIn("error", e)
        if e["skipped"]:
            raise Late("a dump that lasted over 1 s")
        self.assertEqual((e["drops"], e["skipped"]), (0, 0))
        self.assertLess(abs(time.time() - e["written"]), 60)
        found = self.bgpdump(self.dumped()[-1])
        self.assertEqual({(w[5], w[3], w[6], w[7]) for w in found}, self.routes())
        self.assertEqual(len(found), ROUTES + 12)
        kinds = [subtype for _, subtype in self.mrtparse(e["path"])]
        self.assertEqual((kinds[0], kinds.count(2), kinds.count(4)), (1, ROUTES + 1, 1))
        names = [time.strptime(os.path.basename(f), "table.%Y%m%d.%H%M%S") for f in self.dumped()]
        self.assertEqual(len(names), len(set(names)))
        self.keel.stop()
        self.assertEqual(glob.glob(self.disk + "/*.tmp"), [])
        self.keel.start()

    # ---- kind "updates" ----

    def peer_records(self, data, speaker):
        """(messages, [(old state, new state)]) of the speaker in octets of files."""
        messages, states = [], []
        for seconds, kind, subtype, body in records(data):
            self.assertEqual((kind, subtype in (MESSAGE_AS4, STATE)), (BGP4MP, True))
            asn, own, interface, afi = struct.unpack(">IIHH", body[:12])
            self.assertEqual((own, interface, afi), (64512, 0, 1))
            if body[12:16] != bytes(int(w) for w in speaker.address.split(".")):
                continue
            self.assertEqual(asn, speaker.asn)
            if subtype == MESSAGE_AS4:
                self.assertEqual(body[16:20], bytes([192, 0, 2, 1]))
                messages.append(body[20:])
            else:
                states.append(struct.unpack(">HH", body[20:]))
        return messages, states

    def written(self):
        """The files of messages, oldest first."""
        return sorted(glob.glob(self.folder + "/updates.*"), key=lambda f: int(f.rsplit(".", 1)[1]))

    def test_updates_are_the_messages_in_order(self):
        self.begin({"file": self.updates, "kind": "updates", "interval_s": 1})
        one, two = self.record(), self.record(OTHER, OTHER_ASN)
        for i in range(4):  # over rotations
            rotated = self.entry()["files"]
            self.announce(one, i * ROUTES, ROUTES)
            self.announce(two, i * 10, 10)
            self.wait("the next file", lambda: self.entry()["files"] > rotated)
        one.send(UPDATE, update_of(V6, "2001:db8::9", (ASN, 7), bytes([32, 0x20, 1, 0x0d, 0xb9])))
        one.send(NOTIFICATION, bytes([6, 2]))
        self.wait("the end of the session", lambda: self.keel.peer()["state"] != "established")
        self.assertEqual((self.entry()["drops"], "error" in self.entry()), (0, False))
        self.keel.stop()
        files = self.written()
        self.assertGreaterEqual(len(files), 4)
        data = b"".join(map(read, files))
        for speaker in (one, two):
            messages, states = self.peer_records(data, speaker)
            self.assertEqual(messages[:len(speaker.sent)], speaker.sent)
            self.assertEqual(len(messages), len(speaker.sent))
            self.assertEqual([s[0] for s in states[1:]], [s[1] for s in states[:-1]])  # each state follows from the state before
            up = [s[1] for s in states].index(ESTABLISHED)
            self.assertEqual((states[0][0], IDLE in [s[1] for s in states[up:]]), (IDLE, True))
        for f in files:
            begin = int(f.rsplit(".", 1)[1])
            self.assertEqual({r[0] for r in records(read(f))} - {begin}, set(), f)
        # other programs
        announced = [w for f in files for w in self.bgpdump(f) if w[2] == "A" and w[3] == THEM]
        self.assertEqual([w[5] for w in announced[:-1]], ["20.%d.%d.0/24" % (i >> 8, i & 255) for i in range(4 * ROUTES)])
        self.assertEqual((announced[0][6], announced[-1][5]), ("64513 4200000000 65000", "2001:db9::/32"))
        parsed = [r for f in files for r in self.mrtparse(f)]
        self.assertEqual(parsed.count((BGP4MP, MESSAGE_AS4)), len(one.sent) + len(two.sent))
        self.assertEqual(parsed, [r[1:3] for r in records(data)])
        self.keel.start()

    def test_two_octet_sessions(self):
        """The subtype of an UPDATE tells the size of its AS numbers."""
        self.begin({"file": self.updates, "kind": "updates", "interval_s": 604800}, capabilities={"four_octet_as": False})
        one = self.record()
        path = b"\x40\1\1\0\x40\2\6\2\2" + struct.pack(">HH", ASN, 23456) + b"\x40\3\4\xc0\0\2\2"
        one.send(UPDATE, struct.pack(">HH", 0, len(path)) + path + nlri(V4, "20.0.0.0"))
        self.wait("the route", lambda: len(self.routes()) == 2)
        self.keel.stop()
        found = [r for r in records(read(self.written()[0])) if r[2] == MESSAGE]
        self.assertEqual([r[3][:8] for r in found], [struct.pack(">HHHH", ASN, 64512, 0, 1)])
        self.assertEqual(found[0][3][16:], one.sent[-1])
        self.assertEqual([w[6] for w in self.bgpdump(self.written()[0]) if w[2] == "A"], ["64513 23456"])
        self.keel.start()

    def test_a_restart_continues_the_file(self):
        file = os.path.join(self.folder, "updates.0")
        self.begin({"file": file, "kind": "updates", "interval_s": 604800})
        one = self.record()
        self.announce(one, 0, 5)
        self.wait("the routes", lambda: len(self.routes()) == 6)
        self.keel.stop()
        before = read(file)
        self.assertEqual(self.peer_records(before, one)[0], one.sent)
        self.keel.start()
        again = self.record()
        self.announce(again, 0, 5)
        self.wait("the routes", lambda: len(self.routes()) == 6)
        self.keel.stop()
        data = read(file)
        self.assertEqual(data[:len(before)], before)
        self.assertEqual(self.peer_records(data, one)[0], one.sent + again.sent)
        self.keel.start()

    # ---- faults of the disk ----

    def test_a_full_disk(self):
        file, table = self.disk + "/updates", self.disk + "/table"
        self.begin({"file": file, "kind": "updates", "interval_s": 604800}, {"file": table, "kind": "table", "interval_s": 1})
        filler = self.disk + "/filler"
        self.wait("a first dump", lambda: self.entry(1)["files"] > 0)
        first = read(table)
        one = self.record()
        with open(filler, "wb", buffering=0) as f, self.assertRaises(OSError):
            while True:
                f.write(bytes(4096))
        sent = 0
        while self.entry()["drops"] == 0:  # the last page of the file has room for some records
            self.announce(one, sent % 500, 100)  # few routes: later the disk has room for a dump
            sent += 100
            self.assertLess(sent, 1000000)

        def counted():
            e = self.entry()
            return e["records"] + e["drops"]
        self.wait("all that was sent", lambda: self.received(one) == len(one.sent))
        at_rest(counted)
        for _ in range(1000):  # a batch behind the lost records may fit, and ends the error: the shortest messages, one by one, fill the page
            before = counted()
            one.send(KEEPALIVE)
            self.wait("the record", lambda: counted() > before)
            if "error" in self.entry():
                break
        self.wait("the dumps fail", lambda: "error" in self.entry(1))
        self.wait("the alarm", lambda: "mrt" in self.alarms())
        self.assertRegex(self.alarms()["mrt"], r"(updates|table): No space left on device; and 1 more file$|updates: No space left on device")
        self.assertEqual(self.entry()["error"], "No space left on device")
        self.wait("no part of a dump", lambda: not glob.glob(self.disk + "/*.tmp"))
        os.unlink(filler)
        self.announce(one, 0, 3)
        self.wait("records again", lambda: "error" not in self.entry())
        self.wait("dumps again", lambda: "error" not in self.entry(1))
        self.assertNotEqual(read(table), first)
        self.assertIn("mrt", self.alarms())  # about the lost records
        self.wait("all routes", lambda: self.received(one) == len(one.sent))
        p = self.keel.peer()
        self.assertEqual((p["state"], p["established_count"]), ("established", 1))
        self.wait("all records", lambda: self.entry()["records"] + self.entry()["drops"] >= len(one.sent))
        self.keel.stop()
        data = read(file)
        messages, states = self.peer_records(data, one)
        self.assertEqual(messages[-3:], one.sent[-3:])
        place = 0
        for m in messages:  # a part of what was sent, in order
            place = one.sent.index(m, place) + 1
        self.keel.start()

    # ---- commits ----

    def test_commits_open_and_close_files(self):
        self.begin()
        one = self.record()
        self.assertEqual(self.keel.call("mrt.summary"), {"files": []})
        file, other = os.path.join(self.folder, "updates.1"), os.path.join(self.folder, "updates.2")
        long = {"file": file, "kind": "updates", "interval_s": 604800}
        table = {"file": self.table, "kind": "table", "interval_s": 604800}
        self.keel.commit({"mrt": [long, table]})
        self.wait("the file", lambda: self.open_files() == {file})
        self.announce(one, 0, 10)
        self.wait("the records", lambda: self.entry()["records"] >= 10 and len(self.routes()) == 11)  # a KEEPALIVE is a record, too
        # a change keeps the open file and the figures
        self.keel.commit({"mrt": [dict(long, interval_s=302400), dict(table, interval_s=1), {"file": other, "kind": "updates", "interval_s": 604800}]})
        self.with_files = max(c["id"] for c in self.keel.call("config.history")["commits"])
        self.assertGreaterEqual(self.entry()["records"], 10)
        self.wait("both files", lambda: self.open_files() >= {file, other})
        self.wait("a dump", lambda: self.entry(1)["files"] > 0)
        self.announce(one, 10, 10)
        self.wait("the records of both", lambda: self.entry(2)["records"] >= 10 and len(self.routes()) == 21)
        # removed: closed, with all records until then
        self.keel.commit({"mrt": []})
        self.assertEqual(self.keel.call("mrt.summary"), {"files": []})
        self.wait("closed files", lambda: self.open_files() == set())
        self.wait("the ends of the threads", lambda: "keel-file" not in self.threads())
        self.assertEqual([m for m in self.peer_records(read(file), one)[0] if m[18] == UPDATE], [m for m in one.sent if m[18] == UPDATE][-20:])
        self.assertEqual(len([m for m in self.peer_records(read(other), one)[0] if m[18] == UPDATE]), 10)
        size = os.stat(file).st_size
        self.announce(one, 20, 10)
        self.wait("the routes", lambda: len(self.routes()) == 31)
        self.assertEqual(os.stat(file).st_size, size)
        # rollback
        self.keel.call("config.rollback", {"to": self.with_files})
        self.wait("both files", lambda: self.open_files() >= {file, other})
        self.announce(one, 30, 1)
        self.wait("the record", lambda: self.entry()["records"] >= 1 and self.peer_records(read(file), one)[0][-1] == one.sent[-1])
        self.assertEqual([(e["file"], e["kind"], e["interval_s"]) for e in self.keel.call("mrt.summary")["files"]],
                         [(file, "updates", 302400), (self.table, "table", 1), (other, "updates", 604800)])
        self.assertEqual(self.keel.peer()["established_count"], 1)

    def threads(self):
        folder = "/proc/%d/task" % self.keel.process.pid
        found = []
        for t in os.listdir(folder):
            try:
                found.append(read(os.path.join(folder, t, "comm")).decode().strip())
            except (FileNotFoundError, ProcessLookupError):
                pass  # the thread has ended
        return found

    def test_faults_of_the_document(self):
        good = {"file": self.updates, "kind": "updates", "interval_s": 60}
        self.begin()
        outside = "is not in the output directory (management.output_dir): give a name without a folder"
        for entries, path, reason in (
                ([dict(good, kind="rib")], "/mrt/0/kind", '"rib" is not one of table, updates'),
                ([dict(good, interval_s=0)], "/mrt/0/interval_s", "0 is not an integer from 1 to 604800"),
                ([{"file": self.updates, "kind": "table"}], "/mrt/0/interval_s", "is missing"),
                ([good, dict(good, kind="table")], "/mrt/1/file", "equals the file of entry 0"),
                ([good, dict(good, file=os.path.basename(self.updates))], "/mrt/1/file", "equals the file of entry 0"),
                ([dict(good, file="/tmp/")], "/mrt/0/file", "names a folder; a file name must follow"),
                ([dict(good, file="/tmp/%Y/a")], "/mrt/0/file", "has a conversion (%) in the folder; only the name after the last / may have conversions"),
                ([dict(good, file="/tmp/a.%Q")], "/mrt/0/file", "has an unknown conversion %Q; known are %Y %m %d %H %M %S %s %j %y %F %T %R %%"),
                ([dict(good, file="/no/such/folder/a")], "/mrt/0/file", outside),
                ([dict(good, file=self.keel.state + "/audit.log")], "/mrt/0/file", outside),
                ([dict(good, file="../keel.json")], "/mrt/0/file", outside),
                ([dict(good, file="%s/f%d" % (self.folder, i)) for i in range(9)], "/mrt/8", "more than 8 files")):
            self.keel.call("config.edit", {"merge": {"mrt": entries}})
            error = self.keel.answer("config.commit")
            errors = error["error"]["data"]["errors"]
            self.assertEqual([(e["path"], e["reason"]) for e in errors], [(path, reason)])
            self.keel.call("config.discard")
        subprocess.run(["mount", "-o", "remount,ro", self.disk], check=True)
        document = self.keel.call("config.get")["document"]
        with open(os.path.join(self.folder, "check.json"), "w") as f:
            json.dump(dict(document, mrt=[dict(good, file="a")], management={"output_dir": self.disk}), f)
        p = subprocess.run([keel_rig.KEELD, "-c", f.name, "--no-dataplane", "--check"], capture_output=True, text=True)
        self.assertEqual((p.returncode, p.stderr), (2, "%s: /mrt: keeld may not write the folder %s: Read-only file system\n" % (f.name, self.disk)))


if __name__ == "__main__":
    if shutil.which("bgpdump") is None or mrtparse is None:
        print("bgpdump or python3-mrtparse is missing")
        sys.exit(77)
    keel_rig.main()
