#!/usr/bin/env bash
# Submit one job to the cluster and wait for it: scripts/submit.sh JOB [ARGUMENTS…], JOB a file of spark/jobs/.
# Exit codes as of `warehouse`: 0 done; 1 failed, nothing half-written; 2 wrong usage; 3 done, but some input was rejected.
# Works in the client's container, and from a checkout on the machine that runs the cluster.
# WAREHOUSE_RUN_ID names the run in logs and ledger; SPARK_SUBMIT_OPTIONS adds options of spark-submit;
# WAREHOUSE_LOG_LEVEL=info and WAREHOUSE_TRACE_LINES=full let the driver say more than what went wrong, in a line.
set -euo pipefail
cd "$(dirname "$0")/.."
WAREHOUSE_RUN_ID=${WAREHOUSE_RUN_ID:-$(date -u +%Y%m%dT%H%M%S)-$(head -c 3 /dev/urandom | od -An -tx1 | tr -d ' \n')}

if [ -z "${WAREHOUSE_PLATFORM:-}" ]; then
  variables=(-e "WAREHOUSE_RUN_ID=$WAREHOUSE_RUN_ID")
  for name in SPARK_SUBMIT_OPTIONS WAREHOUSE_LOG_LEVEL WAREHOUSE_TRACE_LINES; do
    [ -z "${!name:-}" ] || variables+=(-e "$name=${!name}")
  done
  stopped=
  set -m # a group of its own, which Ctrl-C does not reach: Compose passes no signal on, and the job would go on alone
  trap 'stopped=1' INT TERM HUP
  scripts/compose.sh exec -T "${variables[@]}" spark-client scripts/submit.sh "$@" </dev/null &
  wait $! && code=0 || code=$?
  if [ -n "$stopped" ]; then # perhaps before it has begun there
    while kill -0 $! 2>/dev/null; do
      scripts/compose.sh exec -T spark-client scripts/submit.sh --stop "$WAREHOUSE_RUN_ID" </dev/null && break
      sleep 0.5
    done
    wait $! && code=0 || code=$?
  fi
  exit "$code"
fi

if [ "${1:-}" = --stop ]; then # interrupt the driver of a run, or what is about to start it; 1 where there is neither
  processes=$(grep -lzxsF "WAREHOUSE_RUN_ID=$2" /proc/[0-9]*/environ | cut -d/ -f3 || true)
  driver=$(for process in $processes; do ! grep -qs ^python "/proc/$process/comm" || echo "$process"; done)
  # shellcheck disable=SC2086 # each a number
  [ -n "$processes" ] && kill -INT ${driver:-$processes} 2>/dev/null
  exit
fi
if [ $# = 0 ] || [ ! -f "spark/jobs/$1.py" ] || [[ $1 == */* ]]; then
  echo "usage: scripts/submit.sh JOB [ARGUMENTS…], JOB one of:" >&2
  basename -s .py spark/jobs/[a-z]*.py | sed 's/^/  /' >&2
  exit 2
fi
WAREHOUSE_JOB=$(sed -n 's/.*job_main(\([^)]*\)).*/\1/p' "spark/jobs/$1.py" | tr -d '",' | tr ' ' '-') # as the ledger calls it
export WAREHOUSE_JOB WAREHOUSE_RUN_ID
read -ra options <<<"${SPARK_SUBMIT_OPTIONS:-}"
exec spark-submit ${options[@]+"${options[@]}"} "spark/jobs/$1.py" "${@:2}"
