# SPDX-License-Identifier: BSD-3-Clause
"""keelbench: load and storms for BGP routers, for operators. scripts/keelbench is the command, docs/keelbench.md the manual."""
