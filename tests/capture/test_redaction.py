"""Secrets never reach the disk, and science stays readable."""

from __future__ import annotations

import json
import string

import pytest

from mlv.capture.redaction import REDACTED, Redactor, is_credential_name, printable

hypothesis = pytest.importorskip("hypothesis", reason="property tests need hypothesis")
given, st = hypothesis.given, hypothesis.strategies

# Put together from pieces: no scanner of repositories should take these for real.
SHAPES = {
    "GitHub": "gh" + "p_16C7e42F292c6912E7710c838347Ae178B4a",
    "GitHub server": "gh" + "s_16C7e42F292c6912E7710c838347Ae178B4a",
    "GitHub fine-grained": "github" + "_pat_11ABCDEFG0abcdefghijkl_mnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQ",
    "Hugging Face": "hf" + "_AbCdEfGhIjKlMnOpQrStUvWxYzAbCdEfGh",
    "OpenAI": "sk" + "-AbCdEfGhIjKl0123MnOpT3BlbkFJQrStUvWxYz012345",
    "OpenAI in letters": "sk" + "-abcdefghijklmnopqrstuvwxyz",
    "OpenAI project": "sk" + "-proj-aB3_dE-fGhIjKlMnOpQrStUvWxYz0123456789_abc",
    "Anthropic": "sk" + "-ant-api03-aB3dEfGhIjKlMnOpQrStUvWxYz0123456789-_AA",
    "Stripe": "sk" + "_live_4eC39HqLyjWDarjtT1zdp7dc",
    "AWS": "AK" + "IAIOSFODNN7EXAMPLE",
    "AWS session": "AS" + "IAIOSFODNN7EXAMPLE",
    "Google": "AI" + "zaSyA-1234567890abcdefghijklmnopqrstu",
    "Slack": "xox" + "b-123456789012-1234567890123-abcdefABCDEF",
    "JSON web token": "ey" + "JhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1g",
    "GitLab": "gl" + "pat-ABCdef123456ghiJKL78",
    "PyPI": "py" + "pi-AgEIcHlwaS5vcmcCJDEyMzQ1Njc4",
    "npm": "npm" + "_AbCdEfGhIjKlMnOpQrStUvWxYz0123456789",
    "Google OAuth": "ya" + "29.a0AfH6SMBx1234567890abcdefghij",
}
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA0123456789+/abcdefghij\nKLMNOP==\n-----END RSA PRIVATE KEY-----"
PEM_SECRETS = ["MIIEpAIBAAKCAQEA0123456789", "KLMNOP"]

# What a person who works on language models, or on monkeys, writes every day.
SCIENCE = [
    "sk-learn",
    "sk-learn-contrib-imbalanced-learn-2024-run-12",
    "sk-run-20241121073300",
    "hf_model",
    "hf_sentence_transformers_large_v2",
    "hf_hub_download",
    "skip",
    "ghp",
    "ghost_protocol_adaptive_training",
    "AKIA",
    "eyJustAWord",
    "task-classification-with-transformers-large",
    "risk-adjusted-returns-of-portfolios-2024",
    "Basic understanding of transformers",
    "bearer of bad news",
    "https://example.org/data?page=2#top",
    "http://localhost:8888/tree",
    "s3://bucket/path/to/checkpoint.pt",
    "ssh://git@github.com/owner/repo.git",
    "git@github.com:owner/repo.git",
    "ftp://anonymous@ftp.ncbi.nlm.nih.gov/blast",
    "da39a3ee5e6b4b0d3255bfef95601890afd80709",
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "550e8400-e29b-41d4-a716-446655440000",
    "PRIVATE KEY",
    "a -----BEGIN PRIVATE KEY----- is how a private key begins",
    "meta-llama/Llama-3.1-8B-Instruct",
    "[PAD]",
    "<|endoftext|>",
    "lr=0.1,momentum=0.9",
    "épochs ≤ 10",
]

SECRET_NAMES = [
    *("TOKEN", "HF_TOKEN", "GITHUB_TOKEN", "WANDB_API_KEY", "KEY", "APIKEY", "OPENAIKEY", "AWS_SECRET_ACCESS_KEY"),
    *("DB_PASSWORD", "PASSWORD_FOR_X", "MYSQL_PASSWD", "MY_SECRET", "SECRETS", "GOOGLE_APPLICATION_CREDENTIALS"),
    *("DB_PWD", "MYSQL_PWD", "GPG_PASSPHRASE", "COOKIE", "SESSION_COOKIE", "REDISCLI_AUTH", "SENTRY_DSN", "GH_PAT", "MY_JWT"),
    *("AZURE_STORAGE_CONNECTION_STRING", "api_key", "Api-Key", "dbPassword", "accessToken", "HF_TOKEN_2", "SMTP_PASS"),
]
OPEN_NAMES = [
    *("TOKENIZERS_PARALLELISM", "TOKENIZER", "KEYBOARD", "LESSKEY", "MONKEY", "DONKEY", "SSH_AUTH_SOCK", "XAUTHORITY"),
    *("PWD", "OLDPWD", "PATH", "MAX_TOKENS", "NUM_TOKENS", "PAD_TOKEN", "USE_CLS_TOKEN", "SORT_KEY", "KEYS", "COMPASS"),
    *("AUTHOR", "GIT_AUTHOR_NAME", "PASSES", "BYPASS", "LS_COLORS", "CUDA_VISIBLE_DEVICES", "FORWARD_PASS"),
]
PARAM_NAMES = ["password", "passwd", "secret", "api_key", "access_token", "auth_token", "API_KEY", "Auth-Token"]
SCIENCE_PARAMS = {
    "pad_token": "<pad>",
    "sort_key": "name",
    "use_cls_token": True,
    "monkey": "capuchin",
    "tokenizer": "bpe",
    "key": "accuracy",
    "token": "[CLS]",
    "max_tokens": 512,
    "secretary_problem": 3,
    "password_length": 12,
    "keys": ["a", "b"],
}
made_up = st.text(string.ascii_letters + string.digits, min_size=8, max_size=40).map(lambda text: "9q" + text + "Z7")


def dumped(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


# --- Shapes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("secret", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("around", ["{}", "x={}", "see {}, please", '"{}"', "({})", "/a/{}/x", "a\n+{}\n-b", "é{}é"])
def test_shapes_go_and_their_surroundings_stay(secret, around):
    """A credential is found by its shape anywhere in a text, and nothing else of the text is lost."""
    redactor = Redactor()

    text = redactor.text(around.format(secret), "git.message")

    assert text == around.format(REDACTED)
    assert redactor.redactions == ["git.message"]


@pytest.mark.parametrize("secret", SHAPES.values(), ids=SHAPES)
def test_shapes_go_from_every_place(secret):
    """However a credential gets in, under whatever name, it does not get out."""
    redactor = Redactor()
    nested = {"layers": [{"note": secret}, (secret,)], secret: 1, "n": 3}

    results = [
        redactor.variables({"HARMLESS": f"a {secret} b"}),
        redactor.argv(["train.py", secret, f"--note={secret}", f"note={secret}", "-c", f"print('{secret}')"]),
        redactor.params(nested),
        redactor.tree(nested, "git"),
        redactor.url(f"https://host/{secret}", "git.remotes.origin"),
        redactor.source(f"+ x = {secret}\n", "git.diff"),
    ]

    assert secret not in dumped(results)
    assert secret not in dumped(redactor.redactions)
    assert set(redactor.redactions) >= {"env.HARMLESS", "script.argv[1]", "params.layers[0].note", "params.layers[1][0]"}


@pytest.mark.parametrize("text", SCIENCE)
def test_science_words_stay(text):
    """What only resembles a credential is left as it is, wherever it stands."""
    redactor = Redactor()

    results = [
        redactor.text(text, "x"),
        redactor.source(text, "x"),
        redactor.variables({"NOTE": text})["NOTE"],
        redactor.argv([text, f"--note={text}"]),
        redactor.params({"note": [text], text: 1}),
        redactor.url(text, "x"),
    ]

    assert results == [text, text, text, [text, f"--note={text}"], {"note": [text], text: 1}, text]
    assert redactor.redactions == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://user:t0ken@github.com/o/r.git", "https://<redacted>@github.com/o/r.git"),
        ("https://t0ken@github.com/o/r.git", "https://<redacted>@github.com/o/r.git"),
        ("https://oauth2:glpat-x@gitlab.com/o/r", "https://<redacted>@gitlab.com/o/r"),
        ("ssh://git:pw@host/r", "ssh://<redacted>@host/r"),
        ("https://u:p@ss@host/r", "https://<redacted>@host/r"),
        ("mysql://root:p/w@host:3306/db", "mysql://<redacted>@host:3306/db"),
        ("https://host:8443/a@b", "https://host:8443/a@b"),
        ("https://:pw@host/r", "https://<redacted>@host/r"),
        ("https://host/r?private_token=abc&page=2", "https://host/r?private_token=<redacted>&page=2"),
        ("https://host/r?sig=aB3%2FdEfGhIjKlMnOp%3D", "https://host/r?sig=<redacted>"),
        ("https://secret.host:8443/r", "https://secret.host:8443/r"),
        ("git@secret-host:owner/r.git", "git@secret-host:owner/r.git"),
        ("/local/path", "/local/path"),
        ("C:\\repos\\x", "C:\\repos\\x"),
    ],
)
def test_addresses_lose_their_user_part(text, expected):
    """A remote tells its host and path, never the password or token in front of them."""
    assert Redactor().url(text, "git.remotes.origin") == expected


@pytest.mark.parametrize(
    "text",
    [
        'f"https://{user}:{password}@host"',
        "https://$USER:$TOKEN@host",
        "https://${TOKEN}@host",
        '"postgres://%s:%s@host"',
        "https://user:***@host",
    ],
)
def test_templates_of_addresses_stay(text):
    """Code that puts an address together holds no secret yet."""
    assert Redactor().source(text, "git.diff") == text


def test_authorization_headers():
    """Bearer and basic authorization are known by their words."""
    secrets = ["abcdefghijkl", "0123456789abc", "dXNlcjpwYXNz", "mnop"]
    before = ["Authorization: Bearer", "Bearer", "basic", "authorization: token"]

    text = " | ".join(Redactor().argv([f"{words} {secret}" for words, secret in zip(before, secrets, strict=True)]))

    assert not any(secret in text for secret in secrets)


@pytest.mark.parametrize("prefix", ["", "+", "-", " "])
def test_private_keys_keep_the_form_of_a_diff(prefix):
    """A key goes line by line, with its signs and line breaks kept, and what is around it stays."""
    block = "\n".join(prefix + line for line in PEM.split("\n"))

    text = Redactor().source(f"before\n{block}\nafter\n", "git.diff")

    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert text.count("\n") == block.count("\n") + 3
    assert text.count(f"\n{prefix}{REDACTED}") == 4
    assert not any(secret in text for secret in PEM_SECRETS)


@pytest.mark.parametrize(
    "text",
    [
        PEM.replace("\n", "\\n"),
        PEM.replace("\n", "\r\n"),
        PEM.replace("RSA ", ""),
        PEM.replace("RSA", "OPENSSH"),
        f'key = """{PEM}"""',
        "\n".join(f'    "{line}\\n"' for line in PEM.split("\n")),
        "-----BEGIN EC PRIVATE KEY-----\n" + PEM_SECRETS[0] + "A" * 40,  # cut off before its end
    ],
)
def test_private_keys_in_every_writing(text):
    """A private key goes also when it is escaped, quoted line by line, or cut off before its end."""
    assert not any(secret in Redactor().text(text, "x") for secret in PEM_SECRETS)


@given(st.text(), st.sampled_from([*SHAPES.values()]), st.text())
def test_no_surroundings_hide_a_shape(before, secret, after):
    """Whatever is around a credential, it goes, unless letters or digits make it part of another word."""
    text = f"{before} {secret} {after}"

    assert secret not in Redactor().text(text, "x")


@given(st.text())
def test_redacting_twice_changes_nothing_more(text):
    """What was redacted is not redacted again."""
    once = Redactor().source(text, "x")

    assert Redactor().source(once, "x") == once


# --- Names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_variables_go_by_name(name):
    """A variable that is named like a credential keeps its name and loses its value."""
    redactor = Redactor()

    assert redactor.variables({name: "x"}) == {name: REDACTED}
    assert redactor.redactions == [f"env.{name}"]


@pytest.mark.parametrize("name", OPEN_NAMES)
def test_other_variables_stay(name):
    """A variable whose name only resembles one stays readable."""
    redactor = Redactor()

    assert redactor.variables({name: "hunter22"}) == {name: "hunter22"}
    assert redactor.redactions == []


def test_empty_variables_stay_empty():
    """That a token is set to nothing is worth knowing, and no secret."""
    assert Redactor().variables({"HF_TOKEN": ""}) == {"HF_TOKEN": ""}


def test_variables_hold_shell_functions_and_urls():
    """A variable of many lines, or an address with a password, loses only the credential in it."""
    environ = {"BASH_FUNC_f%%": '() {\n export API_KEY="abc123"\n}', "DATABASE_URL": "postgres://me:pw1@db/runs"}

    assert Redactor().variables(environ) == {
        "BASH_FUNC_f%%": '() {\n export API_KEY="<redacted>"\n}',
        "DATABASE_URL": "postgres://<redacted>@db/runs",
    }


def test_variables_are_sorted():
    """Two records of one environment are equal as text."""
    assert list(Redactor().variables({"B": "1", "A": "2"})) == ["A", "B"]


@given(name=st.sampled_from(SECRET_NAMES), secret=made_up, prefix=st.sampled_from(["", "MY_", "team_b_", "X1_"]))
def test_secrets_never_reach_the_record_by_name(name, secret, prefix):
    """Under any credential-like name, in any of the ways to give it, a value never appears in what is recorded."""
    name = prefix + name
    redactor = Redactor()
    option = name.replace("_", "-").lower()

    recorded = dumped(
        [
            redactor.variables({name: secret}),
            redactor.argv([f"--{option}", secret, f"--{option}={secret}", f"{name}={secret}", f"+db.{name}={secret}"]),
            redactor.argv(["train.py", f'{{"{name}": "{secret}"}}'], "script.orig_argv"),
            redactor.redactions,
        ]
    )

    assert secret not in recorded


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--api-key", "abc"], ["--api-key", REDACTED]),
        (["--api-key=abc"], [f"--api-key={REDACTED}"]),
        (["--db.password", "abc"], ["--db.password", REDACTED]),
        (["-token", "abc"], ["-token", REDACTED]),
        (["API_KEY=abc"], [f"API_KEY={REDACTED}"]),
        (["++db.password=a b=c"], [f"++db.password={REDACTED}"]),
        (["--password", "--verbose", "--lr", "3"], ["--password", "--verbose", "--lr", "3"]),
        (["--password", "-v", "x"], ["--password", "-v", "x"]),
        (["--password", ""], ["--password", ""]),
        (["--password="], ["--password="]),
        (["-p", "8080"], ["-p", "8080"]),
        (["--pad-token", "<pad>", "--sort_key=name"], ["--pad-token", "<pad>", "--sort_key=name"]),
        (["--monkey", "x", "--tokenizer", "bpe"], ["--monkey", "x", "--tokenizer", "bpe"]),
        (["-c", "print(sorted(x, key=len))"], ["-c", "print(sorted(x, key=len))"]),
        (["-c", 'login(api_key="abc123def")'], ["-c", f'login(api_key="{REDACTED}")']),
        (["-H", "X-Api-Key: abc"], ["-H", f"X-Api-Key: {REDACTED}"]),
        (["--url", "https://u:p@host/x"], ["--url", f"https://{REDACTED}@host/x"]),
        ([], []),
    ],
)
def test_command_lines(argv, expected):
    """On a command line the credentials go, and every other word stays in its place."""
    assert Redactor().argv(argv) == expected


def test_found_tells_places_in_order_and_once():
    """What was found is told by its place: in order, each once, and never by its value."""
    redactor = Redactor()

    redactor.argv(["a", "--token", "hunter22"])
    redactor.params({"db": [{"password": "hunter22"}]})
    redactor.argv(["a", "--token", "hunter22"])

    assert redactor.redactions == ["script.argv[2]", "params.db[0].password"]


@pytest.mark.parametrize("name", PARAM_NAMES)
@pytest.mark.parametrize("value", ["hunter22", 1234, ["a"], {"a": 1}], ids=repr)
def test_params_go_by_exact_name(name, value):
    """At any depth, a parameter with one of the exact names loses its value, whatever it is."""
    params = {"model": {"parts": [{name: value}], "lr": 0.1}}
    redactor = Redactor()

    assert redactor.params(params) == {"model": {"parts": [{name: REDACTED}], "lr": 0.1}}
    assert redactor.redactions == [f"params.model.parts[0].{name}"]


@pytest.mark.parametrize("value", [None, "", [], {}, True, False], ids=repr)
def test_params_without_a_value_stay(value):
    """That no password is set is worth knowing, and no secret."""
    assert Redactor().params({"password": value}) == {"password": value}


def test_science_params_stay():
    """Tokens of a vocabulary and keys of a table are science."""
    redactor = Redactor()

    assert redactor.params({"nested": [SCIENCE_PARAMS]}) == {"nested": [SCIENCE_PARAMS]}
    assert redactor.redactions == []


def test_params_are_copied():
    """In the creating process the parameters keep their real values."""
    params = {"db": {"password": "hunter22"}}

    Redactor().params(params)

    assert params == {"db": {"password": "hunter22"}}


def test_keys_that_become_equal_keep_their_values():
    """Two keys that are credentials become distinct, so that neither value is lost."""
    first, second = SHAPES["GitHub"], SHAPES["OpenAI"]

    assert Redactor().params({first: 1, second: 2}) == {REDACTED: 1, f"{REDACTED}_2": 2}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abcdef", max_size=4), inner, max_size=3),
    max_leaves=12,
)


@given(json_values)
def test_params_without_credentials_come_back_equal(params):
    """Redaction is no change to what holds no credential."""
    assert Redactor().params(params) == params


@given(json_values, made_up, st.sampled_from(PARAM_NAMES))
def test_params_never_tell_a_password(params, secret, name):
    """However deep it lies, a password does not get out."""
    deep = {"x": [params, {"y": {name: secret, "z": params}}]}

    assert secret not in dumped(Redactor().params(deep))


# --- The user's own patterns -----------------------------------------------------------------------------------------


def test_patterns_hit_names_and_values():
    """A pattern redacts all of a value by its name, in any case, or the part of a value that it matches."""
    redactor = Redactor(patterns=["acme", r"AC-\d+"])

    assert redactor.variables({"ACME_ID": "7", "NOTE": "AC-12!"}) == {"ACME_ID": REDACTED, "NOTE": f"{REDACTED}!"}
    assert redactor.params({"acme": 3, "note": ["AC-1"]}) == {"acme": REDACTED, "note": [REDACTED]}
    assert redactor.argv(["--acme-id", "7"]) == ["--acme-id", REDACTED]


def test_patterns_that_match_nothing_do_nothing():
    """A pattern that matches the empty text does not fill the record with redactions."""
    assert Redactor(patterns=["x*"]).variables({"A": "b"}) == {"A": "b"}


@pytest.mark.parametrize("exception", ["params.model.secret", "model.secret", "SECRET", r".*\.secret"])
def test_exceptions_are_whole_names_or_ends_of_them(exception):
    """What stands under an excepted name is never touched."""
    params = {"model": {"secret": "the sauce"}}
    redactor = Redactor(exceptions=[exception])

    assert redactor.params(params) == params
    assert redactor.redactions == []


def test_exceptions_do_not_reach_further():
    """An exception is for its own name, not for all that contain it."""
    redactor = Redactor(exceptions=["MY_TOKEN"])

    assert redactor.variables({"MY_TOKEN": "a", "MY_TOKEN_2": "b"}) == {"MY_TOKEN": "a", "MY_TOKEN_2": REDACTED}


def test_exceptions_cover_shapes_options_and_what_lies_below():
    """A value under an excepted name stays as it is, whatever its shape and however it was given."""
    secret = SHAPES["GitHub"]
    redactor = Redactor(exceptions=["api-key", "API_KEY", "db"])

    assert redactor.argv(["--api-key", secret, f"--api-key={secret}"]) == ["--api-key", secret, f"--api-key={secret}"]
    assert redactor.variables({"API_KEY": secret}) == {"API_KEY": secret}
    assert redactor.params({"db": {"password": "x", "note": secret}}) == {"db": {"password": "x", "note": secret}}


@pytest.mark.parametrize("options", [{"patterns": ["("]}, {"exceptions": ["("]}])
def test_a_broken_pattern_is_named(options):
    """A pattern that is no regular expression is an error that shows it."""
    with pytest.raises(ValueError, match=r"'\(' is not a regular expression"):
        Redactor(**options)


# --- Source code -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        'api_key = "{}"',
        "+api_key='{}'",
        "-PASSWORD={}",
        'export WANDB_API_KEY="{}"',
        '  "auth_token": "{}",',
        "password: {}  # the old one",
        "db.password: '{}'",
        'password: str | None = "{}"',
        "os.environ['MY_SECRET'] = '{}'",
        'os.environ.setdefault("DB_PASSWORD", "{}")',
        'connect(user="me", password=b"{}")',
        r'"api_key = \"{}\"\n",',
        'secret := "{}"',
        "client_secret = {}",
    ],
)
@given(secret=made_up)
def test_assigned_values_go(line, secret):
    """In code, a value assigned to a name that is a credential's goes; the line stays."""
    text = f"x = 1\n{line.format(secret)}\ny = 2\n"

    redacted = Redactor().source(text, "git.diff")

    assert redacted == text.replace(secret, REDACTED)


def test_tokens_in_code_go_if_they_look_random():
    """`token` and `key` name many things in code; a long value of letters and digits is a credential."""
    wandb_key = "0123456789abcdef0123456789abcdef01234567"

    assert wandb_key not in Redactor().source(f'wandb.login(key="{wandb_key}")\nTOKEN={wandb_key}', "git.diff")


@pytest.mark.parametrize(
    "line",
    [
        'pad_token = "[PAD1234567890]"',
        'tokenizer.eos_token = "<|im_end|>"',
        "sort_key = lambda item: item[1]",
        "for token in tokens2: print(token)",
        "token = tokenizer.encode_plus_v2(text1)",
        "key = jax.random.PRNGKey(42)",
        "cache_key = f'{model}_{step1}'",
        "api_key = os.environ['API_KEY1']",
        "password = getpass.getpass('Password 1: ')",
        "password = config.password1",
        "api_key: str = ''",
        "secret: Optional[Secret2] = None",
        "auth = HTTPBasicAuth2(user, token)",
        'token = "token"',
        'if key == "conv1.weight": pass',
        'state["encoder.layers.0.attention.key.weight"] = w1',
        "def f(password='Password: ', stream1=None):",
        "api_key=${API_KEY1}",
        "key: PositionalIndexer2D,",
        "def monkeypatch_key(key: str = 'a1') -> None: ...",
    ],
)
def test_code_stays(line):
    """Code that handles tokens, keys and passwords without holding one is left as it is."""
    assert Redactor().source(line, "git.diff") == line


def test_the_empty_and_the_short():
    """Nothing comes of nothing."""
    assert Redactor().source("", "x") == ""
    assert Redactor().argv([""]) == [""]
    assert Redactor().params({}) == {}
    assert not is_credential_name("")


# --- Sizes and letters -----------------------------------------------------------------------------------------------

NASTY = [
    *("a", "sk-", "eyJ-", "eyJaaaa.", "://:a", "http://a", "://a@", ":@", "token=", "token=(", "key : ", "key", "aKey"),
    *('password="', "token='a\"", "\\a", " ", "key        ", "&sig=", "ghp_", "Bearer ", "AKIA", "-----BEGIN ", "-"),
    *("-----BEGIN PRIVATE KEY-----", '-----BEGIN PRIVATE KEY-----"_', "://a:b/", "://:b/:"),
    "-----BEGIN PRIVATE KEY-----\nA\n-----END CERT-----\n",
    *("key: key, ", "key: key key", "key.", "key-", "\n", "İkey=", "xoxb-", "hf_a", "Authorization: Bearer "),
]


@pytest.mark.parametrize("unit", NASTY)
def test_long_texts_take_linear_time(unit):
    """No text makes an expression go back and forth: a quadratic one would never end here."""
    for start in ("", 'password="', "-----BEGIN PRIVATE KEY-----\n", "https://", "key: "):
        Redactor().source(start + unit * (80_000 // len(unit)), "git.diff")


def test_ten_megabytes_of_code():
    """A diff of the greatest size that is kept goes through, and the one credential in it is found."""
    line = "+    tokens = tokenizer(batch['text'], padding=True)  # key: see http://example.org/docs?page=1\n"
    half = line * (5 * 2**20 // len(line))

    redacted = Redactor().source(f"{half}+x = '{SHAPES['GitHub']}'\n{half}", "git.diff")

    assert redacted == f"{half}+x = '{REDACTED}'\n{half}"


def test_bytes_that_are_not_text_survive_in_a_diff():
    """A diff in another encoding comes back byte by byte."""
    raw = b'+caf\xe9 \xff\xfe\n+password = "hunter22"\n'

    text = Redactor().source(raw.decode("utf-8", "surrogateescape"), "git.diff")

    assert text.encode("utf-8", "surrogateescape") == raw.replace(b"hunter22", REDACTED.encode())


def test_records_are_valid_text():
    """Bytes of the environment or the command line that are not UTF-8 are written so that JSON can hold them."""
    redactor = Redactor()

    json.dumps([redactor.variables({"A\udcff": "\udcfe"}), redactor.argv(["\ud800é"])], ensure_ascii=False).encode()
    assert printable("a\udcffé") == "a\\udcffé"


@pytest.mark.parametrize(
    "source",
    [
        "wandb.login(key='KEY')",
        'wandb.login(relogin=True, key="KEY")',
        '+    wandb.login(\n+        key="KEY",\n+    )',
        'login(key=f"KEY")',
    ],
)
def test_keys_of_logins(source):
    """The key in a call of `login` looks like a digest, and is a credential: in texts, in source code and in diffs of it."""
    key = "3f2a5c789ab1c2d3e4f5061728394a5b6c7d8e9f"
    text = source.replace("KEY", key)

    assert (key in Redactor().text(text, "x"), key in Redactor().source(text, "x")) == (False, False)


@pytest.mark.parametrize(
    "source",
    ["login(key=key)", "login(key=os.environ['A'])", "login(key=None)", "login(a=1); sorted(b, key='abc1')", "f(key='abc1')"],
)
def test_keys_that_are_none(source):
    """Names and expressions in a call of `login` stay, and so do keys of other calls."""
    assert Redactor().source(source, "x") == source
