#!/usr/bin/env bash
# Jenkins' agent `spark`: waits for the controller, fetches its agent.jar, connects by WebSocket, and begins again
# whenever the connection has ended: the controller that comes back may be a newer one, and have another secret.
set -euo pipefail
url=${JENKINS_URL:-http://jenkins:8080}
secret=${JENKINS_AGENT_SECRET:-/var/lib/jenkins-agent/secret} # Java gets the file's name: everybody can read arguments
pause=${JENKINS_AGENT_PAUSE:-5}
home=$HOME/agent # remoteFS in casc.yaml

trap 'exit 143' TERM INT
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
run() { "$@" & wait $!; } # a signal waits for the end of a command, but not for the end of `wait`

wait_for() { # what, the command that succeeds once it is there
  local told=
  until run "${@:2}"; do
    [ -n "$told" ] || echo "agent: waits for $1"
    told=1
    run sleep "$pause"
  done
}
fetch_jar() { # whole or not at all
  curl -sf --connect-timeout 5 --max-time 60 -o "$home/.agent.jar" "$url/jnlpJars/agent.jar" &&
    mv "$home/.agent.jar" "$home/agent.jar"
}
has_secret() { [ -r "$secret" ] && [ -s "$secret" ]; }

mkdir -p "$home"
while :; do
  wait_for "the controller at $url" fetch_jar
  wait_for "its secret in $secret" has_secret
  echo "agent: connects to $url"
  run java -Xmx128m -XX:+UseSerialGC -XX:-UsePerfData -XX:+ExitOnOutOfMemoryError -jar "$home/agent.jar" -url "$url" \
    -name spark -secret "@$secret" -webSocket -workDir "$home" -noReconnect || true
  echo "agent: the connection has ended"
  run sleep "$pause"
done
