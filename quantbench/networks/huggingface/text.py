"""Networks of transformers that read text.

A head says what a network answers: class logits, an embedding, or
where in a paragraph an answer lies.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from quantbench.errors import UserError
from quantbench.networks.huggingface.pooling import POOLINGS, Embedding, embedding_of
from quantbench.networks.huggingface.question_answering import best_answer, windower
from quantbench.networks.huggingface.weights import (
    Opened,
    Source,
    build,
    open_source,
    read_tokenizer,
    weights_identity,
)
from quantbench.networks.network import Item, Network
from quantbench.quant import QuantizationError

_QUESTION = "Where do the ships that the town is known for come from?"
_TEXT = (
    "The harbour was built in the nineteenth century, when the ships came from the north with timber and left with "
    "salt. Today the old warehouses are flats, offices and a museum, which 40,000 people visit every year."
)


@dataclass(frozen=True)
class Head:
    """What transformers calls the module, and what its outputs become: `answer(embedding)(outputs, mask)`, [n, ...]."""

    auto_class: str
    answer: Callable[[Embedding], Callable[[Any, Tensor], Tensor]]


def load(source: Source, head: str, max_length: int, stride: int, pooling: str | None = None) -> Network:
    """The network of a source with one of the HEADS; see `huggingface.load`."""
    opened = open_source(source)
    name, vocabulary = source.name, getattr(opened.config, "vocab_size", None)
    if vocabulary is None:
        raise UserError(f"{name} reads no text: its configuration has no vocabulary")
    padding = _padding(opened.config, vocabulary)
    module: Any = build(opened, HEADS[head].auto_class)
    if padding is None:
        module.config.get_text_config().pad_token_id = module.config.pad_token_id = -1
    embedding, remarks = Embedding(), list[str]()
    if head == "embedding":
        embedding, remarks = _declared(opened, pooling, max_length)
        max_length = min(max_length, embedding.length or max_length)
    _check_length(module, max_length)
    _check_stride(stride)
    names = _arguments(module)
    _answer_with(name, module, names, HEADS[head].answer(embedding))
    tokenizer = cache(partial(read_tokenizer, name, opened.tokenizer_folder, vocabulary))
    noise = partial(_noise, names, vocabulary, max_length, _end(opened.config))
    preprocess, decode = _READERS[head](name, tokenizer, names, max_length, stride, embedding)
    classes = opened.config.num_labels if head == "sequence_classification" else None
    return Network(
        name=name,
        module=module.eval(),
        preprocess=preprocess,
        decode=decode,
        example=tuple(tensor[None] for tensor in _example(opened, head, preprocess, max_length) or noise(0)),
        noise=noise,
        pad=tuple(float(padding or 0) if each == "input_ids" else 0.0 for each in names),
        masked="attention_mask" in names,
        weights=weights_identity(opened),
        preprocessing=f"tokenizer {opened.tokenizer_version}, at most {max_length} tokens"
        + (f", windows every {stride}" if head == "question_answering" else "")
        + (f", {embedding.words}" if head == "embedding" else ""),
        outputs=classes,
        classes=None if classes is None else _classes(name, opened.config, classes),
        remarks=tuple(remarks),
    )


def _classes(name: str, config: Any, count: int) -> tuple[str, ...]:
    """What the configuration calls the outputs. Raises UserError where it says two things of one."""
    usual = [f"LABEL_{i}" for i in range(count)]
    names = [str((config.id2label or {}).get(i, usual[i])) for i in range(count)]
    places = {str(label): place for label, place in (config.label2id or {}).items()}
    if sorted(map(str, places.values())) == sorted(map(str, range(count))) and not set(usual) & set(places):
        other = sorted(places, key=lambda label: int(places[label]))
        if names not in (usual, other):
            raise UserError(f"{name}: id2label and label2id of its config.json contradict each other: mend one of them")
        names = other
    return tuple(names)


def _logits(outputs: Any, mask: Tensor) -> Tensor:
    """Class logits [n, classes]."""
    logits: Tensor = outputs.logits
    return logits


def _start_and_end(outputs: Any, mask: Tensor) -> Tensor:
    """Logits of start and end, [n, tokens, 2], zeros behind the text."""
    return torch.stack([outputs.start_logits, outputs.end_logits], -1) * mask[..., None]


def _pooled(embedding: Embedding) -> Callable[[Any, Tensor], Tensor]:
    """Embeddings of the last hidden states: [n, hidden]."""
    return lambda outputs, mask: embedding.pool(outputs.last_hidden_state, mask)


HEADS = {
    "question_answering": Head("AutoModelForQuestionAnswering", lambda _: _start_and_end),
    "sequence_classification": Head("AutoModelForSequenceClassification", lambda _: _logits),
    "embedding": Head("AutoModel", _pooled),
}


def _declared(opened: Opened, pooling: str | None, max_length: int) -> tuple[Embedding, list[str]]:
    """The embedding that is declared beside the weights or chosen, and what the user shall know of it."""
    source, folder = opened.source, opened.folder
    if folder is None and source.architecture is None:
        folder = opened.tokenizer_folder()
    found, remarks = embedding_of(folder, pooling), []
    if not found.declared and pooling is None and source.asset is None and folder is not None:
        remarks.append(
            f"{source.name} declares no pooling (there is no modules.json): the mean over the text is taken, "
            f"model.pooling= can be {', '.join(POOLINGS)}"
        )
    if found.length is not None and found.length < max_length:
        remarks.append(f"{source.name} declares that it reads {found.length} tokens: texts are cut off there")
    return found, remarks


def _read_paragraphs(
    name: str, tokenizer: Callable[[], Any], names: tuple[str, ...], max_length: int, stride: int, embedding: Embedding
) -> tuple[Callable[[Any], list[Item]], Callable[[Any, Tensor], Any]]:
    windows = cache(lambda: windower(tokenizer(), max_length, stride))

    def preprocess(raw: Any) -> list[Item]:
        return [_item(names, window.inputs) for window in windows()(*_texts(name, raw, 2))]

    def decode(raw: Any, outputs: Tensor) -> str:
        return best_answer(raw[1], windows()(*raw), outputs.double().numpy())

    return preprocess, decode


def _read_to_classify(
    name: str, tokenizer: Callable[[], Any], names: tuple[str, ...], max_length: int, stride: int, embedding: Embedding
) -> tuple[Callable[[Any], list[Item]], None]:
    def preprocess(raw: Any) -> list[Item]:
        return [_tokens(tokenizer(), names, max_length, *_texts(name, raw, 1, 2))]

    return preprocess, None


def _read_to_compare(
    name: str, tokenizer: Callable[[], Any], names: tuple[str, ...], max_length: int, stride: int, embedding: Embedding
) -> tuple[Callable[[Any], list[Item]], Callable[[Any, Tensor], Any]]:
    def preprocess(raw: Any) -> list[Item]:
        return [_tokens(tokenizer(), names, max_length, embedding.text(text)) for text in _texts(name, raw, 1, 2)]

    def decode(raw: Any, outputs: Tensor) -> float:
        """How alike the embeddings of the two texts are: the cosine of their angle, where nothing else is declared."""
        _texts(name, raw, 2)
        first, second = outputs.double()
        return embedding.compare(first, second)

    return preprocess, decode


_READERS: dict[str, Callable[..., tuple[Callable[[Any], list[Item]], Callable[[Any, Tensor], Any] | None]]] = {
    "question_answering": _read_paragraphs,
    "sequence_classification": _read_to_classify,
    "embedding": _read_to_compare,
}


def _texts(name: str, raw: Any, *counts: int) -> tuple[str, ...]:
    texts = (raw,) if isinstance(raw, str) else raw
    if not isinstance(texts, tuple) or len(texts) not in counts or not all(isinstance(text, str) for text in texts):
        wanted = " or ".join({1: "a text", 2: "a pair of texts"}[count] for count in counts)
        raise UserError(f"{name} reads {wanted}, the samples of this task are something else: choose another task")
    return texts


def _tokens(tokenizer: Any, names: tuple[str, ...], max_length: int, *texts: str) -> Item:
    found = tokenizer(*texts, truncation=True, max_length=max_length)
    return _item(names, {key: torch.tensor(values) for key, values in found.items()})


def _item(names: tuple[str, ...], inputs: Mapping[str, Tensor]) -> Item:
    """What the tokenizer gave, in the order of the network's arguments; a second text that is not marked is none."""
    return tuple(inputs[name] if name in inputs else torch.zeros_like(inputs["input_ids"]) for name in names)


def _noise(names: tuple[str, ...], vocabulary: int, max_length: int, end: int | None, seed: int) -> Item:
    """A text of full length whose words are drawn by `seed`; where the network knows an end of text, one at the end."""
    tokens = torch.randint(vocabulary, (max_length,), generator=torch.Generator().manual_seed(seed))
    if end is not None and 0 <= end < vocabulary:
        tokens[tokens == end] = (end + 1) % vocabulary
        tokens[-1] = end
    return _item(names, {"input_ids": tokens, "attention_mask": torch.ones(max_length, dtype=torch.int64)})


def _end(config: Any) -> int | None:
    """The token for the end of a text, the first where there are several; None where the configuration has none."""
    end = getattr(config, "eos_token_id", None)
    return end[0] if isinstance(end, list) and end else end if isinstance(end, int) else None


def _example(opened: Opened, head: str, preprocess: Callable[[Any], list[Item]], max_length: int) -> Item | None:
    """A real text of full length; None where no tokenizer can be had, or none is needed."""
    if opened.source.weights == "random" and opened.source.architecture is not None:
        return None
    text = " ".join([_TEXT] * (1 + max_length // len(_TEXT.split())))
    try:
        return preprocess((_QUESTION, text) if head == "question_answering" else text)[0]
    except UserError:
        return None


def _arguments(module: nn.Module) -> tuple[str, ...]:
    """The arguments that are given to a network: tokens, and a mask and types that tell two texts apart, if read."""
    parameters = inspect.signature(module.forward).parameters
    masked = "attention_mask" in parameters
    types = "token_type_ids" in parameters and getattr(module.config, "type_vocab_size", 0) > 1
    return ("input_ids", *(("attention_mask",) if masked else ()), *(("token_type_ids",) if types else ()))


def _padding(config: Any, vocabulary: int) -> int | None:
    """The token that fills up a batch; None, in the configuration too, where what that names is none of the vocabulary.

    Then the first token does, hidden by the mask. A decoder takes its answer from the last token that is not padding:
    once it is built it is told -1, which no text has, and so it takes the last, in a batch too. A network whose answers
    then depend on the filler is found when it is run.
    """
    padding = getattr(config, "pad_token_id", None)
    if isinstance(padding, int) and 0 <= padding < vocabulary:
        return padding
    if padding is not None:
        config.get_text_config().pad_token_id = config.pad_token_id = None
    return None


def _answer_with(name: str, module: nn.Module, names: tuple[str, ...], answer: Callable[[Any, Tensor], Tensor]) -> None:
    """Let the module take tensors by position and give one tensor; its layers keep their names.

    What an architecture says of inputs that it cannot take becomes a UserError.
    """
    original = type(module)

    class Answering(original):  # type: ignore[misc,valid-type]
        def forward(self, *batch: Tensor) -> Tensor:
            given = dict(zip(names, batch, strict=True))
            try:
                outputs = original.forward(self, **given)
            except QuantizationError:
                raise
            except (ValueError, AssertionError, TypeError) as error:
                reason = " ".join(str(error).split())[:200]
                raise UserError(f"{name} cannot be run on a batch of texts as they are ({reason})") from error
            return answer(outputs, given.get("attention_mask", torch.ones_like(given["input_ids"])))

    Answering.__name__ = original.__name__
    module.__class__ = Answering


def _check_length(module: nn.Module, max_length: int) -> None:
    positions = getattr(module.config, "max_position_embeddings", None)
    for name, child in module.named_modules():
        if name.endswith("position_embeddings") and isinstance(child, nn.Embedding) and child.padding_idx is not None:
            positions = child.num_embeddings - child.padding_idx - 1  # RoBERTa and MPNet count from behind padding
    if not isinstance(max_length, int) or max_length < 8 or (positions and max_length > positions):
        most = f" to {positions}, the positions that the network has" if positions else ""
        raise UserError(f"model.max_length={max_length}: must be an integer from 8{most}")


def _check_stride(stride: int) -> None:
    if isinstance(stride, bool) or not isinstance(stride, int) or stride < 1:
        raise UserError(f"model.stride={stride}: must be an integer of at least 1")
