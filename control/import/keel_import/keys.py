# SPDX-License-Identifier: BSD-3-Clause
"""Made by scripts/reference of the tables in control/config/config_peer.c. Lines of other daemons that set one key: (words and value, key, member of the object)."""
VRP_PEER = (
    ("description TEXT", "description", None),
    ("listen-only", "passive", None),
    ("ignore", "shutdown", None),
    ("ebgp-max-hop [NUMBER=255]", "multihop", None),
    ("valid-ttl-hops 1", "gtsm", None),
    ("tcp-mss NUMBER", "tcp_mss", None),
    ("timer connect-retry NUMBER", "connect_retry_s", "timers"),
    ("route-update-interval NUMBER", "min_advertisement_s", "timers"),
)
VRP_FAMILY = (
    ("enable", "enabled", None),
    ("next-hop-local", "next_hop_self", None),
    ("next-hop-invariable", "next_hop_unchanged", None),
    ("keep-all-routes", "keep_all_routes", None),
    ("allow-as-loop [NUMBER=1]", "allow_as_in", None),
    ("substitute-as", "as_override", None),
    ("default-route-advertise", "default_originate", None),
)
FRR_PEER = (
    ("description TEXT", "description", None),
    ("passive", "passive", None),
    ("ebgp-multihop [NUMBER=255]", "multihop", None),
    ("ttl-security hops 1", "gtsm", None),
    ("tcp-mss NUMBER", "tcp_mss", None),
    ("enforce-first-as", "enforce_first_as", None),
    ("timers connect NUMBER", "connect_retry_s", "timers"),
    ("advertisement-interval NUMBER", "min_advertisement_s", "timers"),
)
FRR_FAMILY = (
    ("activate", "enabled", None),
    ("next-hop-self", "next_hop_self", None),
    ("attribute-unchanged next-hop", "next_hop_unchanged", None),
    ("soft-reconfiguration inbound", "keep_all_routes", None),
    ("remove-private-AS all", "remove_private_as", None),
    ("allowas-in [NUMBER=3]", "allow_as_in", None),
    ("as-override", "as_override", None),
    ("default-originate", "default_originate", None),
)
BIRD_PEER = (
    ("description TEXT", "description", None),
    ("passive", "passive", None),
    ("disabled", "shutdown", None),
    ("ttl security", "gtsm", None),
    ("rr client", "route_reflector_client", None),
    ("enforce first as", "enforce_first_as", None),
    ("rs client", "route_server_client", None),
    ("require roles", "role_strict", None),
    ("hold time NUMBER", "hold_s", "timers"),
    ("keepalive time NUMBER", "keepalive_s", "timers"),
    ("connect retry time NUMBER", "connect_retry_s", "timers"),
    ("startup hold time NUMBER", "open_sent_hold_s", "timers"),
    ("enable route refresh", "route_refresh", "capabilities"),
    ("enable enhanced route refresh", "enhanced_route_refresh", "capabilities"),
    ("enable extended messages", "extended_message", "capabilities"),
)
RANGES = {
    "multihop": (1, 255),
    "tcp_mss": (88, 32767),
    "hold_s": (0, 65535),
    "keepalive_s": (1, 21845),
    "connect_retry_s": (1, 65535),
    "open_sent_hold_s": (1, 65535),
    "min_advertisement_s": (0, 600),
    "allow_as_in": (0, 255),
}
