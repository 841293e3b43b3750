# SPDX-License-Identifier: BSD-3-Clause
"""keel-import {bird | frr | vrp} FILE: the document on standard output, the verdicts of the lines on standard error."""
import gc
import importlib
import json
import os
import sys

from .document import Import
from .neighbours import finish_neighbours
from .next_hops import set_gateways
from .policies import finish_calls, finish_policies, finish_tags

DIALECTS = ("bird", "frr", "vrp")
USAGE = "usage: keel-import {bird | frr | vrp} FILE\n"
WIDTH = 120  # of a line of JSON
COMPACT = json.JSONEncoder(ensure_ascii=False).encode
# 0: each line is carried; 1: a line is not carried, or the file cannot be read; 2: wrong arguments
DONE, REFUSED, WRONG_USAGE = 0, 1, 2


def translate(dialect, path, data):
    """(document, [line of the report], count of lines that are not carried) of the file (bytes). keeld accepts the document after a missing router.asn
    and router.router_id are added. `path`: of the file, for the files that it includes."""
    im = Import(path)
    importlib.import_module("." + dialect, __package__).read(im, data)
    finish_neighbours(im)
    finish_tags(im)
    finish_policies(im)
    set_gateways(im)
    finish_calls(im)
    document = im.result()
    for key, what in (("router_id", "router id"), ("asn", "local AS number")):
        if key not in im.router:
            im.report_line(im.line + 1, key, "not carried: the file has no %s; add router.%s" % (what, key))
    return document, im.report, im.not_carried


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


def main(arguments=None):
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments in (["-h"], ["--help"]):
        sys.stdout.write(USAGE)
        return DONE
    if len(arguments) != 2 or arguments[0] not in DIALECTS:
        sys.stderr.write(USAGE)
        return WRONG_USAGE
    gc.disable()  # a file makes no circles, and the collector would look at its elements again and again
    try:
        with open(arguments[1], "rb") as f:
            data = f.read()
    except OSError as e:
        sys.stderr.write("keel-import: %s: %s\n" % (arguments[1], os.strerror(e.errno)))
        return REFUSED
    document, report, not_carried = translate(*arguments, data)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="surrogateescape")
    sys.stderr.write("".join(report))
    sys.stdout.write(written(document) + "\n")
    if not_carried:
        sys.stdout.flush()
        sys.stderr.write("keel-import: %d line%s not carried\n" % (not_carried, "" if not_carried == 1 else "s"))
    return REFUSED if not_carried else DONE
