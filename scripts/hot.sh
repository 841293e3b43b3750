#!/usr/bin/env bash
# Referee over the symbols of data-path objects: what a worker calls while it forwards must not allocate, lock, log or make a system
# call. hot.sh BUILD-FOLDER prints each undefined symbol that is not on the list and exits 1.
set -euo pipefail
dir=${1:?usage: hot.sh BUILD-FOLDER}
# rte_lcore_id() is __tls_get_addr in an object, and a load by the thread pointer in a linked program.
allowed='
memcpy memset memmove memcmp __stack_chk_fail _GLOBAL_OFFSET_TABLE_
forward_split forward_choose forward_list resolve_add resolve_take resolve_forget_tables ip4_classify ip4_finish ip6_classify ip6_look_up ip6_finish ip4_finish_each ip6_finish_each mpls_finish mpls_send fragment_v4 fragment_fits udp_tunnel_push udp_tunnel_unwrap rewrite_flow_hash_v4 rewrite_flow_hash_v6
own_addresses_none addr_from_v4 next_hop_peek icmp_allowed icmp_make icmp_make_local compact_v4_lookup compact_v6_lookup compact_v4_lookup_each compact_v6_lookup_each qsbr_online qsbr_offline qsbr_quiescent ring_push ring_pop punt_burst punt_reclaim punt_to_tun punt_labelled worker_idle vlan_tags vlan_take vlan_next vlan_push
__cpu_indicator_init __cpu_model __cpu_features2
rte_eth_fp_ops rte_eth_call_rx_callbacks rte_eth_call_tx_callbacks __rte_pktmbuf_read rte_pktmbuf_free_bulk rte_mempool_ops_table per_lcore__lcore_id __tls_get_addr __rte_panic
'
status=0
for object in dataplane/forward_{worker,worker_vlan,forward,ip4,ip6,icmp,mpls,fragment,udp_tunnel,punt,resolve,rewrite} lpm/compact_lookup; do # as meson names them
	file=$(find "$dir/${object%/*}" -path "*keel_${object%/*}*" -name "${object#*/}.c.o")
	[ -n "$file" ] || { echo "hot: no object of $object.c in $dir"; exit 1; }
	for symbol in $(nm -u "$file" | awk '{print $2}' | sed 's/@.*//'); do
		grep -qwF -- "$symbol" <<<"$allowed" || { echo "hot: $object.c calls $symbol"; status=1; }
	done
done
# It must be able to say no: an object that calls the kernel is refused.
file=$(find "$dir/dataplane" -path '*keel_dataplane*' -name 'port_xdp.c.o')
refused=0
for symbol in $(nm -u "$file" | awk '{print $2}' | sed 's/@.*//'); do
	grep -qwF -- "$symbol" <<<"$allowed" || refused=1
done
[ $refused = 1 ] || { echo "hot: refuses nothing"; status=1; }
exit $status
