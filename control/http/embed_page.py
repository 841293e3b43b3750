#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""embed_page.py PAGE OUTPUT: the Content-Security-Policy of the page, a NUL, the page, and a NUL, as a list of C integers for an array initialiser.

The policy names the digest of each script and style of the page, so that a browser runs nothing else, and lets the page send requests only to
its own server.
"""
import base64
import hashlib
import re
import sys


def digests(page, name):
    """The sources of all elements `name`; a page without one has none."""
    texts = re.findall(r"<%s>(.*?)</%s>" % (name, name), page, re.S)
    return " ".join("'sha256-%s'" % base64.b64encode(hashlib.sha256(t.encode()).digest()).decode() for t in texts)


def policy(page):
    return "; ".join(["default-src 'none'", "script-src " + digests(page, "script"), "style-src " + digests(page, "style"), "connect-src 'self'",
                      "img-src data:", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"])


def main():
    source, target = sys.argv[1:3]
    with open(source, encoding="utf-8") as f:
        page = f.read()
    data = policy(page).encode() + b"\0" + page.encode() + b"\0"
    with open(target, "w", encoding="ascii") as f:
        for at in range(0, len(data), 16):
            f.write(" ".join("%d," % (byte if byte < 128 else byte - 256) for byte in data[at:at + 16]) + "\n")


main()
