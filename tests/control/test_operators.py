#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Several operators against a real keeld: a candidate for each user, conflicts, sessions that a commit ends, names in the history. Needs root (a
network namespace, other users); else the exit status is 77.

usage: test_operators.py KEELD KEELCTL
"""
import http.client
import json
import os
import pwd
import signal
import subprocess
import sys
import unittest

import keel_rig
from keel_rig import THEM, US, WAIT_S, KeelTest

KEELCTL = sys.argv.pop(2)
NOBODY, GAMES = 65534, 5
HTTP = ("127.0.0.1", 9179)

# Answers each line of standard input, a request, as another user.
CLIENT = """
import os, socket, sys
path, uid = sys.argv[1], int(sys.argv[2])
os.setgroups([]); os.setgid(uid); os.setuid(uid)
s = socket.socket(socket.AF_UNIX)
s.settimeout(60)
s.connect(path)
answers = s.makefile()
for line in sys.stdin:
    s.sendall(line.encode())
    print(answers.readline(), end="", flush=True)
"""


class User:
    """A client with a uid of its own, on one connection."""

    def __init__(self, test, uid, suffix=""):
        self.name = pwd.getpwuid(uid).pw_name
        self.process = subprocess.Popen([sys.executable, "-c", CLIENT, test.keel.path + suffix, str(uid)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        test.addCleanup(self.end)

    def answer(self, method, **params):
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def call(self, method, **params):
        a = self.answer(method, **params)
        assert "result" in a, (method, params, a)
        return a["result"]

    def edit(self, **merge):
        return self.call("config.edit", merge=merge)

    def peer(self, number, **keys):
        """Sets keys of one peer."""
        peers = self.call("config.get", source="candidate", path="/bgp/peers")["document"]
        at = [p["address"] for p in peers].index("192.0.2.%d" % number)
        return self.call("config.edit", patch=[{"op": "replace", "path": "/bgp/peers/%d" % at, "value": dict(peers[at], **keys)}])

    def end(self):
        self.process.stdin.close()
        self.process.wait(WAIT_S)
        self.process.stdout.close()


def document():
    return {"router": {"asn": 64512, "router_id": US}, "management": {"http": "%s:%d" % HTTP, "http_token_file": ""},
            "bgp": {"peers": [{"address": "192.0.2.%d" % n, "asn": 64513, "passive": True} for n in (2, 50, 51)]}}


class Operators(KeelTest):
    def setUp(self):
        super().setUp()
        os.chmod(self.folder, 0o755)
        token = os.path.join(self.folder, "tokens")
        with open(token, "w") as f:
            f.write("ci: a robot's secret\nnoc: another secret\n")
        first = document()
        first["management"]["http_token_file"] = token
        self.start(first)
        os.chmod(self.keel.path, 0o666)
        self.await_logged("http-up")
        self.alice, self.bob = User(self, NOBODY), User(self, GAMES)

    def running(self, path=""):
        return self.keel.call("config.get", {"path": path})["document"]

    def described(self):
        return [p.get("description") for p in self.running("/bgp/peers")]

    def http(self, method, token=None, **params):
        answer = []

        def ask():
            c = http.client.HTTPConnection(*HTTP, timeout=WAIT_S)
            headers = {"Authorization": "Bearer " + token} if token else {}
            c.request("POST", "/rpc", json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}), headers)
            r = c.getresponse()
            answer.append((r.status, r.read()))
            c.close()
        keel_rig.in_namespace(self.namespace, ask)
        return json.loads(answer[0][1]) if answer[0][0] == 200 else answer[0][0]

    def users(self):
        return {c["user"]: (c["edits"], c["conflicts"]) for c in self.keel.call("config.candidates")["candidates"]}

    def ctl(self, *words, text=None):
        done = subprocess.run([KEELCTL, "--socket", self.keel.path, *words], input=text, capture_output=True, text=True, timeout=WAIT_S)
        return done.returncode, done.stdout, done.stderr

    def test_each_user_has_a_candidate(self):
        self.alice.peer(2, description="of alice")
        self.bob.peer(50, description="of bob")
        self.assertEqual(self.users(), {self.alice.name: (1, 0), self.bob.name: (1, 0)})
        self.assertEqual([o["path"] for o in self.alice.call("config.diff")["diff"]], ["/bgp/peers/0/description"])
        self.assertEqual(self.keel.call("config.diff")["diff"], [])
        # a read-only client of the user sees the same candidate, a client without a name the running document
        self.assertEqual([o["path"] for o in User(self, GAMES, ".ro").call("config.diff")["diff"]], ["/bgp/peers/1/description"])
        self.assertEqual(self.http("config.diff")["result"]["diff"], [])
        # a commit publishes the lines of its author, and leaves the other's edits alone
        self.bob.call("config.commit", comment="one line")
        self.assertEqual(self.described(), [None, "of bob", None])
        self.assertEqual(self.users(), {self.alice.name: (1, 0)})
        self.assertEqual([o["path"] for o in self.alice.call("config.diff")["diff"]], ["/bgp/peers/0/description"])
        self.alice.call("config.commit")
        self.assertEqual(self.described(), ["of alice", "of bob", None])
        self.assertEqual([c["user"] for c in self.keel.call("config.history")["commits"]], ["keeld", self.bob.name, self.alice.name])
        one = self.keel.call("config.history", {"id": 1})
        self.assertEqual((one["before"], one["diff"]), (0, [{"op": "add", "path": "/bgp/peers/1/description", "value": "of bob"}]))
        self.await_logged("user=\"%s\"" % self.bob.name)

    def test_tokens_are_users(self):
        for token, words in (("a robot's secret", "of ci"), ("another secret", "of noc")):
            a = self.http("config.edit", token, merge={"description": words})
            self.assertTrue(a["result"]["changed"], a)
        self.assertEqual(set(self.users()), {"token:ci", "token:noc"})
        for wrong in ("ci: a robot's secret", "secret", "a robot's secret\nnoc: another secret"[:16] + "x", "noc"):
            self.assertEqual(self.http("config.diff", wrong), 401, wrong)
        self.assertIn("result", self.http("config.commit", "another secret"))
        self.assertEqual(self.running("/description"), "of noc")
        self.assertEqual(self.http("config.commit", "a robot's secret")["error"]["code"], -32006)

    def test_a_part_of_a_token_is_no_token(self):
        line = "late: abcdefgh\n"
        with open(os.path.join(self.folder, "tokens"), "w") as f:
            f.write("ci: a robot's secret\n" + "#" * (4095 - 21 - len("late: abc") - 1) + "\n" + line)
        self.assertEqual(self.http("config.diff", "abc"), 401)
        self.await_logged("http-token-file-too-long")

    def test_conflict(self):
        self.alice.peer(2, description="of alice", password="kept to ourselves")
        self.alice.peer(51, description="of alice")
        self.bob.peer(2, description="of bob")
        self.bob.call("config.commit")
        self.assertEqual(self.users(), {self.alice.name: (3, 1)})
        e = self.alice.answer("config.commit")["error"]
        self.assertEqual((e["code"], e["data"]["path"]), (-32006, "/bgp/peers/0"))
        c, = e["data"]["conflicts"]
        self.assertEqual((c["object"], c["user"], c["commit"]), ("bgp peers 192.0.2.2", self.bob.name, 1))
        self.assertEqual([(c[v] or {}).get("description") for v in ("base", "running", "candidate")], [None, "of bob", "of alice"])
        for text in (json.dumps(e), json.dumps(self.alice.call("config.diff"))):
            self.assertNotIn("kept to ourselves", text)
        # a third commit elsewhere does not end the conflict, and does not change its cause
        self.bob.peer(50, description="more")
        self.bob.call("config.commit")
        e = self.alice.answer("config.commit")["error"]
        self.assertEqual([(x["user"], x["commit"]) for x in e["data"]["conflicts"]], [(self.bob.name, 1)])
        self.assertEqual(self.described(), ["of bob", "more", None])
        self.alice.call("config.resolve", keep="theirs")
        self.alice.call("config.commit")
        self.assertEqual(self.described(), ["of bob", "more", "of alice"])

    def test_resolve_mine(self):
        self.alice.peer(2, description="of alice")
        self.bob.peer(2, description="of bob")
        self.bob.call("config.commit")
        self.assertEqual(self.alice.answer("config.commit")["error"]["code"], -32006)
        self.alice.call("config.resolve", keep="mine")
        self.alice.call("config.commit")
        self.assertEqual(self.described(), ["of alice", None, None])

    def test_a_conflict_outlives_a_rollback_by_its_author(self):
        self.alice.peer(2, description="of alice")
        self.bob.peer(2, shutdown=True)
        self.bob.call("config.commit")
        self.assertEqual(self.users()[self.alice.name][1], 1)
        self.bob.peer(50, description="of bob")
        self.bob.call("config.commit")
        self.alice.call("config.rollback", to=1)
        self.assertEqual(self.alice.answer("config.commit")["error"]["code"], -32006)
        self.alice.call("config.resolve", keep="mine")
        self.alice.call("config.commit")
        self.assertEqual((self.running("/bgp/peers/0/shutdown"), self.described()), (True, ["of alice", None, None]))

    def test_a_conflict_ends_with_an_edit_or_a_rollback(self):
        self.alice.peer(2, description="of alice")
        self.bob.peer(2, description="of bob")
        self.bob.call("config.commit")
        self.assertEqual(self.users()[self.alice.name][1], 1)
        self.bob.call("config.rollback", to=0)
        self.assertEqual(self.users()[self.alice.name], (1, 0))
        self.bob.peer(2, description="of bob")
        self.bob.call("config.commit")
        self.alice.peer(2, description="of bob")
        self.assertIsNone(self.alice.call("config.commit")["commit"])
        self.assertEqual(self.users(), {})
        # an edit that is taken back leaves the other's commit in place
        self.alice.peer(2, description="of alice")
        self.bob.peer(2, description="again of bob")
        self.bob.call("config.commit")
        self.assertEqual(self.users()[self.alice.name][1], 1)
        self.alice.peer(2, description="of bob")
        self.assertEqual((self.users(), self.alice.call("config.diff")["diff"]), ({}, []))

    def test_revision_and_discard(self):
        before = self.alice.call("config.get", source="candidate")["revision"]
        self.bob.peer(50, description="of bob")
        self.alice.call("config.edit", merge={"description": "x"}, if_revision=before)
        e = self.alice.answer("config.edit", merge={"description": "y"}, if_revision=before)["error"]
        self.assertEqual((e["code"], e["data"]["path"]), (-32602, "/if_revision"))
        e = self.alice.answer("config.commit", if_revision=before)["error"]
        self.assertEqual((e["code"], e["data"]["path"]), (-32602, "/if_revision"))
        self.assertEqual(self.alice.answer("config.discard", user="root")["error"]["code"], -32004)
        self.alice.call("config.discard", user=self.bob.name)
        self.assertEqual(set(self.users()), {self.alice.name})
        self.alice.call("config.discard")
        self.assertEqual(self.users(), {})

    def test_a_reload_waits_for_all_edits(self):
        self.bob.peer(50, description="of bob")
        os.kill(self.keel.process.pid, signal.SIGHUP)
        self.await_logged("reason=candidate-holds-edits users=\"%s\"" % self.bob.name)
        e = self.keel.answer("config.reload")["error"]
        self.assertEqual(e["data"]["reason"], "the candidate of %s holds edits; commit or discard them first" % self.bob.name)

    def test_no_session_ends_without_force(self):
        speaker = self.speak()
        lines = "system-view; bgp 64512; undo peer 192.0.2.2 capability-advertise route-refresh"
        self.assertEqual(self.ctl(lines)[0], 0)
        e = self.keel.answer("config.commit", {"force": False})["error"]
        self.assertEqual((e["code"], [(s["address"], s["vrf"], s["reason"]) for s in e["data"]["sessions"]]),
                         (-32007, [(THEM, "default", "configuration-change")]))
        status, _, err = self.ctl("commit")
        self.assertEqual(status, 1)
        self.assertIn("the session with 192.0.2.2 of VRF default would end: configuration-change", err)
        self.assertIn("nothing was committed; `commit force` ends them", err)
        status, _, err = self.ctl(text="system-view\ncommit\n")
        self.assertEqual((status, err.split(":")[0]), (1, "line 2"))
        self.assertFalse(speaker.closed())
        status, out, err = self.ctl("commit comment why force")
        self.assertEqual(status, 0, err)
        self.assertRegex(out, r"(?s)^commit 1, .*session-reset.*\npublished:\n\+ peer 192\.0\.2\.2: capabilities \{\"route_refresh\":false\}\n$")
        self.wait("the end of the session", speaker.closed, speaker.changed)
        speaker = self.speak(refresh=False)
        status, _, err = self.ctl("rollback 0")
        self.assertEqual((status, speaker.closed()), (1, False), err)
        # what ends no session needs no force
        self.assertEqual(self.ctl("system-view; bgp 64512; group g; commit")[0], 0)
        self.assertFalse(speaker.closed())
        self.assertEqual(self.ctl("rollback 0 force")[0], 0)
        self.wait("the end of the session", speaker.closed, speaker.changed)

    def test_only_agreed_sessions_end(self):
        """`sessions` of a commit: a session that came up since the question is named, and stays."""
        speaker = self.speak()
        self.assertEqual(self.ctl("system-view; bgp 64512; undo peer 192.0.2.2 capability-advertise route-refresh")[0], 0)
        agreed = self.keel.answer("config.commit", {"force": False})["error"]["data"]["sessions"]
        for other in ([], [dict(agreed[0], address="192.0.2.77")], [dict(agreed[0], vrf="red")]):
            e = self.keel.answer("config.commit", {"force": False, "sessions": other})["error"]
            self.assertEqual((e["code"], e["data"]["sessions"]), (-32007, agreed))
        self.assertFalse(speaker.closed())
        self.assertEqual(self.keel.call("config.commit", {"force": False, "sessions": agreed})["commit"], 1)
        self.wait("the end of the session", speaker.closed, speaker.changed)

    def test_keelctl_names_users(self):
        self.bob.peer(2, description="of bob")
        status, out, _ = self.ctl("show candidates")
        self.assertRegex(out, r"%s +\d{4}-\S+ \S+ +1 +0\n" % self.bob.name)
        self.ctl("rpc", "config.edit", json.dumps({"patch": [{"op": "add", "path": "/bgp/peers/0/description", "value": "of root"}]}))
        self.bob.call("config.commit")
        self.assertRegex(self.ctl("show candidates")[1], r"root \(you\) +\d{4}-\S+ \S+ +1 +1\n")
        self.assertIn("! bgp peers 192.0.2.2: changed by %s in commit 1, running " % self.bob.name, self.ctl("show diff")[1])
        status, _, err = self.ctl("commit")
        self.assertEqual(status, 1)
        self.assertIn("keelctl: bgp peers 192.0.2.2: changed by %s in commit 1: running {" % self.bob.name, err)
        self.assertEqual(self.ctl("resolve theirs")[0], 0)
        self.assertEqual(self.ctl("show candidates")[1], "no user has edits\n")
        out = self.ctl("show history 1")[1]
        self.assertRegex(out, r'^commit 1 by %s, \S+ \S+: \n\+ peer 192\.0\.2\.2: description "of bob"\n$' % self.bob.name)
        self.assertRegex(self.ctl("show history")[1], r" %s" % self.bob.name)

    def audit(self, **params):
        return self.keel.call("audit.list", params)["calls"]

    def brief(self):
        """Lines of the trail from the oldest on: user, method, result or code of the error."""
        return [(a["user"], a["method"], a.get("result", {}).get("commit", a.get("error", {}).get("code"))) for a in reversed(self.audit())]

    def test_audit(self):
        self.alice.peer(2, description="of alice", password="kept to ourselves")
        self.alice.call("config.commit", comment="why")
        self.http("config.edit", "another secret", merge={"bgp": {"peers": 1}})
        self.http("config.commit", "another secret")
        self.http("config.commit")  # without a token: refused, and not listed
        reader = User(self, GAMES, ".ro")
        reader.answer("config.discard")
        self.assertEqual(reader.answer("audit.list")["error"]["code"], -32011)  # it shows refused edits of others
        self.bob.call("bgp.refresh", family="ipv4-unicast", scope="all", direction="import")
        self.bob.call("bgp.reset", family="ipv4-unicast", scope="all")  # only asks
        self.bob.call("bgp.reset", family="ipv4-unicast", scope="all", force=True)
        self.bob.answer("config.rollback", to=77)
        self.bob.answer("config.edit", unknown=1)
        self.keel.call("config.rollback", {"to": 0})
        alice, bob = self.alice.name, self.bob.name
        told = [(alice, "config.edit", None), (alice, "config.commit", 1), ("token:noc", "config.edit", None), ("token:noc", "config.commit", -32005),
                (bob, "bgp.refresh", None), (bob, "bgp.reset", None), (bob, "config.rollback", -32004), (bob, "config.edit", -32602),
                ("root", "config.rollback", 2)]
        self.assertEqual(self.brief(), told)
        lines = self.audit()[::-1]
        self.assertEqual([a["id"] for a in lines], list(range(1, len(told) + 1)))
        self.assertEqual((lines[1]["params"], lines[1]["from"]), ({"comment": "why"}, "socket pid %d" % self.alice.process.pid))
        self.assertEqual((lines[2]["params"], lines[2]["from"]), ({"merge": {"bgp": {"peers": 1}}}, "http 127.0.0.1"))
        self.assertEqual(lines[0]["params"]["patch"][0]["value"]["password"], "***")
        self.assertEqual((lines[5]["params"]["scope"], lines[5]["result"]), ("all", {"peers": 3}))
        self.assertEqual(lines[6]["error"], {"code": -32004, "reason": "there is no commit 77; config.history lists the commits"})
        out = self.ctl("show audit")[1]
        self.assertRegex(out, r"(?m)^ *2 +\d\d-\d\d \S+ +%s +socket pid \d+ +config.commit +commit 1$" % alice)
        self.assertRegex(out, r"(?m)^ *7 +\d\d-\d\d \S+ +%s +socket pid \d+ +config.rollback +refused: there is" % bob)
        # long parameters are cut
        self.alice.edit(description="x" * 3000)
        self.assertEqual(len(self.audit(limit=1)[0]["params_begin"]), 2048)
        # pages, and a restart
        self.keel.stop()
        self.keel.start()
        self.keel.call("config.discard")
        page, ids = {"next": None}, []
        while "next" in page:
            page = self.keel.call("audit.list", dict({"limit": 4}, **({"cursor": page["next"]} if page["next"] else {})))
            ids += [a["id"] for a in page["calls"]]
        self.assertEqual(ids, list(range(len(told) + 2, 0, -1)))
        self.assertEqual(self.keel.answer("audit.list", {"cursor": "x"})["error"]["code"], -32602)
        with open(os.path.join(self.keel.state, "audit.log")) as f:
            self.assertNotIn("kept to ourselves", f.read())

    def test_audit_hides_misplaced_passwords(self):
        secret, path = "kept to ourselves", "/bgp/peers/0/password"
        for params in ({"patch": {"op": "add", "path": path, "value": secret}}, {"pach": [{"op": "add", "path": path, "value": secret}]},
                       {"patch": [{"op": "add", "path": path + "/", "value": secret}]}, {"password": secret, "merge": {}},
                       {"patch": [{"op": "add", "path": "/bgp/peers/0/tcp-md5", "value": secret}]},
                       {"merge": {"bgp": {"groups": [{"name": "g", "authentication-key": secret, "passive": True}]}}}):
            self.bob.answer("config.edit", **params)
        lines = self.audit()
        self.assertEqual(lines[0]["params"]["merge"]["bgp"]["groups"][0], {"name": "g", "authentication-key": "***", "passive": True})
        self.assertEqual((len(lines), json.dumps(lines).count(secret)), (6, 0))

    def test_audit_of_signals_and_timers(self):
        self.keel.call("config.edit", {"merge": {"description": "x"}})
        self.keel.call("config.commit", {"confirm_s": 1})
        self.wait("the return", lambda: self.brief()[-1] == ("keeld", "confirm-expired", 2))
        with open(self.keel.file, "w") as f:
            f.write("{")
        os.kill(self.keel.process.pid, signal.SIGHUP)
        self.wait("the refusal", lambda: self.brief()[-1] == ("keeld", "SIGHUP", -32005))
        with open(self.keel.file, "w") as f:
            json.dump(dict(self.running(), description="y"), f)
        os.kill(self.keel.process.pid, signal.SIGHUP)
        self.wait("the commit", lambda: self.brief()[-1] == ("keeld", "SIGHUP", 3))


if __name__ == "__main__":
    keel_rig.main()
