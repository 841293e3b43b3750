# SPDX-License-Identifier: BSD-3-Clause
"""The configuration: docs/keel.schema.json, keel.json(5) and keel-policy(7), made of the tables of keys in control/config/.

A key's type follows from its checker (`take`): the scalar checkers are in SCALARS; every other checker is read for the table, the words or
the element checker that it passes on. So the reference can't say another type than the program checks.
"""
import collections
import json
import os
import re

import c_tables
import mdoc
from tree import Fault

SOURCES = ["control/config/" + name for name in ("config.c", "config_peer.c", "config_bgp.c", "config_bmp.c", "config_lsp.c", "config_mrt.c", "config_rpki.c", "config_vrf.c", "policy_compile.c", "policy_lists.c", "config_check.c")]
SCHEMA = "docs/keel.schema.json"
PAGES = {"docs/man/keel.json.5": "scripts/reference.d/keel.json.5.in", "docs/man/keel-policy.7": "scripts/reference.d/keel-policy.7.in"}
U32 = 4294967295

# Definitions of the schema that no table has.
# A part of a community: with wildcards and ranges only where policies match or remove.
PART = "([0-9]+(-[0-9]+)?|\\*|peer)"
DEFS = {
    "description": {"type": "string", "maxLength": 4096, "description": "Text for operators. Every object takes this key; keeld ignores the text."},
    "asn": {"type": "integer", "minimum": 1, "maximum": U32, "not": {"const": 23456}},
    "name": {"type": "string", "pattern": "^[A-Za-z][A-Za-z0-9_.-]{0,62}$",
             "not": {"enum": ["all", "external", "internal", "group", "import", "export", "slow-peer"]}},
    "ipv4": {"type": "string", "format": "ipv4"},
    "ip": {"anyOf": [{"type": "string", "format": "ipv4"}, {"type": "string", "format": "ipv6"}]},
    "host": {"anyOf": [{"type": "string", "format": "ipv4"}, {"type": "string", "format": "ipv6", "$comment": "no link-local address"},
                       {"type": "string", "pattern": "^[Ff][Ee][89ABab][0-9A-Fa-f:]*%[^/:%\\s]{1,15}$",
                        "$comment": "link-local, with its port (with --no-dataplane: any interface)"}]},
    "prefix": {"type": "string", "pattern": "^[0-9A-Fa-f:.]+/(0|[1-9][0-9]{0,2})$", "$comment": "no bits set beyond the length"},
    "community": {"type": "string", "anyOf": [{"pattern": "^%s:%s$" % (PART, PART)}, {"enum": None}]},
    "large_community": {"type": "string", "pattern": "^%s:%s:%s$" % (PART, PART, PART)},
    "ext_community": {"type": "string", "pattern": "^((rt|soo):([0-9.]+|%s):%s|0x[0-9A-Fa-f]{16})$" % (PART, PART)},
    "vrf_name": {"type": "string", "pattern": "^[A-Za-z][A-Za-z0-9_.-]{0,9}$", "default": "default"},
}


def ref(name):
    return {"$ref": "#/$defs/" + name}


ADDRESS_LENGTH = {"type": "string", "pattern": "^[0-9A-Fa-f:.]+/[0-9]{1,3}$"}
ADMINISTERED = {"type": "string", "pattern": "^([0-9.]+:[0-9]+|0x[0-9A-Fa-f]{16})$"}
VLAN = {"type": "integer", "minimum": 1, "maximum": 4094}
NUMBER = {"type": "integer", "minimum": 0, "maximum": U32}
# Checkers of scalars: (schema, words for the manual).
SCALARS = {
    "config_take_asn": (ref("asn"), "AS number"),
    "config_take_name": (ref("name"), "name"),
    "config_take_vrf": (ref("vrf_name"), "name of a VPN instance"),
    "take_router_id": ({**ref("ipv4"), "not": {"const": "0.0.0.0"}}, "IPv4 address"),
    "take_cluster_id": ({"anyOf": [{"type": "integer", "minimum": 1, "maximum": U32}, {**ref("ipv4"), "not": {"const": "0.0.0.0"}}]},
                        "IPv4 address or integer"),
    "take_http": ({"type": "string", "pattern": "^(\\d+\\.\\d+\\.\\d+\\.\\d+|\\[[0-9A-Fa-f:.]+\\]):[1-9]\\d{0,4}$"}, "address and port"),
    "take_cpu": ({"type": "integer", "minimum": 0, "maximum": 1023}, "CPU number, 0 to 1023"),
    "take_queue_worker": ({"type": "integer", "minimum": 0, "maximum": 127}, "number of a worker"),
    "take_eal_arg": ({"type": "string", "minLength": 1}, "string"),
    "take_port_name": ({"type": "string", "pattern": "^(?!lo$|keel0$|keel-|\\.$|\\.\\.$)[^/:%\\s]{1,15}$"}, "name of an interface"),
    "take_device": ({"type": "string", "pattern": "^(net_.+|([0-9A-Fa-f]{4}:)?[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\\.[0-7](,.*)?)$"}, "DPDK device"),
    "take_vlan": ({"anyOf": [VLAN, {"type": "array", "items": VLAN, "minItems": 1, "maxItems": 2}]}, "integer, 1 to 4094, or an array of two"),
    "take_port_address": (ADDRESS_LENGTH, "address with prefix length"),
    "take_loopback": (ADDRESS_LENGTH, "address with prefix length"),
    "take_static_prefix": (ref("prefix"), "prefix"),
    "take_destination": (ref("prefix"), "prefix"),
    "take_next_hop": (ref("host"), "IP address"),
    "take_tunnel_address": (ref("ipv4"), "IPv4 address"),
    "take_out_label": ({"type": "integer", "minimum": 0, "maximum": 1048575, "$comment": "0, 2, 3, 16 and above"}, "label"),
    "take_cache_address": (ref("host"), "IP address"),
    "take_mrt_file": ({"type": "string", "minLength": 1, "maxLength": 1024, "pattern": "^(/([^%]*/)?)?([^/%]|%[YmdHMSsjyFTR%])+$"}, "file name"),
    "take_output_dir": ({"type": "string", "minLength": 2, "maxLength": 1024, "pattern": "^/[^%]*[^/%]$"}, "absolute path"),
    "take_collector_address": (ref("host"), "IP address"),
    "take_prefix": (ref("prefix"), "prefix"),
    "take_entry_prefix": (ref("prefix"), "prefix"),
    "take_static_next_hop": (ref("host"), "IP address"),
    "take_peer_address": (ref("host"), "IP address"),
    "take_link_sensitive": ({"type": "boolean"}, "boolean"),
    "take_source": (ref("host"), "IP address"),
    "config_take_policy_name": (ref("name"), "name of a route policy"),
    "take_rd": (ADMINISTERED, "route distinguisher"),
    "take_site": ({"type": "string", "pattern": "^soo:[0-9.]+:[0-9]+$"}, "site of origin"),
    "take_target": (ADMINISTERED, "route target"),
    "take_prefix_list_name": (ref("name"), "name of a prefix list"),
    "config_take_group_name": (ref("name"), "name of a group"),
    "take_list_name": (ref("name"), "name"),
    "take_policy_own_name": ({**ref("name"), "not": {"enum": ["accept-all", "deny-all"]}}, "name"),
    "take_password": ({"type": "string", "minLength": 1, "maxLength": 80}, "string, 1 to 80 octets"),
    "match_peer": (ref("host"), "IP address"),
    "match_number": (ref("number"), "integer or range"),
    "match_peer_as": ({"anyOf": [ref("number"), ref("name")]}, "AS number, range or name of an AS set"),
    "match_origin_as": ({"anyOf": [ref("number"), ref("name")]}, "AS number, range, name of an AS set, or `peer.asn`"),
    "match_first_as": ({"anyOf": [ref("number"), ref("name")]}, "AS number, range, name of an AS set, or `peer.asn`"),
    "match_any_as": ({"anyOf": [ref("number"), ref("name")]}, "AS number, range or name of an AS set"),
    "match_peer_group": (ref("name"), "name of a group"),
    "take_policy_file": ({"type": "string", "minLength": 1}, "path of a file"),
    "take_asn_entry": ({"anyOf": [NUMBER, {"type": "string", "pattern": "^[0-9]+(-[0-9]+)?$"}]}, "AS number or range"),
    "take_match_not": (ref("match"), "a `match` object"),
    "take_match_all": ({"type": "array", "items": ref("match")}, "array of `match` objects"),
    "set_or_change": (ref("change"), "integer or change"),
    "take_prepend_asn": ({"anyOf": [ref("asn"), {"const": "first"}]}, "AS number or `first`"),
    "set_number": (NUMBER, "integer, 0 to %u" % U32),
    "take_set_next_hop": ({"anyOf": [{"enum": ["peer", "self", "discard"]}, ref("ip")]}, "IP address, `peer`, `self` or `discard`"),
    "config_take_unsupported": ({"enum": [False, [], {}]}, "not supported in this version"),
    "take_other_family": ({"not": {}}, "not supported in this version"),
}
for _list in ("prefix_list", "next_hop_list", "as_path_list", "community_list", "large_community_list", "ext_community_list"):
    SCALARS["match_" + _list] = (ref("name"), "name of a list")
# Keys whose type says more than their checker does: (table, key).
KEYS = {
    ("timer_keys", "hold_s"): ({"anyOf": [{"const": 0}, {"type": "integer", "minimum": 3, "maximum": 65535}]}, "integer, 0 or 3 to 65535"),
    ("prefix_entry_keys", "ge"): ({"type": "integer", "minimum": 0, "maximum": 128}, "integer, 0 to 128"),
    ("prefix_entry_keys", "le"): ({"type": "integer", "minimum": 0, "maximum": 128}, "integer, 0 to 128"),
    ("community_entry_keys", "community"): (ref("community"), "community"),
    ("large_community_entry_keys", "large_community"): (ref("large_community"), "large community"),
    ("ext_community_entry_keys", "ext_community"): (ref("ext_community"), "extended community"),
    ("vrf_keys", "name"): (ref("vrf_name"), "name"),
    ("capability_keys", "add_path"): ({"const": False}, "not supported in this version"),
}
# Root keys that policy_set_compile() and take_root() read apart: (table, table of the entries).
ELSEWHERE = {
    "router": ("router_keys", None),
    "vrfs": ("vrf_keys", "vrf_keys"),
    "prefix_lists": ("prefix_list_keys", "prefix_entry_keys"),
    "as_path_lists": ("as_path_list_keys", "as_path_entry_keys"),
    "community_lists": ("community_list_keys", "community_entry_keys"),
    "large_community_lists": ("community_list_keys", "large_community_entry_keys"),
    "ext_community_lists": ("community_list_keys", "ext_community_entry_keys"),
    "as_sets": ("as_set_keys", "as_set_keys"),
    "route_policies": ("policy_keys", "node_keys"),
}
# Keys whose elements are read elsewhere, or by a table that depends on the kind of list: (table, key) -> table.
NESTED = {("policy_keys", "nodes"): "node_keys", ("community_list_keys", "entries"): "community_entry_keys"}
COMMUNITIES = {"communities": "community", "large_communities": "large_community", "ext_communities": "ext_community"}
# Names of the definitions that tables have in the schema; tables without one stand in their place.
NAMES = {
    "vrf_keys": "vrf", "port_keys": "port", "static_keys": "static_route", "lsp_keys": "static_lsp", "preference_keys": "preference", "bgp_keys": "bgp",
    "network_keys": "network", "group_keys": "group", "peer_keys": "peer", "capability_keys": "capabilities", "timer_keys": "timers",
    "slow_peer_keys": "slow_peer", "policing_keys": "policing",
    "families_keys": "families", "family_keys": "family", "max_prefixes_keys": "max_prefixes", "max_prefixes_out_keys": "max_prefixes_out", "blackhole_keys": "blackhole", "graceful_shutdown_keys": "graceful_shutdown", "rt_constraint_keys": "rt_constraint", "max_routes_keys": "max_routes", "redistribute_keys": "redistribute",
    "policy_keys": "route_policy", "node_keys": "node", "match_keys": "match", "set_keys": "set", "prefix_entry_keys": "prefix_entry",
    "as_path_entry_keys": "as_path_entry", "community_entry_keys": "community_entry", "prefix_list_keys": "prefix_list",
    "large_community_entry_keys": "large_community_entry", "ext_community_entry_keys": "ext_community_entry", "as_path_list_keys": "as_path_list",
    "community_list_keys": "community_list", "as_set_keys": "as_set",
}
# Words that several keys take, and their definitions in the schema.
WORDS = {("permit", "deny"): "action", ("igp", "egp", "incomplete"): "origin"}
# What the objects of a table must also satisfy.
EXTRA = {"static_keys": {"oneOf": [
    {"required": ["next_hop"], "properties": {"blackhole": {"const": False}}},
    {"required": ["blackhole"], "properties": {"blackhole": {"const": True}}, "not": {"required": ["next_hop"]}}]},
    "port_keys": {"oneOf": [
        {"required": ["device"], "not": {"anyOf": [{"required": ["parent"]}, {"required": ["vlan"]}]}},
        {"required": ["parent", "vlan"], "not": {"anyOf": [{"required": [k]} for k in ("device", "queues", "queue_workers")]}}]}}

EFFECTS = {
    "restart": "when keeld starts; a commit saves it and names it in `restart_required`",
    "reset": "at the commit, which resets the session",
    "commit": "at the commit",
    "import": "at the commit; routes from the peer are evaluated again",
    "export": "at the commit; routes to the peer are evaluated again",
    "policy": "at the commit; routes that the policy evaluates are evaluated again",
    "timer": "when the timer is next started",
    "none": "no effect",
}
FIELDS = re.compile(r"(?:^|\s)(?=(?:Unit|Default): )")

Key = collections.namedtuple("Key", "name table where text unit default effect required take schema type nested array range lines")
Section = collections.namedtuple("Section", "name path text fields keys includes")


def described(comment, where):
    """(text, {field: value}) of a comment."""
    parts = FIELDS.split(comment)
    fields = {}
    for part in parts[1:]:
        name, value = part.split(": ", 1)
        fields[name] = value.rstrip(".").strip()
    return parts[0].strip(), fields


# Macros of config_impl.h that give a key its lines.
LINES = ("LINE", "VRP_LINE", "VRP", "FRR", "BIRD")


class Reader:
    """The tables of keys, and what checkers pass on."""

    def __init__(self, tree):
        self.tables, self.functions, self.aliases, self.words, self.constants = {}, {}, {}, {}, {}
        for path in SOURCES:
            text = tree.text(path)
            for name, table in c_tables.tables(tree, path, "config_key").items():
                self.tables[path, name] = table
            for name, body in c_tables.functions(tree, path).items():
                self.functions[path, name] = body
            for m in re.finditer(r"^TAKE_ANY(?:_VALUE)?\((\w+), (\w+)", text, re.M):
                self.aliases[path, m.group(1)] = m.group(2)
            for m in re.finditer(r"^static const char \*const (\w+)\[\] = \{(.*?)\};", text, re.S | re.M):
                self.words[path, m.group(1)] = re.findall(r'"([^"]*)"', m.group(2))
        m = re.search(r"well_known\[\] = \{(.*?)\n\};", tree.text("control/config/policy_lists.c"), re.S)
        if not m:
            raise Fault("control/config/policy_lists.c: there is no table well_known")
        self.well_known = re.findall(r'\{"([^"]+)"', m.group(1))
        # Lengths of strings that are C expressions.
        self.constants = {"SOCKET_PATH_MAX": 104, "PATHS_MAX": self.number(tree, "lpm/path_list.h", "PATHS_MAX"), "UINT32_MAX": U32, "true": 1}
        self.sections = {key: self.section(*key) for key in self.tables}

    @staticmethod
    def number(tree, path, name):
        m = re.search(r"#define %s (\d+)" % name, tree.text(path))
        if not m:
            raise Fault("%s: there is no number %s" % (path, name))
        return int(m.group(1))

    def find(self, mapping, path, name):
        """The thing called `name` in the file, else in the other files."""
        for other in [path] + SOURCES:
            if (other, name) in mapping:
                return (other, name)
        return None

    def integer(self, value, where):
        text = re.sub(r"/\s*\*.*?\*\s*/", "", c_tables.source_of(value)).strip()
        if text in self.constants:
            return self.constants[text]
        if re.fullmatch(r"[0-9]+u?", text):
            return int(text.rstrip("u"))
        m = re.fullmatch(r"(\d+)u? << (\d+)|(\d+)u? < < (\d+)", text)
        if m:
            return int(m.group(1) or m.group(3)) << int(m.group(2) or m.group(4))
        raise Fault("%s: %s is not a number that scripts/reference can read" % (where, text))

    def section(self, path, name):
        table = self.tables[path, name]
        where = "%s:%d: %s" % (path, table.line, name)
        text, fields = described(table.comment, where)
        if not text:
            raise Fault("%s: the table has no comment that describes the object" % where)
        keys, includes = [], []
        for entry in table.entries:
            if not entry.values:
                includes.append(c_tables.source_of(entry.fields["include"]))
                continue
            keys.append(self.key(path, name, entry, fields))
        return Section(name, path, text, fields, keys, includes)

    def key(self, path, table, entry, inherited):
        name = c_tables.string_of(entry.values[0])
        where = "%s:%d: %s" % (path, entry.line, name)
        lines = {v[0].text: [c_tables.string_of(x) for x in c_tables.arguments(v[2:-1])] for v in entry.values[2:] if v[0].text in LINES}
        effects = [v[2].text.lower() for v in entry.values if v[0].text == "EFFECT"]
        values = [v for v in entry.values if v[0].text not in (*LINES, "EFFECT")] + [None] * 6
        if not entry.comment:
            raise Fault("%s: the key has no comment that describes it" % where)
        text, fields = described(entry.comment, where)
        if not text.endswith((".", ")")) or not (text[0].isupper() or text.startswith(("`", "keeld"))):
            raise Fault("%s: the description is not a sentence" % where)
        take = c_tables.source_of(values[1])
        low = self.integer(values[3], where) if values[3] else 0
        high = self.integer(values[4], where) if values[4] else 0
        required = c_tables.source_of(values[5]) == "true"
        nested, array, schema, words = None, False, None, None
        if take == "config_take_elsewhere" and name in ELSEWHERE:
            nested, array = self.find(self.tables, path, ELSEWHERE[name][0]), ELSEWHERE[name][1] is not None
        elif (table, name) in NESTED:
            nested, array = self.find(self.tables, path, NESTED[table, name]), True
        elif (table, name) in KEYS:
            schema, words = KEYS[table, name]
        else:
            nested, array, schema, words = self.type(path, take, low, high, where)
        default = fields.get("Default", inherited.get("Default"))
        if default is None and not required and schema is not None and "not supported" not in words:
            if "def" in entry.fields:
                default = self.integer(entry.fields["def"], where)
            elif low == 0 and take in ("config_take_u32", "config_take_u16", "config_take_u8", "config_take_bool"):
                default = 0
            else:
                raise Fault("%s: the description has no default" % where)
            if take == "config_take_bool":
                default = bool(default)
        effect = effects[0] if effects else None
        if (effect is None) != (schema is None or "not supported" in words):
            raise Fault("%s: a key with a value has an effect, and no other key" % where)
        if effect is not None and effect not in EFFECTS:
            raise Fault("%s: the effect %s is none of: %s" % (where, effect, " ".join(sorted(EFFECTS))))
        return Key(name, table, where, text, fields.get("Unit"), default, effect, required, take, schema, words, nested, array, (low, high), lines)

    def type(self, path, take, low, high, where):
        """(table or None, is an array, schema, words) of a checker."""
        if take in SCALARS:
            return (None, False) + SCALARS[take]
        if take == "config_take_bool":
            return None, False, {"type": "boolean"}, "boolean"
        if take in ("config_take_u32", "config_take_u16", "config_take_u8"):
            return None, False, {"type": "integer", "minimum": low, "maximum": high}, "integer, %d to %d" % (low, high)
        if take == "config_take_text":
            schema = {"type": "string", **({"minLength": low} if low else {}), **({"maxLength": high} if high else {})}
            bound = "" if not high else ", %d to %d octets" % (low, high) if low else ", at most %d octets" % high
            return None, False, schema, "string" + bound
        alias = self.find(self.aliases, path, take)
        if alias:
            _, _, schema, words = self.type(path, self.aliases[alias], 0, 0, where)
            return None, False, {"anyOf": [schema, {"type": "array", "minItems": 1, "items": schema}]}, words + ", or an array of these"
        function = self.find(self.functions, path, take)
        if not function:
            raise Fault("%s: scripts/reference does not know the checker %s" % (where, take))
        return self.passed_on(function[0], self.functions[function], where, take)

    def passed_on(self, path, body, where, take):
        text = " ".join(t.text for t in body)
        m = re.search(r"\bCONFIG_TAKE \( [^,]+ , [^,]+ , [^,]+ , (\w+) ,", text)
        if m and self.find(self.tables, path, m.group(1)):
            return self.find(self.tables, path, m.group(1)), False, None, "object"
        m = re.search(r"\bconfig_value_word \( [^,]+ , [^,]+ , [^,]+ , (\w+) \)", text)
        if m:
            local = re.search(r"\b%s \[ \] = \{(.*?)\}" % m.group(1), text)
            found = self.find(self.words, path, m.group(1))
            words = re.findall(r'"([^"]*)"', local.group(1)) if local else self.words[found]
            return None, False, ref(WORDS[tuple(words)]) if tuple(words) in WORDS else {"enum": words}, " or ".join([", ".join("`%s`" % w for w in words[:-1]), "`%s`" % words[-1]])
        m = re.search(r"\bconfig_take_each \( [^,]+ , [^,]+ , [^,]+ , (\w+) ,", text)
        if m and m.group(1) == "take_community_value":
            return None, False, {"type": "array", "items": ref("community")}, "array of communities"
        if m:
            nested, _, schema, words = self.type(path, m.group(1), 0, 0, where)
            return nested, True, schema and {"type": "array", "items": schema}, "array of objects" if nested else "array: " + words
        for called in re.findall(r"\b((?:config_)?(?:take|set|match)_\w+) \(", text):
            if called in SCALARS or self.find(self.functions, path, called):
                return self.type(path, called, 0, 0, where)
        raise Fault("%s: scripts/reference can't follow the checker %s" % (where, take))

    def keys_of(self, section):
        """The keys of a table, those of its includes in their place at the end."""
        keys = list(section.keys)
        for name in section.includes:
            keys += self.sections[self.find(self.tables, section.path, name)].keys
        return keys


# ---- the schema ----

def plain(text):
    return text.replace("\n\n", " ")


def sentence_default(key):
    if key.default is None:
        return ""
    return " Default: %s." % (json.dumps(key.default) if not isinstance(key.default, str) else key.default)


def schema_default(key):
    """{"default": value} where the default is a value, not words."""
    if key.default is None or key.schema is None:
        return {}
    if not isinstance(key.default, str):
        return {"default": key.default}
    if key.default in key.schema.get("enum", []) or key.default.startswith("/"):
        return {"default": key.default}
    if re.fullmatch(r"\[[\d, ]*\]|\d+|true|false", key.default):
        return {"default": json.loads(key.default)}
    return {}


class Schema:
    def __init__(self, reader):
        self.reader = reader
        self.defs = json.loads(json.dumps(DEFS))
        self.defs["community"]["anyOf"][1]["enum"] = reader.well_known
        for words, name in WORDS.items():
            self.defs[name] = {"enum": list(words)}
        self.defs["change"] = {"anyOf": [NUMBER, self.object(("control/config/policy_compile.c", "change_keys"))]}
        self.defs["number"] = {"anyOf": [NUMBER, self.object(("control/config/policy_compile.c", "range_keys"))]}

    def definition(self, where):
        return "listen_range" if where == ("control/config/config_bgp.c", "range_keys") else NAMES.get(where[1])

    def reference(self, where, entries=None, name=None):
        """The schema of an object: a reference to its definition, which is made at the first use, or the object itself."""
        name = name or self.definition(where)
        if name is None:
            return self.object(where, entries)
        if name not in self.defs:
            self.defs[name] = {}
            self.defs[name] = self.object(where, entries)
        return ref(name)

    def object(self, where, entries=None, communities=None):
        section = self.reader.sections[where]
        properties, required = {}, []
        for key in self.reader.keys_of(section):
            properties[key.name] = self.property(key, entries, communities)
            if key.required:
                required.append(key.name)
        properties.setdefault("description", ref("description"))
        out = {"type": "object", "description": plain(section.text), "properties": properties}
        if required:
            out["required"] = required
        return {**out, **EXTRA.get(section.name, {}), "additionalProperties": False}

    def property(self, key, entries, communities):
        text = plain(key.text) + (" Unit: %s." % key.unit if key.unit else "") + sentence_default(key)
        if key.effect:
            text += " Effect: %s." % EFFECTS[key.effect]
        if key.type == "not supported in this version":
            text = "Not supported in this version: " + text
        if key.take == "config_take_elsewhere" and key.name in ELSEWHERE:
            table, inner = ELSEWHERE[key.name]
            where = self.reader.find(self.reader.tables, key.where.split(":")[0], table)
            schema = self.reference(where, inner, key.name[:-1] if inner and inner != "node_keys" else None)
            return {**({"type": "array", "items": schema} if inner else schema), "description": text}
        if key.name in ("entries", "nodes") and entries:
            where = self.reader.find(self.reader.tables, key.where.split(":")[0], entries)
            return {"type": "array", "items": self.reference(where), "description": text}
        if key.name in COMMUNITIES and key.nested:
            return {**self.object(key.nested, communities=COMMUNITIES[key.name]), "description": text}
        if key.nested:
            schema = self.reference(key.nested)
            return {**({"type": "array", "items": schema} if key.array else schema), "description": text}
        schema = key.schema
        if communities and schema.get("items"):
            schema = {"type": "array", "items": ref(communities)}
        if key.name.endswith("_cpus"):
            schema = {"type": "array", "minItems": 1, "uniqueItems": True, "items": schema["items"]}
        return {**schema, **schema_default(key), "description": text}

    def document(self):
        root = self.object(("control/config/config.c", "root_keys"))
        root["required"] = ["router"]
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": "https://keel.invalid/keel.schema.json",
            "title": "Configuration of keeld",
            "$comment": "Made by scripts/reference of the tables in control/config/. What this version accepts; keeld checks more than a "
                        "schema can say: names that are referred to, duplicates, host bits.",
            **root, "$defs": self.defs}


# ---- the manual ----

def facts(key):
    """The line of facts below a description."""
    if key.type == "not supported in this version":
        return "Not supported in this version; accepted only when empty or `false`." if key.take == "config_take_unsupported" else \
            "Not supported in this version."
    out = []
    kind = key.type or ("array of objects" if key.array else "object")
    out.append("Type: %s." % kind)
    if key.unit:
        out.append("Unit: %s." % key.unit)
    if key.required:
        out.append("Required.")
    elif key.default is not None:
        out.append("Default: %s." % (("`%s`" % json.dumps(key.default)) if not isinstance(key.default, str) else key.default))
    if key.effect:
        out.append("Effect: *%s*." % key.effect)
    return " ".join(out)


def page_list(reader, name, path=None):
    where = next((w for w in reader.tables if w[1] == name and (path is None or w[0].endswith(path))), None)
    if where is None:
        raise Fault("there is no table %s" % name)
    section = reader.sections[where]
    out = mdoc.paragraphs(section.text)
    out.append(".Bl -tag -width Ds")
    for key in section.keys:
        out.append(".It Ic " + mdoc.argument(key.name))
        out += mdoc.paragraphs(key.text)
        out += [".br"] + mdoc.running(facts(key))
    return out + [".El"], where


def page(tree, reader, template):
    """A template with `.\\" @table NAME [FILE]` lines replaced by the keys of the table, and the tables it has."""
    out, seen = [], []
    for line in tree.text(template).split("\n"):
        m = re.match(r'\.\\" @table (\w+)(?: (\S+))?$', line)
        if line.startswith('.\\" @effects'):
            for word, text in EFFECTS.items():
                out += [".It Em " + word] + mdoc.running(text[0].upper() + text[1:] + ".")
        elif m:
            lines, where = page_list(reader, m.group(1), m.group(2))
            out += lines
            seen.append(where)
        else:
            out.append(line)
    out = mdoc.wrapped(out)
    text = mdoc.HEAD % ("the tables in control/config/ and of\n.\\\" " + template) + "\n".join(out)
    return text, seen


# ---- lines of keys: keelctl's settings, and the rows of keel-import ----

SETTINGS, IMPORT = "control/cli/keelctl_settings.def", "control/import/keel_import/keys.py"
MADE = "Made by scripts/reference of the tables in control/config/config_peer.c."
# Tables with lines; the member with the keys of a table; None: those of the peer, "": of a family.
HOMES = {"shared_peer_keys": None, "timer_keys": "timers", "capability_keys": "capabilities", "family_keys": ""}
VALUES = {"": ("SETS_TRUE", ""), "NUMBER": ("SETS_NUMBER", " NUMBER"), "AS-NUMBER": ("SETS_ASN", " AS-NUMBER"),
          "ADDRESS": ("SETS_TEXT", " ADDRESS:value"), "TEXT": ("SETS_TEXT", " TEXT:value")}


def template(text, where):
    """(words, VALUE, number without the word)"""
    m = re.fullmatch(r"(.+?)(?: (?:(NUMBER|AS-NUMBER|ADDRESS|TEXT)|\[NUMBER=(\d+)\]))?", text)
    if not re.fullmatch(r"[A-Za-z0-9-]+( [A-Za-z0-9-]+)*", m.group(1)):
        raise Fault("%s: the line \"%s\" is not words and a value" % (where, text))
    return m.group(1), "NUMBER" if m.group(3) else m.group(2) or "", m.group(3)


def keys_with_lines(reader):
    """[(key, member)]"""
    return [(key, HOMES[s.name]) for name in HOMES for s in reader.sections.values() if s.name == name for key in s.keys if key.lines]


def literal(text):
    return "NULL" if text is None else json.dumps(text)


def setting(key, home):
    """The entries of a key in SETTINGS."""
    line, text = key.lines.get("LINE") or key.lines["VRP_LINE"]
    words, value, number = template(line, key.where)
    before, _, last = (" " + words).rpartition(" ")
    kind, shown = VALUES[value]
    sentence = text[0].upper() + text[1:] + ("; %s without a number" % number if number else "") + "."
    out = ["SETTING(%s, %s, %s, %s, %s, %s, %s, %s, %s)" % (
        "VIEW_FAMILIES" if home == "" else "VIEW_BGP | VIEW_VRF", literal(words), literal(" [NUMBER]" if number else shown), kind, literal(key.name), literal(home),
        "true" if key.default is True else "false", number or 0, literal(sentence)), "WORD(%s, %s, %s)" % (literal(last), literal(before.strip() or None), literal(text))]
    if value == "NUMBER":
        out.append("WORD(\"NUMBER\", %s, \"%d to %d\")" % (literal(last), *key.range))
    if "FRR" in key.lines:
        frr, other, optional = template(key.lines["FRR"][0], key.where)
        forms = {"": [("", "")], "NUMBER": [(" #n", " $n")] + ([("", " " + optional)] if optional else [])}.get(other, [])
        out += ["FOREIGN(\"[no=undo]u neighbor %%p %s%s\", \"$u peer $p %s%s\")" % (frr, n, words, use) for n, use in forms]
        if other == "NUMBER" and not optional:
            out.append("FOREIGN(\"no neighbor %%p %s\", \"undo peer $p %s\")" % (frr, words))
    return out


def settings(reader):
    out = ["/* SPDX-License-Identifier: BSD-3-Clause */", "/*",
           " * " + MADE, " * SETTING: a line of keelctl for a key of a peer or group; WORD: help of a word; FOREIGN: a line of FRR.", " */"]
    for macro in ("SETTING", "WORD", "FOREIGN"):
        out += ["#ifndef " + macro, "#define %s(...)" % macro, "#endif"]
    for key, home in keys_with_lines(reader):
        out += setting(key, home) if "LINE" in key.lines or "VRP_LINE" in key.lines else []
    return "\n".join(out + ["#undef SETTING", "#undef WORD", "#undef FOREIGN"]) + "\n"


def import_keys(reader):
    out = ["# SPDX-License-Identifier: BSD-3-Clause", '"""' + MADE + " Lines of other daemons that set one key: (words and value, key, member of the object).", '"""']
    keys = keys_with_lines(reader)
    for dialect in ("VRP", "FRR", "BIRD"):
        for name, of_family in (("PEER", False), ("FAMILY", True)):
            rows = [(key.lines.get(dialect) or key.lines.get(dialect + "_LINE"), key, home) for key, home in keys if (home == "") == of_family]
            rows = [(line[0], key.name, home or None) for line, key, home in rows if line]
            if rows:
                out += ["%s_%s = (" % (dialect, name)] + ["    (%s, %s, %s)," % tuple("None" if x is None else json.dumps(x) for x in row) for row in rows] + [")"]
    out += ["RANGES = {"] + ["    %s: (%d, %d)," % (json.dumps(key.name), *key.range) for key, _ in keys if "NUMBER" in str(key.lines) and any(key.range)] + ["}"]
    return "\n".join(out).replace('.\n"""', '."""') + "\n"


# ---- the subject ----

def generate(tree):
    reader = Reader(tree)
    files = {SCHEMA: json.dumps(Schema(reader).document(), indent=1, ensure_ascii=False) + "\n", SETTINGS: settings(reader), IMPORT: import_keys(reader)}
    shown = []
    for path, template in PAGES.items():
        files[path], seen = page(tree, reader, template)
        shown += seen
    for where in reader.tables:
        if shown.count(where) != 1:
            raise Fault("%s: the table %s stands %d times in the manual, not once" % (*where, shown.count(where)))
    return files


def raw_keys(tree):
    """Names of all keys, found without the reader: each name before a checker."""
    names = set()
    for path in SOURCES:
        names |= set(re.findall(r'\{"([a-z][a-z0-9_-]*)",\s*(?:config_|policy_)?take_\w+', tree.text(path)))
    return names


def page_keys(text):
    return set(re.findall(r'^\.It Ic "?([^"\s]+)"?$', text, re.M))


def schema_keys(node, names):
    if isinstance(node, dict):
        names |= set(node["properties"]) if isinstance(node.get("properties"), dict) and node.get("type") == "object" else set()
        for value in node.values():
            schema_keys(value, names)
    elif isinstance(node, list):
        for value in node:
            schema_keys(value, names)
    return names


def literals(tree):
    """Words of all string literals in the sources: keys, methods, fields of answers, alarms."""
    words = set()
    for directory, _, names in os.walk(os.path.join(tree.root, "control")):
        for name in names:
            if name.endswith((".c", ".h")):
                path = os.path.relpath(os.path.join(directory, name), tree.root)
                for text in re.findall(r'"((?:[^"\\\n]|\\.)*)"', tree.text(path)):
                    words |= set(re.findall(r"[a-z][a-z0-9_.-]*", text))
    return words


def unknown_words(tree, keys):
    """Names in the running text of the pages that neither a key nor a literal of the sources has; net_... are devices of DPDK."""
    known = keys | literals(tree)
    for path in PAGES:
        for number, line in enumerate(tree.text(path).split("\n"), 1):
            for word in re.findall(r"\bIc (?:\( )?([a-z][a-z0-9]*(?:[_.][a-z0-9_]+)+)(?=[ ]|$)", line):
                if not word.startswith("net_") and word not in known and not set(word.split(".")) <= known:
                    yield "%s:%d: names %s, which is neither a key nor a word of the program" % (path, number, word)


def check(tree):
    """The generated files against the sources, without the reader that made them."""
    faults = []
    keys = raw_keys(tree)
    pages = {path: page_keys(tree.text(path)) for path in PAGES if tree.exists(path)}
    in_pages = set().union(*pages.values())
    for name in sorted(keys - in_pages):
        faults.append("the key %s is in no manual page" % name)
    for path, names in pages.items():
        for name in sorted(names - keys):
            faults.append("%s: describes the key %s, which no table has" % (path, name))
    faults += unknown_words(tree, keys)
    in_schema = schema_keys(json.loads(tree.text(SCHEMA)), set())
    for name in sorted(keys - in_schema):
        faults.append("%s: lacks the key %s" % (SCHEMA, name))
    for name in sorted(in_schema - keys - {"description"}):
        faults.append("%s: has the key %s, which no table has" % (SCHEMA, name))
    return faults


def plants(tree):
    """A fault of each kind."""
    bgp, page5 = "control/config/config_peer.c", "docs/man/keel.json.5"
    source, text, schema = tree.text(bgp), tree.text(page5), tree.text(SCHEMA)
    key = '\t{"hold_s", config_take_u32'
    before, after = source.split(key)
    return [
        ("a key without a description", bgp, source.replace(key, '\t{"planted_s", config_take_u32, 0, 1, 2, .def = 1},\n' + key)),
        ("a key whose description is not generated yet", bgp, before[:before.rindex("/*")] +
         "/* A planted key. */\n" + '\t{"planted_s", config_take_u32, 0, 1, 2, .def = 1, EFFECT(TIMER)},\n\t' + before[before.rindex("/*"):] + key + after),
        ("a changed default", bgp, source.replace(".def = 90", ".def = 91")),
        ("a changed range", bgp, source.replace("allow_as_in), 0, 255", "allow_as_in), 0, 254")),
        ("a removed key", bgp, re.sub(r'\t\{"passive", [^\n]*\n', "", source)),
        ("an unknown effect", bgp, source.replace("EFFECT(RESET)", "EFFECT(SOMEDAY)", 1)),
        ("a checker without a type", bgp, source.replace('{"passive", config_take_bool', '{"passive", take_planted')),
        ("a name in the text that does not exist", PAGES[page5], tree.text(PAGES[page5]).replace(".Ic config.edit\n", ".Ic config.change\n")),
        ("a page edited by hand", page5, text.replace(".It Ic hold_s\n", ".It Ic hold_seconds\n")),
        ("a page that lacks a key", page5, text.replace(".It Ic gtsm\n", ".It Ic mtu\n")),
        ("a line that is no template", bgp, source.replace("timer hold NUMBER", "timer {hold} NUMBER")),
        ("settings edited by hand", SETTINGS, tree.text(SETTINGS).replace("listen-only", "listens-only")),
        ("rows of keel-import edited by hand", IMPORT, tree.text(IMPORT).replace("listen-only", "listens-only")),
        ("a schema edited by hand", SCHEMA, schema.replace('"hold_s"', '"hold"')),
        ("a table that no page shows", PAGES[page5], tree.text(PAGES[page5]).replace('.\\" @table timer_keys\n', "")),
    ]
