# SPDX-License-Identifier: BSD-3-Clause
"""Ethernet frames and IPv4 packets, in octets, for tests that send or judge them."""
import socket
import struct

STRANGER = b"\x02\0\0\0\0\x77"  # MAC address of a stranger on the link


def checksum(data):
    """RFC 1071."""
    n = sum(struct.unpack("!%dH" % ((len(data) + 1) // 2), data + b"\0" * (len(data) % 2)))
    while n >> 16:
        n = (n & 0xffff) + (n >> 16)
    return ~n & 0xffff


def ipv4(source, to, protocol, payload):
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 0, 0, 64, protocol, 0, socket.inet_aton(source), socket.inet_aton(to))
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def ipv4_frame(mac, packet):
    """A frame with an IPv4 packet, from STRANGER to the port with `mac`."""
    return mac + STRANGER + b"\x08\0" + packet


def flood_frames(mac, stranger, router, other):
    """{class of the host path: frame} from the address `stranger` to `router`, the address of the port with `mac`; ARP asks for `other`."""
    def frame(protocol, payload):
        return ipv4_frame(mac, ipv4(stranger, router, protocol, payload))
    return {"bgp_others": frame(6, struct.pack("!HHIIBBHHH", 50000, 179, 1, 0, 0x50, 2, 1024, 0, 0)),
            "neighbors": b"\xff" * 6 + STRANGER + b"\x08\x06" + struct.pack("!HHBBH6s4s6s4s", 1, 0x800, 6, 4, 1, STRANGER, socket.inet_aton(stranger), bytes(6),
                                                                        socket.inet_aton(other)),
            "icmp": frame(1, b"\0\0\xff\xff" + bytes(4)),
            "others": frame(17, struct.pack("!HHHH", 50000, 9, 8, 0))}
