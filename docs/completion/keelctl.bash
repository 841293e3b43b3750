# SPDX-License-Identifier: BSD-3-Clause
# Made by scripts/reference. Edit the tables of options, not this file.
_keelctl() {
	local word=${COMP_WORDS[COMP_CWORD]} cword=$COMP_CWORD found
	local words=("${COMP_WORDS[@]}")
	COMPREPLY=()
	# Addresses have colons, at which bash breaks words; bash-completion joins them again.
	declare -F _get_comp_words_by_ref >/dev/null && _get_comp_words_by_ref -n : -w words -i cword -c word
	if [[ ${words[cword - 1]} == --socket ]]; then
		mapfile -t COMPREPLY < <(compgen -f -- "$word")
		return
	fi
	while IFS=$'\t' read -r found _; do
		COMPREPLY+=("$found")
	done < <("${words[0]}" --complete "${words[@]:1:cword}" 2>/dev/null)
	if declare -F __ltrim_colon_completions >/dev/null; then
		__ltrim_colon_completions "$word"
	fi
}
complete -F _keelctl keelctl
