#!/bin/sh
# Makes the repository dags.git once, then serves it at http://<host>:8080/dags.git to the user $GIT_USERNAME with
# the password $GIT_PASSWORD.
set -eu

: "${GIT_USERNAME:?must hold the user that may clone and push}"
: "${GIT_PASSWORD:?must hold the password of that user}"

if [ ! -d /data/dags.git ]; then
  # Made aside: an interrupted start leaves no half of a repository behind. Its first commit holds an empty
  # folder dags/, so that there is something to synchronise before the first push.
  rm -rf /data/new.git
  git init --quiet --bare --initial-branch=main /data/new.git
  cd /data/new.git
  keep=$(printf '' | git hash-object -w --stdin)
  folder=$(printf '100644 blob %s\t.gitkeep\n' "$keep" | git mktree)
  root=$(printf '040000 tree %s\tdags\n' "$folder" | git mktree)
  export GIT_AUTHOR_NAME=git-server GIT_AUTHOR_EMAIL=git-server@localhost
  commit=$(GIT_COMMITTER_NAME=$GIT_AUTHOR_NAME GIT_COMMITTER_EMAIL=$GIT_AUTHOR_EMAIL \
    git commit-tree -m 'An empty folder for DAGs' "$root")
  git update-ref refs/heads/main "$commit"
  cd /
  mv /data/new.git /data/dags.git
fi

umask 077
printf '%s:%s\n' "$GIT_USERNAME" "$GIT_PASSWORD" > /tmp/users
unset GIT_USERNAME GIT_PASSWORD

exec lighttpd -D -f /etc/lighttpd/lighttpd.conf
