#!/usr/bin/env bash
# Score what was loaded since, and open cases: [--dry-run] [--json]
exec "$(dirname "$0")/submit.sh" detect_anomalies "$@"
