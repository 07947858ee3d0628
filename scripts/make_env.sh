#!/usr/bin/env bash
# .env from its example, random passwords in secrets/, and room for those of others: what is there stays as it is.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -e .env ] || { cp .env.example .env && echo "env: made .env"; }
mkdir -p -m 700 secrets
for name in metastore_db_password gold_admin_password gold_etl_password \
  jenkins_admin_password jenkins_operator_password jenkins_viewer_password; do
  [ -s "secrets/$name" ] && continue
  head -c 24 /dev/urandom | base64 | tr -d '\n' | tr '+/' '-_' >"secrets/.$name"
  chmod 444 "secrets/.$name" # for the container's own user; the folder keeps everybody else out
  mv "secrets/.$name" "secrets/$name"
  echo "env: made secrets/$name"
done
for name in smtp_password smtp_ca; do # the mail server's: empty means none
  [ -e "secrets/$name" ] && continue
  : >"secrets/$name"
  chmod 444 "secrets/$name"
done
