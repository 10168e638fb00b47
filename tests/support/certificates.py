"""Certificates made with the openssl command, for TLS servers on 127.0.0.1."""

from __future__ import annotations

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support.tools import needs


@dataclass(frozen=True)
class Certificate:
    """`file` is what a client must trust for the server to be believed."""

    file: Path
    tls: ssl.SSLContext


def self_signed(
    folder: Path, *, names: str = "IP:127.0.0.1,DNS:localhost", days: int = 90, valid: tuple[str, str] | None = None
) -> Certificate:
    """A certificate that only itself vouches for.

    :param days: for how long it is valid, from now on.
    :param valid: from when to when instead, such as ("20200101000000Z", "20200111000000Z").
    """
    key, file = folder / "key.pem", folder / "certificate.pem"
    openssl = needs("openssl")
    subject = ["-subj", "/O=Tests of LCH/CN=127.0.0.1"]
    if valid is None:
        command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", str(days), *subject]
        command += ["-addext", f"subjectAltName={names}", "-keyout", str(key), "-out", str(file)]
        subprocess.run(command, check=True, capture_output=True)
    else:
        # `req -x509` can set the beginning only since OpenSSL 3.4; `ca` always could.
        request, index = folder / "request.pem", folder / "index.txt"
        config, serial = folder / "ca.cnf", folder / "serial"
        index.write_text("")
        serial.write_text("01\n")
        config.write_text(
            f"[ca]\ndefault_ca=d\n[d]\ndatabase={index}\nserial={serial}\nnew_certs_dir={folder}\ndefault_md=sha256\n"
            f"policy=p\nx509_extensions=e\n[p]\norganizationName=optional\ncommonName=optional\n"
            f"[e]\nsubjectAltName={names}\nbasicConstraints=CA:TRUE\n"
        )
        command = [openssl, "req", "-newkey", "rsa:2048", "-nodes", *subject, "-keyout", str(key), "-out", str(request)]
        subprocess.run(command, check=True, capture_output=True)
        command = [openssl, "ca", "-batch", "-config", str(config), "-selfsign", "-keyfile", str(key), "-in", str(request)]
        command += ["-startdate", valid[0], "-enddate", valid[1], "-out", str(file), "-notext"]
        subprocess.run(command, check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(file, key)
    return Certificate(file, tls)
