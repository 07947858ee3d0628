#!/usr/bin/env bash
# Score what was loaded since, and open cases: [--json]
exec "$(dirname "$0")/submit.sh" detect_anomalies "$@"
