#!/usr/bin/env bash
# Referee over state at file scope: two of everything can live in one process, so the writable variables of control/'s objects are on a short list,
# each with its reason. state.sh BUILD-FOLDER prints each other one, and each of the list that is gone, and exits 1. keelctl is a program of its
# own with one thread; the `struct log_site` of a log line limits how often that line is written.
set -euo pipefail
dir=${1:?usage: state.sh BUILD-FOLDER}
# object: variables: reason
allowed='
log: crash_before failing gap is_writer log_level lost lost_unreported mode ring to_journal writer written: the log of the process, and its handler of fatal signals
journal: journal_fd: the socket of the journal of the process
service: service: the notification socket of the unit (NOTIFY_SOCKET), of the process as the environment is
threads: threads threads_lock: all threads of the process, for figures and the watchdog
zones: zones: names of interfaces are those of a network namespace
netlink_request vlan_offload: seq: sequence numbers of netlink requests; a new number is all that matters
'
# Prints OBJECT VARIABLE for each writable variable of the objects given. Relocated constants (.data.rel.ro) are read-only after the start.
writable() {
	local object name
	for object in "$@"; do
		name=$(basename "$object" .c.o)
		name=${name##*/}
		objdump -t "$object" | awk -v o="$name" '(/ O / || /\.t(data|bss)/) && $0 ~ /[ \t]\.(data|bss|tdata|tbss|data\.rel\.local|data\.rel|bss\..*|data\.[^r].*)[ \t]/ {
			sub(/\.[0-9]+$/, "", $NF); if ($NF !~ /^log_site_/) print o, $NF }'
	done | sort -u
}
# The list as OBJECT VARIABLE, where the name of an object ends with the one of the list (meson puts the folder in front).
listed() {
	local objects variables reason
	while IFS=: read -r objects variables reason; do
		[ -n "$reason" ] || continue
		for o in $objects; do for v in $variables; do echo "$o $v"; done; done
	done <<<"$allowed"
}
# judge FOUND: what is wrong with it.
judge() {
	local object variable
	while read -r object variable; do
		[ -n "$object" ] || continue
		listed | awk -v o="$object" -v v="$variable" '$2 == v && (o == $1 || o ~ "_" $1 "$") { found = 1 } END { exit !found }' ||
			echo "state: $object has the writable variable $variable: put it into an object that is created and destroyed"
	done <<<"$1"
}
mapfile -t objects < <(find "$dir/control" -name '*.c.o' ! -path '*keelctl*.p/*')
[ ${#objects[@]} -gt 0 ] || { echo "state: no objects of control/ in $dir"; exit 1; }
found=$(writable "${objects[@]}")
wrong=$(judge "$found")
while read -r object variable; do
	grep -qE "(^|_)$object $variable\$" <<<"$found" || wrong+=$'\n'"state: the list has $object $variable, which is gone"
done < <(listed)
# It must be able to say no: a planted variable of each kind is refused, a constant is not.
plant=$(mktemp -d)
trap 'rm -rf "$plant"' EXIT
cat >"$plant/plant.c" <<'C'
static int zeroed, set = 1;
static int *pointer = &zeroed;
static __thread int own;
static const char *const table[] = {"a"};
const char *plant(int i);
const char *plant(int i) { static int inner; return table[(zeroed += set += *pointer += own += ++inner) & i]; }
C
${CC:-cc} -O1 -fPIC -fno-inline -c -o "$plant/plant.c.o" "$plant/plant.c"
refused=$(judge "$(writable "$plant/plant.c.o")")
for v in zeroed set inner own; do
	grep -q "variable $v:" <<<"$refused" || wrong+=$'\n'"state: a planted variable ($v) is not refused"
done
! grep -q "variable table:" <<<"$refused" || wrong+=$'\n'"state: a planted constant is refused"
[ -z "${wrong//[$'\n']/}" ] || { sed '/^$/d' <<<"$wrong"; exit 1; }
