# SPDX-License-Identifier: BSD-3-Clause
"""What the dialects of lines, FRR and VRP, share: lines as words, entries of lists, functions of rows, defaults of a neighbour."""
import re

from . import texts
from .document import value_of
from .texts import V4


# ---- lines ----


def _split(text):
    """The last word of a description runs to the end of the line."""
    words = texts.WORD.findall(text)
    if "description" in words:
        at = words.index("description")
        end = [m.end() for m in texts.WORD.finditer(text)][at]
        if text[end + 1:]:
            return words[:at + 1] + [re.split("[\r\n]", text[end + 1:], 1)[0]]
    return words


def each_line(im, data, handle):
    """Calls handle(im, indented, words) for each line that is no comment, and reports its verdict. handle() is true if the line has its verdict."""
    for text in texts.read_lines(data):
        im.line += 1
        words = _split(text)
        if not words or words[0][0] in "!#":
            continue
        im.verdict = ""
        if not handle(im, text[0] in " \t", words) and not im.is_lost:
            im.lost("keel.json has no key of this meaning")
        im.report_line(im.line, re.split("[\r\n]", text, 1)[0] if "\r" in text else text.rstrip("\n"), im.verdict)


# ---- lists ----


def take_entry(im, section, name, words, index):
    """[INDEX N] {permit | deny} VALUE...: (N or None, action, values). None: not carried, and the list is partial."""
    n, words = (words[1], words[2:]) if len(words) > 2 and words[0] == index else (None, words)
    if len(words) < 2 or words[0] not in ("permit", "deny"):
        im.list_partial(section, name)
        return None
    return n, words[0], words[1:]


def prefix_entry(im, name, n, entry, words, keys):
    """Takes an entry of a prefix list, with ranges of lengths in `words`. keys: {word: key}"""
    if entry["prefix"] is None:
        return im.list_partial("prefix_lists", name)
    for at in range(0, len(words), 2):
        key = keys.get(words[at])
        if key is None or at + 1 == len(words) or not im.set_number(entry, key, words[at + 1]) or im.is_lost:
            return im.list_partial("prefix_lists", name)
    return im.list_entry("prefix_lists", name, n, entry)


# ---- functions of rows ----


def done(im, *_):
    """A line without an effect."""
    return True


def match_list(key):
    def function(im, match, name):
        match[key] = im.name(name)
        return True
    return function


def next_hop(im, changes, address):
    return texts.is_address(address) and im.set_next_hop(changes, address)


def of_direction(inward):
    """NAME and a direction: the policy of a neighbour. `inward`: the word for import."""
    def function(im, f, name, way):
        f["import_policy" if way == inward else "export_policy"] = im.name(name)
        return True
    return function


def filter_line(im, f, words, keys, inward):
    """KIND NAME DIRECTION: a filter of a neighbour beside its policy. keys: {kind: key of `match`}"""
    key = keys.get(words[0])
    known = key is not None and len(words) == 3
    im.add_filter(f, words[-1] == inward, key or words[0], im.name(words[1]) if known else False)
    return known or im.lost("no route passes in this direction")


def cluster_id(im, text):
    if not texts.number(text):
        return im.set_id(im.bgp, "cluster_id", text)
    im.bgp["cluster_id"] = texts.number(text)
    return True


def leave_family(im):
    im.family = V4
    return True


def network(im, prefix, how):
    """Takes a prefix (None: no prefix) that is announced."""
    if prefix is None:
        return False
    im.of_bgp("networks").setdefault(prefix, {"prefix": prefix})
    return im.changed(how)


def neighbour(im, name):
    """The neighbour or the group of this name, or None."""
    return im.peer(name) if texts.is_address(name) else im.bgp.get("groups", {}).get(name)


# ---- defaults ----


def family_defaults(im, peer):
    """The families of a neighbour, or of the group of a range: IPv4 unicast is in use; another family only by a line. Yields (name, family, inherited)."""
    group = im.group_of(peer)
    families, inherited = peer.setdefault("families", {}), (group or {}).get("families", {})
    for name in ([] if im.no_default_family else [V4]) + list(inherited):
        families.setdefault(name, {})
    for name, f in families.items():
        theirs = inherited.get(name)
        if value_of(f, theirs, "enabled") is None and (im.no_default_family or name != V4):
            f["enabled"] = False
        yield name, f, theirs
