r"""What a student learns from a teacher: the losses of KD, CRD, CPC and ML-CPC, and the pairs.

The loss of a student is

    r · cross entropy  +  a · KD  +  b · contrast

KD (Hinton et al. 2015) compares softened logits. The contrast compares embeddings: what teacher and
student say of one image must be told from what they say of images of other classes. It is CRD
(Tian et al. 2020), CPC or ML-CPC, in both directions, with one memory slot for each image.

Students are trained by :mod:`mlcpc.experiments.distill`.
"""

import math

import torch
from torch import nn

from mlcpc import bounds, memory, networks
from mlcpc.shapes import Float, Tensor

Logits = Float[Tensor, "n classes"]
Positive = Float[Tensor, "n"]
Negative = Float[Tensor, "n k"]

# The 13 teachers and students of the literature, named teacher-student.
PAIRS = {
    f"{teacher}-{student}": (teacher, student)
    for teacher, student in (
        ("wrn-40-2", "wrn-16-2"),
        ("wrn-40-2", "wrn-40-1"),
        ("resnet56", "resnet20"),
        ("resnet110", "resnet20"),
        ("resnet110", "resnet32"),
        ("resnet32x4", "resnet8x4"),
        ("vgg13", "vgg8"),
        ("vgg13", "MobileNetV2"),
        ("ResNet50", "MobileNetV2"),
        ("ResNet50", "vgg8"),
        ("resnet32x4", "ShuffleNetV1"),
        ("resnet32x4", "ShuffleNetV2"),
        ("wrn-40-2", "ShuffleNetV1"),
    )
}
# Objective -> weights r, a, b where none are named.
WEIGHTS = {
    "kd": (0.1, 0.9, 0.0),  # scripts of Tian et al. 2020, their code
    "crd": (1.0, 0.0, 0.8),  # the same
    # The scripts of Song & Ermon 2020 say b = 0, which is plain KD; CRD's weights are our choice.
    "cpc": (1.0, 0.0, 0.8),
    "ml_cpc": (1.0, 0.0, 0.8),
}
OBJECTIVES = tuple(WEIGHTS)


def kd_loss(student: Logits, teacher: Logits, temperature: float = 4.0) -> Float[Tensor, ""]:
    r"""Knowledge distillation: softened predictions must agree.

    .. math:: T^2 \frac1n \sum_i \mathrm{KL}\big(\mathrm{softmax}(t_i / T) \,\|\,
              \mathrm{softmax}(s_i / T)\big)

    Args:
        student, teacher: logits s and t, (n, classes).
        temperature: T > 0. T² keeps the size of the gradient when T grows.

    Returns:
        the loss in nats, 0 where the predictions agree.

    Raises:
        ValueError: shapes that differ, no images, T not in (0, ∞).

    Source: Hinton, Vinyals & Dean 2015, arXiv 1503.02531; T = 4 is Tian et al. 2020.
    """
    if student.shape != teacher.shape or student.dim() != 2 or not student.numel():
        raise ValueError(
            f"student has shape {tuple(student.shape)}, teacher {tuple(teacher.shape)}; "
            "valid: (n, classes) twice, neither of them 0"
        )
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature is {temperature}; valid: temperature > 0")
    logs = [(each / temperature).log_softmax(1) for each in (student, teacher)]
    divergence = nn.functional.kl_div(*logs, reduction="batchmean", log_target=True)
    return temperature**2 * divergence


def crd_loss(
    positive: Positive, negative: Negative, samples: int, log_scale: float | Tensor
) -> Float[Tensor, ""]:
    r"""Contrastive representation distillation: is a pair of one image, or noise?

    .. math:: -\frac1n \sum_i \Big[ \log \frac{h(s_i)}{h(s_i) + K/N}
              + \sum_{k=1}^K \log \frac{K/N}{h(s_{ik}) + K/N} \Big], \qquad h(s) = e^s / Z

    Args:
        positive: scores s_i, (n,), cosines over the temperature.
        negative: scores s_ik of K others, (n, K).
        samples: N images in the memory; noise draws each with chance 1/N.
        log_scale: log Z, a constant that the literature sets in the first batch.

    Returns:
        the loss in nats, above 0.

    Raises:
        ValueError: shapes that do not fit, samples below 1.

    Source: Tian, Krishnan & Isola 2020, arXiv 1910.10699, equations 9 to 11, after Gutmann &
    Hyvärinen 2010. Their code adds 1e-7 to each denominator.
    """
    if positive.dim() != 1 or negative.dim() != 2 or not 0 < len(positive) == len(negative):
        raise ValueError(
            f"positive has shape {tuple(positive.shape)}, negative {tuple(negative.shape)}; "
            "valid: (n,) and (n, K) of one n > 0"
        )
    if samples < 1 or not negative.shape[1]:
        raise ValueError(
            f"samples is {samples}, of {negative.shape[1]} negatives; valid: 1 or more of both"
        )
    # log h − log(K/N): above zero where data are likelier than noise
    shift = log_scale + math.log(negative.shape[1] / samples)
    # softplus keeps one tensor for its backward, logsigmoid two; from 40 on log(1 + eˣ) is x
    missed = nn.functional.softplus(shift - positive, threshold=40)
    mistaken = nn.functional.softplus(negative - shift, threshold=40).sum(1)
    return (missed + mistaken).mean()


def contrast_loss(
    objective: str,
    positive: Positive,
    negative: Negative,
    alpha: float = 1.0,
    samples: int = 0,
    log_scale: float | Tensor = 0.0,
) -> Float[Tensor, ""]:
    r"""The contrast of one direction: :func:`crd_loss`, or ceiling minus bound.

    .. math:: \log \tfrac mα - L_α \quad\text{or}\quad \log \tfrac mα - J_α

    of :func:`mlcpc.bounds.cpc` and :func:`mlcpc.bounds.ml_cpc`, whose values no constant added to
    all scores changes.

    Args:
        objective: crd, cpc or ml_cpc.
        positive, negative: scores, (n,) and (n, m − 1).
        alpha: weight of the positives, for cpc and ml_cpc.
        samples, log_scale: N and log Z, for crd.

    Raises:
        ValueError: an unknown objective, shapes that do not fit, α outside (0, m].
    """
    if objective == "crd":
        return crd_loss(positive, negative, samples, log_scale)
    if objective not in ("cpc", "ml_cpc"):
        raise ValueError(f"objective is {objective!r}; valid: crd, cpc, ml_cpc")
    bound_of = bounds.cpc if objective == "cpc" else bounds.ml_cpc
    value = bound_of(positive, negative, alpha)
    return bounds.ceiling(negative.shape[1] + 1, alpha) - value


def other_classes(
    labels: Tensor, negatives: str = "sampled", count: int = 16384, alpha: float = 1.0
) -> memory.OtherClasses:
    """Where the negatives of the contrast come from; to be asked before a teacher is trained.

    Args:
        labels: class of each training image, (N,).
        negatives: "sampled", which draws ``count`` images of other classes, or "all" of them.
        count: negatives of an anchor when they are sampled.
        alpha: weight of the positives.

    Raises:
        ValueError: labels of one class, ``negatives="all"`` for classes of different sizes, an
            alpha above the number of candidates.
    """
    others = memory.OtherClasses(labels)
    candidates = 1 + (others.in_all() if negatives == "all" else count)
    if not 0 < alpha <= candidates:
        raise ValueError(f"alpha is {alpha}; valid: 0 < alpha <= {candidates} candidates")
    return others


class Contrast(nn.Module):
    """Projections and memories of a teacher and a student, and the contrast of both directions.

    A student's embedding is held against the memory of the teacher's, and a teacher's against the
    memory of the student's. Each image's positive is its own slot.

    Args:
        objective: crd, cpc or ml_cpc.
        teacher_dim, student_dim: lengths of the features of the two networks.
        labels: class of each training image, (N,).
        generator: source of the first vectors of the memories.
        alpha: weight of the positives, for cpc and ml_cpc.
        negatives, count: as in :func:`other_classes`.
        temperature: scores are cosines divided by it.
        dim: length of an embedding.
        momentum: share of its vector that a memory slot keeps.

    Raises:
        ValueError: an unknown objective; as :func:`other_classes`.
    """

    def __init__(
        self,
        objective: str,
        teacher_dim: int,
        student_dim: int,
        labels: Tensor,
        generator: torch.Generator,
        *,
        alpha: float = 1.0,
        negatives: str = "sampled",
        count: int = 16384,
        temperature: float = 0.07,
        dim: int = 128,
        momentum: float = 0.5,
    ) -> None:
        super().__init__()
        if objective not in ("crd", "cpc", "ml_cpc"):
            raise ValueError(f"objective is {objective!r}; valid: crd, cpc, ml_cpc")
        self.objective, self.alpha, self.temperature = objective, alpha, temperature
        self.negatives, self.count = negatives, count if negatives == "sampled" else None
        self.of_student = networks.Projection(student_dim, dim)
        self.of_teacher = networks.Projection(teacher_dim, dim)
        self.students, self.teachers = (
            memory.SampleMemory(len(labels), dim, momentum, generator) for _ in range(2)
        )
        self.others = other_classes(labels, negatives, count, alpha)
        # log Z of student's and of teacher's direction, set in the first batch (crd alone)
        self.register_buffer("log_scale", torch.full((2,), math.nan))

    def forward(
        self,
        index: Tensor,
        student: Float[Tensor, "n student_features"],
        teacher: Float[Tensor, "n teacher_features"],
        generator: torch.Generator,
    ) -> tuple[Float[Tensor, ""], Tensor, Tensor]:
        """Loss of images by their features, and their two embeddings, for :meth:`remember`.

        Args:
            index: their positions in the training set, (n,).
            student, teacher: features of the images by the two networks.
            generator: source of the negatives.
        """
        drawn = self.others.draw(index.cpu(), self.negatives, self.count, generator)
        positions = torch.cat([index[:, None].int(), drawn.to(index.device)], dim=1)
        del drawn
        embedded = self.of_student(student), self.of_teacher(teacher)
        total = 0.0
        directions = zip(embedded, (self.teachers, self.students), strict=True)
        for place, (anchors, slots) in enumerate(directions):
            scores = slots.scores(anchors / self.temperature, positions)
            if self.objective == "crd" and bool(self.log_scale[place].isnan()):
                mean = scores.detach().logsumexp((0, 1)) - math.log(scores.numel())
                self.log_scale[place] = mean + math.log(len(slots.vectors))
            # one split, and not two slices, whose gradients would be two tensors as large
            positive, negative = scores.split([1, scores.shape[1] - 1], dim=1)
            total = total + contrast_loss(
                self.objective,
                positive[:, 0],
                negative,
                self.alpha,
                len(slots.vectors),
                self.log_scale[place],
            )
        return total, *embedded

    def remember(self, index: Tensor, student: Tensor, teacher: Tensor) -> None:
        """Move the images' slots towards their embeddings; to be called after ``backward``."""
        self.students.update(index, student)
        self.teachers.update(index, teacher)
