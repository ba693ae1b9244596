#!/bin/sh
# Once, before the first `docker compose up -d`: sh prepare-compose.sh DOMAIN
# Writes new secrets to secrets/ and DOMAIN to .env, and leaves alone what is there. The key of your provider comes from
# standard input, so that it is in no list of processes and in no history.
set -eu
domain=${1:?"give the host name of this server: sh prepare-compose.sh darkroom.example.com"}
cd "$(dirname "$0")"

# Nobody else enters the folder. Its files are readable, because each container sees those it needs under a user of its own.
mkdir -p -m 700 secrets
umask 022

random() { head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n'; }

write() {
    if [ ! -e "secrets/$1" ]; then printf '%s\n' "$2" > "secrets/$1.new" && mv "secrets/$1.new" "secrets/$1"; fi
}

write postgres_password "$(random)"
write database_url "postgresql://darkroom:$(cat secrets/postgres_password)@postgres/darkroom"
write valkey_conf "requirepass $(random)"
write redis_url "redis://:$(sed -n 's/^requirepass //p' secrets/valkey_conf)@valkey:6379/0"
write s3_secret_key "$(random)"
write signing_keys "k1:$(random)"
if [ ! -e secrets/acedatacloud_api_token ]; then
    if [ -t 0 ]; then printf 'API token of Ace Data Cloud: ' >&2; fi
    read -r token || true
    : "${token:?"no token came from standard input: run this again"}"
    write acedatacloud_api_token "$token"
fi
if [ ! -e .env ]; then printf 'PUBLIC_HOST=%s\n' "$domain" > .env; fi
echo "ready: docker compose up -d" >&2
