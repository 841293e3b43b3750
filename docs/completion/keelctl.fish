# SPDX-License-Identifier: BSD-3-Clause
# Made by scripts/reference. Edit the tables of options, not this file.
function __keelctl_complete
	set -l words (commandline -opc)
	$words[1] --complete $words[2..-1] (commandline -ct) 2>/dev/null
end
complete -c keelctl -f -a '(__keelctl_complete)'
complete -c keelctl -l socket -r -F
