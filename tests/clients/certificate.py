"""A certificate for 127.0.0.1 and localhost that signs itself."""

import contextlib
import datetime
import ipaddress
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


class Certificate:
    """The files of a certificate: itself, its key, and both in one (which HAProxy wants)."""

    def __init__(self, folder):
        self.certificate, self.key, self.both = (Path(folder, name) for name in ("cert.pem", "key.pem", "both.pem"))
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(key, hashes.SHA256())
        )
        self.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        self.key.write_bytes(key.private_bytes(encoding, form, serialization.NoEncryption()))
        self.both.write_bytes(self.certificate.read_bytes() + self.key.read_bytes())


@contextlib.contextmanager
def certificate():
    with tempfile.TemporaryDirectory() as folder:
        yield Certificate(folder)
