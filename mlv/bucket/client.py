"""The client of `obstore` for a root: made of the options of its URL, and of the credentials that the environment has now."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any
from urllib.parse import unquote

from mlv.bucket.store_errors import first_line
from mlv.bucket.urls import OPTIONS, url_with
from mlv.errors import BucketError, MlvError
from mlv.optional import is_installed, package

RETRIES = 2
"""Tries of a request after the first; more patience is the caller's."""


def new_client(base: str, options: dict[str, str], timeout_s: float) -> Any:
    """Make a client; it reads the variables, files and tokens of the credentials.

    Args:
        base: URL of the root.
        options: Settings that stood in the URL.
        timeout_s: Seconds for one request.

    Raises:
        MissingExtra: `obstore` is not installed.
        BucketError: The client cannot be made of these settings.
    """
    scheme, _, path = base.partition("://")
    stores = package("obstore.store", "bucket")
    try:
        if scheme == "file":
            return stores.LocalStore(unquote(path), mkdir=True, automatic_cleanup=True)
        config, credentials = _config(scheme, options)
        return stores.from_url(
            base,
            config=config,
            client_options={
                "timeout": timedelta(seconds=timeout_s),
                "connect_timeout": timedelta(seconds=timeout_s / 4),
                "allow_http": config.get("endpoint", "").startswith("http://") or _uses_emulator(scheme),
            },
            retry_config={"max_retries": RETRIES, "retry_timeout": timedelta(seconds=3 * timeout_s)},
            **credentials,
        )
    except MlvError:
        raise
    except Exception as error:  # that of a client of credentials may be of any kind
        url = url_with(base, options)
        raise BucketError(f"{url} cannot be opened: {first_line(error)}", url=url) from error


def _config(scheme: str, options: dict[str, str]) -> tuple[dict[str, str], dict[str, Any]]:
    """Return the settings of the client, and the provider of credentials where `obstore` needs one."""
    config, credentials, profile = dict(options), {}, {}
    if scheme == "s3":
        # Object Lock asks for it, and a body that was changed on its way is refused.
        config["checksum_algorithm"] = "SHA256"
        if _needs_boto3():
            credentials["credential_provider"] = package("obstore.auth.boto3", None).Boto3CredentialProvider()
            profile = package("botocore.session", None).get_session().get_scoped_config()
    for option in OPTIONS[scheme]:
        values = (options.get(option), *map(os.environ.get, _VARIABLES[scheme, option]), profile.get(f"{option}_url"))
        if value := next(filter(None, (*values, profile.get(option))), None):
            config[option] = value
    return config, credentials


_VARIABLES = {
    ("s3", "endpoint"): ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    ("s3", "region"): ("AWS_REGION", "AWS_DEFAULT_REGION"),
    ("az", "endpoint"): ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
}
"""The variables of an option, of which `obstore` does not read all; the first that is set serves."""


def _uses_emulator(scheme: str) -> bool:
    return scheme == "az" and os.environ.get("AZURE_STORAGE_USE_EMULATOR", "").lower() in ("1", "true")


def _needs_boto3() -> bool:
    """Return whether credentials of AWS come from what `obstore` cannot read, profiles and single sign-on, and `boto3` can."""
    variables = ("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
    if any(map(os.environ.get, (*variables, "AWS_CONTAINER_CREDENTIALS_FULL_URI"))) or not is_installed("boto3"):
        return False
    files = (
        os.environ.get("AWS_CONFIG_FILE", "~/.aws/config"),
        os.environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
    )
    return bool(os.environ.get("AWS_PROFILE")) or any(os.path.exists(os.path.expanduser(file)) for file in files)
