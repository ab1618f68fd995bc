"""Critics that never saw the pairs they are valued on: splits, their training, their values.

A split is a part of the rows to learn from, a part to choose by, and a part to value. Everything
that is fitted, chosen or stopped uses the first two, so that the value on the third has a bound's
mean. The critics of all splits are trained as one stack.
"""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from mlcpc import bounds, canonical
from mlcpc.estimators import SAMPLE_SEED
from mlcpc.samples import Standardiser, Table
from mlcpc.shapes import Tensor
from mlcpc.training import Trainee, fit
from mlcpc.valuation import Valuation

BLOCK = 2048  # held-out pairs that are scored against one another; more are seen in blocks
BLOCKS = 10  # blocks that a split is valued on at most
_WIDE = 32  # columns up to which the network reads them as they are
_COMPONENTS = 20  # principal components that it reads besides of more
_HIGH = 2.5  # nats of the normal pair from which smoother margins are tried
_AVERAGED = 0.99  # share that the average of the weights keeps at a step
_VALIDATED = 768  # validation rows that decide when to stop
_SMALL = 128  # rows of a batch up to which one thread trains: more would mostly wait for each other
_GAIN = 0.002  # nats by which the validation value must rise for training to go on
_TRUST = 10  # times the step size, for how much of the normal pair is believed
STABLE = 0.95  # of ρ, up to which single precision serves the log ratio


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows that belong together, and those that are held out.

    Args:
        train, valid, test: places of the rows, shuffled unless the order is one of time.
        groups: group of each of the N rows, or None where each row is its own.
        ordered: whether the rows are a time series.
    """

    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray
    groups: np.ndarray | None = None
    ordered: bool = False

    def blocks(self, rows: np.ndarray, size: int = BLOCK) -> list[np.ndarray]:
        """Rows in blocks of near equal size, no two of a group in one block.

        Rows of a time series are dealt out in turn, so that neighbours fall into different blocks.
        """
        parts = [rows] if self.groups is None else layers(rows, self.groups)
        least = min(10, max(2, len(parts[0]) // 2))
        found = []
        for layer in parts:
            count = -(-len(layer) // size)
            if self.ordered:
                found += [layer[k::count] for k in range(count)]
            else:
                found += np.array_split(layer, count)
        return [each for each in found if len(each) >= least]


def layers(rows: np.ndarray, groups: np.ndarray) -> list[np.ndarray]:
    """The first row of each group, the second of each that has two, and so on."""
    order = np.argsort(groups[rows], kind="stable")
    of_group = groups[rows][order]
    starts = np.flatnonzero(np.r_[True, of_group[1:] != of_group[:-1]])
    turn = np.arange(len(rows)) - np.repeat(starts, np.diff(np.r_[starts, len(rows)]))
    place = np.empty(len(rows), dtype=np.int64)
    place[order] = turn
    return [rows[place == k] for k in range(turn.max() + 1)]


def splits(
    count: int, folds: int, seed: int, groups: np.ndarray | None, ordered: bool
) -> list[Rows]:
    """First a half against the other half, then each fold against all others.

    Args:
        count: N.
        folds: parts of the rows; each is held out once.
        seed: of the shuffling.
        groups: group of each row; rows of a group are never on both sides.
        ordered: cut contiguous parts, and leave out rows next to what is held out.
    """
    generator = np.random.default_rng([SAMPLE_SEED, seed])
    if ordered:
        return _in_order(count, folds)
    order = generator.permutation(count)
    if groups is not None:  # whole groups, in random order
        rank = generator.permutation(int(groups.max()) + 1)
        order = order[np.argsort(rank[groups[order]], kind="stable")]
    held = [np.array_split(order, 2)[0], *np.array_split(order, folds)]
    if groups is not None:
        held = [np.flatnonzero(np.isin(groups, groups[each])) for each in held]
        taken = np.zeros(count, dtype=bool)  # a group at a border goes to the first of both
        for each in range(1, len(held)):
            held[each] = held[each][~taken[held[each]]]
            taken[held[each]] = True
        held = [generator.permutation(each) for each in held]
    found = []
    for test in held:
        rest = order[~np.isin(order, test)]
        cut = max(10, len(rest) // 5)
        if groups is not None:  # the border of validation and training is one of groups
            border = groups[rest[min(cut, len(rest) - 1)]]
            cut = int((groups[rest] == border).argmax()) or cut
        found.append(Rows(rest[cut:], rest[:cut], test, groups))
    return found


def _in_order(count: int, folds: int) -> list[Rows]:
    rows, gap = np.arange(count), max(1, count // 50)
    found = []
    for test in [rows[count // 2 :], *np.array_split(rows, folds)]:
        before, after = rows[: max(0, test[0] - gap)], rows[test[-1] + 1 + gap :]
        rest = np.concatenate([after, before])  # as on a ring, so that one end is the validation's
        held = max(10, len(rest) // 5)
        found.append(Rows(rest[: -held - gap], rest[-held:], test, None, ordered=True))
    return found


# ---------------------------------------------------------------------------------------------
# What a split knows before training
# ---------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Features:
    """Columns that a split's critic reads, all fitted on its own training and validation rows.

    Args:
        scales: standardisers of x and of y; None where an encoder reads the samples.
        normal: the normal pair that the critic starts from, or None.
        net_x, net_y: maps from standardised columns to the inputs of the network.
        strong: whether the normal pair says much, and what it says holds on validation rows.
    """

    scales: tuple[Standardiser | None, Standardiser | None]
    normal: canonical.Canonical | None
    net_x: Callable
    net_y: Callable
    strong: bool = False

    def of(self, x: np.ndarray | None, y: np.ndarray | None, like: Tensor) -> tuple[Tensor, ...]:
        """Coordinates u and v (float64), and the inputs of the network, of rows of tables."""
        wide = [
            None if scale is None else torch.from_numpy(scale(values)).to(like.device)
            for scale, values in zip(self.scales, (x, y), strict=True)
        ]
        u = v = None
        if self.normal is not None:
            u, v = self.normal.coordinates(
                *(z[:, scale.ordered] for z, scale in zip(wide, self.scales, strict=True))
            )
        inputs = [
            None if z is None else net(z).to(like)
            for net, z in ((self.net_x, wide[0]), (self.net_y, wide[1]))
        ]
        return u, v, *inputs


def features(
    x: Table | None, y: Table | None, rows: Rows, how: str, init: str, seed: int, device: str
) -> Features:
    """Fit the margins, the normal pair and the inputs of the network of a split."""
    best, highest = None, -math.inf
    for margins in (how,) if how != "ranks" else ("ranks", "smooth", "moments"):
        scales = [None if z is None else Standardiser(z, rows.train, margins) for z in (x, y)]
        columns = [
            [
                None if z is None else torch.from_numpy(scale(z.values[part])).to(device)
                for part in (rows.train[:50_000], rows.valid[:20_000])
            ]
            for z, scale in zip((x, y), scales, strict=True)
        ]
        normal = None
        if init == "gaussian" and None not in (x, y):
            generator = torch.Generator().manual_seed(SAMPLE_SEED + seed)
            pairs = [
                z[part][:, scale.ordered]
                for part in (0, 1)
                for z, scale in zip(columns, scales, strict=True)
            ]
            normal = canonical.fit(*pairs, generator)
            normal = _weakened(normal, *pairs[2:])
        value = 0.0
        if normal is not None and normal.gain > _HIGH:
            value = _block_value(Valuation("ml_cpc"), normal, *pairs[2:])
        if best is None or value > highest + 0.02:
            nets = [_inputs(each[0]) for each in columns]
            strong = value > 0.0 and value > 0.8 * normal.gain
            best, highest = Features(tuple(scales), normal, *nets, strong), value
        if value == 0.0:
            break
    return best


def _weakened(normal: canonical.Canonical, x: Tensor, y: Tensor) -> canonical.Canonical:
    """The normal pair, or one that is next to nothing where it is worse than nothing.

    Of columns that are far from normal even the best log ratio of a normal pair may be misleading.
    """
    value = _block_value(Valuation("cpc"), normal, x, y)
    return normal if value > 0 else replace(normal, rho=0.02 * normal.rho)


def _block_value(how: Valuation, normal: canonical.Canonical, x: Tensor, y: Tensor) -> float:
    u, v = normal.coordinates(x[:_VALIDATED], y[:_VALIDATED])
    return how(canonical.log_ratio(u, v, normal.rho))[0]


def _inputs(columns: Tensor | None) -> Callable:
    """What the network reads: columns as they are, or principal components and they, scaled."""
    if columns is None:
        return lambda z: z
    width = columns.shape[1]
    if width == 1:
        return lambda z: z
    if width <= _WIDE:
        return _with_length(columns)
    mean = columns.mean(0)
    part = columns[:20_000] - mean
    generator = torch.Generator().manual_seed(SAMPLE_SEED)
    basis = torch.randn(width, 2 * _COMPONENTS, generator=generator, dtype=columns.dtype)
    basis = basis.to(columns.device)
    for _ in range(4):
        basis = torch.linalg.qr(part.mT @ (part @ basis))[0]
    _, values, right = torch.linalg.svd(part @ basis, full_matrices=False)
    components = (basis @ right.mT)[:, :_COMPONENTS]
    components = components / (values[0] / math.sqrt(len(part)))
    if width > 1024:
        return lambda z: (z - mean) @ components
    share, with_length = 1 / math.sqrt(width), _with_length(columns)

    def inputs(z: Tensor) -> Tensor:
        all_columns = with_length(z)
        return torch.cat([(z - mean) @ components, share * z, all_columns[:, -1:]], dim=1)

    return inputs


def _with_length(columns: Tensor) -> Callable:
    """Columns, and the log length of a row: heavy tails often share no more than a scale."""

    def length(z: Tensor) -> Tensor:
        return z.square().mean(dim=1, keepdim=True).add(1e-6).log()

    mean, spread = length(columns).mean(), length(columns).std().clamp_min(1e-6)
    return lambda z: torch.cat([z, (length(z) - mean) / spread], dim=1)


# ---------------------------------------------------------------------------------------------
# Critics of all splits
# ---------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Split:
    """A split with the features of all rows.

    Args:
        rows: what it learns from and what is held out.
        features: how its columns are made.
        u, v: canonical coordinates of all rows, float64, or None.
        x, y: inputs of the network, (N, ·), or what an encoder reads.
    """

    rows: Rows
    features: Features
    u: Tensor | None
    v: Tensor | None
    x: Tensor
    y: Tensor

    def start(self, i: Tensor, j: Tensor) -> Tensor | float:
        """Log ratios of the normal pair for rows i and j, (n, m)."""
        if self.u is None:
            return 0.0
        rho = self.features.normal.rho
        if self.u.dtype == self.y.dtype:
            rho = rho.to(self.y.dtype)
        return canonical.log_ratio(self.u[i], self.v[j], rho).to(self.y.dtype)


class Stack(nn.Module):
    """The networks of all splits, and their own copies of a user's encoders.

    Args:
        networks: a stack with one critic a split.
        encoders: two lists, of x and of y, each with a copy for each split or empty.

    Attributes:
        trust: factor of the normal pair's log ratio, one for each split. It starts at one and is
            trained, since of clusters and of kinks a normal pair claims what the network would
            first have to unlearn. It stays at one where that pair is strong.
    """

    def __init__(self, networks: nn.Module, encoders: Sequence[Sequence[nn.Module]]) -> None:
        super().__init__()
        self.networks = networks
        like = next(networks.parameters())
        self.trust = nn.Parameter(torch.ones(networks.replicates, 1, 1).to(like))
        self.encode_x, self.encode_y = (nn.ModuleList(each) for each in encoders)

    def forward(self, splits: Sequence[int], x: Sequence[Tensor], y: Sequence[Tensor]) -> Tensor:
        """Scores (splits, n, n) of a batch of each of some splits."""
        if len(self.encode_x):
            x = [self.encode_x[k](z) for k, z in zip(splits, x, strict=True)]
        if len(self.encode_y):
            y = [self.encode_y[k](z) for k, z in zip(splits, y, strict=True)]
        return self._networks(splits, torch.stack(list(x)), torch.stack(list(y)))

    def _networks(self, splits: Sequence[int], x: Tensor, y: Tensor) -> Tensor:
        if len(splits) == (count := self.networks.replicates):
            return self.networks(x, y)
        weights = {
            # the networks of x and y share their later layers: 2 · splits
            name: each.unflatten(0, (-1, count))[:, list(splits)].flatten(0, 1)
            for name, each in self.networks.named_parameters()
        }
        return torch.func.functional_call(self.networks, weights, (x, y))

    def one(self, split: int, x: Tensor, y: Tensor) -> Tensor:
        """Scores (n, m) by the critic of one split."""
        if len(self.encode_x):
            x = torch.cat([self.encode_x[split](each) for each in x.split(512)])
        if len(self.encode_y):
            y = torch.cat([self.encode_y[split](each) for each in y.split(512)])
        return self._networks([split], x[None], y[None])[0]

    def groups(self, rate: float) -> list[dict]:
        """All parameters with their step sizes."""
        others = [each for each in self.parameters() if each is not self.trust]
        return [{"params": others, "lr": rate}, {"params": [self.trust], "lr": _TRUST * rate}]

    def keep(self, kept: list[Tensor], better: np.ndarray) -> None:
        """Copy the weights of the splits that are better into a list of tensors like them."""
        copies = {id(w): each for w, each in zip(self.parameters(), kept, strict=True)}
        for weight in (self.trust, *self.networks.parameters()):
            which = torch.from_numpy(better).to(weight.device)
            which = which.repeat(len(weight) // len(better))
            copies[id(weight)][which] = weight[which]
        for encoders in (self.encode_x, self.encode_y):
            for split, encoder in enumerate(encoders):
                for weight in encoder.parameters() if better[split] else ():
                    copies[id(weight)].copy_(weight)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def batch_size(parts: Sequence[Split], config: object) -> int:
    """Rows of a training batch: at most as many as each split has rows or groups to learn from."""
    distinct = [
        len(part.rows.train)
        if part.rows.groups is None
        else len(np.unique(part.rows.groups[part.rows.train]))
        for part in parts
    ]
    return max(2, min(config.batch, *distinct))


class CrossFit(Trainee):
    """Splits, their critics, and how they are trained and valued.

    An epoch ends with a look at the validation parts. The value at a look is that of an average of
    the weights, and the best averaged weights of each split are kept.

    Args:
        parts: the splits.
        stack: their networks.
        config: training settings: batch, steps, eval_every, patience, learning_rate.
        seed: of the batches; every pair of samples draws its own, as if it were alone.
        members: pairs of samples whose splits these are, as many splits of each.

    Attributes:
        curve: validation values (splits,) of each look, NaN where a split had stopped.
        looks: the step of each look.
    """

    title = "estimate"

    def __init__(
        self, parts: list[Split], stack: Stack, config: object, seed: int, members: int = 1
    ) -> None:
        self.parts, self.stack, self.config = parts, stack, config
        self.first, self.each = 0, len(parts) // members
        self.random = [np.random.default_rng([SAMPLE_SEED, seed, 1]) for _ in range(members)]
        self.queues = [np.empty(0, dtype=np.int64) for _ in parts]
        whole, rest = divmod(config.steps, config.eval_every)
        self.steps = [config.eval_every] * whole + [rest] * (rest > 0)
        self.modules, self.weights = {"critics": stack}, list(stack.parameters())
        self.optimiser = torch.optim.Adam(stack.groups(config.learning_rate), fused=True)
        self.averaged, self.raw, self.best_weights = (
            [w.detach().clone() for w in self.weights] for _ in range(3)
        )
        self.best = np.full(len(parts), -math.inf)
        self.risen, self.last_better = self.best.copy(), np.zeros(len(parts))
        self.running = np.ones(len(parts), dtype=bool)
        free = torch.tensor([not part.features.strong for part in parts])[:, None, None]
        stack.trust.register_hook(lambda grad: grad * free.to(grad))
        self.size = batch_size(parts, config)
        self.curve: list[np.ndarray] = []
        self.looks: list[int] = []

    def scores(self, k: int, i: np.ndarray, j: np.ndarray) -> Tensor:
        """Scores (n, m) of rows i with rows j by the critic of split k."""
        part = self.parts[k]
        i, j = (torch.from_numpy(each).to(part.y.device) for each in (i, j))
        place = self.first + k
        net, start = self.stack.one(place, part.x[i], part.y[j]), part.start(i, j)
        return net + self.stack.trust[place] * start

    def _batch(self, k: int, size: int) -> np.ndarray:
        """Rows of a training batch: no row twice, and no two of a group."""
        if len(self.queues[k]) < size:
            rows = self.parts[k].rows
            random = self.random[k // self.each]
            order = random.permutation(rows.train)
            if rows.groups is not None:
                _, first = np.unique(rows.groups[order], return_index=True)
                order = random.permutation(order[first])
            self.queues[k] = order
        batch, self.queues[k] = self.queues[k][:size], self.queues[k][size:]
        return batch

    def _loss(self) -> Tensor:
        """The loss of all splits that have not stopped, each on a batch of its own."""
        drawn = {
            k: self._batch(k, self.size)
            for k in range(len(self.parts))
            if self.running[k - k % self.each :][: self.each].any()  # stopped ones draw on
        }
        splits = np.flatnonzero(self.running).tolist()
        pairs = [
            (part, torch.from_numpy(drawn[k]).to(part.y.device))
            for k, part in ((k, self.parts[k]) for k in splits)
        ]
        scores = self.stack(splits, [p.x[i] for p, i in pairs], [p.y[i] for p, i in pairs])
        if self.parts[0].u is not None:
            start = torch.stack([part.start(i, i) for part, i in pairs])
            scores = scores + self.stack.trust[splits] * start
        return -self.config.objective(*bounds.split(scores)).sum()

    @torch.no_grad()
    def _validate(self) -> np.ndarray:
        """Values on the validation rows, NaN for splits that have stopped."""
        self.stack.eval()
        found = np.full(len(self.parts), math.nan)
        for k in np.flatnonzero(self.running):
            part = self.parts[k]
            block = part.rows.blocks(part.rows.valid, _VALIDATED)[0]
            found[k] = self.config.objective(*bounds.split(self.scores(k, block, block))).item()
        self.stack.train()
        return found

    def step(self, epoch: int, step: int) -> dict[str, Tensor]:
        loss = self._loss()
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        with torch.no_grad():
            # At first the average covers about the last tenth of the steps.
            done = epoch * self.config.eval_every + step
            share = 1 - min(_AVERAGED, done / (done + 10))
            torch._foreach_lerp_(self.averaged, [w.detach() for w in self.weights], share)
        return {"loss": loss.detach()}

    def end(self, epoch: int) -> dict[str, float]:
        self._look(sum(self.steps[: epoch + 1]))
        return {}

    def say(self, parts: dict[str, Tensor], seconds: float, step: int) -> str:
        folds = self.best.reshape(-1, self.each)[:, 1:]
        return f"{folds.mean():.3f} nats"

    @torch.no_grad()
    def _look(self, step: int) -> None:
        """Value the averaged weights, and stop the splits that no longer gain."""
        torch._foreach_copy_(self.raw, self.weights)
        torch._foreach_copy_(self.weights, self.averaged)
        values = self._validate()
        better = self.running & (values > self.best)
        self.stack.keep(self.best_weights, better)
        torch._foreach_copy_(self.weights, self.raw)
        self.best = np.where(better, values, self.best)
        rises = values > self.risen + _GAIN
        self.last_better = np.where(rises, step, self.last_better)
        self.risen = np.where(rises, values, self.risen)
        self.curve.append(values)
        self.looks.append(step)
        self.running &= step - self.last_better < self.config.patience * self.config.eval_every
        self.finished = not self.running.any()

    def train(self, progress: bool = False) -> None:
        """Train until the validation parts say stop, or for all steps."""
        small = self.size <= _SMALL and not (len(self.stack.encode_x) or len(self.stack.encode_y))
        with _threads(1 if small else torch.get_num_threads()):
            self._look(0)
            fit(self, progress=progress)
        with torch.no_grad():
            torch._foreach_copy_(self.weights, self.best_weights)
        self.stack.eval()


def members(fit: CrossFit) -> list[CrossFit]:
    """The splits of each pair of samples by themselves, to be valued."""
    found = []
    for first in range(0, len(fit.parts), fit.each):
        some, member = slice(first, first + fit.each), copy.copy(fit)
        member.first, member.parts = first, fit.parts[some]
        curve = np.stack(fit.curve)[:, some]
        last = np.flatnonzero(np.isfinite(curve).any(axis=1))[-1] + 1
        member.curve, member.looks = list(curve[:last]), fit.looks[:last]
        member.finished = not fit.running[some].any()
        found.append(member)
    return found
