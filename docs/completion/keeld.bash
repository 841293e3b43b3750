# SPDX-License-Identifier: BSD-3-Clause
# Made by scripts/reference. Edit the tables of options, not this file.
_keeld() {
	local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} words=
	case $before in
	-c | --socket | --forwarder | --state-dir)
		mapfile -t COMPREPLY < <(compgen -f -- "$word")
		return
		;;
	--log-level)
		mapfile -t COMPREPLY < <(compgen -W 'error warning info debug' -- "$word")
		return
		;;
	esac
	words='-c --check --socket --forwarder --user --forwarder-user --permit --no-dataplane --state-dir --log-level --version --help'
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}
complete -F _keeld keeld
