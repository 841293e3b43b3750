# SPDX-License-Identifier: BSD-3-Clause
# Made by scripts/reference. Edit the tables of options, not this file.
_keelbench() {
	local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} words=
	case $before in
	--mrt | --updates | --out | --json)
		mapfile -t COMPREPLY < <(compgen -f -- "$word")
		return
		;;
	--from)
		mapfile -t COMPREPLY < <(compgen -W '1 2' -- "$word")
		return
		;;
	esac
	case ${COMP_CWORD},${COMP_WORDS[1]} in
	1,*) words='storm plan load refresh churn limits --help' ;;
	*,storm) words='--peers --hold --seconds --minutes --rate --flip-s --refresh-rate --churn --pps --window --destinations --slow --strain --lab-ports --no-bare --dut --interface --source --dut6 --source6 --asn --flip --label --no-keep --routes --routes6 --mrt --updates --speed --quick --runs --timeout --out --json --no-limits --no-huge --help' ;;
	*,plan) words='--peers --hold --dut --interface --source --dut6 --source6 --asn --flip --label --no-keep --routes --routes6 --mrt --updates --speed --quick --runs --timeout --out --json --no-limits --no-huge --help' ;;
	*,load) words='--from --dut --interface --source --dut6 --source6 --asn --flip --label --no-keep --routes --routes6 --mrt --updates --speed --quick --runs --timeout --out --json --no-limits --no-huge --help' ;;
	*,refresh) words='--peers --each --hold --seconds --slow --dut --interface --source --dut6 --source6 --asn --flip --label --no-keep --routes --routes6 --mrt --updates --speed --quick --runs --timeout --out --json --no-limits --no-huge --help' ;;
	*,churn) words='--updates-per-s --flaps --seconds --dut --interface --source --dut6 --source6 --asn --flip --label --no-keep --routes --routes6 --mrt --updates --speed --quick --runs --timeout --out --json --no-limits --no-huge --help' ;;
	*,limits) words='--dut --interface --source --dut6 --source6 --asn --flip --label --no-keep --routes --routes6 --mrt --updates --speed --quick --runs --timeout --out --json --no-limits --no-huge --help' ;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}
complete -F _keelbench keelbench
