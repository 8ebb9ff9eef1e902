#!/bin/sh
# Makes the buckets named in $BUCKETS (separated by spaces), then becomes the S3 server on port 9000, whose
# health page is /healthz. A bucket is a folder of /data, an object a file in it. Further access keys, which `versitygw admin
# create-user` makes, are kept beside them.
set -eu

: "${ROOT_ACCESS_KEY_ID:?must hold the access key}"
: "${ROOT_SECRET_ACCESS_KEY:?must hold the secret key}"

mkdir -p /data/buckets /data/identities
for bucket in ${BUCKETS:-}; do
  mkdir -p "/data/buckets/$bucket"
done

exec versitygw --port :9000 --health /healthz --region "${REGION:-us-east-1}" --keep-alive --quiet \
  --iam-dir /data/identities posix /data/buckets
