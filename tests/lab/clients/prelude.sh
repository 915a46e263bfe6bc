# Functions for the scripts of the transcripts; each script runs after this in a shell of its own.

# Wait until a line of a file holds a text: what a command in the background has printed.
seen() {
  for _ in $(seq 300); do
    grep -qF -- "$2" "$1" 2>/dev/null && return
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
