#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Policy files against a real keeld: who takes a file that somebody edits, and what returns with a rollback and an unconfirmed commit. Needs root (a
network namespace); else the exit status is 77.

usage: test_policy_files.py KEELD KEELCTL
"""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile

import keel_rig
from keel_rig import KEELD, US, V4, KeelTest

KEELCTL = sys.argv.pop(2)
TEXT = "include \"sets.policy\";\npolicy in {\n    if net ~ some then local_pref = %d;\n    accept;\n}\n"
SETS = "define some = [10.0.0.0/8+];  # \xa7 is one octet in this file\n"


class PolicyFiles(KeelTest):
    def begin(self):
        self.path = os.path.join(self.folder, "in.policy")
        self.sets = os.path.join(self.folder, "sets.policy")
        self.write(TEXT % 100)
        with open(self.sets, "w", encoding="latin-1") as f:
            f.write(SETS)
        peer = {"address": "192.0.2.7", "asn": 64513, "families": {V4: {"import_policy": "in", "export_policy": "accept-all"}}}
        document = {"router": {"asn": 64512, "router_id": US}, "policy_files": ["in.policy"], "bgp": {"peers": [peer]}}
        self.start(document)

    def write(self, text, path=None):
        with open(path or self.path, "w") as f:
            f.write(text)

    def on_disk(self):
        with open(self.path) as f:
            return f.read()

    def preference(self):
        """The local preference that the policy in force sets."""
        return self.keel.call("policy.test", {"policy": "in", "route": {"prefix": "10.1.0.0/16"}})["route"]["local_pref"]

    def commit(self, **params):
        return self.keel.call("config.commit", params)

    def edit(self, words):
        self.keel.call("config.edit", {"merge": {"description": words}})

    def files(self, answer):
        return [(os.path.basename(f["path"]), f["changed"], f["on_disk"]) for f in answer["policy_files"]]

    def state(self, number, text):
        self.assertEqual((self.preference(), self.on_disk()), (number, TEXT % text if isinstance(text, int) else text))

    def comments(self):
        return [c["comment"] for c in self.keel.call("config.history")["commits"]]

    def ctl(self, *lines):
        return subprocess.run([KEELCTL, "--socket", self.keel.path, *lines], capture_output=True, text=True, timeout=60)

    def test_rollback_returns_to_the_text(self):
        self.begin()
        os.chmod(self.path, 0o640)
        os.chown(self.path, 1, 1)
        self.write(TEXT % 200)
        answer = self.commit()
        self.assertEqual(self.files(answer), [("in.policy", True, True)])
        second = answer["commit"]
        self.state(200, 200)
        answer = self.keel.call("config.rollback", {"to": 0})
        self.assertEqual(self.files(answer), [("in.policy", True, True)])
        self.state(100, 100)
        st = os.stat(self.path)
        self.assertEqual((st.st_mode & 0o777, st.st_uid, st.st_gid), (0o640, 1, 1))
        self.assertEqual(self.keel.call("config.rollback", {"to": second})["persisted"], True)
        self.state(200, 200)
        # Somebody edits the file: his text stays on disk, and is not in force.
        self.write(TEXT % 300)
        answer = self.keel.call("config.rollback", {"to": 0})
        self.assertEqual(self.files(answer), [("in.policy", True, False)])
        self.state(100, 300)
        self.keel.kill()  # nor after a restart, since nobody has edited the file again
        self.keel.start()
        self.state(100, 300)
        self.await_logged("policy-file-left file=%s" % self.path)
        self.assertEqual(self.files(self.commit()), [("in.policy", True, True)])
        self.state(300, 300)
        self.assertEqual(self.commit()["commit"], None)

    def test_an_unconfirmed_commit_returns(self):
        self.begin()
        events = self.keel.notifications("commit")
        self.write(TEXT % 200)
        self.assertEqual(self.commit(confirm_s=1)["commit"], 1)
        self.state(200, 200)
        self.assertEqual([next(events)["comment"] for _ in range(2)], ["", "rollback to 0: 1 was not confirmed"])
        self.state(100, 100)
        # A confirmed one stays; the commit that confirms does not take what is edited meanwhile.
        self.write(TEXT % 200)
        waiting = self.commit(confirm_s=60)["commit"]
        self.write("policy in {")
        answer = self.commit()
        self.assertEqual((answer["commit"], answer["confirmed"], self.files(answer)), (None, waiting, [("in.policy", False, False)]))
        self.state(200, "policy in {")

    def test_a_restart_in_the_window(self):
        self.begin()
        for end in ("stop", "kill"):
            self.write(TEXT % 200)
            last = len(self.comments()) - 1
            self.commit(confirm_s=60)
            getattr(self.keel, end)()
            self.keel.start()
            self.state(100, 100)
            self.assertEqual(self.comments()[-1], "rollback to %d: not confirmed before a restart" % last)
            self.write(TEXT % 200)
            last += 2
            self.commit(confirm_s=60)
            getattr(self.keel, end)()
            self.write(TEXT % 300)  # not what was taken
            self.keel.start()
            self.state(100, 300)
            self.write(TEXT % 100)
            self.assertEqual(self.commit()["commit"], None)

    def test_an_edited_file_is_taken_on_demand(self):
        self.begin()
        self.write(TEXT % 200)
        self.edit("of somebody else")
        diff = self.keel.call("config.diff")["policy_files"]
        self.assertEqual([(f["changed"], f["old"], f["new"]) for f in diff], [(False, TEXT % 100, TEXT % 200)])
        answer = self.commit()
        self.assertEqual(self.files(answer), [("in.policy", False, False)])
        self.state(100, 200)
        self.write("policy in { nonsense")
        self.edit("again")
        self.assertEqual(self.keel.call("config.validate"), {"valid": True, "errors": [], "restart_required": []})
        self.assertEqual(self.files(self.commit()), [("in.policy", False, False)])
        self.assertEqual(self.preference(), 100)
        error = self.keel.answer("config.commit")["error"]
        self.assertIn(self.path + ":1:13", str(error))
        self.assertEqual(self.keel.call("config.validate")["valid"], False)
        # what the candidate needs is in a file that the commit does not take
        self.write(TEXT % 400 + "policy other { accept; }\n")
        self.keel.call("config.edit", {"patch": [
            {"op": "replace", "path": "/bgp/peers/0/families/%s/import_policy" % V4, "value": "other"}]})
        error = self.keel.answer("config.commit")["error"]
        self.assertEqual(self.files(error["data"]), [("in.policy", False, False)])
        self.assertIn("not taken: policy file %s differs on disk; `commit policy-files` takes it" % self.path, str(self.ctl("commit")))
        self.assertNotIn("error", self.keel.answer("bgp.refresh.preview", {"candidate": True, "policy_files": True}))
        self.assertIn("error", self.keel.answer("bgp.refresh.preview", {"candidate": True}))
        out = self.ctl("commit", "policy-files").stdout
        self.assertIn("published:\n", out)
        self.assertIn("~ policy file %s\n" % self.path, out)
        self.assertEqual(self.preference(), 400)
        # without edits, on demand not
        self.write(TEXT % 500)
        self.assertEqual(self.commit(policy_files=False)["commit"], None)
        self.assertEqual(self.keel.call("config.diff")["policy_files"][0]["changed"], True)
        self.assertIn("  - " + (TEXT % 400).splitlines()[2], self.ctl("show", "diff").stdout)
        self.assertEqual(self.preference(), 400)
        # SIGHUP and reload take it
        self.write(TEXT % 500 + "policy other { accept; }\n")
        commits = len(self.comments())
        os.kill(self.keel.process.pid, signal.SIGHUP)
        self.wait("SIGHUP takes the file", lambda: self.preference() == 500)
        self.assertEqual(self.comments()[commits:], ["SIGHUP"])

    def test_the_history_keeps_the_texts(self):
        self.begin()
        folder = os.path.join(self.keel.state, "commits")
        for i in range(101):
            self.write(TEXT % (200 + i % 3))
            self.assertIsInstance(self.commit()["commit"], int)
        commits = self.keel.call("config.history")["commits"]
        self.assertEqual(len(commits), 100)
        self.assertEqual([c["policy_files"][self.path] for c in commits], [TEXT % (200 + (c["id"] - 1) % 3) for c in commits])
        # the first text is in no commit any more; each other one is kept once, and is private
        texts = [n for n in os.listdir(folder) if n.startswith("policy-")]
        self.assertEqual(len(texts), 4)
        self.assertEqual({os.stat(os.path.join(folder, n)).st_mode & 0o777 for n in texts}, {0o600})
        one = self.keel.call("config.history", {"id": commits[-1]["id"]})
        self.assertEqual(one["diff"], [])
        self.assertEqual([(f["path"], f["old"], f["new"]) for f in one["policy_files"]], [(self.path, TEXT % (200 + 99 % 3), self.on_disk())])
        self.assertEqual(one["commits"][0]["policy_files"], {self.path: self.on_disk(), self.sets: None})  # the latter is no UTF-8
        self.assertIn("  + " + self.on_disk().splitlines()[2], self.ctl("show", "history", str(commits[-1]["id"])).stdout)
        # all of them return, in keeld's next life, too
        self.keel.kill()
        self.keel.start()
        self.assertEqual(self.keel.call("config.history")["commits"], commits)
        self.write(SETS.replace("10.", "11."), self.sets)
        self.commit()
        self.keel.call("config.rollback", {"to": commits[0]["id"] + 2})
        with open(self.sets, encoding="latin-1") as f:
            self.assertEqual(f.read(), SETS)
        self.assertEqual(self.preference(), 200 + (commits[0]["id"] + 1) % 3)

    def alarms(self):
        return [a["text"] for a in self.keel.call("system.info")["alarms"] if a["kind"] == "policy-files"]

    def test_a_start_with_a_faulty_file_takes_the_last_text(self):
        self.begin()
        self.write(TEXT % 200)
        self.commit()
        self.assertEqual(self.alarms(), [])
        commits = self.comments()
        for end, faulty in (("stop", "policy in {"), ("kill", "policy out { accept; }"), ("stop", None)):
            if faulty is None:
                os.remove(self.path)
            else:
                self.write(faulty)
            getattr(self.keel, end)()
            self.keel.start()
            self.assertEqual(self.preference(), 200)
            self.await_logged("policy-file-faulty path=")
            self.await_logged("policy-file-left file=%s" % self.path)
            self.assertIn(self.path, self.alarms()[0])
            self.assertEqual(self.comments(), commits)
            self.keel.log.truncate(0)
        # also the file that includes the faulty one, and the alarm ends with the file, or with a commit that takes it
        self.write(TEXT % 200)
        self.assertEqual(self.alarms(), [])
        with open(self.sets, "w") as f:
            f.write("define")
        self.keel.stop()
        self.keel.start()
        self.assertEqual(self.preference(), 200)
        self.assertIn(self.sets, self.alarms()[0])
        with open(self.sets, "w") as f:
            f.write(SETS)
        self.write(TEXT % 300)
        self.commit()
        self.assertEqual((self.preference(), self.alarms()), (300, []))

    def test_a_running_keeld_names_what_it_has_not_taken(self):
        self.begin()
        self.write("policy in {")
        self.edit("of somebody else")
        self.commit()
        self.assertIn(self.path, self.alarms()[0])
        self.write(TEXT % 100)
        self.assertEqual(self.alarms(), [])

    def test_a_faulty_file_without_a_commit_of_it(self):
        """Without a history, and in a check, the fault ends the start."""
        self.begin()
        self.write("policy in {")
        check = subprocess.run([KEELD, "-c", self.keel.file, "--state-dir", self.keel.state, "--no-dataplane", "--check"], capture_output=True, text=True,
                               timeout=60)
        self.assertEqual(check.returncode, 2)
        self.assertIn(self.path + ":1:", check.stderr)
        self.keel.stop()
        shutil.rmtree(self.keel.state)
        start = subprocess.run([KEELD, "-c", self.keel.file, "--state-dir", self.keel.state, "--no-dataplane"], capture_output=True, text=True, timeout=60)
        self.assertEqual(start.returncode, 2)
        self.assertIn(self.path + ":1:", start.stderr)

    def test_a_file_elsewhere_is_not_shown(self):
        """Neither in a difference nor in the history: a user could name, or link to, any file that keeld may read."""
        self.begin()
        self.write(TEXT % 200)
        self.commit()
        elsewhere = os.path.join(tempfile.mkdtemp(prefix="keel-elsewhere-"), "other.policy")
        self.addCleanup(shutil.rmtree, os.path.dirname(elsewhere))
        self.write("# hunter2\npolicy other { accept; }\n", elsewhere)
        self.keel.call("config.edit", {"merge": {"policy_files": ["in.policy", elsewhere]}})
        number = self.commit()["commit"]
        self.write("hunter2 token\n", elsewhere)
        diff = self.keel.call("config.diff")["policy_files"]
        self.assertEqual([(f["path"], f["old"], f["new"]) for f in diff], [(elsewhere, None, None)])
        os.remove(self.path)
        os.symlink(elsewhere, self.path)
        diff = self.keel.call("config.diff")["policy_files"]
        self.assertEqual({f["path"]: (f["old"], f["new"]) for f in diff}, {elsewhere: (None, None), self.path: (None, None)})
        os.remove(self.path)
        diff = self.keel.call("config.diff")["policy_files"]  # a missing file is in its folder
        self.assertIn((self.path, TEXT % 200, None), [(f["path"], f["old"], f["new"]) for f in diff])
        self.write(TEXT % 200)
        for answer in (self.keel.call("config.history"), self.keel.call("config.history", {"id": number}), self.keel.call("config.diff")):
            self.assertNotIn("hunter2", json.dumps(answer))
        self.assertNotIn("hunter2", str(self.ctl("show", "diff")) + str(self.ctl("show", "history", str(number))))
        commit = self.keel.call("config.history", {"id": number})["commits"][0]
        self.assertEqual((commit["policy_files"][elsewhere], commit["policy_files"][self.path]), (None, TEXT % 200))

    def test_a_file_that_cannot_be_written_is_named(self):
        self.begin()
        self.write(TEXT % 200)
        self.commit()
        os.rename(self.path, self.path + ".away")
        os.mkdir(self.path)
        answer = self.keel.call("config.rollback", {"to": 0})
        self.assertEqual(self.files(answer), [("in.policy", True, False)])
        self.assertEqual(self.preference(), 100)

    def test_kill_while_commits_and_returns_run(self):
        """After each restart the policy in force is one that was committed, and a waiting one has gone back."""
        self.begin()
        for i in range(12):
            self.write(TEXT % 200)
            request = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "config.commit", "params": {"confirm_s": 60}})
            sender = subprocess.Popen(["python3", "-c", "import socket,sys\ns=socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\n"
                                       "s.sendall(sys.argv[2].encode()+b'\\n')\ns.recv(9)", self.keel.path, request], stderr=subprocess.DEVNULL)
            folder = os.path.join(self.keel.state, "commits", "index.json")
            before = os.stat(folder).st_mtime_ns
            if i % 3:
                self.wait("the commit is under way", lambda: os.stat(folder).st_mtime_ns != before)
            if i % 3 == 2:
                sender.wait(60)
            self.keel.kill()
            sender.wait(60)
            with open(folder) as f:
                waits = "confirm" in json.load(f)
            self.keel.start()
            if waits:
                self.state(100, 100)
            else:  # killed before the commit began: the start has taken the file
                self.state(200, 200)
                self.write(TEXT % 100)
                self.commit()


if __name__ == "__main__":
    keel_rig.main()
