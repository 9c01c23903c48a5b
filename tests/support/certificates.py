"""Authorities and certificates for tests, made by the openssl command."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Authority", "Certificate"]

_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


@dataclass(frozen=True)
class Certificate:
    """Two files."""

    path: Path
    key: Path


class Authority:
    """Signs certificates; who trusts it is given `certificate.path`."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.certificate = self._files(name)
        # Python 3.13 wants to know of an authority what its key is for, and of a certificate whose key has signed it.
        use = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]
        _openssl("req", "-x509", *_KEY, *use, "-days", "2", "-subj", f"/CN={name}", *self._outputs(self.certificate))

    def sign(self, name: str) -> Certificate:
        """A certificate for that name, which may be a host's."""
        signed = self._files(name)
        request, names = self._folder / f"{name}.csr", self._folder / f"{name}.ext"
        names.write_text(f"subjectAltName=DNS:{name}\nauthorityKeyIdentifier=keyid\n")
        _openssl("req", *_KEY, "-subj", f"/CN={name}", "-keyout", str(signed.key), "-out", str(request))
        authority = ["-CA", str(self.certificate.path), "-CAkey", str(self.certificate.key), "-CAcreateserial"]
        files = ["-in", str(request), "-out", str(signed.path), "-extfile", str(names)]
        _openssl("x509", "-req", *files, *authority, "-days", "2")
        return signed

    def _files(self, name: str) -> Certificate:
        return Certificate(self._folder / f"{name}.pem", self._folder / f"{name}.key")

    def _outputs(self, made: Certificate) -> list[str]:
        return ["-keyout", str(made.key), "-out", str(made.path)]


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
