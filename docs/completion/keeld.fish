# SPDX-License-Identifier: BSD-3-Clause
# Made by scripts/reference. Edit the tables of options, not this file.
complete -c keeld -f
complete -c keeld -s c -d 'The configuration; keel.json(5) describes it. Required.' -r -F
complete -c keeld -l check -d 'Checks FILE as a start on this host would, prints one line for each fault on standard error, and exits. A device or an interface that this host lacks is a warning its port waits.'
complete -c keeld -l socket -d 'JSON-RPC socket. Default management.socket in FILE, then /run/keel/keel.sock. The read-only socket is PATH.ro.' -r -F
complete -c keeld -l forwarder -d 'Socket of keelfwd, which has the ports and workers. A running keelfwd is adopted, otherwise keeld starts one. Default the RPC socket with .fwd; with a socket of FILE, keelfwd.sock in the state directory.' -r -F
complete -c keeld -l user -d 'Started as root, with ports the user of keeld after the start. Default keel, if the user exists; root no change.' -x
complete -c keeld -l forwarder-user -d 'Started as root the user of keelfwd. Default keel-forwarder, if the user exists; otherwise keelfwd stays root.' -x
complete -c keeld -l permit -d 'Permits keelfwd an argument of eal_args, or a device. Only a FILE of root permits its own. May be repeated.' -x
complete -c keeld -l no-dataplane -d 'BGP speaker only, without EAL and ports for a route reflector or route server.'
complete -c keeld -l state-dir -d 'Where keeld keeps commits and its run-time files. Default /var/lib/keel.' -r -F
complete -c keeld -l log-level -d 'Least level that is logged error, warning, info (default), debug.' -x -a 'error warning info debug'
complete -c keeld -l version -d 'Prints the version.'
complete -c keeld -l help -d 'Prints this help.'
