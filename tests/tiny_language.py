"""Small language networks whose answers are known, for several tests."""

import json
from pathlib import Path

import torch

HIDDEN = 8
LOW = (-1.0, -1.0)
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WIDTH = 3.0
"""Logit of a score of one."""


def marked_network(folder: Path, scores: dict[str, tuple[float, float]], words: tuple[str, ...] = ()) -> Path:
    """A folder with a BERT that reads answers off its tokens, and a tokenizer of the words.

    The scores of a word, as start and as end of an answer, are within the disc of radius 2; its logits are WIDTH times
    that. All other words have the scores LOW. Layers stand between, but what they add is small.
    """
    from transformers import BertConfig, BertForQuestionAnswering

    vocabulary = [*SPECIAL, *dict.fromkeys((*scores, *words))]
    tokenizer_files(folder, vocabulary)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=HIDDEN,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=128,
    )
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        module = BertForQuestionAnswering(config)
        for name, parameter in module.named_parameters():
            if "position_embeddings" in name or "token_type" in name:
                parameter.zero_()
            elif ".output.dense" in name:
                parameter.normal_(0, 1e-3)
        embeddings = module.bert.embeddings.word_embeddings.weight
        for row, word in enumerate(vocabulary):
            embeddings[row] = _embedding(*scores.get(word, LOW))
        module.qa_outputs.weight.zero_()
        module.qa_outputs.weight[0, 0] = module.qa_outputs.weight[1, 1] = WIDTH
        module.qa_outputs.bias.zero_()
    module.save_pretrained(folder)
    return folder


def _embedding(start: float, end: float) -> torch.Tensor:
    """Mean 0 and variance 1, so that layer normalization leaves it as it is."""
    rest = (4 - start**2 - end**2) ** 0.5
    return torch.tensor([start, end, -start, -end, rest, -rest, 0.0, 0.0])


def tokenizer_files(folder: Path, vocabulary: list[str]) -> None:
    """A WordPiece tokenizer as BERT's, of lower case and without accents."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "BertTokenizer", "do_lower_case": True})
    )


def tokenizer(folder: Path, *words: str):
    """The tokenizer of these words."""
    from transformers import AutoTokenizer

    tokenizer_files(folder, [*SPECIAL, *words])
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


def architecture(model_type: str = "bert", attention: str = "eager", **more) -> dict:
    """A small configuration of transformers."""
    return {
        "model_type": model_type,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "vocab_size": 120,
        "max_position_embeddings": 66,
        "attn_implementation": attention,
        **more,
    }
