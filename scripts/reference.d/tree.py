# SPDX-License-Identifier: BSD-3-Clause
"""The files of the repository as the subjects of scripts/reference see them."""
import fnmatch
import os


class Fault(Exception):
    """The sources can't be read as the reference needs them; the text says where and why."""


class Tree:
    """Files below `root`, each read once. `planted` ({path: text}) replaces or adds files, for the self-test."""

    read = {}

    def __init__(self, root, planted=None):
        self.root = root
        self.planted = planted or {}

    def exists(self, path):
        return path in self.planted or os.path.exists(os.path.join(self.root, path))

    def text(self, path):
        if path in self.planted:
            return self.planted[path]
        full = os.path.join(self.root, path)
        if full not in Tree.read:
            with open(full, encoding="utf-8") as f:
                Tree.read[full] = f.read()
        return Tree.read[full]

    def files(self, folder, pattern):
        """Paths in `folder` (not below) whose name fits `pattern`, sorted."""
        names = set(os.listdir(os.path.join(self.root, folder)))
        names |= {os.path.basename(p) for p in self.planted if os.path.dirname(p) == folder}
        return sorted(os.path.join(folder, n) for n in names if fnmatch.fnmatch(n, pattern))
