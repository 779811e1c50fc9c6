#!/bin/sh
# Make what docker-compose.yml needs in secrets/, as far as it is not there: passwords, where Redis and
# the database are, and a certificate that nobody trusts, until yours is in secrets/tls/.
#
# Only the folder keeps others out: the files are read in containers, by accounts that this machine
# does not know.
set -eu
cd "$(dirname "$0")/.."
folder=${SECRETS:-secrets}
umask 022
mkdir -p "$folder/tls"
chmod 0700 "$folder"

# NAME: the file gets what is said, unless it is there.
make() {
  if [ -e "$folder/$1" ]; then cat >/dev/null; else cat >"$folder/$1"; fi
}

random() {
  openssl rand -hex 32
}

random | make secret_key
random | make database_password
random | make grafana_password
random | make redis_password
: | make stomp_jwt_key
echo "postgres://gateway:$(cat "$folder/database_password")@postgres:5432/gateway" | make database_url
echo "redis://:$(cat "$folder/redis_password")@valkey:6379/0" | make redis_url
echo "requirepass $(cat "$folder/redis_password")" | make valkey.conf

if [ ! -e "$folder/tls/privkey.pem" ]; then
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost,IP:127.0.0.1 \
    -keyout "$folder/tls/privkey.pem" -out "$folder/tls/fullchain.pem" 2>/dev/null
  chmod 0644 "$folder/tls/privkey.pem"
fi
