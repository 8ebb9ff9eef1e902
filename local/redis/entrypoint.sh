#!/bin/sh
# Becomes the server on port 6379, with the password $REDIS_PASSWORD. What it holds is kept in /data, so that tasks that
# wait outlive a restart.
set -eu

: "${REDIS_PASSWORD:?must hold the password}"

# The configuration comes by standard input: in no argument list, no file and no log.
exec redis-server - <<END
requirepass $REDIS_PASSWORD
bind * -::*
dir /data
save ""
appendonly yes
END
