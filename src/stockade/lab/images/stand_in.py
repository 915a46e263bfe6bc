"""What each built-in stand-in holds beside busybox: the published image's entrypoint, its files, and the programs that recipes and suites call.

Data only; ``builtin`` makes trees of it. Entrypoints, default commands, ports and paths are those of the published images; texts
of pages are short ones of our own where a page is not quoted by recipes.
"""

from __future__ import annotations

from typing import Final

import msgspec


class StandIn(msgspec.Struct, frozen=True, kw_only=True):
    """``programs``: path in the image to the script in ``standins`` that it runs. ``host``: path in the image to a program of this machine,
    shown where there is one; the others of its kind get ``instead``."""

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ("/bin/sh",)
    working_directory: str = "/"
    programs: dict[str, str] = msgspec.field(default_factory=dict)
    files: dict[str, str] = msgspec.field(default_factory=dict)
    executables: dict[str, str] = msgspec.field(default_factory=dict)
    host: dict[str, str] = msgspec.field(default_factory=dict)


SHELL_TOOLS: Final = {"/usr/bin/wget": "wget", "/usr/bin/nc": "nc"}
"""In every stand-in: what this machine's busybox does in another way than the published images."""

_NGINX_PAGE: Final = """<!DOCTYPE html>
<html>
<head>
<title>Welcome to nginx!</title>
<meta name="generator" content="Stockade stand-in for the nginx image">
</head>
<body>
<h1>Welcome to nginx!</h1>
<p>If you see this page, the nginx web server is successfully installed and
working. Further configuration is required.</p>
<p>For online documentation and support please refer to nginx.org.<br>
Commercial support is available at nginx.com.</p>
<p><em>Thank you for using nginx.</em></p>
</body>
</html>
"""


def _web_server(programs: str, *commands: str) -> str:
    """An entrypoint that runs busybox's httpd for ``programs``. As pid 1 httpd would ignore the signal that ends the pod; the shell does not."""
    servers = "".join(f"  {command} &\n" for command in commands)
    return f"""#!/bin/sh
case "$1" in
{programs})
  trap 'exit 0' TERM QUIT INT WINCH
{servers}  wait $!
  ;;
*) exec "$@" ;;
esac
"""


_PAUSE: Final = """#!/bin/sh
trap 'exit 0' TERM INT
while :; do sleep 86400 & wait $!; done
"""
# The second line is how ``node.preloaded`` knows this script.
_AGNHOST: Final = """#!/bin/sh
# stand-in: connect
case "$1" in
connect) shift; exec /opt/stockade/bin/agnhost-connect "$@" ;;
serve-hostname|netexec|porter) exec /opt/stockade/bin/agnhost-serve "$@" ;;
pause) echo Paused; exec /opt/stockade/bin/pause ;;
--version|version) echo "agnhost version 2.0 (Stockade stand-in)" ;;
*)
  echo "Error: unknown command \\"$1\\" for \\"app\\"; this stand-in has: connect netexec pause porter serve-hostname" >&2
  exit 1
  ;;
esac
"""
_BASH: Final = '#!/bin/sh\nexec /bin/ash "$@"\n'
_REDIS_ENTRYPOINT: Final = """#!/bin/sh
case "$1" in
-*|*.conf) set -- redis-server "$@" ;;
esac
exec "$@"
"""

STAND_INS: Final = {
    "agnhost": StandIn(
        entrypoint=("/agnhost",),
        command=("pause",),
        programs={
            "/opt/stockade/bin/agnhost-connect": "agnhost_connect",
            "/opt/stockade/bin/agnhost-serve": "agnhost_serve",
            "/usr/bin/socat": "socat",
        },
        executables={"/agnhost": _AGNHOST, "/opt/stockade/bin/pause": _PAUSE, "/bin/bash": _BASH},
        host={"/bin/bash": "bash", "/usr/bin/curl": "curl", "/usr/bin/dig": "dig"},
    ),
    "alpine": StandIn(),
    "app-on-two-ports": StandIn(
        entrypoint=("/docker-entrypoint.sh",),
        command=("server",),
        files={
            "/srv/hello/index.html": "Hello from HTTP server.\n",
            "/srv/metrics/metrics": "http.requests=3\ngo.goroutines=5\ngo.cpus=1\n",
        },
        executables={
            "/docker-entrypoint.sh": _web_server(
                "server", "httpd -f -p 8000 -h /srv/hello", "httpd -f -p 5000 -h /srv/metrics"
            )
        },
    ),
    "busybox": StandIn(command=("sh",)),
    "httpd": StandIn(
        command=("httpd-foreground",),
        working_directory="/usr/local/apache2",
        files={"/usr/local/apache2/htdocs/index.html": "<html><body><h1>It works!</h1></body></html>\n"},
        executables={
            "/usr/local/bin/httpd-foreground": "#!/bin/sh\nexec /opt/stockade/bin/web httpd\n",
            "/opt/stockade/bin/web": _web_server("httpd", "httpd -f -v -p 80 -h /usr/local/apache2/htdocs"),
        },
    ),
    "nginx": StandIn(
        entrypoint=("/docker-entrypoint.sh",),
        command=("nginx", "-g", "daemon off;"),
        files={"/usr/share/nginx/html/index.html": _NGINX_PAGE},
        executables={
            "/docker-entrypoint.sh": _web_server(
                "nginx|nginx-debug", "httpd -f -v -p 80 -h /usr/share/nginx/html"
            )
        },
    ),
    "pause": StandIn(entrypoint=("/pause",), command=(), executables={"/pause": _PAUSE}),
    "redis": StandIn(
        entrypoint=("docker-entrypoint.sh",),
        command=("redis-server",),
        working_directory="/data",
        programs={"/usr/local/bin/redis-server": "redis_server", "/usr/local/bin/redis-cli": "redis_cli"},
        executables={"/usr/local/bin/docker-entrypoint.sh": _REDIS_ENTRYPOINT},
    ),
    "socat": StandIn(entrypoint=("socat",), command=(), programs={"/usr/bin/socat": "socat"}),
}
