# Functions for the scripts of the transcripts; each script runs after this in a shell of its own.

# Whatever a script left running ends with it.
trap 'kill $(jobs -p) 2>/dev/null' EXIT

# The name of the lab's second, third ... node.
node() {
  kubectl get nodes -o name | sed -n "s,^node/,,; $1p"
}

# Wait until a line of a file holds a text: what a command in the background has printed, or will. Blanks count as one.
seen() {
  for _ in $(seq 300); do
    [ -e "$1" ] && tr -s ' ' <"$1" | grep -qF -- "$2" && return
    sleep 0.05
  done
  echo "never printed: $2; but:" >&2
  cat "$1" >&2
  return 1
}

# End a command in the background, without the shell's words about it.
stop() {
  kill "$1"
  wait "$1" 2>/dev/null || true
}

# Wait until what a command prints holds a text.
eventually() {
  for _ in $(seq 100); do
    $1 2>&1 | grep -qF -- "$2" && return
    sleep 0.1
  done
  $1 >&2
  return 1
}
