"""The model: a small Llama, as Hugging Face names and rotates it.

Shapes: B sequences, T tokens, H hidden 256, A heads 8, D = H / A = 32, F feed-forward 768, V vocabulary 4096.
"""

import json

import torch
import torch.nn.functional as F
from torch import nn

CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 256, "intermediate_size": 768,
    "vocab_size": 4096, "num_hidden_layers": 6, "num_attention_heads": 8, "num_key_value_heads": 8, "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0, "bos_token_id": 3, "eos_token_id": 1, "pad_token_id": 0, "rope_scaling": None,
    "max_position_embeddings": 1024, "tie_word_embeddings": True, "hidden_act": "silu", "attention_bias": False,
    "mlp_bias": False, "torch_dtype": "bfloat16",
}
# Twelve heads of 32: rows of 384 and 1152 are whole blocks of the quantised formats.
SIZES = {"small": CONFIG, "shipped": {**CONFIG, "hidden_size": 384, "intermediate_size": 1152, "num_hidden_layers": 12, "num_attention_heads": 12, "num_key_value_heads": 12}}


def config_of(folder):
    """What a kept model is built by."""
    return json.loads((folder / "config.json").read_text())


class Norm(nn.Module):
    """Root-mean-square norm with a learned scale."""

    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        """(B, T, H) to (B, T, H)."""
        return F.rms_norm(x, self.weight.shape, self.weight, CONFIG["rms_norm_eps"])


def rotate(x, cos, sin):
    """Turn (B, A, T, D) by the angles (T, D/2): the first half of D pairs with the second."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


def attend(q, k, v, later):
    """Causal attention of queries (B, A, T, D) to keys and values of as many or more tokens; `later` (N, N) is -inf above its diagonal.

    On a CPU in plain products: the way back of torch's fused attention takes four times as long there with such small heads.
    """
    T, S = q.shape[2], k.shape[2]
    if q.is_cuda and T == S:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    scores = (q * q.shape[-1] ** -0.5) @ k.mT
    return (scores + later[S - T:S, :S]).softmax(-1).to(v.dtype) @ v


class Attention(nn.Module):
    """Causal self-attention."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            setattr(self, name, nn.Linear(width, width, bias=False))

    def forward(self, x, cos, sin, later, past=None):
        """(B, T, H) to (B, T, H); `past` holds the keys and values of earlier tokens and is extended."""
        B, T, H = x.shape
        # 1. Project and split into heads: (B, A, T, D).
        q, k, v = (p(x).view(B, T, self.heads, -1).transpose(1, 2) for p in (self.q_proj, self.k_proj, self.v_proj))
        # 2. Rotate queries and keys by their positions.
        q, k = rotate(q, cos, sin).to(v.dtype), rotate(k, cos, sin).to(v.dtype)
        # 3. Join the past.
        if past is not None:
            if past:
                k, v = torch.cat((past[0], k), 2), torch.cat((past[1], v), 2)
            past[:] = [k, v]
        # 4. Attend, merge the heads, project: (B, T, H).
        y = attend(q, k, v, later)
        return self.o_proj(y.transpose(1, 2).reshape(B, T, H))


class Feed(nn.Module):
    """The gated feed-forward part."""

    def __init__(self, width, inner):
        super().__init__()
        self.gate_proj = nn.Linear(width, inner, bias=False)
        self.up_proj = nn.Linear(width, inner, bias=False)
        self.down_proj = nn.Linear(inner, width, bias=False)

    def forward(self, x):
        """(B, T, H) to (B, T, F) to (B, T, H)."""
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    """One layer: attention and feed-forward, each after a norm and added to the stream."""

    def __init__(self, c):
        super().__init__()
        self.input_layernorm = Norm(c["hidden_size"])
        self.self_attn = Attention(c["hidden_size"], c["num_attention_heads"])
        self.post_attention_layernorm = Norm(c["hidden_size"])
        self.mlp = Feed(c["hidden_size"], c["intermediate_size"])

    def forward(self, x, cos, sin, later, past=None):
        """(B, T, H) to (B, T, H)."""
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, later, past)
        return x + self.mlp(self.post_attention_layernorm(x))


class Stack(nn.Module):
    """Embedding, layers and the last norm."""

    def __init__(self, c):
        super().__init__()
        self.embed_tokens = nn.Embedding(c["vocab_size"], c["hidden_size"])
        self.layers = nn.ModuleList(Layer(c) for _ in range(c["num_hidden_layers"]))
        self.norm = Norm(c["hidden_size"])


class Seed(nn.Module):
    """The whole model; the head is the embedding."""

    def __init__(self, c=CONFIG):
        super().__init__()
        self.config = c
        self.model = Stack(c)
        half = c["hidden_size"] // c["num_attention_heads"] // 2
        rates = c["rope_theta"] ** (-torch.arange(half).float() / half)
        angles = torch.outer(torch.arange(c["max_position_embeddings"]).float(), rates)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)
        places = c["max_position_embeddings"]
        self.register_buffer("later", torch.full((places, places), float("-inf")).triu(1), persistent=False)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                nn.init.normal_(weight, std=0.05 if "embed" in name else weight.shape[1] ** -0.5 * 0.6)
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                nn.init.normal_(weight, std=0.006)

    def stream(self, ids, past=None, tap=None):
        """1. Token ids (B, T) to the normed stream (B, T, H); `tap` is given the stream after two thirds of the layers."""
        start = past[0][0].shape[2] if past and past[0] else 0
        cos, sin = self.cos[start:start + ids.shape[1]], self.sin[start:start + ids.shape[1]]
        x = self.model.embed_tokens(ids)
        for number, layer in enumerate(self.model.layers):
            x = layer(x, cos, sin, self.later, past[number] if past is not None else None)
            if tap is not None and number == len(self.model.layers) * 2 // 3 - 1:
                tap.append(x)
        return self.model.norm(x)

    def lm_head(self, stream):
        """The scores (…, V) of a stream (…, H): the head is the embedding."""
        return F.linear(stream, self.model.embed_tokens.weight)

    def misses(self, stream, wanted):
        """The loss of each wanted token (N,) by the stream (N, H) before it."""
        return F.cross_entropy(self.lm_head(stream).float(), wanted, reduction="none")

    def loss(self, ids, weights, first=8.0, marks=None, lookup=None):
        """2. Mean loss over the completions' tokens, to which others are added by their weight: `weights` (B, T) is 1 where the token
        is one of the completion, less where it is to be learned as well, and 0 where it is only read.

        The first token of a completion, which decides between answer and refusal, counts `first` times.
        With `marks` (B, T), -1 where there is none, `lookup` must tell the class of every part of the
        selector and of every slot that the wish names from the stream after two thirds of the layers; it is no part of the model and is not kept with it.
        """
        tap = []
        stream = self.stream(ids[:, :-1], tap=tap)
        where = weights[:, 1:] > 0
        # Only the places that count meet the head: (places, H) to (places, V).
        losses = self.misses(stream[where], ids[:, 1:][where])
        weight = weights[:, 1:][where]
        own = weight == 1
        starts = own & (weights[:, :-1][where] < 1)
        total = (losses * torch.where(starts, first, weight)).sum() / own.sum()
        told = torch.zeros((), device=ids.device)
        marked = marks[:, :-1] >= 0 if marks is not None else None
        if lookup is not None and marked.any():
            middle = F.rms_norm(tap[0][marked].float(), tap[0].shape[-1:])
            told = F.cross_entropy(lookup(middle).float(), marks[:, :-1][marked])
            total = total + 0.3 * told
        return total, losses.detach()[own].mean(), losses.detach()[starts].mean(), told.detach()
