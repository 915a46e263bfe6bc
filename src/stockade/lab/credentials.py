"""The lab's certificate authority, its server certificate, its tokens and the kubeconfigs made of them.

Made once for a lab: they die with it (``stockade down``), but outlive a crash of it. Tokens have 256 bits; files are 0600.
"""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
import secrets
import ssl
from pathlib import Path

import msgspec
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from stockade.lab.paths import write_private

VALIDITY = dt.timedelta(days=365)
RENEWAL = dt.timedelta(days=30)  # before the end of the validity, at the next start
CERTIFICATE, KEY, KEPT = "apiserver.crt", "apiserver.key", "credentials.json"


class Credentials(msgspec.Struct, frozen=True):
    """``ca`` is PEM text; ``tokens`` maps each user's name to the bearer token, ``clients`` to its certificate and key (PEM)."""

    ca: str
    certificate: Path
    key: Path
    tokens: dict[str, str]
    clients: dict[str, tuple[str, str]]

    def server_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])  # exec and attach upgrade the connection: no HTTP/2
        context.load_cert_chain(self.certificate, self.key)
        context.verify_mode = ssl.CERT_OPTIONAL  # a client may show a certificate instead of a token
        context.load_verify_locations(cadata=self.ca)
        return context

    def kubeconfig(self, *, cluster: str, user: str, server: str, certificate: bool = False) -> str:
        """A complete kubeconfig document whose context is named like the cluster; with a token, or a client certificate."""
        ca = _base64(self.ca)
        access = {"token": self.tokens[user]}
        if certificate:
            chain, key = self.clients[user]
            access = {"client-certificate-data": _base64(chain), "client-key-data": _base64(key)}
        return yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": cluster,
                "clusters": [
                    {"name": cluster, "cluster": {"server": server, "certificate-authority-data": ca}}
                ],
                "users": [{"name": f"{cluster}-{user}", "user": access}],
                "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": f"{cluster}-{user}"}}],
            },
            sort_keys=False,
        )


class _Kept(msgspec.Struct, frozen=True):
    credentials: Credentials
    renew: dt.datetime


def load_or_make(directory: Path, users: tuple[str, ...]) -> Credentials:
    """Those of before a crash, so that kubeconfigs stay good; fresh ones for a new lab, and for one that is about to be a year old."""
    held = _load(directory)
    if held is not None and set(held.tokens) == set(users):
        return held
    made = make(directory, users)
    kept = _Kept(made, dt.datetime.now(dt.UTC) + VALIDITY - RENEWAL)
    # last: it vouches for the other files
    write_private(directory / KEPT, msgspec.json.encode(kept, enc_hook=str).decode())
    return made


def _load(directory: Path) -> Credentials | None:
    try:
        text = (directory / KEPT).read_bytes()
        held = msgspec.json.decode(text, type=_Kept, dec_hook=lambda type_, value: type_(value))
    except (OSError, msgspec.MsgspecError):
        return None
    return held.credentials if dt.datetime.now(dt.UTC) < held.renew else None


def make(directory: Path, users: tuple[str, ...]) -> Credentials:
    """A fresh authority and server certificate under ``directory`` (0700), a fresh token and client certificate for each user."""
    now = dt.datetime.now(dt.UTC)
    ca_key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stockade-lab-ca")])
    ca = (
        _builder(issuer, issuer, ca_key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    names = x509.SubjectAlternativeName(
        [
            x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
            x509.DNSName("localhost"),
            x509.DNSName("kubernetes.default.svc"),
        ]
    )
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stockade-lab-apiserver")])
    server = (
        _builder(subject, issuer, server_key.public_key(), now)
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    certificate, key = directory / CERTIFICATE, directory / KEY
    write_private(certificate, server.public_bytes(serialization.Encoding.PEM).decode())
    write_private(key, _pem(server_key))
    tokens = {user: secrets.token_urlsafe(32) for user in users}
    clients = {user: _client(user, issuer, ca_key, now) for user in users}
    return Credentials(
        ca.public_bytes(serialization.Encoding.PEM).decode(), certificate, key, tokens, clients
    )


def _client(
    user: str, issuer: x509.Name, ca_key: ec.EllipticCurvePrivateKey, now: dt.datetime
) -> tuple[str, str]:
    """A client certificate that names the user, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, user)])
    certificate = (
        _builder(subject, issuer, key.public_key(), now)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode(), _pem(key)


def _pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: dt.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + VALIDITY)
    )
