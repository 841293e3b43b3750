# SPDX-License-Identifier: BSD-3-Clause
"""keel-import [-o FOLDER] {bird | frr | vrp} FILE: the document on standard output, or document and policy text in a folder; the verdicts of the lines
on standard error."""
import collections
import gc
import importlib
import json
import os
import signal
import sys

from .document import Import
from .neighbours import finish_neighbours
from .next_hops import set_gateways
from .policies import finish_calls, finish_policies, finish_tags
from .policy_text import policy_text
from .texts import safe

DIALECTS = ("bird", "frr", "vrp")
USAGE = "usage: keel-import [-o FOLDER] {bird | frr | vrp} FILE\n"
DOCUMENT, POLICIES = "keel.json", "imported.policy"  # the files of a folder
WIDTH = 120  # of a line of JSON
COMPACT = json.JSONEncoder(ensure_ascii=False).encode
# 0: each line is carried; 1: a line is not carried, or the file cannot be read; 2: wrong arguments
DONE, REFUSED, WRONG_USAGE = 0, 1, 2


# document; text: of the policies that are not in the document; report: lines; not_carried: how many
Result = collections.namedtuple("Result", "document text report not_carried")


def translate(dialect, path, data, as_text=False):
    """The Result for a file (bytes). keeld accepts the document after a missing router.asn and router.router_id are added. `path`: of the file, for the
    files that it includes. `as_text`: policies become policy text, and the document names POLICIES."""
    im = Import(path)
    importlib.import_module("." + dialect, __package__).read(im, data)
    finish_neighbours(im)
    finish_tags(im)
    finish_policies(im)
    set_gateways(im)
    finish_calls(im)
    text = policy_text(im) if as_text else ""
    if text:
        im.document["policy_files"] = [POLICIES]
    document = im.result()
    for key, what in (("router_id", "router id"), ("asn", "local AS number")):
        if key not in im.router:
            im.report_line(im.line + 1, key, "not carried: the file has no %s; add router.%s" % (what, key))
    return Result(document, text, im.report, im.not_carried)


def written(value, indent=""):
    """The value as JSON: an object or a list is one line where it fits, and has a line for each element where it does not."""
    text = COMPACT(value)
    if len(indent) + len(text) <= WIDTH or not isinstance(value, (dict, list)):
        return text
    inner = indent + "  "
    if isinstance(value, list):
        parts = [inner + written(element, inner) for element in value]
    else:
        parts = ["%s%s: %s" % (inner, COMPACT(key), written(element, inner)) for key, element in value.items()]
    return "%s\n%s\n%s%s" % ("[{"[isinstance(value, dict)], ",\n".join(parts), indent, "]}"[isinstance(value, dict)])


def _write(path, text):
    """Writes a new file, which may hold passwords."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as f:
        f.write(text)


def _run(dialect, path, folder):
    with open(path, "rb") as f:
        data = f.read()
    result = translate(dialect, path, data, folder is not None)
    sys.stderr.write("".join(result.report))
    text = written(result.document) + "\n"
    if folder is None:
        sys.stdout.write(text)
        sys.stdout.flush()
    else:
        policies = os.path.join(folder, POLICIES)
        if result.text:
            _write(policies, result.text)
        try:
            _write(os.path.join(folder, DOCUMENT), text)
        except OSError:
            if result.text:
                os.unlink(policies)
            raise
    if result.not_carried:
        sys.stderr.write("keel-import: %d line%s not carried\n" % (result.not_carried, "" if result.not_carried == 1 else "s"))
    return REFUSED if result.not_carried else DONE


def main():
    arguments, folder = sys.argv[1:], None
    if arguments in (["-h"], ["--help"]):
        sys.stdout.write(USAGE)
        return DONE
    if arguments[:1] == ["-o"] and len(arguments) > 1:
        folder, arguments = arguments[1], arguments[2:]
    if len(arguments) != 2 or arguments[0] not in DIALECTS:
        sys.stderr.write(USAGE)
        return WRONG_USAGE
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    gc.disable()  # a file makes no circles, and the collector would look at its elements again and again
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="surrogateescape")
    try:
        return _run(*arguments, folder)
    except OSError as e:
        sys.stderr.write("keel-import: %s: %s\n" % (safe(e.filename or "standard output"), e.strerror))
        return REFUSED
