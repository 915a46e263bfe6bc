"""The lab's certificate authority, its server certificate, its tokens and the kubeconfigs made of them.

Made anew at each start: a lab's credentials die with it. Tokens have 256 bits; files are 0600.
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
    certificate, key = directory / "apiserver.crt", directory / "apiserver.key"
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
