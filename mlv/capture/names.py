"""Names of credentials: the names of variables, options, headers and fields whose value is one."""

from __future__ import annotations

import re
from functools import cache, lru_cache


@lru_cache(4096)
def is_credential_name(name: str) -> bool:
    """Return whether people call a credential so in an environment variable or an option of a command."""
    words = _canonical(name)
    return _is_telling(words) and bool(compiled(_CREDENTIAL).search(words)) and not compiled(_NO_CREDENTIAL).search(words)


@lru_cache(4096)
def is_strong_name(name: str) -> bool:
    """Return whether a name ends in words that mean nothing but a credential: `password`, `client_secret`, `X-Api-Key`."""
    words = _canonical(name)
    return _is_telling(words) and bool(compiled(_STRONG_END).search(words)) and not compiled(_NO_CREDENTIAL).search(words)


def is_credential(name: str, value: str) -> bool:
    """Return whether a value is a credential by its name: the name says so, and the value does not contradict it.

    A switch (`true`) is none, nor is a mark of a vocabulary (`[CLS]`); nor a plain word under a name such as `OBS_KEY`, or
    a small number under `PASS`.
    """
    if not value or value.strip().lower() in _SWITCHES | _SCHEMES or not is_credential_name(name):
        return False
    words = _canonical(name)
    if compiled(_STRONG).search(words):
        return not (compiled(r"(?:^|_)PASS$").search(words) and compiled(r"[0-9]{1,3}").fullmatch(value))
    if is_mark(value):
        return False
    is_open = bool(compiled(r"_KEY(?:_[0-9]+)?$").search(words)) or name == "key"
    return not (is_open and compiled(_WORDS).fullmatch(value))


def is_made_up(value: str) -> bool:
    """Return whether a text looks made up by a machine or a careful person: no sentence, word, switch or template."""
    is_sentence = bool(compiled(r"\s").search(value))
    if len(value) < 6 or is_sentence or is_placeholder(value) or is_mark(value) or value.lower() in _SWITCHES:
        return False
    return holds_digit(value) or (is_mixed(value) and not value.istitle()) or bool(compiled(_SYMBOLS).search(value))


def is_placeholder(text: str) -> bool:
    """Return whether a text is only a template (`${TOKEN}`, `{user}:{password}`, `%s`), or already masked (`***`)."""
    return not set(text) - _MASKING or bool(compiled(_PLACEHOLDER).fullmatch(text))


def is_mark(text: str) -> bool:
    """Return whether a text is a mark of a vocabulary, such as `<pad>`, `<|endoftext|>` or `[CLS]`."""
    return bool(compiled(r"<[^<>\s]{1,40}>|\[[A-Za-z0-9_ ]{1,30}\]").fullmatch(text))


def holds_digit(text: str) -> bool:
    """Return whether a text holds a digit."""
    return any(character.isdigit() for character in text)


def is_mixed(text: str) -> bool:
    """Return whether a text holds both capitals and small letters."""
    return text.lower() != text != text.upper()


def _canonical(name: str) -> str:
    """Write `WANDB_API_KEY`, `wandb-api-key`, `wandb.apiKey` and `WandbAPIKey` all as `WANDB_API_KEY`."""
    return "_".join(compiled(_WORD).findall(name)).upper()


def _is_telling(words: str) -> bool:
    """Return whether a name may be that of a credential: without a look at the expressions, which take 1 ms to compile."""
    return any(word in words for word in _TELLING) or "_PAT_" in f"_{words}_"


@cache
def compiled(pattern: str) -> re.Pattern[str]:
    """Compile an expression on its first use: `import mlv` should not pay for those that it may never need."""
    return re.compile(pattern)


_WORD = r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+"
_WORDS = r"[A-Za-z]{1,20}(?:[_./:-][A-Za-z]{1,20}){0,4}"
_SWITCHES = frozenset({"true", "false", "none", "null", "nil", "yes", "no", "on", "off", "undefined", "optional", "required"})
_SCHEMES = frozenset({"bearer", "basic", "token", "digest"})
_SYMBOLS = r"[!#^+]"
_MASKING = frozenset("xX*.:•…-_")
# Each alternative begins with a character of its own: so no text can be read in two ways.
_PLACEHOLDER = r"(?:\$\{?[A-Z_][A-Z0-9_]*\}?|\$\([^()]{0,80}\)|\{[\w.]*\}|%s|%\(\w+\)s|<[\w -]+>|[*:])+"

_TELLING = ("KEY", "TOKEN", "PASS", "PWD", "SECRET", "CRED", "AUTH", "COOKIE", "DSN", "JWT", "CONNECTION")
"""Every name of a credential holds one of these words, or ends in `_PAT`."""
_BEFORE_KEY = (
    r"(?:API|ACCESS|AUTH|BEARER|REFRESH|PRIVATE|SIGNING|ENCRYPTION|ACCOUNT|SERVICE|SSH|SUBSCRIPTION|SESSION|MASTER|DEPLOY"
    r"|LICEN[SC]E)_?(?:KEY|TOKEN)S?"
)
_WORD_OF_SECRETS = r"(?:PASS_?WORD|PASSWD|PASS_?PHRASE|SECRET|CREDENTIAL)S?"
_STRONG = rf"{_WORD_OF_SECRETS}(?![A-Z])|CONNECTION_?STRING|(?:^|_)PASS(?:_[0-9]+)?$|_PWD(?:_[0-9]+)?$|{_BEFORE_KEY}(?:_|$)"
_STRONG_END = (
    rf"(?:{_WORD_OF_SECRETS}(?:_KEY)?|{_BEFORE_KEY}|CONNECTION_?STRING|(?:^|_)PASS|(?:^|_)PWD|_PAT)(?:_(?:[0-9]+|ID|VALUE))?$"
)
_CREDENTIAL = (
    rf"{_STRONG}|(?:TOKEN|KEY)(?:_[0-9]+)?$"
    r"|(?:^|_)(?:AUTH|AUTHORIZATION|COOKIES?|CREDS?|DSN|JWT)(?:_[0-9]+)?$"
    r"|(?:^|_)(?:GIT|GITHUB|GH|GITLAB|BITBUCKET|AZURE|DEVOPS|ADO|EXT|DATABRICKS|SNOWFLAKE)_PAT$"
)
# Tokens of a vocabulary, keys of a table or of a batch, words that happen to end in "key", and what is said of a secret.
_NO_CREDENTIAL = (
    r"(?:^|_)(?:PAD|PADDING|CLS|SEP|BOS|EOS|UNK|MASK|BLANK|SPECIAL|START|END|STOP|FIRST|NEXT|LAST|NEWLINE|PROMPT|BEGIN|EOT|SOT"
    r"|REGISTER|DISTILLATION|IMAGE|IMG|VIDEO|AUDIO|TEXT|TASK|CLASS|PER|NUM|MAX|MIN|TOTAL|THINK|TOOL|SPEECH|LATENT|PATCH"
    r")_TOKENS?(?:_[0-9]+|_ID)?$"
    r"|(?:^|_)(?:SORT|GROUP|PRIMARY|FOREIGN|PARTITION|CACHE|DICT|COLUMN|INDEX|JOIN|LABEL|TARGET|INPUT|OUTPUT|FEATURE|IMAGE|IMG"
    r"|TEXT|METRIC|LOSS|RNG|PRNG|RANDOM|QUERY|OBS|OBSERVATION|ACTION|STATE|REWARD|DONE|INFO|GOAL|POLICY|CRITIC|ACTOR|TOKENIZER"
    r"|ENCODER|DECODER|EMBEDDING|EMBED|RESPONSE|ANSWER|QUESTION|INSTRUCTION|COMPLETION|CHOSEN|REJECTED|DATA|DATASET|BATCH|SAMPLE"
    r"|MASK|PARAM|CONFIG|FIELD|SPLIT|TRAIN|VAL|EVAL|TEST|MONITOR|SCORE|CAPTION|AUDIO|VIDEO|DEPTH|RGB|CAMERA|LAYER|MODULE|HEAD"
    r"|LATENT|COND|CONTEXT|CONDITION|SRC|TGT|SOURCE|LANG|LANGUAGE|CLASS|WEIGHT|BIAS|PREFIX|PROMPT|STRING|ROUTING|HOT|DEDUP"
    r"|ATTENTION|VALUE|PREDICTION|PRED|LOGITS?|TIME|STEP|EPOCH|MAX|MIN|NUM|SHARD|OBJECT|REGISTRY|MAP|LOOKUP|SEARCH|SHORTCUT"
    r")_KEY(?:_[0-9]+)?$"
    r"|(?:MON|DON|TUR|JOC|HOC|WHIS|LESS|HOT)KEY$"
    r"|(?:FORWARD|BACKWARD|FIRST|SECOND|SINGLE|MULTI|NUM|PER|TWO|ONE|HIGH|LOW|BAND|MAX)_PASS$"
    rf"|(?:{_WORD_OF_SECRETS}|KEY|TOKEN|TOKENS)_(?:(?:MIN|MAX)_)?(?:STRENGTH|LENGTH|LEN|DATA_?SET|CORPUS|POLICY|COUNT|SIZE|MIN|MAX|RESET|TYPE|ENABLED"
    r"|REQUIRED|FIELD|COLUMN|NAME|URL|URI|ENDPOINT|EXPIRES|EXPIRES_IN|TTL|LIFETIME|SCORE|LOSS|ACC|ACCURACY|EMBEDDING|CLASSIFIER"
    r"|GENERATOR|CHECKER|METER|LABELS?|LIST|VOCAB|ALPHABET|CHARSET|ENTROPY|GUESSES|SPLIT|MODEL|TASK|PROBLEM|SANTA|HELP|PROMPT)$"
)
