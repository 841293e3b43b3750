# SPDX-License-Identifier: BSD-3-Clause
"""The command lines of the operator's documents and of keelctl(1), and the expansion of their braces and brackets."""
import glob
import itertools
import os
import re

SEEDS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../shared/seeds/*.txt")

# The lines of the documents, verbatim and in order.
DOCUMENTS = [
    "system-view",
    "bgp as-number",
    "peer { ipv6-address | group-name } capability-advertise route-refresh",
    "commit",
    "refresh bgp ipv6 { all | ipv6-address | group group-name | external | internal } export",
    "system-view",
    "bgp as-number",
    "peer { ipv4-address | group-name } capability-advertise route-refresh",
    "commit",
    "refresh bgp [ vpn-instance vpn-instance-name ipv4-family | vpnv4 ] { all | ipv4-address | group group-name | external | internal } import",
    "system-view",
    "bgp as-number",
    "ipv4-family unicast",
    "peer { ipv4-address | group-name } keep-all-routes",
    "commit",
    "refresh bgp vpn-instance vpn-instance-name ipv4-family { all | peer-address | group group-name | internal | external } { import | export }",
    "refresh bgp vpnv4 { all | peer-address | group group-name | internal | external } { import | export }",
    "reset bgp vpn-instance vpn-instance-name ipv4-family { as-number | peer-address | group group-name | all | internal | external }",
    "reset bgp vpnv4 { as-number | peer-address | group group-name | all | internal | external }",
    "reset bgp vpnv4 [ ipv4-address | ipv6-address ] slow-peer",
]

# Additional lines of keelctl; a keyword with "!" is absent from the documents.
FAMILY = "[ ipv6 | vpn-instance VRF { ipv4-family | ipv6-family } | vpnv4 | vpnv6 ]"
PEER = "peer { ADDRESS | GROUP }"
OWN = {
    "user": [
        "refresh bgp " + FAMILY + " { all | ADDRESS | group GROUP | external | internal } { import | export } [ wait ]",
        "reset bgp " + FAMILY + " { all | ASN | ADDRESS | group GROUP | external | internal }",
        "reset bgp { vpnv4 | vpnv6 | ipv4 | ipv6 } [ ADDRESS ] slow-peer",
        "system-view",
    ],
    "system": ["[ undo ] bgp as-number", "commit", "quit", "return"],
    "bgp": [
        "[ undo ] " + PEER + " as-number! ASN",
        "[ undo ] " + PEER + " capability-advertise route-refresh",
        "[ undo ] " + PEER + " group GROUP",
        "[ undo ] " + PEER + " enable",
        "ipv4-family { unicast | vpnv4 | vpn-instance VRF }",
        "ipv6-family { unicast | vpnv6 }",
    ],
    "family": [
        "[ undo ] " + PEER + " keep-all-routes",
        "[ undo ] " + PEER + " route-policy POLICY { import | export }",
        "[ undo ] " + PEER + " enable",
    ],
}
# Lines that result from a line of OWN without some of its words.
KNOWN = {"bgp": ["undo " + PEER]}
SAMPLES = {
    "as-number": ["64512"], "ASN": ["64513", "0.64513"], "ipv4-address": ["192.0.2.2"], "ipv6-address": ["2001:db8::2"],
    "peer-address": ["192.0.2.2"], "ADDRESS": ["192.0.2.2", "2001:db8::2"], "group-name": ["transit"], "GROUP": ["transit"],
    "vpn-instance-name": ["red"], "VRF": ["red"], "POLICY": ["from-transit"],
}


def sequence(tokens, samples=SAMPLES):
    """Every way to say a template up to a bar or a closing bracket, as lists of words."""
    ways = [[]]
    while tokens and tokens[0] not in ("|", "}", "]"):
        t = tokens.pop(0)
        if t in ("{", "["):
            found = [[]] if t == "[" else []
            while True:
                found += sequence(tokens, samples)
                if tokens.pop(0) != "|":
                    break
        else:
            found = [[s.rstrip("!")] for s in samples.get(t, [t])]
        ways = [a + b for a, b in itertools.product(ways, found)]
    return ways


def expand(template, samples=SAMPLES):
    """`samples`: by VALUE, the words that stand for it."""
    return sequence(re.sub(r"([][{}|])", r" \1 ", template).split(), samples)


def documents():
    """The command lines in the text of the documents, in the form of DOCUMENTS."""
    found = []
    for path in sorted(glob.glob(SEEDS)):
        with open(path) as f:
            for line in f:
                m = re.search(r"\bRun (?:the )?(\[\*\*.*?)(?: command in the .*)?$", line.strip())
                text = m.group(1) if m else line.strip() if re.match(r"\s*\[[a-z -]+\]\(cmdqueryname=", line) else None
                if text:
                    text = re.sub(r"\[([^\[\]]*)\]\(cmdqueryname=[^)]*\)", r"\1", text)
                    found.append(" ".join(text.replace("*", "").split()))
    return found


def lines_of(templates, samples=SAMPLES):
    return [line for t in templates for line in expand(t, samples)]
