"""The other ways to fit a person that train something: PEFT's prefix, prompt and LoRA tuning, and full fine-tuning.

Every trained peer gets what ours gets: the same blocks, arithmetic, looks at the same early-stopping set and patience.
It takes more epochs, in steps of twice the tokens, under the same ceiling of tokens; of its grid the best setting by
that set is kept. Knows no product code but the base model, blocks and scoring.
"""

import copy
import hashlib
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PrefixTuningConfig, PromptTuningConfig, get_peft_model, initialize_kv_prefix_from_text
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tuning.base_model import BaseModel
from tuning.dataset import Block, num_tokens
from tuning.population import population_blocks
from tuning.precision import fast_arithmetic, fast_attention
from tuning.prefix import Prefix
from tuning.scoring import padded, passes, summed_losses
from tuning.trainee import Deck
from tuning.training import TrainingSettings

EPOCHS = 3  # times as many as ours: what starts further away may need longer
TOKENS_PER_STEP = 2  # times as many as ours, for which the rates of the grids were chosen; half brings PEFT no closer
LORA_RATES = {"1e-3": 1e-3, "5e-3": 5e-3}
_PADDED_TOKENS = 4096
State = dict[str, Tensor]
OnLook = Callable[[int, float, float], None]


@dataclass(frozen=True)
class Setting:
    """One point of a method's grid. make: a fresh trainable model around (a copy of) the base model's."""

    name: str
    learning_rate: float
    make: Callable[[BaseModel, Sequence[Block]], nn.Module]


@dataclass(frozen=True, eq=False)
class Fitted:
    """A peer fitted to one author. state: its trained tensors at the best look. seconds: of training the whole grid."""

    setting: Setting
    state: State
    stop_loss: float
    best_step: int
    seconds: float

    def model(self, base: BaseModel, train: Sequence[Block]) -> nn.Module:
        """The fitted model, ready to score."""
        model = self.setting.make(base, train)
        model.load_state_dict(self.state, strict=False)
        return model.eval()

    @property
    def num_bytes(self) -> int:
        """Of the trained tensors in 16 bits, as they would be kept."""
        return sum(2 * tensor.numel() for tensor in self.state.values())


@dataclass(frozen=True, eq=False)
class Best:
    """The best look of one training: the early-stopping loss, the trained tensors and the step."""

    loss: float
    state: State
    step: int


def grids(num_virtual_tokens: int, lora_start: State | None) -> dict[str, list[Setting]]:
    """Every trained peer's grid. lora_start: a LoRA trained on the population's texts."""

    def prefix(**options: Any) -> Callable[[BaseModel, Sequence[Block]], nn.Module]:
        return lambda base, _: _peft(
            base, PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=num_virtual_tokens, **options)
        )

    def from_text(base: BaseModel, train: Sequence[Block]) -> nn.Module:
        model = prefix()(base, train)
        words = base.decode([token for block in reversed(train) for token in block.token_ids[block.num_context :]])
        # PEFT's tokenizing adds no document start, and ours begins with it.
        start = str(base.tokenizer.decode([base.document_start_id]))
        initialize_kv_prefix_from_text(
            model, base.tokenizer, text=start + words, use_chat_template=False, max_length=num_virtual_tokens
        )
        return model

    def prompt(base: BaseModel, _: Sequence[Block]) -> nn.Module:
        return _peft(base, PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=num_virtual_tokens))

    def lora_from_population(base: BaseModel, train: Sequence[Block]) -> nn.Module:
        assert lora_start is not None
        model = lora(base, train)
        model.load_state_dict(lora_start, strict=False)
        return model

    made = {
        "peft_prefix": [
            Setting("random, 5e-2", 5e-2, prefix()),
            Setting("from text, 1e-2", 1e-2, from_text),
            Setting("from text, 5e-2", 5e-2, from_text),
            Setting("MLP, 1e-3", 1e-3, prefix(prefix_projection=True, encoder_hidden_size=512)),
        ],
        "peft_prompt": [Setting("5e-2", 5e-2, prompt)],
        "lora": [Setting(name, rate, lora) for name, rate in LORA_RATES.items()],
        "full": [Setting("2e-4", 2e-4, full)],
    }
    if lora_start is not None:
        made["lora_population"] = [Setting(name, rate, lora_from_population) for name, rate in LORA_RATES.items()]
    return made


def lora(base: BaseModel, _: Sequence[Block]) -> nn.Module:
    """LoRA of rank 8 on every linear layer (Hu et al. 2021)."""
    return _peft(base, LoraConfig(task_type="CAUSAL_LM", r=8, lora_alpha=16, target_modules="all-linear"))


def population_lora(base: BaseModel, texts: Sequence[str], settings: TrainingSettings, folder: Path) -> State:
    """A LoRA trained on the population's texts, as the population prefix is before its rehearsals, at the better of
    LoRA's rates; both are kept in `folder`, made once for each."""
    course = hashlib.sha256(json.dumps(recipe(settings), sort_keys=True).encode()).hexdigest()
    whole = repr((base.fingerprint, texts, course))
    digest = hashlib.sha256(whole.encode()).hexdigest()[:16]
    blocks: tuple[Sequence[Block], Sequence[Block]] | None = None
    losses: dict[Path, float] = {}
    for name, rate in LORA_RATES.items():
        kept = folder / f"lora-{digest}-{name}.safetensors"
        if not kept.exists():
            blocks = blocks or population_blocks(base, texts, settings.num_virtual_tokens)
            fitted = fit(base, [Setting(name, rate, lora)], *blocks, settings, seed=0)
            save_file(fitted.state, kept, metadata={"held_out_loss": repr(fitted.stop_loss)})
        with safe_open(kept, "pt") as opened:
            losses[kept] = float(opened.metadata()["held_out_loss"])
    return load_file(min(losses, key=losses.__getitem__))


def full(base: BaseModel, _: Sequence[Block]) -> nn.Module:
    """A copy of the base model whose every weight is trained."""
    model: nn.Module = _float32(base)
    return model.requires_grad_(True)


def allowed(settings: TrainingSettings) -> TrainingSettings:
    """For likeness: thrice our epochs in steps of twice our tokens, with as many tokens of warm-up, and at most."""
    return replace(
        racing(settings),
        tokens_per_step=TOKENS_PER_STEP * settings.tokens_per_step,
        warmup_steps=TOKENS_PER_STEP * settings.warmup_steps,
        max_steps=settings.max_steps // TOKENS_PER_STEP,
    )


def racing(settings: TrainingSettings) -> TrainingSettings:
    """For speed: thrice our epochs in steps like ours, in which PEFT is as close sooner (docs/likeness.md)."""
    return replace(settings, epochs=EPOCHS * settings.epochs)


def recipe(settings: TrainingSettings) -> dict[str, Any]:
    """All settings but those that touch ours alone and came after the peers' rows were measured."""
    return {name: value for name, value in asdict(settings).items() if name != "offset_kept"}


def fit(
    base: BaseModel,
    grid: Sequence[Setting],
    train: Sequence[Block],
    stop: Sequence[Block],
    settings: TrainingSettings,
    seed: int,
) -> Fitted:
    """The best of the grid by the early-stopping set."""
    began = time.process_time()
    fitted = [(setting, _fit_one(base, setting, train, stop, settings, seed)) for setting in grid]
    setting, best = min(fitted, key=lambda one: one[1].loss)
    return Fitted(setting, best.state, best.loss, best.step, time.process_time() - began)


def bits_per_char(model: nn.Module, blocks: Sequence[Block]) -> float:
    """Bits per character of the scored text."""
    with torch.no_grad():
        nats = sum(float(_losses(model, one.blocks).double().sum()) for one in passes([blocks], _PADDED_TOKENS))
    return nats / math.log(2) / sum(block.num_chars for block in blocks)


def build(base: BaseModel, setting: Setting, train: Sequence[Block], seed: int) -> nn.Module:
    """A fresh model to train, without dropout: a comparison of parametrisations."""
    torch.manual_seed(seed)
    model = setting.make(base, train).train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model


def train_one(
    base: BaseModel,
    model: nn.Module,
    learning_rate: float,
    train: Sequence[Block],
    stop: Sequence[Block],
    settings: TrainingSettings,
    seed: int,
    on_look: OnLook | None = None,
) -> Best:
    """Train a built model to its end.

    on_look(step, seconds, loss): at every look at the early-stopping set; seconds of wall time, of the steps alone.
    """
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=learning_rate, weight_decay=0.0)
    deck = Deck(tuple(train), settings.tokens_per_step, seed)
    best, without_gain, seconds = Best(math.inf, _state(model), 0), 0, 0.0
    steps = settings.steps_for(num_tokens(train))
    for step in range(steps + 1):
        if step % settings.evaluate_every == 0 or step == steps:
            loss = bits_per_char(model, stop)
            best, without_gain = (Best(loss, _state(model), step), 0) if loss < best.loss else (best, without_gain + 1)
            if on_look:
                on_look(step, seconds, loss)
        if step == steps or without_gain >= settings.patience:
            break
        began = time.monotonic()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * settings.schedule(step, steps)
        blocks = deck.deal()
        with fast_attention(base, model):
            with fast_arithmetic(base):
                losses = _losses(model, blocks)
            (losses.sum() / num_tokens(blocks)).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(trainable, settings.clip_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seconds += time.monotonic() - began
    return best


def _fit_one(
    base: BaseModel,
    setting: Setting,
    train: Sequence[Block],
    stop: Sequence[Block],
    settings: TrainingSettings,
    seed: int,
) -> Best:
    model = build(base, setting, train, seed)
    return train_one(base, model, setting.learning_rate, train, stop, settings, seed)


def _losses(model: nn.Module, blocks: Sequence[Block]) -> Tensor:
    inputs, targets, mask = padded(blocks, next(model.parameters()).device)
    logits = model(input_ids=inputs, attention_mask=mask).logits  # prompt tuning's have its virtual tokens in front
    return summed_losses(logits[:, -inputs.shape[1] :], targets)


def _state(model: nn.Module) -> State:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters() if parameter.requires_grad}


def _peft(base: BaseModel, config: Any) -> nn.Module:
    model: nn.Module = get_peft_model(_float32(base), config)
    return model


def _float32(base: BaseModel) -> Any:
    return copy.deepcopy(base.model).to(torch.float32)


def as_prefix(model: Any, base: BaseModel) -> Prefix:
    """PEFT's trained prefix in our form, so that both are ranked by the same code."""
    with torch.no_grad():
        cache = model.get_prompt(batch_size=1)
    keys, values = zip(*((layer.keys[0].clone(), layer.values[0].clone()) for layer in cache.layers), strict=True)
    return Prefix(keys, values, base.fingerprint)
