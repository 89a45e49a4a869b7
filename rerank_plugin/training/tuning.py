"""What of the trunk learns: all of it, its joining only, or a few parameters beside weights that stay as they are.

``lora``, ``prefix`` and ``adapter`` change both readings: there is one trunk, so that what a pair says with attention
shut is what its two texts say apart, tuned or not, and a document's vector is made anew as after full tuning. Each
starts at exactly what the untouched trunk gives. LoRA is folded into the weights after training; prefix and adapter
stay in the graph, so that the exported folder needs nothing beside itself.

Why only LoRA comes from a library: ``peft`` takes no prefix outside of its own model classes and has no bottleneck
adapter, and ``adapters`` is tied to an older transformers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from rerank_plugin.errors import ConfigError

if TYPE_CHECKING:
    from rerank_plugin.training.settings import Settings
    from rerank_plugin.training.trunk import Trunk

#: Tunings that leave the trunk's own weights as they are and learn parameters beside them.
EFFICIENT = ("lora", "prefix", "adapter")
#: Parts of the names of such parameters.
ADDED = ("lora_", "prefix.", "adapter.")
#: What layers compute in, by the setting ``autocast``.
AUTOCAST = {"off": None, "bf16": torch.bfloat16, "fp16": torch.float16}
#: Transformers' name of the attention that reads a prefix, where there is one.
PREFIXED = "rerank_prefixed"


class Prefix(nn.Module):
    """Keys and values that every token attends to beside its text (Li and Liang 2021, arXiv 2101.00190), with an
    attention of their own behind a gate per head that starts shut (Zhang et al. 2023, LLaMA-Adapter, arXiv 2303.16199).

    In the text's own softmax the untrained keys would take weight away from the text from the first step.

    :param tokens: how many keys and values there are.
    """

    def __init__(self, tokens: int, *, heads: int, size: int) -> None:
        super().__init__()
        self.keys = nn.Parameter(torch.randn(heads, tokens, size))
        self.values = nn.Parameter(torch.randn(heads, tokens, size))
        self.gate = nn.Parameter(torch.zeros(heads, 1, 1))

    def forward(self, queries: Tensor) -> Tensor:
        """(n, heads, tokens, size) -> what is added to the attention's output, the same shape."""
        logits = queries @ self.keys.transpose(1, 2) * self.keys.shape[-1] ** -0.5  # (n, heads, tokens, prefix)
        said: Tensor = self.gate * (logits.softmax(dim=-1) @ self.values)
        return said


class Bottleneck(nn.Module):
    """A narrow layer on the output of another, with a way around it (Houlsby et al. 2019, arXiv 1902.00751).

    After the feed-forward sublayer only, the one place of two that Pfeiffer et al. (2021, arXiv 2005.00247) keep.

    :param layer: what it comes after; its weights stay in it.
    """

    def __init__(self, layer: nn.Linear, width: int) -> None:
        super().__init__()
        self.layer = layer
        down, up = nn.Linear(layer.out_features, width), nn.Linear(width, layer.out_features)
        nn.init.zeros_(up.weight)
        nn.init.zeros_(up.bias)
        self.adapter = nn.Sequential(down, nn.GELU(), up)

    def forward(self, hidden: Tensor) -> Tensor:
        """(n, tokens, inputs) -> (n, tokens, outputs)."""
        said: Tensor = self.layer(hidden)
        return said + cast(Tensor, self.adapter(said))


def require_accelerator(settings: Settings) -> None:
    """Nothing, where the machine computes as the settings say.

    :raises ConfigError: it has no accelerator, and they say half precision.
    """
    if settings.autocast == "fp16" and not torch.cuda.is_available():
        raise ConfigError("autocast=fp16 needs an accelerator, and torch finds none; use bf16")


def prepare(trunk: Trunk, settings: Settings) -> None:
    """Gives the trunk, in place, what it is trained with: how it computes, and the parameters that its tuning adds.

    :raises ConfigError: the layers have no place for them.
    """
    check(trunk, settings)
    trunk.autocast = AUTOCAST[settings.autocast]
    if settings.gradient_checkpointing == "on":
        trunk.recompute()
    leave_out(trunk, settings.dropout)
    layers = trunk.layers[settings.frozen_layers :]
    if settings.tuning == "lora":
        _lora(trunk, layers, settings)
    elif settings.tuning == "prefix":
        for layer in layers:
            _prefixed(_bert_attention(layer), settings.prefix_tokens)
    elif settings.tuning == "adapter":
        for layer in layers:
            name, module = _linear_maps(layer)[-1]
            put(layer, name, Bottleneck(module, settings.adapter_width))


def check(trunk: Trunk, settings: Settings) -> None:
    """Nothing, where the layers have a place for what the tuning adds.

    :raises ConfigError: they have none.
    """
    for layer in trunk.layers:
        if settings.tuning == "prefix" and _bert_attention(layer) is None:
            raise ConfigError(
                f"tuning=prefix reads attention as BERT has it, and {type(layer).__name__} has another; "
                "choose lora, adapter, full or head"
            )
        if settings.tuning in ("lora", "adapter") and not _linear_maps(layer):
            raise ConfigError(
                f"tuning={settings.tuning} changes linear maps, {type(layer).__name__} has none; choose full or head"
            )


def leave_out(trunk: nn.Module, share: float) -> None:
    """Sets, in place, the share of the trunk's activations that a step leaves out."""
    for module in trunk.modules():
        if isinstance(module, nn.Dropout):
            module.p = share


def added(trunk: nn.Module) -> list[nn.Parameter]:
    """The parameters that :func:`prepare` added."""
    return [each for name, each in trunk.named_parameters() if any(part in name for part in ADDED)]


def fold(trunk: nn.Module) -> None:
    """Adds what LoRA learned to the weights, in place, and takes its modules away; others have nothing to fold."""
    from peft.tuners.lora import LoraLayer

    for name, module in list(trunk.named_modules()):
        if isinstance(module, LoraLayer):
            cast(Any, module).merge(safe_merge=True)
            put(trunk, name, module.get_base_layer())


def put(tree: nn.Module, name: str, module: nn.Module) -> None:
    """Puts a module in another's place; ``name`` is the path to it."""
    parent, _, own = name.rpartition(".")
    setattr(tree.get_submodule(parent), own, module)


def _linear_maps(layer: nn.Module) -> list[tuple[str, nn.Linear]]:
    """By name, in the order of the layer: the last one ends its feed-forward sublayer in every family that we know."""
    return [(name, module) for name, module in layer.named_modules() if isinstance(module, nn.Linear)]


def _bert_attention(layer: nn.Module) -> Any:
    """The layer's self-attention where it is BERT's own; ``None`` where it is another."""
    from transformers.models.bert.modeling_bert import BertLayer

    return layer.attention.self if isinstance(layer, BertLayer) else None


def _lora(trunk: Trunk, layers: nn.ModuleList, settings: Settings) -> None:
    """Low-rank sums beside every linear map of the layers (Hu et al. 2021, arXiv 2106.09685)."""
    from peft import LoraConfig, inject_adapter_in_model

    chosen = {module for layer in layers for _, module in _linear_maps(layer)}
    names = [name for name, module in trunk.named_modules() if module in chosen]
    if names:
        config = LoraConfig(
            r=settings.lora_rank, lora_alpha=cast(int, settings.lora_alpha), lora_dropout=settings.dropout,
            target_modules=names,
        )  # fmt: skip
        inject_adapter_in_model(config, trunk)


def _prefixed(attention: Any, tokens: int) -> None:
    """Gives a self-attention of transformers a prefix, by the library's way of adding attentions."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import eager_mask

    AttentionInterface.register(PREFIXED, _attend)
    AttentionMaskInterface.register(PREFIXED, eager_mask)
    attention.config._attn_implementation = PREFIXED
    attention.prefix = Prefix(tokens, heads=attention.num_attention_heads, size=attention.attention_head_size)


def _attend(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **more: Any) -> Any:
    from transformers.models.bert.modeling_bert import eager_attention_forward

    said, weights = eager_attention_forward(module, query, key, value, mask, **more)
    prefix = getattr(module, "prefix", None)  # frozen layers have none
    return (said if prefix is None else said + prefix(query).transpose(1, 2)), weights
