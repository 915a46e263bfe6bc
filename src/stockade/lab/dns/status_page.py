"""What a DNS process says of itself over HTTP: alive, ready, and how much it was asked. Pure, standard library only.

In: the bytes of a request, counts. Out: the bytes of the answer, after which the connection ends. Called by ``replica``. Names of metrics are CoreDNS's.
"""

from __future__ import annotations

Counts = dict[tuple[str, int, int], int]
"""(protocol, type asked for, response code) → how often."""

_TYPES = {1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 12: "PTR", 15: "MX", 16: "TXT", 28: "AAAA", 33: "SRV"}
_CODES = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}


def respond(request: bytes, is_metrics: bool, counts: Counts) -> bytes:
    method, _, rest = request.partition(b" ")
    path = rest.partition(b" ")[0].partition(b"?")[0]
    status, body = "200 OK", "OK"
    if method not in {b"GET", b"HEAD"}:
        status, body = "405 Method Not Allowed", "Method Not Allowed\n"
    elif is_metrics and path == b"/metrics":
        body = _metrics(counts)
    elif is_metrics or path not in {b"/health", b"/ready"}:
        status, body = "404 Not Found", "404 page not found\n"
    kind = "text/plain; version=0.0.4; charset=utf-8" if is_metrics else "text/plain; charset=utf-8"
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return (head + ("" if method == b"HEAD" else body)).encode()


def _metrics(counts: Counts) -> str:
    asked, answered = dict[tuple[str, str], int](), dict[str, int]()
    for (protocol, kind, code), number in counts.items():
        key = (protocol, _TYPES.get(kind, "other"))
        asked[key] = asked.get(key, 0) + number
        name = _CODES.get(code, "other")
        answered[name] = answered.get(name, 0) + number
    lines = ["# TYPE coredns_dns_requests_total counter"]
    for (protocol, type_), number in sorted(asked.items()):
        labels = f'server="dns://:53",zone=".",proto="{protocol}",type="{type_}"'
        lines.append(f"coredns_dns_requests_total{{{labels}}} {number}")
    lines.append("# TYPE coredns_dns_responses_total counter")
    lines += [
        f'coredns_dns_responses_total{{server="dns://:53",zone=".",rcode="{name}"}} {number}'
        for name, number in sorted(answered.items())
    ]
    return "\n".join(lines) + "\n"
