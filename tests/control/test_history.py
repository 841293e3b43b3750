#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Configuration history against a real keeld: confirm, rollback, restarts, secrets, and 200 times `kill -9` during commits. Needs root (a network
namespace); else the exit status is 77.

usage: test_history.py KEELD
"""
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import threading
import time
import unittest

import keel_rig
from keel_rig import THEM, TRY_AGAIN, US, Call, KeelTest

SECRET = "kept to ourselves"
MOMENTS = int(os.environ.get("MOMENTS", "60")) * (10 if "KEEL_TEST_FULL" in os.environ else 1)


def document(words="first"):
    return {"description": words, "router": {"asn": 64512, "router_id": US}}


def request(method, **params):
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()


@contextlib.contextmanager
def immutable(folder):
    """No file in the folder can be added, removed or renamed, even as root."""
    if subprocess.run(["chattr", "+i", folder], stderr=subprocess.DEVNULL).returncode != 0:
        raise unittest.SkipTest("no chattr +i on this file system")
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", folder], check=True)


class History(KeelTest):
    def begin(self, first=None):
        self.start(first or document())

    def edit(self, **merge):
        return self.keel.call("config.edit", {"merge": merge})

    def commit(self, words, **params):
        self.edit(description=words)
        return self.keel.call("config.commit", dict({"comment": words}, **params))["commit"]

    def running(self, path=""):
        return self.keel.call("config.get", {"source": "running", "path": path})["document"]

    def words(self):
        """Descriptions of the running configuration and of FILE."""
        return self.running()["description"], self.keel.on_disk()["description"]

    def history(self):
        return [(c["id"], c["comment"]) for c in self.keel.call("config.history")["commits"]]

    def again(self):
        self.keel.stop()
        self.keel.start()

    def refused(self, code, method, **params):
        a = self.keel.answer(method, params)
        self.assertEqual(a.get("error", {}).get("code"), code, a)
        return a["error"]

    def test_a_large_document_costs_its_differences(self):
        entries = [{"seq": i + 1, "action": "permit", "prefix": "10.%d.%d.0/24" % (i >> 8, i & 255)} for i in range(5000)]
        self.begin(dict(document(), prefix_lists=[{"name": "many", "entries": entries}]))
        folder = os.path.join(self.keel.state, "commits")
        whole = os.path.getsize(os.path.join(folder, "commit-0.json"))
        documents = [self.running()]
        for i in range(1, 25):
            if i % 3:
                self.commit("number %d" % i)
            elif i % 6:
                self.keel.call("config.edit", {"patch": [{"op": "remove", "path": "/prefix_lists/0/entries/%d" % (100 * i)}]})
                self.keel.call("config.commit", {"confirm_s": 60})
                self.keel.call("config.confirm")
            else:
                self.keel.call("config.rollback", {"to": i - 4})
            documents.append(self.running())
            if i % 10 == 0:
                self.keel.kill()
                self.keel.start()
        sizes = {name: os.path.getsize(os.path.join(folder, name)) for name in os.listdir(folder) if name.startswith("commit-")}
        self.assertEqual(len([name for name in sizes if ".from-" not in name]), 2, sizes)  # one, and one after 16 differences
        self.assertLess(sum(sizes.values()), 2.2 * whole)
        for target in (1, 23, 3, 16, 17, 18, 0):
            self.keel.call("config.rollback", {"to": target})
            self.assertEqual(self.running(), documents[target])
            self.assertEqual(self.keel.on_disk(), documents[target])
            self.again()
            self.assertEqual(self.running(), documents[target])

    def test_history_and_rollback_over_restarts(self):
        self.begin()
        before = time.time()
        second, third = self.commit("second"), self.commit("third")
        commits = self.keel.call("config.history")["commits"]
        self.assertEqual(self.history(), [(0, "start"), (second, "second"), (third, "third")])
        self.assertTrue(all(before - 10 < c["time"] < time.time() + 1 for c in commits), commits)
        self.again()
        self.assertEqual(self.keel.call("config.history")["commits"], commits)
        answer = self.keel.call("config.rollback", {"to": second})
        self.assertGreater(answer["commit"], third)
        self.assertEqual((answer["effects"], answer["persisted"]), ([], True))
        self.assertEqual(self.words(), ("second", "second"))
        self.assertEqual(self.history()[-1], (answer["commit"], "rollback to %d" % second))
        self.assertGreater(self.commit("fourth"), answer["commit"])
        self.assertEqual(self.refused(-32004, "config.rollback", to=999)["data"]["path"], "/to")
        self.refused(-32602, "config.rollback")
        # A changed FILE is a new commit.
        self.keel.stop()
        with open(self.keel.file, "w") as f:
            json.dump(document("by hand"), f)
        self.keel.start()
        self.assertEqual((self.history()[-1][1], self.words()), ("start", ("by hand", "by hand")))
        self.keel.call("config.rollback", {"to": 0})
        self.assertEqual(self.words(), ("first", "first"))

    def test_it_is_bounded_and_private(self):
        self.begin()
        for i in range(105):
            last = self.commit("words %d" % i)
        ids = [i for i, _ in self.history()]
        self.assertEqual(ids, list(range(last - 99, last + 1)))
        folder = os.path.join(self.keel.state, "commits")
        self.assertEqual(sorted(os.listdir(folder)), sorted(["index.json"] + ["commit-%d.json" % i for i in ids]))
        self.assertEqual({os.stat(os.path.join(folder, n)).st_mode & 0o777 for n in os.listdir(folder)}, {0o600})
        self.assertEqual(os.stat(folder).st_mode & 0o777, 0o700)
        self.refused(-32004, "config.rollback", to=ids[0] - 1)
        self.assertEqual(self.refused(-32602, "config.commit", comment="x" * 4097)["data"]["path"], "/comment")
        self.assertEqual(self.history()[-1][0], last)
        self.keel.call("config.commit", {"comment": "x" * 4096})

    def test_a_lost_index_does_not_bring_ids_again(self):
        self.begin()
        last = self.commit("second")
        self.keel.stop()
        with open(os.path.join(self.keel.state, "commits", "index.json"), "w") as f:
            f.write("{")
        self.keel.start()
        self.assertGreater(self.commit("third"), last)
        self.assertEqual(self.words(), ("third", "third"))

    def test_unwritable_folder(self):
        self.begin()
        self.keel.stop()
        folder = os.path.join(self.keel.state, "commits")
        os.rename(folder, folder + ".old")
        with open(folder, "w"):
            pass
        self.keel.start()
        self.commit("second")
        self.assertEqual(self.words(), ("second", "second"))
        self.await_logged("history-not-written")
        self.edit(description="third")
        a = self.keel.answer("config.commit", {"confirm_s": 60})
        self.assertIn("until the confirmation", a["error"]["data"]["reason"])
        self.assertEqual(self.words(), ("second", "second"))
        self.keel.call("config.rollback", {"to": 0})  # commit 0 is kept in memory while keeld runs
        self.assertEqual(self.words(), ("first", "first"))

    def test_confirm_in_time(self):
        self.begin()
        self.commit("second", confirm_s=60)
        self.assertEqual(self.words(), ("second", "second"))
        self.assertLessEqual(self.keel.call("config.history")["confirm"]["remaining_s"], 60)
        self.assertEqual(self.keel.call("config.confirm"), {})
        self.refused(-32004, "config.confirm")
        self.assertNotIn("confirm", self.keel.call("config.history"))
        self.again()
        self.assertEqual(self.words(), ("second", "second"))

    def test_confirm_too_late(self):
        self.begin()
        events = self.keel.notifications("commit")
        base = self.commit("second")
        since = time.monotonic()
        unconfirmed = self.commit("third", confirm_s=1)
        self.edit(router={"description": "an edit of somebody"})
        seen = [next(events) for _ in range(3)]
        self.assertGreater(time.monotonic() - since, 0.95)
        self.assertEqual([e["commit"] for e in seen[:2]], [base, unconfirmed])
        self.assertEqual(seen[2]["comment"], "rollback to %d: %d was not confirmed" % (base, unconfirmed))
        self.assertEqual(self.words(), ("second", "second"))
        # The edit is kept, now relative to the running configuration.
        self.assertEqual(self.keel.call("config.diff")["diff"], [{"op": "add", "path": "/router/description", "value": "an edit of somebody"}])
        self.refused(-32004, "config.confirm")

    def test_a_restart_before_confirm(self):
        for end in ("stop", "kill"):
            with self.subTest(end):
                if end == "stop":
                    self.begin()
                base = self.commit("base, " + end)
                self.commit("second", confirm_s=60)
                self.commit("third", confirm_s=60)
                getattr(self.keel, end)()
                self.assertEqual(self.keel.on_disk()["description"], "third")
                self.keel.start()
                self.assertEqual(self.words(), ("base, " + end, "base, " + end))
                self.assertEqual(self.history()[-1][1], "rollback to %d: not confirmed before a restart" % base)
                last = self.keel.call("audit.list", {"limit": 1})["calls"][0]
                self.assertEqual((last["from"], last["method"], last["result"]["commit"]), ("restart", "confirm-expired", self.history()[-1][0]))
                self.again()  # once only
                self.assertEqual(self.words(), ("base, " + end, "base, " + end))
                self.refused(-32004, "config.confirm")

    def test_what_was_not_confirmed_stays_in_a_file_that_cannot_be_written(self):
        """The rollback could not be written, so FILE still has the unconfirmed document: no restart may load the document."""
        self.begin()
        self.keel.stop()
        folder = os.path.join(self.folder, "of the file")
        os.mkdir(folder)
        self.keel.file = shutil.move(self.keel.file, folder)
        self.keel.start()
        base = self.commit("base")
        self.commit("second", confirm_s=15)  # not before the file cannot be written
        with immutable(folder):
            self.wait("going back", lambda: self.running()["description"] == "base")
            self.assertEqual(self.words(), ("base", "second"))
            self.await_logged("commit-not-persisted")
            os.kill(self.keel.process.pid, signal.SIGHUP)
            self.wait("the refusal", lambda: self.keel.call("audit.list", {"limit": 1})["calls"][0]["method"] == "SIGHUP")
            self.assertEqual(self.keel.call("audit.list", {"limit": 1})["calls"][0].get("error", {}).get("code"), -32005)
            for end in ("kill", "stop"):
                getattr(self.keel, end)()
                self.keel.start()
                self.assertEqual(self.words(), ("base", "second"), end)
                self.assertEqual(self.history()[-1][1], "rollback to %d: not confirmed before a restart" % base)
        self.again()
        self.assertEqual(self.words(), ("base", "base"))
        self.commit("third")
        self.again()
        self.assertEqual(self.words(), ("third", "third"))

    def test_a_commit_confirms_and_says_so(self):
        self.begin()
        first = self.commit("second", confirm_s=60)
        self.edit(description="third")
        answer = self.keel.call("config.commit")
        self.assertEqual((answer["confirmed"], answer["commit"]), (first, first + 1))
        self.refused(-32004, "config.confirm")
        # A new confirm time is no confirmation.
        waits = self.commit("fourth", confirm_s=60)
        self.edit(description="fifth")
        answer = self.keel.call("config.commit", {"confirm_s": 60})
        self.assertNotIn("confirmed", answer)
        waits = answer["commit"]
        # A commit without changes confirms, too, and adds no entry.
        history = self.history()
        answer = self.keel.call("config.commit", {"comment": "nothing"})
        self.assertEqual((answer["commit"], answer["confirmed"], answer["effects"], answer["persisted"]), (None, waits, [], True))
        self.refused(-32004, "config.confirm")
        self.assertEqual(self.history(), history)
        self.keel.kill()
        self.keel.start()
        self.assertEqual((self.words(), self.history()), (("fifth", "fifth"), history))

    def test_a_commit_that_changes_nothing_makes_no_entry(self):
        self.begin()
        self.commit("second")
        history, revision = self.history(), self.keel.call("system.info")["revision"]
        os.unlink(self.keel.file)
        for params in ({}, {"comment": "nothing"}, {"confirm_s": 60}):
            answer = self.keel.call("config.commit", params)
            self.assertEqual(answer, {"commit": None, "revision": revision, "effects": [], "restart_required": [], "persisted": True, "policy_files": []})
        self.assertEqual(self.words(), ("second", "second"))  # FILE is written nevertheless
        self.assertNotIn("confirm", self.keel.call("config.history"))
        # SIGHUP with an unchanged file is no commit either.
        os.kill(self.keel.process.pid, signal.SIGHUP)
        self.await_logged("reload-unchanged")
        self.assertEqual((self.history(), self.keel.call("system.info")["revision"]), (history, revision))
        # With confirm_s such a commit restarts the time of the waiting commit.
        waits = self.commit("third", confirm_s=60)
        self.assertGreater(self.keel.call("config.commit", {"confirm_s": 3600})["revision"], revision)
        confirm = self.keel.call("config.history")["confirm"]
        self.assertEqual(confirm["commit"], waits)
        self.assertGreater(confirm["remaining_s"], 60)

    def together(self, *requests, signals=()):
        """keeld finds all requests, then the signals, at the same time, in this order, each request on a connection of its own. Returns the answers."""
        with contextlib.ExitStack() as stack:
            clients = []
            for _ in requests:
                s = stack.enter_context(socket.socket(socket.AF_UNIX))
                s.settimeout(keel_rig.WAIT_S)
                s.connect(self.keel.path)
                clients.append((s, s.makefile()))
                s.sendall(request("system.info") + b"\n")
                clients[-1][1].readline()
            # on a connection of its own: keeld has polled the others since their answers
            pid = self.keel.call("system.info")["pid"]
            os.kill(pid, signal.SIGSTOP)
            try:
                for (s, _), line in zip(clients, requests):
                    s.sendall(line + b"\n")
                for number in signals:
                    os.kill(pid, number)
            finally:
                os.kill(pid, signal.SIGCONT)
            return [json.loads(lines.readline()) for _, lines in clients]

    def test_commits_of_a_batch_and_of_another_client(self):
        """A commit under way ends early for another client's commit. The next commit of the batch does not take the other one's place."""
        self.begin()
        batch = b"[" + b",".join(request("config.edit", merge={"description": "batch %d" % i}) + b"," + request("config.commit")
                                 for i in range(8)) + b"]"
        for i in range(4):
            answers = self.together(batch, request("config.reload"), request("config.commit", comment="another client"))
            self.assertEqual([a for a in answers[0] if a.get("error", {}).get("code", TRY_AGAIN) != TRY_AGAIN], [])
        self.edit(description="last")
        self.keel.call("config.commit")
        self.assertEqual(self.words(), ("last", "last"))

    def test_commit_of_a_batch_at_the_end_of_keeld(self):
        """keeld finishes the commit under way when it ends, and answers the batch whose last request is this commit."""
        self.begin()
        batch = b"[" + request("config.edit", merge={"description": "batch"}) + b"," + request("config.commit") + b"]"
        for _ in range(20):
            try:
                answers, = self.together(batch, signals=[signal.SIGTERM])
                break
            except ConnectionResetError:  # epoll may name the signal first: keeld ended before it read the batch
                self.assertEqual(self.keel.process.wait(keel_rig.WAIT_S), 0)
                self.keel.start()
                self.assertNotIn("batch", self.words())
        self.assertEqual([a for a in answers if "result" not in a], [])
        self.assertTrue(answers[-1]["result"]["persisted"])
        self.assertEqual(self.keel.process.wait(keel_rig.WAIT_S), 0)
        self.keel.start()
        self.assertEqual(self.words(), ("batch", "batch"))

    def test_discard_during_a_commit(self):
        """The candidate does not keep the document from before the commit."""
        self.begin()
        self.edit(description="second")
        for a in self.together(request("config.commit"), request("config.discard")):
            self.assertIn("result", a)
        self.assertEqual(self.keel.call("config.diff")["diff"], [])
        self.assertEqual(self.words(), ("second", "second"))

    def test_a_symbolic_link_in_the_history(self):
        """Files of the history replace what has their name: a link of the user of keeld leads to no file of root."""
        self.start(document())
        folder, victim = os.path.join(self.keel.state, "commits"), os.path.join(self.folder, "victim")
        with open(victim, "w") as f:
            f.write("of root")
        names = ["index.json", "commit-1.json", "commit-1.from-0.json", "commit-2.json"]
        for name in names:
            path = os.path.join(folder, name)
            if os.path.exists(path):
                os.unlink(path)
            os.symlink(victim, path)
        self.keel.call("config.edit", {"merge": {"description": "second"}})
        self.assertEqual(self.keel.call("config.commit")["commit"], 1)
        with open(victim) as f:
            self.assertEqual(f.read(), "of root")
        self.assertFalse(os.path.islink(os.path.join(folder, "index.json")))
        self.assertFalse(os.path.islink(os.path.join(folder, "commit-1.json")))

    def described(self):
        return self.keel.call("config.get")["document"]["description"]

    def disk_alarms(self):
        return [a["text"] for a in self.keel.call("system.info")["alarms"] if a["kind"] == "disk"]

    def test_reload_of_a_hung_file(self):
        """Who asks for FILE waits for its storage; nobody else does. An edit meanwhile is kept, and FILE's words stay."""
        self.start(document())
        edited = dict(self.keel.on_disk(), description="by hand")
        with open(self.keel.file, "w") as f:
            json.dump(edited, f)
        storage = keel_rig.Unanswered(self.keel.file)
        self.addCleanup(storage.answer)
        startup = Call(self.keel, "config.get", source="startup")
        reload = Call(self.keel, "config.reload")
        os.kill(self.keel.call("system.info")["pid"], signal.SIGHUP)
        self.await_logged("disk-slow file=" + self.keel.file)
        self.assertEqual(self.described(), "first")
        self.keel.call("config.edit", {"merge": {"management": {"hostname": "edge"}}})
        self.assertTrue(startup.waits() and reload.waits())
        self.assertIn(self.keel.file, self.disk_alarms()[0])
        storage.answer()
        self.assertEqual(startup.answer()["result"]["document"]["description"], "by hand")
        self.assertEqual(reload.answer()["result"]["commit"], 1)
        self.await_logged("reload-unchanged")
        self.assertEqual(self.described(), "by hand")
        self.keel.call("config.commit")
        written = self.keel.on_disk()
        self.assertEqual((written["description"], written["management"]["hostname"]), ("by hand", "edge"))
        self.assertEqual(self.disk_alarms(), [])

    def test_a_commit_while_file_is_read(self):
        """A reload does not undo a commit that came while FILE was read."""
        self.start(document())
        storage = keel_rig.Unanswered(self.keel.file)
        self.addCleanup(storage.answer)
        reload = Call(self.keel, "config.reload")
        os.kill(self.keel.call("system.info")["pid"], signal.SIGHUP)
        self.await_logged("disk-slow file=" + self.keel.file)
        self.keel.call("config.edit", {"merge": {"description": "second"}})
        commit = Call(self.keel, "config.commit")
        self.wait("second is in force", lambda: self.described() == "second")
        storage.answer()
        self.assertTrue(commit.answer()["result"]["persisted"])
        self.assertIsNone(reload.answer()["result"]["commit"])
        self.await_logged("reload-unchanged")
        self.assertEqual((self.described(), self.keel.on_disk()["description"]), ("second", "second"))

    def test_keeld_ends_while_file_is_read(self):
        self.start(document())
        storage = keel_rig.Unanswered(self.keel.file)
        self.addCleanup(storage.answer)
        reload = Call(self.keel, "config.reload")
        startup = Call(self.keel, "config.get", source="startup")
        self.await_logged("disk-slow file=" + self.keel.file)
        self.keel.process.terminate()
        self.await_logged("keeld-stop")
        storage.answer()
        self.assertEqual([c.answer()["error"]["data"]["reason"] for c in (reload, startup)], ["keeld ends"] * 2)
        self.assertEqual(self.keel.process.wait(keel_rig.WAIT_S), 0)

    def test_edit_during_a_reload(self):
        """The edit stays, and does not undo what the reload has changed."""
        self.begin()
        with open(self.keel.file, "w") as f:
            json.dump(document("by FILE"), f)
        for a in self.together(request("config.reload"), request("config.edit", merge={"bgp": {"policy_change_delay_s": 1}})):
            self.assertIn("result", a)
        self.assertEqual([op["path"] for op in self.keel.call("config.diff")["diff"]], ["/bgp"])
        self.keel.call("config.commit")
        self.assertEqual(self.words(), ("by FILE", "by FILE"))

    def test_edits_follow_their_peer_over_a_rollback(self):
        """The edit of a peer stays with this peer where the rollback moves the peer in the array."""
        peers = [{"address": "192.0.2.%d" % i, "asn": 64513, "passive": True} for i in (2, 3)]
        self.begin()
        self.edit(bgp={"peers": peers[1:]})
        one = self.keel.call("config.commit")["commit"]
        self.edit(bgp={"peers": peers})
        self.keel.call("config.commit")
        self.edit(bgp={"peers": [peers[0], dict(peers[1], description="edited")]})
        self.keel.call("config.rollback", {"to": one})
        candidate = self.keel.call("config.get", {"source": "candidate"})["document"]
        self.assertEqual(candidate["bgp"]["peers"], [dict(peers[1], description="edited")])
        self.assertEqual([op["path"] for op in self.keel.call("config.diff")["diff"]], ["/bgp/peers/0/description"])

    def test_what_ends_the_wait(self):
        self.begin()
        self.commit("second", confirm_s=60)
        os.kill(self.keel.process.pid, signal.SIGHUP)
        self.await_logged("reload-refused reason=commit-awaits-confirmation")
        self.commit("third")  # confirms, RFC 6241 8.4.1
        self.refused(-32004, "config.confirm")
        self.commit("fourth", confirm_s=60)
        self.keel.call("config.rollback", {"to": 0})
        self.refused(-32004, "config.confirm")
        self.keel.kill()
        self.keel.start()
        self.assertEqual(self.words(), ("first", "first"))
        self.refused(-32602, "config.commit", confirm_s=0)
        self.refused(-32602, "config.commit", confirm_s="1")

    def test_passwords_stay_here(self):
        peer = {"address": THEM, "asn": 64513, "password": SECRET, "shutdown": True}
        self.begin(dict(document(), bgp={"peers": [peer]}))
        shown = dict(peer, password="***")
        self.assertEqual(self.running("/bgp/peers/0"), shown)
        self.assertEqual(self.running("/bgp/peers/0/password"), "***")
        # Committing the shown document changes nothing.
        self.assertFalse(self.edit(bgp={"peers": [shown]})["changed"])
        self.edit(bgp={"peers": [dict(shown, description="words")]})
        self.assertEqual([o["path"] for o in self.keel.call("config.diff")["diff"]], ["/bgp/peers/0/description"])
        self.keel.call("config.commit")
        self.assertEqual(self.keel.on_disk()["bgp"]["peers"][0]["password"], SECRET)
        # A new secret appears as a change without its value; *** then means the candidate's new secret.
        self.edit(bgp={"peers": [dict(peer, password="another " + SECRET)]})
        diff = self.keel.call("config.diff")["diff"]
        self.assertIn({"op": "replace", "path": "/bgp/peers/0/password", "value": "***"}, diff)
        self.assertFalse(self.edit(bgp={"peers": [shown]})["changed"])
        self.keel.call("config.commit", {"comment": "password"})
        self.assertEqual(self.keel.on_disk()["bgp"]["peers"][0]["password"], "another " + SECRET)
        self.keel.call("config.rollback", {"to": 0})
        self.assertEqual(self.keel.on_disk()["bgp"]["peers"][0]["password"], SECRET)
        # No secret to restore.
        self.edit(bgp={"peers": [dict(shown, address="192.0.2.9")]})
        self.assertEqual(self.refused(-32005, "config.commit")["data"]["path"], "/bgp/peers/0/password")
        answers = [self.keel.answer("config.get", {"source": s}) for s in ("running", "candidate", "startup")]
        answers += [self.keel.answer(m) for m in ("config.diff", "config.validate", "config.history", "bgp.peers")]
        self.assertNotIn(SECRET, json.dumps(answers) + self.keel.log_text())

    def hurry(self, begun, sent, answered, start, **params):
        """Commits in sequence, without pauses, until keeld is gone."""
        try:
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(self.keel.path)
                lines = s.makefile()
                for n in range(start, start + 10000):
                    merge = {"description": "commit %d" % n, "router": {"description": "x" * (n % 997)}}
                    for method, p in (("config.edit", {"merge": merge}), ("config.commit", dict(params, comment=str(n)))):
                        if method == "config.commit":
                            sent.append(n)
                        s.sendall(json.dumps({"jsonrpc": "2.0", "id": n, "method": method, "params": p}).encode() + b"\n")
                        answer = json.loads(lines.readline() or "null")
                        if answer is None:
                            return
                        assert "result" in answer, answer
                    answered.append((n, answer["result"]["commit"]))
                    begun.set()
        except OSError:
            pass

    def end_in_a_hurry(self, rng, start, **params):
        sent, answered, begun = [], [], threading.Event()
        t = threading.Thread(target=self.hurry, args=(begun, sent, answered, start), kwargs=params)
        t.start()
        self.assertTrue(begun.wait(keel_rig.WAIT_S), self.keel.logged())
        threading.Event().wait(rng.random() * 0.012)  # the moment
        self.keel.kill()
        t.join()
        return sent, answered

    def test_ends_in_the_midst_of_commits(self):
        seed = int(os.environ.get("SEED", "20261120"))
        rng = random.Random(seed)
        self.begin(document("commit 0"))
        last, last_id = 0, 0
        for moment in range(MOMENTS):
            sent, answered = self.end_in_a_hurry(rng, last + 1)
            where = "moment %d of seed %d" % (moment, seed)
            now = self.keel.on_disk()
            n = int(now["description"].split()[1])
            self.assertIn(n, (answered[-1][0], sent[-1]), where)
            self.assertEqual(now["router"]["description"], "x" * (n % 997), where)
            self.keel.start()
            self.assertEqual(self.running(), now, where)
            ids = [i for i, _ in self.history()]
            self.assertEqual(ids, sorted(set(ids)), where)
            self.assertIn(answered[-1][1], ids, where)
            self.assertGreater(answered[0][1], last_id, where)
            last, last_id = n, ids[-1]
        left = [n for n in os.listdir(self.folder) + os.listdir(os.path.join(self.keel.state, "commits")) if ".tmp-" in n]
        self.assertEqual(left, [], "what a sudden end left half-written is tidied at the next start")


    def test_no_unconfirmed_commit_outlives_an_end(self):
        seed = int(os.environ.get("SEED", "20261121"))
        rng = random.Random(seed)
        self.begin(document("commit 0"))
        for moment in range(max(4, MOMENTS // 10)):
            self.commit("base %d" % moment)
            base = self.running()
            self.end_in_a_hurry(rng, 1000 * moment, confirm_s=60)
            self.keel.start()
            where = "moment %d of seed %d" % (moment, seed)
            self.assertEqual((self.running(), self.keel.on_disk()), (base, base), where)

    def test_a_commit_costs_what_it_changes(self):
        """In a document of long lists: a tenth of a start at most, for a key and for an entry; FILE and the history have it, and a restart."""
        entries = [{"action": "permit", "prefix": "10.%d.%d.0/24" % (i // 256, i % 256)} for i in range(5000)]
        self.begin(dict(document("commit 0"), prefix_lists=[{"name": "l%d" % i, "entries": entries} for i in range(20)]))
        start = self.cpu_ns()
        for path, values in (("/description", ["a", "b", "c", "d"]),
                             ("/prefix_lists/7/entries/100", [{"action": "deny", "prefix": "10.0.%d.0/24" % i} for i in range(4)])):
            costs = []
            for value in values:
                before = self.cpu_ns()
                self.keel.call("config.edit", {"patch": [{"op": "add", "path": path, "value": value}]})
                self.assertTrue(self.keel.call("config.commit")["persisted"])
                costs.append(self.cpu_ns() - before)
            print("start %.0f ms, commit of %s %.1f ms" % (start / 1e6, path, min(costs) / 1e6), flush=True)
            self.assertLess(10 * min(costs), start, costs)
            self.assertEqual(self.keel.on_disk(), self.running())
        running = self.running()
        self.keel.stop()
        self.keel.start()
        self.assertEqual(self.running(), running)


if __name__ == "__main__":
    keel_rig.main()
