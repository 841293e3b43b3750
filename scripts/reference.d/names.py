# SPDX-License-Identifier: BSD-3-Clause
"""Names of functions in comments and documents: `name()` is a function or macro of the repository or of a header that it includes; what "pairs with" an
atomic operation is in the function that the comment names; the functions of docs/life.md are in their files. docs/decisions is history."""
import functools
import glob
import os
import re

from references import files

LIFE = "docs/life.md"
STEP = re.compile(r"^\| `(\w+)` \| ([\w/]+\.c) \|", re.M)
WORD = re.compile(r"`([a-z0-9]+(?:_[a-z0-9]+)+)`")
DEFINED = re.compile(r"^(?!static_assert)(?:[a-z][\w *]*[ *])?(\w+)\(", re.M)
BODY = re.compile(r"^(\w+)\([^;{]*?\)[^;{]*?\n\{\n.*?^\}", re.M | re.S)
TEXT_OF_C = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\'', re.S)
TEXT_OF_PYTHON = re.compile(r'^\s*""".*?"""|#[^\n]*', re.M | re.S)
SAID = re.compile(r"(?<![\w.>-])([A-Za-z]\w*)\(\)")
USED = re.compile(r"(\w+)\)?\s*\(")
INCLUDED = re.compile(r"^#include <([\w/.-]+)>", re.M)
FOLDERS = [f for pattern in ("/usr/include", "/usr/include/*-linux-gnu") for f in glob.glob(pattern) + glob.glob(pattern + "/dpdk")]
PAIR = re.compile(r"pairs with ([^.;:]*?)\bin (?!the\b|rte_)(\w+(?:\(\))?(?:(?:, | and )[a-z]+_\w+(?:\(\))?)*)")
WRITES = re.compile(r"memory_order_(?:release|acq_rel|seq_cst)|__ATOMIC_(?:RELEASE|ACQ_REL|SEQ_CST)|atomic_(?:store|exchange|fetch_\w+|compare_\w+)\(|thread_fence")
READS = re.compile(r"memory_order_(?:acquire|acq_rel|seq_cst)|__ATOMIC_(?:ACQUIRE|ACQ_REL|SEQ_CST)|atomic_(?:load|exchange|fetch_\w+|compare_\w+)\(|thread_fence")


def generate(tree):
    return {}


@functools.lru_cache(maxsize=None)  # as below: of the files of the tree, the self-test changes one at a time
def defined(text):
    return frozenset(DEFINED.findall(text))


@functools.lru_cache(maxsize=None)
def bodies(text):
    return {m.group(1): m.group() for m in BODY.finditer(text)}


@functools.lru_cache(maxsize=None)
def parts(path, text):
    """(names that the code uses, [(line, name)] that the words say, [(line, words, names)] of pairs)"""
    if path.endswith(".md"):
        code, words = "".join(text.split("```")[1::2]), [(0, text)]
    else:
        pattern = TEXT_OF_PYTHON if path.endswith(".py") else TEXT_OF_C
        code = pattern.sub(" ", text)
        words = [(m.start(), m.group()) for m in pattern.finditer(text) if m.group()[0] not in "\"'"] if "()" in text or "pairs with" in text else []
    said, pairs = [], []
    for at, comment in words:
        said += [(text.count("\n", 0, at + m.start()) + 1, m.group(1)) for m in SAID.finditer(comment)] if "()" in comment else []
        if "pairs with" in comment and not path.endswith(".md"):
            plain = re.sub(r"\s*\n\s*\*\s*", " ", comment)
            pairs += [(text.count("\n", 0, at) + 1, m.group(1), re.findall(r"\w+", re.sub(r", | and ", " ", m.group(2)))) for m in PAIR.finditer(plain)]
    return frozenset(USED.findall(code)), said, pairs


def in_headers(names, texts):
    """Those of the names that a header has which the repository includes."""
    found, word = set(), re.compile(r"\b(?:%s)\b" % "|".join(sorted(names)))
    for header in sorted(set(h for text in texts for h in INCLUDED.findall(text))) if names else ():
        for folder in FOLDERS:
            if os.path.exists(os.path.join(folder, header)):
                with open(os.path.join(folder, header), errors="replace") as f:
                    found.update(word.findall(f.read()))
    return found


def of_life(tree, product):
    """The steps of docs/life.md: each function is in its file, and each further function is one of the product."""
    text, known = tree.text(LIFE), set().union(*map(defined, product.values()))
    steps = STEP.findall(text)
    faults = ["%s: %s is no function of %s" % (LIFE, name, path) for name, path in steps if name not in defined(product.get(path, ""))]
    faults += ["%s: there is no function %s" % (LIFE, name) for name in WORD.findall(text) if name not in known and name != "max_prefixes"]
    return faults if steps else faults + [LIFE + ": no steps"]


def check(tree):
    texts = {path: tree.text(path) for path in files(tree) if not path.startswith("docs/decisions/")}
    c = {path: text for path, text in texts.items() if path.endswith((".c", ".h"))}
    known, where, faults = set(), {}, []
    for path, text in texts.items():
        known.update(parts(path, text)[0])
    for path, text in c.items():
        for name, body in bodies(text).items():
            where.setdefault(name, []).append(body)
    unknown = {name for path, text in texts.items() for _, name in parts(path, text)[1]} - known
    unknown -= in_headers(unknown, c.values())
    for path, text in texts.items():
        _, said, pairs = parts(path, text)
        faults += ["%s:%d: there is no function %s()" % (path, line, name) for line, name in said if name in unknown]
        for line, words, names in pairs:
            kind = WRITES if re.search("release|store|reserv", words) else READS if re.search("acquire|load", words) else re.compile("atomic")
            faults += ["%s:%d: pairs with %s, which has no such operation" % (path, line, name) for name in names
                       if not any(map(kind.search, where.get(name, [])))]
    return of_life(tree, {path: text for path, text in c.items() if not path.startswith("tests/")}) + faults


def plants(tree):
    path = "rib/shard/refused.h"
    text = tree.text(path)
    return [("a step of a function in another file", LIFE, tree.text(LIFE) + "\n| `change_publish` | rib/shard/shard.c | |\n"),
            ("a function that does not exist", LIFE, tree.text(LIFE) + "\n`change_unpublish`\n"),
            ("a comment with a function that is gone", path, text + "/* change_unpublish() */\n"),
            ("a document with a function that is gone", "docs/debugging.md", tree.text("docs/debugging.md") + "\n`change_unpublish()`\n"),
            ("a partner without such an operation", path, text + "/* acquire: pairs with the release in shard_work */\n")]
