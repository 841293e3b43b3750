#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Local users against the sockets of a real keeld: a user takes all connections. Needs root (a network namespace, other users); else the exit
status is 77.

usage: test_local_users.py KEELD
"""
import os
import subprocess
import sys
import time

import keel_rig
from keel_rig import US, WAIT_S, KeelTest, unhurried

LIMIT = 64  # read-only connections; a user has a quarter
IDLE_S = 9  # idle connections make room 1 s later
NOBODY, GAMES = 65534, 5

# Connects as another user: prints the number of answered connections out of N, waits for a line, and sends another request on a new connection.
CLIENT = """
import json, os, socket, sys
path, uid, count, subscribe = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "subscribe"
os.setgroups([]); os.setgid(uid); os.setuid(uid)
def ask(method, params):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(60)
    try:
        s.connect(path)
        s.sendall(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode() + b"\\n")
        return s if s.recv(1) else None
    except OSError:
        return None
held = [ask("events.subscribe", {"topics": ["session"]}) if subscribe else ask("system.info", {}) for _ in range(count)]
print(sum(s is not None for s in held), flush=True)
for line in sys.stdin:
    if line == "again\\n":
        print(ask("system.info", {}) is not None, flush=True)
    elif line == "alive\\n":
        alive = 0
        for s in held:
            if s is None:
                continue
            s.setblocking(False)
            try:
                while (data := s.recv(1 << 16)):
                    pass
            except BlockingIOError:
                alive += 1
            except OSError:
                pass
        print(alive, flush=True)
"""


class User:
    def __init__(self, test, uid, count, how="ask"):
        self.process = subprocess.Popen([sys.executable, "-c", CLIENT, test.keel.path + ".ro", str(uid), str(count), how], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        test.addCleanup(self.end)
        self.answered = int(self.process.stdout.readline())

    def say(self, word):
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def end(self):
        self.process.stdin.close()
        self.process.wait(WAIT_S)
        self.process.stdout.close()


class LocalUsers(KeelTest):
    def setUp(self):
        super().setUp()
        os.chmod(self.folder, 0o755)

    def begin(self):
        self.start({"router": {"asn": 64512, "router_id": US}, "bgp": {}})

    @unhurried
    def test_one_user_leaves_room_for_others(self):
        """The attack: a user opens the maximum number of read-only connections."""
        self.begin()
        begin = time.monotonic()
        attacker = User(self, NOBODY, LIMIT + 8)
        self.in_time(begin + IDLE_S)
        self.assertEqual(attacker.answered, LIMIT // 4)
        other, root = User(self, GAMES, 2), User(self, 0, 2)
        self.assertEqual((other.answered, root.answered), (2, 2))

    @unhurried
    def test_all_users_together_leave_room_for_root(self):
        self.begin()
        begin = time.monotonic()
        users = [User(self, uid, LIMIT) for uid in range(20001, 20006)]
        self.in_time(begin + IDLE_S)
        self.assertEqual([u.answered for u in users], [LIMIT // 4] * 4 + [0])
        self.assertEqual(User(self, 0, 20).answered, 20)

    @unhurried
    def test_subscribers_stay_and_idle_connections_make_room(self):
        """A user's limit is full of subscribers: subscriptions stay, however long no event occurs. Idle connections are closed after a while."""
        self.begin()
        begin = time.monotonic()
        subscriber, idle = User(self, NOBODY, LIMIT // 4, "subscribe"), User(self, GAMES, LIMIT // 4)
        self.assertEqual((subscriber.answered, idle.answered), (LIMIT // 4, LIMIT // 4))
        said = idle.say("again")
        self.in_time(begin + IDLE_S)
        self.assertEqual(said, "False")
        end = time.monotonic() + WAIT_S
        while idle.say("again") != "True":
            self.assertLess(time.monotonic(), end, "idle connections never made room")
            time.sleep(0.5)
        self.assertEqual(subscriber.say("again"), "False")
        self.assertEqual(subscriber.say("alive"), str(LIMIT // 4))


if __name__ == "__main__":
    keel_rig.main()
