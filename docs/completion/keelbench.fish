# SPDX-License-Identifier: BSD-3-Clause
# Made by scripts/reference. Edit the tables of options, not this file.
complete -c keelbench -f
complete -c keelbench -n __fish_use_subcommand -a storm -d 'A full table, an import policy that flips, refreshes and churn at the same time, under numbered traffic.'
complete -c keelbench -n '__fish_seen_subcommand_from storm' -l peers -d 'Peers that request refreshes (default 20).' -x
complete -c keelbench -n '__fish_seen_subcommand_from storm' -l hold -d 'Hold time of these peers in seconds (default 90).' -x
complete -c keelbench -n '__fish_seen_subcommand_from storm' -l seconds -d 'Duration of one storm (default 20; with --lab-ports 15).' -x
complete -c keelbench -n '__fish_seen_subcommand_from storm' -l minutes -d 'Soak one storm of this duration, with figures for each third.' -x
complete -c keelbench -n '__fish_seen_subcommand_from storm' -l rate -d 'Factor for all rates flips, refreshes, churn, packets (default 1).' -x
complete -c keelbench -n '__fish_seen_subcommand_from storm' -l flip-s -d 'Seconds between policy changes (default 5; 0 none).' -x
complete -c keelbench -n '__fish_seen_subcommand_from storm' -l refresh-rate -d 'Refresh requests a second of all peers (default 50).' -x
complete -c keelbench -n '__fish_seen_subcommand_from storm' -l churn -d 'Updates a second of all feeds (default 10,000).' -x
complete -c keelbench -n '__fish_seen_subcommand_from storm' -l pps -d 'Packets a second (default 20,000).' -x
complete -c keelbench -n '__fish_seen_subcommand_from storm' -l window -d 'Packets that are at most under way; --pps is then the highest rate, and latencies leave out what waits for a slow router for losses on a machine that is too slow for the rate (default 0 any number).' -x
complete -c keelbench -n '__fish_seen_subcommand_from storm' -l destinations -d 'IPv4 destinations of the traffic, and half as many of IPv6 (default 5,000).' -x
complete -c keelbench -n '__fish_seen_subcommand_from storm' -l slow -d 'Number of requesting peers that read nothing during a storm (default 0).' -x
complete -c keelbench -n '__fish_seen_subcommand_from storm' -l strain -d 'Keel only a full disk, a log without a reader and a collector of events that does not read, each coming and going; no commit, log line or event may be missing at the end, and from 10 minutes on the memory of the last third must be within 2 % of that of the second third.'
complete -c keelbench -n '__fish_seen_subcommand_from storm' -l lab-ports -d 'Keel only rate of the worker in the storm (traffic from and to memory, in the workers own loop), as a ratio to its rate beside an unrelated loop in memory; default 15 runs.'
complete -c keelbench -n '__fish_seen_subcommand_from storm' -l no-bare -d 'Do not run the bare loop.'
complete -c keelbench -n '__fish_seen_subcommand_from storm' -l dut -d 'Keel (default), bird, frr, gobgp, openbgpd; or the addresses of a router on a wire, one for each link input, to A, to B; a single address no traffic.' -x
complete -c keelbench -n '__fish_seen_subcommand_from storm' -l interface -d 'With an address this machines interfaces to these links; each is moved into a namespace during the run.' -x
complete -c keelbench -n '__fish_seen_subcommand_from storm' -l source -d 'Address of this machine on each link (default the routers plus 1; /24); the peers use the following addresses.' -x
complete -c keelbench -n '__fish_seen_subcommand_from storm' -l dut6 -d 'IPv6 addresses of the router (/64); without them a router on a wire gets only IPv4.' -x
complete -c keelbench -n '__fish_seen_subcommand_from storm' -l source6 -d 'IPv6 addresses of this machine (default the routers plus 1).' -x
complete -c keelbench -n '__fish_seen_subcommand_from storm' -l asn -d 'AS number of the router (default 64999).' -x
complete -c keelbench -n '__fish_seen_subcommand_from storm' -l flip -d 'Command that changes the import policy of a router on a wire; its argument is 1 and 0 in turn (see keelbench plan).' -x
complete -c keelbench -n '__fish_seen_subcommand_from storm' -l label -d 'Name of the router in the report.' -x
complete -c keelbench -n '__fish_seen_subcommand_from storm' -l no-keep -d 'The router does not keep rejected routes, so a policy change requests all routes again.'
complete -c keelbench -n '__fish_seen_subcommand_from storm' -l routes -d 'Generated IPv4 routes (default 1,000,000).' -x
complete -c keelbench -n '__fish_seen_subcommand_from storm' -l routes6 -d 'Generated IPv6 routes (default a fifth of the IPv4 routes); 0 only IPv4, also from a dump.' -x
complete -c keelbench -n '__fish_seen_subcommand_from storm' -l mrt -d 'Table from a TABLE_DUMP_V2 dump (may end in .gz) instead of generated routes.' -r -F
complete -c keelbench -n '__fish_seen_subcommand_from storm' -l updates -d 'Recorded churn an MRT file of updates (BGP4MP); A plays its first peer.' -r -F
complete -c keelbench -n '__fish_seen_subcommand_from storm' -l speed -d 'Speed factor of recorded churn (default 1).' -x
complete -c keelbench -n '__fish_seen_subcommand_from storm' -l quick -d '20,000 + 4,000 routes and one short run.'
complete -c keelbench -n '__fish_seen_subcommand_from storm' -l runs -d 'Number of runs (default 5).' -x
complete -c keelbench -n '__fish_seen_subcommand_from storm' -l timeout -d 'Seconds after which a wait has failed (default 900).' -x
complete -c keelbench -n '__fish_seen_subcommand_from storm' -l out -d 'Folder of the report (default build/keelbench).' -r -F
complete -c keelbench -n '__fish_seen_subcommand_from storm' -l json -d 'Write the JSON report to FILE, too.' -r -F
complete -c keelbench -n '__fish_seen_subcommand_from storm' -l no-limits -d 'Do not measure the limits of keelbench first.'
complete -c keelbench -n '__fish_seen_subcommand_from storm' -l no-huge -d 'Run Keel without hugepages.'
complete -c keelbench -n __fish_use_subcommand -a plan -d 'Prints how a router on a wire must be configured for the same options.'
complete -c keelbench -n '__fish_seen_subcommand_from plan' -l peers -d 'Peers that request refreshes (default 20).' -x
complete -c keelbench -n '__fish_seen_subcommand_from plan' -l hold -d 'Hold time of these peers in seconds (default 90).' -x
complete -c keelbench -n '__fish_seen_subcommand_from plan' -l dut -d 'Keel (default), bird, frr, gobgp, openbgpd; or the addresses of a router on a wire, one for each link input, to A, to B; a single address no traffic.' -x
complete -c keelbench -n '__fish_seen_subcommand_from plan' -l interface -d 'With an address this machines interfaces to these links; each is moved into a namespace during the run.' -x
complete -c keelbench -n '__fish_seen_subcommand_from plan' -l source -d 'Address of this machine on each link (default the routers plus 1; /24); the peers use the following addresses.' -x
complete -c keelbench -n '__fish_seen_subcommand_from plan' -l dut6 -d 'IPv6 addresses of the router (/64); without them a router on a wire gets only IPv4.' -x
complete -c keelbench -n '__fish_seen_subcommand_from plan' -l source6 -d 'IPv6 addresses of this machine (default the routers plus 1).' -x
complete -c keelbench -n '__fish_seen_subcommand_from plan' -l asn -d 'AS number of the router (default 64999).' -x
complete -c keelbench -n '__fish_seen_subcommand_from plan' -l flip -d 'Command that changes the import policy of a router on a wire; its argument is 1 and 0 in turn (see keelbench plan).' -x
complete -c keelbench -n '__fish_seen_subcommand_from plan' -l label -d 'Name of the router in the report.' -x
complete -c keelbench -n '__fish_seen_subcommand_from plan' -l no-keep -d 'The router does not keep rejected routes, so a policy change requests all routes again.'
complete -c keelbench -n '__fish_seen_subcommand_from plan' -l routes -d 'Generated IPv4 routes (default 1,000,000).' -x
complete -c keelbench -n '__fish_seen_subcommand_from plan' -l routes6 -d 'Generated IPv6 routes (default a fifth of the IPv4 routes); 0 only IPv4, also from a dump.' -x
complete -c keelbench -n '__fish_seen_subcommand_from plan' -l mrt -d 'Table from a TABLE_DUMP_V2 dump (may end in .gz) instead of generated routes.' -r -F
complete -c keelbench -n '__fish_seen_subcommand_from plan' -l updates -d 'Recorded churn an MRT file of updates (BGP4MP); A plays its first peer.' -r -F
complete -c keelbench -n '__fish_seen_subcommand_from plan' -l speed -d 'Speed factor of recorded churn (default 1).' -x
complete -c keelbench -n '__fish_seen_subcommand_from plan' -l quick -d '20,000 + 4,000 routes and one short run.'
complete -c keelbench -n '__fish_seen_subcommand_from plan' -l runs -d 'Number of runs (default 5).' -x
complete -c keelbench -n '__fish_seen_subcommand_from plan' -l timeout -d 'Seconds after which a wait has failed (default 900).' -x
complete -c keelbench -n '__fish_seen_subcommand_from plan' -l out -d 'Folder of the report (default build/keelbench).' -r -F
complete -c keelbench -n '__fish_seen_subcommand_from plan' -l json -d 'Write the JSON report to FILE, too.' -r -F
complete -c keelbench -n '__fish_seen_subcommand_from plan' -l no-limits -d 'Do not measure the limits of keelbench first.'
complete -c keelbench -n '__fish_seen_subcommand_from plan' -l no-huge -d 'Run Keel without hugepages.'
complete -c keelbench -n __fish_use_subcommand -a load -d 'A table from one or two peers until a receiver has the last route.'
complete -c keelbench -n '__fish_seen_subcommand_from load' -l from -d 'Peers that announce the table (default 1).' -x -a '1 2'
complete -c keelbench -n '__fish_seen_subcommand_from load' -l dut -d 'Keel (default), bird, frr, gobgp, openbgpd; or the addresses of a router on a wire, one for each link input, to A, to B; a single address no traffic.' -x
complete -c keelbench -n '__fish_seen_subcommand_from load' -l interface -d 'With an address this machines interfaces to these links; each is moved into a namespace during the run.' -x
complete -c keelbench -n '__fish_seen_subcommand_from load' -l source -d 'Address of this machine on each link (default the routers plus 1; /24); the peers use the following addresses.' -x
complete -c keelbench -n '__fish_seen_subcommand_from load' -l dut6 -d 'IPv6 addresses of the router (/64); without them a router on a wire gets only IPv4.' -x
complete -c keelbench -n '__fish_seen_subcommand_from load' -l source6 -d 'IPv6 addresses of this machine (default the routers plus 1).' -x
complete -c keelbench -n '__fish_seen_subcommand_from load' -l asn -d 'AS number of the router (default 64999).' -x
complete -c keelbench -n '__fish_seen_subcommand_from load' -l flip -d 'Command that changes the import policy of a router on a wire; its argument is 1 and 0 in turn (see keelbench plan).' -x
complete -c keelbench -n '__fish_seen_subcommand_from load' -l label -d 'Name of the router in the report.' -x
complete -c keelbench -n '__fish_seen_subcommand_from load' -l no-keep -d 'The router does not keep rejected routes, so a policy change requests all routes again.'
complete -c keelbench -n '__fish_seen_subcommand_from load' -l routes -d 'Generated IPv4 routes (default 1,000,000).' -x
complete -c keelbench -n '__fish_seen_subcommand_from load' -l routes6 -d 'Generated IPv6 routes (default a fifth of the IPv4 routes); 0 only IPv4, also from a dump.' -x
complete -c keelbench -n '__fish_seen_subcommand_from load' -l mrt -d 'Table from a TABLE_DUMP_V2 dump (may end in .gz) instead of generated routes.' -r -F
complete -c keelbench -n '__fish_seen_subcommand_from load' -l updates -d 'Recorded churn an MRT file of updates (BGP4MP); A plays its first peer.' -r -F
complete -c keelbench -n '__fish_seen_subcommand_from load' -l speed -d 'Speed factor of recorded churn (default 1).' -x
complete -c keelbench -n '__fish_seen_subcommand_from load' -l quick -d '20,000 + 4,000 routes and one short run.'
complete -c keelbench -n '__fish_seen_subcommand_from load' -l runs -d 'Number of runs (default 5).' -x
complete -c keelbench -n '__fish_seen_subcommand_from load' -l timeout -d 'Seconds after which a wait has failed (default 900).' -x
complete -c keelbench -n '__fish_seen_subcommand_from load' -l out -d 'Folder of the report (default build/keelbench).' -r -F
complete -c keelbench -n '__fish_seen_subcommand_from load' -l json -d 'Write the JSON report to FILE, too.' -r -F
complete -c keelbench -n '__fish_seen_subcommand_from load' -l no-limits -d 'Do not measure the limits of keelbench first.'
complete -c keelbench -n '__fish_seen_subcommand_from load' -l no-huge -d 'Run Keel without hugepages.'
complete -c keelbench -n __fish_use_subcommand -a refresh -d 'Peers that send refresh requests continuously sessions lost, and the delay of a probe route.'
complete -c keelbench -n '__fish_seen_subcommand_from refresh' -l peers -d 'Peers that request refreshes (default 20).' -x
complete -c keelbench -n '__fish_seen_subcommand_from refresh' -l each -d 'Requests a second of each peer (default 50).' -x
complete -c keelbench -n '__fish_seen_subcommand_from refresh' -l hold -d 'Hold time in seconds (default 9).' -x
complete -c keelbench -n '__fish_seen_subcommand_from refresh' -l seconds -d 'Duration (default 30).' -x
complete -c keelbench -n '__fish_seen_subcommand_from refresh' -l slow -d 'Number of these peers that stop reading half-way (default 0).' -x
complete -c keelbench -n '__fish_seen_subcommand_from refresh' -l dut -d 'Keel (default), bird, frr, gobgp, openbgpd; or the addresses of a router on a wire, one for each link input, to A, to B; a single address no traffic.' -x
complete -c keelbench -n '__fish_seen_subcommand_from refresh' -l interface -d 'With an address this machines interfaces to these links; each is moved into a namespace during the run.' -x
complete -c keelbench -n '__fish_seen_subcommand_from refresh' -l source -d 'Address of this machine on each link (default the routers plus 1; /24); the peers use the following addresses.' -x
complete -c keelbench -n '__fish_seen_subcommand_from refresh' -l dut6 -d 'IPv6 addresses of the router (/64); without them a router on a wire gets only IPv4.' -x
complete -c keelbench -n '__fish_seen_subcommand_from refresh' -l source6 -d 'IPv6 addresses of this machine (default the routers plus 1).' -x
complete -c keelbench -n '__fish_seen_subcommand_from refresh' -l asn -d 'AS number of the router (default 64999).' -x
complete -c keelbench -n '__fish_seen_subcommand_from refresh' -l flip -d 'Command that changes the import policy of a router on a wire; its argument is 1 and 0 in turn (see keelbench plan).' -x
complete -c keelbench -n '__fish_seen_subcommand_from refresh' -l label -d 'Name of the router in the report.' -x
complete -c keelbench -n '__fish_seen_subcommand_from refresh' -l no-keep -d 'The router does not keep rejected routes, so a policy change requests all routes again.'
complete -c keelbench -n '__fish_seen_subcommand_from refresh' -l routes -d 'Generated IPv4 routes (default 1,000,000).' -x
complete -c keelbench -n '__fish_seen_subcommand_from refresh' -l routes6 -d 'Generated IPv6 routes (default a fifth of the IPv4 routes); 0 only IPv4, also from a dump.' -x
complete -c keelbench -n '__fish_seen_subcommand_from refresh' -l mrt -d 'Table from a TABLE_DUMP_V2 dump (may end in .gz) instead of generated routes.' -r -F
complete -c keelbench -n '__fish_seen_subcommand_from refresh' -l updates -d 'Recorded churn an MRT file of updates (BGP4MP); A plays its first peer.' -r -F
complete -c keelbench -n '__fish_seen_subcommand_from refresh' -l speed -d 'Speed factor of recorded churn (default 1).' -x
complete -c keelbench -n '__fish_seen_subcommand_from refresh' -l quick -d '20,000 + 4,000 routes and one short run.'
complete -c keelbench -n '__fish_seen_subcommand_from refresh' -l runs -d 'Number of runs (default 5).' -x
complete -c keelbench -n '__fish_seen_subcommand_from refresh' -l timeout -d 'Seconds after which a wait has failed (default 900).' -x
complete -c keelbench -n '__fish_seen_subcommand_from refresh' -l out -d 'Folder of the report (default build/keelbench).' -r -F
complete -c keelbench -n '__fish_seen_subcommand_from refresh' -l json -d 'Write the JSON report to FILE, too.' -r -F
complete -c keelbench -n '__fish_seen_subcommand_from refresh' -l no-limits -d 'Do not measure the limits of keelbench first.'
complete -c keelbench -n '__fish_seen_subcommand_from refresh' -l no-huge -d 'Run Keel without hugepages.'
complete -c keelbench -n __fish_use_subcommand -a churn -d 'Updates at a fixed rate, or recorded updates (MRT) with their timing the delay of a probe route.'
complete -c keelbench -n '__fish_seen_subcommand_from churn' -l updates-per-s -d 'Updates a second (default 10,000).' -x
complete -c keelbench -n '__fish_seen_subcommand_from churn' -l flaps -d 'Number of /32 routes that a separate peer flaps (default 0).' -x
complete -c keelbench -n '__fish_seen_subcommand_from churn' -l seconds -d 'Duration (default 30).' -x
complete -c keelbench -n '__fish_seen_subcommand_from churn' -l dut -d 'Keel (default), bird, frr, gobgp, openbgpd; or the addresses of a router on a wire, one for each link input, to A, to B; a single address no traffic.' -x
complete -c keelbench -n '__fish_seen_subcommand_from churn' -l interface -d 'With an address this machines interfaces to these links; each is moved into a namespace during the run.' -x
complete -c keelbench -n '__fish_seen_subcommand_from churn' -l source -d 'Address of this machine on each link (default the routers plus 1; /24); the peers use the following addresses.' -x
complete -c keelbench -n '__fish_seen_subcommand_from churn' -l dut6 -d 'IPv6 addresses of the router (/64); without them a router on a wire gets only IPv4.' -x
complete -c keelbench -n '__fish_seen_subcommand_from churn' -l source6 -d 'IPv6 addresses of this machine (default the routers plus 1).' -x
complete -c keelbench -n '__fish_seen_subcommand_from churn' -l asn -d 'AS number of the router (default 64999).' -x
complete -c keelbench -n '__fish_seen_subcommand_from churn' -l flip -d 'Command that changes the import policy of a router on a wire; its argument is 1 and 0 in turn (see keelbench plan).' -x
complete -c keelbench -n '__fish_seen_subcommand_from churn' -l label -d 'Name of the router in the report.' -x
complete -c keelbench -n '__fish_seen_subcommand_from churn' -l no-keep -d 'The router does not keep rejected routes, so a policy change requests all routes again.'
complete -c keelbench -n '__fish_seen_subcommand_from churn' -l routes -d 'Generated IPv4 routes (default 1,000,000).' -x
complete -c keelbench -n '__fish_seen_subcommand_from churn' -l routes6 -d 'Generated IPv6 routes (default a fifth of the IPv4 routes); 0 only IPv4, also from a dump.' -x
complete -c keelbench -n '__fish_seen_subcommand_from churn' -l mrt -d 'Table from a TABLE_DUMP_V2 dump (may end in .gz) instead of generated routes.' -r -F
complete -c keelbench -n '__fish_seen_subcommand_from churn' -l updates -d 'Recorded churn an MRT file of updates (BGP4MP); A plays its first peer.' -r -F
complete -c keelbench -n '__fish_seen_subcommand_from churn' -l speed -d 'Speed factor of recorded churn (default 1).' -x
complete -c keelbench -n '__fish_seen_subcommand_from churn' -l quick -d '20,000 + 4,000 routes and one short run.'
complete -c keelbench -n '__fish_seen_subcommand_from churn' -l runs -d 'Number of runs (default 5).' -x
complete -c keelbench -n '__fish_seen_subcommand_from churn' -l timeout -d 'Seconds after which a wait has failed (default 900).' -x
complete -c keelbench -n '__fish_seen_subcommand_from churn' -l out -d 'Folder of the report (default build/keelbench).' -r -F
complete -c keelbench -n '__fish_seen_subcommand_from churn' -l json -d 'Write the JSON report to FILE, too.' -r -F
complete -c keelbench -n '__fish_seen_subcommand_from churn' -l no-limits -d 'Do not measure the limits of keelbench first.'
complete -c keelbench -n '__fish_seen_subcommand_from churn' -l no-huge -d 'Run Keel without hugepages.'
complete -c keelbench -n __fish_use_subcommand -a limits -d 'What keelbench itself can send and receive on this machine.'
complete -c keelbench -n '__fish_seen_subcommand_from limits' -l dut -d 'Keel (default), bird, frr, gobgp, openbgpd; or the addresses of a router on a wire, one for each link input, to A, to B; a single address no traffic.' -x
complete -c keelbench -n '__fish_seen_subcommand_from limits' -l interface -d 'With an address this machines interfaces to these links; each is moved into a namespace during the run.' -x
complete -c keelbench -n '__fish_seen_subcommand_from limits' -l source -d 'Address of this machine on each link (default the routers plus 1; /24); the peers use the following addresses.' -x
complete -c keelbench -n '__fish_seen_subcommand_from limits' -l dut6 -d 'IPv6 addresses of the router (/64); without them a router on a wire gets only IPv4.' -x
complete -c keelbench -n '__fish_seen_subcommand_from limits' -l source6 -d 'IPv6 addresses of this machine (default the routers plus 1).' -x
complete -c keelbench -n '__fish_seen_subcommand_from limits' -l asn -d 'AS number of the router (default 64999).' -x
complete -c keelbench -n '__fish_seen_subcommand_from limits' -l flip -d 'Command that changes the import policy of a router on a wire; its argument is 1 and 0 in turn (see keelbench plan).' -x
complete -c keelbench -n '__fish_seen_subcommand_from limits' -l label -d 'Name of the router in the report.' -x
complete -c keelbench -n '__fish_seen_subcommand_from limits' -l no-keep -d 'The router does not keep rejected routes, so a policy change requests all routes again.'
complete -c keelbench -n '__fish_seen_subcommand_from limits' -l routes -d 'Generated IPv4 routes (default 1,000,000).' -x
complete -c keelbench -n '__fish_seen_subcommand_from limits' -l routes6 -d 'Generated IPv6 routes (default a fifth of the IPv4 routes); 0 only IPv4, also from a dump.' -x
complete -c keelbench -n '__fish_seen_subcommand_from limits' -l mrt -d 'Table from a TABLE_DUMP_V2 dump (may end in .gz) instead of generated routes.' -r -F
complete -c keelbench -n '__fish_seen_subcommand_from limits' -l updates -d 'Recorded churn an MRT file of updates (BGP4MP); A plays its first peer.' -r -F
complete -c keelbench -n '__fish_seen_subcommand_from limits' -l speed -d 'Speed factor of recorded churn (default 1).' -x
complete -c keelbench -n '__fish_seen_subcommand_from limits' -l quick -d '20,000 + 4,000 routes and one short run.'
complete -c keelbench -n '__fish_seen_subcommand_from limits' -l runs -d 'Number of runs (default 5).' -x
complete -c keelbench -n '__fish_seen_subcommand_from limits' -l timeout -d 'Seconds after which a wait has failed (default 900).' -x
complete -c keelbench -n '__fish_seen_subcommand_from limits' -l out -d 'Folder of the report (default build/keelbench).' -r -F
complete -c keelbench -n '__fish_seen_subcommand_from limits' -l json -d 'Write the JSON report to FILE, too.' -r -F
complete -c keelbench -n '__fish_seen_subcommand_from limits' -l no-limits -d 'Do not measure the limits of keelbench first.'
complete -c keelbench -n '__fish_seen_subcommand_from limits' -l no-huge -d 'Run Keel without hugepages.'
