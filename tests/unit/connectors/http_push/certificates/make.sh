#!/bin/sh
# Makes the certificates of this folder anew. Nothing here is trusted by anybody but the tests.
set -eu
cd "$(dirname "$0")"
rm -f *.pem
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat > "$work/ca.cnf" <<'CNF'
[ca]
default_ca = it
[it]
database = $ENV::WORK/index
serial = $ENV::WORK/serial
new_certs_dir = $ENV::WORK
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
[ca_ext]
basicConstraints = critical,CA:true
keyUsage = critical,keyCertSign
[server]
subjectAltName = DNS:localhost,IP:127.0.0.1
[elsewhere]
subjectAltName = DNS:elsewhere.test
[client]
extendedKeyUsage = clientAuth
CNF
: > "$work/index"
echo 01 > "$work/serial"
export WORK="$work"

make() { # name subject section until signer-arguments...
    name=$1 subject=$2 section=$3 until=$4
    shift 4
    openssl ecparam -name prime256v1 -genkey -noout -out "$work/$name.key"
    openssl req -new -key "$work/$name.key" -subj "/CN=$subject" -out "$work/$name.csr"
    openssl ca -batch -notext -config "$work/ca.cnf" -extensions "$section" \
        -startdate 20200101000000Z -enddate "$until" \
        -in "$work/$name.csr" -out "$work/$name.crt" "$@" 2> /dev/null
}
ever=21200101000000Z
make ca "streamproc test" ca_ext $ever -selfsign -keyfile "$work/ca.key"
make other-ca another ca_ext $ever -selfsign -keyfile "$work/other-ca.key"
for each in "server server $ever" "wrong-host elsewhere $ever" "client client $ever" \
    "expired server 20210101000000Z"; do
    set -- $each
    make "$1" "$1" "$2" "$3" -cert "$work/ca.crt" -keyfile "$work/ca.key"
    cat "$work/$1.key" "$work/$1.crt" > "$1.pem"
done
cp "$work/ca.crt" ca.pem
cp "$work/other-ca.crt" other-ca.pem
