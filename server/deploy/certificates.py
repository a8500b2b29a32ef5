"""The coordinator's own certificate authority and the TLS certificate that its server shows to sites.

Keys are EC P-256 and readable by their owner alone. Only `ca.crt` travels: sites compare its fingerprint over another
channel and trust this coordinator only.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_ssh_public_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from common.errors import StudyError, cause_of
from common.system.files import write_new, writing

AUTHORITY_DAYS = 3650
MOST_HOST = 253
"""Most characters of a host name (RFC 1035)."""

HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*")
"""A host name: labels of letters, digits and hyphens, at most 63 each, with points between them."""

LOCAL_NAMES = ("localhost", "127.0.0.1")
"""Where the SuperLink listens; always part of the server certificate."""

RENEW = "move it and its key away and run `fedsynth coordinator certs` again; sites keep their ca.crt"


def make_authority(certificate: Path, key: Path) -> None:
    """Create a self-signed certificate authority.

    Args:
        certificate: PEM file to write.
        key: file of the private key to write.

    Raises:
        StudyError: a file exists or cannot be written.
    """
    private = ec.generate_private_key(ec.SECP256R1())
    name = _name("fedsynth coordinator CA")
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    built = (
        _builder(name, name, private.public_key(), AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(private.public_key()), critical=False)
        .sign(private, hashes.SHA256())
    )
    _write_key(key, private)
    _write(certificate, built.public_bytes(Encoding.PEM), 0o644)


def make_server(authority: tuple[Path, Path], certificate: Path, key: Path, hosts: Sequence[str], days: int) -> None:
    """Create a server certificate for host names or addresses, and for this machine itself.

    Args:
        authority: certificate and private key of the authority.
        certificate: PEM file to write.
        key: file of the private key to write.
        hosts: names or addresses by which sites reach the server.
        days: validity in days.

    Raises:
        StudyError: a file exists or cannot be written, or the authority cannot be read.
    """
    issuer = read_certificate(authority[0])
    issuer_key = _read_key(authority[1])
    private = ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName([_general_name(host) for host in dict.fromkeys((*hosts, *LOCAL_NAMES))])
    built = (
        _builder(_name("fedsynth coordinator"), issuer.subject, private.public_key(), days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(names, critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    _write_key(key, private)
    _write(certificate, built.public_bytes(Encoding.PEM), 0o644)


def check_server(authority: Path, certificate: Path) -> None:
    """Raise `StudyError` for a server certificate that sites would refuse.

    Raises:
        StudyError: it has expired, is not valid yet, or was issued by another authority.
    """
    server, now = read_certificate(certificate), datetime.now(UTC)
    if now > server.not_valid_after_utc:
        raise StudyError(
            f"the server certificate '{certificate}' expired on {server.not_valid_after_utc:%Y-%m-%d}; {RENEW}"
        )
    if now < server.not_valid_before_utc:
        raise StudyError(
            f"the server certificate '{certificate}' is not valid before "
            f"{server.not_valid_before_utc:%Y-%m-%d %H:%M} UTC; check this machine's clock"
        )
    try:
        server.verify_directly_issued_by(read_certificate(authority))
    except (InvalidSignature, ValueError, TypeError):
        raise StudyError(f"the server certificate '{certificate}' was not issued by '{authority}'; {RENEW}") from None


def read_certificate(path: Path) -> x509.Certificate:
    """Return the certificate in a PEM file. Raises `StudyError` if it cannot be read."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as problem:
        raise StudyError(
            f"cannot read the certificate '{path}' ({cause_of(problem)}); `fedsynth coordinator certs` creates it"
        ) from None


def check_not_own(node_key: Path, certificates: Sequence[Path]) -> None:
    """Raise `StudyError` for a site's key that the coordinator itself holds.

    Args:
        node_key: a site's public key, OpenSSH form.
        certificates: the coordinator's own, PEM.

    Raises:
        StudyError: the key is in one of the certificates, or is not an OpenSSH public key.
    """
    try:
        key = load_ssh_public_key(node_key.read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm) as problem:
        raise StudyError(
            f"cannot use '{node_key}' ({cause_of(problem)}); ask the site for its node key's .pub file"
        ) from None
    if any(read_certificate(path).public_key() == key for path in certificates):
        raise StudyError(f"'{node_key}' is a key of this coordinator; ask the site for its node key's .pub file")


def certificate_fingerprint(path: Path) -> str:
    """Return the SHA-256 of a certificate, as `openssl x509 -fingerprint -sha256` prints it."""
    return read_certificate(path).fingerprint(hashes.SHA256()).hex(":").upper()


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=10))  # sites' clocks may lag behind
        .not_valid_after(now + timedelta(days=days))
    )


def _name(common: str) -> x509.Name:
    return x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "fedsynth"), x509.NameAttribute(NameOID.COMMON_NAME, common)]
    )


def check_hosts(hosts: Sequence[str]) -> None:
    """Raise `StudyError` for a host that is neither a name nor an address, such as a URL or one with a port."""
    for host in hosts:
        _general_name(host)


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    if len(host) > MOST_HOST or HOST_NAME.fullmatch(host) is None:
        raise StudyError(
            f"'{host}' is not a host name or address; give --host as sites will write it, without https:// and port"
        )
    return x509.DNSName(host)


def _read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as problem:
        raise StudyError(f"cannot read the key '{path}' ({cause_of(problem)}); restore it from your backup") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise StudyError(f"'{path}' is not the authority's key; restore it from your backup")
    return key


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    _write(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)


def _write(path: Path, content: bytes, mode: int) -> None:
    """Write a new file with these permissions; never overwrite one."""
    with writing(path, remedy="check its folder"):
        try:
            write_new(path, content, mode=mode)
        except FileExistsError:
            raise StudyError(f"'{path}' exists and is never overwritten; move it away first") from None
