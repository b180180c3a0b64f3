#!/bin/sh
# musterctl: starts, stops and reloads the server as apachectl does, and switches modules, sites and configuration
# snippets of a Debian-style tree on and off as a2enmod and its kin do.
#
# MUSTER_CONFDIR names the tree (default: /etc/muster); its envvars file is sourced first, as httpd's is.
# MUSTER names the server's program (default: the one beside this script, else from PATH).
set -u

self=$(readlink -f "$0")
here=$(dirname "$self")
confdir=${MUSTER_CONFDIR:-${APACHE_CONFDIR:-@CONFDIR@}}
statusurl=${STATUSURL:-http://localhost:80/server-status}
quiet=no
force=no

say() {
    [ "$quiet" = yes ] || printf '%s\n' "$*"
}

die() {
    printf 'musterctl: %s\n' "$1" >&2
    exit "${2:-1}"
}

usage() {
    cat <<EOF
Usage: musterctl start|stop|restart|graceful|graceful-stop|configtest|status|fullstatus
       musterctl enmod|dismod|ensite|dissite|enconf|disconf [-q] [-f] NAME...
       musterctl OPTIONS...    (handed to muster, such as -S or -M)
The tree is $confdir (MUSTER_CONFDIR).
EOF
}

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
config_args() {
    for name in muster.conf apache2.conf httpd.conf conf/muster.conf conf/httpd.conf; do
        if [ -f "$confdir/$name" ]; then
            printf '%s\n' "$confdir/$name"
            return
        fi
    done
}

run_server() {
    server=$(find_server) || exit 1
    file=$(config_args)
    if [ -n "$file" ]; then
        "$server" -d "$confdir" -f "$file" "$@"
    else
        "$server" "$@"
    fi
}

source_envvars() {
    if [ -r "$confdir/envvars" ]; then
        # shellcheck source=/dev/null
        . "$confdir/envvars"
    fi
    # The file's ulimit command, as apachectl runs it.
    if [ -n "${APACHE_ULIMIT_MAX_FILES:-}" ]; then
        $APACHE_ULIMIT_MAX_FILES || die "'$APACHE_ULIMIT_MAX_FILES' failed"
    fi
}

status() {
    command -v curl >/dev/null || die "curl is needed for $1: apt-get install curl"
    query=
    [ "$1" = status ] && query='?auto'
    curl --silent --show-error --fail "$statusurl$query" ||
        die "$statusurl does not answer: is mod_status set up there? (STATUSURL names another address)"
}

# kind → the words for it: available folder, enabled folder, suffix, the noun in messages
kind_of() {
    case $1 in
        *mod) kind=mods suffix=load noun=Module ;;
        *site) kind=sites suffix=conf noun=Site ;;
        *conf) kind=conf suffix=conf noun=Conf ;;
    esac
    available=$confdir/$kind-available
    enabled=$confdir/$kind-enabled
    [ -d "$available" ] || die "there is no $available: is $confdir a Debian-style tree? (MUSTER_CONFDIR)"
    [ -d "$enabled" ] || mkdir "$enabled" || exit 1
}

# A name may come with its suffix; never with a path.
plain_name() {
    case $1 in
        */* | .* | '') die "'$1' is not a name" 2 ;;
    esac
    printf '%s\n' "${1%."$suffix"}"
}

# Words of a "# Depends: a b" or "# Conflicts: a" line.
header_words() {
    sed -n "s/^#[[:space:]]*$2:[[:space:]]*//p" "$1" 2>/dev/null
}

link_into() {
    [ -e "$available/$1" ] || return 0
    ln -s "../$kind-available/$1" "$enabled/$1"
}

enable_one() {
    file=$available/$1.$suffix
    if [ ! -e "$file" ]; then
        if [ -L "$enabled/$1.$suffix" ]; then
            rm -f "$enabled/$1.$suffix" "$enabled/$1.conf"
            say "Removed the dangling link $enabled/$1.$suffix"
        fi
        printf 'ERROR: %s %s does not exist! (looked for %s)\n' "$noun" "$1" "$file" >&2
        return 1
    fi
    if [ "$kind" = mods ]; then
        for other in $(header_words "$file" Conflicts); do
            if [ -e "$enabled/$other.load" ] && [ "$force" = no ]; then
                printf 'ERROR: Module %s conflicts with %s, which is enabled: dismod %s first, or -f\n' \
                    "$1" "$other" "$other" >&2
                return 1
            fi
        done
        for other in $(header_words "$file" Depends); do
            [ -e "$enabled/$other.load" ] && continue
            say "Considering dependency $other for $1:"
            (enable_one "$other") || return 1
        done
    fi
    if [ -e "$enabled/$1.$suffix" ]; then
        say "$noun $1 already enabled"
        return 0
    fi
    rm -f "$enabled/$1.$suffix"
    say "Enabling $(printf '%s' "$noun" | tr '[:upper:]' '[:lower:]') $1."
    link_into "$1.$suffix" || return 1
    if [ "$kind" = mods ] && [ ! -e "$enabled/$1.conf" ]; then
        rm -f "$enabled/$1.conf"
        link_into "$1.conf" || return 1
    fi
    changed=yes
}

disable_one() {
    if [ "$kind" = mods ] && [ "$force" = no ]; then
        for file in "$enabled"/*.load; do
            [ -e "$file" ] || continue
            case " $(header_words "$file" Depends) " in
                *" $1 "*)
                    printf 'ERROR: %s is needed by %s: dismod that first, or -f\n' "$1" \
                        "$(basename "$file" .load)" >&2
                    return 1
                    ;;
            esac
        done
    fi
    if [ ! -e "$enabled/$1.$suffix" ] && [ ! -L "$enabled/$1.$suffix" ]; then
        if [ -e "$available/$1.$suffix" ]; then
            say "$noun $1 already disabled"
            return 0
        fi
        printf 'ERROR: %s %s does not exist!\n' "$noun" "$1" >&2
        return 1
    fi
    if [ ! -L "$enabled/$1.$suffix" ] && [ "$force" = no ]; then
        printf 'ERROR: %s is a real file, not a link: it was left alone (-f removes it)\n' \
            "$enabled/$1.$suffix" >&2
        return 1
    fi
    rm -f "$enabled/$1.$suffix" || return 1
    [ "$kind" = mods ] && [ -L "$enabled/$1.conf" ] && rm -f "$enabled/$1.conf"
    say "$noun $1 disabled."
    changed=yes
}

switch() {
    verb=$1
    shift
    kind_of "$verb"
    changed=no
    failed=0
    [ $# -gt 0 ] || die "$verb: which? There are: $(cd "$available" && echo ./*."$suffix" | sed "s#\./##g; s#\.$suffix##g")" 2
    for arg; do
        name=$(plain_name "$arg") || exit 2
        case $verb in
            en*) enable_one "$name" || failed=1 ;;
            dis*) disable_one "$name" || failed=1 ;;
        esac
    done
    [ "$changed" = no ] || say "To activate the new configuration, run: musterctl graceful"
    exit $failed
}

[ $# -gt 0 ] || { usage >&2; exit 1; }
source_envvars
verb=$1
case $verb in
    start | stop)
        shift
        run_server -k "$verb" "$@"
        ;;
    restart | graceful | graceful-stop)
        shift
        if [ "$verb" != graceful-stop ]; then
            errors=$(run_server -t 2>&1) || {
                printf '%s\n' "$errors" >&2
                die "the configuration has errors: the server was left as it is"
            }
        fi
        run_server -k "$verb" "$@"
        ;;
    configtest) run_server -t ;;
    status | fullstatus) status "$verb" ;;
    enmod | dismod | ensite | dissite | enconf | disconf)
        shift
        while [ $# -gt 0 ]; do
            case $1 in
                -q | --quiet) quiet=yes ;;
                -f | --force) force=yes ;;
                *) break ;;
            esac
            shift
        done
        switch "$verb" "$@"
        ;;
    -h | --help | help) usage ;;
    *) run_server "$@" ;;
esac
