#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""embed.py INPUT OUTPUT: the bytes of INPUT as a list of C integers, for an array initialiser."""
import sys


def main() -> None:
    source, target = sys.argv[1:3]
    with open(source, "rb") as f:
        data = f.read()
    with open(target, "w", encoding="ascii") as f:
        for at in range(0, len(data), 16):
            f.write(" ".join(f"{byte}," for byte in data[at:at + 16]) + "\n")


main()
