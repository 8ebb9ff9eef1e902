#!/bin/sh
# Makes the data directory once, brings roles and databases to what they must be, then becomes the server.
# Arguments go to the server.
set -eu

: "${POSTGRES_PASSWORD:?must hold the password of the superuser postgres}"
: "${AIRFLOW_PASSWORD:?must hold the password of the role airflow}"
data=/data/postgresql

if [ ! -d "$data" ]; then
  # Made aside: an interrupted start leaves no half of a data directory behind.
  rm -rf "$data.new"
  initdb --pgdata="$data.new" --encoding=UTF8 --locale=C.UTF-8 --auth-local=trust --auth-host=scram-sha-256
  echo 'host all all all scram-sha-256' >> "$data.new/pg_hba.conf"
  mv "$data.new" "$data"
fi

# Reached through its socket alone until the passwords are in place.
pg_ctl --pgdata="$data" --silent --wait --options="-c listen_addresses='' -c unix_socket_directories=/tmp" start
psql --host=/tmp --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --file=/usr/local/share/databases.sql
pg_ctl --pgdata="$data" --silent --wait --mode=fast stop
unset POSTGRES_PASSWORD AIRFLOW_PASSWORD

exec postgres -D "$data" -c listen_addresses='*' -c unix_socket_directories=/tmp -c jit=off "$@"
