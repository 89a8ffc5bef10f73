#!/bin/sh
# usage: gen-cert.sh NAME [CA]
#
# Makes a key and a certificate for a server, signed by a certificate authority of this directory:
#   NAME.key            private key (RSA 2048; KEY=ec makes ECDSA P-256)
#   NAME.pem            the certificate alone, as authorized-pool-server-certificates wants it
#   NAME.chain.pem      certificate and authority, as certificate-chain-path wants it
#   NAME.fullchain.pem  the same under the other usual name
# NAME is a host name or an IP address. CA is the name of the authority, without ending; testca when left
# out, whose key is public. DAYS sets the validity, 1825 days when left out.
set -eu
umask 077

name=${1:?usage: gen-cert.sh NAME [CA]}
ca=${2:-testca}
days=${DAYS:-1825}
cd "$(dirname "$0")"

case $name in
*[!A-Za-z0-9._:-]* | -* | .*) echo "gen-cert.sh: '$name' is no host name or address" >&2; exit 64 ;;
esac
for f in "$ca.pem" "$ca.key"; do
	[ -r "$f" ] || { echo "gen-cert.sh: $PWD/$f is missing; name an authority that has a .pem and a .key" >&2; exit 66; }
done
case $name in
*:*) san=IP:$name ;;
*[!0-9.]*) san=DNS:$name ;;
*) san=IP:$name ;;
esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ "${KEY:-rsa}" = ec ]; then
	openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$work/key" 2>/dev/null ||
		openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$work/key"
else
	openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$work/key" 2>/dev/null
fi
cat >"$work/ext" <<END
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
subjectAltName = $san
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
END
openssl req -new -sha256 -key "$work/key" -subj "/CN=$name" -out "$work/csr"
openssl x509 -req -sha256 -in "$work/csr" -CA "$ca.pem" -CAkey "$ca.key" -days "$days" \
	-set_serial "0x$(openssl rand -hex 16 | sed 's/^./4/')" -extfile "$work/ext" -out "$work/pem" 2>/dev/null
openssl verify -CAfile "$ca.pem" "$work/pem" >/dev/null

mv "$work/key" "$name.key"
mv "$work/pem" "$name.pem"
cat "$name.pem" "$ca.pem" >"$name.chain.pem"
cp "$name.chain.pem" "$name.fullchain.pem"
chmod 644 "$name.pem" "$name.chain.pem" "$name.fullchain.pem"
echo "made $name.key, $name.pem, $name.chain.pem and $name.fullchain.pem, signed by $ca"
