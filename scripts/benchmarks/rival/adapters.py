"""Writes adapters of random weights that both sides load: `adapters.py FOLDER NAME…`, a NAME such as 1b-r8-qv or 1b-r16-all.

Each becomes FOLDER/NAME, a folder as PEFT writes it, and FOLDER/NAME.gguf, the same weights for llama.cpp. `qv` are PEFT's default
products for Llama, queries and values; `all` are all seven.
"""

import json
import sys
from pathlib import Path

import gguf
import numpy

# hidden, inner, layers, heads, key-value heads: those of models.py
SHAPES = {"135m": (576, 1536, 30, 9, 3), "1b": (2048, 5632, 22, 32, 4)}
PRODUCTS = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
TARGETS = {"qv": ["self_attn.q_proj", "self_attn.v_proj"], "all": list(PRODUCTS)}


def main():
    folder = Path(sys.argv[1])
    for name in sys.argv[2:]:
        if not (folder / f"{name}.gguf").exists():
            write(folder, name, *name.split("-"))


def write(folder, name, model, rank, targets):
    rank = int(rank[1:])
    hidden, inner, layers, heads, key_value_heads = sizes(model)
    keys = hidden // heads * key_value_heads
    random = numpy.random.default_rng(rank)
    shapes = {
        "self_attn.q_proj": (hidden, hidden),
        "self_attn.k_proj": (keys, hidden),
        "self_attn.v_proj": (keys, hidden),
        "self_attn.o_proj": (hidden, hidden),
        "mlp.gate_proj": (inner, hidden),
        "mlp.up_proj": (inner, hidden),
        "mlp.down_proj": (hidden, inner),
    }
    part = folder / f"{name}.part"
    writer = gguf.GGUFWriter(part, "llama")
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, 2.0 * rank)
    tensors = {}
    for layer in range(layers):
        for product in TARGETS[targets]:
            rows, columns = shapes[product]
            for half, shape in (("A", (rank, columns)), ("B", (rows, rank))):
                values = (random.standard_normal(shape, dtype=numpy.float32) * 0.1 * columns**-0.5).astype(numpy.float16)
                tensors[f"base_model.model.model.layers.{layer}.{product}.lora_{half}.weight"] = values
                writer.add_tensor(f"blk.{layer}.{PRODUCTS[product]}.weight.lora_{half.lower()}", values)
    peft = folder / name
    peft.mkdir(parents=True, exist_ok=True)
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": 2 * rank, "target_modules": TARGETS[targets]}
    (peft / "adapter_config.json").write_text(json.dumps(config) + "\n")
    safetensors(peft / "adapter_model.safetensors", tensors)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    part.rename(folder / f"{name}.gguf")


def sizes(model):
    if model != "seed":
        return SHAPES[model]
    path = Path(__file__).resolve().parents[3] / "inference-worker/seed/model/config.json"
    raw = json.loads(path.read_text())
    names = ["hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads"]
    return tuple(raw[name] for name in names)


def safetensors(path, tensors):
    header, offset = {}, 0
    for name, values in tensors.items():
        header[name] = {"dtype": "F16", "shape": list(values.shape), "data_offsets": [offset, offset + values.nbytes]}
        offset += values.nbytes
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for values in tensors.values():
            file.write(values.tobytes())


main()
