#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""ExaBGP's helper: passes ExaBGP's output to a Unix socket, and commands from the socket to ExaBGP."""
import os
import socket
import sys
import threading

connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[1])


def commands():
    for line in connection.makefile("r"):
        sys.stdout.write(line)
        sys.stdout.flush()
    os._exit(0)


threading.Thread(target=commands, daemon=True).start()
for event in sys.stdin:
    connection.sendall(event.encode())
