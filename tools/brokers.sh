#!/bin/sh
# Get the brokers that tests run against. As root on a Debian it installs their packages;
# elsewhere it says what is missing. Ends by saying which brokers tests will use.
# usage: brokers.sh PYTHON
set -eu
PATH=$PATH:/usr/sbin:/usr/local/sbin
python=$1

has() { command -v "$1" >/dev/null 2>&1; }

java_is_old() {
    ! has java || ! java -version 2>&1 | grep -Eq 'version "(1[7-9]|[2-9][0-9])'
}

wanted=
java_is_old && wanted="$wanted java"
has mvn || wanted="$wanted maven"
has mosquitto || wanted="$wanted mosquitto"
{ has rabbitmq-server || [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ]; } || wanted="$wanted rabbitmq-server"

apt() {
    echo "+ apt-get $*"
    DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@" </dev/null
}

install_packages() {
    apt update
    case $wanted in
    *java*)
        runtime=openjdk-17-jre-headless
        apt-cache show "$runtime" >/dev/null 2>&1 || runtime=default-jre-headless
        wanted=$(echo "$wanted" | sed "s/java/$runtime/")
        ;;
    esac
    # Tests start brokers of their own: the packages must not start the system's.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        trap 'rm -f "$policy"' EXIT
        trap 'exit 1' HUP INT TERM
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    # shellcheck disable=SC2086  # a list of words
    apt install --no-install-recommends -y $wanted
}

if [ -n "$wanted" ]; then
    if [ "$(id -u)" = 0 ] && has apt-get; then
        install_packages || echo "brokers: apt-get could not install$wanted"
    else
        echo "brokers: not installed:$wanted (as root on Debian, make brokers installs them)"
    fi
fi
"$python" -m tests.brokers
