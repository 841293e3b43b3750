#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""A disk that does not answer costs the commits that wait for it, and nothing else: requests of others are answered, sessions come up, the alarm and the log
name the file. Needs root (a network namespace); else the exit status is 77.

usage: test_disk.py KEELD HUNG_DISK; HANG_S: for how long the disk hangs
"""
import os
import signal
import socket
import sys
import threading
import time

SHIM = sys.argv.pop(2)

import keel_rig  # noqa: E402
from keel_rig import THEM, US, WAIT_S, Call, KeelTest, Speaker  # noqa: E402

HANG_S = float(os.environ.get("HANG_S", "30"))
ANSWER_S = 5  # the longest answer of others; a loaded machine is slow, a wait for the disk would take HANG_S
PEER = {"address": THEM, "asn": 64513, "passive": True}
DOCUMENT = {"description": "first", "router": {"asn": 64512, "router_id": US}, "bgp": {"peers": [PEER]}}


class Disk(KeelTest):
    def begin(self, files="/state/:keel.json", document=DOCUMENT):
        disk = keel_rig.HungDisk(self, SHIM, files)
        self.hang = disk.hang
        with disk.environment():
            self.start(document)

    def edit(self, words):
        self.keel.call("config.edit", {"merge": {"description": words}})

    def running(self):
        return self.keel.call("config.get")["document"]["description"]

    def alarms(self):
        return [a["text"] for a in self.keel.call("system.info")["alarms"] if a["kind"] == "disk"]

    def trail(self):
        with open(os.path.join(self.keel.state, "audit.log")) as f:
            return f.read()

    def in_force(self, words):
        self.wait("%s is in force" % words, lambda: self.running() == words)

    def test_hung(self):
        self.begin()
        self.assertEqual(self.alarms(), [])
        self.hang(True)
        began, longest = time.monotonic(), 0
        self.edit("second")
        commit = Call(self.keel, "config.commit", comment="hung")
        self.in_force("second")
        peer = Speaker(self.namespace)
        self.assertTrue(peer.established())
        peer.announce("20.0.0.0")
        while time.monotonic() < began + HANG_S:
            asked = time.monotonic()
            self.keel.call("bgp.peers")
            self.assertEqual(self.keel.call("config.history")["commits"][-1]["comment"], "hung")
            self.assertEqual(self.keel.call("audit.list")["calls"][0]["method"], "config.edit")
            longest = max(longest, time.monotonic() - asked)
            threading.Event().wait(0.05)
        print("the longest three answers in %.0f s: %.3f s" % (HANG_S, longest), flush=True)
        self.assertLess(longest, ANSWER_S)
        self.assertTrue(peer.up and not peer.closed())
        self.assertTrue(commit.waits())
        self.wait("the alarm names a file", lambda: any(self.keel.state in text or self.keel.file in text for text in self.alarms()))
        self.await_logged("disk-slow file=")
        self.assertEqual(self.keel.on_disk()["description"], "first")
        # A second commit is in force, too; one with a time changes nothing before the history has it, and others do not overtake it.
        self.edit("third")
        third = Call(self.keel, "config.commit")
        self.in_force("third")
        self.edit("fourth")
        fourth = Call(self.keel, "config.commit", confirm_s=600)
        self.edit("fifth")
        for method, params in (("config.commit", {}), ("config.rollback", {"to": 0}), ("config.reload", {}), ("config.confirm", {})):
            refused = self.keel.answer(method, params)
            self.assertEqual(refused["error"]["code"], -32013, refused)
            self.assertIn("the disk does not answer", refused["error"]["data"]["reason"])
        os.kill(self.keel.call("system.info")["pid"], signal.SIGHUP)
        self.await_logged("reload-refused reason=\"an earlier change is being written")
        self.assertEqual(self.running(), "third")
        self.assertTrue(commit.waits() and third.waits() and fourth.waits())
        self.hang(False)
        answers = [c.answer()["result"] for c in (commit, third, fourth)]
        self.assertEqual([(a["commit"], a["persisted"]) for a in answers], [(1, True), (2, True), (3, True)])
        self.assertEqual(self.running(), "fourth")
        self.assertEqual(self.keel.on_disk()["description"], "fourth")
        self.assertEqual(self.alarms(), [])
        self.await_logged("disk-slow-ended file=")
        self.assertEqual(self.keel.call("config.confirm"), {})
        methods = [c["method"] for c in self.keel.call("audit.list")["calls"]]
        self.assertEqual(methods[0], "config.confirm")
        self.wait("the trail is written", lambda: '"config.confirm","result"' in self.trail())
        self.keel.kill()
        self.keel.start()
        self.assertEqual(self.running(), "fourth")
        self.assertEqual([c["method"] for c in self.keel.call("audit.list")["calls"]][-len(methods):], methods)
        self.assertEqual(self.keel.call("config.rollback", {"to": 1})["persisted"], True)
        self.assertEqual(self.keel.on_disk()["description"], "second")

    def test_commits_that_wait_are_bounded(self):
        self.begin()
        self.hang(True)
        waiting = []
        for number in range(100):
            self.edit("number %d" % number)
            call = Call(self.keel, "config.commit")
            self.wait("in force, or refused", lambda: not call.waits() or self.running() == "number %d" % number)
            if not call.waits():
                self.assertEqual(call.answer()["error"]["code"], -32013)
                break
            waiting.append(call)
        self.assertIn(len(waiting), range(2, 20))
        self.hang(False)
        self.assertTrue(all(call.answer()["result"]["persisted"] for call in waiting))
        self.keel.call("config.commit")
        self.assertEqual(self.keel.on_disk()["description"], "number %d" % len(waiting))

    def test_a_time_ends_while_the_disk_hangs(self):
        """The configuration returns in time, its files follow."""
        self.begin()
        self.edit("second")
        self.keel.call("config.commit", {"confirm_s": 10})
        self.hang(True)
        self.in_force("first")
        self.assertEqual(self.keel.on_disk()["description"], "second")
        events = self.keel.notifications("commit")
        self.hang(False)
        self.assertEqual(next(events)["comment"], "rollback to 0: 1 was not confirmed")
        self.assertEqual(self.keel.on_disk()["description"], "first")

    def test_a_confirmation_waits(self):
        """The commit does not expire while its confirmation waits for the disk."""
        self.begin()
        self.edit("second")
        self.keel.call("config.commit", {"confirm_s": 10})
        self.hang(True)
        confirm = Call(self.keel, "config.confirm")
        until = time.monotonic() + 11
        while time.monotonic() < until:
            self.assertEqual(self.running(), "second")
            time.sleep(0.05)
        self.assertTrue(confirm.waits())
        self.hang(False)
        self.assertEqual(confirm.answer()["result"], {})
        self.assertEqual(self.running(), "second")
        self.assertNotIn("confirm", self.keel.call("config.history"))

    def labels(self):
        return {v["name"]: v["label"] for v in self.keel.call("vrf.list")["vrfs"] if "label" in v}

    def restart(self):
        self.keel.kill()
        self.keel.start()

    def test_a_confirmation_follows_the_files_of_its_commit(self):
        """The index that the commit writes does not undo the confirmation."""
        self.begin("keel.json")
        self.hang(True)
        self.edit("second")
        commit = Call(self.keel, "config.commit", confirm_s=600)
        self.in_force("second")
        confirm = Call(self.keel, "config.confirm")
        self.wait("the confirmation has begun", lambda: self.keel.answer("config.confirm")["error"]["code"] == -32013)
        self.assertTrue(commit.waits() and confirm.waits())
        self.hang(False)
        self.assertEqual(commit.answer()["result"]["persisted"], True)
        self.assertEqual(confirm.answer()["result"], {})
        self.restart()
        self.assertEqual(self.running(), "second")

    def test_files_are_not_read_while_they_are_written(self):
        """A reload, or a commit that takes policy files, would undo a commit whose files are not written yet."""
        self.begin()
        self.hang(True)
        waiting = []
        for words in ("second", "third"):
            self.edit(words)
            waiting.append(Call(self.keel, "config.commit"))
            self.in_force(words)
        self.edit("fourth")
        self.assertEqual(self.keel.answer("config.commit", {"policy_files": True})["error"]["code"], -32013)
        self.keel.call("config.discard")
        for method in ("config.commit", "config.reload"):
            self.assertEqual(self.keel.answer(method, {})["error"]["code"], -32013)
        os.kill(self.keel.call("system.info")["pid"], signal.SIGHUP)
        self.await_logged("reload-refused reason=\"an earlier change is being written")
        self.hang(False)
        self.assertTrue(all(call.answer()["result"]["persisted"] for call in waiting))
        self.assertIsNone(self.keel.call("config.reload")["commit"])
        self.assertEqual((self.running(), self.keel.on_disk()["description"]), ("third", "third"))

    def test_a_time_ends_while_another_commit_waits(self):
        """The commit that waits for the disk is refused, and the configuration returns in time."""
        self.begin()
        self.edit("second")
        self.keel.call("config.commit", {"confirm_s": 10})
        self.hang(True)
        self.edit("third")
        third = Call(self.keel, "config.commit", confirm_s=600)
        self.in_force("first")
        self.assertIn("was not confirmed in time", third.answer()["error"]["data"]["reason"])
        events = self.keel.notifications("commit")
        self.hang(False)
        self.assertEqual(next(events)["comment"], "rollback to 0: 1 was not confirmed")
        self.assertEqual([c["id"] for c in self.keel.call("config.history")["commits"]], [0, 1, 2])
        self.keel.call("config.discard")
        self.restart()
        self.assertEqual(self.running(), "first")

    def test_a_time_ends_without_files(self):
        """The configuration before is in memory until the confirmation."""
        self.begin()
        self.edit("second")
        self.keel.call("config.commit", {"confirm_s": 5})
        os.unlink(os.path.join(self.keel.state, "commits", "commit-0.json"))
        self.in_force("first")
        self.wait("written", lambda: self.keel.on_disk()["description"] == "first")

    def test_a_document_that_is_not_written_raises_the_alarm(self):
        """The index of the same commit, which is written, does not end the alarm; the next document does."""
        self.begin()
        os.mkdir(os.path.join(self.keel.state, "commits", "commit-1.json"))
        self.edit("second")
        self.keel.call("config.commit")
        self.keel.call("config.commit")  # writes FILE and the index again
        text, = self.alarms()
        self.assertRegex(text, "/commits cannot be written: Is a directory")
        self.edit("third")
        self.keel.call("config.commit")
        self.assertEqual(self.alarms(), [])

    def test_the_disk_answers_late_at_the_end(self):
        """The answer of the disk for a commit that was refused meanwhile is good for nothing, and harms nothing."""
        self.begin()
        self.edit("second")
        self.hang(True)
        commit = Call(self.keel, "config.commit", confirm_s=600)
        self.wait("the disk is slow", lambda: self.alarms())
        self.keel.process.terminate()
        self.assertEqual(commit.answer()["error"]["data"]["reason"], "keeld ends, and the disk does not answer")
        self.hang(False)
        self.assertEqual(self.keel.process.wait(60), 0, self.keel.logged())
        self.assertNotIn("disk-left", self.keel.log_text())
        self.keel.start()
        self.assertEqual(self.running(), "first")

    def test_instances_get_labels_when_the_disk_answers(self):
        """One version of the labels is on its way, for any number of instances and calls; its end gives the labels."""
        self.begin("labels.json")
        self.hang(True)
        names = ["v%d" % n for n in range(20)]
        for first in (0, 10):
            vrfs = [{"name": name, "rd": "64512:%d" % (n + 1)} for n, name in enumerate(names[:first + 10])]
            self.keel.call("config.edit", {"merge": {"vrfs": vrfs}})
            self.addCleanup(Call(self.keel, "config.commit").sock.close)
            self.wait("in force", lambda: len(self.keel.call("config.get")["document"].get("vrfs", [])) == first + 10)
        self.wait("the alarm names the labels", lambda: any("labels.json" in text for text in self.alarms()))
        alarms = self.alarms()
        longest, until = 0, time.monotonic() + 13  # beyond the next attempt
        while time.monotonic() < until:
            asked = time.monotonic()
            self.keel.call("bgp.peers")
            longest = max(longest, time.monotonic() - asked)
            time.sleep(0.05)
        self.assertLess(longest, 1)
        self.assertEqual(self.labels(), {})
        self.assertEqual(self.alarms(), alarms)  # no more files wait
        answered = time.monotonic()
        self.hang(False)
        self.wait("labels", lambda: len(self.labels()) == 20)
        self.assertLess(time.monotonic() - answered, ANSWER_S)
        before = self.labels()
        self.assertEqual(len(set(before.values())), 20)
        self.wait("written", lambda: not self.alarms() and self.keel.on_disk().get("vrfs"))
        self.restart()
        self.assertEqual(self.labels(), before)

    def test_the_end_does_not_wait_for_ever(self):
        for confirm in ({}, {"confirm_s": 60}):
            self.begin()
            self.edit("second")
            self.hang(True)
            commit = Call(self.keel, "config.commit", **confirm)
            if confirm:
                self.wait("the disk is slow", lambda: self.alarms())
            else:
                self.in_force("second")
            began = time.monotonic()
            self.keel.stop()
            self.assertLess(time.monotonic() - began, 25)
            self.await_logged("disk-left file=")
            answer = commit.answer()
            if confirm:
                self.assertEqual(answer["error"]["data"]["reason"], "keeld ends, and the disk does not answer")
            else:
                self.assertIsNone(answer)  # neither written nor refused
            self.hang(False)
            self.keel.start()
            self.assertEqual(self.running(), "first")
            self.doCleanups()
            self.setUp()

    def test_the_start_does_not_wait_for_ever(self):
        """The files of a start are written when the disk answers; sessions come up before."""
        self.begin()
        self.keel.stop()
        disk = keel_rig.HungDisk(self, SHIM, "/state/commits:keel.json")
        disk.hang(True)
        with disk.environment():
            self.keel.start()
        peer = Speaker(self.namespace)
        self.assertTrue(peer.established())
        self.wait("the alarm names the history", lambda: any("commits" in text for text in self.alarms()))
        disk.hang(False)
        self.wait("no alarm", lambda: not self.alarms())


if __name__ == "__main__":
    keel_rig.main()
