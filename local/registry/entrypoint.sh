#!/bin/sh
# The password comes in REGISTRY_PASSWORD, never as an argument of this container.
set -eu
printf '%s' "$REGISTRY_PASSWORD" | htpasswd -iBc /run/htpasswd "$REGISTRY_USER"
exec docker-registry serve /etc/docker/registry/config.yml
