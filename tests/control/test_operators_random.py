#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Two shells on terminals and a script edit and commit at random against a real keeld, each as a user of its own, for OPERATORS_S
seconds (environment, 3): no commit contains a line that its author did not write, the audit trail names the author of each, and no session ends unannounced. SEED
repeats a run. Needs root (a network namespace, other users); else the exit status is 77.

usage: test_operators_random.py KEELD KEELCTL
"""
import datetime
import json
import os
import pty
import pwd
import random
import re
import select
import subprocess
import sys
import termios
import threading
import time

import keel_rig
from keel_rig import US, WAIT_S, KeelTest

KEELCTL = sys.argv.pop(2)
SECONDS = float(os.environ.get("OPERATORS_S", "3"))
SEED = int(os.environ.get("SEED", time.time_ns() % 1000000))
UIDS = (65534, 5, 6)  # two shells, a script
ADDRESSES = ["192.0.2.%d" % n for n in (2, 3, 50, 51)]
HOST = re.escape(os.uname().nodename)
PROMPT = re.compile(r"(<%s>|\[[~*]%s[^\]\n]*\]|\[y/n\]) ?$" % (HOST, HOST))
RESETS = re.compile(r"the session with (\S+) of VRF default would end")


def as_user(uid):
    def become():
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
    return become


class Operator(threading.Thread):
    """Edits and commits until `end`. Each value that it writes has its name in it."""

    def __init__(self, test, uid, seed):
        super().__init__()
        self.name, self.keel, self.end = pwd.getpwuid(uid).pw_name, test.keel, test.until
        self.uid, self.random, self.number = uid, random.Random(seed), 0
        self.touched = set()  # (key of a peer, address) that may differ in the candidate
        self.commits, self.conflicts, self.declined = {}, 0, 0  # id -> touched
        self.announced = []  # addresses of sessions that a commit was announced to end
        self.during = []  # (begin, end) of each commit, by the clock of the log
        self.fault = None
        self.log = []  # lines and answers, for the message of a failure

    def run(self):
        try:
            self.begin()
            # at least one commit each, however slow the machine is
            while time.monotonic() < self.end or (not self.commits and time.monotonic() < self.end + WAIT_S):
                self.turn()
            self.finish()
        except Exception as e:  # noqa: BLE001 - for the thread of the test
            self.fault = e

    def words(self):
        self.number += 1
        return "%s-%d" % (self.name, self.number)

    def committed(self, out):
        # not at the start of a line: a progress line of a slow answer may stand before
        for number in re.findall(r"\bcommit (\d+), revision", out):
            self.commits[int(number)] = self.touched
            self.touched = set()

    def turn(self):
        for _ in range(self.random.randrange(1, 4)):
            self.edit()
        begin = time.time() - 0.001  # the log has milliseconds
        self.commit()
        self.during.append((begin, time.time()))


class Shell(Operator):
    """keelctl on a terminal: answers yes or no where it asks."""

    def begin(self):
        pid, self.fd = pty.fork()
        if pid == 0:
            as_user(self.uid)()
            os.environ.update(TERM="dumb", HOME="/nonexistent", COLUMNS="300")
            os.execv(KEELCTL, [KEELCTL, "--socket", self.keel.path])
        self.pid, self.text = pid, ""
        self.read(first=True)
        self.say("system-view")
        self.say("bgp 64512")

    def read(self, first=False):
        """The output up to the next prompt."""
        self.text, end = "", time.monotonic() + WAIT_S
        # the line editor may draw the old prompt again while it echoes the line
        while not (PROMPT.search(self.text) and (first or "\n" in self.text)):
            assert time.monotonic() < end and select.select([self.fd], [], [], WAIT_S)[0], self.text
            self.text += os.read(self.fd, 65536).decode().replace("\r", "")
        # before the line editor reads, the terminal itself would echo the next line, in front of a second prompt
        while termios.tcgetattr(self.fd)[3] & termios.ICANON:
            assert time.monotonic() < end, "no line editor"
            select.select([], [], [], 0.001)
        return self.text

    def say(self, line):
        os.write(self.fd, line.encode() + b"\n")
        self.log.append(self.read())
        return self.text

    def edit(self):
        kind, address = self.random.randrange(8), self.random.choice(ADDRESSES)
        if kind < 3:
            self.say("group %s" % self.words())
        elif kind < 6:
            self.say("ipv4-family unicast")
            self.touched.add(("families", address))
            self.say("peer %s route-policy %s export" % (address, self.random.choice(("accept-all", "deny-all"))))
            self.say("quit")
        elif kind < 7:
            self.touched.add(("capabilities", address))
            self.say("%speer %s capability-advertise route-refresh" % (self.random.choice(("", "undo ")), address))
        else:
            self.say("discard")
            self.touched = set()

    def commit(self):
        out = self.say("commit comment %s" % self.words())
        ends = RESETS.findall(out)
        if out.endswith("[y/n] ") or out.endswith("[y/n]"):
            if self.random.randrange(2):
                self.announced += ends
                out = self.say("y")
            else:
                self.declined += 1
                assert "nothing was committed" in self.say("n"), self.text
                return
        if "changed by" in out:
            self.conflicts += 1
            self.say("resolve " + self.random.choice(("mine", "theirs")))
        self.committed(out)

    def finish(self):
        os.write(self.fd, b"discard\nreturn\nquit\n")
        os.waitpid(self.pid, 0)
        os.close(self.fd)


class Script(Operator):
    """keelctl with commands as arguments: a commit that ends a session is repeated with `force` at random."""

    def begin(self):
        pass

    def ctl(self, *words):
        done = subprocess.run([KEELCTL, "--socket", self.keel.path, *words], capture_output=True, text=True, timeout=WAIT_S, preexec_fn=as_user(self.uid))
        self.log.append("%s\n%s" % (" ".join(words), done.stdout + done.stderr))
        return done.stdout + done.stderr

    def edit(self):
        address, words = self.random.choice(ADDRESSES), self.words()
        if self.random.randrange(3) == 0:
            self.touched.add(("capabilities", address))
            self.ctl("system-view; bgp 64512; %speer %s capability-advertise route-refresh" % (self.random.choice(("", "undo ")), address))
            return
        document = json.loads(self.ctl("--json", "rpc", "config.get", '{"source": "candidate", "path": "/bgp/peers"}'))
        at = [p["address"] for p in document["document"]].index(address)
        self.touched.add(("description", address))
        patch = [{"op": "add", "path": "/bgp/peers/%d/description" % at, "value": words}]
        self.ctl("rpc", "config.edit", json.dumps({"patch": patch}))

    def commit(self):
        comment = self.words()
        out = self.ctl("commit", "comment", comment)
        if "would end" in out:
            assert "nothing was committed" in out, out
            if self.random.randrange(2):
                self.declined += 1
                return
            self.announced += RESETS.findall(out)
            out = self.ctl("commit", "comment", comment, "force")
        if "changed by" in out:
            self.conflicts += 1
            self.ctl("resolve", self.random.choice(("mine", "theirs")))
        self.committed(out)

    def finish(self):
        self.ctl("discard")


class Random(KeelTest):
    def setUp(self):
        super().setUp()
        os.chmod(self.folder, 0o755)
        self.start({"router": {"asn": 64512, "router_id": US}, "bgp": {"peers": [{"address": a, "asn": 64513, "passive": True, "timers": {"idle_hold_s": 1}}
                                                                                  for a in ADDRESSES]}})
        os.chmod(self.keel.path, 0o666)

    def falls(self):
        """[(address, line)] of the sessions that ended, except sessions that came up while the commit was already under way."""
        during = [d for o in self.operators for d in o.during]
        with open(self.keel.log.name) as f:
            lines = re.findall(r"(?m)^(\S+) \S+ (session-up|session-down) peer=(\S+)(.*)$", f.read())
        up, found = {}, []
        for when, event, address, rest in lines:
            at = datetime.datetime.fromisoformat(when.rstrip("Z") + "+00:00").timestamp()
            if event == "session-up":
                up[address] = at
            elif not any(begin <= up[address] and at <= end for begin, end in during):
                found.append((address, when + rest))
        return found

    def written_by(self, operator, touched, op):
        """True if the operation of a difference is a line of this operator."""
        names = re.findall(r'"([a-z]+)-\d+"', json.dumps(op.get("value")))
        where = re.match(r"/bgp/peers/(\d+)(?:/(\w+))?", op["path"])
        if where is None:
            return set(names) == {operator.name} and op["path"].startswith("/bgp/groups")
        if not set(names) <= {operator.name} or where[2] is None:
            return False
        return (where[2], ADDRESSES[int(where[1])]) in touched

    def test_random_edits(self):
        print("SEED=%d OPERATORS_S=%g" % (SEED, SECONDS), flush=True)
        speakers = [self.speak(address=a) for a in ADDRESSES[:2]]
        self.until = time.monotonic() + SECONDS
        kinds = (Shell, Shell, Script)
        self.operators = [kind(self, uid, "%d %d" % (SEED, uid)) for kind, uid in zip(kinds, UIDS)]
        for o in self.operators:
            o.start()
        self.keep_up(speakers)
        for o in self.operators:
            o.join()
        for o in self.operators:
            if o.fault is not None:
                raise o.fault
        self.check_commits()
        self.check_sessions()
        print("commits %s, conflicts %s, not forced %s, forced %s" % tuple(
            [f(o) for o in self.operators] for f in (lambda o: len(o.commits), lambda o: o.conflicts, lambda o: o.declined, lambda o: len(o.announced))))

    def keep_up(self, speakers):
        """Starts sessions again that a commit has ended."""
        ends = threading.Condition()
        while any(o.is_alive() for o in self.operators):
            for i, s in enumerate(speakers):
                if s.closed() and any(o.is_alive() for o in self.operators):
                    speakers[i] = self.speak(address=s.address)
            with ends:
                ends.wait(0.05)

    def check_commits(self):
        commits = self.keel.call("config.history")["commits"]
        kept = {c["id"] for c in commits}
        audit, page = [], {"next": None}
        while "next" in page:
            page = self.keel.call("audit.list", dict({"limit": 1000}, **({"cursor": page["next"]} if page["next"] else {})))
            audit += page["calls"]
        audited = {a["result"]["commit"]: a["user"] for a in audit if a["method"] == "config.commit" and a.get("result", {}).get("commit") is not None}
        made = {n: o for o in self.operators for n in o.commits}
        self.assertEqual(len(made), sum(len(o.commits) for o in self.operators))
        missing = "\n".join("%s:\n%s" % (o.name, "\n----\n".join(o.log)) for o in self.operators)
        self.assertEqual(audited, {n: o.name for n, o in made.items()}, missing)
        self.assertEqual({c["id"]: c["user"] for c in commits if c["id"] in made}, {n: made[n].name for n in kept & set(made)})
        self.assertTrue(made)
        for number in sorted(kept & set(made)):
            one = self.keel.call("config.history", {"id": number})
            for op in one.get("diff", []):
                self.assertTrue(self.written_by(made[number], made[number].commits[number], op),
                                "commit %d of %s: %s in %s\n%s" % (number, made[number].name, op, one, "\n".join(made[number].log)))

    def check_sessions(self):
        """Each session that ended was announced, as often as it ended at most."""
        announced = [a for o in self.operators for a in o.announced]
        for address, line in self.falls():
            self.assertIn(address, announced, line)
            announced.remove(address)


if __name__ == "__main__":
    keel_rig.main()
