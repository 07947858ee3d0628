#!/usr/bin/env bash
# The controller's entry: works out what Configuration as Code can only insert, then is the entry of Jenkins' own image.
set -euo pipefail
fail() { echo "jenkins: $1" >&2; exit 2; }
secrets=${SECRETS:-/run/secrets} # as the plugin's own source of secrets has it

for name in jenkins_admin_password jenkins_operator_password jenkins_viewer_password; do
  [ -s "$secrets/$name" ] || fail "secrets/$name is missing or empty: make env"
done

case ${SMTP_TLS:=starttls} in
  starttls) export SMTP_USE_TLS=true SMTP_USE_SSL=false ;;
  tls) export SMTP_USE_TLS=false SMTP_USE_SSL=true ;;
  none) export SMTP_USE_TLS=false SMTP_USE_SSL=false ;;
  *) fail "SMTP_TLS is wrong: '$SMTP_TLS' is neither starttls, tls nor none" ;;
esac
export SMTP_PORT=${SMTP_PORT:-587} SMTP_CREDENTIALS=${SMTP_USER:+smtp} ALERT_FROM=${ALERT_FROM:-warehouse@localhost}
export JENKINS_URL=${JENKINS_URL:-http://127.0.0.1:${JENKINS_PORT:-8081}/}
if [ -z "${SMTP_HOST:-}" ] && [ -n "${JENKINS_MAIL_TO:-}" ]; then
  echo "jenkins: nobody is told by mail: SMTP_HOST is not set"
  export JENKINS_MAIL_TO=
fi

JAVA_OPTS="${JAVA_OPTS:-} -Duser.timezone=${WAREHOUSE_TIMEZONE:-Europe/London}"
if [ -s "$secrets/smtp_ca" ]; then
  store=$(mktemp)
  cat "$JAVA_HOME/lib/security/cacerts" >"$store"
  "$(dirname "$0")/trust.sh" "$store" "$secrets/smtp_ca"
  JAVA_OPTS+=" -Djavax.net.ssl.trustStore=$store"
fi
export JAVA_OPTS
exec tini -- jenkins.sh "$@"
