"""Whom LCH trusts to vouch for a server: the TLS context for a bundle of authorities. No I/O but to read the bundle."""

from __future__ import annotations

import os
import ssl
from typing import Any

from requests.utils import DEFAULT_CA_BUNDLE_PATH

from lchook.dms.failures import BundleError


def trusting_context(verify: bool | str = True, cert: Any = None) -> ssl.SSLContext:
    """Checks chain and name.

    A bundle that the operator names is theirs: what is in it is trusted on any Python, as the anchor of a chain even where
    it is no root, and whether or not their authority fills in all that RFC 5280 asks for. Python checks that since 3.13, and
    many companies' authorities are older.

    :param verify: the file or folder of the bundle; True for the public authorities, as Python checks them.
    :param cert: a certificate of our own, with its key in the same file, or the two.
    :raises BundleError: where the bundle cannot be read.
    """
    bundle = DEFAULT_CA_BUNDLE_PATH if verify is True else str(verify)
    folder = os.path.isdir(bundle)
    try:
        context = ssl.create_default_context(cafile=None if folder else bundle, capath=bundle if folder else None)
    except OSError as error:
        raise BundleError("the bundle of authorities cannot be read") from error
    if bundle != DEFAULT_CA_BUNDLE_PATH:
        context.verify_flags &= ~ssl.VerifyFlags.VERIFY_X509_STRICT
        context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    if cert:
        context.load_cert_chain(*((cert,) if isinstance(cert, str) else cert))
    return context
