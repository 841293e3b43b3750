# SPDX-License-Identifier: BSD-3-Clause
"""BGP on the wire for the lab's own speaker. A route's attributes are a dict in the form of keeld's rib.routes: as_path "64600 {1,2}", origin,
next_hop, next_hop_link_local, med, local_pref, communities, large_communities, ext_communities, aggregator {asn, address}, atomic_aggregate,
originator_id, cluster_list; `unknown` {type: bytes} besides. A prefix of a VPN family is "RD PREFIX"."""
import ipaddress
import re
import struct

OPEN, UPDATE, NOTIFICATION, KEEPALIVE, ROUTE_REFRESH = 1, 2, 3, 4, 5
V4, V6, VPN = "ipv4-unicast", "ipv6-unicast", "vpnv4-unicast"
AFI, SAFI = {V4: 1, V6: 2, VPN: 1}, {V4: 1, V6: 1, VPN: 128}
FAMILY = {1: V4, 2: V6}
OF_CODES = {(AFI[f], SAFI[f]): f for f in AFI}
ORIGINS = ("igp", "egp", "incomplete")
WELL_KNOWN = {"no-export": 0xffffff01, "no-advertise": 0xffffff02, "blackhole": 0xffff029a}


def packed(address):
    return ipaddress.ip_address(address.split("%")[0]).packed


def nlri(prefix, label=None):
    """Of a VPN family with a label; without one as RFC 8277 2.4 withdraws."""
    rd, _, prefix = prefix.rpartition(" ")
    address, length = prefix.split("/")
    octets = packed(address)[:(int(length) + 7) // 8]
    if not rd:
        return bytes([int(length)]) + octets
    return bytes([88 + int(length)]) + (0x800000 if label is None else label << 4 | 1).to_bytes(3, "big") + struct.pack(">HHI", 0, *map(int, rd.split(":"))) + octets


def family_of(prefix):
    return V6 if ":" in prefix else V4


def attribute(flags, kind, value):
    if len(value) > 255:
        return struct.pack(">BBH", flags | 0x10, kind, len(value)) + value
    return bytes([flags, kind, len(value)]) + value


def as_path(*segments):
    """Lists are sequences, sets (or tuples) AS_SETs; four octets each."""
    out = b""
    for s in segments:
        out += bytes([2 if isinstance(s, list) else 1, len(s)]) + b"".join(struct.pack(">I", a) for a in s)
    return attribute(0x40, 2, out)


def as_path_of(text):
    segments = []
    for part in re.findall(r"\{[^}]*\}|\d+", text):
        if part[0] == "{":
            segments.append(tuple(int(a) for a in re.findall(r"\d+", part)))
        elif segments and isinstance(segments[-1], list):
            segments[-1].append(int(part))
        else:
            segments.append([int(part)])
    return as_path(*segments)


def origin(value=0):
    return attribute(0x40, 1, bytes([value]))


def next_hop(address):
    return attribute(0x40, 3, packed(address))


def community(text):
    if text in WELL_KNOWN:
        return struct.pack(">I", WELL_KNOWN[text])
    return struct.pack(">HH", *map(int, text.split(":")))


def ext_community(text):
    """`rt:` and `soo:` with a two- or four-octet AS, or 0x and 16 digits."""
    if text.startswith("0x"):
        return bytes.fromhex(text[2:])
    kind, asn, value = text.split(":")
    sub = {"rt": 2, "soo": 3}[kind]
    if int(asn) > 65535:
        return struct.pack(">BBIH", 2, sub, int(asn), int(value))
    return struct.pack(">BBHI", 0, sub, int(asn), int(value))


def mp_reach(family, next_hops, prefixes, label=100):
    hops = b"".join((bytes(8) if SAFI[family] == 128 else b"") + packed(h) for h in next_hops)
    return attribute(0x80, 14, struct.pack(">HBB", AFI[family], SAFI[family], len(hops)) + hops + b"\0" + b"".join(nlri(p, label) for p in prefixes))


def mp_unreach(family, prefixes):
    return attribute(0x80, 15, struct.pack(">HB", AFI[family], SAFI[family]) + b"".join(map(nlri, prefixes)))


def encode(route):
    """All attributes but the next hop."""
    out = origin(ORIGINS.index(route.get("origin", "igp"))) + as_path_of(route.get("as_path", ""))
    if "med" in route:
        out += attribute(0x80, 4, struct.pack(">I", route["med"]))
    if "local_pref" in route:
        out += attribute(0x40, 5, struct.pack(">I", route["local_pref"]))
    if route.get("atomic_aggregate"):
        out += attribute(0x40, 6, b"")
    if "aggregator" in route:
        out += attribute(0xc0, 7, struct.pack(">I", route["aggregator"]["asn"]) + packed(route["aggregator"]["address"]))
    if "communities" in route:
        out += attribute(0xc0, 8, b"".join(map(community, route["communities"])))
    if "ext_communities" in route:
        out += attribute(0xc0, 16, b"".join(map(ext_community, route["ext_communities"])))
    if "large_communities" in route:
        out += attribute(0xc0, 32, b"".join(struct.pack(">III", *map(int, c.split(":"))) for c in route["large_communities"]))
    if "originator_id" in route:
        out += attribute(0x80, 9, packed(route["originator_id"]))
    if "cluster_list" in route:
        out += attribute(0x80, 10, b"".join(map(packed, route["cluster_list"])))
    for kind, value in sorted(route.get("unknown", {}).items()):
        out += attribute(0xc0, kind, value)
    return out


def update(attributes=b"", announced=(), withdrawn=()):
    w, n = b"".join(map(nlri, withdrawn)), b"".join(map(nlri, announced))
    return struct.pack(">H", len(w)) + w + struct.pack(">H", len(attributes)) + attributes + n


def announce(route, prefix, hop):
    """The body of an UPDATE; `hop` of another family than the prefix means RFC 8950."""
    if family_of(prefix) == V4 and ":" not in hop:
        return update(encode(route) + next_hop(hop), [prefix])
    return update(mp_reach(family_of(prefix), [hop], [prefix]) + encode(route))


def withdraw(prefix):
    if family_of(prefix) == V4:
        return update(withdrawn=[prefix])
    return update(mp_unreach(V6, [prefix]))


def end_of_rib(family):
    return update() if family == V4 else update(mp_unreach(family, []))


# ---- decoding ----

def prefixes(data, family):
    out, size = [], 4 if family == V4 else 16
    while data:
        n = (data[0] + 7) // 8
        out.append("%s/%d" % (ipaddress.ip_address(data[1:1 + n] + bytes(size - n)), data[0]))
        data = data[1 + n:]
    return out


def path_text(value):
    out = []
    while value:
        asns = struct.unpack(">%dI" % value[1], value[2:2 + 4 * value[1]])
        out.append("{%s}" % ",".join(map(str, asns)) if value[0] == 1 else " ".join(map(str, asns)))
        value = value[2 + 4 * value[1]:]
    return " ".join(out)


def community_text(number):
    return next((n for n, v in WELL_KNOWN.items() if v == number), "%d:%d" % (number >> 16, number & 0xffff))


def ext_community_text(value):
    word = {2: "rt", 3: "soo"}.get(value[1])
    if word and value[0] == 0:
        return "%s:%d:%d" % (word, *struct.unpack(">HI", value[2:]))
    if word and value[0] == 2:
        return "%s:%d:%d" % (word, *struct.unpack(">IH", value[2:]))
    return "0x" + value.hex()


def words(value, size):
    return [value[i:i + size] for i in range(0, len(value), size)]


def address(value):
    return str(ipaddress.ip_address(value))


DECODERS = {
    1: lambda v: {"origin": ORIGINS[v[0]]},
    2: lambda v: {"as_path": path_text(v)},
    3: lambda v: {"next_hop": address(v)},
    4: lambda v: {"med": struct.unpack(">I", v)[0]},
    5: lambda v: {"local_pref": struct.unpack(">I", v)[0]},
    6: lambda v: {"atomic_aggregate": True},
    7: lambda v: {"aggregator": {"asn": struct.unpack(">I", v[:4])[0], "address": address(v[4:])}},
    8: lambda v: {"communities": [community_text(struct.unpack(">I", c)[0]) for c in words(v, 4)]},
    9: lambda v: {"originator_id": address(v)},
    10: lambda v: {"cluster_list": [address(c) for c in words(v, 4)]},
    16: lambda v: {"ext_communities": [ext_community_text(c) for c in words(v, 8)]},
    32: lambda v: {"large_communities": ["%d:%d:%d" % struct.unpack(">III", c) for c in words(v, 12)]},
}


def decode(body):
    """([announced prefixes], [withdrawn prefixes], attributes, family of an End-of-RIB or None)."""
    n = struct.unpack(">H", body[:2])[0]
    gone, rest = prefixes(body[2:2 + n], V4), body[2 + n:]
    n = struct.unpack(">H", rest[:2])[0]
    attributes, come = rest[2:2 + n], prefixes(rest[2 + n:], V4)
    route, end = {}, V4 if body == b"\0\0\0\0" else None
    while attributes:
        flags, kind = attributes[:2]
        size = struct.unpack(">H", attributes[2:4])[0] if flags & 0x10 else attributes[2]
        at = 4 if flags & 0x10 else 3
        value, attributes = attributes[at:at + size], attributes[at + size:]
        if kind == 14:
            family, hop = FAMILY[value[1]], value[4:4 + value[3]]
            route["next_hop"] = address(hop if len(hop) == 4 else hop[:16])
            if len(hop) == 32:
                route["next_hop_link_local"] = address(hop[16:])
            come += prefixes(value[5 + value[3]:], family)
        elif kind == 15:
            family = FAMILY[value[1]]
            gone += prefixes(value[3:], family)
            end = family if len(value) == 3 else end
        elif kind in DECODERS:
            route.update(DECODERS[kind](value))
        else:
            route.setdefault("unknown", {})[kind] = bytes(value)
    return come, gone, route, end
