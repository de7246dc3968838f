"""Credentials that were never valid: one of each kind, put together from pieces, so that no scanner takes them for real.

The kinds are those that the published rule sets of scanners know; the texts are our own.
"""

from __future__ import annotations

import random
import string

_LETTERS, _HEX = string.ascii_letters + string.digits, "0123456789abcdef"


def made_up(kind: str, count: int, alphabet: str = _LETTERS) -> str:
    """A text that looks random and is the same in each run, with capitals, small letters and digits where they fit."""
    dice = random.Random(f"{kind} {count}")
    text = "".join(dice.choice(alphabet) for _ in range(count))
    return "aZ7" + text[3:] if alphabet == _LETTERS else text


def _tokens() -> dict[str, str]:
    upper, lower = string.ascii_uppercase + string.digits, string.ascii_lowercase + string.digits
    uuid = "-".join(made_up("uuid", size, _HEX) for size in (8, 4, 4, 4, 12))
    table = {
        "ghp": ("gh", "p_", made_up("ghp", 36)), "gho": ("gh", "o_", made_up("gho", 36)), "ghu": ("gh", "u_", made_up("ghu", 36)),
        "ghs": ("gh", "s_", made_up("ghs", 36)), "ghr": ("gh", "r_", made_up("ghr", 36)),
        "github fine": ("github", "_pat_", made_up("fine", 22) + "_" + made_up("fine", 59)),
        "hugging face": ("h", "f_", made_up("hf", 34)), "hugging face org": ("api", "_org_", made_up("org", 34)),
        "openai": ("s", "k-", made_up("openai", 48)), "openai project": ("s", "k-proj-", made_up("proj", 60)),
        "anthropic": ("s", "k-ant-api03-", made_up("ant", 93) + "AA"), "openrouter": ("s", "k-or-v1-", made_up("or", 64, _HEX)),
        "stripe": ("s", "k_live_", made_up("stripe", 24)), "stripe restricted": ("r", "k_live_", made_up("rk", 24)),
        "stripe hook": ("wh", "sec_", made_up("whsec", 32)),
        "aws": ("AK", "IA", made_up("aws", 16, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")),
        "aws temporary": ("AS", "IA", made_up("asia", 16, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")),
        "bedrock": ("AB", "SK", made_up("bedrock", 110)), "google": ("AI", "za", made_up("google", 35)),
        "google oauth": ("ya", "29.", made_up("oauth", 60)), "google client": ("GOC", "SPX-", made_up("spx", 28)),
        "google refresh": ("1/", "/0", made_up("refresh", 60)),
        "slack bot": ("xo", "xb-", "123456789012-1234567890123-" + made_up("slack", 24)),
        "slack app": ("xa", "pp-", "1-A0123456789-1234567890123-" + made_up("xapp", 40, _HEX)),
        "jwt": ("ey", "JhbGciOiJIUzI1NiJ9.", "eyJzdWIiOiIxMjM0In0." + made_up("jwt", 43)),
        "neptune": ("ey", "JhcGlfYWRkcmVzcyI6Imh0dHBzOi8vYXBwIiwiYXBpX2", "tleSI6ImEwYjFjMmQzLWU0ZjUtNjc4OS1hYmNkIn0="),
        "gitlab": ("gl", "pat-", made_up("gitlab", 20)), "gitlab trigger": ("gl", "ptt-", made_up("glptt", 40, _HEX)),
        "gitlab job": ("gl", "cbt-", "64_" + made_up("glcbt", 20)), "gitlab feed": ("gl", "ft-", made_up("glft", 20)),
        "gitlab runner": ("gl", "rt-", made_up("glrt", 20)), "gitlab agent": ("gl", "agent-", made_up("agent", 50)),
        "gitlab registration": ("GR13", "48941", made_up("registration", 20)),
        "pypi": ("py", "pi-AgE", "IcHlwaS5vcmc" + made_up("pypi", 60)), "npm": ("np", "m_", made_up("npm", 36)),
        "rubygems": ("ruby", "gems_", made_up("gems", 48, _HEX)), "clojars": ("CLO", "JARS_", made_up("clojars", 60, lower)),
        "docker": ("dc", "kr_pat_", "a1-b2_C3d4-E5f6_G7h8-I9j0K"), "docker org": ("dc", "kr_oat_", made_up("oat", 32)),
        "nvidia": ("nv", "api-", made_up("nvapi", 64)), "groq": ("gs", "k_", made_up("groq", 52)),
        "replicate": ("r", "8_", made_up("r8", 37)), "xai": ("xa", "i-", made_up("xai", 80)),
        "perplexity": ("pp", "lx-", made_up("pplx", 48)), "together": ("tg", "p_v1_", made_up("tgp", 43)),
        "fireworks": ("f", "w_", made_up("fw", 24)), "wandb": ("wan", "db_v1_", made_up("wandb", 64)),
        "langsmith": ("lsv", "2_pt_", made_up("ls", 32, _HEX) + "_" + made_up("ls", 10, _HEX)),
        "langfuse": ("s", "k-lf-", uuid), "voyage": ("p", "a-", made_up("voyage", 43)), "jina": ("ji", "na_", made_up("jina", 60)),
        "kaggle": ("KG", "AT_", made_up("kgat", 32, _HEX)), "elevenlabs": ("s", "k_", made_up("eleven", 48, _HEX)),
        "databricks": ("da", "pi", made_up("dapi", 32, _HEX)), "digitalocean": ("do", "p_v1_", made_up("dop", 64, _HEX)),
        "alibaba": ("LT", "AI", made_up("ltai", 20)), "heroku": ("HR", "KU-AA", made_up("hrku", 58)),
        "cloudflare": ("v1", ".0-", made_up("cf", 24, _HEX) + "-" + made_up("cf", 146, _HEX)),
        "fly": ("fo", "1_", made_up("fo1", 43)), "fly 2": ("fm", "2_", made_up("fm2", 100)),
        "supabase": ("sb", "p_", made_up("sbp", 40, _HEX)), "netlify": ("nf", "p_", made_up("nfp", 36)),
        "tailscale": ("ts", "key-", "auth-" + made_up("ts", 17) + "-" + made_up("tskey", 32)),
        "planetscale": ("psc", "ale_tkn_", made_up("ps", 43)), "pulumi": ("pu", "l-", made_up("pul", 40, _HEX)),
        "linear": ("lin", "_api_", made_up("lin", 40)), "notion": ("nt", "n_", "12345678901" + made_up("ntn", 35)),
        "notion old": ("sec", "ret_", made_up("notion", 43)), "figma": ("fi", "gd_", made_up("figd", 40)),
        "atlassian": ("ATA", "TT3", made_up("atatt", 186)), "bitbucket": ("AT", "BB", made_up("atbb", 32)),
        "airtable": ("pa", "t", made_up("airtable", 14) + "." + made_up("airtable", 64, _HEX)),
        "postman": ("PM", "AK-", made_up("pmak", 24, _HEX) + "-" + made_up("pmak", 34, _HEX)),
        "sendgrid": ("S", "G.", made_up("sg", 22) + "." + made_up("sendgrid", 43)),
        "brevo": ("xkey", "sib-", made_up("brevo", 64, _HEX) + "-" + made_up("brevo", 16)),
        "mailgun": ("k", "ey-", made_up("mailgun", 32, _HEX)), "mailchimp": ("", made_up("chimp", 32, _HEX), "-us12"),
        "twilio": ("S", "K", made_up("twilio", 32, _HEX)), "telegram": ("1234567890", ":A", "A" + made_up("telegram", 33)),
        "discord": ("M", made_up("discord", 23), "." + made_up("d", 6) + "." + made_up("discord bot", 38)),
        "shopify": ("shp", "at_", made_up("shpat", 32, _HEX)), "square": ("sq0", "atp-", made_up("sq0", 22)),
        "facebook": ("EA", "AM", made_up("facebook", 110)), "shippo": ("ship", "po_live_", made_up("shippo", 40, _HEX)),
        "vault": ("hv", "s.", made_up("hvs", 95)), "vault batch": ("hv", "b.", made_up("hvb", 140)),
        "doppler": ("dp", ".pt.", made_up("doppler", 43)), "doppler service": ("dp", ".st.", "dev." + made_up("st", 40)),
        "grafana": ("gl", "sa_", made_up("glsa", 32) + "_" + made_up("glsa", 8, _HEX)), "grafana cloud": ("gl", "c_", made_up("glc", 60)),
        "new relic": ("NR", "AK-", made_up("nrak", 27, upper)), "dynatrace": ("dt0", "c01.", made_up("dt", 24, upper) + "." + made_up("dt", 64, upper)),
        "1password": ("A", "3-", "-".join(made_up("op", size, upper) for size in (6, 6, 5, 5, 5, 5))),
        "age": ("AGE-SEC", "RET-KEY-1", made_up("age", 58, "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L")),
        "openshift": ("sha", "256~", made_up("openshift", 43)), "terraform": (made_up("tf", 14), ".atl", "asv1." + made_up("atlas", 67)),
        "azure client": ("aB1", "8", "Q~" + made_up("azure", 33)), "sentry": ("sntr", "yu_", made_up("sentry", 64, _HEX)),
        "sonar": ("sq", "u_", made_up("squ", 40, _HEX)), "artifactory": ("AK", "Cp", made_up("akcp", 69)),
        "launchdarkly": ("sd", "k-", uuid), "plaid": ("acc", "ess-production-", uuid), "adobe": ("p8", "e-", made_up("p8e", 32, lower)),
    }  # fmt: skip
    return {kind: "".join(pieces) for kind, pieces in table.items()}


TOKENS = _tokens()
"""Known by their prefix or their build."""

VALUE = "hunter2" + "Kx9"
"""A password that somebody made up: it has no shape, and what is around it tells."""

AROUND = {
    "address": f"https://me:{VALUE}@example.org/x", "mongo": f"mongodb+srv://me:{VALUE}@cluster0.example.net/db",
    "redis": f"redis://:{VALUE}@cache:6379/0", "lone token": f"https://{VALUE}@github.com/o/r.git",
    "query": f"GET https://example.org/v1?access_token={VALUE}&page=2", "query key": f"https://example.org/v1?page=2&api_key={VALUE}",
    "fragment": f"https://example.org/cb#access_token={VALUE}&state=3",
    "sas": f"https://a.blob.core.windows.net/c?sv=2022&sig={VALUE}{VALUE}%3D", "azure": f"AccountName=a;AccountKey={VALUE}==;EndpointSuffix=x",
    "service bus": f"Endpoint=sb://a/;SharedAccessKeyName=Root;SharedAccessKey={VALUE}=", "sql": f"Server=db;User Id=sa;Password={VALUE};",
    "odbc": f"DRIVER=x;UID=sa;PWD={VALUE}", "libpq": f"host=db user=me password={VALUE} dbname=x",
    "bearer": f"Authorization: Bearer {VALUE}", "bearer alone": f"sent bearer {VALUE}q8{VALUE}", "token header": f"authorization: token {VALUE}",
    "header mapping": "{'Authorization': 'Bearer " + VALUE + "'}", "api header": f"X-Api-Key: {VALUE}",
    "api header mapping": "{'x-api-key': '" + VALUE + "'}", "header pair": f"[(b'x-api-key', b'{VALUE}')]",
    "header line": f"> x-api-key: {VALUE}", "cookie": f"Cookie: theme=dark; session={VALUE}", "set-cookie": f"Set-Cookie: sid={VALUE}; Path=/",
    "auth token": f"X-Auth-Token: {VALUE}", "netrc": f"machine example.org login me password {VALUE}",
    "netrc lines": f"machine example.org\n  login me\n  password {VALUE}\n", "netrc line": f"  password {VALUE}",
    "curl": f"+ curl -s -u me:{VALUE} https://example.org", "curl long": f"curl --user 'me:{VALUE}' https://example.org",
    "curl header": f"curl -H 'X-Api-Key: {VALUE}' https://example.org", "wget": f"wget --password={VALUE} https://example.org",
    "sshpass": f"sshpass -p {VALUE} ssh host", "slack hook": f"https://hooks.slack.com/services/T0/B0/{VALUE}{VALUE}",
    "discord hook": f"https://discord.com/api/webhooks/1234/{VALUE}{VALUE}", "teams hook": f"https://x.webhook.office.com/webhookb2/{VALUE}{VALUE}",
    "telegram api": f"https://api.telegram.org/bot1234567890:AA{VALUE}{VALUE}{VALUE}abc/send",
    "npmrc": f"//registry.npmjs.org/:_authToken={VALUE}", "pypirc": f"[pypi]\nusername = me\npassword = {VALUE}",
    "aws file": f"aws_secret_access_key = {VALUE}+{VALUE}/abc", "shell": f"export WANDB_API_KEY={VALUE}", "yaml": f"  client_secret: {VALUE}",
    "json": f'{{"user": "me", "password": "{VALUE}"}}', "json in json": f'{{"body": "{{\\"password\\": \\"{VALUE}\\"}}"}}',
    "keyword": f"connect(user='me', password='{VALUE}')", "repr": f"Config(name='x', api_key='{VALUE}', n=3)",
    "wireguard": f"PrivateKey = {VALUE}{VALUE}0123456789abcdefghijk=",
}  # fmt: skip
"""Known by what is around them: each text holds `VALUE`."""

KEY_LINES = [made_up(f"key {number}", 64) for number in range(6)] + [made_up("key end", 10) + "=="]
PRIVATE_KEY = "\n".join(["-----BEGIN " + "RSA PRIVATE KEY-----", *KEY_LINES, "-----END " + "RSA PRIVATE KEY-----"])

SECRETS = {**TOKENS, **AROUND, "private key": PRIVATE_KEY}

INNOCENT = [
    "dapibus_configuration_run_1234567890", "dapibus1234567890abcdefgh", "r8_int8_quantized_resnet50_calibrated_v2_final",
    "Bearer bearing_fault_dataset_v2", "bearer of bad news", "Basic understanding of transformers 2",
    "sk-learn-contrib-imbalanced-learn-2024-run-12", "hf_sentence_transformers_large_v2", "ghost_protocol_adaptive_training_v12",
    "da39a3ee5e6b4b0d3255bfef95601890afd80709", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "550e8400-e29b-41d4-a716-446655440000", "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "sha512-z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg==",
    "meta-llama/Llama-3.1-8B-Instruct", "mistralai/Mixtral-8x7B-v0.1", "openai/clip-vit-large-patch14-336", "Qwen2.5-72B-Instruct-GPTQ-Int4",
    "stabilityai/stable-diffusion-xl-base-1.0", "facebook/wav2vec2-large-960h-lv60-self", "timm/vit_base_patch16_224.augreg2_in21k_ft_in1k",
    "runs/2024-11-21_03-03-00/checkpoint-20000/pytorch_model-00001-of-00004.safetensors", "key=val", "key: value1", "sort_key=name1",
    "primary_key: user_id_2", "cache_key=resnet50_cifar10_v3", "max_tokens=4096", "tokens per second: 12345.67", "num_tokens: 1234567",
    "prompt_tokens=1024 completion_tokens=2048 total_tokens=3072", "pad_token=<pad>, eos_token='<|endoftext|>'", "pad_token_id: 128009",
    "password_strength = \"Strong1\"", "credential_dataset = \"CIFAR10\"", "the secretary problem with 100 candidates", "SECRETARY=Ms1Jones",
    "password: required", "Password: ", "secret: false", "tokenizer_key: input_ids2", "attention.key.weight: 0.123456789",
    "state['encoder.layers.0.attention.key.weight'] = w1", "torch.Size([1, 3, 224, 224])", "https://example.org/data?page=2&sort_key=name#top",
    "https://arxiv.org/abs/1706.03762v5", "s3://bucket/path/to/checkpoint-1000.pt", "git@github.com:owner/repo.git",
    "http://localhost:8888/tree?tokenizer=bert", "postgres://user:${PASSWORD}@host/db", "Authorization: Bearer $TOKEN", "authorization: denied",
    "authorization: required for project 12", "Cookie: accepted", "docker run -u 1000:1000 image", "curl https://example.org -o out.txt",
    "epoch 3: loss=0.3123456789 acc=0.9876543210 lr=1e-4", "0.12345678901234567 1732923456.123456789 -1.7976931348623157e+308",
    "run-20241121_073300-abc12def", "conv2d_12/kernel:0", "module.encoder.layer.11.attention.self.query.weight",
    "eyJustAWord", "api-reference-of-the-training-loop", "key-value-store-benchmark-2024", "pa-rameter-efficient-fine-tuning-of-language-models",
    "as-a-service-benchmark-for-language-models-v12", "secret_message_hidden_in_latents_v2", "npm_install_log_of_the_web_page_2024",
    "SKLearnClassifierWithCalibration12", "ASIAPACIFICREGION2024", "AKIA", "M4RIE.python.extension_module_with_long_name_v2",
    "a -----BEGIN PRIVATE KEY----- is how a private key begins", "-us12 is a suffix", "tensor([0.1234, 0.5678], device='cuda:0')",
    "step 1000/20000 [00:12<03:48, 83.2it/s, loss=0.231]", "CUDA_VISIBLE_DEVICES=0,1,2,3", "WORLD_SIZE=8 RANK=3 MASTER_ADDR=node12",
]  # fmt: skip
"""What projects of machine learning write every day, and holds nothing."""
