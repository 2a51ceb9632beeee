"""Writes the models that both sides run: `models.py FOLDER NAME…`, each as FOLDER/NAME-{q8_0,q4_k}.gguf.

`seed` is the model of this repository; the others have the sizes of known models and random weights, for a figure needs no sense.
"""

import json
import sys
from pathlib import Path

import gguf
import numpy
from gguf import GGMLQuantizationType as Kind

ROOT = Path(__file__).resolve().parent.parent.parent.parent
SEED = ROOT / "inference-worker/seed/model"

# hidden, inner, layers, heads, key-value heads, vocabulary, tied
SHAPES = {
    "135m": (576, 1536, 30, 9, 3, 49152, True),
    "1b": (2048, 5632, 22, 32, 4, 32000, False),
}
KINDS = {"q8_0": Kind.Q8_0, "q4_k": Kind.Q4_K}


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[2:]:
        model, kind = name.rsplit("-", 1)
        path = folder / f"{name}.gguf"
        if not path.exists():
            write(path, model, KINDS[kind])


def write(path, model, kind):
    part = path.with_suffix(".part")
    writer = gguf.GGUFWriter(part, "llama")
    if model == "seed":
        config, tensors = seed()
    else:
        config, tensors = random_model(*SHAPES[model])
    writer.add_name(model)
    writer.add_context_length(config["context"])
    writer.add_embedding_length(config["hidden"])
    writer.add_block_count(config["layers"])
    writer.add_feed_forward_length(config["inner"])
    writer.add_head_count(config["heads"])
    writer.add_head_count_kv(config["key_value_heads"])
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(config["hidden"] // config["heads"])
    writer.add_vocab_size(config["vocabulary"])
    # Neither side turns text into tokens here; this is the least that both accept.
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(["a", "b", "ab"] + [f"<{number}>" for number in range(3, config["vocabulary"])])
    writer.add_token_types([1] * config["vocabulary"])
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    for name, values in tensors:
        if values.ndim == 1:
            writer.add_tensor(name, values.astype(numpy.float32))
        else:
            data = q4_k(values) if kind == Kind.Q4_K else gguf.quantize(values.astype(numpy.float32), kind)
            writer.add_tensor(name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    part.rename(path)


def q4_k(values):
    """Q4_K blocks of rows: gguf reads this kind but does not write it. Scales of 6 bits, their largest for each 256."""
    blocks = values.astype(numpy.float32).reshape(-1, 8, 32)
    least = numpy.minimum(blocks.min(axis=2), 0)
    scale = (blocks.max(axis=2) - least) / 15
    d = scale.max(axis=1, keepdims=True) / 63
    d_min = (-least).max(axis=1, keepdims=True) / 63
    d, d_min = d.astype(numpy.float16), d_min.astype(numpy.float16)
    with numpy.errstate(divide="ignore", invalid="ignore"):
        sc = numpy.nan_to_num(numpy.rint(scale / d.astype(numpy.float32))).clip(0, 63).astype(numpy.uint8)
        mn = numpy.nan_to_num(numpy.rint(-least / d_min.astype(numpy.float32))).clip(0, 63).astype(numpy.uint8)
        real_scale = (d.astype(numpy.float32) * sc)[:, :, None]
        real_least = (d_min.astype(numpy.float32) * mn)[:, :, None]
        quants = numpy.nan_to_num(numpy.rint((blocks + real_least) / real_scale)).clip(0, 15).astype(numpy.uint8)
    packed_scales = numpy.zeros((len(blocks), 12), numpy.uint8)
    packed_scales[:, 0:4] = sc[:, 0:4] | (sc[:, 4:8] >> 4) << 6
    packed_scales[:, 4:8] = mn[:, 0:4] | (mn[:, 4:8] >> 4) << 6
    packed_scales[:, 8:12] = (sc[:, 4:8] & 15) | (mn[:, 4:8] & 15) << 4
    pairs = quants.reshape(-1, 4, 2, 32)
    nibbles = (pairs[:, :, 0] | pairs[:, :, 1] << 4).reshape(-1, 128)
    parts = [d.view(numpy.uint8), d_min.view(numpy.uint8), packed_scales, nibbles]
    return numpy.concatenate(parts, axis=1).reshape(values.shape[0], -1)


def random_model(hidden, inner, layers, heads, key_value_heads, vocabulary, tied):
    config = {
        "hidden": hidden,
        "inner": inner,
        "layers": layers,
        "heads": heads,
        "key_value_heads": key_value_heads,
        "vocabulary": vocabulary,
        "context": 2048,
    }
    keys = hidden // heads * key_value_heads
    random = numpy.random.default_rng(1)

    def matrix(rows, columns):
        return (random.standard_normal((rows, columns), dtype=numpy.float32) * columns**-0.5).astype(numpy.float16)

    def tensors():
        yield "token_embd.weight", matrix(vocabulary, hidden)
        for layer in range(layers):
            yield f"blk.{layer}.attn_norm.weight", numpy.ones(hidden)
            yield f"blk.{layer}.attn_q.weight", matrix(hidden, hidden)
            yield f"blk.{layer}.attn_k.weight", matrix(keys, hidden)
            yield f"blk.{layer}.attn_v.weight", matrix(keys, hidden)
            yield f"blk.{layer}.attn_output.weight", matrix(hidden, hidden)
            yield f"blk.{layer}.ffn_norm.weight", numpy.ones(hidden)
            yield f"blk.{layer}.ffn_gate.weight", matrix(inner, hidden)
            yield f"blk.{layer}.ffn_up.weight", matrix(inner, hidden)
            yield f"blk.{layer}.ffn_down.weight", matrix(hidden, inner)
        yield "output_norm.weight", numpy.ones(hidden)
        if not tied:
            yield "output.weight", matrix(vocabulary, hidden)

    return config, tensors()


def seed():
    raw = json.loads((SEED / "config.json").read_text())
    config = {
        "hidden": raw["hidden_size"],
        "inner": raw["intermediate_size"],
        "layers": raw["num_hidden_layers"],
        "heads": raw["num_attention_heads"],
        "key_value_heads": raw["num_key_value_heads"],
        "vocabulary": raw["vocab_size"],
        "context": raw["max_position_embeddings"],
    }
    stored = brain_floats(SEED / "model.safetensors")

    def paired(values, heads):
        """GGUF's order of query and key rows: the two of a pair beside one another."""
        rows, columns = values.shape
        return values.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)

    def tensors():
        yield "token_embd.weight", stored["model.embed_tokens.weight"]
        for layer in range(config["layers"]):
            names = {
                "attn_norm": "input_layernorm",
                "attn_q": "self_attn.q_proj",
                "attn_k": "self_attn.k_proj",
                "attn_v": "self_attn.v_proj",
                "attn_output": "self_attn.o_proj",
                "ffn_norm": "post_attention_layernorm",
                "ffn_gate": "mlp.gate_proj",
                "ffn_up": "mlp.up_proj",
                "ffn_down": "mlp.down_proj",
            }
            for ours, theirs in names.items():
                values = stored[f"model.layers.{layer}.{theirs}.weight"]
                if ours == "attn_q":
                    values = paired(values, config["heads"])
                if ours == "attn_k":
                    values = paired(values, config["key_value_heads"])
                yield f"blk.{layer}.{ours}.weight", values
        yield "output_norm.weight", stored["model.norm.weight"]
        yield "output.weight", stored["lm_head.weight"]

    return config, tensors()


def brain_floats(path):
    """The tensors of a safetensors file of bfloat16, as float32."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    found = {}
    for name, info in header.items():
        assert info["dtype"] == "BF16", name
        start, end = info["data_offsets"]
        words = numpy.frombuffer(data[8 + length + start : 8 + length + end], numpy.uint16)
        found[name] = (words.astype(numpy.uint32) << 16).view(numpy.float32).reshape(info["shape"])
    return found


main()
