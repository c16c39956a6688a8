"""Certificates of all kinds, made for one test run."""

import datetime
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Identity:
    """A key and its certificate, signed by an issuer or by itself."""

    def __init__(self, folder, name, hosts=(), issuer=None, is_ca=False, days=(-2, 30)):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        signer = issuer or self
        self.certificate = self._build(signer, hosts, is_ca, days).sign(signer.key, hashes.SHA256())
        self.certificate_file = folder / f"{name}.crt"
        self.certificate_file.write_bytes(
            self.certificate.public_bytes(serialization.Encoding.PEM))
        self.key_file = folder / f"{name}.key"
        self.key_file.write_bytes(self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption()))

    def _build(self, signer, hosts, is_ca, days):
        today = datetime.datetime.utcnow()
        builder = (x509.CertificateBuilder()
                   .subject_name(self.name).issuer_name(signer.name)
                   .public_key(self.key.public_key())
                   .serial_number(x509.random_serial_number())
                   .not_valid_before(today + datetime.timedelta(days=days[0]))
                   .not_valid_after(today + datetime.timedelta(days=days[1]))
                   .add_extension(x509.BasicConstraints(is_ca, None), critical=True)
                   .add_extension(x509.SubjectKeyIdentifier.from_public_key(
                       self.key.public_key()), critical=False)
                   .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(
                       signer.key.public_key()), critical=False))
        if hosts:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_general_name(host) for host in hosts]),
                critical=False)
        return builder


def _general_name(host):
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


class Certificates:
    """What the TLS targets show; only `ca` is one that the agent is told to trust."""

    HERE = ("localhost", "127.0.0.1")

    def __init__(self, folder):
        self.ca = Identity(folder, "Test CA", is_ca=True)
        unknown = Identity(folder, "Unknown CA", is_ca=True)
        self.shown = {
            "good": Identity(folder, "good", self.HERE, self.ca),
            "expired": Identity(folder, "expired", self.HERE, self.ca, days=(-9, -1)),
            "self-signed": Identity(folder, "self-signed", self.HERE),
            "unknown-ca": Identity(folder, "unknown-ca", self.HERE, unknown),
            "wrong-host": Identity(folder, "wrong-host", ("other.example",), self.ca),
        }
        self.client = Identity(folder, "agent client", issuer=self.ca)
