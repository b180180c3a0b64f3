#!/bin/sh
# musterctl: starts, stops and reloads the server as apachectl does, and switches modules, sites and configuration
# snippets of a Debian-style tree on and off as a2enmod and its kin do.
#
# MUSTER_CONFDIR names the tree (default: @CONFDIR@); its envvars file is sourced first, as httpd's is.
# MUSTER names the server's program (default: the one beside this script, else from PATH).
set -u

self=$(readlink -f "$0")
here=$(dirname "$self")
confdir=${MUSTER_CONFDIR:-${APACHE_CONFDIR:-@CONFDIR@}}
quiet=no
force=no
purge=no

say() {
    [ "$quiet" = yes ] || printf '%s\n' "$*"
}

complain() {
    printf 'ERROR: %s\n' "$*" >&2
}

die() {
    printf 'musterctl: %s\n' "$1" >&2
    exit "${2:-1}"
}

usage() {
    cat <<EOF
Usage: musterctl start|stop|restart|graceful|graceful-stop|configtest|status|fullstatus|help
       musterctl enmod|dismod|ensite|dissite|enconf|disconf [-q] [-f] NAME...
       musterctl pool list|status|reload|stop|start [NAME]
       musterctl OPTIONS...    (handed to muster, such as -S or -M)
The tree is $confdir (MUSTER_CONFDIR names another).
EOF
}

# ---- the server ----

find_server() {
    if [ -n "${MUSTER:-}" ]; then
        printf '%s\n' "$MUSTER"
    elif [ -x "$here/muster" ]; then
        printf '%s\n' "$here/muster"
    elif [ -x "$here/../sbin/muster" ]; then
        printf '%s\n' "$here/../sbin/muster"
    else
        command -v muster || die "cannot find the muster program: set MUSTER"
    fi
}

# The configuration file of the tree: Muster's name first, then those of httpd.
config_file() {
    for name in muster.conf apache2.conf httpd.conf conf/muster.conf conf/httpd.conf; do
        if [ -f "$confdir/$name" ]; then
            printf '%s\n' "$confdir/$name"
            return
        fi
    done
}

# APACHE_ARGUMENTS of envvars holds options, separated by blanks, as it does for apachectl.
run_server() {
    server=$(find_server) || exit 1
    file=$(config_file)
    if [ -n "$file" ]; then
        # shellcheck disable=SC2086
        "$server" -d "$confdir" -f "$file" ${APACHE_ARGUMENTS:-} "$@"
    else
        # shellcheck disable=SC2086
        "$server" ${APACHE_ARGUMENTS:-} "$@"
    fi
}

# envvars is the administrator's: it may use names that are not set, and it reads APACHE_CONFDIR.
source_envvars() {
    APACHE_CONFDIR=$confdir
    file=${APACHE_ENVVARS:-$confdir/envvars}
    if [ -r "$file" ]; then
        case $file in
            */*) ;;
            *) file=./$file ;;
        esac
        set +u
        # shellcheck source=/dev/null
        . "$file"
        set -u
    fi
    statusurl=${STATUSURL:-${APACHE_STATUSURL:-http://localhost:80/server-status}}
}

# The folder of the PidFile may be on a file system that is empty after a boot. And the limit envvars asks for.
prepare_start() {
    if [ -n "${APACHE_RUN_DIR:-}" ] && [ ! -d "$APACHE_RUN_DIR" ]; then
        mkdir -p "$APACHE_RUN_DIR" || exit 1
    fi
    if [ -n "${APACHE_ULIMIT_MAX_FILES:-}" ]; then
        $APACHE_ULIMIT_MAX_FILES || printf 'musterctl: %s failed\n' "'$APACHE_ULIMIT_MAX_FILES'" >&2
    fi
}

control() {
    verb=$1
    shift
    case $verb in
        start | restart | graceful) prepare_start ;;
    esac
    run_server -k "$verb" "$@"
    result=$?
    [ $result -eq 0 ] || die "'$verb' failed; the error log may say more" $result
}

# muster takes its own words first: musterctl pool reload blog.
pools() {
    server=$(find_server) || exit 1
    file=$(config_file)
    if [ -n "$file" ]; then
        # shellcheck disable=SC2086
        "$server" pool "$@" -d "$confdir" -f "$file" ${APACHE_ARGUMENTS:-}
    else
        # shellcheck disable=SC2086
        "$server" pool "$@" ${APACHE_ARGUMENTS:-}
    fi
}

status() {
    command -v curl >/dev/null || die "curl is needed for $1: apt-get install curl"
    query=
    [ "$1" = status ] && query='?auto'
    curl --silent --show-error --fail "$statusurl$query" ||
        die "$statusurl does not answer: is mod_status set up there? (STATUSURL names another address)"
}

# ---- the Debian layout ----

# What a verb is about: available and enabled folder, suffix, the noun in messages.
kind_of() {
    case $1 in
        *mod) kind=mods suffix=load noun=Module ;;
        *site) kind=sites suffix=conf noun=Site ;;
        *conf) kind=conf suffix=conf noun=Conf ;;
    esac
    small=$(printf '%s' "$noun" | tr '[:upper:]' '[:lower:]')
    available=$confdir/$kind-available
    enabled=$confdir/$kind-enabled
    [ -d "$available" ] || die "there is no $available: is $confdir a Debian-style tree? (MUSTER_CONFDIR)"
    [ -d "$enabled" ] || mkdir "$enabled" || exit 1
}

# Names of one folder, a line each.
names_in() {
    for path in "$1"/*."$suffix"; do
        if [ -e "$path" ] || [ -L "$path" ]; then
            basename "$path" ".$suffix"
        fi
    done
}

# A name may come with its suffix and hold shell patterns; never a path.
names_of() {
    case $2 in
        */* | .* | '') die "'$2' is not a name" 2 ;;
        *[*?[]*)
            found=no
            for path in "$1"/${2%."$suffix"}."$suffix"; do
                [ -e "$path" ] || [ -L "$path" ] || continue
                basename "$path" ".$suffix"
                found=yes
            done
            [ $found = yes ] || { complain "No $small found matching $2!"; return 1; }
            ;;
        *) printf '%s\n' "${2%."$suffix"}" ;;
    esac
}

# Words of a "# Depends: a b" or "# Conflicts: a" line.
header_words() {
    sed -n "s/^#[[:space:]]*$2:[[:space:]]*//p" "$1" 2>/dev/null
}

add_link() {
    ln -s "../$kind-available/$1" "$enabled/$1" && changed=yes
}

# A link that leads nowhere is in the way of a new one.
drop_dangling() {
    if [ -L "$1" ] && [ ! -e "$1" ]; then
        rm -f "$1"
        say "Removed the dangling link $1"
    fi
}

has_conflict() {
    for other in $(header_words "$available/$1.load" Conflicts); do
        if [ -e "$enabled/$other.load" ] && [ "$force" = no ]; then
            complain "Module $1 conflicts with $other, which is enabled: musterctl dismod $other first, or use -f"
            return 0
        fi
    done
    return 1
}

# Of a function that calls itself, what must outlive the call is in the positional parameters: sh has no local names.
enable_dependencies() {
    # shellcheck disable=SC2046
    set -- "$1" $(header_words "$available/$1.load" Depends)
    pending="$pending $1 "
    while [ $# -gt 1 ]; do
        case $pending in
            *" $2 "*) ;; # they depend on one another
            *)
                if [ ! -e "$enabled/$2.load" ]; then
                    say "Considering dependency $2 for $1:"
                    enable_one "$2" || return 1
                fi
                ;;
        esac
        top=$1
        shift 2
        set -- "$top" "$@"
    done
}

enable_one() {
    drop_dangling "$enabled/$1.$suffix"
    drop_dangling "$enabled/$1.conf"
    if [ ! -e "$available/$1.$suffix" ]; then
        [ $purge = no ] || return 0
        complain "$noun $1 does not exist! (there is no $available/$1.$suffix)"
        return 1
    fi
    if [ "$kind" = mods ]; then
        has_conflict "$1" && return 1
        enable_dependencies "$1" || return 1
    fi
    if [ -e "$enabled/$1.$suffix" ]; then
        say "$noun $1 already enabled"
    else
        say "Enabling $small $1."
        add_link "$1.$suffix" || return 1
    fi
    if [ "$kind" = mods ] && [ -e "$available/$1.conf" ] && [ ! -e "$enabled/$1.conf" ]; then
        add_link "$1.conf" || return 1
    fi
}

# Enabled modules that need module $1.
dependents_of() {
    for path in "$enabled"/*.load; do
        [ -e "$path" ] || continue
        case " $(header_words "$path" Depends | tr '\n' ' ') " in
            *" $1 "*) basename "$path" .load ;;
        esac
    done
}

disable_dependents() {
    # shellcheck disable=SC2046
    set -- "$1" $(dependents_of "$1")
    if [ $# -gt 1 ] && [ "$force" = no ]; then
        top=$1
        shift
        complain "The following modules depend on $top and need to be disabled first: $* (or use -f)"
        return 1
    fi
    while [ $# -gt 1 ]; do
        disable_one "$2" || return 1
        top=$1
        shift 2
        set -- "$top" "$@"
    done
}

remove_link() {
    [ -e "$1" ] || [ -L "$1" ] || return 0
    if [ ! -L "$1" ] && [ "$force" = no ]; then
        complain "$1 is a real file, not a link: it was left alone (-f removes it)"
        return 1
    fi
    rm -f "$1" && changed=yes
}

disable_one() {
    if [ ! -e "$enabled/$1.$suffix" ] && [ ! -L "$enabled/$1.$suffix" ]; then
        if [ -e "$available/$1.$suffix" ] || [ $purge = yes ]; then
            say "$noun $1 already disabled"
            return 0
        fi
        complain "$noun $1 does not exist!"
        return 1
    fi
    if [ "$kind" = mods ]; then
        disable_dependents "$1" || return 1
    fi
    remove_link "$enabled/$1.$suffix" || return 1
    if [ "$kind" = mods ] && [ -L "$enabled/$1.conf" ]; then
        remove_link "$enabled/$1.conf" || return 1
    fi
    say "$noun $1 disabled."
}

list_choices() {
    printf 'musterctl %s: which? %s\n' "$1" "$(names_in "$2" | tr '\n' ' ')" >&2
    exit 2
}

switch() {
    verb=$1
    shift
    kind_of "$verb"
    case $verb in
        en*) from=$available act=enable_one ;;
        dis*) from=$enabled act=disable_one ;;
    esac
    [ $# -gt 0 ] || list_choices "$verb" "$from"
    changed=no
    failed=0
    pending=
    for arg; do
        names=$(names_of "$from" "$arg")
        result=$?
        [ $result -ne 2 ] || exit 2
        [ $result -eq 0 ] || failed=1
        for name in $names; do
            $act "$name" || failed=1
        done
    done
    [ $changed = no ] || say "To activate the new configuration, run: musterctl graceful"
    exit $failed
}

# ---- the command line ----

[ $# -gt 0 ] || { usage >&2; exit 1; }
source_envvars
verb=$1
case $verb in
    start | stop | restart | graceful | graceful-stop)
        shift
        control "$verb" "$@"
        ;;
    configtest)
        shift
        run_server -t "$@"
        ;;
    status | fullstatus) status "$verb" ;;
    pool)
        shift
        pools "$@"
        ;;
    enmod | dismod | ensite | dissite | enconf | disconf)
        shift
        while [ $# -gt 0 ]; do
            case $1 in
                -q | --quiet) quiet=yes ;;
                -f | --force) force=yes ;;
                -p | --purge) purge=yes ;;
                -m | --maintmode) ;;
                -*) die "$verb $1: allowed are -q, -f, -p and -m" 2 ;;
                *) break ;;
            esac
            shift
        done
        switch "$verb" "$@"
        ;;
    --help | help | usage) usage ;;
    *) run_server "$@" ;;
esac
