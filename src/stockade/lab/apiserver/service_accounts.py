"""Tokens of service accounts: who a pod says it is, when it speaks to the API.

In: a key (made once for a lab), the store. Out: tokens (JSON Web Tokens signed with ES256, with the claims of a real API server), and from a
token the user. An account has no rights in the lab but to ask who it is: there are no RBAC objects. A token is good as long as its time, its
account and the pod it is bound to last. Called by ``gate`` (verify), ``subresources`` (TokenRequest) and the node's volumes (pods).
Rules: RFC 7515, 7519; Kubernetes bound service account tokens (KEP-1205).
"""

from __future__ import annotations

import base64
import binascii
import json
import time
import uuid
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from stockade.lab.apiserver.registry import JsonObject, Registry
from stockade.lab.apiserver.users import User, service_account
from stockade.lab.paths import write_private

ISSUER: Final = "https://kubernetes.default.svc.cluster.local"
KEY_FILE: Final = "service-accounts.key"
_ALGORITHM: Final = ec.ECDSA(hashes.SHA256())
_HALF: Final = 32  # bytes of a number in a P-256 signature
_LONGEST_TOKEN: Final = 8192
# Programs from before bound tokens never read theirs again: a real API server gives the pods' default of about an hour a year, too.
_EXTENDED_FROM: Final = 3607
_EXTENDED: Final = 365 * 24 * 3600


def load_or_make_key(directory: Path) -> ec.EllipticCurvePrivateKey:
    """That of before a crash, so that tokens stay good."""
    place = directory / KEY_FILE
    try:
        held = serialization.load_pem_private_key(place.read_bytes(), None)
    except (OSError, ValueError):
        held = None
    if isinstance(held, ec.EllipticCurvePrivateKey):
        return held
    made = ec.generate_private_key(ec.SECP256R1())
    pem = made.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    write_private(place, pem.decode())
    return made


class ServiceAccountTokens:
    def __init__(self, key: ec.EllipticCurvePrivateKey, registry: Registry) -> None:
        self._key = key
        self._public = key.public_key()
        self._registry = registry
        self._head = _encoded({"alg": "ES256", "kid": uuid.uuid4().hex})

    def issue(
        self,
        account: JsonObject,
        seconds: int,
        audiences: list[str] | None = None,
        bound: JsonObject | None = None,
    ) -> str:
        """``bound``: the pod, on whose end the token ends."""
        meta, now = account["metadata"], int(time.time())
        lives = _EXTENDED if seconds == _EXTENDED_FROM and bound is not None else seconds
        inner: JsonObject = {"namespace": meta["namespace"]}
        if bound is not None:
            inner["node"] = {"name": bound["spec"].get("nodeName") or ""}
            inner["pod"] = {"name": bound["metadata"]["name"], "uid": bound["metadata"]["uid"]}
        inner["serviceaccount"] = {"name": meta["name"], "uid": meta["uid"]}
        claims = {
            "aud": audiences or [ISSUER],
            "exp": now + lives,
            "iat": now,
            "iss": ISSUER,
            "jti": str(uuid.uuid4()),
            "kubernetes.io": inner,
            "nbf": now,
            "sub": service_account(meta["namespace"], meta["name"]).name,
        }
        body = f"{self._head}.{_encoded(claims)}"
        first, second = decode_dss_signature(self._key.sign(body.encode(), _ALGORITHM))
        return f"{body}.{_base64(first.to_bytes(_HALF) + second.to_bytes(_HALF))}"

    def verify(self, token: str) -> User | None:
        """Whose it is; None when it is nobody's (any more)."""
        claims = self._claims(token)
        if claims is None or ISSUER not in claims["aud"] or not claims["nbf"] <= time.time() < claims["exp"]:
            return None
        inner = claims["kubernetes.io"]
        namespace, account, pod = inner["namespace"], inner["serviceaccount"], inner.get("pod")
        if not self._is_there("serviceaccounts", namespace, account):
            return None
        if pod is not None and not self._is_there("pods", namespace, pod):
            return None
        return service_account(namespace, account["name"])

    def _is_there(self, resource: str, namespace: str, wanted: JsonObject) -> bool:
        found = self._registry.find(resource, namespace, wanted["name"])
        return found is not None and found["metadata"]["uid"] == wanted["uid"]

    def _claims(self, token: str) -> Any:
        """Believed as they are once the signature holds: nobody else has the key."""
        parts = token.split(".")
        if len(parts) != 3 or len(token) > _LONGEST_TOKEN or not token.isascii():
            return None
        try:
            signature = _decoded(parts[2])
            pair = encode_dss_signature(int.from_bytes(signature[:_HALF]), int.from_bytes(signature[_HALF:]))
            self._public.verify(pair, f"{parts[0]}.{parts[1]}".encode(), _ALGORITHM)
            return json.loads(_decoded(parts[1]))
        except (InvalidSignature, ValueError, binascii.Error):
            return None


def _encoded(value: JsonObject) -> str:
    return _base64(json.dumps(value, separators=(",", ":")).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
