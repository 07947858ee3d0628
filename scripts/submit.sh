#!/usr/bin/env bash
# Submit one job to the cluster and wait for it: scripts/submit.sh JOB [ARGUMENTS…], JOB a file of spark/jobs/.
# Exit codes as of `warehouse`: 0 done; 1 failed, nothing half-written; 2 wrong usage; 3 done, but some input was rejected.
# Works in the client's container, and from a checkout on the machine that runs the cluster.
# WAREHOUSE_RUN_ID names the run in logs and ledger; SPARK_SUBMIT_OPTIONS adds options of spark-submit;
# WAREHOUSE_LOG_LEVEL=info and WAREHOUSE_TRACE_LINES=full let the driver say more than what went wrong, in a line.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -z "${WAREHOUSE_PLATFORM:-}" ]; then
  names=()
  for name in WAREHOUSE_RUN_ID SPARK_SUBMIT_OPTIONS WAREHOUSE_LOG_LEVEL WAREHOUSE_TRACE_LINES; do [ -z "${!name:-}" ] || names+=(-e "$name=${!name}"); done
  exec scripts/compose.sh exec -T "${names[@]}" spark-client scripts/submit.sh "$@"
fi
if [ $# = 0 ] || [ ! -f "spark/jobs/$1.py" ] || [[ $1 == */* ]]; then
  echo "usage: scripts/submit.sh JOB [ARGUMENTS…], JOB one of:" >&2
  basename -s .py spark/jobs/[a-z]*.py | sed 's/^/  /' >&2
  exit 2
fi
WAREHOUSE_JOB=$(sed -n 's/.*job_main(\([^)]*\)).*/\1/p' "spark/jobs/$1.py" | tr -d '",' | tr ' ' '-') # as the ledger calls it
WAREHOUSE_RUN_ID=${WAREHOUSE_RUN_ID:-$(date -u +%Y%m%dT%H%M%S)-$(head -c 3 /dev/urandom | od -An -tx1 | tr -d ' \n')}
export WAREHOUSE_JOB WAREHOUSE_RUN_ID
read -ra options <<<"${SPARK_SUBMIT_OPTIONS:-}"
exec spark-submit "${options[@]}" "spark/jobs/$1.py" "${@:2}"
