"""The phases of images: class-wise means of low frequencies, then second moments around them and power of the others.

What a patient adds, and why its norm is at most S, is in `common.images.sums`; S is public and in the plan.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from common.arrays import Floats, Integers
from common.images.model import ClassMeans, ImageModel
from common.images.sums import ImageSums
from common.marginals.released import Asked
from common.planning.phase_types import ImageRecords, Records, Shape, VectorPhase, require_nothing
from common.planning.plan import IMAGE_MEANS, IMAGE_MOMENTS, HospitalPlan, Plan, PlannedVector
from common.planning.public_run import HISTOGRAMS, PublicRun
from common.planning.sizing import LargestTable, Outlook
from common.study.study import Study

LARGEST_SCALE, LEAST_SCALE = 2**16, 2**9
"""Bounds on S. At the lower one, rounding moves a patient's vector of 700 numbers by a fortieth of its norm."""

MEANS_WEIGHT, MOMENTS_WEIGHT = 1.5, 2.5
"""Usual weights of the two sums beside the counted tables, whose usual weights sum to 1."""

ROOM = 2**30
"""S times twice the declared patients and the noise stays below this, within the range of masked integers."""

NOISE_ROOM = 1000
"""Room for the noise of each hospital, in multiples of S."""


@dataclass(frozen=True, kw_only=True)
class ImagesPhase(VectorPhase):
    """A sum over the images of patients; only studies with a column of images have it.

    Sensitivity: the unit is the patient with all images, neighbors add or remove one. The patient's integer vector has
    an L2 norm of at most S (`common.images.sums`), whatever the images are and however many, and no entry above S:
    `squared_sensitivity` is S^2 and `largest_weight` S.
    """

    def planned(self, study: Study, outlook: Outlook) -> PlannedVector | None:
        if not study.images:
            return None
        scale = scale_of(study)
        classes = study.table[study.evaluation.target].max_codes(outlook.bins)
        return PlannedVector(self.name, classes, 0, scale**2, scale)

    def largest(self, study: Study, plan: Plan, planned: PlannedVector) -> list[LargestTable]:
        return [(self.length(study.images[0].sums(planned.tables)), (study.images[0].name, study.evaluation.target))]

    @abstractmethod
    def length(self, sums: ImageSums) -> int:
        """Return the number of cells of the vector."""

    def shape(self, public: PublicRun, asked: Asked) -> Shape:
        scale = public.planned(self.name).largest_weight
        require_nothing(asked)
        return Shape(self.length(sums_of(public)), scale**2, scale)

    def sentences(self, study: Study, plan: Plan, hospital: HospitalPlan) -> list[str]:
        planned, image, unit = plan.vector(self.name), study.images[0], study.privacy.unit
        assert planned is not None, "a phase of the plan"
        where = "under masks, " if plan.honest_hospitals else ""
        sigma = plan.total_deviation(self.name) if plan.honest_hospitals else plan.sigma(hospital, self.name)
        counted = self.counted.format(
            image=image.name,
            unit=unit,
            target=study.evaluation.target,
            frequencies=image.frequencies,
        )
        return [
            f"- {where}{counted}; a {unit}'s images together change it by at most 1 in length, and every number is off "
            f"by about {sigma / planned.largest_weight:.3g}"
        ]


@dataclass(frozen=True, kw_only=True)
class ImageMeansPhase(ImagesPhase):
    """Count, and mean low frequencies, of the images of each class."""

    def length(self, sums: ImageSums) -> int:
        return sums.means_length

    def answer(self, public: PublicRun, asked: Asked, records: Records) -> Integers:
        scale = public.planned(self.name).largest_weight
        return sums_of(public).means(described(records), labels_of(public, records), scale)


@dataclass(frozen=True, kw_only=True)
class ImageMomentsPhase(ImagesPhase):
    """Second moments of low frequencies around the means, and power of the others, of each class."""

    def length(self, sums: ImageSums) -> int:
        return sums.moments_length

    def answer(self, public: PublicRun, asked: Asked, records: Records) -> Integers:
        scale, means = public.planned(self.name).largest_weight, class_means(public).means
        return sums_of(public).moments(described(records), labels_of(public, records), means, scale)


def scale_of(study: Study) -> int:
    """Return S: the largest power of two for which sums stay in range, from the declared numbers of patients."""
    declared = sum(hospital.declared_rows for hospital in study.hospitals)
    most = ROOM / (2 * declared + NOISE_ROOM * len(study.hospitals))
    power = math.floor(math.log2(most))
    return max(LEAST_SCALE, min(LARGEST_SCALE, 1 << max(power, 0)))


def sums_of(public: PublicRun) -> ImageSums:
    """Return the layout of the sums of a run; its classes are the codes of the target."""
    return public.study.images[0].sums(public.encoder.sizes[_target(public.study)])


def described(records: Records) -> Floats:
    """Return the descriptions of the training patients' images."""
    assert isinstance(records, ImageRecords), "records of a study of images"
    return records.images()


def labels_of(public: PublicRun, records: Records) -> Integers:
    """Return the class of every training patient."""
    return records.encoded(public)[:, _target(public.study)].astype(np.int64)


def class_means(public: PublicRun) -> ClassMeans:
    """Return the means that the released sum gives, the same at the coordinator and at every hospital."""
    scale = public.planned(IMAGE_MEANS).largest_weight
    counts, sigma = public.released.counts(IMAGE_MEANS), public.plan.total_deviation(IMAGE_MEANS)
    return ClassMeans.of(sums_of(public), counts, scale, sigma)


def image_model(public: PublicRun) -> ImageModel | None:
    """Return the model of images that a run released; None for a run without images."""
    if IMAGE_MOMENTS not in public.released.vectors:
        return None
    scale, sigma = public.planned(IMAGE_MOMENTS).largest_weight, public.plan.total_deviation(IMAGE_MOMENTS)
    counts = public.released.counts(IMAGE_MOMENTS)
    return ImageModel.of(sums_of(public), class_means(public), counts, scale, sigma)


def _target(study: Study) -> int:
    return study.table.names.index(study.evaluation.target)


MEANS_PHASE = ImageMeansPhase(
    name=IMAGE_MEANS,
    title="mean images",
    budget_key="image_means",
    usual_weight=lambda study, ratio: MEANS_WEIGHT,
    counted="noisy sums over the images in '{image}' of their {frequencies} lowest frequencies, by '{target}', and the "
    "number of {unit}s with an image",
)

MOMENTS_PHASE = ImageMomentsPhase(
    name=IMAGE_MOMENTS,
    title="second moments of images",
    budget_key="image_moments",
    usual_weight=lambda study, ratio: MOMENTS_WEIGHT,
    needs=(HISTOGRAMS, IMAGE_MEANS),
    counted="noisy sums over the images in '{image}' of products of every two of these frequencies around the means, "
    "and of the power of all others, by '{target}'",
)
