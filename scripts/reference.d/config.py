# SPDX-License-Identifier: BSD-3-Clause
"""The configuration: docs/keel.schema.json, keel.json(5) and keel-policy(7), of the tables of keys in control/config/."""


def generate(tree):
    return {}


def check(tree):
    return []


def plants(tree):
    return []
