# shellcheck shell=bash
# What the runners share: packages, a private build, an unprivileged user, a private server.
#
# Sourced by test/check and demo/run, never executed:
#
#     . "$(dirname "$0")/../test/harness.sh"
#     need_postgres demo                  # packages that are missing; sets PG_CONFIG, PGBIN, PG_MAJOR
#     scratch demo "$@"                   # sets SCRATCH, a folder that goes away when the script ends
#     build                               # the clone, built and installed below SCRATCH
#     start_server demo "shared_preload_libraries = 'meter'"
#     psql -c 'CREATE EXTENSION meter'    # PGHOST, PGPORT, PGUSER, PGDATABASE and PATH lead to the server
#     keep_server                         # optional: the server and SCRATCH outlive the script
#
# Rules it keeps, whoever runs it:
# - Nothing is ever written into the clone, so runs as root and as others do not get into each other's way.
# - PostgreSQL refuses to run as root, and root touches nothing in a folder that another user could fill with links. So as
#   root a script does what needs root, and `scratch` runs it anew as the user postgres, from a copy of the clone.
# - The extension is installed below SCRATCH (a staged root that the private servers look into), not into the system:
#   a running server's library is not replaced under it. Only where a server cannot do that, `make install` is called.
# - Where no package is missing, the network is not touched.

# shellcheck disable=SC2030,SC2031 # as_user changes TMPDIR for its command only

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# Neither the caller's connection settings nor those of an outer make may lead anywhere else.
for _variable in $(compgen -e | grep '^PG' || true); do
	case $_variable in
		PG_CONFIG | PG_TEST_TIMEOUT_DEFAULT) ;;
		*) unset "$_variable" ;;
	esac
done
unset _variable MAKEFLAGS MAKELEVEL MFLAGS MAKEOVERRIDES
export LC_ALL=C.UTF-8 LANG=C.UTF-8

say() { printf '== %s\n' "$*"; }
warn() { printf '%s\n' "$*" >&2; }
die() {
	warn "error: $*"
	exit 1
}

# --- whom to be ---------------------------------------------------------------------------------------------------

am_root() { [ "$(id -u)" = 0 ]; }

# as_root COMMAND…: for apt-get and make install only.
as_root() {
	if am_root; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		die "this needs root, and there is no sudo; as root: $*"
	fi
}

# The user who owns the servers: oneself, or postgres (nobody where PostgreSQL came without it) in place of root.
server_user() {
	if ! am_root; then
		id -un
	elif id -u postgres >/dev/null 2>&1; then
		echo postgres
	else
		echo nobody
	fi
}

# as_user COMMAND…: in SCRATCH, with a home of its own; as root, as the server's user.
as_user() (
	cd "${SCRATCH:-/}"
	export HOME="${SCRATCH:-/}" TMPDIR="${SCRATCH:+$SCRATCH/tmp}"
	if am_root; then
		user=$(server_user)
		export USER=$user LOGNAME=$user
		exec setpriv --reuid="$user" --regid="$(id -g "$user")" --init-groups -- "$@"
	fi
	exec "$@"
)

# --- packages -----------------------------------------------------------------------------------------------------

_missing_packages() {
	local package
	for package in "$@"; do
		[ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || echo "$package"
	done
}

# need_packages PACKAGE…: installs those that are missing, and says which, and what comes with them.
need_packages() {
	local missing log status=0
	if ! command -v apt-get >/dev/null; then
		return 0 # not Debian: what is really missing shows by itself
	fi
	mapfile -t missing < <(_missing_packages "$@")
	[ ${#missing[@]} -gt 0 ] || return 0
	[ -z "${METER_ROOT_HANDED_OVER:-}" ] || return 0 # root has tried

	say "installing with apt-get: ${missing[*]} (this can take some minutes)"
	log=$(mktemp "${TMPDIR:-/tmp}/meter-apt.XXXXXX")
	_install_packages "${missing[@]}" 2>&1 | _show_packages "$log" || status=$?
	if [ "$status" != 0 ]; then
		cat "$log" >&2
		rm -f "$log"
		die "could not install ${missing[*]}"
	fi
	rm -f "$log"
}

# _show_packages LOG: what apt-get prints goes into LOG, and each package is shown as it is set up: on a terminal in one line
# that changes.
_show_packages() {
	local terminal=0
	[ ! -t 1 ] || terminal=1
	awk -v log_file="$1" -v terminal="$terminal" '
		{ print >log_file; fflush(log_file) }
		/^Setting up / {
			packages++
			sub(/:[a-z0-9]+$/, "", $3)
			printf terminal ? "\r\033[K    %s %s" : "    %s %s\n", $3, $4
			fflush()
		}
		END {
			if (terminal && packages > 0)
				printf "\r\033[K"
			if (packages > 0)
				printf "   %d packages are installed\n", packages
		}'
}

# The server's package makes and starts a cluster "main" on port 5432. Nobody asked for one here, so a setting of its
# own file says no while the packages are installed; the administrator's createcluster.conf stays as it is.
_install_packages() (
	no_cluster=/etc/postgresql-common/createcluster.d/zz-meter-no-main-cluster.conf
	apt=(env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -qq)

	# shellcheck disable=SC2317 # called by trap
	remove_setting() {
		as_root rm -f "$no_cluster"
		as_root rmdir --ignore-fail-on-non-empty "${no_cluster%/*}" || true
	}
	trap remove_setting EXIT
	as_root mkdir -p "${no_cluster%/*}"
	echo "create_main_cluster = false" | as_root tee "$no_cluster" >/dev/null

	as_root "${apt[@]}" update || true # an old list may do
	as_root "${apt[@]}" install -y --no-install-recommends "$@"
)

# need_postgres demo|check: a compiler and a PostgreSQL with its headers. PG_CONFIG, where set, chooses the PostgreSQL.
need_postgres() {
	local packages=(build-essential) major=

	if [ -z "${PG_CONFIG:-}" ]; then
		PG_CONFIG=$(_find_pg_config)
	fi
	if [ -z "$PG_CONFIG" ]; then
		major=15
		packages+=(postgresql-15 postgresql-server-dev-15)
	elif [[ $PG_CONFIG == /usr/lib/postgresql/*/bin/pg_config ]]; then
		major=${PG_CONFIG#/usr/lib/postgresql/}
		major=${major%%/*}
		packages+=("postgresql-$major" "postgresql-server-dev-$major")
	fi
	if [ "$1" = check ]; then
		packages+=(perl libipc-run-perl)
	fi
	if compgen -G "$ROOT/src/*/*.proto" >/dev/null; then
		packages+=(libprotobuf-c-dev protobuf-c-compiler)
	fi
	need_packages "${packages[@]}"
	if [ "$1" = check ] && [ -n "$major" ]; then
		(need_packages "postgresql-$major-cron") || warn "without pg_cron its test is skipped"
	fi

	[ -n "$PG_CONFIG" ] || PG_CONFIG=$(_find_pg_config)
	[ -n "$PG_CONFIG" ] || die "no PostgreSQL with its headers found; set PG_CONFIG to its pg_config"
	[ -e "$("$PG_CONFIG" --pgxs)" ] || die "$PG_CONFIG belongs to a PostgreSQL without its headers"
	PGBIN=$("$PG_CONFIG" --bindir)
	[ -x "$PGBIN/postgres" ] || die "no PostgreSQL server in $PGBIN"
	PG_MAJOR=$("$PG_CONFIG" --version | sed 's/^PostgreSQL \([0-9]*\).*/\1/')
	export PG_CONFIG PGBIN PG_MAJOR
	PATH=$PGBIN:$PATH
}

# The Makefile knows which pg_config is the default; an answer without headers behind it is none.
_find_pg_config() {
	local found
	found=$(make -s -C "$ROOT" pg_config)
	if [ -e "$("$found" --pgxs 2>/dev/null)" ]; then
		echo "$found"
	fi
}

# --- scratch ------------------------------------------------------------------------------------------------------

SCRATCH=
_keep_scratch=no
_keep_servers=no

# scratch NAME ARGUMENT…: SCRATCH becomes a new folder of the server's user, removed when the script ends. The arguments are
# the script's own: as root it does not return, but runs the script anew as that user.
scratch() {
	local base name=$1
	shift
	if [ -n "${METER_HANDED_OVER:-}" ]; then
		SCRATCH=$METER_HANDED_OVER
		SECONDS=$((SECONDS + METER_SECONDS))
		unset METER_HANDED_OVER METER_SECONDS
		_clean_up_at_end
		return 0
	fi
	for base in "${TMPDIR:-/tmp}" /tmp; do
		SCRATCH=$(mktemp -d "$base/meter-$name.XXXXXX")
		_clean_up_at_end
		if am_root; then
			chown "$(server_user):" "$SCRATCH"
		fi
		# A socket's path has 107 bytes at most; and who owns the folder has to be able to remove it.
		if [ ${#SCRATCH} -le 60 ] && as_user test -w "$base" && as_user mkdir tmp 2>/dev/null; then
			if am_root; then
				_hand_over "$@"
			fi
			return 0
		fi
		rm -rf "$SCRATCH"
	done
	die "no folder for scratch files that the user $(server_user) can use"
}

_clean_up_at_end() {
	trap _clean_up EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
}

# before_hand_over is a script's own: what it wants root to do once there is SCRATCH.
before_hand_over() { :; }

# _hand_over ARGUMENT…: the script goes on as the server's user. What that user may not read, the clone for one, is read here
# and written by the user.
_hand_over() {
	local user script
	user=$(server_user)
	script=$(realpath --relative-to="$ROOT" "$0")
	copy_tree
	if ! _has_extension_destdir; then
		_install_as_root
	fi
	before_hand_over
	export METER_HANDED_OVER=$SCRATCH METER_SECONDS=$SECONDS METER_ROOT_HANDED_OVER=yes HOME=$SCRATCH TMPDIR=$SCRATCH/tmp USER=$user LOGNAME=$user
	cd "$SCRATCH"
	trap - EXIT INT TERM
	exec setpriv --reuid="$user" --regid="$(id -g "$user")" --init-groups -- bash "tree/$script" "$@"
}

# on_exit is the script's own last word; it may be defined again.
on_exit() { :; }

# shellcheck disable=SC2317 # called by trap
_clean_up() {
	local status=$? pid_file
	trap - EXIT
	if [ "$_keep_servers" = no ]; then
		# Whoever started them: a test that was interrupted leaves its own behind.
		while read -r pid_file; do
			as_user "$PGBIN/pg_ctl" stop -w -D "${pid_file%/*}" -m immediate >/dev/null 2>&1 || true
		done < <(find "$SCRATCH" -name postmaster.pid)
	fi
	if [ "$_keep_scratch" = no ]; then
		(cd / && as_user rm -rf "$SCRATCH") || rm -df "$SCRATCH"
	else
		say "kept: $SCRATCH"
	fi
	on_exit "$status" || status=$?
	exit "$status"
}

# keep_scratch: SCRATCH stays. keep_server: what runs in it does, too.
keep_scratch() { _keep_scratch=yes; }
keep_server() { _keep_scratch=yes _keep_servers=yes; }

# find_data: METER_DATA becomes the folder of real input, readable to the server's user; empty where there is none. Tests
# that want it and find nothing skip themselves.
find_data() {
	local data=${METER_DATA:-$ROOT/../shared/data}
	if ! data=$(cd "$data" 2>/dev/null && pwd); then
		METER_DATA=
	elif as_user find "$data/" >/dev/null 2>&1 && [ -z "$(as_user find "$data/" ! -readable)" ]; then
		METER_DATA=$data
	else
		as_user mkdir data
		tar -C "$data" -cf - . | as_user tar -C data -xf - --no-same-owner
		METER_DATA=$SCRATCH/data
	fi
	export METER_DATA
}

# --- build --------------------------------------------------------------------------------------------------------

# copy_tree: the clone, without what was built in it, to SCRATCH/tree.
copy_tree() {
	[ "$ROOT" != "$SCRATCH/tree" ] || return 0 # handed over
	as_user mkdir tree
	tar -C "$ROOT" --exclude='./.git' --exclude='./.deps' --exclude='./tmp_check' --exclude='./book' --exclude='*.o' --exclude='*.pb-c.[ch]' --exclude='*.so' \
		--exclude='*.bc' -cf - . | as_user tar -C tree -xf - --no-same-owner || die "could not copy $ROOT"
}

# build [MAKE ARGUMENT…]: builds a copy of the clone, and installs it below SCRATCH/root.
build() {
	local log=$SCRATCH/build.log make
	make=(make -s -C "$SCRATCH/tree" PG_CONFIG="$PG_CONFIG" with_llvm=no "$@")

	copy_tree
	as_user mkdir root
	say "building for PostgreSQL $PG_MAJOR"
	if ! as_user "${make[@]}" -j"$(nproc)" all >"$log" 2>&1; then
		cat "$log" >&2
		die "the build failed"
	fi
	if _has_extension_destdir; then
		as_user "${make[@]}" install DESTDIR="$SCRATCH/root" >>"$log"
		# The first is for control files, scripts and '$libdir/meter', the second for plain 'meter' in preload lists.
		_extension_conf="extension_destdir = '$SCRATCH/root'
dynamic_library_path = '$SCRATCH/root$("$PG_CONFIG" --pkglibdir):\$libdir'"
	else
		[ -n "${METER_ROOT_HANDED_OVER:-}" ] || _install_as_root
		_extension_conf=
	fi
}

# A server that looks for extensions in one place only: built and installed by root, in a folder of root's.
_install_as_root() {
	say "installing into $("$PG_CONFIG" --pkglibdir)"
	# shellcheck disable=SC2016 # for the shell of root
	as_root bash -c 'set -e; tree=$(mktemp -d); trap "rm -rf \"$tree\"" EXIT; cp -R "$1/." "$tree"
		make -s -C "$tree" PG_CONFIG="$2" with_llvm=no clean all install >/dev/null' - "$ROOT" "$PG_CONFIG"
}

# Debian's servers can be told of a staged root to look for extensions in first.
_has_extension_destdir() {
	as_user mkdir -p probe
	as_user touch probe/postgresql.conf
	as_user "$PGBIN/postgres" -D probe -C extension_destdir >/dev/null 2>&1
}

# --- servers ------------------------------------------------------------------------------------------------------

# server_conf: the settings that make a private server find the extension.
server_conf() {
	printf '%s\n' "$_extension_conf"
}

# start_server NAME [SETTING…]: a new cluster in SCRATCH/NAME with each SETTING as a line of its postgresql.conf. It
# listens on a socket in that folder only, which nobody but its user (and root) can enter; its log is SCRATCH/NAME/log.
start_server() {
	local name=$1 dir=$SCRATCH/$1
	shift
	as_user mkdir -m 700 "$name"
	as_user "$PGBIN/initdb" -D "$dir/data" -U postgres --auth=trust --no-sync --encoding=UTF8 --locale=C \
		>"$SCRATCH/initdb.log" 2>&1 || { cat "$SCRATCH/initdb.log" >&2; die "initdb failed"; }
	{
		echo "listen_addresses = ''"
		echo "unix_socket_directories = '$dir'"
		echo "fsync = off"
		echo "log_line_prefix = '%m [%p] %b %q%d '"
		echo "timezone = 'UTC'"
		server_conf
		[ $# = 0 ] || printf '%s\n' "$@"
	} | as_user tee -a "$name/data/postgresql.conf" >/dev/null
	use_server "$name"
	restart_server "$name"
}

# use_server NAME: points PGHOST and the rest at it.
use_server() {
	export PGHOST=$SCRATCH/$1 PGPORT=5432 PGUSER=postgres PGDATABASE=postgres
}

# restart_server NAME: starts one that was stopped or killed.
restart_server() {
	as_user "$PGBIN/pg_ctl" start -w -D "$SCRATCH/$1/data" -l "$SCRATCH/$1/log" >/dev/null || {
		tail -n 50 "$SCRATCH/$1/log" >&2
		die "the server did not start"
	}
}

# stop_server NAME [smart|fast|immediate]
stop_server() {
	[ -e "$SCRATCH/$1/data/postmaster.pid" ] || return 0
	as_user "$PGBIN/pg_ctl" stop -w -D "$SCRATCH/$1/data" -m "${2:-fast}" >/dev/null
}

# how_to_connect NAME: the command line for a person.
how_to_connect() {
	printf 'psql -h %s -U postgres\n' "$SCRATCH/$1"
}

# how_to_stop NAME: the same for the end of a server that was kept.
how_to_stop() {
	local as=
	[ -n "${METER_ROOT_HANDED_OVER:-}" ] && as="setpriv --reuid=$(server_user) --regid=$(id -g "$(server_user)") --init-groups "
	printf '%s%s stop -D %s && rm -rf %s\n' "$as" "$PGBIN/pg_ctl" "$SCRATCH/$1/data" "$SCRATCH"
}
