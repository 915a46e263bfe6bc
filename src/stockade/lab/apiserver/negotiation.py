"""Which form the answer takes: JSON or YAML, wide or compact. In: the Accept header and ``pretty``. Out: a form, or 406.

Called by the application in front of a handler (an answer that nobody would take must not be the answer to a write that was done) and behind it.
Rules: kube-apiserver's negotiation: the first clause that can be served wins; protobuf is read here, never written; streams are JSON.
"""

from __future__ import annotations

import json

import msgspec
import yaml
from aiohttp import web

from stockade.lab.apiserver.failures import failure
from stockade.lab.apiserver.requests import SHAPES

JSON, YAML = "application/json", "application/yaml"
ANY = ("*/*", "application/*", JSON)
BROWSERS = ("curl", "Wget", "Mozilla/5.0")  # people look at these
_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Plain(_Dumper):  # type: ignore[misc, valid-type]
    """Without anchors: the same value twice is written twice."""

    def ignore_aliases(self, data: object) -> bool:
        del data
        return True


def form_of(accept: str) -> str:
    """The media type to answer with. Raises ApiError NotAcceptable."""
    if not accept.strip():
        return JSON
    for clause in accept.split(","):
        media, *parameters = (part.strip() for part in clause.split(";"))
        given = dict(part.partition("=")[::2] for part in parameters)
        if given.get("as") and (given["as"] not in SHAPES or given.get("v", "v1") != "v1"):
            continue
        if media in ANY:
            return JSON
        if media == YAML:
            return YAML
    message = f"only the following media types are accepted: {JSON}, {YAML}"
    raise failure(406, "NotAcceptable", message)


def present(request: web.Request, response: web.StreamResponse, form: str) -> web.StreamResponse:
    """The answer of a handler in the form that was agreed on."""
    if not isinstance(response, web.Response) or response.content_type != JSON:
        return response
    body = response.body
    if isinstance(body, bytes) and form == YAML:
        text = yaml.dump(msgspec.json.decode(body), Dumper=_Plain, allow_unicode=True)
        response.text, response.content_type = text, YAML
    elif isinstance(body, bytes) and _is_pretty(request):
        response.body = json.dumps(msgspec.json.decode(body), indent=2, ensure_ascii=False).encode(
            errors="surrogatepass"
        )
    return response


def _is_pretty(request: web.Request) -> bool:
    if "pretty" in request.query:
        return request.query["pretty"].lower() not in ("0", "false")
    return request.headers.get("User-Agent", "").startswith(BROWSERS)
