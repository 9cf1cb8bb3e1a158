"""Small speech networks and their files, for several tests."""

import json
import struct
from pathlib import Path

import numpy as np
import torch

BANDS, FRAMES, WORDS = 8, 100, 40
CODES = {torch.float32: 0, torch.int8: 1, torch.int16: 2, torch.int32: 3, torch.float16: 4}
END, START, PLAIN = 20, 21, 22
VOCABULARY = {**{letter: i for i, letter in enumerate("abcdefghijklmnopqrst")}, "<|endoftext|>": END}
VOCABULARY |= {"<|startoftranscript|>": START, "<|notimestamps|>": PLAIN}


def whisper_architecture(**more) -> dict:
    """A Whisper that hears one second."""
    return {
        "model_type": "whisper",
        **{f"{half}_{key}": n for half in ("encoder", "decoder") for key, n in SIZES.items()},
        "d_model": 16,
        "vocab_size": WORDS,
        "num_mel_bins": BANDS,
        "max_source_positions": FRAMES // 2,
        "max_target_positions": 24,
        "pad_token_id": END,
        "bos_token_id": END,
        "eos_token_id": END,
        "decoder_start_token_id": START,
        **more,
    }


SIZES = {"layers": 2, "attention_heads": 2, "ffn_dim": 32}


def whisper(seed: int = 0):
    """A WhisperForConditionalGeneration with weights large enough for words to depend on the sound."""
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = WhisperForConditionalGeneration(WhisperConfig(**whisper_architecture(init_std=0.5)))
    return module.eval()


def ctranslate2_variables(module) -> dict[str, torch.Tensor]:
    """The weights of a Whisper by CTranslate2's names, as its converter writes them."""
    state, config = module.state_dict(), module.config
    found: dict[str, torch.Tensor] = {}

    def copy(theirs: str, ours: str, norm: bool = False) -> None:
        found[f"{theirs}/{'gamma' if norm else 'weight'}"] = state[f"{ours}.weight"]
        found[f"{theirs}/{'beta' if norm else 'bias'}"] = state[f"{ours}.bias"]

    def stack(theirs: str, ours: str, parts: str) -> None:
        weights = [state[f"{ours}.{part}_proj.weight"] for part in parts]
        biases = [state.get(f"{ours}.{part}_proj.bias", torch.zeros(config.d_model)) for part in parts]
        found[f"{theirs}/weight"], found[f"{theirs}/bias"] = torch.cat(weights), torch.cat(biases)

    for half in ("encoder", "decoder"):
        found[f"{half}/num_heads"] = torch.tensor(getattr(config, f"{half}_attention_heads"), dtype=torch.int16)
        found[f"{half}/position_encodings/encodings"] = state[f"model.{half}.embed_positions.weight"]
        copy(f"{half}/layer_norm", f"model.{half}.layer_norm", norm=True)
        for i in range(getattr(config, f"{half}_layers")):
            theirs, ours = f"{half}/layer_{i}", f"model.{half}.layers.{i}"
            copy(f"{theirs}/self_attention/layer_norm", f"{ours}.self_attn_layer_norm", norm=True)
            stack(f"{theirs}/self_attention/linear_0", f"{ours}.self_attn", "qkv")
            copy(f"{theirs}/self_attention/linear_1", f"{ours}.self_attn.out_proj")
            if half == "decoder":
                copy(f"{theirs}/attention/layer_norm", f"{ours}.encoder_attn_layer_norm", norm=True)
                stack(f"{theirs}/attention/linear_0", f"{ours}.encoder_attn", "q")
                stack(f"{theirs}/attention/linear_1", f"{ours}.encoder_attn", "kv")
                copy(f"{theirs}/attention/linear_2", f"{ours}.encoder_attn.out_proj")
            copy(f"{theirs}/ffn/layer_norm", f"{ours}.final_layer_norm", norm=True)
            copy(f"{theirs}/ffn/linear_0", f"{ours}.fc1")
            copy(f"{theirs}/ffn/linear_1", f"{ours}.fc2")
    for conv in ("conv1", "conv2"):
        copy(f"encoder/{conv}", f"model.encoder.{conv}")
    found["decoder/embeddings/weight"] = state["model.decoder.embed_tokens.weight"]
    found["decoder/pre_norm"] = torch.tensor(1, dtype=torch.int8)
    found["decoder/activation"] = torch.tensor(3, dtype=torch.int8)
    return found


PROJECTION = {"decoder/projection/weight": "decoder/embeddings/weight"}


def ctranslate2_file(
    variables: dict[str, torch.Tensor], aliases: dict[str, str] | None = None, specification: str = "WhisperSpec"
) -> bytes:
    """A model.bin of CTranslate2's version 6."""
    parts = [struct.pack("<I", 6), _string(specification), struct.pack("<II", 3, len(variables))]
    for name, tensor in variables.items():
        data = np.ascontiguousarray(tensor.numpy()).tobytes()
        shape = struct.pack(f"<B{tensor.ndim}I", tensor.ndim, *tensor.shape)
        parts += [_string(name), shape, struct.pack("<BI", CODES[tensor.dtype], len(data)), data]
    parts.append(struct.pack("<I", len(aliases or {})))
    parts += [_string(alias) + _string(name) for alias, name in (aliases or {}).items()]
    return b"".join(parts)


def _string(text: str) -> bytes:
    raw = text.encode() + b"\0"
    return struct.pack("<H", len(raw)) + raw


def whisper_tokenizer(folder: Path) -> None:
    """A tokenizer.json whose words are single letters."""
    from tokenizers import AddedToken, Tokenizer, decoders, models

    words = {**VOCABULARY, **{f"<|{i}|>": i for i in range(len(VOCABULARY), WORDS)}}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="a"))
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens([AddedToken(word, special=True) for word in words if word.startswith("<|")])
    tokenizer.save(str(folder / "tokenizer.json"))


def ctranslate2_folder(folder: Path, module, never: tuple[int, ...] = (), first: tuple[int, ...] = ()) -> Path:
    """A folder of a Whisper as faster-whisper publishes it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.bin").write_bytes(ctranslate2_file(ctranslate2_variables(module), PROJECTION))
    (folder / "config.json").write_text(json.dumps({"suppress_ids": never, "suppress_ids_begin": first}))
    whisper_tokenizer(folder)
    return folder


def wav2vec2_architecture(norm: str, model_type: str = "wav2vec2") -> dict:
    """A network that steps 20 samples at a time."""
    return {
        "model_type": model_type,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "vocab_size": 8,
        "conv_dim": [8, 8],
        "conv_kernel": [10, 4],
        "conv_stride": [5, 4],
        "num_conv_pos_embeddings": 8,
        "num_conv_pos_embedding_groups": 2,
        "feat_extract_norm": norm,
        "do_stable_layer_norm": norm == "layer",
        "initializer_range": 0.5,
    }


def letters_tokenizer(folder: Path) -> None:
    """The files of a Wav2Vec2CTCTokenizer."""
    symbols = ["<pad>", "<s>", "</s>", "<unk>", "|", "a", "b", "c"]
    (folder / "vocab.json").write_text(json.dumps({symbol: i for i, symbol in enumerate(symbols)}))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "Wav2Vec2CTCTokenizer", "pad_token": "<pad>", "word_delimiter_token": "|"})
    )
