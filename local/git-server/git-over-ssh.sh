#!/bin/sh
# Serves the repository at ssh://git@<host>:2222/data/dags.git to whoever has the key /data/ssh/client. That and the
# server's own, /data/ssh/server, are made once.
set -eu
umask 077

mkdir -p /data/ssh
for name in server client; do
  # The public half is written last.
  if [ ! -e "/data/ssh/$name.pub" ]; then
    rm -f "/data/ssh/$name"
    ssh-keygen -q -t ed25519 -N '' -C "$name" -f "/data/ssh/$name"
  fi
done
# A volume may have given its files to a group, which sshd does not allow of its key.
install -m 0600 /data/ssh/server /tmp/server

exec /usr/sbin/sshd -D -e -f /etc/ssh/git-over-ssh.conf
