#!/usr/bin/env bash
# The cluster as a whole: scripts/stack.sh up | down [--volumes] | wait
set -euo pipefail
cd "$(dirname "$0")/.."

wait_until_healthy() {
  local deadline=$((SECONDS + ${1:-300})) ids states=""
  local form='{{index .Config.Labels "com.docker.compose.service"}} {{.State.Status}}'
  form+='{{if .State.Health}} {{.State.Health.Status}}{{else}} healthy{{end}}'
  ids=$(scripts/compose.sh ps -a -q) # once: to ask Compose takes a second of a core, which those that start up need
  while :; do
    # shellcheck disable=SC2086 # a word each
    states=$([ -z "$ids" ] || docker inspect --format "$form" $ids || true)
    [ -z "$states" ] || grep -qv ' running healthy$' <<<"$states" || return 0
    if [ $SECONDS -ge $deadline ]; then
      echo "stack: not healthy in time: $(grep -v ' running healthy$' <<<"$states" | tr '\n' ' ')(scripts/compose.sh logs SERVICE)" >&2
      return 1
    fi
    sleep 1
  done
}

usage() { echo "usage: scripts/stack.sh up | down [--volumes] | wait [SECONDS]" >&2; exit 2; }

case ${1:-} in
  up)
    scripts/make_env.sh
    CA=${CA:-$(sed -n 's/^CA=//p' .env)} # read at every build: without it the image would be made anew
    if [ -n "$CA" ]; then
      COMPANY_CA=$(cat "$CA")
      export COMPANY_CA
    fi
    images=(warehouse-platform:0.1.0)
    # of all that Compose can list, the hashes alone are those of the profiles that are on, in both of its versions
    [[ $(scripts/compose.sh config --hash '*') != *"jenkins "* ]] || images+=(warehouse-jenkins:0.1.0)
    build=(build) # the first takes minutes and shows what it does, later ones are quick
    ! docker image inspect "${images[@]}" >/dev/null 2>&1 || build+=(--quiet)
    scripts/compose.sh "${build[@]}"
    scripts/compose.sh up -d --no-build
    wait_until_healthy
    scripts/run_setup.sh
    echo "stack: up. Gold on 127.0.0.1:$(scripts/compose.sh port gold 5432 | cut -d: -f2)," \
      "Spark's page on 127.0.0.1:$(scripts/compose.sh port spark-master 8080 | cut -d: -f2)," \
      "past runs on 127.0.0.1:$(scripts/compose.sh port spark-history 18080 | cut -d: -f2)"
    port=$(scripts/compose.sh port jenkins 8080 2>/dev/null | cut -d: -f2) || true # none without its profile
    [ -z "$port" ] ||
      echo "stack: Jenkins on http://127.0.0.1:$port/, user admin, password in secrets/jenkins_admin_password" ;;
  down)
    if [ $# -gt 2 ] || [[ ${2:-} != @(|--volumes) ]]; then usage; fi
    if [ "${2:-}" = --volumes ]; then
      printf 'This deletes HDFS, the metastore, Gold and Jenkins with all that is in them, and all back-ups. ' >&2
      printf 'Type yes to go on: ' >&2
      read -r answer || true
      [ "${answer:-}" = yes ] || { echo "stack: not confirmed, nothing was changed" >&2; exit 2; }
    fi
    scripts/compose.sh --profile scheduler down ${2:+--volumes} ;; # on or not: what runs of it goes too
  wait) wait_until_healthy "${2:-}" ;;
  *) usage ;;
esac
