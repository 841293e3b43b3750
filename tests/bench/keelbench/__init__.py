# SPDX-License-Identifier: BSD-3-Clause
"""keelbench: load and storms for routers that speak BGP, for operators. scripts/keelbench is its face, docs/keelbench.md its manual."""
