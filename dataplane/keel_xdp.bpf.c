// SPDX-License-Identifier: (BSD-3-Clause OR GPL-2.0-only)
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
char LICENSE[] SEC("license") = "Dual BSD/GPL";
SEC("xdp") int keel_xdp(struct xdp_md *ctx) { return XDP_PASS; }
