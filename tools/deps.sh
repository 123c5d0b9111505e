#!/bin/sh
# deps.sh program:package[,package…] … installs the Debian packages of the
# programs this machine lacks, or says which to install.
set -eu

have() {
	case "$1" in
	initdb) command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 ;;
	# Debian keeps these where ordinary users' PATH does not look.
	*) command -v "$1" >/dev/null || [ -x "/usr/sbin/$1" ] ;;
	esac
}

missing=
for pair in "$@"; do
	have "${pair%%:*}" || missing="$missing $(echo "${pair#*:}" | tr , ' ')"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ]; then
	sudo=
elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
	sudo=sudo
else
	sudo=none
fi
if [ "$sudo" = none ] || ! command -v apt-get >/dev/null; then
	if [ "$missing" = " postgresql" ]; then
		# The one part Slipway can fetch itself, from npm.
		exit 0
	fi
	echo "Missing on this machine:$missing. Install with: apt-get install$missing (as root)" >&2
	exit 1
fi

echo "Installing$missing …"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
case "$missing" in
*postgresql*)
	# Only the programs are wanted, not a server of the machine's own on port 5432.
	$sudo mkdir -p /etc/postgresql-common/createcluster.d
	setting=/etc/postgresql-common/createcluster.d/slipway.conf
	echo "create_main_cluster = false" | $sudo tee "$setting" >/dev/null
	trap 'rm -f "$log"; $sudo rm -f "$setting"' EXIT
	;;
esac
install() { $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing; }
if ! { install || { $sudo apt-get update && install; }; } >"$log" 2>&1; then
	cat "$log" >&2
	exit 1
fi
