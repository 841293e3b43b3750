# SPDX-License-Identifier: BSD-3-Clause
"""Writes docs/interop.md from the results of the lab."""
import os
import platform
import sys
import textwrap

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lab"))
from lab import PEERS
from labtest import V4, V6

HEAD = """# Interoperation with other daemons

Written by `KEEL_WRITE_DOCS=1 tests/interop/test_interop.py`. Without this variable the test (`scripts/test lab/interop`) fails when the observations differ
from this page. Each daemon comes from Debian 12 and has a `keeld --no-dataplane` (AS 64512) and small BGP speakers in network namespaces. Routes of a
speaker behind the daemon and of a speaker behind keeld carry every attribute: origin, AS path with sets and 4-octet ASes, next hop, MED, local pref
(internal sessions), communities, large and extended communities, aggregator, atomic aggregate, originator and cluster list. The test compares them
attribute by attribute, in `rib.routes` of keeld and in the output of the daemon's own command. tshark counts BoRR, EoRR and requests on the wire.

`yes`: observed to work. `no`: the version of the daemon lacks the feature; see the note.
"""
NAMES = {V4: "IPv4 unicast", V6: "IPv6 unicast"}

# Assertions of test_vpn_families.py, test_vpn_oracle.py and test_option_b.py; a changed assertion there changes a row here.
VPN = """
## VPNv4 and VPNv6

`scripts/test lab/vpn_families lab/vpn_oracle lab/option_b` fails when a cell below is no longer true. In the first lab the daemons are internal clients of keeld as a route
reflector (RFC 4456); in the second lab FRR and GoBGP are external peers (option B of RFC 4364). All sessions run over IPv4, and carry both families. BIRD 2.0.12
and ExaBGP 4.2.21 are not in these labs.

| VPNv4, VPNv6 | FRR 8.4.4 | GoBGP 3.10.0 | OpenBGPD 7.7 |
|---|---|---|---|
| Routes with distinguisher, label, targets and next hop, from the daemon | yes | yes | yes |
| Routes of the other daemons, reflected by Keel unchanged | yes | yes | yes [1] |
| One prefix with two distinguishers; withdrawal of one of them | yes | yes [2] | - |
| Refresh requested by Keel for one VPN family, answered by the daemon | yes | yes [3] | no [4] |
| Refresh requested by the daemon, answered by Keel | yes | no [5] | yes [6] |
| Soft reset of exports: prefixes of the named family alone, the session stays | yes | - | - |
| After random changes of instances, routes and sessions: the routes that an oracle says | yes | yes | yes [7] |
| Option B: next hop of Keel, one label of Keel for each label of the edge router | yes | yes | - |
| Option B: withdrawals pass | yes | yes [2] | - |

`-`: not in the lab.

1. OpenBGPD 7.7: its command shows no label of a received route.
2. GoBGP 3.10.0: in one direction: FRR withdraws a reflected route; in option B GoBGP withdraws its routes.
3. GoBGP 3.10.0: sends no End-of-RIB; Keel ends the refresh after 3 s without an UPDATE. With `VPN_ROUTES=20` or more, which `scripts/test` does not set.
4. OpenBGPD 7.7: answers no request (`AID IPv4 vpn not negotiated`).
5. GoBGP 3.10.0: has no command for a request.
6. OpenBGPD 7.7: requests all families at once.
7. OpenBGPD 7.7: counts a withdrawal of a VPN route, and keeps the route (also one that GoBGP withdraws). The lab allows routes that Keel advertised earlier in the
   same session.
"""


DEBIAN_13 = """
# Debian 13

Written by `scripts/debian-root run trixie env KEEL_WRITE_DOCS=1 tests/interop/test_interop.py`; `scripts/test lab/interop` on Debian 13 compares these tables. The labs of VPNv4 and VPNv6
pass there, too. FRR 10.3 does not find its VPN routes for `no network`; the labs withdraw these routes by a route map.
"""
CURRENT = """
# Current versions

Written by `KEEL_PEERS="$(scripts/debian-root peers forky)" KEEL_WRITE_DOCS=1 tests/interop/test_interop.py`; the daemons are those of Debian forky. AS_SETs, which BIRD
and FRR refuse by default since 2.18 and 10.5 (RFC 9774), are allowed in the configurations. FRR 10.7.1 sends its End-of-RIB before its routes in some restarts (RFC 4724 4.1 asks for the opposite):
Keel then withdraws the routes, and announces them again.
"""


def column(daemon):
    return "%s %s" % (daemon.name, daemon.version())


def family_table(family, features, benches):
    notes, rows = [], []
    for key, title in features:
        cells = [b.cells.get((key, family)) for b in benches]
        if all(c is None for c in cells):
            continue
        row = [title]
        for b, cell in zip(benches, cells):
            good, text = cell or (None, "")
            word = {True: "yes", False: "no", None: "failed"}[good]
            if text and good is not None:
                same = "%s: %s." % (column(b.daemon), text)
                if same not in notes:
                    notes.append(same)
                word += " [%d]" % (notes.index(same) + 1)
            row.append(word)
        rows.append("| " + " | ".join(row) + " |")
    head = "| %s | %s |" % (NAMES[family], " | ".join(column(b.daemon) for b in benches))
    rule = "|---|" + "---|" * len(benches)
    listed = [textwrap.fill("%d. %s" % (i + 1, n), 120, subsequent_indent="   ", break_long_words=False) for i, n in enumerate(notes)]
    return "\n".join(["## " + NAMES[family], "", head, rule, *rows, "", *listed])


def page(families, features, benches, before):
    """The page with new tables of the daemons that ran, and as before for the others."""
    tables = "".join("\n" + family_table(f, features, benches) + "\n" for f in families)
    older, _, current = before.partition(CURRENT)
    first, _, second = older.partition(DEBIAN_13)
    if PEERS:
        current = tables
    elif platform.freedesktop_os_release()["VERSION_ID"] == "13":
        second = tables
    else:
        first = HEAD + tables + VPN
    return first + DEBIAN_13 + second + CURRENT + current
