# Sourced by ./quickstart and ./check: installs what is missing with apt-get, and says so.
# Usage: install_packages COMMAND:PACKAGE... (a COMMAND of "-" asks dpkg whether the package is there)

install_missing() {
    for pair in "$@"; do
        if [ "${pair%%:*}" = - ]; then
            status=$(dpkg-query -W -f='${db:Status-Status}' "${pair#*:}" 2>/dev/null) || status=
            [ "$status" = installed ] || printf ' %s' "${pair#*:}"
        else
            command -v "${pair%%:*}" >/dev/null 2>&1 || printf ' %s' "${pair#*:}"
        fi
    done
}

install_packages() {
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "no apt-get here: the packages of Debian that this needs are taken to be installed"
        return 0
    fi
    install_list=$(install_missing "$@")
    if [ -z "$install_list" ]; then
        return 0
    fi
    install_sudo=
    if [ "$(id -u)" != 0 ]; then
        if ! command -v sudo >/dev/null 2>&1; then
            echo "missing:$install_list" >&2
            echo "install them as root: apt-get install$install_list" >&2
            return 1
        fi
        install_sudo="sudo"
    fi
    echo "installing with apt-get:$install_list"
    $install_sudo env DEBIAN_FRONTEND=noninteractive apt-get update -qq
    # shellcheck disable=SC2086 # a list of words
    $install_sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        $install_list >/dev/null
}

# What building needs. cmocka only for the tests, libevent only for varve-fakes3, which tests need; libs3-dev, which
# ./check adds, only for the module cold/libs3.
install_build_packages="cc:gcc meson:meson ninja:ninja-build pkg-config:pkg-config
    python3:python3 -:libc6-dev -:libzstd-dev -:liblz4-dev -:zlib1g-dev -:libsnappy-dev
    -:libssl-dev -:libexpat1-dev -:libisal-dev -:libcurl4-openssl-dev -:libevent-dev"
