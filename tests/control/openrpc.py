# SPDX-License-Identifier: BSD-3-Clause
"""Validates answers and events of keeld against the OpenRPC document returned by rpc.discover. Needs python3-jsonschema."""
import copy

import jsonschema


def closed(schema):
    """The schema with undescribed members forbidden in every object."""
    schema = copy.deepcopy(schema)
    stack = [schema]
    while stack:
        s = stack.pop()
        if "properties" in s:
            s.setdefault("additionalProperties", False)
            stack += s["properties"].values()
        stack += [s[k] for k in ("items", "additionalProperties") if isinstance(s.get(k), dict)]
    return schema


def undescribed(schema, where):
    """The places of members without a description, and of objects without members."""
    found = []
    for name, s in schema.get("properties", {}).items():
        if not s.get("description"):
            found.append(where + "/" + name)
        found += undescribed(s, where + "/" + name)
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            found += undescribed(schema[key], where + "/*")
    return found


class OpenRpc:
    def __init__(self, document):
        self.methods = {m["name"]: m for m in document["methods"]}
        self.events = {e["topic"]: e for e in document["x-events"]}
        self.errors = {e["code"]: e for e in document["components"]["errors"].values()}
        self.seen = set()  # methods whose result was validated
        self.topics = set()

    def faults(self):
        """Missing parts of the document itself."""
        found = []
        for name, m in self.methods.items():
            jsonschema.Draft7Validator.check_schema(m["result"]["schema"])
            found += [name + ": no summary"] if not m["summary"] else []
            found += undescribed(m["result"]["schema"], name)
            found += [name + "?" + p["name"] for p in m["params"] if not p.get("description")]
            found += ["%s: error %d is not described" % (name, e["code"]) for e in m["errors"] if e["code"] not in self.errors]
        found += [f for t, e in self.events.items() for f in undescribed(e["schema"], "event " + t)]
        return found

    def result(self, method, value):
        """The faults of a result."""
        self.seen.add(method)
        v = jsonschema.Draft7Validator(closed(self.methods[method]["result"]["schema"]))
        return ["%s /%s: %s" % (method, "/".join(map(str, e.absolute_path)), e.message[:300]) for e in v.iter_errors(value)]

    def event(self, params):
        self.topics.add(params["topic"])
        v = jsonschema.Draft7Validator(closed(self.events[params["topic"]]["schema"]))
        return ["event %s: %s" % (params["topic"], e.message[:300]) for e in v.iter_errors(params)]

    def answer(self, method, answer):
        """The faults of a whole answer: an error code must be listed for the method."""
        if "result" in answer:
            return self.result(method, answer["result"])
        code = answer["error"]["code"]
        return [] if code in [e["code"] for e in self.methods[method]["errors"]] else ["%s: error %d is not described" % (method, code)]
