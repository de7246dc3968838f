"""TRL: its trainers are trainers of transformers, and take the same callback."""

from __future__ import annotations

import pytest
from training import ONLY_OURS, library, steps, torch_of_one_thread
from wandb_folder import installed, own_folder

import mlv

torch_of_one_thread()
trl = library("trl")
transformers = library("transformers")
Callback = library("mlv.integrations.transformers").Callback
datasets = library("datasets")
tokenizers = library("tokenizers")
pytestmark = ONLY_OURS
WORDS = ["a", "cat", "sat", "on", "the", "mat"]


@pytest.fixture
def tokenizer():
    """A tokenizer of whole words, made here: nothing is downloaded."""
    vocabulary = {word: number for number, word in enumerate(["<pad>", "<eos>", "<unk>", *WORDS])}
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    names = {"pad_token": "<pad>", "eos_token": "<eos>", "unk_token": "<unk>"}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=words, **names)


def test_fine_tuning(tmp_path, monkeypatch, tokenizer):
    """Supervised fine-tuning logs its own metrics beside those of every trainer, and its checkpoints."""
    monkeypatch.chdir(tmp_path)
    config = transformers.GPT2Config(vocab_size=len(tokenizer), n_positions=16, n_embd=8, n_layer=1, n_head=1)
    config.eos_token_id = config.bos_token_id = tokenizer.eos_token_id
    rows = datasets.Dataset.from_list([{"text": " ".join(WORDS)}] * 8)
    quick = {
        "per_device_train_batch_size": 4,
        "num_train_epochs": 2,
        "logging_steps": 1,
        "save_steps": 2,
        "eval_strategy": "epoch",
    }
    quiet = {"use_cpu": True, "bf16": False, "disable_tqdm": True, "report_to": "none"}
    trainer = trl.SFTTrainer(
        model=transformers.GPT2LMHeadModel(config),
        args=trl.SFTConfig("out", **quick, **quiet),
        train_dataset=rows,
        eval_dataset=rows,
        processing_class=tokenizer,
        callbacks=[Callback("runs", "sft")],
    )
    trainer.train()

    exp = mlv.Exp.open("runs/sft")
    assert steps(exp.path, "loss") == [1, 2, 3, 4]
    assert steps(exp.path, "eval/loss") == [2, 4]
    assert {"num_tokens", "mean_token_accuracy"} <= {*exp.summary()}
    assert exp.latest.step == 4
    assert exp.status == "ok"


def test_wandb(tmp_path, monkeypatch, tokenizer):
    """With `report_to="wandb"` it finds the drop-in for wandb."""
    with own_folder(tmp_path, monkeypatch), installed():
        config = transformers.GPT2Config(vocab_size=len(tokenizer), n_positions=16, n_embd=8, n_layer=1, n_head=1)
        config.eos_token_id = config.bos_token_id = tokenizer.eos_token_id
        trainer = trl.SFTTrainer(
            model=transformers.GPT2LMHeadModel(config),
            args=trl.SFTConfig(
                "out", max_steps=2, logging_steps=1, save_strategy="no", use_cpu=True, bf16=False, disable_tqdm=True,
                report_to="wandb", run_name="sft",
            ),
            train_dataset=datasets.Dataset.from_list([{"text": " ".join(WORDS)}] * 8),
            processing_class=tokenizer,
        )  # fmt: skip
        trainer.train()

    exp = mlv.Exp.open(tmp_path / "runs/huggingface/sft")
    assert exp.status == "ok"
    assert {"train/num_tokens", "train/loss", "train_runtime"} <= {*exp.summary()}
