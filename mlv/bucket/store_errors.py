"""The errors of `obstore`, told apart and put in words of ours: what happened, and what to do next.

The client knows fewer kinds of errors than stores have answers, so that the text of an answer has to tell many of them.
"""

from __future__ import annotations

import re

from mlv.errors import BucketDenied, BucketError, BucketMissing, BucketUnreachable, NoSuchObject
from mlv.optional import package

NO_RANGE = "non-partial response"
"""The sign of a store that answers with the whole object, as that of rclone does."""
BEHIND_THE_END = ("InvalidRange", "status code: 416", "greater than the length", "start: ")
"""Signs of a range that begins behind the end of the object."""


class StoreErrors:
    """Translates the errors about one root."""

    def __init__(self, url: str, base: str, timeout_s: float) -> None:
        """Prepare to name a root by its URL; `base` is that without options."""
        self._url, self._base, self._timeout_s = url, base, timeout_s
        self._scheme = base.partition("://")[0]
        self._kinds = package("obstore.exceptions", "bucket")

    def translated(self, error: Exception, key: str) -> Exception:
        """Return the error of ours that an error of the client stands for."""
        errors, text = self._kinds, str(error)
        if _NO_PATH in text:
            reason = first_line(text.rpartition(_NO_PATH)[2].strip(" :"))
            text = f"{self._url} cannot be listed, as a key in it is no path ({reason}): remove that object"
            return BucketError(text, url=self._url)
        if isinstance(error, (errors.AlreadyExistsError, errors.PreconditionError)):
            return FileExistsError(key)
        if self.shows(error, key, *_NO_BUCKET):
            return BucketMissing(f"{self._url}: there is no such bucket; make it, or correct the URL", url=self._url)
        if isinstance(error, FileNotFoundError):
            return NoSuchObject(f"{self._url}: there is no object {key!r}", url=self._url, key=key)
        if self.shows(error, key, *_METADATA):
            return BucketDenied(
                f"{self._url}: there are no credentials, neither in variables such as {_FIRST_VARIABLE[self._scheme]}, nor of "
                f"this machine. {_ADVICE[self._scheme]}",
                url=self._url,
                key=key,
            )
        denied = (errors.PermissionDeniedError, errors.UnauthenticatedError, PermissionError)
        if isinstance(error, denied) or self.shows(error, key, *_DENIALS) or _is_bare_refusal(text):
            return self._denied(error, key)
        if self.shows(error, key, *_TOO_LARGE):
            text = f"{self._url} takes no object as large as {key!r}: {_reason(text)}. Keep it elsewhere, and a reference here"
            return BucketError(text, url=self._url, key=key)
        if isinstance(error, (ValueError, errors.NotSupportedError, errors.InvalidPathError)):
            return BucketError(f"{self._url} cannot hold an object {key!r}: {first_line(error)}", url=self._url, key=key)
        if isinstance(error, (errors.BaseError, OSError)):
            reason = f"no answer within {self._timeout_s:g} s" if self.shows(error, key, "kind: Timeout") else _reason(text)
            return BucketUnreachable(f"{self._url} does not answer as it should: {reason}", url=self._url, key=key)
        return error

    def _denied(self, error: Exception, key: str) -> BucketDenied:
        text, advice = str(error), "Look at the credentials, and at the policy of the bucket"
        reason = _reason(text)
        if self.shows(error, key, "RequestTimeTooSkewed"):
            advice = _CLOCK
        elif "performing HEAD" in text and (status := _STATUS.search(text)) is not None:
            # The answer has no content, which would tell more.
            reason, advice = status[0], f"{advice}. `mlv doctor {self._url}` asks for the reason"
        shown = repr(key) if key else "the root"
        return BucketDenied(f"{self._url} refuses access to {shown}: {reason}. {advice}", url=self._url, key=key)

    def shows(self, error: Exception, key: str, *signs: str) -> bool:
        """Return whether the text of an error holds a sign, other than in the names that it repeats."""
        text, names = str(error), f"{self._base} {key}"
        return any(sign in text and sign not in names for sign in signs)


_DENIALS = (
    "AccessDenied",
    "AuthenticationFailed",
    "AuthorizationFailure",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
    "status code: 401",
    "status code: 403",
    # Of one object among those that Azure was asked to delete; 409 is that of a policy of immutability.
    "(code: 401)",
    "(code: 403)",
    "(code: 409)",
)
"""Signs of a refusal in an error that the client does not tell apart, as that of a listing."""

_TOO_LARGE = ("EntityTooLarge", "RequestBodyTooLarge", "status code: 413")
"""Signs of an object that is larger than the store, or a proxy before it, takes."""

_NO_PATH = "Encountered object with invalid path"
"""The sign of a listing with a key such as `a//b`, which the client cannot pass over."""
_NO_BUCKET = ("NoSuchBucket", "ContainerNotFound", "The specified bucket does not exist")
"""Signs that there is no such bucket."""

_METADATA = ("169.254.169.254", "metadata.google.internal")
"""Where machines of a cloud have their credentials: the last place where a client looks."""

_FIRST_VARIABLE = {"s3": "AWS_ACCESS_KEY_ID", "gs": "GOOGLE_APPLICATION_CREDENTIALS", "az": "AZURE_STORAGE_ACCOUNT_NAME"}
_ADVICE = {
    "s3": "Profiles and single sign-on of AWS need boto3: pip install boto3",
    "gs": "Name the file of a service account, or run `gcloud auth application-default login`",
    "az": "Set AZURE_STORAGE_ACCOUNT_KEY, or AZURE_STORAGE_SAS_KEY",
}
_STATUS = re.compile(r"40[0-9] [A-Z][a-z]+")
"""Number and name of a refusal in a text of the client."""
_CLOCK = "The clock of this machine is more than 15 minutes off: set it, as by NTP"


def _is_bare_refusal(text: str) -> bool:
    """Return whether S3 refused a HEAD, whose answer holds no code: 400 stands for an expired token then."""
    return "status code: 400" in text and "<Code>" not in text and "HEAD" in text


def _reason(text: str) -> str:
    """Return the code of an answer of the store, or else the first line of an error."""
    code = text.partition("<Code>")[2].partition("</Code>")[0]
    message = text.partition("<Message>")[2].partition("</Message>")[0].partition("\n")[0].rstrip(".")
    return f"{code}: {message}" if code and message else code or first_line(text)


def first_line(error: object) -> str:
    """Return the first line of an error, and of one without a text its type."""
    return str(error).strip().partition("\n")[0][:500] or type(error).__name__
